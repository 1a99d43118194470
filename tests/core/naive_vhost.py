"""A slow and obvious model of a virtual host: lists of what there is, a walk without a cache."""

from __future__ import annotations

from dataclasses import dataclass, field

from amqbroker.exchanges.base import Table
from tests.exchanges.naive import (
    Matcher,
    matches_direct,
    matches_fanout,
    matches_headers,
    matches_topic,
)

MATCHERS: dict[str, Matcher] = {
    "direct": matches_direct,
    "fanout": matches_fanout,
    "headers": matches_headers,
    "topic": matches_topic,
}


@dataclass
class NaiveExchange:
    """An exchange's definition."""

    type_name: str
    durable: bool
    auto_delete: bool
    alternate: str | None


@dataclass(frozen=True)
class NaiveBinding:
    """A binding; `to_exchange` tells what the destination is."""

    source: str
    to_exchange: bool
    destination: str
    key: str
    any_of: bool  # for headers exchanges: x-match any, so that nothing matches

    def arguments(self) -> Table:
        """The arguments of the binding."""
        return {"x-match": "any"} if self.any_of else {}


@dataclass
class NaiveVhost:
    """Exchanges by name, queues by name (durable or not), and bindings."""

    exchanges: dict[str, NaiveExchange] = field(default_factory=dict)
    queues: dict[str, bool] = field(default_factory=dict)
    bindings: list[NaiveBinding] = field(default_factory=list)

    def bind(self, binding: NaiveBinding) -> None:
        """Add a binding, if it is new."""
        if binding not in self.bindings:
            self.bindings.append(binding)

    def unbind(self, binding: NaiveBinding) -> None:
        """Remove a binding, if it is there."""
        if binding in self.bindings:
            self._remove([binding])

    def delete_queue(self, name: str) -> None:
        """Remove a queue and every binding to it."""
        del self.queues[name]
        self._remove(self._to(False, name))

    def delete_exchange(self, name: str) -> None:
        """Remove an exchange and every binding from and to it."""
        del self.exchanges[name]
        self.bindings = [binding for binding in self.bindings if binding.source != name]
        self._remove(self._to(True, name))

    def restart(self) -> None:
        """Only what is durable remains: of bindings, those between two durable ends."""
        self.exchanges = {name: each for name, each in self.exchanges.items() if each.durable}
        self.queues = {name: durable for name, durable in self.queues.items() if durable}
        self.bindings = [binding for binding in self.bindings if self._has_ends(binding)]

    def route(self, exchange: str, key: str) -> set[str]:
        """The queues that a message without headers goes to."""
        if not exchange:
            return {key} if key in self.queues else set()
        reached: set[str] = set()
        seen: set[str] = set()
        self._walk(exchange, key, seen, reached)
        return reached

    def _walk(self, name: str, key: str, seen: set[str], reached: set[str]) -> None:
        if name in seen:
            return
        seen.add(name)
        exchange = self.exchanges.get(name)
        if exchange is None:
            return
        matches = MATCHERS[exchange.type_name]
        found = [
            binding
            for binding in self.bindings
            if binding.source == name and matches(binding.key, binding.arguments(), key, {})
        ]
        for binding in found:
            if binding.to_exchange:
                self._walk(binding.destination, key, seen, reached)
            else:
                reached.add(binding.destination)
        if not found and exchange.alternate is not None:
            self._walk(exchange.alternate, key, seen, reached)

    def _to(self, to_exchange: bool, name: str) -> list[NaiveBinding]:
        return [
            binding
            for binding in self.bindings
            if binding.to_exchange == to_exchange and binding.destination == name
        ]

    def _remove(self, gone: list[NaiveBinding]) -> None:
        """Take bindings away; an auto-delete exchange goes with its last one."""
        self.bindings = [binding for binding in self.bindings if binding not in gone]
        for source in {binding.source for binding in gone}:
            if (
                source in self.exchanges
                and self.exchanges[source].auto_delete
                and not any(binding.source == source for binding in self.bindings)
            ):
                self.delete_exchange(source)

    def _has_ends(self, binding: NaiveBinding) -> bool:
        ends = self.exchanges if binding.to_exchange else self.queues
        return binding.source in self.exchanges and binding.destination in ends
