"""JSON values in RabbitMQ's texts."""

from __future__ import annotations

import pytest

from amqbroker.management.erlang import json_term, pairs_term


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (1, "1"),
        (-1.5, "-1.5"),
        (True, "true"),
        (None, "null"),
        ("a", '<<"a">>'),
        ([1, "a", None], '[1,<<"a">>,null]'),
        ({"a": {"b": [False]}}, '#{<<"a">> => #{<<"b">> => [false]}}'),
    ],
)
def test_terms(value: object, shown: str) -> None:
    assert json_term(value) == shown


def test_an_object_as_pairs() -> None:
    assert pairs_term({"a": 1, "b": None}) == '[{<<"a">>,1},{<<"b">>,null}]'
