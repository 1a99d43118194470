"""Slow and obvious models of the exchange types: every binding is asked whether it matches.

They share nothing with the code under test but its words, and restate the rules in another way: a
topic pattern is matched by recursion, a headers binding by looking at each argument.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from amqbroker.exchanges.base import Destination, Exchange, Table

Matcher = Callable[[str, Table, str, Table], bool]


def matches_direct(key: str, arguments: Table, routing_key: str, headers: Table) -> bool:
    return key == routing_key


def matches_fanout(key: str, arguments: Table, routing_key: str, headers: Table) -> bool:
    return True


def matches_topic(key: str, arguments: Table, routing_key: str, headers: Table) -> bool:
    pattern = tuple(key.split(".")) if key else ()
    words = tuple(routing_key.split(".")) if routing_key else ()

    @cache
    def rest(position: int, word: int) -> bool:
        if position == len(pattern):
            return word == len(words)
        if pattern[position] == "#":
            return rest(position + 1, word) or (word < len(words) and rest(position, word + 1))
        return (
            word < len(words)
            and pattern[position] in ("*", words[word])
            and rest(position + 1, word + 1)
        )

    return rest(0, 0)


def same(one: object, other: object) -> bool:
    """Equality of plain values: texts, integers, floats, booleans, void."""
    return type(one) is type(other) and one == other


def matches_headers(key: str, arguments: Table, routing_key: str, headers: Table) -> bool:
    how = str(arguments.get("x-match", "all"))
    results = []
    for name, wanted in arguments.items():
        if name == "x-match" or (name.startswith("x-") and not how.endswith("-with-x")):
            continue
        there = name in headers
        results.append(there and (wanted is None or same(wanted, headers[name])))
    return any(results) if how.startswith("any") else all(results)


class NaiveExchange:
    """A list of bindings in the order in which they were made."""

    def __init__(self, matches: Matcher) -> None:
        self.matches = matches
        self.made: list[tuple[Destination, str, Table]] = []

    def _find(self, destination: Destination, key: str, arguments: Table) -> int:
        for place, (a_destination, a_key, an_argument) in enumerate(self.made):
            if (
                a_destination == destination
                and a_key == key
                and an_argument.keys() == arguments.keys()
                and all(same(value, arguments[name]) for name, value in an_argument.items())
            ):
                return place
        return -1

    def bind(self, destination: Destination, key: str, arguments: Table) -> bool:
        if self._find(destination, key, arguments) >= 0:
            return False
        self.made.append((destination, key, arguments))
        return True

    def unbind(self, destination: Destination, key: str, arguments: Table) -> bool:
        place = self._find(destination, key, arguments)
        if place < 0:
            return False
        del self.made[place]
        return True

    def unbind_destination(self, destination: Destination) -> int:
        before = len(self.made)
        self.made = [binding for binding in self.made if binding[0] != destination]
        return before - len(self.made)

    def route(self, routing_key: str, headers: Table) -> list[Destination]:
        found: list[Destination] = []
        for destination, key, arguments in self.made:
            if destination not in found and self.matches(key, arguments, routing_key, headers):
                found.append(destination)
        return found


def check_same_state(exchange: Exchange, naive: NaiveExchange) -> None:
    """Assert that an exchange lists exactly the bindings of its model."""
    listed = [(made.destination, made.key, made.arguments) for made in exchange.bindings()]
    assert listed == naive.made
    assert exchange.has_bindings() == bool(naive.made)
