"""The arguments of queues: which values are accepted, and when two declarations are the same.

Source: RabbitMQ's `rabbit_amqqueue:declare_args`, `assert_args_equivalence` in `rabbit_misc`, and
the queue types' own lists of arguments.
"""

from __future__ import annotations

from typing import Final

from amqbroker.errors import AmqpError, precondition_failed
from amqbroker.exchanges.base import Table
from amqbroker.exchanges.terms import field_type

# Ten years: RabbitMQ's largest timer.
TIME_MS_MAX: Final = 315_360_000_000

CLASSIC: Final = "classic"
QUORUM: Final = "quorum"

COMMON_ARGUMENTS: Final = (
    "x-consumer-timeout",
    "x-dead-letter-exchange",
    "x-dead-letter-routing-key",
    "x-delivery-limit",
    "x-expires",
    "x-max-length",
    "x-max-length-bytes",
    "x-message-ttl",
    "x-overflow",
    "x-queue-leader-locator",
    "x-queue-type",
    "x-single-active-consumer",
)
CLASSIC_ARGUMENTS: Final = (*COMMON_ARGUMENTS, "x-max-priority", "x-queue-mode", "x-queue-version")
QUORUM_ARGUMENTS: Final = (
    *COMMON_ARGUMENTS,
    "x-dead-letter-strategy",
    "x-max-in-memory-bytes",
    "x-max-in-memory-length",
    "x-quorum-initial-group-size",
)
# Known to one type of queue or another: refused where it does not apply, while unknown arguments
# are ignored.
KNOWN_ARGUMENTS: Final = tuple(
    dict.fromkeys(
        (*CLASSIC_ARGUMENTS, *QUORUM_ARGUMENTS, "x-max-age", "x-stream-max-segment-size-bytes")
    )
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


def queue_type(arguments: Table) -> str:
    """The type of queue that these arguments ask for; `classic` by default."""
    value = arguments.get("x-queue-type")
    return value if isinstance(value, str) else CLASSIC


def check_queue_arguments(resource: str, arguments: Table) -> None:
    """Raise ChannelException 406 for the first argument that is not acceptable."""
    for key, value in arguments.items():
        reason = reason_against(key, value, arguments)
        if reason:
            raise precondition_failed(f"invalid arg '{key}' for {resource}: {reason}")
    kind = queue_type(arguments)
    accepted = QUORUM_ARGUMENTS if kind == QUORUM else CLASSIC_ARGUMENTS
    for key in arguments:
        if key in KNOWN_ARGUMENTS and key not in accepted:
            raise precondition_failed(
                f"invalid arg '{key}' for {resource} of queue type rabbit_{kind}_queue"
            )


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
    if key in ("x-max-length", "x-max-length-bytes", "x-max-priority", "x-delivery-limit"):
        return _count(key, value)
    if key == "x-overflow":
        return _choice(value, OVERFLOWS, "invalid_overflow")
    if key == "x-queue-mode":
        return _choice(value, ("default", "lazy"), "invalid_queue_mode")
    if key == "x-dead-letter-routing-key":
        if not isinstance(value, str):
            return _unacceptable(value)
        return "" if "x-dead-letter-exchange" in arguments else "routing_key_but_no_dlx_defined"
    if key == "x-single-active-consumer":
        return "" if isinstance(value, bool) else _unacceptable(value)
    if key == "x-queue-type":
        return _choice(value, (CLASSIC, QUORUM), f"unsupported queue type '{value}'")
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
    return f"{{max_value_exceeded,{value}}}" if key == "x-max-priority" and value > 255 else ""


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
        if key == "x-queue-type":
            new = new or CLASSIC
            old = old or CLASSIC
        if same_value(new, old):
            continue
        if new is not None and old is not None and field_type(new) == field_type(old):
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
    return str(value)


def with_type(value: object) -> str:
    """An argument's value with its type, or `none`."""
    if value is None:
        return "none"
    return f"the value '{flag(value)}' of type '{field_type(value)}'"
