"""Counts of deliveries through the journal, its snapshots and segments."""

from __future__ import annotations

from amqbroker.message import IN_SEGMENT, WRITTEN, Entry
from amqbroker.store.backlog import Backlog
from amqbroker.store.counts import Counts
from amqbroker.store.journal import SETTLE_DELAY_S
from amqbroker.store.segment_outbox import SegmentOutbox
from amqbroker.store.segments import SegmentWriter
from tests.store.fake_disk import FakeDisk
from tests.store.helpers import Store, make_message


def written(index: int, deliveries: int, file: int = 1) -> Entry:
    """An entry that is on disk."""
    entry = Entry(make_message(b"m"), 1, index)
    entry.state = WRITTEN
    entry.file = file
    entry.deliveries = deliveries
    return entry


def test_the_last_count_before_a_batch_is_recorded() -> None:
    counts = Counts({})
    assert counts.note(written(4, 1))
    assert not counts.note(written(7, 3))
    assert not counts.note(written(4, 2))
    assert counts.take() == [(4, 2), (7, 3)]
    assert counts.take() == []
    assert counts.note(written(4, 3))


def test_counts_of_messages_in_segments_are_kept_as_long_as_those() -> None:
    backlog = Backlog(1, SegmentOutbox(bytes(8)))
    counts = Counts({99: 5})
    counts.note(written(1, 2))
    counts.note(written(2, 3, IN_SEGMENT))
    assert (counts.of(1, 1), counts.of(2, 1), counts.of(2, 4), counts.of(99, 0)) == (1, 3, 4, 5)
    # No segment has any of them.
    assert counts.kept(backlog) == []
    assert counts.of(2, 1) == 1


def test_a_start_knows_the_largest_count() -> None:
    disk = FakeDisk()
    store = Store(disk)
    entries = [*store.publish(b"a", 1), *store.publish(b"b", 1), *store.publish(b"c", 1)]
    store.commit()
    for count in (1, 2):
        entries[1].deliveries = count
        store.logs[1].returned(entries[1])
        store.commit()
    entries[2].deliveries = 40_000
    store.logs[1].returned(entries[2])
    store.journal.rewrite([entries[2]])
    store.commit()
    found = Store(disk).recovered.messages[1]
    assert [entry.deliveries for entry in found] == [0, 2, 40_000]


def test_counts_alone_are_a_batch_that_nobody_waits_for() -> None:
    store = Store(FakeDisk())
    (entry,) = store.publish(b"a", 1)
    store.commit()
    entry.deliveries = 1
    store.logs[1].returned(entry)
    journal = store.journal
    assert not journal.due(10.0)
    assert journal.deadline() == 10.0 + SETTLE_DELAY_S
    assert journal.due(11.0)
    batch = store.commit()
    assert batch is not None
    assert not batch.sync


def test_what_is_not_written_or_deleted_needs_no_record() -> None:
    store = Store(FakeDisk())
    (pending,) = store.publish(b"a", 1)
    pending.deliveries = 3
    store.logs[1].returned(pending)
    store.commit()
    assert Store(store.disk).recovered.messages[1][0].deliveries == 3
    store.logs[1].returned(pending)
    store.logs[1].close()
    store.logs[1].returned(pending)
    assert store.commit() is None


def test_a_snapshot_has_the_counts_of_messages_in_segments() -> None:
    """Long after the journal file is gone that had the record."""
    disk = FakeDisk()
    store = Store(disk, file_bytes_max=100)
    log = store.logs[1]
    entries = [*store.publish(b"a", 1), *store.publish(b"b", 1)]
    store.commit()
    log.backlog.append(SegmentWriter(), list(entries))
    log.stored(list(entries))
    store.commit()
    for entry in entries:
        entry.state = WRITTEN
        entry.file = IN_SEGMENT
        entry.deliveries = 4
        log.returned(entry)
    for _ in range(3):
        store.settle(*store.publish(bytes(100), 2))
        store.commit()
        fresh = store.publish(bytes(100), 2)
        store.commit()
        store.settle(*fresh)
        store.commit()
    assert disk.list_names().count("journal-000000000001") == 0
    recovered = Store(disk).recovered
    assert recovered.deliveries[1] == {0: 4, 1: 4}
    log.settle(entries[0])
    store.commit()
    assert log.counts.kept(log.backlog) == [(1, 4)]
