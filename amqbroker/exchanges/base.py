"""What every exchange type does: keep bindings, and say where a message goes.

An exchange knows destinations by name and kind only; the virtual host turns them into queues. Types are 50 to 150
lines each, pure, and know nothing of connections, queues or storage.

Binding identity is (destination, binding key, arguments with keys sorted), as in RabbitMQ (`rabbit_binding`).
"""

from __future__ import annotations

from typing import Final, final

Table = dict[str, object]

QUEUE: Final = 0
EXCHANGE: Final = 1


@final
class Destination:
    """The far end of a binding: a queue or an exchange of the same virtual host, by name. Compared by value."""

    __slots__ = ("kind", "name")

    def __init__(self, kind: int, name: str) -> None:
        self.kind = kind
        self.name = name

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Destination) and self.kind == other.kind and self.name == other.name

    def __hash__(self) -> int:
        return hash((self.kind, self.name))


@final
class Binding:
    """One binding of a source exchange."""

    __slots__ = ("arguments", "destination", "key")

    def __init__(self, destination: Destination, key: str, arguments: Table) -> None:
        self.destination = destination
        self.key = key
        self.arguments = arguments


class Exchange:
    """One exchange: its definition, its bindings, its routing."""

    # Whether `route` looks at the message's headers (then a route cannot be cached by address).
    needs_headers: bool = False

    def __init__(
        self, name: str, type_name: str, durable: bool, auto_delete: bool, internal: bool, arguments: Table
    ) -> None:
        self.name = name
        self.type_name = type_name
        self.durable = durable
        self.auto_delete = auto_delete
        self.internal = internal
        self.arguments = arguments

    def bind(self, destination: Destination, key: str, arguments: Table) -> bool:
        """Add a binding; False if the very same binding is there already.

        Raises ChannelException 406 for a binding that this type does not accept.
        """
        raise NotImplementedError

    def unbind(self, destination: Destination, key: str, arguments: Table) -> bool:
        """Remove a binding; False if there is none."""
        raise NotImplementedError

    def unbind_destination(self, destination: Destination) -> int:
        """Remove every binding to this destination (it was deleted); how many there were.

        Costs what the destination's own bindings cost, not what the exchange has.
        """
        raise NotImplementedError

    def route(self, routing_key: str, headers: Table | None) -> list[Destination]:
        """Every destination that a message with this key and these headers goes to, each once, in binding order."""
        raise NotImplementedError

    def bindings(self) -> list[Binding]:
        """All bindings, in the order in which they were made."""
        raise NotImplementedError

    def has_bindings(self) -> bool:
        """Whether this exchange is the source of any binding (if-unused, auto-delete)."""
        raise NotImplementedError
