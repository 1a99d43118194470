"""What holds for one queue: its arguments, and the policies that match it, in one place.

The rooms that act on a queue read `queue.rules` and nothing else, so that none of them knows where
a value came from. A queue whose policy changes gets a new `Rules`.

Where an argument and a policy both limit a number, the smaller one holds; of anything else that
both give, the argument's.

Source: RabbitMQ's `rabbit_amqqueue:declare_args`, `rabbit_policy`, `rabbit_queue_type_util`.
"""

from __future__ import annotations

from typing import Final, final

from mypy_extensions import i64

from amqbroker.core.arguments import QUORUM, queue_type
from amqbroker.core.policies import Policy, effective_definition
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
    `at_most_once` says that they are dropped where a queue refuses them. `counts_deliveries` says
    that consumers are told how often a message came back. `policy` and `operator_policy` are those
    that hold, for whoever lists them.
    """

    __slots__ = (
        "at_most_once",
        "consumer_timeout_ms",
        "counts_deliveries",
        "dead_letter_exchange",
        "dead_letter_key",
        "delivery_limit",
        "expires_ms",
        "max_length",
        "max_length_bytes",
        "max_priority",
        "message_ttl_ms",
        "operator_policy",
        "overflow",
        "policy",
    )

    def __init__(
        self, arguments: Table, policy: Policy | None = None, operator_policy: Policy | None = None
    ) -> None:
        """The rules of these arguments, which were checked when the queue was declared, under these
        policies."""
        self.policy = policy
        self.operator_policy = operator_policy
        definition = effective_definition(policy, operator_policy)
        self.expires_ms: i64 = _smaller(arguments, definition, "expires")
        self.message_ttl_ms: i64 = _smaller(arguments, definition, "message-ttl")
        self.max_length: i64 = _smaller(arguments, definition, "max-length")
        self.max_length_bytes: i64 = _smaller(arguments, definition, "max-length-bytes")
        # No policy can change the shape of a queue.
        self.max_priority: i64 = _number(arguments.get("x-max-priority"))
        self.delivery_limit: i64 = _smaller(arguments, definition, "delivery-limit")
        self.consumer_timeout_ms: i64 = _smaller(arguments, definition, "consumer-timeout")
        overflow = _text(arguments, definition, "overflow")
        self.overflow: i64 = DROP_HEAD if overflow is None else _OVERFLOWS.get(overflow, DROP_HEAD)
        if self.overflow == REJECT_PUBLISH_DLX and queue_type(arguments) == QUORUM:
            # Accepted of quorum queues, which do not know it, as RabbitMQ does.
            self.overflow = DROP_HEAD
        self.dead_letter_exchange = _text(arguments, definition, "dead-letter-exchange")
        self.dead_letter_key = _text(arguments, definition, "dead-letter-routing-key")
        strategy = _text(arguments, definition, "dead-letter-strategy")
        self.at_most_once = strategy == "at-most-once"
        is_quorum = arguments.get("x-queue-type") == "quorum"
        self.counts_deliveries = is_quorum or self.delivery_limit != NO_LIMIT

    def limit_messages(self) -> bool:
        """Whether messages may expire, or there may be too many of them."""
        return (
            self.message_ttl_ms != NO_LIMIT
            or self.max_length != NO_LIMIT
            or self.max_length_bytes != NO_LIMIT
        )


def _number(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else NO_LIMIT


def _smaller(arguments: Table, definition: Table, name: str) -> int:
    """The smaller one of two limits; NO_LIMIT if there is none."""
    declared = _number(arguments.get(f"x-{name}"))
    set_by_policy = _number(definition.get(name))
    if declared < 0 or set_by_policy < 0:
        return max(declared, set_by_policy)
    return min(declared, set_by_policy)


def _text(arguments: Table, definition: Table, name: str) -> str | None:
    """What the argument says, else what the policy does."""
    value = arguments.get(f"x-{name}")
    if not isinstance(value, str):
        value = definition.get(name)
    return value if isinstance(value, str) else None
