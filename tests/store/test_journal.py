"""The journal: what waits, what is written, what is confirmed, which files may go."""

from __future__ import annotations

import pytest

from amqbroker.message import PENDING, SETTLED, VOLATILE, WRITTEN, Entry
from amqbroker.store.journal import WAITING_RANGES_MAX, Batch, Journal
from amqbroker.store.queue_log import QueueLog
from amqbroker.store.records import (
    JOURNAL_MAGIC,
    BlockReader,
    file_header,
    header_crc,
    read_records,
)
from amqbroker.store.recovery import fold
from tests.store.fake_disk import FakeDisk
from tests.store.helpers import Store, bodies, make_message, take
from tests.store.test_records import Collector


def records_of(batch: Batch) -> list[tuple[object, ...]]:
    """What is in a batch of a journal that has the default seed."""
    header = file_header(JOURNAL_MAGIC, batch.file_number, bytes(8))
    data = b"".join(batch.chunks if batch.starts_file else [header, *batch.chunks])
    collector = Collector(data)
    reader = BlockReader(data, header_crc(header))
    while reader.next():
        read_records(data, reader.start, reader.end, collector)
    return collector.seen


def append(log: QueueLog, body: bytes = b"body") -> Entry:
    entry = Entry(make_message(body), log.queue_id, log.next_index)
    log.append(entry)
    return entry


def write(journal: Journal) -> Batch:
    batch = take(journal)
    journal.synced(batch.position)
    return batch


def test_a_new_journal_waits_for_nothing() -> None:
    journal = Journal()
    assert (journal.position, journal.synced_position, journal.pending_bytes) == (1, 0, 0)
    assert not journal.due(0.0)
    assert journal.deadline() is None
    assert journal.take_batch() is None
    assert journal.position == 1


def test_an_entry_is_durable_when_its_position_is_synced() -> None:
    journal = Journal()
    log = journal.open_queue(1)
    entry = Entry(make_message(), 1, 0)
    assert log.append(entry) == 1
    assert entry.state == PENDING
    assert journal.due(0.0)
    batch = take(journal)
    assert (batch.position, batch.file_number, batch.sync, batch.starts_file) == (1, 1, True, False)
    assert (entry.state, entry.file) == (WRITTEN, 1)
    assert (journal.position, journal.synced_position) == (2, 0)
    assert log.append(Entry(make_message(), 1, 1)) == 2
    journal.synced(1)
    assert journal.synced_position == 1


def test_one_batch_at_a_time() -> None:
    journal = Journal()
    log = journal.open_queue(1)
    append(log)
    take(journal)
    append(log)
    assert not journal.due(0.0)
    with pytest.raises(AssertionError, match="batch 1 is being written"):
        journal.take_batch()
    with pytest.raises(AssertionError, match="batch 2 synced, 1 taken"):
        journal.synced(2)
    journal.synced(1)
    assert journal.due(0.0)


def test_a_fanout_writes_its_body_once() -> None:
    journal = Journal()
    message = make_message(b"x" * 1000)
    for queue_id in (1, 2, 3):
        journal.open_queue(queue_id).append(Entry(message, queue_id, 0))
    batch = take(journal)
    assert sum(map(len, batch.chunks)) < 1200
    assert [record[1] for record in records_of(batch)] == [1, 2, 3]


def test_what_was_settled_before_its_batch_is_not_written() -> None:
    journal = Journal()
    log = journal.open_queue(1)
    settled = append(log, b"settled")
    stays = append(log, b"stays")
    log.settle(settled)
    assert settled.state == SETTLED
    batch = take(journal)
    assert [record[5] for record in records_of(batch)] == [b"stays"]
    assert stays.state == WRITTEN


def test_if_all_were_settled_nothing_is_written_and_all_is_confirmed() -> None:
    journal = Journal()
    log = journal.open_queue(1)
    log.settle(append(log))
    assert journal.due(0.0)
    assert journal.take_batch() is None
    assert (journal.synced_position, journal.position) == (1, 2)
    assert journal.pending_bytes == 0
    assert not journal.due(0.0)


def test_a_settle_of_a_written_entry_is_written_as_a_range() -> None:
    journal = Journal()
    log = journal.open_queue(1)
    entries = [append(log) for _ in range(5)]
    write(journal)
    log.settle_all([entries[0], entries[1], entries[3]])
    batch = take(journal)
    assert records_of(batch) == [("settled", 1, 0, 1), ("settled", 1, 3, 3)]
    assert not batch.sync


def test_ranges_are_joined_whatever_the_order() -> None:
    journal = Journal()
    log = journal.open_queue(1)
    entries = [append(log) for _ in range(8)]
    write(journal)
    log.settle_all([entries[index] for index in (7, 1, 0, 3, 2, 6)])
    assert records_of(take(journal)) == [("settled", 1, 0, 3), ("settled", 1, 6, 7)]


def test_a_second_settle_does_nothing() -> None:
    journal = Journal()
    log = journal.open_queue(1)
    entry = append(log)
    write(journal)
    log.settle(entry)
    log.settle(entry)
    assert records_of(take(journal)) == [("settled", 1, 0, 0)]


def test_an_entry_that_was_never_appended_is_ignored() -> None:
    journal = Journal()
    log = journal.open_queue(1)
    entry = Entry(make_message(), 1, 0)
    log.settle(entry)
    assert entry.state == VOLATILE
    assert journal.take_batch() is None


def test_settles_alone_wait_a_little() -> None:
    journal = Journal(settle_delay_s=0.05)
    log = journal.open_queue(1)
    entry = append(log)
    write(journal)
    log.settle(entry)
    assert journal.deadline() is None  # nobody has said what time it is
    assert not journal.due(10.0)
    assert journal.deadline() == pytest.approx(10.05)
    assert not journal.due(10.04)
    assert journal.due(10.06)
    write(journal)
    assert journal.deadline() is None
    assert not journal.due(10.07)


def test_many_settled_ranges_do_not_wait() -> None:
    journal = Journal()
    log = journal.open_queue(1)
    entries = [append(log) for _ in range(2 * WAITING_RANGES_MAX)]
    write(journal)
    log.settle_all(entries[0 : 2 * WAITING_RANGES_MAX - 2 : 2])
    assert not journal.due(0.0)
    log.settle(entries[-1])
    assert journal.due(0.0)


def test_settles_that_are_not_due_do_not_delay_a_confirm() -> None:
    journal = Journal()
    log = journal.open_queue(1)
    written = append(log)
    write(journal)
    log.settle(written)
    log.settle(append(log))
    assert journal.due(0.0)
    assert journal.take_batch() is None
    assert journal.synced_position == 2
    assert not journal.due(0.01)
    assert journal.due(1.0)
    assert records_of(take(journal)) == [("settled", 1, 0, 0)]


def test_settles_go_along_with_what_is_written() -> None:
    journal = Journal()
    log = journal.open_queue(1)
    written = append(log)
    write(journal)
    log.settle(written)
    append(log)
    batch = take(journal)
    assert [record[0] for record in records_of(batch)] == ["message", "settled"]
    assert batch.sync


def test_definitions_go_before_messages() -> None:
    journal = Journal()
    log = journal.open_queue(1)
    append(log)
    assert journal.define(b"a", b"1") == 1
    assert journal.undefine(b"b") == 1
    batch = take(journal)
    definitions = ["define", "undefine"]
    assert [record[0] for record in records_of(batch)] == [*definitions, *definitions, "message"]
    assert batch.sync


def test_pending_bytes_are_those_that_wait_or_are_being_written() -> None:
    journal = Journal()
    log = journal.open_queue(1)
    append(log, bytes(1000))
    first = journal.pending_bytes
    assert 1000 < first < 1200
    batch = take(journal)
    assert journal.pending_bytes == first
    append(log, bytes(500))
    journal.synced(batch.position)
    assert 500 < journal.pending_bytes < 700
    write(journal)
    assert journal.pending_bytes == 0


def test_a_broken_journal_never_confirms() -> None:
    journal = Journal()
    log = journal.open_queue(1)
    written = append(log)
    write(journal)
    lost = append(log)
    take(journal)
    append(log)
    journal.failed("no space")
    assert journal.broken
    assert journal.failure == "no space"
    assert journal.synced_position == 1
    late = Entry(make_message(), 1, 3)
    assert log.append(late) > journal.synced_position
    assert journal.define(b"a", b"1") > journal.synced_position
    log.settle_all([written, lost, late])
    assert not journal.due(1e9)
    assert journal.deadline() is None
    assert journal.take_batch() is None
    assert journal.synced_position == 1
    assert journal.pending_bytes == 0


def test_a_full_file_is_followed_by_the_next() -> None:
    journal = Journal(file_bytes_max=100)
    log = journal.open_queue(1)
    append(log, bytes(100))
    assert not write(journal).starts_file
    append(log, b"next")
    batch = write(journal)
    assert batch.starts_file
    assert batch.file_number == 2
    assert batch.chunks[0] == file_header(JOURNAL_MAGIC, 2, bytes(8))
    assert [record[5] for record in records_of(batch)] == [b"next"]
    assert batch.deletable == []
    assert batch.snapshot is None


def test_a_file_starts_with_a_sync_even_if_only_settles_are_in_it() -> None:
    journal = Journal(file_bytes_max=100)
    log = journal.open_queue(1)
    entry = append(log, bytes(100))
    append(log)
    write(journal)
    log.settle(entry)
    batch = write(journal)
    assert batch.starts_file
    assert batch.sync


def test_files_go_oldest_first_when_nothing_in_them_lives() -> None:
    journal = Journal(file_bytes_max=100)
    log = journal.open_queue(1)
    entries = []
    for _ in range(3):
        entries.append(append(log, bytes(100)))
        write(journal)
    log.settle(entries[1])
    assert write(journal).deletable == []  # file 1 lives, and file 2 waits for it
    log.settle(entries[0])
    batch = write(journal)
    assert batch.deletable == [1, 2]
    assert batch.snapshot is not None


def test_the_file_that_is_written_stays() -> None:
    journal = Journal()
    log = journal.open_queue(1)
    log.settle_all([append(log) for _ in range(3)])
    entry = append(log)
    write(journal)
    log.settle(entry)
    assert write(journal).deletable == []


def test_a_snapshot_has_definitions_and_what_ids_come_next() -> None:
    journal = Journal(file_bytes_max=100)
    journal.define(b"kept", b"1")
    journal.define(b"gone", b"1")
    journal.undefine(b"gone")
    log = journal.open_queue(5)
    entry = append(log, bytes(100))
    write(journal)
    log.settle(entry)
    batch = write(journal)
    assert batch.deletable == [1]
    assert batch.sync  # the snapshot says that it covers this batch
    recovered = fold(batch.snapshot, [])
    assert recovered.definitions == {b"kept": b"1"}
    assert recovered.next_index == {5: 1}
    assert recovered.next_queue_id == 6
    assert recovered.snapshot_sequence == 3
    assert recovered.sequence == 3


def test_a_snapshot_is_made_after_a_sync_only() -> None:
    journal = Journal(file_bytes_max=140)
    log = journal.open_queue(1)
    entry = append(log, bytes(100))
    write(journal)
    append(log)
    write(journal)
    log.settle(entry)
    batch = write(journal)
    assert not batch.starts_file
    assert batch.snapshot is not None
    assert batch.sync


def test_a_queue_id_is_not_given_twice_after_its_files_went() -> None:
    journal = Journal(file_bytes_max=100)
    log = journal.open_queue(7)
    append(log, bytes(100))
    write(journal)
    log.close()
    journal.undefine(b"queue 7")
    assert fold(write(journal).snapshot, []).next_queue_id == 8


def test_a_snapshot_is_made_only_for_files_that_none_covers() -> None:
    journal = Journal(file_bytes_max=100)
    log = journal.open_queue(1)
    stays = append(log, bytes(100))
    write(journal)  # file 1
    goes = append(log, bytes(100))
    write(journal)  # file 2
    log.settle(stays)
    batch = write(journal)  # file 3
    assert (batch.deletable, batch.snapshot is None) == ([1], False)
    assert batch.sync
    assert batch.starts_file
    log.settle(goes)
    batch = write(journal)
    assert (batch.deletable, batch.snapshot is None) == ([2], True)


def test_a_deleted_queue_lets_its_files_go() -> None:
    journal = Journal(file_bytes_max=100)
    log = journal.open_queue(1)
    delivered = append(log, bytes(100))
    write(journal)
    append(log, bytes(100))
    write(journal)
    waiting = append(log)
    log.settle(delivered)
    log.close()
    journal.undefine(b"queue 1")
    log.settle(waiting)
    batch = write(journal)
    assert batch.deletable == [1, 2]
    assert journal.take_batch() is None


def test_late_settles_of_a_deleted_queue_do_nothing() -> None:
    journal = Journal()
    log = journal.open_queue(1)
    entries = [append(log) for _ in range(3)]
    write(journal)
    log.close()
    log.settle_all(entries)
    assert not journal.due(1e9)
    assert journal.take_batch() is None


def test_entries_of_a_queue_deleted_before_their_batch_hold_no_file() -> None:
    journal = Journal(file_bytes_max=100)
    log = journal.open_queue(1)
    append(log, bytes(100))
    log.close()
    write(journal)
    journal.define(b"a", b"1")
    assert write(journal).deletable == [1]


def test_a_recovered_queue_goes_on() -> None:
    disk = FakeDisk()
    store = Store(disk)
    store.publish(b"a", 1)
    store.publish(b"b", 1)
    store.commit()
    again = Store(disk)
    log = again.logs[1]
    assert log.next_index == 2
    assert again.journal.next_queue_id == 4
    again.settle(*again.recovered.messages[1])
    batch = again.commit()
    assert batch is not None
    assert batch.deletable == [1]
    assert bodies(Store(disk).recovered) == {}


def test_what_no_queue_claims_is_dropped() -> None:
    disk = FakeDisk()
    store = Store(disk)
    store.journal.open_queue(9)
    log = store.journal.open_queue(8)
    append(log)
    append(log)
    store.publish(b"claimed", 1)
    store.commit()
    recovered = Store(disk, queue_ids=(1, 2, 3))
    assert recovered.journal.drop_unclaimed() == 2
    assert recovered.journal.drop_unclaimed() == 0
    recovered.settle(*recovered.recovered.messages[1])
    batch = recovered.commit()
    assert batch is not None
    assert batch.deletable == [1]


def test_a_clean_stop_is_the_last_batch() -> None:
    journal = Journal()
    log = journal.open_queue(1)
    entries = [append(log) for _ in range(4)]
    write(journal)
    log.settle(entries[0])
    for entry in entries:
        entry.redelivered = True
    assert journal.stop(entries) == 2
    assert journal.due(0.0)
    batch = take(journal)
    assert batch.sync
    assert records_of(batch) == [
        ("settled", 1, 0, 0),
        ("redelivered", 1, 1, 3),
        ("stopped",),
    ]
    journal.synced(2)
    assert not journal.due(0.0)


def test_a_queue_is_opened_once() -> None:
    journal = Journal()
    journal.open_queue(1)
    with pytest.raises(AssertionError, match="queue 1 is open"):
        journal.open_queue(1)


def test_an_index_is_not_given_twice_after_all_files_of_a_queue_went() -> None:
    disk = FakeDisk()
    store = Store(disk, file_bytes_max=100)
    store.settle(*store.publish(b"never written", 1))
    old = store.publish(bytes(100), 1)
    store.commit()
    store.settle(*old)
    store.publish(bytes(100), 2)
    batch = store.commit()
    assert batch is not None
    assert batch.deletable == [1]
    assert Store(disk).logs[1].next_index == 2
