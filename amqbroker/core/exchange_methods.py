"""exchange.declare, delete, bind and unbind.

Source: RabbitMQ's `rabbit_channel` (exchange methods), `rabbit_exchange`, `rabbit_binding`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

from pamqp.base import Frame

from amqbroker.core import access
from amqbroker.core.arguments import check_equivalent_arguments, check_equivalent_flag
from amqbroker.core.names import exchange_resource, strip_line_ends
from amqbroker.core.partitions import (
    check_partitions,
    delete_exchange,
    in_use,
    make_partitions,
    partitions_of,
)
from amqbroker.errors import access_refused, precondition_failed
from amqbroker.exchanges.base import EXCHANGE, Binding, Destination, Table
from amqbroker.exchanges.registry import DEFAULT_EXCHANGE, make_exchange
from amqbroker.exchanges.terms import field_type
from amqbroker.wire import methods as m

if TYPE_CHECKING:
    from amqbroker.core.channel import Channel

RESERVED_PREFIX: Final = "amq."
ALTERNATE: Final = "alternate-exchange"


def declare(channel: Channel, frame: Frame) -> None:
    """exchange.declare."""
    method = cast("m.ExchangeDeclare", frame)
    name = strip_line_ends(method.exchange)
    check_not_default(name)
    vhost = channel.vhost
    if method.passive:
        vhost.exchange(name)
        _answer(channel, method.nowait, m.ExchangeDeclareOk(), 0)
        return
    access.check(channel.client, access.CONFIGURE, access.EXCHANGE, name)
    arguments: Table = dict(method.arguments or {})
    existing = vhost.exchanges.get(name)
    if existing is None:
        if name.startswith(RESERVED_PREFIX):
            raise access_refused(f"exchange name '{name}' contains reserved prefix 'amq.*'")
        exchange = make_exchange(
            name,
            method.exchange_type,
            method.durable,
            method.auto_delete,
            method.internal,
            arguments,
        )
        _check_alternate(channel, name, arguments)
        check_partitions(channel, exchange)
        position = vhost.add_exchange(exchange)
        position = max(position, make_partitions(channel.client.broker, vhost, exchange))
        _answer(channel, method.nowait, m.ExchangeDeclareOk(), position)
        return
    # An unknown type is refused before it is compared.
    make_exchange(name, method.exchange_type, False, False, False, {})
    resource = exchange_resource(name, vhost.name)
    check_equivalent_flag("type", resource, method.exchange_type, existing.type_name)
    check_equivalent_flag("durable", resource, method.durable, existing.durable)
    check_equivalent_flag("auto_delete", resource, method.auto_delete, existing.auto_delete)
    check_equivalent_flag("internal", resource, method.internal, existing.internal)
    compared = (ALTERNATE, *existing.own_arguments)
    check_equivalent_arguments(resource, arguments, existing.arguments, compared)
    check_partitions(channel, existing)
    position = make_partitions(channel.client.broker, vhost, existing)
    _answer(channel, method.nowait, m.ExchangeDeclareOk(), position)


def _check_alternate(channel: Channel, name: str, arguments: Table) -> None:
    """The alternate exchange is a name, and its owner may read here and write there."""
    if ALTERNATE not in arguments:
        return
    alternate = arguments[ALTERNATE]
    if not isinstance(alternate, str):
        resource = exchange_resource(name, channel.vhost.name)
        kind = field_type(alternate)
        raise precondition_failed(f"invalid type '{kind}' for arg '{ALTERNATE}' in {resource}")
    access.check(channel.client, access.READ, access.EXCHANGE, name)
    access.check(channel.client, access.WRITE, access.EXCHANGE, alternate)


def delete(channel: Channel, frame: Frame) -> None:
    """exchange.delete: a missing exchange is fine."""
    method = cast("m.ExchangeDelete", frame)
    name = strip_line_ends(method.exchange)
    vhost = channel.vhost
    check_not_default(name)
    if name.startswith(RESERVED_PREFIX):
        raise access_refused(
            f"deletion of system {exchange_resource(name, vhost.name)} not allowed"
        )
    access.check(channel.client, access.CONFIGURE, access.EXCHANGE, name)
    exchange = vhost.exchanges.get(name)
    position = 0
    if exchange is not None:
        if method.if_unused and in_use(vhost, exchange):
            raise precondition_failed(f"{exchange_resource(name, vhost.name)} in use")
        for queue in partitions_of(vhost, exchange):
            access.check(channel.client, access.CONFIGURE, access.QUEUE, queue.name)
        position = delete_exchange(channel.client.broker, vhost, exchange)
    _answer(channel, method.nowait, m.ExchangeDeleteOk(), position)


def bind(channel: Channel, frame: Frame) -> None:
    """exchange.bind: messages of the source go on to the destination."""
    method = cast("m.ExchangeBind", frame)
    source, destination = _ends(channel, method.source, method.destination, method.routing_key)
    binding = Binding(
        Destination(EXCHANGE, destination), method.routing_key, dict(method.arguments or {})
    )
    exchange = channel.vhost.exchange(source)
    channel.vhost.exchange(destination)
    _answer(channel, method.nowait, m.ExchangeBindOk(), channel.vhost.bind(exchange, binding))


def unbind(channel: Channel, frame: Frame) -> None:
    """exchange.unbind: a missing binding or exchange is fine."""
    method = cast("m.ExchangeUnbind", frame)
    source, destination = _ends(channel, method.source, method.destination, method.routing_key)
    binding = Binding(
        Destination(EXCHANGE, destination), method.routing_key, dict(method.arguments or {})
    )
    exchange = channel.vhost.exchanges.get(source)
    position = 0 if exchange is None else channel.vhost.unbind(exchange, binding)
    _answer(channel, method.nowait, m.ExchangeUnbindOk(), position)


def _ends(channel: Channel, source: str, destination: str, key: str) -> tuple[str, str]:
    """The names of both ends, once the user may bind them."""
    source = strip_line_ends(source)
    destination = strip_line_ends(destination)
    check_not_default(source)
    check_not_default(destination)
    access.check(channel.client, access.WRITE, access.EXCHANGE, destination)
    access.check(channel.client, access.READ, access.EXCHANGE, source)
    access.check_topic(channel.client, access.READ, channel.vhost.exchanges.get(source), key)
    return source, destination


def check_not_default(name: str) -> None:
    """Raise 403 for the default exchange."""
    if name == DEFAULT_EXCHANGE:
        raise access_refused("operation not permitted on the default exchange")


def _answer(channel: Channel, nowait: bool, frame: Frame, position: int) -> None:
    if not nowait:
        channel.reply_when_durable(position, frame)
