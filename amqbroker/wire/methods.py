"""AMQP 0-9-1's methods and RabbitMQ's extensions: a name each, `<Class><Method>`, and their codec.

Each is a subclass of pamqp's class of that method, so that pamqp can still read and write it. Two
things differ:

- `validate` accepts everything. pamqp refuses queue and exchange names outside of a list of
  characters, and reserved arguments that are not zero, when a frame is made and when it is written.
  RabbitMQ takes any name of at most 255 bytes and ignores reserved arguments.
- access.request and access.request-ok exist. pamqp lacks the class `access`; old clients still ask
  for a ticket.

`decode_method(payload)` gives an instance of one of these classes, `encode_method(channel, frame)`
a whole frame; see `method_codec` for what they refuse.

Not compiled: mypyc cannot subclass a class that is nested in another one.

Source: AMQP 0-9-1 reference, "classes"; RabbitMQ's amqp-rabbitmq-0.9.1.json.
"""

from __future__ import annotations

from typing import ClassVar, Final

from pamqp import base, commands

from amqbroker.wire.method_codec import MethodCodec


class _Unchecked:
    """Goes before a pamqp class to take its check of the arguments away."""

    def validate(self) -> None:
        return


class ConnectionStart(commands.Connection.Start):
    """connection.start: 10, 10."""


class ConnectionStartOk(commands.Connection.StartOk):
    """connection.start-ok: 10, 11."""


class ConnectionSecure(commands.Connection.Secure):
    """connection.secure: 10, 20."""


class ConnectionSecureOk(commands.Connection.SecureOk):
    """connection.secure-ok: 10, 21."""


class ConnectionTune(commands.Connection.Tune):
    """connection.tune: 10, 30."""


class ConnectionTuneOk(commands.Connection.TuneOk):
    """connection.tune-ok: 10, 31."""


class ConnectionOpen(_Unchecked, commands.Connection.Open):
    """connection.open: 10, 40."""


class ConnectionOpenOk(_Unchecked, commands.Connection.OpenOk):
    """connection.open-ok: 10, 41."""


class ConnectionClose(commands.Connection.Close):
    """connection.close: 10, 50."""


class ConnectionCloseOk(commands.Connection.CloseOk):
    """connection.close-ok: 10, 51."""


class ConnectionBlocked(commands.Connection.Blocked):
    """connection.blocked: 10, 60."""


class ConnectionUnblocked(commands.Connection.Unblocked):
    """connection.unblocked: 10, 61."""


class ConnectionUpdateSecret(commands.Connection.UpdateSecret):
    """connection.update-secret: 10, 70."""


class ConnectionUpdateSecretOk(commands.Connection.UpdateSecretOk):
    """connection.update-secret-ok: 10, 71."""


class ChannelOpen(_Unchecked, commands.Channel.Open):
    """channel.open: 20, 10."""


class ChannelOpenOk(_Unchecked, commands.Channel.OpenOk):
    """channel.open-ok: 20, 11. RabbitMQ leaves its reserved argument empty, pamqp has "0"."""

    def __init__(self, channel_id: str = "") -> None:
        super().__init__(channel_id)


class ChannelFlow(commands.Channel.Flow):
    """channel.flow: 20, 20."""


class ChannelFlowOk(commands.Channel.FlowOk):
    """channel.flow-ok: 20, 21."""


class ChannelClose(commands.Channel.Close):
    """channel.close: 20, 40."""


class ChannelCloseOk(commands.Channel.CloseOk):
    """channel.close-ok: 20, 41."""


class AccessRequest(base.Frame):
    """access.request: 30, 10. Gone from AMQP 0-9-1; RabbitMQ grants every ticket."""

    __slots__: ClassVar[list[str]] = [  # noqa: RUF023 - in the order on the wire
        "realm",
        "exclusive",
        "passive",
        "active",
        "write",
        "read",
    ]

    frame_id: ClassVar[int] = 10
    index: ClassVar[int] = 0x001E000A
    name: ClassVar[str] = "Access.Request"
    synchronous: ClassVar[bool] = True
    valid_responses: ClassVar[list[str]] = ["Access.RequestOk"]

    _realm = "shortstr"
    _exclusive = "bit"
    _passive = "bit"
    _active = "bit"
    _write = "bit"
    _read = "bit"

    def __init__(
        self,
        realm: str = "",
        exclusive: bool = False,
        passive: bool = True,
        active: bool = True,
        write: bool = True,
        read: bool = True,
    ) -> None:
        self.realm = realm
        self.exclusive = exclusive
        self.passive = passive
        self.active = active
        self.write = write
        self.read = read


class AccessRequestOk(base.Frame):
    """access.request-ok: 30, 11."""

    __slots__: ClassVar[list[str]] = ["ticket"]

    frame_id: ClassVar[int] = 11
    index: ClassVar[int] = 0x001E000B
    name: ClassVar[str] = "Access.RequestOk"
    synchronous: ClassVar[bool] = False

    _ticket = "short"

    def __init__(self, ticket: int = 1) -> None:
        self.ticket = ticket


class ExchangeDeclare(_Unchecked, commands.Exchange.Declare):
    """exchange.declare: 40, 10."""


class ExchangeDeclareOk(commands.Exchange.DeclareOk):
    """exchange.declare-ok: 40, 11."""


class ExchangeDelete(_Unchecked, commands.Exchange.Delete):
    """exchange.delete: 40, 20."""


class ExchangeDeleteOk(commands.Exchange.DeleteOk):
    """exchange.delete-ok: 40, 21."""


class ExchangeBind(_Unchecked, commands.Exchange.Bind):
    """exchange.bind: 40, 30."""


class ExchangeBindOk(commands.Exchange.BindOk):
    """exchange.bind-ok: 40, 31."""


class ExchangeUnbind(_Unchecked, commands.Exchange.Unbind):
    """exchange.unbind: 40, 40."""


class ExchangeUnbindOk(commands.Exchange.UnbindOk):
    """exchange.unbind-ok: 40, 51."""


class QueueDeclare(_Unchecked, commands.Queue.Declare):
    """queue.declare: 50, 10."""


class QueueDeclareOk(_Unchecked, commands.Queue.DeclareOk):
    """queue.declare-ok: 50, 11."""


class QueueBind(_Unchecked, commands.Queue.Bind):
    """queue.bind: 50, 20."""


class QueueBindOk(commands.Queue.BindOk):
    """queue.bind-ok: 50, 21."""


class QueuePurge(_Unchecked, commands.Queue.Purge):
    """queue.purge: 50, 30."""


class QueuePurgeOk(commands.Queue.PurgeOk):
    """queue.purge-ok: 50, 31."""


class QueueDelete(_Unchecked, commands.Queue.Delete):
    """queue.delete: 50, 40."""


class QueueDeleteOk(commands.Queue.DeleteOk):
    """queue.delete-ok: 50, 41."""


class QueueUnbind(_Unchecked, commands.Queue.Unbind):
    """queue.unbind: 50, 50."""


class QueueUnbindOk(commands.Queue.UnbindOk):
    """queue.unbind-ok: 50, 51."""


class BasicQos(commands.Basic.Qos):
    """basic.qos: 60, 10."""


class BasicQosOk(commands.Basic.QosOk):
    """basic.qos-ok: 60, 11."""


class BasicConsume(_Unchecked, commands.Basic.Consume):
    """basic.consume: 60, 20."""


class BasicConsumeOk(commands.Basic.ConsumeOk):
    """basic.consume-ok: 60, 21."""


class BasicCancel(commands.Basic.Cancel):
    """basic.cancel: 60, 30."""


class BasicCancelOk(commands.Basic.CancelOk):
    """basic.cancel-ok: 60, 31."""


class BasicPublish(_Unchecked, commands.Basic.Publish):
    """basic.publish: 60, 40."""


class BasicReturn(_Unchecked, commands.Basic.Return):
    """basic.return: 60, 50."""


class BasicDeliver(_Unchecked, commands.Basic.Deliver):
    """basic.deliver: 60, 60."""


class BasicGet(_Unchecked, commands.Basic.Get):
    """basic.get: 60, 70."""


class BasicGetOk(_Unchecked, commands.Basic.GetOk):
    """basic.get-ok: 60, 71."""


class BasicGetEmpty(_Unchecked, commands.Basic.GetEmpty):
    """basic.get-empty: 60, 72."""


class BasicAck(commands.Basic.Ack):
    """basic.ack: 60, 80."""


class BasicReject(commands.Basic.Reject):
    """basic.reject: 60, 90."""


class BasicRecoverAsync(commands.Basic.RecoverAsync):
    """basic.recover-async: 60, 100."""


class BasicRecover(commands.Basic.Recover):
    """basic.recover: 60, 110."""


class BasicRecoverOk(commands.Basic.RecoverOk):
    """basic.recover-ok: 60, 111."""


class BasicNack(commands.Basic.Nack):
    """basic.nack: 60, 120."""


class ConfirmSelect(commands.Confirm.Select):
    """confirm.select: 85, 10."""


class ConfirmSelectOk(commands.Confirm.SelectOk):
    """confirm.select-ok: 85, 11."""


class TxSelect(commands.Tx.Select):
    """tx.select: 90, 10."""


class TxSelectOk(commands.Tx.SelectOk):
    """tx.select-ok: 90, 11."""


class TxCommit(commands.Tx.Commit):
    """tx.commit: 90, 20."""


class TxCommitOk(commands.Tx.CommitOk):
    """tx.commit-ok: 90, 21."""


class TxRollback(commands.Tx.Rollback):
    """tx.rollback: 90, 30."""


class TxRollbackOk(commands.Tx.RollbackOk):
    """tx.rollback-ok: 90, 31."""


ALL: Final[tuple[type[base.Frame], ...]] = (
    ConnectionStart,
    ConnectionStartOk,
    ConnectionSecure,
    ConnectionSecureOk,
    ConnectionTune,
    ConnectionTuneOk,
    ConnectionOpen,
    ConnectionOpenOk,
    ConnectionClose,
    ConnectionCloseOk,
    ConnectionBlocked,
    ConnectionUnblocked,
    ConnectionUpdateSecret,
    ConnectionUpdateSecretOk,
    ChannelOpen,
    ChannelOpenOk,
    ChannelFlow,
    ChannelFlowOk,
    ChannelClose,
    ChannelCloseOk,
    AccessRequest,
    AccessRequestOk,
    ExchangeDeclare,
    ExchangeDeclareOk,
    ExchangeDelete,
    ExchangeDeleteOk,
    ExchangeBind,
    ExchangeBindOk,
    ExchangeUnbind,
    ExchangeUnbindOk,
    QueueDeclare,
    QueueDeclareOk,
    QueueBind,
    QueueBindOk,
    QueuePurge,
    QueuePurgeOk,
    QueueDelete,
    QueueDeleteOk,
    QueueUnbind,
    QueueUnbindOk,
    BasicQos,
    BasicQosOk,
    BasicConsume,
    BasicConsumeOk,
    BasicCancel,
    BasicCancelOk,
    BasicPublish,
    BasicReturn,
    BasicDeliver,
    BasicGet,
    BasicGetOk,
    BasicGetEmpty,
    BasicAck,
    BasicReject,
    BasicRecoverAsync,
    BasicRecover,
    BasicRecoverOk,
    BasicNack,
    ConfirmSelect,
    ConfirmSelectOk,
    TxSelect,
    TxSelectOk,
    TxCommit,
    TxCommitOk,
    TxRollback,
    TxRollbackOk,
)

_codec = MethodCodec(ALL)
decode_method = _codec.decode
encode_method = _codec.encode
