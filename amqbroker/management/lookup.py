"""What requests of administrators name: virtual hosts, and names that are made."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from amqbroker.core.broker import Broker
from amqbroker.core.vhost import VirtualHost
from amqbroker.management.errors import BAD_ARGUMENT, NOT_FOUND, ManagementError

NAME_BYTES_MAX: Final = 255


def find_vhost(broker: Broker, name: str) -> VirtualHost:
    """The virtual host of this name."""
    vhost = broker.vhosts.get(name)
    if vhost is None:
        raise ManagementError(NOT_FOUND, f"Virtual host '{name}' does not exist")
    return vhost


def check_name(kind: str, name: str) -> None:
    """Refuse a name that nothing can be called: `kind` says what it would be the name of."""
    if not is_text(name):
        raise ManagementError(BAD_ARGUMENT, f"the name of {kind} is no Unicode text")
    size = len(name.encode())
    if size == 0:
        raise ManagementError(BAD_ARGUMENT, f"{kind} must have a name")
    if size > NAME_BYTES_MAX:
        raise ManagementError(
            BAD_ARGUMENT, f"the name of {kind} has {size} bytes, more than {NAME_BYTES_MAX}"
        )


def check_tags(tags: Sequence[str]) -> None:
    """Refuse a tag that is none."""
    for tag in tags:
        check_name("a tag", tag)


def check_text(what: str, text: str) -> None:
    """Refuse a text that is none."""
    if not is_text(text):
        raise ManagementError(BAD_ARGUMENT, f"{what} is no Unicode text")


def is_text(value: object) -> bool:
    """Whether this is a text that bytes can carry: JSON can name halves of characters."""
    if not isinstance(value, str):
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
