"""`python -m tests.durability`: the exit code is 1 if a promise was broken."""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from pathlib import Path

import tests.durability

from .rounds import Report, Rounds


def main() -> int:
    """Run the rounds and print what came of them."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.durability",
        description=tests.durability.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seed", type=int, default=random.getrandbits(32))
    parser.add_argument("--verbose", "-v", action="store_true", help="a line a round")
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    started_at = time.monotonic()
    reports: list[Report] = []
    with tempfile.TemporaryDirectory(prefix="amqbroker-durability-") as folder:
        rounds = Rounds(Path(folder), options.seed)
        try:
            for report in rounds.run(options.rounds):
                reports.append(report)
                if options.verbose or report.problems:
                    print(report, *report.problems, sep="\n  ", flush=True)
        finally:
            rounds.end()
    print(summary(reports, time.monotonic() - started_at))
    return int(any(report.problems for report in reports))


def summary(reports: list[Report], seconds: float) -> str:
    """All rounds in a few figures."""
    confirmed = sorted(report.confirmed for report in reports)
    starts = sorted(report.start_s for report in reports)
    middle = len(reports) // 2
    broken = sum(bool(report.problems) for report in reports)
    return (
        f"{len(reports)} rounds in {seconds:.0f} s: {sum(confirmed)} confirmed messages "
        f"(a round: {confirmed[0]} to {confirmed[-1]}, median {confirmed[middle]}), "
        f"{sum(report.acked for report in reports)} acked, "
        f"{sum(report.found for report in reports)} found after a start; "
        f"starts of {starts[0]:.2f} to {starts[-1]:.2f} s, median {starts[middle]:.2f} s; "
        f"{broken} rounds broke a promise"
    )


if __name__ == "__main__":
    sys.exit(main())
