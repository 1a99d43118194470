"""Field tables with the types that they have on the wire, which pika's values do not keep.

pika writes every integer in one of two widths and cannot write floating point at all; `Typed` says
what is wanted. And it reads all widths into the same Python integer; `render` shows each value
with its type octet, so that a header that came back in another width is seen as different.
"""

from __future__ import annotations

import struct
import time
from typing import Any, Final, NamedTuple

from pika import data

_FIXED: Final = {
    "b": ">b",
    "B": ">B",
    "s": ">h",
    "u": ">H",
    "I": ">i",
    "i": ">I",
    "l": ">q",
    "f": ">f",
    "d": ">d",
    "T": ">Q",
    "t": ">?",
}
_LENGTH: Final = struct.Struct(">I")
#: A time this close to the clock is the time of the run, and no difference.
_NOW_S: Final = 600.0


class Typed(NamedTuple):
    """A value in the wire's own type, by its octet: `Typed("d", 1.5)`."""

    kind: str
    value: Any


_pika_encode_value: Final = data.encode_value


def _encode_value(pieces: list[bytes], value: Any) -> int:
    """pika's function of this name, and `Typed` values too."""
    if isinstance(value, float):
        value = Typed("d", value)
    if not isinstance(value, Typed):
        size: int = _pika_encode_value(pieces, value)
        return size
    piece = value.kind.encode() + (
        struct.pack(_FIXED[value.kind], value.value)
        if value.kind in _FIXED
        else _LENGTH.pack(len(value.value)) + value.value
    )
    pieces.append(piece)
    return len(piece)


data.encode_value = _encode_value


def render(table: bytes) -> str:
    """A table, its length included, as text: `{count=l:1, queue=S:q}`, sorted by key."""
    return "{" + ", ".join(sorted(_items(table[4 : 4 + _LENGTH.unpack_from(table)[0]]))) + "}"


def _items(encoded: bytes) -> list[str]:
    items = []
    offset = 0
    while offset < len(encoded):
        end = offset + 1 + encoded[offset]
        name = encoded[offset + 1 : end].decode(errors="backslashreplace")
        text, offset = _value(encoded, end)
        items.append(f"{name}={text}")
    return items


def _value(encoded: bytes, offset: int) -> tuple[str, int]:
    kind = chr(encoded[offset])
    offset += 1
    if kind in _FIXED:
        (value,) = struct.unpack_from(_FIXED[kind], encoded, offset)
        if kind == "T" and abs(value - time.time()) < _NOW_S:
            value = "now"
        return f"{kind}:{value}", offset + struct.calcsize(_FIXED[kind])
    if kind == "V":
        return "V", offset
    if kind == "D":
        scale, number = struct.unpack_from(">Bi", encoded, offset)
        return f"D:{number}e-{scale}", offset + 5
    end = offset + 4 + _LENGTH.unpack_from(encoded, offset)[0]
    content = encoded[offset + 4 : end]
    if kind == "F":
        return f"F:{render(encoded[offset:end])}", end
    if kind == "A":
        values = []
        at = 0
        while at < len(content):
            text, at = _value(content, at)
            values.append(text)
        return f"A:[{', '.join(values)}]", end
    return f"{kind}:{content.decode(errors='backslashreplace')}", end
