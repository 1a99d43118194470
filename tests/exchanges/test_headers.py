"""The headers exchange: how conditions are compared, what is refused, what is looked at."""

from __future__ import annotations

import datetime
from decimal import Decimal

import pytest

from amqbroker.errors import PRECONDITION_FAILED, ChannelException
from amqbroker.exchanges.base import QUEUE, Destination, Table
from amqbroker.exchanges.headers import HeadersExchange

A = Destination(QUEUE, "a")
B = Destination(QUEUE, "b")

MOMENT = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)


def make() -> HeadersExchange:
    return HeadersExchange("x", "headers", True, False, False, {})


def is_match(arguments: Table, headers: Table | None) -> bool:
    exchange = make()
    exchange.bind(A, "", arguments)
    return exchange.route("", headers) == [A]


@pytest.mark.parametrize(
    ("arguments", "headers", "expected"),
    [
        ({"a": 1, "b": 2}, {"a": 1, "b": 2, "c": 3}, True),
        ({"a": 1, "b": 2}, {"a": 1}, False),
        ({"a": 1, "b": 2}, {"b": 2}, False),
        ({"a": 1, "b": 2}, {"a": 1, "b": 3}, False),
        ({"x-match": "all", "a": 1, "b": 2}, {"a": 1, "b": 2}, True),
        ({"x-match": "any", "a": 1, "b": 2}, {"b": 2}, True),
        ({"x-match": "any", "a": 1, "b": 2}, {"a": 1, "b": 2}, True),
        ({"x-match": "any", "a": 1, "b": 2}, {"a": 2, "c": 1}, False),
    ],
)
def test_all_wants_every_condition_and_any_wants_one(
    arguments: Table, headers: Table, expected: bool
) -> None:
    assert is_match(arguments, headers) is expected


@pytest.mark.parametrize(
    ("arguments", "headers", "expected"),
    [
        ({"x-a": 1, "b": 2}, {"b": 2}, True),
        ({"x-match": "all-with-x", "x-a": 1, "b": 2}, {"b": 2}, False),
        ({"x-match": "all-with-x", "x-a": 1, "b": 2}, {"b": 2, "x-a": 1}, True),
        ({"x-match": "any", "x-a": 1}, {"x-a": 1}, False),
        ({"x-match": "any-with-x", "x-a": 1}, {"x-a": 1}, True),
        ({"x-match": "any-with-x"}, {"x-match": "any-with-x"}, False),
        ({"x-match": "all-with-x"}, {}, True),
    ],
)
def test_x_arguments_count_only_with_x(arguments: Table, headers: Table, expected: bool) -> None:
    assert is_match(arguments, headers) is expected


def test_without_conditions_all_matches_everything_and_any_nothing() -> None:
    some: list[Table | None] = [None, {}, {"a": 1}]
    for headers in some:
        assert is_match({}, headers)
        assert is_match({"x-match": "all", "x-a": 1}, headers)
        assert not is_match({"x-match": "any"}, headers)


def test_void_asks_for_presence() -> None:
    for value in (None, 0, "", [1], {"b": 1}):
        assert is_match({"a": None}, {"a": value})
        assert is_match({"x-match": "any", "a": None, "b": 1}, {"a": value})
        assert is_match({"b": 2, "a": None}, {"a": value, "b": 2})
    assert not is_match({"a": None}, {"b": 1})
    assert not is_match({"a": None}, None)


@pytest.mark.parametrize(
    ("wanted", "value", "expected"),
    [
        (1, 1, True),
        (1, 1.0, False),
        (1, True, False),
        (0, False, False),
        (1, "1", False),
        ("1", "1", True),
        ("", None, False),
        (0, None, False),
        (1.5, 1.5, True),
        ("a", bytearray(b"a"), True),
        (b"\xff", b"\xff", True),
        (MOMENT, MOMENT, True),
        (MOMENT, 1577836800, True),
        (Decimal(1), 1, False),
        (Decimal("1.5"), Decimal("1.5"), True),
        ([1, "a"], [1, "a"], True),
        ([1], [True], False),
        ({"k": 1}, {"k": 1}, True),
        ({"k": 1}, {"k": 2}, False),
    ],
)
def test_values_are_compared_with_their_types(
    wanted: object, value: object, expected: bool
) -> None:
    assert is_match({"a": wanted}, {"a": value}) is expected
    # As a condition that the binding is not found under.
    assert is_match({"z": 1, "a": wanted}, {"z": 1, "a": value}) is expected


def test_routing_key_and_binding_key_do_not_matter() -> None:
    exchange = make()
    exchange.bind(A, "k", {"a": 1})
    assert exchange.route("other", {"a": 1}) == [A]
    assert exchange.route("k", {"a": 2}) == []


def test_destinations_come_once_in_binding_order() -> None:
    exchange = make()
    exchange.bind(B, "", {"x-match": "any", "b": 1, "a": 1})
    exchange.bind(A, "", {"a": 1})
    exchange.bind(B, "", {"a": 1})
    exchange.bind(A, "", {})
    assert exchange.route("", {"a": 1, "b": 1}) == [B, A]
    assert exchange.route("", {"b": 1, "a": 1}) == [B, A]
    assert exchange.route("", {}) == [A]


def test_unbinding_leaves_the_others_and_then_nothing() -> None:
    exchange = make()
    exchange.bind(A, "", {"a": 1, "b": 1})
    exchange.bind(B, "", {"a": 1, "b": 1})
    exchange.bind(A, "", {"x-match": "any", "a": 1, "b": 1})
    exchange.bind(A, "", {})
    assert exchange.unbind(A, "", {"b": 1, "a": 1})
    assert exchange.route("", {"a": 1, "b": 1}) == [B, A]
    assert exchange.unbind_destination(A) == 2
    assert exchange.route("", {"a": 1, "b": 1}) == [B]
    assert exchange.unbind_destination(B) == 1
    assert exchange.route("", {"a": 1, "b": 1}) == []
    assert exchange._index == {}
    assert exchange._patterns == {}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (
            "none",
            'Invalid x-match field value <<"none">>; expected all, any, all-with-x, or any-with-x',
        ),
        (
            "",
            "Invalid x-match field value <<>>; expected all, any, all-with-x, or any-with-x",
        ),
        (5, "Invalid x-match field type signedint (value 5); expected longstr"),
        (True, "Invalid x-match field type bool (value true); expected longstr"),
        (None, "Invalid x-match field type void (value undefined); expected longstr"),
        (
            ["all"],
            'Invalid x-match field type array (value [{longstr,<<"all">>}]); expected longstr',
        ),
    ],
)
def test_a_bad_x_match_is_refused_and_leaves_no_binding(value: object, text: str) -> None:
    exchange = make()
    with pytest.raises(ChannelException) as refused:
        exchange.bind(A, "", {"x-match": value, "a": 1})
    assert refused.value.code == PRECONDITION_FAILED
    assert refused.value.explanation == text
    assert not exchange.has_bindings()
    assert not exchange.unbind(A, "", {"x-match": value, "a": 1})


def test_only_bindings_that_share_a_rare_condition_are_looked_at() -> None:
    exchange = make()
    for number in range(100):
        exchange.bind(Destination(QUEUE, str(number)), "", {"type": "order", "id": number})
    assert exchange.route("", {"type": "order", "id": 42}) == [Destination(QUEUE, "42")]
    # The first binding saw no difference; all later ones are found under their id.
    assert [len(candidates) for candidates in exchange._index["type"].values()] == [1]
    assert [len(candidates) for candidates in exchange._index["id"].values()] == [1] * 99
