"""Random binds, unbinds and deletions, every type against its naive model after each step."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from amqbroker.exchanges.base import EXCHANGE, QUEUE, Destination, Table
from amqbroker.exchanges.registry import make_exchange

from .naive import (
    Matcher,
    NaiveExchange,
    check_same_state,
    matches_direct,
    matches_fanout,
    matches_headers,
    matches_topic,
)

MODELS: dict[str, Matcher] = {
    "direct": matches_direct,
    "fanout": matches_fanout,
    "headers": matches_headers,
    "topic": matches_topic,
}

DESTINATIONS = st.builds(
    Destination, st.sampled_from([QUEUE, EXCHANGE]), st.sampled_from(["p", "q", "r"])
)
KEYS = st.lists(st.sampled_from(["a", "b", "*", "#", ""]), max_size=4).map(".".join)
NAMES = st.sampled_from(["a", "b", "x-c"])
VALUES = st.sampled_from([1, 2, 1.0, True, "1", "", None])
HEADERS: st.SearchStrategy[Table] = st.dictionaries(NAMES, VALUES, max_size=3)
MATCH: st.SearchStrategy[Table] = st.sampled_from(
    [
        {},
        {"x-match": "all"},
        {"x-match": "any"},
        {"x-match": "all-with-x"},
        {"x-match": "any-with-x"},
    ]
)
ARGUMENTS: st.SearchStrategy[Table] = st.builds(lambda how, rest: how | rest, MATCH, HEADERS)

STEPS = st.lists(
    st.tuples(st.sampled_from(["bind", "bind", "bind", "unbind", "delete"]), st.integers(0, 9)),
    min_size=1,
    max_size=25,
)


@settings(max_examples=60, deadline=None)
@given(
    type_name=st.sampled_from(sorted(MODELS)),
    # Few bindings, so that steps meet the same one again.
    pool=st.lists(st.tuples(DESTINATIONS, KEYS, ARGUMENTS), min_size=10, max_size=10),
    steps=STEPS,
    messages=st.lists(st.tuples(KEYS, HEADERS), min_size=1, max_size=4),
)
def test_every_type_agrees_with_its_model(
    type_name: str,
    pool: list[tuple[Destination, str, Table]],
    steps: list[tuple[str, int]],
    messages: list[tuple[str, Table]],
) -> None:
    exchange = make_exchange("x", type_name, True, False, False, {})
    naive = NaiveExchange(MODELS[type_name])
    for action, number in steps:
        destination, key, arguments = pool[number]
        if action == "bind":
            made = exchange.bind(destination, key, arguments)
            assert made == naive.bind(destination, key, arguments)
        elif action == "unbind":
            gone = exchange.unbind(destination, key, arguments)
            assert gone == naive.unbind(destination, key, arguments)
        else:
            count = exchange.unbind_destination(destination)
            assert count == naive.unbind_destination(destination)
        check_same_state(exchange, naive)
        for routing_key, headers in messages:
            assert exchange.route(routing_key, headers) == naive.route(routing_key, headers)
