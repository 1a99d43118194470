"""A few rounds of the durability run."""

from __future__ import annotations

from pathlib import Path

from .__main__ import summary
from .rounds import Rounds


def test_a_broker_that_is_killed_keeps_its_promises(tmp_path: Path) -> None:
    rounds = Rounds(tmp_path, seed=4711)
    try:
        reports = list(rounds.run(6))
    finally:
        rounds.end()
    assert [report.problems for report in reports] == [[]] * 6
    assert sum(report.confirmed for report in reports) > 100
    assert summary(reports, 1.0).endswith("0 rounds broke a promise")
