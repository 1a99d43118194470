"""A run of everything, stopped at its first disk call, its second, its third ... until one passes.

After each stop the disk loses what was not synced, in several ways, and the folder is opened again.
Whatever was confirmed must be there and in order; what was settled for good must not; of what was
under way anything may be there, but nothing that was never written.
"""

from __future__ import annotations

import pytest

from amqbroker.errors import DiskError
from amqbroker.message import IN_SEGMENT, Entry
from amqbroker.store.inspect import stored_messages
from tests.store.fake_disk import FakeDisk
from tests.store.helpers import Store
from tests.store.test_backlog import SegmentStore

CRASHES = [
    {"kept_bytes": 0, "kept_changes": 0, "zeros": 0},
    {"kept_bytes": 7, "kept_changes": 0b1, "zeros": 0},
    {"kept_bytes": 60, "kept_changes": 0b10, "zeros": 50},
    {"kept_bytes": 1 << 20, "kept_changes": 0b100, "zeros": 0},
    {"kept_bytes": 1 << 20, "kept_changes": 0b1110, "zeros": 0},
    {"kept_bytes": 1 << 20, "kept_changes": 0b1111, "zeros": 0},
]


class Run:
    """Publishes, moves to segments and back, settles, defines and restarts; notes what the disk has
    promised."""

    def __init__(self, disk: FakeDisk) -> None:
        self.disk = disk
        self.confirmed: dict[bytes, int] = {}  # body: queue
        self.tried: set[bytes] = set()
        self.settled: set[bytes] = set()  # perhaps still on disk
        self.forgotten: set[bytes] = set()  # settled, and the disk knows
        self.definitions: list[dict[bytes, bytes]] = [{}]  # any of these may be found

    def all(self) -> None:
        """The whole run."""
        for start in range(3):
            store = SegmentStore(self.disk, file_bytes_max=250)
            waiting: list[Entry] = [
                entry for queue in (1, 2, 3) for entry in store.recovered.messages.get(queue, [])
            ]
            waiting += store.read_all()
            for step in range(6):
                waiting = self.step(store, waiting, b"%d.%d" % (start, step))
            if start == 1:
                store.journal.stop(waiting)
                store.commit()
            store.files.close()

    def step(self, store: SegmentStore, waiting: list[Entry], name: bytes) -> list[Entry]:
        """One batch: a definition, a fanout, a message that dies at once, settles."""
        store.journal.define(b"last", name)
        self.definitions.append({b"last": name})
        body = b"body " + name + bytes(40)
        self.tried |= {body, body + b"3"}
        entries = store.publish(body, 1, 2) + store.publish(body + b"3", 3)
        store.settle(*store.publish(b"never written", 1))
        gone, waiting = waiting[:2], waiting[2:] + entries
        self.settled |= {self.key(entry) for entry in gone}
        store.settle(*gone)
        store.commit()
        self.definitions = [{b"last": name}]
        self.forgotten |= {self.key(entry) for entry in gone}
        for entry in entries:
            self.confirmed[self.key(entry)] = entry.queue_id
        return self.move(store, waiting)

    @staticmethod
    def move(store: SegmentStore, waiting: list[Entry]) -> list[Entry]:
        """What queue 1 has in the journal goes to a segment, and is read from there."""
        moved = [each for each in waiting if each.queue_id == 1 and each.file != IN_SEGMENT]
        if len(moved) < 2:
            return waiting
        store.move(moved)
        store.commit()
        return [each for each in waiting if each not in moved] + store.read_all()

    @staticmethod
    def key(entry: Entry) -> bytes:
        """A body in a queue."""
        return b"%d:" % entry.queue_id + entry.message.body

    def check(self) -> None:
        """Open the folder and compare."""
        recovered = Store(self.disk).recovered
        assert recovered.problems == []
        assert recovered.definitions in self.definitions
        found: list[bytes] = []
        for queue_id in (1, 2, 3):
            stored = stored_messages(self.disk, recovered, queue_id)
            texts = [each.message.body for each in stored]
            assert set(texts) <= self.tried
            assert texts == sorted(texts), queue_id
            found += [b"%d:" % queue_id + text for text in texts]
        assert len(found) == len(set(found))
        assert set(self.confirmed) - self.settled <= set(found)
        assert not set(found) & self.forgotten


@pytest.mark.parametrize("crash", CRASHES)
def test_every_crash_point(crash: dict[str, int]) -> None:
    call = 0
    while True:
        call += 1
        disk = FakeDisk()
        disk.fail_at_call = call
        run = Run(disk)
        try:
            run.all()
        except DiskError:
            disk.crash(**crash)
            run.check()
            continue
        break
    assert call > 100
    disk.crash()
    run.check()


@pytest.mark.parametrize("first", range(5, 120, 5))
def test_every_crash_point_of_the_start_after_a_crash(first: int) -> None:
    call = 0
    while True:
        call += 1
        disk = FakeDisk()
        run = Run(disk)
        disk.fail_at_call = first
        with pytest.raises(DiskError):
            run.all()
        disk.crash(kept_bytes=30, kept_changes=1)
        disk.fail_at_call = disk.calls + call
        try:
            Store(disk)
        except DiskError:
            disk.crash(kept_bytes=10, kept_changes=call)
            run.check()
            continue
        break
    assert call > 5
    disk.fail_at_call = 0
    run.check()
