"""The firehose: a copy of each message that is published or delivered in a traced virtual host.

Copies go to the exchange `amq.rabbitmq.trace`, with the routing key `publish.` and the name of the
exchange, or `deliver.` and the name of the queue. A copy has the message's body, and headers that
say what it was and who sent or got it. Messages of the trace exchange itself are not traced.

Source: RabbitMQ's `rabbit_trace`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

from amqbroker.core.dead_letters import shown
from amqbroker.core.definitions import short
from amqbroker.errors import AmqpError
from amqbroker.exchanges.base import Table
from amqbroker.exchanges.registry import TRACE_EXCHANGE
from amqbroker.message import Message
from amqbroker.wire.properties import HEADERS, decode_properties, encode_header, find
from amqbroker.wire.tables import table_end

if TYPE_CHECKING:
    from pamqp.common import FieldTable

    from amqbroker.core.channel import Channel
    from amqbroker.core.queue import Queue

# So much deeper a message's headers are nested in a copy: in `properties`, in its headers.
COPY_DEPTH: Final = 2


def trace_publish(channel: Channel, message: Message, queues: list[Queue]) -> None:
    """A message was routed to these queues."""
    facts: Table = {"routed_queues": [queue.name for queue in queues]}
    exchange = _exchange_of(message)
    _copy(channel, message, exchange, "publish." + exchange, facts)


def trace_delivery(channel: Channel, queue: str, message: Message, redelivered: bool) -> None:
    """A message is on its way to a consumer, or to who asked for one."""
    facts: Table = {"redelivered": int(redelivered)}
    _copy(channel, message, _exchange_of(message), "deliver." + queue, facts)


def _copy(channel: Channel, message: Message, exchange: str, key: str, facts: Table) -> None:
    vhost = channel.vhost
    trace = vhost.exchanges.get(TRACE_EXCHANGE)
    if trace is None or exchange == TRACE_EXCHANGE or not trace.has_bindings():
        return
    if _is_nested_too_deep(message.header):
        return
    client = channel.client
    properties = decode_properties(shown(message.header))
    headers: Table = {
        "exchange_name": exchange,
        "routing_keys": [_key_of(message)],
        "properties": properties,
        "node": client.broker.config.server_properties.cluster_name,
        "vhost": vhost.name,
        "connection": client.name,
        "channel": int(channel.number),
        "user": client.user.name,
        **facts,
    }
    header = encode_header(len(message.body), {"headers": cast("FieldTable", headers)})
    # A key that is too long for its octet of length could not be sent on.
    address = short(TRACE_EXCHANGE) + short(key[:255])
    copy = Message(0, address, 0, header, message.body, False)
    for queue in vhost.walk(trace, [key], headers, header).queues.values():
        queue.enqueue(copy)


def _is_nested_too_deep(header: bytes) -> bool:
    """Whether a copy, which has these headers within its own, would be nested deeper than messages
    may be. Sooner or later copies of copies are, which a dead-letter exchange can lead to."""
    position = find(header, HEADERS)
    if position >= 0:
        try:
            table_end(header, position, len(header), COPY_DEPTH)
        except AmqpError:
            return True
    return False


def _exchange_of(message: Message) -> str:
    end = 1 + message.address[0]
    return message.address[1:end].decode("utf-8", "surrogateescape")


def _key_of(message: Message) -> str:
    start = 2 + message.address[0]
    return message.address[start:].decode("utf-8", "surrogateescape")
