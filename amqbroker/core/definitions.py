"""Durable definitions as the journal keeps them: a key and a value of bytes for each.

    key    octet kind, then short strings (octet length and UTF-8 octets each)
           x  vhost  name                                                  exchange
           q  vhost  name                                                  queue
           b  vhost  source  octet kind  destination  key  arguments       binding
           v  vhost                                                        virtual host
           u  name                                                         user
           p  vhost  name                                                  policy
           o  vhost  name                                                  operator policy
           r  vhost  component  name                                       runtime parameter
           g  name                                                         global parameter
           n  name                                                         what the node remembers
    value  a field table

The store folds them without knowing what they mean; recovery hands them back as they were.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast, final

from mypy_extensions import i64

from amqbroker.auth.users import User
from amqbroker.core.policies import Policy
from amqbroker.exchanges.base import Binding, Destination, Exchange, Table
from amqbroker.wire.tables import decode_table, encode_table

if TYPE_CHECKING:
    from pamqp.common import FieldTable

    from amqbroker.core.queue import Queue
    from amqbroker.core.vhost import VirtualHost

EXCHANGE_KIND: Final = b"x"
QUEUE_KIND: Final = b"q"
BINDING_KIND: Final = b"b"
VHOST_KIND: Final = b"v"
USER_KIND: Final = b"u"
POLICY_KIND: Final = b"p"
OPERATOR_POLICY_KIND: Final = b"o"
PARAMETER_KIND: Final = b"r"
GLOBAL_PARAMETER_KIND: Final = b"g"
NODE_KIND: Final = b"n"

# The first start has made what the configuration leaves to it; what is deleted stays deleted.
DEFAULTS_MADE: Final = "defaults"


def short(text: str) -> bytes:
    """A name as a short string."""
    raw = text.encode("utf-8", "surrogateescape")
    return bytes([len(raw)]) + raw


def encode(table: Table) -> bytes:
    """A table of values that came from the wire, back to bytes."""
    return encode_table(cast("FieldTable", table))


def exchange_key(vhost: str, name: str) -> bytes:
    """The key of an exchange."""
    return EXCHANGE_KIND + short(vhost) + short(name)


def exchange_value(exchange: Exchange) -> bytes:
    """All that makes an exchange, but its bindings."""
    return encode(
        {
            "type": exchange.type_name,
            "auto_delete": exchange.auto_delete,
            "internal": exchange.internal,
            "arguments": exchange.arguments,
        }
    )


def queue_key(vhost: str, name: str) -> bytes:
    """The key of a queue."""
    return QUEUE_KIND + short(vhost) + short(name)


def queue_value(queue: Queue) -> bytes:
    """All that makes a queue, but its messages."""
    return encode(
        {"id": int(queue.id), "auto_delete": queue.auto_delete, "arguments": queue.arguments}
    )


def binding_key(vhost: str, source: str, binding: Binding) -> bytes:
    """The key of a binding: all of it, as bindings have no other identity."""
    destination = binding.destination
    return b"".join(
        (
            BINDING_KIND,
            short(vhost),
            short(source),
            bytes([destination.kind]),
            short(destination.name),
            short(binding.key),
            encode(dict(sorted(binding.arguments.items()))),
        )
    )


def vhost_key(name: str) -> bytes:
    """The key of a virtual host."""
    return VHOST_KIND + short(name)


def vhost_value(vhost: VirtualHost) -> bytes:
    """All that makes a virtual host, but what is in it."""
    return encode(
        {
            "description": vhost.description,
            "tags": list(vhost.tags),
            "default_queue_type": vhost.default_queue_type,
            "max_connections": vhost.max_connections,
            "max_queues": vhost.max_queues,
        }
    )


def user_key(name: str) -> bytes:
    """The key of a user."""
    return USER_KIND + short(name)


def user_value(user: User) -> bytes:
    """All that makes a user. Permissions go by virtual host: configure, write and read; on topics
    by virtual host and exchange: write and read."""
    return encode(
        {
            "password_hash": user.password_hash,
            "tags": list(user.tags),
            "permissions": {
                vhost: [allowed.configure.text, allowed.write.text, allowed.read.text]
                for vhost, allowed in user.permissions.items()
            },
            "topic_permissions": {
                vhost: {
                    exchange: [allowed.write.text, allowed.read.text]
                    for exchange, allowed in exchanges.items()
                }
                for vhost, exchanges in user.topic_permissions.items()
            },
            "max_connections": user.max_connections,
            "max_channels": user.max_channels,
        }
    )


def node_key(name: str) -> bytes:
    """The key of something that the node remembers of itself."""
    return NODE_KIND + short(name)


def policy_key(vhost: str, name: str, operator: bool) -> bytes:
    """The key of a policy, or of an operator policy."""
    return (OPERATOR_POLICY_KIND if operator else POLICY_KIND) + short(vhost) + short(name)


def policy_value(policy: Policy) -> bytes:
    """All that makes a policy."""
    return encode(
        {
            "pattern": policy.pattern,
            "apply_to": policy.apply_to,
            "priority": policy.priority,
            "definition": policy.definition,
        }
    )


def parameter_key(vhost: str, component: str, name: str) -> bytes:
    """The key of a runtime parameter."""
    return PARAMETER_KIND + short(vhost) + short(component) + short(name)


def global_parameter_key(name: str) -> bytes:
    """The key of a global parameter."""
    return GLOBAL_PARAMETER_KIND + short(name)


def parameter_value(text: str) -> bytes:
    """The value of a parameter: JSON, whose numbers and names no field table could hold."""
    return encode({"json": text})


@final
class KeyReader:
    """Reads a key back, part by part."""

    def __init__(self, key: bytes) -> None:
        self.kind = key[:1]
        self._key = key
        self._position: i64 = 1

    def name(self) -> str:
        """The next short string."""
        start: i64 = self._position + 1
        end: i64 = start + i64(self._key[self._position])
        self._position = end
        return self._key[start:end].decode("utf-8", "surrogateescape")

    def octet(self) -> int:
        """The next octet."""
        self._position += 1
        return self._key[self._position - 1]

    def table(self) -> Table:
        """The field table that ends the key."""
        return dict(decode_table(self._key, self._position))


def read_binding(reader: KeyReader) -> tuple[str, Binding]:
    """The source and the binding of a key whose virtual host was read."""
    source = reader.name()
    kind = reader.octet()
    destination = Destination(kind, reader.name())
    key = reader.name()
    return source, Binding(destination, key, reader.table())
