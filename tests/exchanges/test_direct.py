"""The direct exchange: equality of keys."""

from __future__ import annotations

from amqbroker.exchanges.base import QUEUE, Destination
from amqbroker.exchanges.direct import DirectExchange

A = Destination(QUEUE, "a")
B = Destination(QUEUE, "b")


def make() -> DirectExchange:
    return DirectExchange("x", "direct", True, False, False, {})


def test_only_the_equal_key_matches() -> None:
    exchange = make()
    exchange.bind(A, "k", {})
    assert exchange.route("k", None) == [A]
    assert exchange.route("K", None) == []
    assert exchange.route("k.l", None) == []
    assert exchange.route("", None) == []


def test_wildcards_and_the_empty_key_are_plain_keys() -> None:
    exchange = make()
    exchange.bind(A, "#", {})
    exchange.bind(B, "", {})
    assert exchange.route("#", None) == [A]
    assert exchange.route("k", None) == []
    assert exchange.route("", None) == [B]


def test_a_key_is_gone_with_its_last_binding() -> None:
    exchange = make()
    exchange.bind(A, "k", {})
    exchange.bind(B, "k", {})
    exchange.unbind(A, "k", {})
    assert exchange.route("k", None) == [B]
    exchange.unbind_destination(B)
    assert exchange.route("k", None) == []
