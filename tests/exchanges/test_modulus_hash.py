"""The modulus-hash exchange: one destination a key, in even shares."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amqbroker.exchanges.base import EXCHANGE, QUEUE, Destination
from amqbroker.exchanges.hashing import hash_text
from amqbroker.exchanges.modulus_hash import ModulusHashExchange

A = Destination(QUEUE, "a")
B = Destination(QUEUE, "b")
C = Destination(EXCHANGE, "a")


def make(*destinations: Destination) -> ModulusHashExchange:
    exchange = ModulusHashExchange("x", "x-modulus-hash", True, False, False, {})
    for destination in destinations:
        exchange.bind(destination, "", {})
    return exchange


def test_without_bindings_it_goes_nowhere() -> None:
    exchange = make()
    assert exchange.route("k", None) == []
    exchange.bind(A, "any key", {})
    assert exchange.route("k", None) == [A]
    exchange.unbind_destination(A)
    assert exchange.route("k", None) == []


@given(order=st.permutations([A, B, C]), key=st.text(max_size=10))
def test_the_hash_numbers_the_destinations_by_name(order: list[Destination], key: str) -> None:
    assert make(*order).route(key, None) == [[A, B, C][hash_text(key) % 3]]


@pytest.mark.parametrize("count", [2, 7, 100])
def test_shares_are_even(count: int) -> None:
    exchange = make(*(Destination(QUEUE, f"q{number}") for number in range(count)))
    counts = Counter(exchange.route(f"key{number}", None)[0] for number in range(100 * count))
    assert len(counts) == count
    assert all(50 < found < 150 for found in counts.values())


def test_a_destination_that_is_bound_twice_gets_two_shares() -> None:
    exchange = make(A, B)
    exchange.bind(B, "again", {})
    exchange.bind(B, "again", {})
    counts = Counter(exchange.route(f"key{number}", None)[0] for number in range(3000))
    assert counts[A] == pytest.approx(1000, abs=150)
    exchange.unbind(B, "again", {})
    counts = Counter(exchange.route(f"key{number}", None)[0] for number in range(3000))
    assert counts[A] == pytest.approx(1500, abs=150)


def test_only_the_first_of_several_keys_counts() -> None:
    exchange = make(A, B)
    for number in range(20):
        keys = [str(number), "other", "another"]
        assert exchange.route_all(keys, None, None) == exchange.route(keys[0], None)
