"""Bytes that pamqp cannot or will not make: typed field tables, hand-made methods and broken
frames.
"""

from __future__ import annotations

import struct

METHOD, HEADER, BODY, HEARTBEAT = 1, 2, 3, 8
FRAME_END = b"\xce"

Typed = tuple[str, bytes]


def frame(kind: int, channel: int, payload: bytes, end: bytes = FRAME_END) -> bytes:
    """One frame, with any type and end octet."""
    return struct.pack(">BHI", kind, channel, len(payload)) + payload + end


def method(channel: int, class_id: int, method_id: int, arguments: bytes = b"") -> bytes:
    """A method frame with arguments already encoded."""
    return frame(METHOD, channel, struct.pack(">HH", class_id, method_id) + arguments)


def header(channel: int, body_size: int, *, class_id: int = 60, weight: int = 0) -> bytes:
    """A content header without properties."""
    return frame(HEADER, channel, struct.pack(">HHQH", class_id, weight, body_size, 0))


def body(channel: int, data: bytes) -> bytes:
    """A content body frame."""
    return frame(BODY, channel, data)


def short_string(text: str) -> bytes:
    """A short string: one octet of length."""
    data = text.encode()
    return struct.pack(">B", len(data)) + data


def long_string(data: bytes) -> bytes:
    """A long string: four octets of length."""
    return struct.pack(">I", len(data)) + data


def pairs(fields: dict[str, Typed]) -> bytes:
    """The inside of a field table, each value given as its type octet and its encoded bytes."""
    return b"".join(short_string(k) + kind.encode() + data for k, (kind, data) in fields.items())


def table(fields: dict[str, Typed]) -> bytes:
    """A field table with the types as given."""
    return long_string(pairs(fields))


def int32(value: int) -> Typed:
    """A signed 32 bit field value."""
    return "I", struct.pack(">i", value)


def int64(value: int) -> Typed:
    """A signed 64 bit field value."""
    return "l", struct.pack(">q", value)


def int8(value: int) -> Typed:
    """A signed 8 bit field value."""
    return "b", struct.pack(">b", value)


def text(value: str) -> Typed:
    """A long string field value."""
    return "S", long_string(value.encode())


def queue_declare(channel: int, queue: str, arguments: dict[str, Typed], bits: int = 0) -> bytes:
    """`queue.declare` whose arguments keep the types given (bits: passive 1, durable 2, exclusive
    4, auto-delete 8).
    """
    head = struct.pack(">H", 0) + short_string(queue) + struct.pack(">B", bits)
    return method(channel, 50, 10, head + table(arguments))


def publish(channel: int, exchange: str, routing_key: str, bits: int = 0) -> bytes:
    """`basic.publish` without its content (bits: mandatory 1, immediate 2)."""
    head = struct.pack(">H", 0) + short_string(exchange) + short_string(routing_key)
    return method(channel, 60, 40, head + struct.pack(">B", bits))


def content(
    channel: int, properties_and_flags: bytes, data: bytes, *, class_id: int = 60, weight: int = 0
) -> bytes:
    """A content header with hand-made properties, and its body in one frame if there is one."""
    head = struct.pack(">HHQ", class_id, weight, len(data)) + properties_and_flags
    return frame(HEADER, channel, head) + (body(channel, data) if data else b"")


def headers_only(headers: dict[str, Typed]) -> bytes:
    """Property flags and list for content that carries nothing but the header table given."""
    return struct.pack(">H", 0x2000) + table(headers)


def delete_by_name(channel: int, name: str, *, exchange: bool) -> bytes:
    """`queue.delete` or `exchange.delete` of any name, however odd."""
    arguments = struct.pack(">H", 0) + short_string(name) + b"\0"
    return method(channel, 40 if exchange else 50, 20 if exchange else 40, arguments)
