"""Properties in place: the same as pamqp's full decoding, and every header checked to its end."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pamqp import commands, header
from pamqp.common import FieldTable, FieldValue

from amqbroker.errors import SYNTAX_ERROR, ConnectionException
from amqbroker.wire import properties as subject
from tests.wire.strategies import all_tables, keys, names, pamqp_tables, properties

TEXTS = {
    "content_type": subject.CONTENT_TYPE,
    "content_encoding": subject.CONTENT_ENCODING,
    "correlation_id": subject.CORRELATION_ID,
    "reply_to": subject.REPLY_TO,
    "expiration": subject.EXPIRATION,
    "message_id": subject.MESSAGE_ID,
    "message_type": subject.TYPE,
    "user_id": subject.USER_ID,
    "app_id": subject.APP_ID,
}


def header_of(made: commands.Basic.Properties, body_size: int = 7) -> bytes:
    return header.ContentHeader(body_size=body_size, properties=made).marshal()


def raw(flags: int, octets: bytes) -> bytes:
    """A header with these flags and property octets, right or wrong."""
    return b"\x00\x3c\x00\x00" + bytes(8) + flags.to_bytes(2, "big") + octets


def with_values(made: commands.Basic.Properties, **values: object) -> bytes:
    """The header that pamqp makes of the properties with some changed."""
    for name, value in values.items():
        setattr(made, name, value)
    return header_of(made)


@given(properties)
def test_every_property_is_found_where_pamqp_put_it(made: commands.Basic.Properties) -> None:
    octets = header_of(made)
    assert subject.check_properties(octets) is (made.delivery_mode == 2)
    assert subject.is_persistent(octets) is (made.delivery_mode == 2)
    assert subject.priority_of(octets) == (made.priority or 0)
    assert subject.headers_of(octets) == made.headers
    assert subject.body_size_of(octets) == 7
    for name, flag in TEXTS.items():
        assert subject.property_text(octets, flag) == (getattr(made, name) or None)


@given(properties)
def test_properties_as_text(made: commands.Basic.Properties) -> None:
    octets = header_of(made)
    for name in ("message_id", "correlation_id", "app_id"):
        assert subject.property_as_text(octets, name) == (getattr(made, name) or None)
    moment = made.timestamp
    expected = None if moment is None else str(int(moment.timestamp()))
    assert subject.property_as_text(octets, "timestamp") == expected


@given(properties)
def test_all_properties_at_once(made: commands.Basic.Properties) -> None:
    expected: FieldTable = {
        "type" if name == "message_type" else name: value
        for name, value in made
        if value not in (None, "")
    }
    assert subject.decode_properties(header_of(made)) == expected
    assert subject.encode_header(7, expected) == subject.encode_header(
        7, subject.decode_properties(subject.encode_header(7, expected))
    )


@given(properties.filter(lambda made: made.headers is None))
def test_a_made_header_is_pamqps(made: commands.Basic.Properties) -> None:
    octets = header_of(made)
    assert subject.encode_header(7, subject.decode_properties(octets)) == octets


@given(properties, st.data())
def test_a_header_that_is_cut_short_is_refused(
    made: commands.Basic.Properties, data: st.DataObject
) -> None:
    octets = header_of(made)
    if len(octets) == subject.PROPERTIES_AT:
        return
    cut = data.draw(st.integers(subject.PROPERTIES_AT, len(octets) - 1))
    with pytest.raises(ConnectionException) as caught:
        subject.check_properties(octets[:cut])
    assert caught.value.code == SYNTAX_ERROR


@given(properties, st.data())
def test_what_passes_the_check_never_fails_later(
    made: commands.Basic.Properties, data: st.DataObject
) -> None:
    octets = bytearray(header_of(made))
    octets[data.draw(st.integers(12, len(octets) - 1))] = data.draw(st.integers(0, 255))
    lying = bytes(octets)
    try:
        persistent = subject.check_properties(lying)
    except ConnectionException:
        return
    assert subject.is_persistent(lying) is persistent
    subject.decode_properties(lying)
    subject.priority_of(lying)
    for changed in (
        subject.with_headers(lying, {"a": 1}),
        subject.with_headers(lying, None),
        subject.with_edited_headers(lying, {"x-death": []}, ["b"]),
        subject.with_reply_to(lying, "there"),
        subject.without_property(lying, subject.EXPIRATION),
    ):
        assert subject.check_properties(changed) is persistent


@pytest.mark.parametrize(
    ("flags", "octets"),
    [
        (0x0000, b"\x00"),
        (0x8000, b""),
        (0x8000, b"\x01"),
        (0x8000, b"\x01ab"),
        (0x1000, b""),
        (0x0800, b""),
        (0x0040, b"\x00" * 7),
        (0x2000, b"\x00\x00\x00"),
        (0x2000, b"\x00\x00\x00\x01"),
        (0x2000, b"\x00\x00\x00\x03\x01kU"),
        (0x2000, b"\x00\x00\x00\x03\x01\xffV"),
        (0x0001, b"\x00\x00"),
        (0x0001, b""),
    ],
)
def test_malformed_properties_are_502(flags: int, octets: bytes) -> None:
    with pytest.raises(ConnectionException) as caught:
        subject.check_properties(raw(flags, octets))
    assert caught.value.code == SYNTAX_ERROR


@pytest.mark.parametrize(("mode", "persistent"), [(0, False), (1, False), (2, True), (3, False)])
def test_only_delivery_mode_2_is_persistent(mode: int, persistent: bool) -> None:
    octets = raw(subject.DELIVERY_MODE, bytes([mode]))
    assert subject.check_properties(octets) is persistent
    assert subject.is_persistent(octets) is persistent


def test_text_that_is_not_utf8_passes_and_is_shown() -> None:
    octets = raw(subject.USER_ID, b"\x02a\xff")
    assert subject.check_properties(octets) is False
    assert subject.property_text(octets, subject.USER_ID) == "a\ufffd"
    assert subject.decode_properties(octets) == {"user_id": "a\ufffd"}


@given(properties, st.none() | pamqp_tables.filter(bool))
def test_other_headers_leave_the_rest(
    made: commands.Basic.Properties, table: FieldTable | None
) -> None:
    changed = subject.with_headers(header_of(made), table)
    assert subject.headers_of(changed) == table
    without = subject.without_property(changed, subject.HEADERS)
    assert without == with_values(made, headers=None)


@given(properties, names.filter(bool))
def test_another_reply_to_leaves_the_rest(made: commands.Basic.Properties, text: str) -> None:
    octets = header_of(made)
    assert subject.with_reply_to(octets, text) == with_values(made, reply_to=text)


@given(properties, st.sampled_from(sorted(TEXTS)))
def test_a_property_taken_away_leaves_the_rest(made: commands.Basic.Properties, name: str) -> None:
    changed = subject.without_property(header_of(made), TEXTS[name])
    assert changed == with_values(made, **{name: None})


@given(all_tables, st.dictionaries(keys, st.integers(0, 9), max_size=3), st.data())
def test_edited_headers(table: FieldTable, changes: FieldTable, data: st.DataObject) -> None:
    removed = data.draw(st.lists(st.sampled_from(sorted(table)))) if table else []
    octets = subject.encode_header(0, {"content_type": "a", "headers": table, "priority": 3})
    changed = subject.with_edited_headers(octets, changes, removed)
    rest = {key: value for key, value in table.items() if key not in removed}
    assert subject.headers_of(changed) == {**rest, **changes}
    assert subject.priority_of(changed) == 3
    assert subject.check_properties(changed) is False


def test_headers_that_are_not_edited_keep_their_octets() -> None:
    small = b"\x01nb\x05"
    octets = raw(subject.HEADERS, len(small).to_bytes(4, "big") + small)
    changed = subject.with_edited_headers(octets, {"a": True}, [])
    assert changed == raw(subject.HEADERS, b"\x00\x00\x00\x08\x01at\x01" + small)


def test_headers_are_edited_where_there_were_none() -> None:
    changed = subject.with_edited_headers(raw(0, b""), {"a": True}, ["b"])
    assert subject.headers_of(changed) == {"a": True}


@pytest.mark.parametrize(
    ("moment", "octets"),
    [(datetime(1970, 1, 1, 0, 1, tzinfo=UTC), bytes(7) + b"\x3c"), (2**64 - 1, b"\xff" * 8)],
)
def test_timestamps(moment: FieldValue, octets: bytes) -> None:
    made = subject.encode_header(0, {"timestamp": moment})
    assert made == raw(subject.TIMESTAMP, octets)
    assert subject.decode_properties(made) == {"timestamp": moment}


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"message_type": "a"}, ValueError),
        ({"user_id": "a" * 256}, ValueError),
        ({"priority": 256}, ValueError),
        ({"priority": "1"}, TypeError),
        ({"headers": []}, TypeError),
        ({"app_id": 1}, TypeError),
        ({"timestamp": "now"}, TypeError),
    ],
)
def test_a_wrong_property_is_the_callers_mistake(wrong: FieldTable, error: type[Exception]) -> None:
    with pytest.raises(error):
        subject.encode_header(0, wrong)


@given(all_tables, st.lists(keys, max_size=3))
def test_headers_to_the_end(table: FieldTable, moved: list[str]) -> None:
    octets = subject.encode_header(0, {"headers": table, "priority": 3})
    changed = subject.with_last_entries(octets, [*moved, *list(table)[:1]])
    headers = subject.headers_of(changed)
    assert headers == table
    assert headers is not None
    if len(table) > 1 and not set(moved) & set(table):
        assert list(headers) == [*list(table)[1:], next(iter(table))]
    assert subject.check_properties(changed) is False


@given(all_tables, keys)
def test_finding_a_header(table: FieldTable, key: str) -> None:
    octets = subject.encode_header(0, {"content_type": "a", "headers": table})
    for name in table:
        position = int(subject.find_header(octets, name))
        assert octets[:position].endswith(bytes([len(name.encode())]) + name.encode())
    assert (subject.find_header(octets, key) >= 0) == (key in table)
    assert subject.find_header(raw(0, b""), key) == -1
