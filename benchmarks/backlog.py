"""What a queue costs that fills up: microseconds and bytes a message, and the longest halt.

    python benchmarks/backlog.py
    python benchmarks/backlog.py --messages 200000 --json

A node in memory without consumers takes transient messages in reads of 500, once with Python's
garbage collector as it comes and once with the broker's settings, each in a process of its own. A
halt is the longest time that one read took: the collector looks through the whole queue meanwhile.
"""

from __future__ import annotations

import argparse
import gc
import json
import multiprocessing
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path

from _broker import machine_line, table
from pipeline import GC_THRESHOLDS, PUBLISHER, READ_MESSAGES, Case, build, keep_freed_memory

SIZES = (100, 1024)
SETTINGS: dict[str, Callable[[], None]] = {
    "Python's": lambda: None,
    "the broker's": lambda: gc.set_threshold(*GC_THRESHOLDS),
}


def resident_bytes() -> int:
    """How much memory this process holds."""
    found = re.search(r"VmRSS:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) * 1024


def fill(setting: str, size: int, messages: int) -> dict[str, float]:
    """Fill a queue, under one of the settings."""
    SETTINGS[setting]()
    keep_freed_memory()
    case = Case(size, 0, False, consume=False)
    node = case.node
    node.client_received(PUBLISHER, case.reads, case.now)
    gc.collect()
    gc.freeze()
    before = resident_bytes()
    cpu = time.process_time()
    halt = 0.0
    for _ in range(messages // READ_MESSAGES):
        # A socket gives a new buffer with each read.
        data = case.reads[:-1] + case.reads[-1:]
        started = time.perf_counter()
        node.client_received(PUBLISHER, data, case.now)
        node.settle(case.now)
        halt = max(halt, time.perf_counter() - started)
    return {
        "us": (time.process_time() - cpu) / messages * 1e6,
        "bytes": (resident_bytes() - before) / messages,
        "halt_ms": halt * 1e3,
    }


def main() -> int:
    """Print a table, or JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--messages", type=int, default=500_000, help="in the queue (%(default)s)")
    parser.add_argument("--json", action="store_true", help="print JSON, not a table")
    options = parser.parse_args()
    # Each in a fresh process, for the sake of the memory.
    cases = [(setting, size, options.messages) for size in SIZES for setting in SETTINGS]
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        found = pool.starmap(fill, cases, chunksize=1)
    if options.json:
        keyed = [
            {"setting": case[0], "size": case[1]} | each
            for case, each in zip(cases, found, strict=True)
        ]
        print(json.dumps({"build": build(), "messages": options.messages, "cases": keyed}))
        return 0
    print(f"{options.messages:,} messages in a queue, {build()}, on {machine_line()}\n")
    rows = [
        [
            *(f"{size:,}", setting),
            *(f"{each['us']:.2f}", f"{each['bytes']:,.0f}", f"{each['halt_ms']:.1f}"),
        ]
        for (setting, size, _), each in zip(cases, found, strict=True)
    ]
    heads = ["body, B", "collector's settings", "µs a message", "memory, B", "longest halt, ms"]
    print(table(heads, rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
