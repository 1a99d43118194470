"""Message properties in place: what the broker asks of a content header, without decoding it.

`header` is always the payload of a content header frame:

    short     short    longlong    short   properties, in the order of their flags
    +-------+--------+-----------+-------+----------------------------------------------------+
    | class | weight | body size | flags | content_type content_encoding headers ...          |
    +-------+--------+-----------+-------+----------------------------------------------------+

A header is checked once, by `check_properties`, when it is published. Every other function relies
on that: it walks the same octets without looking for errors, and never fails. Headers that the
broker makes itself (`encode_header`, `with_headers` ...) are right by construction. What a rewrite
does not name is kept octet by octet.

A text that is not UTF-8 is legal and passes through; `property_text` shows bad octets as U+FFFD.

Source: AMQP 0-9-1 section 4.2.6.1; RabbitMQ's `rabbit_framing_amqp_0_9_1` (`decode_properties`),
which takes no octet after the last property and no second word of flags.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from librt.strings import BytesWriter, read_i16_be, read_i32_be, read_i64_be
from mypy_extensions import i64
from pamqp.common import FieldTable, FieldValue

from amqbroker.errors import syntax_error
from amqbroker.wire.frames import CLASS_BASIC
from amqbroker.wire.tables import (
    PEER_DEPTH,
    checked_value_end,
    decode_checked_table,
    decode_timestamp,
    encode_table,
    seconds_of,
    table_end,
)

# Flags, in the order of the properties.
CONTENT_TYPE: Final = 0x8000
CONTENT_ENCODING: Final = 0x4000
HEADERS: Final = 0x2000
DELIVERY_MODE: Final = 0x1000
PRIORITY: Final = 0x0800
CORRELATION_ID: Final = 0x0400
REPLY_TO: Final = 0x0200
EXPIRATION: Final = 0x0100
MESSAGE_ID: Final = 0x0080
TIMESTAMP: Final = 0x0040
TYPE: Final = 0x0020
USER_ID: Final = 0x0010
APP_ID: Final = 0x0008
CLUSTER_ID: Final = 0x0004
ANOTHER_FLAG_WORD: Final = 0x0001

FLAGS: Final[dict[str, int]] = {
    "content_type": CONTENT_TYPE,
    "content_encoding": CONTENT_ENCODING,
    "headers": HEADERS,
    "delivery_mode": DELIVERY_MODE,
    "priority": PRIORITY,
    "correlation_id": CORRELATION_ID,
    "reply_to": REPLY_TO,
    "expiration": EXPIRATION,
    "message_id": MESSAGE_ID,
    "timestamp": TIMESTAMP,
    "type": TYPE,
    "user_id": USER_ID,
    "app_id": APP_ID,
    "cluster_id": CLUSTER_ID,
}

# The properties that are neither short strings nor `headers`.
NOT_TEXT: Final = HEADERS | DELIVERY_MODE | PRIORITY | TIMESTAMP
ONE_OCTET: Final = DELIVERY_MODE | PRIORITY

BODY_SIZE_AT: Final = 4
FLAGS_AT: Final = 12
PROPERTIES_AT: Final = 14

PERSISTENT: Final = 2
SHORT_STRING_MAX: Final = 255


def check_properties(header: bytes) -> bool:
    """Check a header of a peer, the one pass that every publish gets; True if it is persistent.

    502 if a property reaches over the end, if anything is left after the last, or if the headers
    are malformed. `header` has its fixed 14 octets; class, weight and size are the parser's.
    """
    size: i64 = len(header)
    flags: i64 = i64(read_i16_be(header, FLAGS_AT)) & 0xFFFF
    if flags & ANOTHER_FLAG_WORD != 0:
        raise syntax_error("content properties with a second word of flags")
    position: i64 = PROPERTIES_AT
    persistent = False
    flag: i64 = CONTENT_TYPE
    while flag >= CLUSTER_ID:
        if flags & flag != 0:
            if flag & NOT_TEXT == 0:
                if position >= size:
                    raise syntax_error("content properties are cut short")
                position += 1 + i64(header[position])
            elif flag == HEADERS:
                position = table_end(header, position, size, PEER_DEPTH)
            elif flag == DELIVERY_MODE:
                if position >= size:
                    raise syntax_error("content properties are cut short")
                persistent = i64(header[position]) == PERSISTENT
                position += 1
            elif flag == PRIORITY:
                position += 1
            else:
                position += 8
        flag >>= 1
    if position != size:
        if position > size:
            raise syntax_error("content properties are cut short")
        raise syntax_error(f"{size - position} octets after the last content property")
    return persistent


def flags_of(header: bytes) -> i64:
    """The flag bits of the properties that are set."""
    return i64(read_i16_be(header, FLAGS_AT)) & 0xFFFF


def body_size_of(header: bytes) -> i64:
    """How long the body is."""
    return read_i64_be(header, BODY_SIZE_AT)


def is_persistent(header: bytes) -> bool:
    """Whether delivery_mode is 2; missing and all other values are transient."""
    position = find(header, DELIVERY_MODE)
    return position >= 0 and i64(header[position]) == PERSISTENT


def priority_of(header: bytes) -> i64:
    """The priority octet, 0 if missing."""
    position = find(header, PRIORITY)
    return i64(header[position]) if position >= 0 else 0


def headers_of(header: bytes) -> FieldTable | None:
    """The headers table, None if missing."""
    position = find(header, HEADERS)
    return decode_checked_table(header, position) if position >= 0 else None


def property_text(header: bytes, flag: i64) -> str | None:
    """A text property by its flag, None if missing."""
    position = find(header, flag)
    if position < 0:
        return None
    start: i64 = position + 1
    return header[start : start + i64(header[position])].decode(errors="replace")


def property_as_text(header: bytes, name: str) -> str | None:
    """A text property by its name, or the timestamp as the digits of its seconds; None if missing.

    Names are those of `decode_properties`.
    """
    flag = FLAGS[name]
    if flag != TIMESTAMP:
        return property_text(header, flag)
    position = find(header, TIMESTAMP)
    return str(read_i64_be(header, position)) if position >= 0 else None


def find(header: bytes, flag: i64) -> i64:
    """Where the property begins, -1 if it is missing."""
    if flags_of(header) & flag == 0:
        return -1
    return _place(header, flag)


def _place(header: bytes, wanted: i64) -> i64:
    """Where the property begins, or would begin."""
    flags = flags_of(header)
    position: i64 = PROPERTIES_AT
    flag: i64 = CONTENT_TYPE
    while flag > wanted:
        if flags & flag != 0:
            position = _end_of(header, flag, position)
        flag >>= 1
    return position


def _end_of(header: bytes, flag: i64, position: i64) -> i64:
    """Where the property ends that begins at `position`."""
    if flag & NOT_TEXT == 0:
        return position + 1 + i64(header[position])
    if flag & ONE_OCTET != 0:
        return position + 1
    if flag == TIMESTAMP:
        return position + 8
    return position + 4 + (i64(read_i32_be(header, position)) & 0xFFFFFFFF)


def with_headers(header: bytes, table: FieldTable | None) -> bytes:
    """The header with another headers table, or with none."""
    return _replaced(header, HEADERS, None if table is None else encode_table(table))


def with_edited_headers(header: bytes, changes: FieldTable, removed: list[str]) -> bytes:
    """The header with some headers changed: `changes` come first, all others keep their octets.

    A key of `changes` or `removed` is taken out first, however often it occurs.
    """
    return with_first_entries(header, encode_table(changes)[4:], [*changes, *removed])


def with_first_entries(header: bytes, entries: bytes, removed: list[str]) -> bytes:
    """The header with these octets of table entries before all other headers, of which those
    `removed` are taken out."""
    return _with_entries(header, entries + _split_headers(header, removed)[0])


def with_last_entries(header: bytes, moved: list[str]) -> bytes:
    """The header with these headers, if it has them, behind all others."""
    kept, taken = _split_headers(header, moved)
    return _with_entries(header, kept + taken)


def find_header(header: bytes, wanted: str) -> i64:
    """Where the first value of this header begins, with its type octet; -1 if it is missing."""
    position = find(header, HEADERS)
    if position < 0:
        return -1
    end = _end_of(header, HEADERS, position)
    octets = wanted.encode()
    position += 4
    while position < end:
        key_end: i64 = position + 1 + i64(header[position])
        if header[position + 1 : key_end] == octets:
            return key_end
        position = checked_value_end(header, key_end)
    return -1


def _split_headers(header: bytes, wanted: list[str]) -> tuple[bytes, bytes]:
    """The octets of the headers that are not wanted, and of those that are."""
    others = BytesWriter()
    found = BytesWriter()
    position = find(header, HEADERS)
    if position >= 0:
        end = _end_of(header, HEADERS, position)
        position += 4
        while position < end:
            key_end: i64 = position + 1 + i64(header[position])
            entry_end = checked_value_end(header, key_end)
            if header[position + 1 : key_end].decode() in wanted:
                found.write(header[position:entry_end])
            else:
                others.write(header[position:entry_end])
            position = entry_end
    return others.getvalue(), found.getvalue()


def _with_entries(header: bytes, entries: bytes) -> bytes:
    return _replaced(header, HEADERS, len(entries).to_bytes(4, "big") + entries)


def with_reply_to(header: bytes, reply_to: str) -> bytes:
    """The header with another reply_to."""
    return _replaced(header, REPLY_TO, _short_string(reply_to))


def without_property(header: bytes, flag: i64) -> bytes:
    """The header without one property."""
    return _replaced(header, flag, None)


def _replaced(header: bytes, flag: i64, value: bytes | None) -> bytes:
    """The header with other octets for one property; None takes it away."""
    flags = flags_of(header)
    start = _place(header, flag)
    end = _end_of(header, flag, start) if flags & flag != 0 else start
    out = BytesWriter()
    out.write(header[:FLAGS_AT])
    flags = flags & ~flag if value is None else flags | flag
    out.append(int(flags >> 8))
    out.append(int(flags & 0xFF))
    out.write(header[PROPERTIES_AT:start])
    if value is not None:
        out.write(value)
    out.write(header[end:])
    return out.getvalue()


def decode_properties(header: bytes) -> FieldTable:
    """All properties that are set, by AMQP's names (`content_type` ... `cluster_id`)."""
    found: FieldTable = {}
    flags = flags_of(header)
    position: i64 = PROPERTIES_AT
    for name, flag in FLAGS.items():
        if flags & flag == 0:
            continue
        end = _end_of(header, flag, position)
        if flag & NOT_TEXT == 0:
            found[name] = header[position + 1 : end].decode(errors="replace")
        elif flag == HEADERS:
            found[name] = decode_checked_table(header, position)
        elif flag == TIMESTAMP:
            found[name] = decode_timestamp(header, position)
        else:
            found[name] = header[position]
        position = end
    return found


def encode_header(body_size: int, properties: FieldTable) -> bytes:
    """A content header for the broker's own messages; the names are those of `decode_properties`.

    ValueError or TypeError for a name or a value that there cannot be.
    """
    unknown = [name for name in properties if name not in FLAGS]
    if unknown:
        raise ValueError(f"no such message property: {unknown[0]}")
    flags = 0
    values = BytesWriter()
    for name, flag in FLAGS.items():
        if name in properties:
            flags |= flag
            values.write(_encode_property(name, flag, properties[name]))
    out = BytesWriter()
    out.write(CLASS_BASIC.to_bytes(2, "big"))
    out.write(b"\0\0")
    out.write(body_size.to_bytes(8, "big"))
    out.write(flags.to_bytes(2, "big"))
    out.write(values.getvalue())
    return out.getvalue()


def _encode_property(name: str, flag: int, value: FieldValue) -> bytes:
    if flag == HEADERS and isinstance(value, dict):
        return encode_table(value)
    if flag == TIMESTAMP and isinstance(value, datetime | int):
        seconds = value if isinstance(value, int) else seconds_of(value)
        return seconds.to_bytes(8, "big")
    if flag & ONE_OCTET and isinstance(value, int):
        return bytes([value])
    if flag & NOT_TEXT == 0 and isinstance(value, str):
        return _short_string(value)
    raise TypeError(f"the message property {name} cannot be a {type(value).__name__}")


def _short_string(text: str) -> bytes:
    octets = text.encode()
    if len(octets) > SHORT_STRING_MAX:
        raise ValueError(f"{text!r} is longer than {SHORT_STRING_MAX} bytes")
    return bytes([len(octets)]) + octets
