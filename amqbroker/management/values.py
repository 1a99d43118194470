"""Field values as JSON has them, for lists, definitions and messages that people look at.

JSON knows fewer types than AMQP: octets that are no text lose what is not UTF-8, a timestamp is the
number of its seconds, a decimal is a floating-point number, as in RabbitMQ's definitions and its
HTTP API. Back from JSON, values have the types that a client library would choose.

Source: RabbitMQ's `rabbit_misc:amqp_table`, `rabbit_mgmt_format:amqp_table`.
"""

from __future__ import annotations

import math
from datetime import datetime
from decimal import Decimal
from typing import Final

from amqbroker.exchanges.base import Table

INT_MIN: Final = -(2**63)
INT_MAX: Final = 2**63 - 1
# A name of a field is a short string.
FIELD_NAME_BYTES_MAX: Final = 255
# As deep as a client may send them.
DEPTH_MAX: Final = 64


def to_json(value: object) -> object:
    """A field value as JSON can have it."""
    if isinstance(value, dict):
        return {str(name): to_json(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(item) for item in value]
    if isinstance(value, bytes | bytearray):
        return bytes(value).decode(errors="replace")
    if isinstance(value, datetime):
        return int(value.timestamp())
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def table_to_json(table: Table) -> dict[str, object]:
    """A field table as JSON can have it."""
    return {name: to_json(item) for name, item in table.items()}


def is_too_deep(value: object, depth: int = 0) -> bool:
    """Whether a JSON value is nested deeper than DEPTH_MAX."""
    if isinstance(value, dict):
        value = list(value.values())
    if not isinstance(value, list):
        return False
    return depth >= DEPTH_MAX or any(is_too_deep(item, depth + 1) for item in value)


def problem_of(value: object, path: str, depth: int = 0) -> tuple[str, str] | None:
    """Where and why a JSON value cannot be a field value; None if it can."""
    if depth > DEPTH_MAX:
        return path, f"nested deeper than {DEPTH_MAX}"
    if isinstance(value, int) and not isinstance(value, bool) and not INT_MIN <= value <= INT_MAX:
        return path, "no 64-bit number"
    if isinstance(value, dict):
        for name, item in value.items():
            if len(name.encode("utf-8", "surrogateescape")) > FIELD_NAME_BYTES_MAX:
                return path, f"a field's name is longer than {FIELD_NAME_BYTES_MAX} bytes"
            found = problem_of(item, f"{path}.{name}", depth + 1)
            if found is not None:
                return found
    if isinstance(value, list):
        for place, item in enumerate(value):
            found = problem_of(item, f"{path}[{place}]", depth + 1)
            if found is not None:
                return found
    return None
