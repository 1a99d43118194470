"""A batch that the disk refuses waits again, and what makes room does not wait.

test_journal_model.py does the same at random, tests/core/test_full_disk.py with a whole node.
"""

from __future__ import annotations

import pytest

from amqbroker.errors import DiskError, DiskFullError
from amqbroker.message import PENDING, WRITTEN, Entry
from amqbroker.store.folder import RESERVE_BYTES, RESERVE_NAME
from amqbroker.store.journal import RELIEF
from amqbroker.store.segments import SegmentWriter
from amqbroker.store.taken import JournalFile, Rewritten, Taken
from tests.store.fake_disk import FakeDisk
from tests.store.helpers import Store, bodies, make_message, take

PLENTY = 1 << 40


def leave_room(disk: FakeDisk, size: int) -> None:
    """The disk takes so much more."""
    disk.capacity_bytes += size - disk.free_bytes()


def refuse(store: Store, room: int = 0) -> None:
    """The next batch has no room."""
    leave_room(store.disk, room)
    with pytest.raises(DiskFullError):
        store.files.write(take(store.journal))
    store.journal.refused("no room")


def test_what_a_batch_took() -> None:
    taken = Taken(False, 7, 3, 100)
    assert (taken.relieves, taken.sequence, taken.covered, taken.file_bytes) == (False, 7, 3, 100)
    entry = Entry(make_message(), 1, 0)
    assert (Rewritten(entry, 2).entry, Rewritten(entry, 2).file) == (entry, 2)
    assert JournalFile(5).live == 0


def test_a_refused_batch_is_written_when_there_is_room() -> None:
    disk = FakeDisk()
    store = Store(disk)
    (entry,) = store.publish(b"a", 1)
    position = store.journal.position
    store.journal.define(b"key", b"value")
    refuse(store, 50)
    assert [entry.state] == [PENDING]
    assert store.journal.synced_position < position
    store.publish(b"b", 1)
    leave_room(disk, PLENTY)
    store.journal.retry(tries_all=True)
    store.commit()
    assert [entry.state] == [WRITTEN]
    assert not store.journal.full
    assert store.journal.synced_position >= position
    assert store.journal.pending_bytes == 0
    disk.crash()
    recovered = Store(disk).recovered
    assert bodies(recovered) == {1: [b"a", b"b"]}
    assert recovered.definitions == {b"key": b"value"}
    assert recovered.problems == []
    assert recovered.torn_tail is None


def test_what_was_settled_meanwhile_is_not_written() -> None:
    disk = FakeDisk()
    store = Store(disk)
    entries = store.publish(b"a", 1) + store.publish(b"b", 1)
    refuse(store)
    store.settle(entries[0])
    leave_room(disk, PLENTY)
    store.journal.retry(tries_all=True)
    store.commit()
    assert b"\x00a" not in disk.content("journal-000000000001")
    disk.crash()
    assert bodies(Store(disk).recovered) == {1: [b"b"]}


def test_what_makes_room_is_written_first() -> None:
    disk = FakeDisk()
    store = Store(disk, file_bytes_max=1000)
    old = store.publish(bytes(2000), 1)
    store.commit()
    young = store.publish(bytes(2000), 2)
    store.commit()
    store.publish(bytes(1000), 3)
    refuse(store, 900)
    store.settle(*old, *young)
    names = disk.names()
    assert store.journal.due(1.0) or store.journal.due(2.0)
    batch = take(store.journal)
    assert batch.position == RELIEF
    assert batch.deletable
    synced = store.journal.synced_position
    store.files.write(batch)
    store.journal.synced(RELIEF)
    assert store.journal.synced_position == synced
    assert len(disk.names()) <= len(names)
    assert disk.free_bytes() > 1500
    store.journal.retry(tries_all=True)
    store.commit()
    disk.crash()
    leave_room(disk, PLENTY)
    assert list(bodies(Store(disk).recovered)) == [3]


def test_relief_that_has_no_room_either_waits() -> None:
    disk = FakeDisk()
    store = Store(disk)
    entries = store.publish(b"a", 1)
    store.commit()
    store.publish(b"b", 1)
    refuse(store)
    store.settle(*entries)
    store.journal.due(1.0)
    assert store.journal.due(2.0)
    refuse(store)
    assert not store.journal.due(3.0)
    assert store.journal.deadline() is None
    store.journal.retry(tries_all=False)
    assert store.journal.due(4.0)


@pytest.mark.parametrize("is_settled", [False, True])
def test_files_that_go_while_a_new_file_has_no_room(is_settled: bool) -> None:
    """What goes needs no room itself; the file before the new one stays, whatever lives in it."""
    disk = FakeDisk()
    store = Store(disk, file_bytes_max=420 if is_settled else 300)
    log = store.logs[1]
    transient = Entry(make_message(), 1, log.next_index)
    log.next_index += 1
    log.backlog.append(SegmentWriter(), [transient])
    old = store.publish(bytes(300), 2)
    store.commit()
    if is_settled:
        store.settle(*old)
        store.commit()
    store.publish(bytes(300), 3)
    refuse(store, 100)
    assert store.disk.names() == ["journal-000000000001", "journal.last", "queues/1-1.seg"]
    log.backlog.drop_unread()
    assert store.journal.due(3.0)
    batch = take(store.journal)
    assert batch.position == RELIEF
    assert batch.chunks == []
    store.files.write(batch)
    store.journal.synced(RELIEF)
    assert store.disk.names() == ["journal-000000000001", "journal.last"]
    store.journal.retry(tries_all=True)
    refuse(store, 100)
    leave_room(disk, PLENTY)
    store.journal.retry(tries_all=True)
    store.commit()
    disk.crash()
    recovered = Store(disk).recovered
    assert recovered.problems == []
    assert list(bodies(recovered)) == [3] if is_settled else [2, 3]


def test_a_stop_does_not_wait_for_room() -> None:
    store = Store(FakeDisk())
    store.publish(b"a", 1)
    store.journal.stop([])
    refuse(store)
    assert store.journal.broken
    assert store.journal.failure == "no room"


@pytest.mark.parametrize("room", range(0, 1500, 37))
def test_every_size_of_room(room: int) -> None:
    """Whatever the step that finds no room, nothing of the batch stays, and all of it comes."""
    disk = FakeDisk()
    store = Store(disk, file_bytes_max=300)
    first = store.publish(bytes(400), 1)
    store.commit()
    store.settle(*first)
    store.publish(b"second" * 100, 2)
    leave_room(disk, room)
    before = {name: len(disk.content(name)) for name in disk.names()}
    batch = take(store.journal)
    assert batch.starts_file
    assert batch.snapshot is not None
    try:
        store.files.write(batch)
    except DiskFullError:
        store.journal.refused("no room")
        assert {name: len(disk.content(name)) for name in disk.names()} == before
        leave_room(disk, PLENTY)
        store.journal.retry(tries_all=True)
        batch = take(store.journal)
        store.files.write(batch)
    else:
        assert room > 700
    store.journal.synced(batch.position)
    disk.crash()
    leave_room(disk, PLENTY)
    recovered = Store(disk).recovered
    assert bodies(recovered) == {2: [b"second" * 100]}
    assert recovered.problems == []


def test_a_failed_sync_is_not_tried_again() -> None:
    disk = FakeDisk()
    store = Store(disk)
    store.publish(b"a", 1)
    batch = take(store.journal)
    disk.fail_at_call = disk.calls + 2
    with pytest.raises(DiskError, match="sync"):
        store.files.write(batch)
    disk.fail_at_call = 0
    with pytest.raises(DiskError, match="the journal failed before") as caught:
        store.files.write(batch)
    assert not isinstance(caught.value, DiskFullError)


def test_what_cannot_be_undone_is_final() -> None:
    disk = FakeDisk()
    store = Store(disk)
    store.publish(bytes(500), 1)
    leave_room(disk, 100)
    disk.fail_at_call = disk.calls + 2
    with pytest.raises(DiskError, match="cannot cut") as caught:
        store.files.write(take(store.journal))
    assert not isinstance(caught.value, DiskFullError)


# The reserve.


def test_the_reserve_goes_when_the_disk_is_full_and_comes_back() -> None:
    disk = FakeDisk(100 * RESERVE_BYTES)
    store = Store(disk)
    store.files.keep_reserve()
    assert len(disk.content(RESERVE_NAME)) == RESERVE_BYTES
    store.publish(bytes(1000), 1)
    refuse(store)
    assert RESERVE_NAME not in disk.names()
    assert disk.free_bytes() == RESERVE_BYTES
    store.journal.retry(tries_all=True)
    store.commit()
    assert RESERVE_NAME not in disk.names()
    leave_room(disk, 100 * RESERVE_BYTES)
    store.publish(b"b", 1)
    store.commit()
    assert RESERVE_NAME in disk.names()


def test_a_small_disk_has_no_reserve() -> None:
    disk = FakeDisk(7 * RESERVE_BYTES)
    Store(disk).files.keep_reserve()
    assert RESERVE_NAME not in disk.names()


def test_a_start_on_a_full_disk_takes_the_reserve() -> None:
    disk = FakeDisk(100 * RESERVE_BYTES)
    store = Store(disk)
    store.files.keep_reserve()
    store.publish(b"a", 1)
    store.commit()
    disk.crash()
    leave_room(disk, 0)
    assert bodies(Store(disk).recovered) == {1: [b"a"]}
    assert RESERVE_NAME not in disk.names()
    leave_room(disk, 0)
    with pytest.raises(DiskFullError):
        Store(disk)
