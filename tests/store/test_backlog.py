"""A queue's segments: what counts, what is read, what goes, and what a start finds of them."""

from __future__ import annotations

import pytest

from amqbroker.errors import DiskFullError
from amqbroker.message import PENDING, SETTLED, VOLATILE, WRITTEN, Entry
from amqbroker.store.backlog import Backlog
from amqbroker.store.folder import DAMAGED_SUFFIX, open_folder
from amqbroker.store.holding import HoldingDisk
from amqbroker.store.inspect import inspect_folder
from amqbroker.store.queue_log import QueueLog
from amqbroker.store.records import FILE_HEADER_BYTES, SEGMENT, SNAPSHOT_NAME
from amqbroker.store.segment import Segment
from amqbroker.store.segments import KEPT, SegmentWriter, segment_name
from tests.store.fake_disk import FakeDisk
from tests.store.helpers import SEED, Store, make_message, take

WRITER = SegmentWriter()


class SegmentStore(Store):
    """A store whose queue 1 moves entries to segments of three messages."""

    def __init__(self, disk: FakeDisk, file_bytes_max: int = 1 << 20) -> None:
        super().__init__(disk, file_bytes_max)
        self.journal.segments.messages_max = 3

    @property
    def log(self) -> QueueLog:
        """Of queue 1."""
        return self.logs[1]

    @property
    def backlog(self) -> Backlog:
        """Of queue 1."""
        return self.log.backlog

    def put(self, *numbers: int, transient: bool = False) -> list[Entry]:
        """Messages into the queue, none of them written yet."""
        entries = []
        for number in numbers:
            entry = Entry(make_message(b"%d" % number), 1, self.log.next_index)
            if transient:
                self.log.next_index += 1
            else:
                self.log.append(entry)
            entries.append(entry)
        return entries

    def move(self, entries: list[Entry]) -> None:
        """To a segment, as one write."""
        self.backlog.append(WRITER, entries)
        self.log.stored(entries)

    def read(self, length: int = 1 << 20) -> list[Entry]:
        """The next piece."""
        piece = self.backlog.next_read(length)
        if piece is None:
            return []
        data = self.disk.read_at(piece.name, piece.offset, piece.length)
        reader = self.backlog.begin_read(data)
        found = []
        while reader.next_block():
            if not self.backlog.wants_block(reader):
                continue
            flags = self.backlog.wanted_flags
            while (message := reader.next_record()) is not None:
                if reader.flags & flags == flags and (
                    not self.backlog.is_cut_up or self.backlog.wants(reader.index)
                ):
                    entry = Entry(message, 1, reader.index)
                    entry.state = WRITTEN if reader.flags & KEPT else VOLATILE
                    entry.file = -1
                    found.append(entry)
        kept = sum(entry.state == WRITTEN for entry in found)
        body_bytes = sum(len(entry.message.body) for entry in found)
        self.lost = self.backlog.end_read(reader, len(data), len(found), kept, body_bytes)
        self.problems = reader.problems
        return found

    def read_all(self) -> list[Entry]:
        """All that is left."""
        found: list[Entry] = []
        while more := self.read():
            found += more
        return found

    def segments(self) -> list[str]:
        """The files that are there."""
        return [name for name in self.disk.names() if name.startswith("queues/")]


def bodies_of(entries: list[Entry]) -> list[int]:
    return [int(entry.message.body) for entry in entries]


def test_a_pending_entry_goes_to_its_segment_only() -> None:
    store = SegmentStore(FakeDisk())
    entries = store.put(1, 2)
    assert entries[0].state == PENDING
    store.move(entries)
    assert entries[0].state == SETTLED
    store.commit()
    first_record = store.disk.content("journal-000000000001")[56]
    assert first_record == SEGMENT
    store.disk.crash()
    again = SegmentStore(store.disk)
    assert again.recovered.messages == {}
    assert bodies_of(again.read_all()) == [1, 2]


def test_nothing_can_be_read_before_it_is_synced() -> None:
    store = SegmentStore(FakeDisk())
    store.move(store.put(1))
    assert store.backlog.unread == 1
    batch = store.journal.take_batch()
    assert batch is not None
    assert store.backlog.next_read(100) is None
    store.files.write(batch)
    store.journal.synced(batch.position)
    assert bodies_of(store.read()) == [1]


def test_segments_are_sealed_and_read_in_order() -> None:
    store = SegmentStore(FakeDisk())
    for first in range(0, 20, 2):
        store.move(store.put(first, first + 1))
        store.commit()
    assert len(store.segments()) == 5
    assert store.backlog.unread == 20
    assert bodies_of(store.read_all()) == list(range(20))
    assert store.backlog.unread == 0


def test_a_piece_smaller_than_a_block_is_asked_for_again_in_full() -> None:
    store = SegmentStore(FakeDisk())
    store.move(store.put(1, 2))
    store.commit()
    assert store.read(10) == []
    assert store.backlog.unread == 2
    assert store.read(10) == []
    assert bodies_of(store.read(10)) == [1, 2]


def test_only_one_read_at_a_time() -> None:
    store = SegmentStore(FakeDisk())
    store.move(store.put(1))
    store.commit()
    assert store.backlog.next_read(100) is not None
    assert store.backlog.next_read(100) is None


def test_a_file_goes_when_all_of_it_is_settled() -> None:
    store = SegmentStore(FakeDisk())
    store.move(store.put(1, 2, 3))
    store.move(store.put(4))
    store.commit()
    entries = store.read_all()
    store.settle(*entries[:2])
    store.commit()
    assert len(store.segments()) == 2
    store.settle(entries[2])
    batch = store.commit()
    assert batch is not None
    assert batch.sync
    assert store.segments() == [segment_name(1, 2)]
    store.settle(entries[3])
    store.commit()
    assert store.segments() == []


def test_settled_messages_do_not_come_back() -> None:
    store = SegmentStore(FakeDisk())
    store.move(store.put(1, 2, 3, 4))
    store.commit()
    entries = store.read_all()
    store.settle(entries[1])
    store.journal.define(b"so that", b"it is synced")
    store.commit()
    store.disk.crash()
    again = SegmentStore(store.disk)
    assert again.backlog.unread == 3
    assert bodies_of(again.read_all()) == [1, 3, 4]


def test_transient_messages_share_the_segment_and_are_gone_after_a_start() -> None:
    store = SegmentStore(FakeDisk())
    entries = store.put(1) + store.put(2, transient=True) + store.put(3)
    store.move(entries)
    store.commit()
    assert bodies_of(store.read_all()) == [1, 2, 3]
    store.disk.crash()
    again = SegmentStore(store.disk)
    assert again.backlog.unread == 2
    assert bodies_of(again.read_all()) == [1, 3]


def test_what_is_transient_at_the_end_of_a_segment_may_be_cut_off_by_a_crash() -> None:
    disk = FakeDisk()
    store = SegmentStore(disk, file_bytes_max=300)
    store.move(store.put(0))
    store.commit()
    size = len(disk.content(segment_name(1, 1)))
    store.move(store.put(1, transient=True))
    store.commit()
    assert len(disk.content(segment_name(1, 1))) > size
    for _ in range(8):
        other = store.publish(bytes(100), 2)
        store.commit()
        store.settle(*other)
    store.commit()
    assert SNAPSHOT_NAME in disk.names()
    disk.crash()
    assert len(disk.content(segment_name(1, 1))) == size
    again = SegmentStore(disk)
    assert again.recovered.problems == []
    assert [entry.message.body for entry in again.read()] == [b"0"]


def test_a_segment_of_transient_messages_is_neither_synced_nor_named() -> None:
    store = SegmentStore(FakeDisk())
    store.move(store.put(1, 2, transient=True))
    batch = store.commit()
    assert batch is not None
    assert (batch.sync, batch.chunks) == (False, [])
    assert len(store.segments()) == 1
    store.files.close()
    assert SegmentStore(store.disk).segments() == []


def test_its_file_goes_as_soon_as_it_is_read() -> None:
    store = SegmentStore(FakeDisk())
    store.move(store.put(1, 2, transient=True))
    store.commit()
    assert len(store.read_all()) == 2
    store.commit()
    assert store.segments() == []


def test_purging_what_was_not_read() -> None:
    """Of the segment that is being read, of later ones, and of one that is not written yet."""
    store = SegmentStore(FakeDisk())
    for first in range(0, 8, 2):
        store.move(store.put(first, first + 1))
    store.commit()
    taken = store.read(120)
    assert bodies_of(taken) == [0, 1]
    store.move(store.put(9))
    store.backlog.drop_unread()
    assert store.backlog.unread == 0
    store.commit()
    store.commit()
    assert len(store.segments()) == 1
    store.journal.define(b"so that", b"it is synced")
    store.commit()
    store.disk.crash()
    again = SegmentStore(store.disk)
    assert bodies_of(again.read_all()) == [0, 1]
    assert again.recovered.problems == []


def test_after_a_purge_a_new_segment_begins() -> None:
    store = SegmentStore(FakeDisk())
    store.move(store.put(1))
    store.commit()
    store.backlog.drop_unread()
    store.move(store.put(2))
    store.commit()
    store.commit()
    assert store.segments() == [segment_name(1, 2)]
    assert bodies_of(store.read_all()) == [2]


def test_a_read_that_comes_after_a_purge_is_known_by_its_generation() -> None:
    store = SegmentStore(FakeDisk())
    store.move(store.put(1))
    store.commit()
    piece = store.backlog.next_read(100)
    assert piece is not None
    store.backlog.drop_unread()
    assert piece.generation != store.backlog.generation


def test_a_deleted_queue_leaves_nothing() -> None:
    store = SegmentStore(FakeDisk())
    store.move(store.put(1, 2, 3, 4))
    store.commit()
    store.log.close()
    store.journal.undefine(b"queue")
    store.commit()
    store.commit()
    assert store.segments() == []


def test_segments_of_a_queue_that_nobody_claims_go() -> None:
    disk = FakeDisk()
    store = SegmentStore(disk)
    store.publish(b"keeps the journal file", 2)
    store.move(store.put(1, 2))
    store.commit()
    disk.crash()
    again = Store(disk, queue_ids=(2,))
    assert again.journal.drop_unclaimed() == 2
    again.commit()
    assert [name for name in disk.names() if name.startswith("queues/")] == []
    # Nobody misses them, though the journal file that named them is still there.
    disk.crash(kept_changes=~0)
    assert Store(disk, queue_ids=(2,)).recovered.problems == []


def test_transient_messages_that_are_read_again_cost_no_others() -> None:
    """They were given back when their segment had nothing else yet."""
    store = SegmentStore(FakeDisk())
    for number in (1, 2):
        store.move(store.put(number, transient=True))
        store.commit()
    (first,) = store.read(100)
    assert store.backlog.give_back([first]) == []
    store.move(store.put(3))
    store.commit()
    assert len(store.segments()) == 1
    assert bodies_of(store.read(100)) == [1]
    assert store.backlog.segments[0].live() == 1
    assert bodies_of(store.read_all()) == [2, 3]
    assert store.backlog.segments[0].live() == 1
    store.journal.stop([])
    store.commit()
    assert inspect_folder(store.disk).problems == []
    assert bodies_of(SegmentStore(store.disk).read_all()) == [3]


def test_a_snapshot_names_segments_and_what_is_settled_in_them() -> None:
    disk = FakeDisk()
    store = SegmentStore(disk, file_bytes_max=300)
    store.move(store.put(1, 2, 3, 4, 5))
    store.commit()
    entries = store.read_all()
    store.settle(entries[0], entries[3])
    for _ in range(8):
        other = store.publish(bytes(100), 2)
        store.commit()
        store.settle(*other)
    store.commit()
    assert "journal-000000000001" not in disk.names()
    disk.crash()
    again = SegmentStore(disk)
    assert bodies_of(again.read_all()) == [2, 3, 5]


def test_numbers_of_segments_are_not_given_twice() -> None:
    """Even if the one before is gone: its records are still in the journal."""
    store = SegmentStore(FakeDisk())
    store.move(store.put(1))
    store.commit()
    store.settle(*store.read_all())
    store.commit()
    store.files.close()
    again = SegmentStore(store.disk)
    assert again.recovered.segments == {}
    again.move(again.put(2))
    again.commit()
    assert again.segments() == [segment_name(1, 2)]
    again.disk.crash()
    assert bodies_of(SegmentStore(again.disk).read_all()) == [2]


def test_a_segment_that_was_there_at_the_start_is_not_written_to() -> None:
    store = SegmentStore(FakeDisk())
    store.move(store.put(1))
    store.commit()
    store.files.close()
    again = SegmentStore(store.disk)
    size = len(again.disk.content(segment_name(1, 1)))
    again.move(again.put(2))
    again.commit()
    assert len(again.disk.content(segment_name(1, 1))) == size
    assert bodies_of(again.read_all()) == [1, 2]


def test_bytes_behind_what_the_journal_names_do_not_count() -> None:
    store = SegmentStore(FakeDisk())
    store.move(store.put(1))
    store.commit()
    name = segment_name(1, 1)
    store.disk.put(name, store.disk.content(name) + b"half a write")
    store.files.close()
    again = SegmentStore(store.disk)
    assert bodies_of(again.read_all()) == [1]
    assert again.problems == []


def test_after_a_clean_stop_those_that_were_delivered_are_marked() -> None:
    store = SegmentStore(FakeDisk())
    store.move(store.put(1, 2, 3, 4))
    store.commit()
    entries = store.read_all()
    entries[2].redelivered = True
    store.journal.stop([entries[2]])
    store.commit()
    store.files.close()
    again = SegmentStore(store.disk)
    assert again.backlog.redelivered.items() == [(2, 2)]
    again.journal.stop([])
    again.commit()
    again.files.close()
    assert SegmentStore(again.disk).backlog.redelivered.items() == [(2, 2)]


def test_after_a_crash_all_are_marked() -> None:
    store = SegmentStore(FakeDisk())
    store.move(store.put(1, 2, 3))
    store.move(store.put(4))
    store.commit()
    store.disk.crash()
    assert SegmentStore(store.disk).backlog.redelivered.items() == [(0, 3)]


def damage(store: SegmentStore, number: int, offset: int) -> None:
    name = segment_name(1, number)
    data = bytearray(store.disk.content(name))
    data[offset] ^= 1
    store.disk.put(name, bytes(data))


def test_a_damaged_block_is_left_out_and_its_file_kept() -> None:
    store = SegmentStore(FakeDisk())
    store.move(store.put(1, 2))
    store.move(store.put(3))
    store.move(store.put(4))
    store.commit()
    damage(store, 1, FILE_HEADER_BYTES + 40)
    entries = store.read()
    assert bodies_of(entries) == [3]
    assert store.problems == [(FILE_HEADER_BYTES, "a block of 2 messages is damaged")]
    assert store.lost == 2
    entries += store.read()
    assert store.lost == 0
    assert store.backlog.unread == 0
    store.settle(*entries)
    store.commit()
    store.commit()
    assert store.segments() == [segment_name(1, 1) + DAMAGED_SUFFIX]
    store.disk.crash()
    again = SegmentStore(store.disk)
    assert again.recovered.segments == {}
    assert again.segments() == [segment_name(1, 1) + DAMAGED_SUFFIX]


def test_a_read_that_fails_is_stepped_over() -> None:
    store = SegmentStore(FakeDisk())
    store.move(store.put(1, 2, 3))
    store.move(store.put(4))
    store.commit()
    assert store.backlog.next_read(1 << 20) is not None
    assert store.backlog.read_failed() == 3
    assert bodies_of(store.read_all()) == [4]
    assert store.backlog.unread == 0


def test_a_file_that_ends_too_soon_is_reported() -> None:
    store = SegmentStore(FakeDisk())
    store.move(store.put(1, 2))
    store.move(store.put(3))
    store.commit()
    name = segment_name(1, 1)
    store.disk.put(name, store.disk.content(name)[:-10])
    assert bodies_of(store.read_all()) == [1, 2]
    assert store.lost == 1
    assert store.problems[-1][1] == "the file ends here, before its time"


def test_unnamed_segments_are_kept_aside_if_the_journal_is_damaged() -> None:
    store = SegmentStore(FakeDisk())
    store.journal.define(b"k", b"v")
    store.commit()
    store.move(store.put(1, 2))
    store.commit()
    store.journal.define(b"k", b"w")
    store.commit()
    journal = "journal-000000000001"
    data = bytearray(store.disk.content(journal))
    data[data.rindex(b"\x0b" + (1).to_bytes(8, "big")) + 3] ^= 1  # in the SEGMENT record
    store.disk.put(journal, bytes(data))
    store.files.close()
    again = SegmentStore(store.disk)
    assert again.recovered.problems
    assert again.segments() == [segment_name(1, 1) + DAMAGED_SUFFIX]


def test_a_segment_knows_what_of_it_lives() -> None:
    segment = Segment(1, 1, bytes(8), 10)
    segment.count = 5
    segment.settled.add(10, 12)
    assert segment.live() == 2
    segment.forget()
    assert segment.live() == 0


def put_expiring(store: SegmentStore, *deadlines: int) -> list[Entry]:
    """Messages with these deadlines, moved to segments."""
    entries = store.put(*range(len(deadlines)))
    for entry, deadline in zip(entries, deadlines, strict=True):
        entry.expires_at = deadline
    store.move(entries)
    return entries


def test_the_bytes_of_unread_bodies_are_counted() -> None:
    store = SegmentStore(FakeDisk())
    store.move(store.put(1, 22, 333))
    store.move(store.put(4444, transient=True))
    store.commit()
    assert store.backlog.unread_bytes == 10
    store.read()
    assert store.backlog.unread_bytes == 4
    store.read()
    assert store.backlog.unread_bytes == 0


def test_a_start_estimates_the_bytes_of_a_segment_that_was_settled_in_part() -> None:
    store = SegmentStore(FakeDisk())
    store.move(store.put(1, 2, 7777))
    store.move(store.put(88888, transient=True))
    store.move(store.put(999, 99))
    store.commit()
    store.settle(store.read()[0])
    store.commit()
    again = SegmentStore(store.disk)
    assert again.backlog.unread_bytes == 6 * 2 // 3 + 5
    assert bodies_of(again.read()) == [2, 7777]
    assert again.backlog.unread_bytes == 5
    again.read()
    assert again.backlog.unread_bytes == 0


def test_a_segment_knows_its_first_and_last_deadline() -> None:
    store = SegmentStore(FakeDisk())
    put_expiring(store, 70, 50, 60)
    put_expiring(store, 80, 0)
    put_expiring(store, 40)
    put_expiring(store, 0, 0)
    store.commit()
    again = SegmentStore(store.disk)
    for backlog in (store.backlog, again.backlog):
        found = [(each.expires_from, each.expires_until) for each in backlog.segments]
        assert found == [(50, 70), (40, 0), (0, 0)]


def test_the_next_segment_can_be_dropped_without_reading_it() -> None:
    store = SegmentStore(FakeDisk())
    store.move(store.put(1, 2, 3))
    store.move(store.put(4, 5, 6))
    store.commit()
    assert store.backlog.drop_next() == 3
    assert (store.backlog.unread, store.backlog.unread_bytes) == (3, 3)
    store.commit()
    assert len(store.segments()) == 1
    assert bodies_of(SegmentStore(store.disk).read_all()) == [4, 5, 6]
    assert bodies_of(store.read_all()) == [4, 5, 6]


def test_of_a_segment_that_was_read_in_part_the_rest_can_be_dropped() -> None:
    store = SegmentStore(FakeDisk())
    store.journal.segments.messages_max = 4
    store.move(store.put(1, 2))
    store.move(store.put(3, 4))
    store.move(store.put(5))
    store.commit()
    found: list[Entry] = []
    while not found:
        found = store.read(1)
    assert bodies_of(found) == [1, 2]
    piece = store.backlog.next_read(100)
    assert piece is not None
    assert store.backlog.drop_next() == 2
    assert piece.generation != store.backlog.generation
    store.commit()
    assert bodies_of(SegmentStore(store.disk).read_all()) == [1, 2, 5]
    assert bodies_of(store.read_all()) == [5]
    store.settle(*found)
    store.commit()
    assert len(store.segments()) == 1


@pytest.mark.parametrize("holds", [False, True])
@pytest.mark.parametrize("room", range(0, 700, 20))
def test_a_crash_after_a_refused_batch_does_not_bring_back_what_it_said(
    room: int, holds: bool
) -> None:
    """The batch began a journal file, whose deletion the crash undoes, and moved a message to a
    segment, which was cut again."""
    disk = FakeDisk()
    holding = HoldingDisk(disk)
    store = SegmentStore(disk)
    _, store.journal, store.files = open_folder(holding, SEED, 100)
    store.logs = {queue_id: store.journal.open_queue(queue_id) for queue_id in (1, 2)}
    early = store.put(0)
    store.commit()
    store.move(early)
    gone = store.publish(b"gone" + bytes(100), 2)
    store.commit()
    moved = store.put(1)
    store.commit()
    store.settle(*gone)
    store.move(moved)
    store.publish(b"new", 2)
    disk.capacity_bytes += room - disk.free_bytes()
    if holds:
        holding.hold()
    batch = take(store.journal)
    assert batch.starts_file
    assert batch.snapshot is not None
    assert batch.segments
    try:
        store.files.write(batch)
    except DiskFullError:
        store.journal.refused("no room")
    disk.crash()
    disk.capacity_bytes = 1 << 40
    again = SegmentStore(disk)
    found = [entry.index for entry in again.recovered.messages.get(1, [])]
    assert again.recovered.problems == []
    assert len(found) + len(again.read_all()) == 2
