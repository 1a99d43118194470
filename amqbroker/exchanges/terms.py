"""Field values as RabbitMQ's error texts show them: the name of the AMQP type and the value as an
Erlang term.

Decoded values no longer know their exact AMQP type. An integer counts as `signedint` where 32 bits
hold it and as `long` elsewhere, which is what most clients send; a float counts as `double`.
Source: RabbitMQ's `rabbit_binary_parser` for the names, Erlang's `io:format` with `~tp` for the
terms.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Final

from mypy_extensions import i64

# A peer chooses the depth, and in the 255 bytes of a reply text more would not be seen.
DEPTH_MAX: Final = 16

SIGNED_INT_MIN: Final = -(2**31)
SIGNED_INT_MAX: Final = 2**31 - 1

ESCAPES: Final[dict[int, str]] = {
    8: "\\b",
    9: "\\t",
    10: "\\n",
    11: "\\v",
    12: "\\f",
    13: "\\r",
    27: "\\e",
    34: '\\"',
    92: "\\\\",
}


def field_type(value: object) -> str:
    """The name of a field value's AMQP type.

    Bytes are a long string that is not UTF-8, a bytearray is a byte array.
    """
    if isinstance(value, (str, bytes)):
        return "longstr"
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int):
        return "signedint" if SIGNED_INT_MIN <= value <= SIGNED_INT_MAX else "long"
    if value is None:
        return "void"
    if isinstance(value, float):
        return "double"
    if isinstance(value, bytearray):
        return "binary"
    if isinstance(value, Decimal):
        return "decimal"
    if isinstance(value, dict):
        return "table"
    return "array" if isinstance(value, list) else "timestamp"


def term(value: object, depth: i64 = 0) -> str:
    """A field value as an Erlang term."""
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, (bytes, bytearray)):
        try:
            return _text(value.decode())
        except UnicodeDecodeError:
            return _octets(bytes(value))
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "undefined"
    if isinstance(value, Decimal):
        scale = value.as_tuple().exponent
        assert isinstance(scale, int), value  # AMQP has neither infinite decimals nor NaN
        places = max(0, -scale)
        return f"{{{places},{int(value.scaleb(places))}}}"
    if isinstance(value, datetime):
        return str(int(value.timestamp()))
    if isinstance(value, (dict, list)):
        return "[...]" if depth >= DEPTH_MAX else _nested(value, depth + 1)
    return str(value)


def _nested(value: object, depth: i64) -> str:
    """A table or an array: a list of tuples with the type of each value."""
    parts: list[str] = []
    if isinstance(value, dict):
        for name, item in value.items():
            parts.append(f"{{{_text(name)},{field_type(item)},{term(item, depth)}}}")
    elif isinstance(value, list):
        parts = [f"{{{field_type(item)},{term(item, depth)}}}" for item in value]
    return f"[{','.join(parts)}]"


def _text(text: str) -> str:
    """A binary: quoted if Latin-1 can print it, else the octets of its UTF-8."""
    if not text:
        return "<<>>"
    quoted: list[str] = []
    is_ascii = True
    for character in text:
        code = ord(character)
        if code in ESCAPES:
            quoted.append(ESCAPES[code])
        elif 32 <= code <= 126:
            quoted.append(character)
        elif 160 <= code <= 255:
            quoted.append(character)
            is_ascii = False
        else:
            return _octets(text.encode(errors="surrogatepass"))
    return f'<<"{"".join(quoted)}"{"" if is_ascii else "/utf8"}>>'


def _octets(raw: bytes) -> str:
    return f"<<{','.join([str(octet) for octet in raw])}>>"
