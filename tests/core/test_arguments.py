"""Arguments of queues: accepted or refused, the same or not, and in which words."""

from __future__ import annotations

import contextlib
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amqbroker.core.arguments import (
    CLASSIC_ARGUMENTS,
    KNOWN_ARGUMENTS,
    QUORUM_ARGUMENTS,
    TIME_MS_MAX,
    check_equivalent_arguments,
    check_equivalent_flag,
    check_queue_arguments,
    queue_type,
    same_value,
)
from amqbroker.errors import PRECONDITION_FAILED, ChannelException
from amqbroker.exchanges.base import Table

Q = "queue 'q' in vhost '/'"

VALUES: st.SearchStrategy[object] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False)
    | st.text(max_size=5)
    | st.binary(max_size=5)
    | st.decimals(allow_nan=False, allow_infinity=False, places=2),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)


def _refusal(arguments: Table) -> str:
    with pytest.raises(ChannelException) as caught:
        check_queue_arguments(Q, arguments)
    assert caught.value.code == PRECONDITION_FAILED
    return caught.value.explanation


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"x-expires": 1, "x-message-ttl": 0},
        {"x-expires": TIME_MS_MAX, "x-message-ttl": TIME_MS_MAX},
        {"x-max-length": 0, "x-max-length-bytes": 2**40},
        {"x-max-priority": 0},
        {"x-max-priority": 255},
        {"x-delivery-limit": -1},
        {"x-overflow": "drop-head"},
        {"x-overflow": "reject-publish-dlx"},
        {"x-queue-mode": "lazy"},
        {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "k"},
        {"x-single-active-consumer": False},
        {"x-queue-type": "quorum", "x-quorum-initial-group-size": 3},
        {"x-queue-type": "quorum", "x-dead-letter-strategy": "at-least-once"},
        {"x-queue-type": "quorum", "x-queue-leader-locator": "balanced"},
        {"x-queue-version": 2, "x-queue-master-locator": "random"},
        {"x-unheard-of": [1, {"a": None}], "other": b"\xff"},
    ],
)
def test_accepted(arguments: Table) -> None:
    check_queue_arguments(Q, arguments)


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("x-expires", 0, "{value_zero,0}"),
        ("x-expires", -1, "{value_negative,-1}"),
        ("x-expires", TIME_MS_MAX + 1, f"{{value_too_large,{TIME_MS_MAX + 1}}}"),
        ("x-expires", "10", '"expected integer, got longstr"'),
        ("x-message-ttl", True, '"expected integer, got bool"'),
        ("x-message-ttl", 1.0, '"expected integer, got double"'),
        ("x-max-length", None, '"expected integer, got void"'),
        ("x-max-length-bytes", -(2**63), f"{{value_negative,{-(2**63)}}}"),
        ("x-max-priority", 256, "{max_value_exceeded,256}"),
        ("x-delivery-limit", -2, "{value_negative,-2}"),
        ("x-overflow", "drop-tail", "invalid_overflow"),
        ("x-overflow", 1, "{unacceptable_type,signedint}"),
        ("x-queue-mode", "eager", "\"unsupported queue mode 'eager'\""),
        ("x-queue-version", 3, "\"unsupported queue version '3'\""),
        ("x-queue-version", "1", '"expected integer, got longstr"'),
        ("x-dead-letter-routing-key", "k", "routing_key_but_no_dlx_defined"),
        ("x-dead-letter-routing-key", 2**40, "{unacceptable_type,long}"),
        ("x-single-active-consumer", "true", "{unacceptable_type,longstr}"),
        ("x-queue-type", "stream", "\"unsupported queue type 'stream'\""),
        ("x-queue-version", "2", '"expected integer, got longstr"'),
        ("x-queue-type", [], "{unacceptable_type,array}"),
    ],
)
def test_refused(key: str, value: object, reason: str) -> None:
    assert _refusal({key: value}) == f"invalid arg '{key}' for {Q}: {reason}"


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("x-dead-letter-strategy", "never", "invalid_dlx_strategy"),
        ("x-quorum-initial-group-size", 0, "{value_zero,0}"),
        ("x-queue-leader-locator", "moon", "invalid_queue_locator_arg"),
        ("x-queue-leader-locator", 5, "{unacceptable_type,signedint}"),
        ("x-max-in-memory-length", -1, "{value_negative,-1}"),
        ("x-max-in-memory-bytes", -1, "{value_negative,-1}"),
    ],
)
def test_refused_for_a_quorum_queue(key: str, value: object, reason: str) -> None:
    refusal = _refusal({key: value, "x-queue-type": "quorum"})
    assert refusal == f"invalid arg '{key}' for {Q}: {reason}"


@pytest.mark.parametrize(
    ("kind", "key"),
    [("quorum", "x-max-priority"), ("classic", "x-max-age"), ("quorum", "x-queue-mode")],
)
def test_a_known_argument_of_another_type_is_refused(kind: str, key: str) -> None:
    value: object = "lazy" if key == "x-queue-mode" else 5
    assert _refusal({"x-queue-type": kind, key: value}) == (
        f"invalid arg '{key}' for {Q} of queue type rabbit_{kind}_queue"
    )


def test_the_known_arguments_are_those_of_both_types_and_more() -> None:
    assert {*CLASSIC_ARGUMENTS, *QUORUM_ARGUMENTS} < set(KNOWN_ARGUMENTS)


@given(st.dictionaries(st.sampled_from(KNOWN_ARGUMENTS), VALUES, max_size=4))
def test_nothing_but_a_channel_exception(arguments: Table) -> None:
    """Whatever a client sends; and what it sends is the same as itself."""
    assert isinstance(queue_type(arguments), str)
    with contextlib.suppress(ChannelException):
        check_queue_arguments(Q, arguments)
    check_equivalent_arguments(Q, dict(arguments), arguments, KNOWN_ARGUMENTS)


def _difference(received: Table, current: Table) -> str:
    with pytest.raises(ChannelException) as caught:
        check_equivalent_arguments(Q, received, current, CLASSIC_ARGUMENTS)
    return caught.value.explanation


@pytest.mark.parametrize(
    ("received", "current"),
    [
        ({}, {"x-queue-type": "classic"}),
        ({"x-queue-type": "classic"}, {}),
        ({"unknown": 1}, {"unknown": 2}),
        ({"x-max-length": 5}, {"x-max-length": 5}),
    ],
)
def test_equivalent(received: Table, current: Table) -> None:
    check_equivalent_arguments(Q, received, current, CLASSIC_ARGUMENTS)


@pytest.mark.parametrize(
    ("received", "current", "difference"),
    [
        (
            {"x-max-length": 5},
            {"x-max-length": 6},
            "'x-max-length' for {}: received '5' but current is '6'",
        ),
        (
            {"x-max-length": 5},
            {},
            "'x-max-length' for {}: received the value '5' of type 'signedint' but current is none",
        ),
        (
            {},
            {"x-overflow": "drop-head"},
            "'x-overflow' for {}: received none "
            "but current is the value 'drop-head' of type 'longstr'",
        ),
        (
            {"x-queue-type": "quorum"},
            {},
            "'x-queue-type' for {}: received the value 'quorum' of type 'longstr' "
            "but current is none",
        ),
    ],
)
def test_inequivalent(received: Table, current: Table, difference: str) -> None:
    assert _difference(received, current) == f"inequivalent arg {difference.format(Q)}"


def test_flags_are_compared_by_name() -> None:
    check_equivalent_flag("durable", Q, True, True)
    with pytest.raises(ChannelException) as caught:
        check_equivalent_flag("durable", Q, True, False)
    assert caught.value.explanation == (
        f"inequivalent arg 'durable' for {Q}: received 'true' but current is 'false'"
    )


@pytest.mark.parametrize(
    ("left", "right", "same"),
    [(1, 1, True), (1, True, False), (False, 0, False), (None, None, True), ("a", "b", False)],
)
def test_values_are_the_same_as_amqp_values(left: object, right: object, same: bool) -> None:
    assert same_value(left, right) is same
    assert same_value(Decimal("1.0"), Decimal("1.0"))
