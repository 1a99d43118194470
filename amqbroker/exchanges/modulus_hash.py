"""The modulus-hash exchange: the hash of the routing key modulo the number of bindings.

Each message goes to one destination, the same for the same routing key (the message's own, not CC)
as long as the bindings stay the same; binding keys do not matter. Shares are even, and twice as
large for a destination that is bound twice. A binding more or less moves most keys: where that
matters, the consistent-hash exchange is better. Bindings are numbered by the kind and name of their
destination, not in the order in which they were made, so that a restart changes nothing.

Source: RabbitMQ's `rabbit_sharding_exchange_type_modulus_hash`. Which destination a key meets is
ours.
"""

from __future__ import annotations

from typing import final

from mypy_extensions import i64

from amqbroker.exchanges.base import Binding, Destination, Exchange, Table
from amqbroker.exchanges.hashing import hash_text


@final
class ModulusHashExchange(Exchange):
    """Routes to one destination by a hash of the routing key."""

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
        # One a binding; None until it is needed.
        self._numbered: list[Destination] | None = None

    def route(self, routing_key: str, headers: Table | None) -> list[Destination]:
        if self._numbered is None:
            self._numbered = sorted([made.destination for made in self.bindings()], key=_place)
        count: i64 = len(self._numbered)
        if count == 0:
            return []
        return [self._numbered[hash_text(routing_key) % count]]

    def route_all(
        self, routing_keys: list[str], headers: Table | None, property_text: str | None
    ) -> list[Destination]:
        return self.route(routing_keys[0], headers)

    def _added(self, binding: Binding) -> None:
        self._numbered = None

    def _removed(self, binding: Binding) -> None:
        self._numbered = None


def _place(destination: Destination) -> tuple[int, str]:
    return (destination.kind, destination.name)
