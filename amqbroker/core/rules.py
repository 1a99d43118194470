"""What holds for one queue: its arguments, and the policies that match it, in one place.

The rooms that act on a queue read `queue.rules` and nothing else, so that none of them knows where
a value came from. A queue whose policy changes gets a new `Rules`.

Source: RabbitMQ's `rabbit_amqqueue:declare_args`, `rabbit_policy`, `rabbit_queue_type_util`.
"""

from __future__ import annotations

from typing import Final, final

from mypy_extensions import i64

from amqbroker.exchanges.base import Table

NO_LIMIT: Final = -1

DROP_HEAD: Final = 0
REJECT_PUBLISH: Final = 1
REJECT_PUBLISH_DLX: Final = 2

_OVERFLOWS: Final = {
    "drop-head": DROP_HEAD,
    "reject-publish": REJECT_PUBLISH,
    "reject-publish-dlx": REJECT_PUBLISH_DLX,
}


@final
class Rules:
    """The rules of one queue. Numbers are NO_LIMIT where there is none; times are milliseconds.

    `dead_letter_exchange` is None for a queue that has none; the empty name is the default
    exchange. `dead_letter_key` is None where dead letters keep their own routing keys.
    """

    __slots__ = (
        "dead_letter_exchange",
        "dead_letter_key",
        "delivery_limit",
        "expires_ms",
        "max_length",
        "max_length_bytes",
        "max_priority",
        "message_ttl_ms",
        "overflow",
    )

    def __init__(self, arguments: Table) -> None:
        """The rules of these arguments, which were checked when the queue was declared."""
        self.expires_ms: i64 = _number(arguments, "x-expires")
        self.message_ttl_ms: i64 = _number(arguments, "x-message-ttl")
        self.max_length: i64 = _number(arguments, "x-max-length")
        self.max_length_bytes: i64 = _number(arguments, "x-max-length-bytes")
        self.max_priority: i64 = _number(arguments, "x-max-priority")
        self.delivery_limit: i64 = _number(arguments, "x-delivery-limit")
        self.overflow: i64 = _OVERFLOWS.get(str(arguments.get("x-overflow", "drop-head")), 0)
        self.dead_letter_exchange = _text(arguments, "x-dead-letter-exchange")
        self.dead_letter_key = _text(arguments, "x-dead-letter-routing-key")

    def limit_messages(self) -> bool:
        """Whether messages may expire, or there may be too many of them."""
        return (
            self.message_ttl_ms != NO_LIMIT
            or self.max_length != NO_LIMIT
            or self.max_length_bytes != NO_LIMIT
        )


def _number(arguments: Table, name: str) -> int:
    value = arguments.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) else NO_LIMIT


def _text(arguments: Table, name: str) -> str | None:
    value = arguments.get(name)
    return value if isinstance(value, str) else None
