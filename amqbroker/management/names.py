"""What a name may be that an administrator gives.

Names go over the wire as short strings, and into the journal's keys.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from amqbroker.management.errors import BAD_ARGUMENT, ManagementError

NAME_BYTES_MAX: Final = 255


def check_name(kind: str, name: str, *, may_be_empty: bool = False) -> None:
    """Raise ManagementError unless this can be the name of a user, a virtual host, an exchange."""
    if not name and not may_be_empty:
        raise ManagementError(BAD_ARGUMENT, f"the name of a {kind} cannot be empty")
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        raise ManagementError(BAD_ARGUMENT, f"the name of a {kind} must be UTF-8") from None
    if size > NAME_BYTES_MAX:
        what = f"the name of a {kind} has at most {NAME_BYTES_MAX} bytes, not {size}"
        raise ManagementError(BAD_ARGUMENT, what)


def check_tags(tags: Sequence[str]) -> None:
    """Raise ManagementError unless each of these can be a tag."""
    for tag in tags:
        check_name("tag", tag)
