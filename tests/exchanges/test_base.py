"""Bindings: identity, order, removal; the values that arguments are compared by."""

from __future__ import annotations

import datetime
from decimal import Decimal

import pytest

from amqbroker.exchanges.base import (
    EXCHANGE,
    NESTING_MAX,
    QUEUE,
    Binding,
    Bucket,
    Destination,
    Exchange,
    Table,
    binding_identity,
    freeze,
    merge,
)
from amqbroker.exchanges.registry import (
    CONSISTENT_HASH,
    EXCHANGE_TYPES,
    MODULUS_HASH,
    make_exchange,
)

A = Destination(QUEUE, "a")
B = Destination(QUEUE, "b")
C = Destination(QUEUE, "c")

# Types that choose one destination.
CHOOSING = (CONSISTENT_HASH, MODULUS_HASH)


@pytest.fixture(params=EXCHANGE_TYPES)
def exchange(request: pytest.FixtureRequest) -> Exchange:
    """One of every type; "1" and "2" are binding keys that all of them accept."""
    return make_exchange("x", str(request.param), True, False, False, {})


@pytest.fixture(params=[name for name in EXCHANGE_TYPES if name not in CHOOSING])
def copying(request: pytest.FixtureRequest) -> Exchange:
    """One of every type that gives a message to all destinations that match."""
    return make_exchange("x", str(request.param), True, False, False, {})


def listed(exchange: Exchange) -> list[tuple[str, str, Table]]:
    return [(made.destination.name, made.key, made.arguments) for made in exchange.bindings()]


def test_destinations_are_compared_by_kind_and_name() -> None:
    assert Destination(QUEUE, "a") == A
    assert hash(Destination(QUEUE, "a")) == hash(A)
    assert Destination(EXCHANGE, "a") != A
    assert A != B
    assert A != "a"
    assert repr(Destination(EXCHANGE, "a")) == "Destination(exchange 'a')"


def test_binding_again_is_no_new_binding(exchange: Exchange) -> None:
    assert exchange.bind(A, "1", {"p": 1, "q": "r"})
    assert not exchange.bind(A, "1", {"q": "r", "p": 1})
    assert listed(exchange) == [("a", "1", {"p": 1, "q": "r"})]


def test_key_arguments_and_kind_tell_bindings_apart(exchange: Exchange) -> None:
    assert exchange.bind(A, "1", {})
    assert exchange.bind(A, "2", {})
    assert exchange.bind(A, "1", {"p": 1})
    assert exchange.bind(A, "1", {"p": 1.0})
    assert exchange.bind(A, "1", {"p": True})
    assert exchange.bind(Destination(EXCHANGE, "a"), "1", {})
    assert len(exchange.bindings()) == 6


def test_unbind_takes_exactly_one_binding(exchange: Exchange) -> None:
    exchange.bind(A, "1", {})
    exchange.bind(A, "1", {"p": 1})
    exchange.bind(B, "1", {})
    assert not exchange.unbind(A, "2", {})
    assert not exchange.unbind(C, "1", {})
    assert exchange.unbind(A, "1", {"p": 1})
    assert not exchange.unbind(A, "1", {"p": 1})
    assert listed(exchange) == [("a", "1", {}), ("b", "1", {})]


def test_unbind_destination_takes_all_of_one_destination(exchange: Exchange) -> None:
    exchange.bind(A, "1", {})
    exchange.bind(B, "1", {})
    exchange.bind(A, "2", {"p": 1})
    assert exchange.unbind_destination(A) == 2
    assert exchange.unbind_destination(A) == 0
    assert listed(exchange) == [("b", "1", {})]


def test_has_bindings_until_the_last_one_goes(exchange: Exchange) -> None:
    assert not exchange.has_bindings()
    exchange.bind(A, "1", {})
    exchange.bind(B, "1", {})
    exchange.unbind(A, "1", {})
    assert exchange.has_bindings()
    exchange.unbind_destination(B)
    assert not exchange.has_bindings()


def test_bindings_are_listed_in_the_order_in_which_they_were_made(exchange: Exchange) -> None:
    exchange.bind(B, "2", {})
    exchange.bind(A, "1", {})
    exchange.bind(B, "1", {})
    exchange.unbind(B, "2", {})
    exchange.bind(B, "2", {})
    assert listed(exchange) == [("a", "1", {}), ("b", "1", {}), ("b", "2", {})]
    assert [made.key for made in exchange.bindings_to(B)] == ["1", "2"]
    assert exchange.bindings_to(C) == []


def test_each_destination_gets_a_message_once_in_binding_order(copying: Exchange) -> None:
    for destination in (C, A, B):
        copying.bind(destination, "1", {})
        copying.bind(destination, "1", {"x-note": "again"})
    assert copying.route("1", {}) == [C, A, B]
    copying.unbind(C, "1", {})
    assert copying.route("1", {}) == [C, A, B]
    copying.unbind(C, "1", {"x-note": "again"})
    assert copying.route("1", {}) == [A, B]
    copying.bind(C, "1", {})
    assert copying.route("1", {}) == [A, B, C]


def test_a_route_belongs_to_the_caller(exchange: Exchange) -> None:
    exchange.bind(A, "1", {})
    exchange.route("1", {}).append(B)
    assert exchange.route("1", {}) == [A]


def test_queue_and_exchange_of_one_name_are_two_destinations(copying: Exchange) -> None:
    other = Destination(EXCHANGE, "a")
    copying.bind(A, "1", {})
    copying.bind(other, "1", {})
    assert copying.route("1", {}) == [A, other]


def test_all_routing_keys_count(copying: Exchange) -> None:
    copying.bind(A, "1", {"x-match": "any", "h": 1})
    copying.bind(B, "2", {"x-match": "any", "h": 1})
    found = copying.route_all(["2", "1", "3"], {"h": 1}, None)
    assert set(found) == {A, B}
    found.clear()
    assert copying.route_all(["1", "2"], {"h": 1}, None)


def test_only_the_headers_exchange_needs_headers() -> None:
    needing = [
        name
        for name in EXCHANGE_TYPES
        if make_exchange("x", name, True, False, False, {}).needs_headers
    ]
    assert needing == ["headers"]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1, 1),
        ("a", bytearray(b"a")),
        (b"\xff", bytearray(b"\xff")),
        (0.0, -0.0),
        (float("nan"), float("nan")),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
        ([1, {"a": None}], [1, {"a": None}]),
        (Decimal("1.5"), Decimal("1.5")),
    ],
)
def test_freeze_makes_equal_values_equal(one: object, other: object) -> None:
    assert freeze(one) == freeze(other)
    assert hash(freeze(one)) == hash(freeze(other))


def test_freeze_keeps_different_values_apart() -> None:
    moment = datetime.datetime(1970, 1, 1, 0, 0, 1, tzinfo=datetime.UTC)
    values: list[object] = [
        *(1, 1.0, True, False, 0, 0.0, "1", "", None, Decimal(1), moment, "float", "nan"),
        *([], {}, [[]], [1], [True], [1.0], [1, 2], [2, 1], {"a": 1}, {"a": True}, {"a": [1]}),
        *(["a", 1], b"\xff", float("nan"), ["float", 1.0], ["bool", True]),
    ]
    frozen = [freeze(value) for value in values]
    assert len(dict.fromkeys(frozen)) == len(values)


def test_freeze_stops_at_a_depth() -> None:
    def nested(levels: int, core: object) -> object:
        value = core
        for _ in range(levels):
            value = [{"a": value}]
        return value

    assert freeze(nested(NESTING_MAX // 2 - 1, [1])) != freeze(nested(NESTING_MAX // 2 - 1, [2]))
    assert freeze(nested(NESTING_MAX * 10, 1)) == freeze(nested(NESTING_MAX * 20, 2))


def test_identity_without_arguments_is_none_with_arguments() -> None:
    assert binding_identity("k", {}) == binding_identity("k", {})
    assert binding_identity("k", {}) != binding_identity("k", {"a": None})
    assert binding_identity("k", {"a": 1}) != binding_identity("l", {"a": 1})


def test_merge_orders_by_binding_and_drops_what_is_there_already() -> None:
    first, second = Bucket(), Bucket()
    first.add(Binding(A, "", {}, 1))
    second.add(Binding(B, "", {}, 2))
    second.add(Binding(A, "", {}, 3))
    first.add(Binding(C, "", {}, 4))
    assert merge([second, first]) == [A, B, C]
    assert merge([second]) == [B, A]
    assert merge([]) == []
