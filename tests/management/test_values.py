"""Field values as JSON has them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from amqbroker.management.values import DEPTH_MAX, problem_of, table_to_json, to_json


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("text", "text"),
        (True, True),
        (7, 7),
        (2.5, 2.5),
        (None, None),
        (b"octets", "octets"),
        (bytearray(b"a\xff"), "a�"),
        (datetime(2026, 1, 1, tzinfo=UTC), 1_767_225_600),
        (Decimal("1.5"), 1.5),
        (float("nan"), "nan"),
        ([b"a", {"b": b"c"}], ["a", {"b": "c"}]),
    ],
)
def test_every_value_has_a_form_in_json(value: object, shown: object) -> None:
    assert to_json(value) == shown
    json.dumps(to_json(value), allow_nan=False)
    assert table_to_json({"key": value}) == {"key": shown}


def test_what_json_can_say_and_amqp_cannot_is_named() -> None:
    assert problem_of({"a": [1, {"b": "c"}], "d": None}, "x") is None
    assert problem_of({"a": [1, {"b": 2**63}]}, "x") == ("x.a[1].b", "no 64-bit number")
    assert problem_of(-(2**63), "x") is None
    long_name = problem_of({"é" * 128: 1}, "x")
    assert long_name is not None
    assert long_name[1].startswith("a field's name is longer")
    deep: object = 1
    for _ in range(DEPTH_MAX + 1):
        deep = [deep]
    found = problem_of(deep, "x")
    assert found is not None
    assert found[1] == "nested deeper than 64"
