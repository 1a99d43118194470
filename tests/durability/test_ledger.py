"""Proof that the ledger sees each broken promise, and none that was kept."""

from __future__ import annotations

import pytest

from .ledger import NUMBERS_A_PUBLISHER, Found, QueueLedger, make_body, read_body

OTHER = NUMBERS_A_PUBLISHER


@pytest.fixture
def ledger() -> QueueLedger:
    """Messages 1 to 8 and one of another publisher.

    1 is older; 2, 3, 4 and the other's are confirmed; 5 is not; 6 is transient; 3 was delivered;
    7 and 8 were acked, the ack of 7 was read at 10 s, and nothing is known about that of 8.
    """
    ledger = QueueLedger("q")
    ledger.published(1, True, True)
    ledger.keep([Found(1, False)])
    for number in (2, 3, 4, OTHER, 7, 8):
        ledger.published(number, True, True)
    ledger.published(5, True, False)
    ledger.published(6, False, True)
    ledger.delivered([3, 7, 8])
    ledger.acked([7, 8])
    ledger.settled([7], 10.0)
    return ledger


def found(*numbers: int) -> list[Found]:
    """Messages that all say redelivered, as after an unclean stop."""
    return [Found(number, True) for number in numbers]


@pytest.mark.parametrize(
    "contents",
    [
        found(1, 2, 3, 4, OTHER),
        found(1, 2, 3, 4, 5, OTHER),
        found(1, 2, 3, 4, OTHER, 8),
        found(OTHER, 1, 2, 3, 4),
        [Found(1, True), Found(2, False), Found(3, True), Found(4, False), Found(OTHER, False)],
    ],
)
def test_what_was_under_way_may_be_there_or_not(ledger: QueueLedger, contents: list[Found]) -> None:
    assert ledger.check(contents, 11.0) == []


@pytest.mark.parametrize(
    ("contents", "problem"),
    [
        (found(1, 3, 4, OTHER), "1 confirmed messages are lost, first 2"),
        (found(2, 3, 4, OTHER), "1 confirmed messages are lost, first 1"),
        (found(1, 2, 2, 3, 4, OTHER), "1 messages are there twice"),
        (
            found(0, 1, 2, 3, 4, OTHER),
            "1 messages come from nowhere, or were gone already, first 0",
        ),
        (found(1, 2, 3, 4, 6, OTHER), "1 transient messages outlived the broker, first 6"),
        (found(1, 2, 3, 4, 7, OTHER), "1 messages came back long after their ack, first 7"),
        (
            [*found(1, 2), Found(3, False), *found(4, OTHER)],
            "1 messages were delivered before and do not say redelivered, first 3",
        ),
        (found(1, 2, 4, OTHER, 3), "3 is behind 4"),
    ],
)
def test_a_broken_promise_is_found(
    ledger: QueueLedger, contents: list[Found], problem: str
) -> None:
    assert ledger.check(contents, 11.0) == [f"q: {problem}"]


def test_an_ack_that_came_late_is_no_promise(ledger: QueueLedger) -> None:
    assert ledger.check(found(1, 2, 3, 4, 7, OTHER), 9.0) == []


def test_what_is_gone_after_a_restart_is_gone_for_good(ledger: QueueLedger) -> None:
    ledger.keep(found(1, 2))
    assert ledger.check(found(1, 2), 0.0) == []
    assert ledger.check(found(1, 2, 5), 0.0) != []
    assert ledger.check(found(1), 0.0) == ["q: 1 confirmed messages are lost, first 2"]


@pytest.mark.parametrize("size", [0, 1, 251, 70_000])
def test_a_body_tells_its_number(size: int) -> None:
    assert read_body(make_body(OTHER + 5, size)) == OTHER + 5


@pytest.mark.parametrize("position", [14, 22, 24, 99])
def test_a_changed_body_is_seen(position: int) -> None:
    body = bytearray(make_body(17, 100))
    body[position] ^= 1
    with pytest.raises(ValueError, match=r"changed|invalid"):
        read_body(bytes(body))
