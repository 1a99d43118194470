"""What every exchange type does: keep bindings, and say where a message goes.

An exchange knows destinations by name and kind only; the virtual host turns them into queues.
Types are 50 to 150 lines each, pure, and know nothing of connections, queues or storage.

Binding identity is (destination, binding key, arguments with keys sorted), as in RabbitMQ
(`rabbit_binding`). Arguments are compared by value, not by the width of their AMQP type: see
`freeze`.

How the work is shared: `Exchange` keeps all bindings under their destination, which gives
identity, listing, and a removal that costs what the destination's own bindings cost. A type keeps
only the index that it routes by, through `_added` and `_removed`. Every binding carries a serial
number that grows with each one made; `Bucket` and `merge` use it to give destinations in binding
order whatever the index looks like. Nothing iterates over a set.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Final, final

from mypy_extensions import i64

Table = dict[str, object]

QUEUE: Final = 0
EXCHANGE: Final = 1

# Tables and arrays nested deeper than this are alike to `freeze`: a peer chooses the depth, the
# stack is ours.
NESTING_MAX: Final = 64


@final
class Destination:
    """The far end of a binding: a queue or an exchange of the same virtual host, by name.

    Compared by value.
    """

    __slots__ = ("_hash", "kind", "name")

    def __init__(self, kind: int, name: str) -> None:
        self.kind = kind
        self.name = name
        self._hash = hash((kind, name))

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Destination) and self.name == other.name and self.kind == other.kind
        )

    def __hash__(self) -> int:
        return self._hash

    def __repr__(self) -> str:
        return f"Destination({'exchange' if self.kind == EXCHANGE else 'queue'} {self.name!r})"


@final
class Binding:
    """One binding of a source exchange. `serial` grows with every binding of the exchange."""

    __slots__ = ("arguments", "destination", "key", "serial")

    def __init__(
        self, destination: Destination, key: str, arguments: Table, serial: int = 0
    ) -> None:
        self.destination = destination
        self.key = key
        self.arguments = arguments
        self.serial = serial


def freeze(value: object, depth: i64 = 0) -> object:
    """A hashable stand-in for a field value: two are equal if and only if the AMQP values are.

    Integers of different widths are equal, as are a text and a byte array of the same bytes; 1,
    1.0 and true are three different values. Tables are equal in any order of their keys, arrays
    only in the same order.
    """
    if isinstance(value, str) or value is None:
        return value
    if isinstance(value, bool):
        return ("bool", value)
    if isinstance(value, int):
        return value
    if isinstance(value, float):
        # A NaN is not equal to itself: a binding made with one could never be found again.
        return ("float", value if value == value else "nan")
    if isinstance(value, (bytes, bytearray)):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return bytes(value)
    if depth >= NESTING_MAX:
        return ("deep",)
    if isinstance(value, dict):
        items: list[object] = []
        for name in sorted(value):
            items.append(name)
            items.append(freeze(value[name], depth + 1))
        return ("table", tuple(items))
    if isinstance(value, (list, tuple)):
        return ("array", tuple([freeze(item, depth + 1) for item in value]))
    # A decimal equals no integer, a timestamp equals only a timestamp.
    return ("decimal" if isinstance(value, Decimal) else "timestamp", value)


def binding_identity(key: str, arguments: Table) -> object:
    """What tells two bindings between the same two ends apart: a hashable value."""
    return (key, freeze(arguments)) if arguments else key


@final
class Bucket:
    """Bindings that match together, in the order in which they were made."""

    __slots__ = ("_targets", "bindings")

    def __init__(self) -> None:
        self.bindings: dict[int, Binding] = {}
        self._targets: list[Destination] | None = None

    def add(self, binding: Binding) -> None:
        """Add the newest binding."""
        self.bindings[binding.serial] = binding
        self._targets = None

    def remove(self, binding: Binding) -> None:
        """Remove a binding that is here."""
        del self.bindings[binding.serial]
        self._targets = None

    def destinations(self) -> list[Destination]:
        """Each destination once, in binding order; a list of the caller's own."""
        if self._targets is None:
            distinct: dict[Destination, None] = {}
            for binding in self.bindings.values():
                distinct[binding.destination] = None
            self._targets = list(distinct)
        return self._targets.copy()


def merge(buckets: list[Bucket]) -> list[Destination]:
    """The destinations of several buckets, each once, in binding order."""
    if not buckets:
        return []
    if len(buckets) == 1:
        return buckets[0].destinations()
    found: dict[int, Binding] = {}
    for bucket in buckets:
        found.update(bucket.bindings)
    return in_order(found)


def in_order(found: dict[int, Binding]) -> list[Destination]:
    """The destinations of bindings given by serial, each once, in binding order."""
    distinct: dict[Destination, None] = {}
    for serial in sorted(found):
        distinct[found[serial].destination] = None
    return list(distinct)


class Exchange:
    """One exchange: its definition, its bindings, its routing."""

    # Whether routing looks at the message's headers or at a property of it (then a route cannot be
    # cached by address).
    needs_headers: bool = False
    # The name of the property that `route_all` wants to be given, "" for none.
    needs_property: str = ""
    # The exchange's arguments that its type gives a meaning: a redeclaration must agree on them.
    own_arguments: tuple[str, ...] = ()

    def __init__(
        self,
        name: str,
        type_name: str,
        durable: bool,
        auto_delete: bool,
        internal: bool,
        arguments: Table,
    ) -> None:
        self.name = name
        self.type_name = type_name
        self.durable = durable
        self.auto_delete = auto_delete
        self.internal = internal
        self.arguments = arguments
        # Where messages go that find no destination here; a policy may name it too.
        alternate = arguments.get("alternate-exchange")
        self.alternate = alternate if isinstance(alternate, str) else None
        # How many queues are made with this exchange, and with which arguments.
        self.partitions = 0
        self.partition_arguments: Table = {}
        self._by_destination: dict[Destination, dict[object, Binding]] = {}
        self._next_serial = 0

    def bind(self, destination: Destination, key: str, arguments: Table) -> bool:
        """Add a binding; False if the very same binding is there already.

        Raises ChannelException 406 for a binding that this type does not accept.
        """
        self._validate(key, arguments)
        identity = binding_identity(key, arguments)
        own = self._by_destination.get(destination)
        if own is None:
            own = {}
            self._by_destination[destination] = own
        elif identity in own:
            return False
        binding = Binding(destination, key, arguments, self._next_serial)
        self._next_serial += 1
        own[identity] = binding
        self._added(binding)
        return True

    def check_binding(self, key: str, arguments: Table) -> None:
        """Raise ChannelException 406 for a binding that `bind` would not accept."""
        self._validate(key, arguments)

    def unbind(self, destination: Destination, key: str, arguments: Table) -> bool:
        """Remove a binding; False if there is none."""
        own = self._by_destination.get(destination)
        if own is None:
            return False
        binding = own.pop(binding_identity(key, arguments), None)
        if binding is None:
            return False
        if not own:
            del self._by_destination[destination]
        self._removed(binding)
        return True

    def unbind_destination(self, destination: Destination) -> int:
        """Remove every binding to this destination (it was deleted); how many there were.

        Costs what the destination's own bindings cost, not what the exchange has.
        """
        own = self._by_destination.pop(destination, None)
        if own is None:
            return 0
        for binding in own.values():
            self._removed(binding)
        return len(own)

    def route(self, routing_key: str, headers: Table | None) -> list[Destination]:
        """Every destination that a message with this key and these headers goes to.

        Each is there once, in binding order. The list is the caller's own.
        """
        raise NotImplementedError

    def route_all(
        self, routing_keys: list[str], headers: Table | None, property_text: str | None
    ) -> list[Destination]:
        """Every destination of a message that has several routing keys: its own, then those in CC
        and BCC; `property_text` is the value of the property that `needs_property` names.

        A destination may be there several times. The list is the caller's own.
        """
        found: list[Destination] = []
        for routing_key in routing_keys:
            found.extend(self.route(routing_key, headers))
        return found

    def bindings(self) -> list[Binding]:
        """All bindings, in the order in which they were made."""
        by_serial: dict[int, Binding] = {}
        for own in self._by_destination.values():
            for binding in own.values():
                by_serial[binding.serial] = binding
        return [by_serial[serial] for serial in sorted(by_serial)]

    def binding_count(self) -> int:
        """How many bindings there are."""
        count = 0
        for own in self._by_destination.values():
            count += len(own)
        return count

    def bindings_to(self, destination: Destination) -> list[Binding]:
        """The bindings to one destination, in the order in which they were made."""
        own = self._by_destination.get(destination)
        return [] if own is None else list(own.values())

    def find(self, destination: Destination, key: str, arguments: Table) -> Binding | None:
        """The binding that is the same as this one, as it was made; None if there is none."""
        own = self._by_destination.get(destination)
        return None if own is None else own.get(binding_identity(key, arguments))

    def has_bindings(self) -> bool:
        """Whether this exchange is the source of any binding (if-unused, auto-delete)."""
        return len(self._by_destination) > 0

    def _validate(self, key: str, arguments: Table) -> None:
        """Raise ChannelException 406 for a binding that this type does not accept."""

    def _added(self, binding: Binding) -> None:
        """Put a new binding into the index that `route` uses."""
        raise NotImplementedError

    def _removed(self, binding: Binding) -> None:
        """Take a binding that was added out of the index."""
        raise NotImplementedError
