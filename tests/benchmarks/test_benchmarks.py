"""Every benchmark runs and says what it promises, at sizes that measure nothing."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"

needs_compiler = pytest.mark.skipif(
    not (shutil.which("gcc") or shutil.which("cc")), reason="the load generator is written in C"
)


def run(name: str, *arguments: str) -> Any:
    """What a benchmark prints as JSON."""
    done = subprocess.run(
        [sys.executable, str(BENCHMARKS / name), "--json", *arguments],
        capture_output=True,
        text=True,
        check=False,
        # The library of an in-place compiled build lies beside the package.
        env={**os.environ, "PYTHONPATH": str(BENCHMARKS.parent)},
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_message_path() -> None:
    found = run("pipeline.py", "--reads", "1", "--rounds", "1")
    assert found["build"] in ("compiled", "interpreted")
    for sizes in found["step_us"].values():
        for steps in sizes.values():
            assert steps["all"] > 0


@needs_compiler
def test_a_workload_end_to_end() -> None:
    quick = ("--runs", "1", "--seconds", "0.2", "--warmup", "0.1", "--patience", "0")
    found = run("end_to_end.py", "--workloads", "W3", "--retries", "0", *quick)
    (measured,) = found["workloads"]["W3"]["amqbroker"]
    assert measured["exit_status"] == measured["lost"] == 0
    assert measured["consumed"] > 0
    assert measured["broker_rss_kib"] > 0


@needs_compiler
def test_many_connections() -> None:
    found = run("connections.py", "--connections", "20", "--probes", "10", "--hold", "1.5")
    assert found["connections"] == 20
    assert found["opens_per_second"] > 0
    assert 0 < found["held_transient_p50_ms"] <= found["held_transient_p99_ms"]


@needs_compiler
def test_starts() -> None:
    found = run("startup.py", "--messages", "100", "--runs", "1")
    assert len(found["starts"]) == 3
    for start in found["starts"].values():
        assert start["ready_s"] > 0
        assert start["answered_s"] > 0


def test_a_queue_that_fills_up() -> None:
    found = run("backlog.py", "--messages", "2000")
    assert {case["size"] for case in found["cases"]} == {100, 1024}
    assert all(case["us"] > 0 for case in found["cases"])


@pytest.mark.parametrize("what", ["messages of 4 KiB", "channels", "durable queues", "bindings"])
def test_what_the_broker_accounts_for(what: str) -> None:
    found = run("memory.py", "--scale", "0", "--settle", "0", "--only", what)
    *stages, gone = found["situations"]
    assert all(what in stage["what"] for stage in stages)
    assert gone["what"].endswith(", all gone")
    for stage in (*stages, gone):
        assert 0 < stage["memory_accounted_bytes"] < 1 << 30
        assert 0 < stage["memory_resident_bytes"] < 1 << 30
    most = max(used(stage) for stage in stages)
    assert most > used(gone)


def used(stage: dict[str, Any]) -> int:
    """What the broker accounts for but what it has freed."""
    return int(stage["memory_accounted_bytes"] - stage["memory"]["unused"])


def test_queues_that_are_purged_and_deleted() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.paging", "--drop", "--messages", "2000"],
        capture_output=True,
        text=True,
        check=False,
        cwd=BENCHMARKS.parent,
    )
    assert done.returncode == 0, done.stderr
    few, many = [json.loads(line) for line in done.stdout.splitlines()]
    assert (few["messages"], many["messages"]) == (10, 2000)
    assert min(few["purge_us"], few["delete_us"], many["purge_us"], many["delete_us"]) > 0
