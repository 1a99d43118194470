"""The consistent-hash exchange: each message goes to one destination, the same for the same key.

The binding key is a weight, a whole number from 1: a destination with twice the weight gets twice
the keys. Weights of several bindings to one destination add up. What is hashed is the routing key
(the message's own, not CC), or what the exchange's arguments name: `hash-header` a header,
`hash-property` one of message_id, correlation_id and timestamp. Messages without it go to one
destination, all to the same.

How a key finds its destination: its hash falls into one of SLOTS slots, and each slot belongs to
the destination with the lowest score in it (weighted rendezvous hashing). A score depends on the
slot, the destination's name and its weight, and on nothing else. So:

- shares are proportional to the weights, whatever the weights are; a ring with points would want
  many points a unit of weight for that, and memory for each;
- a new binding takes slots for its own destination only, and a binding that goes gives back only
  those: no key moves between two destinations that stay as they are. With RabbitMQ's numbered
  buckets all keys behind the removed ones may move;
- neither the order of the bindings nor a restart matters.

A slot's owner is found when a message first falls into it and kept until the bindings change: a
message costs the same with ten destinations or a thousand, and a binding costs nothing until then.
A share is even up to about the square root of destinations / SLOTS: 1 % with ten destinations.

Source: RabbitMQ's `rabbit_exchange_type_consistent_hash` for arguments, checks and texts. Which
destination a key meets is ours, and so is the sum of several bindings: RabbitMQ 3.13 ignores all
but the first one to a queue.
"""

from __future__ import annotations

import hashlib
import math
from typing import Final, final

from mypy_extensions import i64

from amqbroker.errors import precondition_failed
from amqbroker.exchanges.base import Binding, Destination, Exchange, Table
from amqbroker.exchanges.hashing import MASK, hash_text, mix
from amqbroker.exchanges.terms import field_type, term

HASH_HEADER: Final = "hash-header"
HASH_PROPERTY: Final = "hash-property"
PROPERTIES: Final = ("correlation_id", "message_id", "timestamp")

# Not RabbitMQ's: queues that are made with the exchange, see core/partitions.py.
PARTITIONS: Final = "x-partitions"
PARTITION_ARGUMENTS: Final = "x-partition-arguments"
PARTITIONS_MAX: Final = 1000

SLOTS: Final = 65_536
# What the 32 bits of a hash are divided by to lie between 0 and 1.
RANGE: Final = 4_294_967_296.0


@final
class _Member:
    """A destination with the sum of its weights, and what tells its scores from all others'."""

    __slots__ = ("destination", "high", "low", "scale", "weight")

    def __init__(self, destination: Destination) -> None:
        identity = f"{destination.kind}:{destination.name}".encode(errors="surrogatepass")
        seed = int.from_bytes(hashlib.blake2b(identity, digest_size=8).digest(), "big")
        self.destination = destination
        self.high: i64 = seed >> 32
        self.low: i64 = seed & MASK
        self.weight = 0
        self.scale = 0.0

    def add(self, weight: int) -> None:
        """A binding of this weight came; below 0, one of the opposite went."""
        self.weight += weight
        self.scale = 1.0 / self.weight if self.weight > 0 else 0.0

    def score(self, slot: i64) -> float:
        """The lowest one of a slot wins it: with a probability in proportion to its weight."""
        drawn = mix(mix(slot ^ self.low) ^ self.high)
        return -math.log((float(drawn) + 0.5) / RANGE) * self.scale

    def precedes(self, other: _Member) -> bool:
        """Who wins at the same score; any rule that the order of the bindings is no part of."""
        if self.high != other.high:
            return self.high < other.high
        return self.low < other.low


@final
class ConsistentHashExchange(Exchange):
    """Routes to one destination by a hash."""

    def __init__(
        self,
        name: str,
        type_name: str,
        durable: bool,
        auto_delete: bool,
        internal: bool,
        arguments: Table,
    ) -> None:
        super().__init__(name, type_name, durable, auto_delete, internal, arguments)
        self._header = _text_argument(arguments, HASH_HEADER)
        named = _text_argument(arguments, HASH_PROPERTY)
        if named is not None:
            if self._header is not None:
                raise precondition_failed("hash-header and hash-property are mutually exclusive")
            if named not in PROPERTIES:
                raise precondition_failed(f"Unsupported property: {named}")
            self.needs_property = named
        self.needs_headers = self._header is not None or named is not None
        self.own_arguments = (HASH_HEADER, HASH_PROPERTY, PARTITIONS, PARTITION_ARGUMENTS)
        self.partitions = _partitions(arguments)
        self.partition_arguments = _partition_arguments(arguments)
        self._members: dict[Destination, _Member] = {}
        self._owners: dict[int, Destination] = {}  # by slot, as far as they are known

    def route(self, routing_key: str, headers: Table | None) -> list[Destination]:
        return self.route_all([routing_key], headers, None)

    def route_all(
        self, routing_keys: list[str], headers: Table | None, property_text: str | None
    ) -> list[Destination]:
        if not self._members:
            return []
        hashed: str | None = routing_keys[0]
        if self._header is not None:
            hashed = None if headers is None else _header_text(headers.get(self._header))
        elif self.needs_property:
            hashed = property_text
        slot: i64 = 0 if hashed is None else hash_text(hashed) % SLOTS
        owner = self._owners.get(slot)
        if owner is None:
            owner = self._find_owner(slot)
            self._owners[slot] = owner
        return [owner]

    def _find_owner(self, slot: i64) -> Destination:
        """The destination that a slot belongs to; there is at least one."""
        best: _Member | None = None
        lowest = math.inf
        for member in self._members.values():
            score = member.score(slot)
            if best is None or score < lowest or (score == lowest and member.precedes(best)):
                best = member
                lowest = score
        assert best is not None, self.name
        return best.destination

    def _validate(self, key: str, arguments: Table) -> None:
        if _weight(key) < 1:
            raise precondition_failed("The binding key must be greater than 0")

    def _added(self, binding: Binding) -> None:
        member = self._members.get(binding.destination)
        if member is None:
            member = _Member(binding.destination)
            self._members[binding.destination] = member
        member.add(_weight(binding.key))
        self._owners = {}

    def _removed(self, binding: Binding) -> None:
        member = self._members[binding.destination]
        member.add(-_weight(binding.key))
        if member.weight == 0:
            del self._members[binding.destination]
        self._owners = {}


def _text_argument(arguments: Table, name: str) -> str | None:
    """A text among the exchange's arguments, None if it is not there. Raises 406."""
    if name not in arguments:
        return None
    value = arguments[name]
    if not isinstance(value, str):
        raise precondition_failed(f"invalid type '{field_type(value)}' for arg '{name}'")
    return value


def _partitions(arguments: Table) -> int:
    """How many partitions these arguments ask for, 0 for none. Raises 406."""
    if PARTITIONS not in arguments:
        return 0
    value = arguments[PARTITIONS]
    if not isinstance(value, int) or isinstance(value, bool):
        raise precondition_failed(f"invalid type '{field_type(value)}' for arg '{PARTITIONS}'")
    if not 1 <= value <= PARTITIONS_MAX:
        raise precondition_failed(
            f"arg '{PARTITIONS}' must be between 1 and {PARTITIONS_MAX}: {value}"
        )
    return value


def _partition_arguments(arguments: Table) -> Table:
    """The arguments that the queues of the partitions get. Raises 406."""
    if PARTITION_ARGUMENTS not in arguments:
        return {}
    value = arguments[PARTITION_ARGUMENTS]
    if not isinstance(value, dict):
        raise precondition_failed(
            f"invalid type '{field_type(value)}' for arg '{PARTITION_ARGUMENTS}'"
        )
    if PARTITIONS not in arguments:
        raise precondition_failed(f"arg '{PARTITION_ARGUMENTS}' without '{PARTITIONS}'")
    return value


def _header_text(value: object) -> str | None:
    """What is hashed of a header: equal values, whatever their width, give the same text."""
    return value if value is None or isinstance(value, str) else term(value)


def _weight(key: str) -> int:
    """The weight that a binding key stands for. Raises 406 if it is no whole number."""
    digits = key[1:] if key[:1] in ("-", "+") else key
    if not (digits.isascii() and digits.isdigit()):
        raise precondition_failed(f"The binding key must be an integer: {term(key)}")
    # No more digits than a short string has: int() is bounded.
    return int(key)
