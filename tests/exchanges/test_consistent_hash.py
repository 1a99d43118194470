"""The consistent-hash exchange: shares by weight, and keys that stay where they are."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from amqbroker.errors import PRECONDITION_FAILED, ChannelException
from amqbroker.exchanges.base import EXCHANGE, QUEUE, Destination, Exchange, Table
from amqbroker.exchanges.consistent_hash import SLOTS
from amqbroker.exchanges.registry import make_exchange

A = Destination(QUEUE, "a")
B = Destination(QUEUE, "b")
C = Destination(QUEUE, "c")

KEYS = [f"key{number}" for number in range(400)]

NAMES = st.sampled_from(["a", "b", "c", "d", "e"])
DESTINATIONS = st.builds(Destination, st.sampled_from([QUEUE, EXCHANGE]), NAMES)
WEIGHTS = st.integers(1, 5).map(str) | st.sampled_from(["01", "+1", "9" * 200])
BINDINGS = st.lists(st.tuples(DESTINATIONS, WEIGHTS), unique=True, max_size=8)


def make(*bindings: tuple[Destination, str], arguments: Table | None = None) -> Exchange:
    exchange = make_exchange("x", "x-consistent-hash", True, False, False, arguments or {})
    for destination, weight in bindings:
        exchange.bind(destination, weight, {})
    return exchange


def owners(exchange: Exchange) -> dict[str, Destination]:
    """Where each key goes: to exactly one destination."""
    found = {}
    for key in KEYS:
        (found[key],) = exchange.route(key, None)
    return found


def refusal(bind: object, *arguments: object) -> str:
    """The text of a 406."""
    assert callable(bind)
    with pytest.raises(ChannelException) as refused:
        bind(*arguments)
    assert refused.value.code == PRECONDITION_FAILED
    return refused.value.explanation


def test_without_bindings_it_goes_nowhere() -> None:
    exchange = make()
    assert exchange.route("k", None) == []
    exchange.bind(A, "1", {})
    assert exchange.route("k", None) == [A]
    exchange.unbind(A, "1", {})
    assert exchange.route("k", None) == []


def test_keys_never_move_from_one_release_to_the_next() -> None:
    """Fixed here, as queues would mix up the order of messages of one key after an update."""
    exchange = make((A, "1"), (B, "2"), (C, "1"), (Destination(EXCHANGE, "a"), "1"))
    places = [exchange.route(f"user-{number}", None)[0] for number in range(12)]
    kinds = "".join("ABCE"[[A, B, C, Destination(EXCHANGE, "a")].index(one)] for one in places)
    assert kinds == "BCCEBCCBBEEB"


@settings(max_examples=25, deadline=None)
@given(bindings=BINDINGS.filter(bool), data=st.data())
def test_neither_order_nor_history_matters(
    bindings: list[tuple[Destination, str]], data: st.DataObject
) -> None:
    expected = owners(make(*bindings))
    other = make(*data.draw(st.permutations(bindings)))
    assert owners(other) == expected
    for extra in data.draw(st.lists(st.integers(1, 9), max_size=3, unique=True)):
        other.bind(Destination(QUEUE, f"extra{extra}"), str(extra), {})
        owners(other)
        other.unbind_destination(Destination(QUEUE, f"extra{extra}"))
    assert owners(other) == expected


@settings(max_examples=40, deadline=None)
@given(bindings=BINDINGS.filter(bool), new=st.tuples(DESTINATIONS, WEIGHTS))
def test_a_new_binding_only_takes_and_one_that_goes_only_gives(
    bindings: list[tuple[Destination, str]], new: tuple[Destination, str]
) -> None:
    exchange = make(*bindings)
    before = owners(exchange)
    is_new = exchange.bind(new[0], new[1], {})
    after = owners(exchange)
    moved = [key for key in KEYS if before[key] != after[key]]
    assert all(after[key] == new[0] for key in moved)
    assert is_new or not moved
    if is_new:
        exchange.unbind(new[0], new[1], {})
        assert owners(exchange) == before


@settings(max_examples=15, deadline=None)
@given(weights=st.lists(st.integers(1, 4), min_size=1, max_size=6), start=st.integers(0, 10**9))
def test_shares_are_in_proportion_to_the_weights(weights: list[int], start: int) -> None:
    destinations = [Destination(QUEUE, f"q{number}") for number in range(len(weights))]
    exchange = make(
        *((one, str(weight)) for one, weight in zip(destinations, weights, strict=True))
    )
    total = 4000
    counts = Counter(exchange.route(str(start + number), None)[0] for number in range(total))
    for one, weight in zip(destinations, weights, strict=True):
        share = weight / sum(weights)
        # Six standard deviations of a fair draw, and what the slots are uneven by.
        allowed = 6 * (total * share * (1 - share)) ** 0.5 * (1 + total / SLOTS)
        assert abs(counts[one] - total * share) <= allowed


def test_a_weight_of_any_size_costs_nothing() -> None:
    exchange = make((A, "9" * 255), (B, "9" * 254), (C, "1"))
    counts = Counter(owners(exchange).values())
    assert counts[A] > 5 * counts[B] > 0
    assert counts[C] == 0


def test_several_bindings_of_one_destination_add_up() -> None:
    split = make((A, "1"), (B, "1"), (A, "2"), (A, "+1"))
    assert owners(split) == owners(make((A, "4"), (B, "1")))
    split.unbind(A, "2", {})
    assert owners(split) == owners(make((A, "2"), (B, "1")))
    split.unbind_destination(A)
    assert set(owners(split).values()) == {B}


def test_only_the_first_of_several_keys_counts() -> None:
    exchange = make((A, "1"), (B, "1"))
    for key in KEYS[:20]:
        assert exchange.route_all([key, *KEYS], None, None) == exchange.route(key, None)


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("heavy", 'The binding key must be an integer: <<"heavy">>'),
        ("", "The binding key must be an integer: <<>>"),
        ("-", 'The binding key must be an integer: <<"-">>'),
        ("1.5", 'The binding key must be an integer: <<"1.5">>'),
        (" 1", 'The binding key must be an integer: <<" 1">>'),
        ("1_0", 'The binding key must be an integer: <<"1_0">>'),
        ("²", 'The binding key must be an integer: <<"²"/utf8>>'),
        ("٣", "The binding key must be an integer: <<217,163>>"),
        ("0", "The binding key must be greater than 0"),
        ("-3", "The binding key must be greater than 0"),
    ],
)
def test_a_binding_key_is_a_whole_number_from_1(key: str, text: str) -> None:
    exchange = make((A, "1"))
    assert refusal(exchange.bind, B, key, {}) == text
    assert [binding.destination for binding in exchange.bindings()] == [A]
    assert exchange.route("k", None) == [A]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"hash-property": "app_id"}, "Unsupported property: app_id"),
        ({"hash-property": ""}, "Unsupported property: "),
        (
            {"hash-header": "h", "hash-property": "message_id"},
            "hash-header and hash-property are mutually exclusive",
        ),
        (
            {"hash-header": "h", "hash-property": "app_id"},
            "hash-header and hash-property are mutually exclusive",
        ),
        ({"hash-header": 5}, "invalid type 'signedint' for arg 'hash-header'"),
        ({"hash-header": None}, "invalid type 'void' for arg 'hash-header'"),
        ({"hash-property": True}, "invalid type 'bool' for arg 'hash-property'"),
    ],
)
def test_arguments_that_are_refused(arguments: Table, text: str) -> None:
    arguments_of = ("x", "x-consistent-hash", True, False, False, arguments)
    assert refusal(make_exchange, *arguments_of) == text


def test_what_it_needs_of_a_message() -> None:
    by_key = make()
    by_header = make(arguments={"hash-header": ""})
    by_property = make(arguments={"hash-property": "timestamp"})
    assert [one.needs_headers for one in (by_key, by_header, by_property)] == [False, True, True]
    assert [one.needs_property for one in (by_key, by_header, by_property)] == ["", "", "timestamp"]


def test_by_a_header() -> None:
    exchange = make((A, "1"), (B, "1"), arguments={"hash-header": "user"})
    by_key = owners(make((A, "1"), (B, "1")))
    for key in KEYS:
        assert exchange.route("k", {"user": key, "other": "x"}) == [by_key[key]]


def test_by_a_property() -> None:
    exchange = make((A, "1"), (B, "1"), arguments={"hash-property": "message_id"})
    by_key = owners(make((A, "1"), (B, "1")))
    for key in KEYS:
        assert exchange.route_all(["k"], {"message_id": "x"}, key) == [by_key[key]]


@pytest.mark.parametrize("name", ["hash-header", "hash-property"])
def test_messages_without_it_go_to_one_destination(name: str) -> None:
    exchange = make((A, "1"), (B, "1"), arguments={name: "message_id"})
    found = [exchange.route_all([key], None, None) for key in KEYS]
    found += [exchange.route_all([key], {"h": key}, None) for key in KEYS]
    found += [exchange.route_all([key], {"message_id": None}, None) for key in KEYS]
    found.append(exchange.route("k", None))
    assert all(one == found[0] for one in found)
    assert len(found[0]) == 1


def test_headers_of_every_type_are_spread() -> None:
    exchange = make((A, "1"), (B, "1"), arguments={"hash-header": "h"})
    for kind in (
        list(range(40)),
        [number / 8 for number in range(40)],
        [Decimal(number) / 10 for number in range(40)],
        [datetime.fromtimestamp(number, UTC) for number in range(40)],
        [b"\xff%d" % number for number in range(40)],
        [{"a": number} for number in range(40)],
        [[number] for number in range(40)],
    ):
        found = {exchange.route("k", {"h": value})[0] for value in kind}
        assert found == {A, B}, kind
        for value in kind:
            assert exchange.route("k", {"h": value}) == exchange.route("other", {"h": value})
