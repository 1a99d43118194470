"""The command line of the fuzzer.

Stream number n of seed s is always the same; a failure names both. Exit status 1 if any failed.
"""

from __future__ import annotations

import argparse
import multiprocessing
import random
import sys
import time
import traceback
from typing import Final

from fuzz.streams import Stream, make_stream
from fuzz.targets import fuzz_node, fuzz_parser

# Streams that one job takes at a time.
BATCH: Final = 2000
FAILURES_SHOWN: Final = 10
ALL: Final = "all"
PARSER: Final = "parser"
NODE: Final = "node"


def stream_of(seed: int, number: int) -> Stream:
    """The stream with this number."""
    return make_stream(random.Random(seed << 40 | number))


def run_one(seed: int, number: int, target: str = ALL) -> str:
    """Feed one stream to one target or all; the report of a failure, or nothing."""
    stream = stream_of(seed, number)
    try:
        if target != NODE:
            fuzz_parser(stream)
        if target != PARSER:
            fuzz_node(stream)
    except Exception:
        return (
            f"{traceback.format_exc()}"
            f"start: {stream.start.hex()}\ntail: {stream.tail.hex()}\n"
            f"replay: python -m fuzz --seed {seed} --first {number} --streams 1\n"
        )
    return ""


def run_batch(task: tuple[int, int, int, str]) -> list[str]:
    """The failures of the streams from one number to another."""
    seed, first, end, target = task
    reports = [run_one(seed, number, target) for number in range(first, end)]
    return [report for report in reports if report]


def run(seed: int, first: int, streams: int, jobs: int, target: str = ALL) -> int:
    """Feed all streams, in `jobs` processes; how many failed."""
    end = first + streams
    tasks = [(seed, start, min(start + BATCH, end), target) for start in range(first, end, BATCH)]
    started = time.perf_counter()
    failed = 0
    with multiprocessing.Pool(min(jobs, len(tasks))) as pool:
        for done, reports in enumerate(pool.imap(run_batch, tasks), 1):
            for report in reports:
                failed += 1
                if failed <= FAILURES_SHOWN:
                    print(report, flush=True)
            if done % 50 == 0 or done == len(tasks):
                count = min(done * BATCH, streams)
                rate = count / (time.perf_counter() - started)
                print(f"{count} streams, {failed} failed, {rate:.0f} streams/s", flush=True)
    return failed


def main() -> int:
    """Parse the arguments and run."""
    parser = argparse.ArgumentParser(prog="fuzz", description=__doc__)
    parser.add_argument("--streams", type=int, default=20_000, help="how many")
    parser.add_argument("--seed", type=int, default=1, help="which")
    parser.add_argument("--first", type=int, default=0, help="the number of the first stream")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument(
        "--target", choices=(ALL, PARSER, NODE), default=ALL, help="the wire core, a whole node"
    )
    options = parser.parse_args()
    failed = run(options.seed, options.first, options.streams, options.jobs, options.target)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
