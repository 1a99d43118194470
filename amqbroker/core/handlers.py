"""Which rule answers which method on a channel.

Source: AMQP 0-9-1 and RabbitMQ's extensions; channel.open and close are the connection's
(client.py), basic.publish and basic.ack do not come as methods.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, cast

from pamqp.base import Frame

from amqbroker.core import (
    consuming,
    exchange_methods,
    publishing,
    queue_methods,
    settling,
    transactions,
)
from amqbroker.errors import not_implemented
from amqbroker.wire import methods as m

if TYPE_CHECKING:
    from amqbroker.core.channel import Channel


def _flow(channel: Channel, frame: Frame) -> None:
    """channel.flow: RabbitMQ does not let clients stop it, nor does this broker."""
    if not cast("m.ChannelFlow", frame).active:
        raise not_implemented("active=false")
    channel.send(m.ChannelFlowOk(True))


def _access_request(channel: Channel, frame: Frame) -> None:
    """access.request: old clients still ask; every ticket is good."""
    channel.send(m.AccessRequestOk(1))


HANDLERS: Final[dict[type[Frame], Callable[[Channel, Frame], None]]] = {
    m.ChannelFlow: _flow,
    m.AccessRequest: _access_request,
    m.ExchangeDeclare: exchange_methods.declare,
    m.ExchangeDelete: exchange_methods.delete,
    m.ExchangeBind: exchange_methods.bind,
    m.ExchangeUnbind: exchange_methods.unbind,
    m.QueueDeclare: queue_methods.declare,
    m.QueueBind: queue_methods.bind,
    m.QueueUnbind: queue_methods.unbind,
    m.QueuePurge: queue_methods.purge,
    m.QueueDelete: queue_methods.delete,
    m.BasicQos: consuming.qos,
    m.BasicConsume: consuming.consume,
    m.BasicCancel: consuming.cancel,
    m.BasicGet: consuming.get,
    m.BasicNack: settling.nack,
    m.BasicReject: settling.reject,
    m.BasicRecover: settling.recover,
    m.BasicRecoverAsync: settling.recover_async,
    m.ConfirmSelect: publishing.confirm_select,
    m.TxSelect: transactions.select,
    m.TxCommit: transactions.commit,
    m.TxRollback: transactions.rollback,
}
