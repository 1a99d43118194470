"""What the machine has, and what is left of it: memory and disk, measured once a second.

The node decides what follows from the figures (core/alarms.py).

Where a cgroup allows less memory than the machine has, that is the machine's memory. Source:
RabbitMQ's `vm_memory_monitor`, `rabbit_disk_monitor`; cgroups(7).
"""

from __future__ import annotations

import ctypes
import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, final

import anyio
import anyio.to_thread

from amqbroker.config import Config
from amqbroker.errors import DiskError
from amqbroker.node import Node
from amqbroker.server.runner import Runner
from amqbroker.store.files import DataFolder

INTERVAL_S: Final = 1.0
# How often memory is asked back at most, in measurements, and from how much on: so much more than
# the broker accounts for and than was left the last time, and this share of what it accounts for,
# as a large heap takes long to look through.
TRIM_INTERVALS: Final = 10
TRIM_BYTES: Final = 4 * 1024 * 1024
TRIM_DIVISOR: Final = 16
# Queues may take this share of the watermark before their messages go to disk, and so much at
# least.
QUEUES_DIVISOR: Final = 2
QUEUES_BYTES_MIN: Final = 1024 * 1024

STATM: Final = Path("/proc/self/statm")
CGROUP: Final = Path("/proc/self/cgroup")
CGROUP_ROOT: Final = Path("/sys/fs/cgroup")

logger = logging.getLogger("amqbroker")


def resident_bytes() -> int | None:
    """What of the process is in memory; None where the system does not tell."""
    try:
        pages = int(STATM.read_text(encoding="ascii").split()[1])
    except (OSError, ValueError, IndexError):
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")


def machine_memory_bytes(cgroup: Path = CGROUP, root: Path = CGROUP_ROOT) -> int:
    """How much memory there is for this process: the machine's, or what its cgroups allow."""
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return min([machine, *cgroup_limits(cgroup, root)])


def cgroup_limits(cgroup: Path, root: Path) -> Iterator[int]:
    """The limits of all cgroups that the process is in, of either version."""
    try:
        lines = cgroup.read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        if not controllers:
            yield from _limits(root, path, "memory.max")
        elif "memory" in controllers.split(","):
            yield from _limits(root / "memory", path, "memory.limit_in_bytes")


def _limits(root: Path, path: str, name: str) -> Iterator[int]:
    """Of a cgroup and of all around it. In a container its own may be the root of what is seen."""
    folder = root / path.lstrip("/")
    while True:
        try:
            text = (folder / name).read_text(encoding="ascii").strip()
        except OSError:
            text = ""
        if text.isdigit():
            yield int(text)
        if folder == root:
            return
        folder = folder.parent


@final
class Limits:
    """What the configuration comes to on this machine, in bytes."""

    __slots__ = ("disk_free", "memory", "queues")

    def __init__(self, config: Config, machine_bytes: int) -> None:
        self.memory = config.memory.high_watermark.of(machine_bytes)
        if self.memory > machine_bytes:
            logger.warning(
                "memory.high_watermark is %d bytes, but there are %d only: these count",
                self.memory,
                machine_bytes,
            )
            self.memory = machine_bytes
        self.disk_free = config.disk.free_limit.of(machine_bytes)
        self.queues = config.memory.queue_bytes_max
        if self.queues > self.memory // QUEUES_DIVISOR:
            self.queues = max(self.memory // QUEUES_DIVISOR, QUEUES_BYTES_MIN)
            logger.warning(
                "memory.queue_bytes_max is %d bytes, which is too near to the watermark of %d: "
                "queues go to disk at %d",
                config.memory.queue_bytes_max,
                self.memory,
                self.queues,
            )


def set_limits(node: Node, config: Config) -> None:
    """Before a node serves: the limits of its alarms on this machine."""
    limits = Limits(config, machine_memory_bytes())
    node.limit_memory(limits.memory, limits.queues)
    node.limit_disk(limits.disk_free)


@final
class Trimming:
    """When memory is to be asked back."""

    __slots__ = ("_kept", "_wait")

    def __init__(self) -> None:
        # What could not be given back, and how many measurements are waited for.
        self._kept = 0
        self._wait = 0

    def is_due(self, unknown_bytes: int, accounted_bytes: int) -> bool:
        """So much is resident and not accounted for: is it worth it?"""
        self._kept = min(self._kept, max(0, unknown_bytes))
        self._wait -= 1
        worth = max(TRIM_BYTES, accounted_bytes // TRIM_DIVISOR)
        if self._wait > 0 or unknown_bytes < self._kept + worth:
            return False
        self._wait = TRIM_INTERVALS
        return True

    def trimmed(self, unknown_bytes: int) -> None:
        """It was asked for, and so much is left."""
        self._kept = max(0, unknown_bytes)


@final
class Measuring:
    """Measures, and tells the node, until it is cancelled."""

    def __init__(self, runner: Runner, folder: DataFolder) -> None:
        self._runner = runner
        self._folder = folder
        self._disk_trouble = ""
        self._trim = trimmer()
        self._trimming = Trimming()

    async def run(self) -> None:
        """Measure once a second."""
        while True:
            await self.measure()
            await anyio.sleep(INTERVAL_S)

    async def _give_back(self, resident: int) -> None:
        """Memory that is free, but kept by the C library, goes back to the system: at times, and
        only if it is much, since the library looks through all of it, at some 0.2 ms a MiB."""
        node = self._runner.node
        accounted = node.memory_account().used()
        if self._trim is None or not self._trimming.is_due(resident - accounted, accounted):
            return
        await anyio.to_thread.run_sync(self._trim, 0)
        left = resident_bytes()
        if left is not None:
            self._trimming.trimmed(left - node.memory_account().used())

    async def measure(self) -> None:
        """Measure once."""
        runner = self._runner
        resident = resident_bytes()
        if resident is not None:
            runner.node.memory_measured(resident, runner.now)
            await self._give_back(resident)
        await self.measure_disk()
        runner.end_turn()

    async def measure_disk(self) -> None:
        """Tell the node how much the disk takes. Also before its first turn: that may have messages
        to move, and only as many as there is room for."""
        try:
            free = await self._folder.free_bytes()
        except DiskError as error:
            if str(error) != self._disk_trouble:
                logger.error("how much the disk takes is not known: %s", error)
            self._disk_trouble = str(error)
        else:
            self._disk_trouble = ""
            self._runner.node.disk_measured(free, self._runner.now)


def trimmer() -> Callable[[int], int] | None:
    """glibc's malloc_trim, where there is one."""
    function: Callable[[int], int] | None = getattr(ctypes.CDLL(None), "malloc_trim", None)
    return function
