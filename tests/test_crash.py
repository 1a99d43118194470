"""Two rounds of the crash run, and proof that its ledger sees what is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.crash import Ledger, run


def test_what_was_confirmed_outlives_a_kill(tmp_path: Path) -> None:
    for summary, problems in run(2, 4711, tmp_path):
        assert problems == [], summary


@pytest.fixture
def ledger() -> Ledger:
    """Messages 0 to 4 are older; 5 to 9 were published, 5 to 8 confirmed, 5 and 6 acked."""
    ledger = Ledger()
    ledger.attempted = 5
    ledger.next_round([2, 3, 4])
    ledger.attempted = 10
    ledger.confirmed |= {5, 6, 7, 8}
    ledger.acked = {5, 6}
    return ledger


@pytest.mark.parametrize(
    "found", [[2, 3, 4, 7, 8], [2, 3, 4, 7, 8, 9], [2, 3, 4, 5, 6, 7, 8], [2, 3, 4, 6, 7, 8]]
)
def test_what_was_under_way_may_be_there_or_not(ledger: Ledger, found: list[int]) -> None:
    assert ledger.check(found) == []


@pytest.mark.parametrize(
    ("found", "problem"),
    [
        ([2, 3, 4, 8], "1 confirmed messages are lost, first 7"),
        ([3, 4, 7, 8], "1 confirmed messages are lost, first 2"),
        ([1, 2, 3, 4, 7, 8], "1 messages come from nowhere, first 1"),
        ([2, 3, 4, 7, 8, 10], "1 messages come from nowhere, first 10"),
        ([2, 3, 4, 8, 7], "messages are out of order or there twice"),
        ([2, 3, 4, 7, 7, 8], "messages are out of order or there twice"),
    ],
)
def test_a_broken_promise_is_found(ledger: Ledger, found: list[int], problem: str) -> None:
    assert ledger.check(found) == [problem]
