"""The exchange types by name, and the exchanges that every virtual host has from the start."""

from __future__ import annotations

from typing import Final

from amqbroker.errors import precondition_failed
from amqbroker.exchanges.base import Exchange, Table
from amqbroker.exchanges.consistent_hash import ConsistentHashExchange
from amqbroker.exchanges.direct import DirectExchange
from amqbroker.exchanges.fanout import FanoutExchange
from amqbroker.exchanges.headers import HeadersExchange
from amqbroker.exchanges.modulus_hash import ModulusHashExchange
from amqbroker.exchanges.topic import TopicExchange

DIRECT: Final = "direct"
FANOUT: Final = "fanout"
HEADERS: Final = "headers"
TOPIC: Final = "topic"
CONSISTENT_HASH: Final = "x-consistent-hash"
MODULUS_HASH: Final = "x-modulus-hash"

EXCHANGE_TYPES: Final = (DIRECT, FANOUT, HEADERS, TOPIC, CONSISTENT_HASH, MODULUS_HASH)

DEFAULT_EXCHANGE: Final = ""
TRACE_EXCHANGE: Final = "amq.rabbitmq.trace"
EVENT_EXCHANGE: Final = "amq.rabbitmq.event"

# Name and type. All are durable; the trace exchange is internal.
PREDECLARED: Final[tuple[tuple[str, str], ...]] = (
    (DEFAULT_EXCHANGE, DIRECT),
    ("amq.direct", DIRECT),
    ("amq.fanout", FANOUT),
    ("amq.headers", HEADERS),
    ("amq.match", HEADERS),
    (TRACE_EXCHANGE, TOPIC),
    ("amq.topic", TOPIC),
)


def check_type(type_name: str) -> None:
    """Raise ChannelException 406 unless this is the name of an exchange type."""
    if type_name not in EXCHANGE_TYPES:
        raise precondition_failed(f"unknown exchange type '{type_name}'")


def make_exchange(
    name: str, type_name: str, durable: bool, auto_delete: bool, internal: bool, arguments: Table
) -> Exchange:
    """A new exchange without bindings.

    Raises ChannelException 406 for a type that there is not, or arguments that it does not accept.
    """
    check_type(type_name)
    if type_name == DIRECT:
        return DirectExchange(name, type_name, durable, auto_delete, internal, arguments)
    if type_name == FANOUT:
        return FanoutExchange(name, type_name, durable, auto_delete, internal, arguments)
    if type_name == HEADERS:
        return HeadersExchange(name, type_name, durable, auto_delete, internal, arguments)
    if type_name == CONSISTENT_HASH:
        return ConsistentHashExchange(name, type_name, durable, auto_delete, internal, arguments)
    if type_name == MODULUS_HASH:
        return ModulusHashExchange(name, type_name, durable, auto_delete, internal, arguments)
    return TopicExchange(name, type_name, durable, auto_delete, internal, arguments)


def event_exchange() -> Exchange:
    """The exchange that tells what happens, which one virtual host has."""
    return make_exchange(EVENT_EXCHANGE, TOPIC, True, False, True, {})


def predeclared_exchanges() -> list[Exchange]:
    """The exchanges of a new virtual host, the default exchange first."""
    return [
        make_exchange(name, type_name, True, False, name == TRACE_EXCHANGE, {})
        for name, type_name in PREDECLARED
    ]
