"""Names that the broker makes up, and how error texts name resources.

Source: RabbitMQ's `rabbit_guid:binary` (URL-safe base64, unpadded, of 16 random octets) and
`rabbit_misc:rs`.
"""

from __future__ import annotations

import base64
from random import Random


def made_up_name(prefix: str, random: Random) -> str:
    """`prefix-` and 22 URL-safe characters: a server-named queue or consumer tag."""
    return f"{prefix}-{base64.urlsafe_b64encode(random.randbytes(16)).rstrip(b'=').decode()}"


def queue_resource(name: str, vhost: str) -> str:
    """`queue 'q' in vhost '/'`."""
    return f"queue '{name}' in vhost '{vhost}'"


def exchange_resource(name: str, vhost: str) -> str:
    """`exchange 'x' in vhost '/'`."""
    return f"exchange '{name}' in vhost '{vhost}'"


def strip_line_ends(name: str) -> str:
    """RabbitMQ drops CR and LF from names in declare, delete and bind."""
    return name.replace("\r", "").replace("\n", "")
