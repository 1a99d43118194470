"""What the machine has, what its cgroups allow, and alarms of a broker that measures itself."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest
from pamqp.commands import Connection

from amqbroker.config import Amount, Config, Disk, Memory
from amqbroker.core.memory import UNKNOWN_ROOM
from amqbroker.server import measuring
from amqbroker.server.measuring import (
    TRIM_BYTES,
    TRIM_DIVISOR,
    TRIM_INTERVALS,
    Limits,
    Trimming,
    machine_memory_bytes,
    resident_bytes,
)
from amqbroker.server.runner import Runner
from amqbroker.testing import broker

from .process import broker_process

GIB = 1 << 30
MACHINE = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def test_resident_memory_is_what_the_system_says(monkeypatch: pytest.MonkeyPatch) -> None:
    resident = resident_bytes()
    assert resident is not None
    assert 1024 * 1024 < resident < 8 * GIB
    monkeypatch.setattr(measuring, "STATM", Path("/nowhere"))
    assert resident_bytes() is None


# The machine's memory.


def cgroup_file(folder: Path, text: str) -> Path:
    """What /proc/self/cgroup says."""
    path = folder / "cgroup"
    path.write_text(text)
    return path


def write(path: Path, text: str) -> None:
    """A file, with the folders around it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_without_cgroups_the_machine_counts(tmp_path: Path) -> None:
    assert machine_memory_bytes(tmp_path / "cgroup", tmp_path) == MACHINE
    assert machine_memory_bytes(cgroup_file(tmp_path, "0::/a\nnonsense\n"), tmp_path) == MACHINE


def test_the_smallest_limit_around_the_process_counts(tmp_path: Path) -> None:
    root = tmp_path / "root"
    write(root / "a/b/memory.max", "max\n")
    write(root / "a/memory.max", "1000000\n")
    write(root / "memory.max", "2000000\n")
    assert machine_memory_bytes(cgroup_file(tmp_path, "0::/a/b\n"), root) == 1_000_000


def test_cgroups_of_version_1(tmp_path: Path) -> None:
    root = tmp_path / "root"
    write(root / "memory/a/memory.limit_in_bytes", "3000000\n")
    text = "9:cpu,memory:/a\n3:cpuset:/b\n0::/\n"
    assert machine_memory_bytes(cgroup_file(tmp_path, text), root) == 3_000_000


def test_in_a_container_the_root_is_its_own(tmp_path: Path) -> None:
    root = tmp_path / "root"
    write(root / "memory.max", "4000000\n")
    text = "0::/system.slice/docker-1.scope\n"
    assert machine_memory_bytes(cgroup_file(tmp_path, text), root) == 4_000_000


def test_a_limit_beyond_the_machine_is_none(tmp_path: Path) -> None:
    write(tmp_path / "root/memory/memory.limit_in_bytes", "9223372036854771712\n")
    text = "9:memory:/\n"
    assert machine_memory_bytes(cgroup_file(tmp_path, text), tmp_path / "root") == MACHINE


# Limits.


def test_the_defaults_are_rabbitmqs() -> None:
    limits = Limits(Config(), 10 * GIB)
    assert limits.memory == 4 * GIB
    assert limits.disk_free == 50_000_000
    assert limits.queues == 128 * 1024**2


def test_the_disk_limit_may_be_relative_to_memory() -> None:
    config = Config(disk=Disk(free_limit=Amount(share=1.5)))
    assert Limits(config, 10 * GIB).disk_free == 15 * GIB


def test_queues_go_to_disk_long_before_the_watermark(caplog: pytest.LogCaptureFixture) -> None:
    config = Config(memory=Memory(high_watermark=Amount(100 * 1024**2)))
    with caplog.at_level(logging.WARNING):
        assert Limits(config, GIB).queues == 50 * 1024**2
    assert "memory.queue_bytes_max is 134217728 bytes, which is too near" in caplog.text


def test_a_watermark_beyond_the_machine_is_the_machine(caplog: pytest.LogCaptureFixture) -> None:
    config = Config(memory=Memory(high_watermark=Amount(GIB)))
    with caplog.at_level(logging.WARNING):
        assert Limits(config, GIB // 2).memory == GIB // 2
    assert "memory.high_watermark is 1073741824 bytes, but there are 536870912 only" in caplog.text


# Memory that is free.


def test_memory_is_asked_back_when_it_is_much_and_not_twice_in_vain() -> None:
    trimming = Trimming()
    assert not trimming.is_due(TRIM_BYTES - 1, 0)
    assert trimming.is_due(TRIM_BYTES, 0)
    trimming.trimmed(TRIM_BYTES)
    assert not any(trimming.is_due(2 * TRIM_BYTES - 1, 0) for _ in range(3 * TRIM_INTERVALS))
    assert trimming.is_due(2 * TRIM_BYTES, 0)
    # Not too often, whatever there is.
    trimming.trimmed(0)
    assert [trimming.is_due(GIB, 0) for _ in range(TRIM_INTERVALS)] == [
        *[False] * (TRIM_INTERVALS - 1),
        True,
    ]


def test_of_a_large_heap_a_share_is_worth_looking_for() -> None:
    assert not Trimming().is_due(GIB // TRIM_DIVISOR - 1, GIB)
    assert Trimming().is_due(GIB // TRIM_DIVISOR, GIB)


def test_what_was_kept_and_went_by_itself_is_asked_back_when_it_is_there_again() -> None:
    trimming = Trimming()
    assert trimming.is_due(GIB, 0)
    trimming.trimmed(GIB)
    assert not any(trimming.is_due(0, 0) for _ in range(TRIM_INTERVALS))
    assert trimming.is_due(TRIM_BYTES, 0)


# A broker that measures itself.


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"memory": {"high_watermark": "1MiB"}}, "low on memory"),
        ({"disk": {"free_limit": "1000000GB"}}, "low on disk"),
    ],
)
def test_what_is_short_blocks_publishers(
    tmp_path: Path, settings: dict[str, object], reason: str
) -> None:
    with broker_process(tmp_path, **settings) as process:
        process.expect_log(f"WARNING amqbroker {reason}: publishers are blocked")
        ch = process.channel()
        ch.publish(exchange="amq.fanout")
        assert ch.peer.expect(Connection.Blocked).reason == reason


def test_the_disk_is_measured_before_the_first_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    rooms: list[int] = []
    settle = Runner._settle

    def watched(runner: Runner) -> None:
        rooms.append(int(runner.node.broker.memory.disk_room))
        settle(runner)

    monkeypatch.setattr(Runner, "_settle", watched)
    with broker():
        assert rooms[0] < UNKNOWN_ROOM
