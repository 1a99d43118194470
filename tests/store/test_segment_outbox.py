"""What backlogs leave for the next batch, and how files go that nobody needs any more."""

from __future__ import annotations

from amqbroker.store.batch import Batch
from amqbroker.store.holding import HoldingDisk
from amqbroker.store.segment_outbox import GOING_BYTES, GOING_IDLE_BYTES
from amqbroker.store.segments import segment_name
from tests.store.fake_disk import FakeDisk
from tests.store.test_backlog import SegmentStore


def large_segment() -> tuple[SegmentStore, int]:
    """A store with a segment of some 24 MiB; its size."""
    store = SegmentStore(FakeDisk())
    entries = store.put(1, 2, 3)
    for entry in entries:
        entry.message.body = bytes(8 << 20)
    store.move(entries)
    store.commit()
    return store, len(store.disk.read(segment_name(1, 1)))


def next_batch(store: SegmentStore) -> Batch:
    """What is committed next; there is something."""
    batch = store.commit()
    assert batch is not None
    return batch


def test_a_large_file_goes_in_pieces_and_holds_up_nobody() -> None:
    store, size = large_segment()
    store.log.close()
    store.journal.define(b"somebody", b"waits")
    batch = next_batch(store)
    assert (batch.sync, batch.unlinks, batch.cuts) == (True, [], [])
    store.journal.define(b"somebody", b"waits again")
    batch = next_batch(store)
    assert (batch.sync, batch.unlinks) == (True, [])
    assert batch.cuts == [(segment_name(1, 1), size - GOING_BYTES)]
    assert len(store.disk.read(segment_name(1, 1))) == size - GOING_BYTES
    # From now on nobody waits.
    batch = next_batch(store)
    assert batch.cuts == [(segment_name(1, 1), size - GOING_BYTES - GOING_IDLE_BYTES)]
    batch = next_batch(store)
    assert batch.unlinks == [segment_name(1, 1)]
    assert store.segments() == []
    assert store.commit() is None


def test_a_file_that_was_cut_is_not_missed_after_a_crash() -> None:
    store, _ = large_segment()
    store.log.close()
    store.commit()
    assert store.segments() != []
    store.disk.crash()
    again = SegmentStore(store.disk)
    assert again.recovered.problems == []
    assert again.segments() == []


def test_a_file_that_is_copied_is_not_cut() -> None:
    disk = FakeDisk()
    holding = HoldingDisk(disk)
    disk.create("file").write([b"1234"])
    holding.hold()
    holding.shorten("file", 2)
    assert disk.read("file") == b"1234"
    holding.release()
    holding.shorten("file", 2)
    assert disk.read("file") == b"12"


def test_what_a_batch_writes_lets_as_much_go() -> None:
    store, size = large_segment()
    store.backlog.drop_unread()
    store.journal.define(b"somebody", b"waits")
    batch = next_batch(store)
    assert batch.cuts == []
    entries = store.put(4)
    entries[0].message.body = bytes(1 << 20)
    store.move(entries)
    store.journal.define(b"somebody", b"waits")
    batch = next_batch(store)
    written = sum(len(chunk) for write in batch.segments for chunk in write.chunks)
    assert written > 1 << 20
    assert batch.cuts == [(segment_name(1, 1), size - GOING_BYTES - written)]


def test_small_files_go_at_once() -> None:
    store = SegmentStore(FakeDisk())
    for first in range(0, 12, 3):
        store.move(store.put(first, first + 1, first + 2))
    store.commit()
    assert len(store.segments()) == 4
    store.log.close()
    store.commit()
    assert store.segments() == []
