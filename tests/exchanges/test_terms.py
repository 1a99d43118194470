"""Names of field types, values as Erlang terms: as RabbitMQ prints them."""

from __future__ import annotations

import datetime
from decimal import Decimal

import pytest

from amqbroker.exchanges.terms import DEPTH_MAX, field_type, term


@pytest.mark.parametrize(
    ("value", "type_name", "text"),
    [
        ("abc", "longstr", '<<"abc">>'),
        ("", "longstr", "<<>>"),
        ('q"u\\o\n', "longstr", '<<"q\\"u\\\\o\\n">>'),
        ("\x01", "longstr", "<<1>>"),
        ("é", "longstr", '<<"é"/utf8>>'),
        ("日本", "longstr", "<<230,151,165,230,156,172>>"),
        (b"\xff\x00", "longstr", "<<255,0>>"),
        (bytearray(b"abc"), "binary", '<<"abc">>'),
        (5, "signedint", "5"),
        (-(2**31), "signedint", "-2147483648"),
        (2**31, "long", "2147483648"),
        (True, "bool", "true"),
        (False, "bool", "false"),
        (None, "void", "undefined"),
        (1.5, "double", "1.5"),
        (Decimal("1.25"), "decimal", "{2,125}"),
        (Decimal(7), "decimal", "{0,7}"),
        (datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC), "timestamp", "1577836800"),
        ({}, "table", "[]"),
        ({"a": 1, "b": [True]}, "table", '[{<<"a">>,signedint,1},{<<"b">>,array,[{bool,true}]}]'),
        ([1, "a"], "array", '[{signedint,1},{longstr,<<"a">>}]'),
    ],
)
def test_type_and_term(value: object, type_name: str, text: str) -> None:
    assert field_type(value) == type_name
    assert term(value) == text


def test_deep_nesting_is_cut() -> None:
    value: object = 1
    for _ in range(10_000):
        value = [value]
    assert term(value).count("{array,") == DEPTH_MAX
    assert "[...]" in term(value)
