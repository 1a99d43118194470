"""Field tables: RabbitMQ's types, exact round trips, refusal of everything malformed."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pamqp import decode, encode
from pamqp.common import FieldTable, FieldValue

from amqbroker.errors import SYNTAX_ERROR, ConnectionException
from amqbroker.wire.tables import (
    DEPTH_MAX,
    PEER_DEPTH,
    decode_table,
    encode_table,
    table_end,
)
from tests.wire.strategies import all_tables, pamqp_tables


def table_of(entry: bytes) -> bytes:
    """A table with one entry `k`, its value given with the type octet."""
    octets = b"\x01k" + entry
    return len(octets).to_bytes(4, "big") + octets


@pytest.mark.parametrize(
    ("entry", "value"),
    [
        (b"t\x00", False),
        (b"t\x01", True),
        (b"t\x02", True),
        (b"b\xff", -1),
        (b"b\x7f", 127),
        (b"B\xff", 255),
        (b"s\xff\xfe", -2),
        (b"u\xff\xfe", 65534),
        (b"I\xff\xff\xff\xfe", -2),
        (b"i\xff\xff\xff\xfe", 4294967294),
        (b"l\xff\xff\xff\xff\xff\xff\xff\xfe", -2),
        (b"L\xff\xff\xff\xff\xff\xff\xff\xfe", -2),
        (b"f\x3f\x80\x00\x00", 1.0),
        (b"d\x3f\xb9\x99\x99\x99\x99\x99\x9a", 0.1),
        (b"D\x02\x00\x00\x00\x96", Decimal("1.50")),
        (b"D\xff\xff\xff\xff\xff", Decimal(-1).scaleb(-255)),
        (b"S\x00\x00\x00\x02\xc3\xa9", "\u00e9"),
        (b"S\x00\x00\x00\x01\xff", b"\xff"),
        (b"x\x00\x00\x00\x01\x41", bytearray(b"A")),
        (b"T\x00\x00\x00\x00\x00\x00\x00\x01", datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)),
        (b"T\x00\x00\x00\x3a\xff\xf4\x41\x7f", datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)),
        (b"T\x00\x00\x00\x3a\xff\xf4\x41\x80", 253402300800),
        (b"T\xff\xff\xff\xff\xff\xff\xff\xff", 2**64 - 1),
        (b"F\x00\x00\x00\x00", {}),
        (b"F\x00\x00\x00\x03\x01aV", {"a": None}),
        (b"A\x00\x00\x00\x05VVVt\x01", [None, None, None, True]),
        (b"V", None),
    ],
)
def test_every_type_is_read(entry: bytes, value: FieldValue) -> None:
    found = decode_table(table_of(entry))["k"]
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize("kind", [kind for kind in range(256) if kind not in b"tbBsuIilLfdDSxTFAV"])
def test_other_types_are_refused(kind: int) -> None:
    with pytest.raises(ConnectionException, match="unknown type octet"):
        decode_table(table_of(bytes([kind]) + b"\x00" * 8))


@pytest.mark.parametrize(
    ("value", "entry"),
    [
        (True, b"t\x01"),
        (5, b"l\x00\x00\x00\x00\x00\x00\x00\x05"),
        (0.1, b"d\x3f\xb9\x99\x99\x99\x99\x99\x9a"),
        ("a", b"S\x00\x00\x00\x01a"),
        (b"a", b"S\x00\x00\x00\x01a"),
        (bytearray(b"a"), b"x\x00\x00\x00\x01a"),
        (None, b"V"),
        (Decimal("-1.5"), b"D\x01\xff\xff\xff\xf1"),
        (Decimal("1E3"), b"D\x00\x00\x00\x03\xe8"),
        (datetime(1970, 1, 1, 0, 0, 1), b"T\x00\x00\x00\x00\x00\x00\x00\x01"),
        ([True, {"a": None}], b"A\x00\x00\x00\x0at\x01F\x00\x00\x00\x03\x01aV"),
    ],
)
def test_every_value_is_written_as_one_type(value: FieldValue, entry: bytes) -> None:
    assert encode_table({"k": value}) == table_of(entry)


@given(all_tables)
def test_a_table_survives_both_ways(table: FieldTable) -> None:
    octets = encode_table(table)
    assert decode_table(octets) == table
    assert list(decode_table(octets)) == list(table)
    assert table_end(octets, 0, len(octets)) == len(octets)


@given(pamqp_tables)
def test_pamqp_reads_the_same(table: FieldTable) -> None:
    octets = encode_table(table)
    assert decode.field_table(octets) == (len(octets), table)


@given(pamqp_tables)
def test_what_pamqp_writes_is_read(table: FieldTable) -> None:
    assert decode_table(encode.field_table(table)) == table


@given(all_tables.filter(bool), st.data())
def test_a_table_that_is_cut_short_is_refused(table: FieldTable, data: st.DataObject) -> None:
    octets = encode_table(table)
    cut = data.draw(st.integers(0, len(octets) - 1))
    with pytest.raises(ConnectionException) as caught:
        decode_table(octets[:cut])
    assert caught.value.code == SYNTAX_ERROR


@given(all_tables, st.data())
def test_a_lying_octet_is_read_or_refused_but_never_breaks(
    table: FieldTable, data: st.DataObject
) -> None:
    octets = bytearray(encode_table(table))
    octets[data.draw(st.integers(0, len(octets) - 1))] = data.draw(st.integers(0, 255))
    try:
        end = table_end(bytes(octets), 0, len(octets))
    except ConnectionException:
        return
    assert end <= len(octets)
    written = encode_table(decode_table(bytes(octets)))
    assert written == encode_table(decode_table(bytes(octets[:end])))
    assert written == encode_table(decode_table(written))


def test_a_value_may_not_reach_over_the_end_of_its_table() -> None:
    inner = b"\x01kS\x00\x00\x00\x02a"
    octets = len(inner).to_bytes(4, "big") + inner + b"bcd"
    with pytest.raises(ConnectionException, match="a value is cut short"):
        decode_table(octets)


def test_a_key_without_a_value_is_refused() -> None:
    with pytest.raises(ConnectionException, match="a field is cut short"):
        decode_table(b"\x00\x00\x00\x02\x01k")


def test_a_key_that_is_not_utf8_is_refused() -> None:
    with pytest.raises(ConnectionException, match="not UTF-8"):
        decode_table(b"\x00\x00\x00\x03\x01\xffV")


def test_the_first_of_two_equal_keys_wins() -> None:
    octets = b"\x01kt\x00\x01kt\x01"
    assert decode_table(len(octets).to_bytes(4, "big") + octets) == {"k": False}


@pytest.mark.parametrize("kind", [b"A", b"F"])
def test_nesting_has_a_limit(kind: bytes) -> None:
    def nested(depth: int) -> bytes:
        octets = b"\x00\x00\x00\x00"
        for _ in range(depth):
            octets = (b"\x01k" if kind == b"F" else b"") + kind + octets
            octets = len(octets).to_bytes(4, "big") + octets
        return table_of(kind + octets)

    assert decode_table(nested(DEPTH_MAX - 2))
    with pytest.raises(ConnectionException, match="nested deeper"):
        decode_table(nested(DEPTH_MAX - 1))


@pytest.mark.parametrize("depth", [DEPTH_MAX - PEER_DEPTH - 1, DEPTH_MAX - PEER_DEPTH])
def test_the_deepest_table_of_a_peer_can_be_wrapped_by_the_broker(depth: int) -> None:
    table: FieldTable = {}
    for _ in range(depth):
        table = {"k": table}
    octets = encode_table(table)
    if depth == DEPTH_MAX - PEER_DEPTH:
        with pytest.raises(ConnectionException, match="nested deeper"):
            table_end(octets, 0, len(octets), PEER_DEPTH)
        return
    assert table_end(octets, 0, len(octets), PEER_DEPTH) == len(octets)
    for _ in range(PEER_DEPTH):
        table = {"k": table}
    assert decode_table(encode_table(table)) == table


def test_a_table_may_begin_anywhere() -> None:
    assert decode_table(b"abc" + table_of(b"V") + b"def", 3) == {"k": None}


@pytest.mark.parametrize(
    "value", [2**64, -(2**63) - 1, Decimal("NaN"), Decimal(2**31), Decimal("1E-256")]
)
def test_numbers_out_of_range_are_the_callers_mistake(value: FieldValue) -> None:
    with pytest.raises(ValueError, match=r"range|cannot hold"):
        encode_table({"k": value})


def test_a_key_over_255_bytes_is_the_callers_mistake() -> None:
    with pytest.raises(ValueError, match="255 bytes"):
        encode_table({"k" * 256: None})
