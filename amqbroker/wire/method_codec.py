"""Methods from bytes to pamqp's frame objects and back, strictly.

Arguments are packed in order: octet 1, short 2, long 4, longlong 8 octets; bits in a row share one
octet; shortstr has one octet of size, longstr and table four. pamqp's classes say which arguments a
method has; their values are read and written here, because pamqp shortens what is cut short and
refuses names that RabbitMQ takes.

Invariants: a payload is read to its last octet or refused; a peer's bytes raise nothing but
`ConnectionException`. A delivery tag is read as signed, as the broker counts in 64-bit signed
numbers: no tag that it gave is negative. A long string that is not UTF-8 (a password may be so) is
text with surrogate escapes, since pamqp's classes promise text.

Source: AMQP 0-9-1 section 4.2.5; RabbitMQ's `rabbit_framing_amqp_0_9_1`.
"""

from __future__ import annotations

from typing import Final, cast

from librt.strings import BytesWriter, read_i16_be, read_i32_be, read_i64_be, write_i64_be
from mypy_extensions import i64
from pamqp.base import Frame
from pamqp.common import FieldTable

from amqbroker.errors import AmqpError, ConnectionException, command_invalid, syntax_error
from amqbroker.wire import frames
from amqbroker.wire.tables import (
    PEER_DEPTH,
    decode_checked_table,
    encode_table,
    table_end,
)

# How an argument is packed.
OCTET: Final = 1
SHORT: Final = 2
LONG: Final = 4
LONG_LONG: Final = 8
BIT: Final = 16
SHORT_STRING: Final = 17
LONG_STRING: Final = 18
TABLE: Final = 19

KINDS: Final[dict[str, int]] = {
    "octet": OCTET,
    "short": SHORT,
    "long": LONG,
    "longlong": LONG_LONG,
    "bit": BIT,
    "shortstr": SHORT_STRING,
    "longstr": LONG_STRING,
    "table": TABLE,
}


class Layout:
    """The arguments of one method, in order."""

    def __init__(self, frame_class: type[Frame]) -> None:
        self.frame_class = frame_class
        self.index = frame_class.index
        self.names: list[str] = list(frame_class.attributes())
        self.kinds: list[int] = [KINDS[frame_class.amqp_type(name)] for name in self.names]


class MethodCodec:
    """Reads and writes the methods of these classes."""

    def __init__(self, frame_classes: tuple[type[Frame], ...]) -> None:
        self._layouts = {each.index: Layout(each) for each in frame_classes}

    def decode(self, payload: bytes) -> Frame:
        """The method in a method frame's payload: an instance of one of the classes.

        503 for an unknown method, 502 for arguments that are cut short, too long, not UTF-8 or
        nested too deep.
        """
        if len(payload) < 4:
            raise syntax_error(f"method frame of {len(payload)} octets has no class and method")
        index = int(i64(read_i32_be(payload, 0)) & 0xFFFFFFFF)
        try:
            layout = self._layouts.get(index)
            if layout is None:
                raise command_invalid("unimplemented method")
            return _Arguments(payload).read(layout)
        except AmqpError as error:
            error.class_id = index >> 16
            error.method_id = index & 0xFFFF
            raise

    def encode(self, channel: int, frame: Frame) -> bytes:
        """A whole method frame.

        The broker makes these, so what does not fit (a name over 255 bytes) is a ValueError.
        """
        payload = _encode_payload(self._layouts[frame.index], frame)
        out = BytesWriter()
        out.append(frames.METHOD)
        out.write(channel.to_bytes(2, "big"))
        out.write(len(payload).to_bytes(4, "big"))
        out.write(payload)
        out.append(frames.END)
        return out.getvalue()


class _Arguments:
    """Reads the arguments of one method."""

    __slots__ = ("data", "position", "size")

    def __init__(self, data: bytes) -> None:
        self.data = data
        # After class and method.
        self.position: i64 = 4
        self.size: i64 = len(data)

    def read(self, layout: Layout) -> Frame:
        frame = layout.frame_class.__new__(layout.frame_class)
        bits: i64 = 0
        bits_left = 0
        for index, kind in enumerate(layout.kinds):
            if kind == BIT:
                if bits_left == 0:
                    bits = self.number(1)
                    bits_left = 8
                setattr(frame, layout.names[index], bits & 1 != 0)
                bits >>= 1
                bits_left -= 1
            else:
                bits_left = 0
                self.assign(frame, layout.names[index], kind)
        if self.position != self.size:
            raise syntax_error(f"{self.size - self.position} octets after the last argument")
        return frame

    def assign(self, frame: Frame, name: str, kind: int) -> None:
        """Read one argument that is not a bit."""
        if kind == SHORT_STRING:
            setattr(frame, name, self.short_string())
        elif kind == TABLE:
            start = self.position
            self.position = table_end(self.data, start, self.size, PEER_DEPTH)
            setattr(frame, name, decode_checked_table(self.data, start))
        elif kind == LONG_STRING:
            size = self.number(4)
            setattr(frame, name, self.take(size).decode(errors="surrogateescape"))
        else:
            setattr(frame, name, int(self.number(kind)))

    def short_string(self) -> str:
        size = self.number(1)
        try:
            return self.take(size).decode()
        except UnicodeDecodeError:
            raise syntax_error("a name is not UTF-8") from None

    def take(self, size: i64) -> bytes:
        if size > self.size - self.position:
            raise cut_short()
        start = self.position
        self.position = start + size
        return self.data[start : self.position]

    def number(self, size: i64) -> i64:
        """An unsigned number of 1, 2 or 4 octets, a signed one of 8."""
        start = self.position
        if size > self.size - start:
            raise cut_short()
        self.position = start + size
        if size == OCTET:
            return self.data[start]
        if size == SHORT:
            return i64(read_i16_be(self.data, start)) & 0xFFFF
        if size == LONG:
            return i64(read_i32_be(self.data, start)) & 0xFFFFFFFF
        return read_i64_be(self.data, start)


def cut_short() -> ConnectionException:
    """502 for arguments that end early."""
    return syntax_error("the arguments are cut short")


def _encode_payload(layout: Layout, frame: Frame) -> bytes:
    out = BytesWriter()
    out.write(layout.index.to_bytes(4, "big"))
    bits = 0
    bit = 0
    for index, kind in enumerate(layout.kinds):
        value: object = getattr(frame, layout.names[index])
        if kind == BIT:
            if value:
                bits |= 1 << bit
            bit += 1
            continue
        if bit > 0:
            out.append(bits)
            bits = 0
            bit = 0
        _write_argument(out, kind, value)
    if bit > 0:
        out.append(bits)
    return out.getvalue()


def _write_argument(out: BytesWriter, kind: int, value: object) -> None:
    """One argument that is not a bit."""
    if kind == SHORT_STRING:
        name = cast("str", value).encode()
        if len(name) > 255:
            raise ValueError(f"{value!r} is longer than 255 bytes")
        out.append(len(name))
        out.write(name)
    elif kind == LONG_STRING:
        text = cast("str", value).encode(errors="surrogateescape")
        out.write(len(text).to_bytes(4, "big"))
        out.write(text)
    elif kind == TABLE:
        out.write(encode_table(cast("FieldTable", value)))
    elif kind == LONG_LONG:
        write_i64_be(out, cast("int", value))
    else:
        out.write(cast("int", value).to_bytes(kind, "big"))
