"""Field tables: RabbitMQ's dialect of the AMQP 0-9-1 table grammar, to and from Python values.

    table   long size, then entries:  octet key size | key | octet type | value
    array   long size, then values:   octet type | value

    t bool     b int8  B uint8   s int16  u uint16   I int32  i uint32   l L int64
    f float    d double    D decimal    S long string   x byte array
    T timestamp            F table      A array         V void

Invariants:

- What `table_end` accepts, `decode_table` decodes: it checks every length, every type, every key's
  UTF-8 and the depth before a value is made, so a header that was checked when it was published
  never fails later.
- A decoded table encodes to an equal table: bytes (a long string that is not UTF-8), bytearray,
  Decimal, datetime and None included. The widths of numbers are not kept: integers are written as
  `l` and floats as `d`, which every client reads; the `count` of x-death has to be an `l`, as Java
  clients cast it.
- A timestamp after the year 9999 decodes to an int, as there is no datetime for it: clients that
  count milliseconds send such.

pamqp reads and writes tables as well, but shortens what is cut short, loses the precision of
doubles and the tail of long keys, and refuses bytes; so it is only the oracle in the tests.

Source: RabbitMQ's `rabbit_binary_parser` and `rabbit_binary_generator`, AMQP 0-9-1 errata.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Final

from librt.strings import (
    BytesWriter,
    read_f32_be,
    read_f64_be,
    read_i16_be,
    read_i32_be,
    read_i64_be,
    write_f64_be,
    write_i32_be,
    write_i64_be,
)
from mypy_extensions import i32, i64
from pamqp.common import FieldTable, FieldValue

from amqbroker.errors import ConnectionException, syntax_error

DEPTH_MAX: Final = 64
# Tables of peers count from here, so that the broker can keep one inside of tables of its own.
PEER_DEPTH: Final = 4
KEY_BYTES_MAX: Final = 255

# Type octets.
ARRAY: Final = 0x41
UNSIGNED_BYTE: Final = 0x42
DECIMAL: Final = 0x44
TABLE: Final = 0x46
SIGNED_INT: Final = 0x49
LONG_ALIAS: Final = 0x4C
LONG_STRING: Final = 0x53
TIMESTAMP: Final = 0x54
VOID: Final = 0x56
SIGNED_BYTE: Final = 0x62
DOUBLE: Final = 0x64
FLOAT: Final = 0x66
UNSIGNED_INT: Final = 0x69
LONG: Final = 0x6C
SHORT: Final = 0x73
BOOL: Final = 0x74
UNSIGNED_SHORT: Final = 0x75
BINARY: Final = 0x78

# How many octets a value of each type has, by the type octet.
UNKNOWN: Final = 255
SIZED: Final = 254  # has its size before it


def _sizes() -> bytes:
    sizes = bytearray([UNKNOWN] * 256)
    for size, kinds in (
        (0, b"V"),
        (1, b"tbB"),
        (2, b"su"),
        (4, b"Iif"),
        (5, b"D"),
        (8, b"lLdT"),
        (SIZED, b"SxFA"),
    ):
        for kind in kinds:
            sizes[kind] = size
    return bytes(sizes)


SIZES: Final = _sizes()

INT32_MIN: Final = -(1 << 31)
INT32_MAX: Final = (1 << 31) - 1
INT64_MIN: Final = -(1 << 63)
INT64_MAX: Final = (1 << 63) - 1
UINT64_MAX: Final = (1 << 64) - 1

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
SECOND: Final = timedelta(seconds=1)
# The last second of the year 9999.
DATETIME_SECONDS_MAX: Final = 253402300799


def table_end(data: bytes, offset: i64, limit: i64, depth: i64 = 0) -> i64:
    """Check the table at `offset`, which must end at `limit` or before; returns where it ends.

    502 if malformed.
    """
    end = _block_end(data, offset, limit, depth)
    position: i64 = offset + 4
    while position < end:
        key_end: i64 = position + 1 + i64(data[position])
        if key_end >= end:
            raise malformed("a field is cut short")
        check_utf8(data, position + 1, key_end)
        position = value_end(data, key_end, end, depth)
    return end


def _array_end(data: bytes, offset: i64, limit: i64, depth: i64) -> i64:
    end = _block_end(data, offset, limit, depth)
    position: i64 = offset + 4
    while position < end:
        position = value_end(data, position, end, depth)
    return end


def _block_end(data: bytes, offset: i64, limit: i64, depth: i64) -> i64:
    """Where the table or array ends that begins with a size at `offset`."""
    if depth >= DEPTH_MAX:
        raise malformed(f"nested deeper than {DEPTH_MAX} levels")
    if limit - offset < 4:
        raise malformed("its size is cut short")
    size: i64 = i64(read_i32_be(data, offset)) & 0xFFFFFFFF
    if size > limit - offset - 4:
        raise malformed("it is longer than what holds it")
    return offset + 4 + size


def value_end(data: bytes, offset: i64, limit: i64, depth: i64 = 0) -> i64:
    """Where the value ends whose type octet is at `offset`, before `limit`. 502 if malformed."""
    kind: i64 = data[offset]
    start: i64 = offset + 1
    size: i64 = SIZES[kind]
    if size == SIZED:
        if kind == TABLE:
            return table_end(data, start, limit, depth + 1)
        if kind == ARRAY:
            return _array_end(data, start, limit, depth + 1)
        if limit - start < 4:
            raise malformed("a string is cut short")
        size = 4 + (i64(read_i32_be(data, start)) & 0xFFFFFFFF)
    elif size == UNKNOWN:
        raise malformed(f"unknown type octet {kind}")
    if size > limit - start:
        raise malformed("a value is cut short")
    return start + size


def checked_value_end(data: bytes, offset: i64) -> i64:
    """Where the value ends whose type octet is at `offset`, in a table that was checked before."""
    size: i64 = SIZES[data[offset]]
    if size == SIZED:
        size = 4 + (i64(read_i32_be(data, offset + 1)) & 0xFFFFFFFF)
    return offset + 1 + size


def check_utf8(data: bytes, start: i64, end: i64) -> None:
    """502 unless these octets are UTF-8 text. Plain ASCII makes no object."""
    position: i64 = start
    while position < end:
        if i64(data[position]) >= 0x80:
            try:
                data[start:end].decode()
            except UnicodeDecodeError:
                raise syntax_error("a name is not UTF-8") from None
            return
        position += 1


def malformed(what: str) -> ConnectionException:
    """502 for a table."""
    return syntax_error(f"malformed table: {what}")


def decode_table(data: bytes, offset: i64 = 0) -> FieldTable:
    """The table at `offset`, size included. 502 if malformed; what follows it is not looked at."""
    end = table_end(data, offset, len(data))
    return _Reader(data, offset + 4).table(end)


def decode_checked_table(data: bytes, offset: i64) -> FieldTable:
    """The table at `offset` that `table_end` accepted before."""
    end: i64 = offset + 4 + (i64(read_i32_be(data, offset)) & 0xFFFFFFFF)
    return _Reader(data, offset + 4).table(end)


class _Reader:
    """Decodes checked octets, in order."""

    __slots__ = ("data", "position")

    def __init__(self, data: bytes, position: i64) -> None:
        self.data = data
        self.position: i64 = position

    def table(self, end: i64) -> FieldTable:
        """Entries up to `end`. Of two equal keys the first wins, as in RabbitMQ's lookups."""
        found: FieldTable = {}
        while self.position < end:
            key_start: i64 = self.position + 1
            key_end: i64 = key_start + i64(self.data[self.position])
            key = self.data[key_start:key_end].decode()
            self.position = key_end
            value = self.value()
            if key not in found:
                found[key] = value
        return found

    def array(self, end: i64) -> list[FieldValue]:
        found: list[FieldValue] = []
        while self.position < end:
            found.append(self.value())
        return found

    def value(self) -> FieldValue:
        kind: i64 = self.data[self.position]
        start: i64 = self.position + 1
        if i64(SIZES[kind]) == SIZED:
            size: i64 = i64(read_i32_be(self.data, start)) & 0xFFFFFFFF
            self.position = start + 4
            end: i64 = start + 4 + size
            if kind == TABLE:
                return self.table(end)
            if kind == ARRAY:
                return self.array(end)
            octets = self.data[start + 4 : end]
            self.position = end
            if kind == BINARY:
                return bytearray(octets)
            return text_or_bytes(octets)
        self.position = start + i64(SIZES[kind])
        return _fixed_value(self.data, kind, start)


def _fixed_value(data: bytes, kind: i64, start: i64) -> FieldValue:
    """The value of a type with a fixed size."""
    if kind == BOOL:
        return data[start] != 0
    if kind == SIGNED_INT:
        return int(read_i32_be(data, start))
    if kind in (LONG, LONG_ALIAS):
        return int(read_i64_be(data, start))
    if kind == VOID:
        return None
    if kind == DOUBLE:
        return read_f64_be(data, start)
    if kind == FLOAT:
        return read_f32_be(data, start)
    if kind == TIMESTAMP:
        return decode_timestamp(data, start)
    if kind == DECIMAL:
        return Decimal(int(read_i32_be(data, start + 1))).scaleb(-data[start])
    if kind == SIGNED_BYTE:
        octet = data[start]
        return octet - 256 if octet > 127 else octet
    if kind == UNSIGNED_BYTE:
        return data[start]
    if kind == SHORT:
        return int(read_i16_be(data, start))
    if kind == UNSIGNED_SHORT:
        return int(i64(read_i16_be(data, start)) & 0xFFFF)
    assert kind == UNSIGNED_INT, f"type octet {kind} was checked before"
    return int(i64(read_i32_be(data, start)) & 0xFFFFFFFF)


def text_or_bytes(octets: bytes) -> str | bytes:
    """A long string: text where it is UTF-8, else its octets."""
    try:
        return octets.decode()
    except UnicodeDecodeError:
        return octets


def decode_timestamp(data: bytes, start: i64) -> datetime | int:
    """Seconds since 1970 as a datetime, or as the number itself after the year 9999."""
    seconds = int(read_i64_be(data, start)) & UINT64_MAX
    if seconds > DATETIME_SECONDS_MAX:
        return seconds
    return EPOCH + timedelta(seconds=seconds)


def encode_table(table: FieldTable) -> bytes:
    """The table with its size, keys in the order of the dict.

    ValueError or TypeError for what AMQP cannot hold.
    """
    out = BytesWriter()
    for key, value in table.items():
        name = key.encode()
        if len(name) > KEY_BYTES_MAX:
            raise ValueError(f"the table key {key!r} is longer than {KEY_BYTES_MAX} bytes")
        out.append(len(name))
        out.write(name)
        _write_value(out, value)
    return _sized(out.getvalue())


def _encode_array(values: list[FieldValue]) -> bytes:
    out = BytesWriter()
    for value in values:
        _write_value(out, value)
    return _sized(out.getvalue())


def _sized(octets: bytes) -> bytes:
    return len(octets).to_bytes(4, "big") + octets


def _write_value(out: BytesWriter, value: FieldValue) -> None:
    """One value with its type octet."""
    if isinstance(value, str):
        out.append(LONG_STRING)
        out.write(_sized(value.encode()))
    elif isinstance(value, bool):
        out.append(BOOL)
        out.append(1 if value else 0)
    elif isinstance(value, int):
        _write_integer(out, value)
    elif value is None:
        out.append(VOID)
    elif isinstance(value, dict):
        out.append(TABLE)
        out.write(encode_table(value))
    elif isinstance(value, list):
        out.append(ARRAY)
        out.write(_encode_array(value))
    elif isinstance(value, float):
        out.append(DOUBLE)
        write_f64_be(out, value)
    elif isinstance(value, datetime):
        out.append(TIMESTAMP)
        write_i64_be(out, seconds_of(value))
    elif isinstance(value, bytearray):
        out.append(BINARY)
        out.write(_sized(bytes(value)))
    elif isinstance(value, bytes):
        out.append(LONG_STRING)
        out.write(_sized(value))
    elif isinstance(value, Decimal):
        _write_decimal(out, value)
    else:
        raise TypeError(f"a table cannot hold a {type(value).__name__}")


def _write_integer(out: BytesWriter, value: int) -> None:
    """A 64-bit integer. Above that there are only timestamps."""
    if INT64_MIN <= value <= INT64_MAX:
        out.append(LONG)
        write_i64_be(out, value)
    elif INT64_MAX < value <= UINT64_MAX:
        out.append(TIMESTAMP)
        out.write(value.to_bytes(8, "big"))
    else:
        raise ValueError(f"{value} is out of the range of 64-bit integers")


def _write_decimal(out: BytesWriter, value: Decimal) -> None:
    """Scale and mantissa."""
    sign, digits, exponent = value.as_tuple()
    if not isinstance(exponent, int):
        raise ValueError(f"a table cannot hold the decimal {value}")
    mantissa = 0
    for digit in digits:
        mantissa = mantissa * 10 + digit
    if exponent > 0:
        mantissa *= 10**exponent
        exponent = 0
    if sign:
        mantissa = -mantissa
    if exponent < -255 or not INT32_MIN <= mantissa <= INT32_MAX:
        raise ValueError(f"a table cannot hold the decimal {value}")
    out.append(DECIMAL)
    out.append(-exponent)
    write_i32_be(out, i32(mantissa))


def seconds_of(moment: datetime) -> int:
    """Whole seconds since 1970; a datetime without a zone is UTC."""
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return (moment - EPOCH) // SECOND
