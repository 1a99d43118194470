"""The fanout exchange: everyone gets everything."""

from __future__ import annotations

from amqbroker.exchanges.base import QUEUE, Destination
from amqbroker.exchanges.fanout import FanoutExchange

A = Destination(QUEUE, "a")
B = Destination(QUEUE, "b")


def make() -> FanoutExchange:
    return FanoutExchange("x", "fanout", True, False, False, {})


def test_keys_do_not_matter() -> None:
    exchange = make()
    assert exchange.route("k", None) == []
    exchange.bind(A, "one", {})
    exchange.bind(B, "two", {})
    assert exchange.route("three", None) == [A, B]
    assert exchange.route("", {"h": 1}) == [A, B]


def test_a_destination_stays_until_its_last_binding_goes() -> None:
    exchange = make()
    exchange.bind(A, "one", {})
    exchange.bind(A, "two", {})
    exchange.unbind(A, "one", {})
    assert exchange.route("", None) == [A]
    exchange.unbind(A, "two", {})
    assert exchange.route("", None) == []


def test_the_earliest_binding_that_is_left_gives_the_place() -> None:
    exchange = make()
    exchange.bind(A, "one", {})
    exchange.bind(B, "one", {})
    exchange.bind(A, "two", {})
    assert exchange.route("", None) == [A, B]
    exchange.unbind(A, "one", {})
    assert exchange.route("", None) == [B, A]
