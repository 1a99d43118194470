"""The arguments of queues: which values are accepted, and when two declarations are the same.

Source: RabbitMQ's `rabbit_amqqueue:declare_args`, `assert_args_equivalence` in `rabbit_misc`, and
the queue types' own lists of arguments.
"""

from __future__ import annotations

from typing import Final

from amqbroker.errors import AmqpError, precondition_failed
from amqbroker.exchanges.base import Table
from amqbroker.exchanges.terms import field_type, term

# Ten years: RabbitMQ's largest timer.
TIME_MS_MAX: Final = 315_360_000_000

CLASSIC: Final = "classic"
QUORUM: Final = "quorum"

# In the order in which RabbitMQ checks them and compares them: that decides which of several
# mistakes is told.
CLASSIC_ARGUMENTS: Final = (
    "x-expires",
    "x-message-ttl",
    "x-dead-letter-exchange",
    "x-dead-letter-routing-key",
    "x-max-length",
    "x-max-length-bytes",
    "x-max-priority",
    "x-overflow",
    "x-queue-mode",
    "x-queue-version",
    "x-single-active-consumer",
    "x-queue-type",
    "x-queue-master-locator",
    "x-queue-leader-locator",
    "x-delivery-limit",
    "x-consumer-timeout",
)
QUORUM_ARGUMENTS: Final = (
    "x-dead-letter-exchange",
    "x-dead-letter-routing-key",
    "x-dead-letter-strategy",
    "x-expires",
    "x-max-length",
    "x-max-length-bytes",
    "x-max-in-memory-length",
    "x-max-in-memory-bytes",
    "x-overflow",
    "x-single-active-consumer",
    "x-queue-type",
    "x-quorum-initial-group-size",
    "x-delivery-limit",
    "x-message-ttl",
    "x-queue-leader-locator",
    "x-consumer-timeout",
)
ACCEPTED: Final = {CLASSIC: CLASSIC_ARGUMENTS, QUORUM: QUORUM_ARGUMENTS}
# Known to one type of queue or another, in the order of RabbitMQ's checks: refused where they do
# not apply, while unknown arguments are ignored.
KNOWN_ARGUMENTS: Final = (
    "x-expires",
    "x-message-ttl",
    "x-dead-letter-exchange",
    "x-dead-letter-routing-key",
    "x-dead-letter-strategy",
    "x-max-length",
    "x-max-length-bytes",
    "x-max-in-memory-length",
    "x-max-in-memory-bytes",
    "x-max-priority",
    "x-overflow",
    "x-queue-mode",
    "x-queue-version",
    "x-single-active-consumer",
    "x-queue-type",
    "x-quorum-initial-group-size",
    "x-max-age",
    "x-stream-max-segment-size-bytes",
    "x-initial-cluster-size",
    "x-queue-leader-locator",
    "x-queue-master-locator",
    "x-delivery-limit",
    "x-consumer-timeout",
)
# Of consumers: refused where the queue's type does not know them, while others are ignored.
CONSUMER_ARGUMENTS: Final = {
    CLASSIC: ("x-cancel-on-ha-failover", "x-credit", "x-priority"),
    QUORUM: ("x-credit", "x-priority"),
}
KNOWN_CONSUMER_ARGUMENTS: Final = (
    *CONSUMER_ARGUMENTS[CLASSIC],
    "x-stream-filter",
    "x-stream-match-unfiltered",
    "x-stream-offset",
)
OVERFLOWS: Final = ("drop-head", "reject-publish", "reject-publish-dlx")
DEAD_LETTER_STRATEGIES: Final = ("at-most-once", "at-least-once")
LEADER_LOCATORS: Final = ("client-local", "balanced", "random", "least-leaders")
# Which texts an argument may be, and the reason why others are refused.
CHOICES: Final[dict[str, tuple[tuple[str, ...], str]]] = {
    "x-dead-letter-strategy": (DEAD_LETTER_STRATEGIES, "invalid_dlx_strategy"),
    "x-overflow": (OVERFLOWS, "invalid_overflow"),
    "x-queue-leader-locator": (LEADER_LOCATORS, "invalid_queue_locator_arg"),
}
COUNTS: Final = (
    "x-delivery-limit",
    "x-max-in-memory-bytes",
    "x-max-in-memory-length",
    "x-max-length",
    "x-max-length-bytes",
    "x-max-priority",
    "x-queue-version",
    "x-quorum-initial-group-size",
)


def queue_type(arguments: Table) -> str:
    """The type of queue that these arguments ask for; `classic` by default."""
    value = arguments.get("x-queue-type")
    return value if isinstance(value, str) else CLASSIC


def check_queue_arguments(resource: str, arguments: Table) -> None:
    """Raise ChannelException 406 for the first argument that is not acceptable.

    RabbitMQ looks at the names first, and at the values in its own order.
    """
    kind = queue_type(arguments)
    accepted = ACCEPTED.get(kind, KNOWN_ARGUMENTS)
    for key in arguments:
        if key in KNOWN_ARGUMENTS and key not in accepted:
            raise precondition_failed(
                f"invalid arg '{key}' for {resource} of queue type rabbit_{kind}_queue"
            )
    for key in KNOWN_ARGUMENTS:
        reason = reason_against(key, arguments[key], arguments) if key in arguments else ""
        if reason:
            raise precondition_failed(f"invalid arg '{key}' for {resource}: {reason}")


def check_consumer_arguments(resource: str, kind: str, arguments: Table) -> None:
    """Raise ChannelException 406 for the first argument that consumers of queues of another type
    have."""
    for key in arguments:
        if key in KNOWN_CONSUMER_ARGUMENTS and key not in CONSUMER_ARGUMENTS[kind]:
            raise precondition_failed(
                f"invalid arg '{key}' for {resource} of queue type rabbit_{kind}_queue"
            )


def reason_against(key: str, value: object, arguments: Table) -> str:
    """Why this value is refused, as RabbitMQ prints it; empty if it is not."""
    if key in ("x-consumer-timeout", "x-expires", "x-message-ttl"):
        return time_error(value, zero=key == "x-message-ttl")
    if key in COUNTS:
        return _count(key, value)
    if key in CHOICES:
        choices, reason = CHOICES[key]
        return _choice(value, choices, reason)
    if key == "x-queue-mode":
        return _choice(value, ("default", "lazy"), f"\"unsupported queue mode '{value}'\"")
    if key == "x-dead-letter-routing-key":
        if not isinstance(value, str):
            return _unacceptable(value)
        return "" if "x-dead-letter-exchange" in arguments else "routing_key_but_no_dlx_defined"
    if key == "x-single-active-consumer":
        return "" if isinstance(value, bool) else _unacceptable(value)
    if key == "x-queue-type":
        return _choice(value, (CLASSIC, QUORUM), f"\"unsupported queue type '{value}'\"")
    return ""


def _unacceptable(value: object) -> str:
    return f"{{unacceptable_type,{field_type(value)}}}"


def _choice(value: object, choices: tuple[str, ...], reason: str) -> str:
    if not isinstance(value, str):
        return _unacceptable(value)
    return "" if value in choices else reason


def _integer(value: object) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{{value_negative,{value}}}" if value < 0 else ""
    return f'"expected integer, got {field_type(value)}"'


def time_error(value: object, zero: bool) -> str:
    """Why this is no time in milliseconds, as RabbitMQ prints it; empty if it is one."""
    reason = _integer(value)
    if reason:
        return reason
    assert isinstance(value, int)
    if value == 0 and not zero:
        return "{value_zero,0}"
    return f"{{value_too_large,{value}}}" if value > TIME_MS_MAX else ""


def _count(key: str, value: object) -> str:
    if key == "x-delivery-limit" and value == -1:
        return ""
    reason = _integer(value)
    if reason:
        return reason
    assert isinstance(value, int)
    if key == "x-max-priority" and value > 255:
        return f"{{max_value_exceeded,{value}}}"
    if key == "x-quorum-initial-group-size" and value == 0:
        return "{value_zero,0}"
    if key == "x-queue-version" and value not in (1, 2):
        return f"\"unsupported queue version '{value}'\""
    return ""


def check_equivalent_flag(name: str, resource: str, received: object, current: object) -> None:
    """Raise 406 if a redeclaration has another value for this flag or type."""
    if received != current:
        raise inequivalent(
            name, resource, f"received '{flag(received)}' but current is '{flag(current)}'"
        )


def check_equivalent_arguments(
    resource: str, received: Table, current: Table, keys: tuple[str, ...]
) -> None:
    """Raise 406 if any of these arguments differs. Integer widths do not matter, only values."""
    for key in keys:
        new = received.get(key)
        old = current.get(key)
        if same_value(new, old) or (key == "x-queue-type" and (new or CLASSIC) == (old or CLASSIC)):
            continue
        if new is not None and old is not None:
            raise inequivalent(
                key, resource, f"received '{flag(new)}' but current is '{flag(old)}'"
            )
        raise inequivalent(
            key, resource, f"received {with_type(new)} but current is {with_type(old)}"
        )


def inequivalent(name: str, resource: str, difference: str) -> AmqpError:
    """406 in RabbitMQ's words."""
    return precondition_failed(f"inequivalent arg '{name}' for {resource}: {difference}")


def same_value(left: object, right: object) -> bool:
    """Equal as AMQP values: 1 and True are not, 1 and 1 in another width are."""
    if isinstance(left, bool) != isinstance(right, bool):
        return False
    return left == right


def flag(value: object) -> str:
    """A flag, a name or an argument's value as error texts print it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return term(value) if isinstance(value, (dict, list)) else str(value)


def with_type(value: object) -> str:
    """An argument's value with its type, or `none`."""
    if value is None:
        return "none"
    return f"the value '{flag(value)}' of type '{field_type(value)}'"
