"""Limits as administrators write them: a JSON object of names and whole numbers.

Source: RabbitMQ's `rabbit_parameter_validation`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from amqbroker.auth.users import NO_LIMIT
from amqbroker.management.errors import BAD_ARGUMENT, ManagementError

ALL: Final = "all"
LIMIT_MAX: Final = 2**31 - 1


def checked_limits(
    kind: str, limits: Mapping[str, object], known: tuple[str, ...]
) -> dict[str, int]:
    """The limits, where any number below zero has become NO_LIMIT. Raises ManagementError."""
    unknown = [name for name in limits if name not in known]
    if unknown:
        what = f"Unrecognised terms {unknown} in {kind}: {' and '.join(known)} are known"
        raise ManagementError(BAD_ARGUMENT, what)
    checked: dict[str, int] = {}
    for name, value in limits.items():
        if not isinstance(value, int) or isinstance(value, bool):
            what = f"{name} should be a number, actually was {value!r}"
            raise ManagementError(BAD_ARGUMENT, what)
        if value > LIMIT_MAX:
            raise ManagementError(BAD_ARGUMENT, f"{name} is at most {LIMIT_MAX}, not {value}")
        checked[name] = max(value, NO_LIMIT)
    return checked


def shown_limits(limits: Mapping[str, int]) -> dict[str, int]:
    """Those that are limits."""
    return {name: value for name, value in limits.items() if value != NO_LIMIT}
