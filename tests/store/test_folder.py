"""The data folder: what a start cuts, keeps and removes, and what a batch does to the disk."""

from __future__ import annotations

import pytest

from amqbroker.errors import DiskError, DiskFullError
from amqbroker.message import Entry
from amqbroker.store.folder import DAMAGED_SUFFIX, open_folder, read_folder
from amqbroker.store.holding import HoldingDisk
from amqbroker.store.inspect import inspect_folder
from amqbroker.store.mark import MARK_NAME, MARK_NEW_NAME
from amqbroker.store.records import (
    FILE_HEADER_BYTES,
    SNAPSHOT_NAME,
    SNAPSHOT_NEW_NAME,
    journal_name,
)
from amqbroker.store.segments import SegmentWriter, segment_name
from tests.store.fake_disk import FakeDisk, FakeFile
from tests.store.helpers import SEED, Store, bodies, commit, make_message, take


def filled() -> FakeDisk:
    """A folder with two messages in file 1."""
    disk = FakeDisk()
    store = Store(disk)
    store.publish(b"a", 1)
    store.commit()
    store.publish(b"b", 1)
    store.commit()
    return disk


def test_a_start_begins_a_file_of_its_own() -> None:
    disk = filled()
    store = Store(disk)
    assert disk.names() == [journal_name(1), journal_name(2), MARK_NAME]
    assert len(disk.content(journal_name(2))) == FILE_HEADER_BYTES
    store.publish(b"c", 1)
    store.commit()
    disk.crash()
    assert bodies(Store(disk).recovered) == {1: [b"a", b"b", b"c"]}


@pytest.mark.parametrize("kept_changes", range(16))
def test_files_go_oldest_first_whatever_a_crash_keeps(kept_changes: int) -> None:
    """File 2 says that the message in file 1 is settled."""
    disk = FakeDisk()
    store = Store(disk)
    store.publish(b"a", 1)
    store.commit()
    store = Store(disk)
    store.settle(*store.recovered.messages[1])
    first = disk.content(journal_name(1))
    store.journal.stop([])
    store.commit()
    disk.crash()
    disk.put(journal_name(1), first)  # it went, and a disk may bring it back
    again = Store(disk)
    again.journal.define(b"key", b"value")
    batch = take(again.journal)
    assert batch.deletable == [1, 2]
    again.files.write(batch)
    disk.crash(kept_changes=kept_changes)
    recovered = Store(disk).recovered
    assert recovered.messages == {}
    assert recovered.problems == []


def test_starts_that_wrote_nothing_leave_nothing() -> None:
    disk = filled()
    for number in (2, 3, 4):
        Store(disk)
        assert disk.names() == [journal_name(1), journal_name(number), MARK_NAME]


def test_a_torn_tail_is_cut_once_and_then_forgotten() -> None:
    disk = filled()
    data = disk.content(journal_name(1))
    disk.put(journal_name(1), data[:-1])
    store = Store(disk)
    torn = store.recovered.torn_tail
    assert torn is not None
    assert disk.content(journal_name(1)) == data[: torn.offset]
    assert bodies(store.recovered) == {1: [b"a"]}
    again = Store(disk)
    assert again.recovered.torn_tail is None
    assert again.recovered.problems == []
    assert bodies(again.recovered) == {1: [b"a"]}


@pytest.mark.parametrize(
    "size", [0, 1, FILE_HEADER_BYTES - 1, FILE_HEADER_BYTES, FILE_HEADER_BYTES + 5]
)
def test_a_file_that_was_torn_at_its_start_goes(size: int) -> None:
    disk = filled()
    store = Store(disk)
    mark = disk.content(MARK_NAME)
    store.publish(b"c", 1)
    store.commit()
    disk.put(journal_name(2), disk.content(journal_name(2))[:size])
    disk.put(MARK_NAME, mark)
    store = Store(disk)
    assert disk.names() == [journal_name(1), journal_name(3), MARK_NAME]
    assert store.recovered.problems == []
    assert bodies(store.recovered) == {1: [b"a", b"b"]}


def test_a_last_file_that_is_unreadable_from_its_first_byte_is_kept_aside() -> None:
    disk = filled()
    data = b"?" * 100
    disk.put(journal_name(2), data)
    store = Store(disk)
    assert store.recovered.torn_tail is not None
    assert disk.names() == [
        journal_name(1),
        journal_name(2) + ".damaged",
        journal_name(3),
        MARK_NAME,
    ]
    assert disk.content(journal_name(2) + ".damaged") == data


def test_a_damaged_file_in_the_middle_stays_and_is_reported_each_time() -> None:
    disk = filled()
    disk.put(journal_name(2), b"?" * 100)
    disk.put(journal_name(3), b"")
    for _ in range(2):
        store = Store(disk)
        assert [problem.file for problem in store.recovered.problems] == [journal_name(2)]
        assert journal_name(2) in disk.names()


def test_half_a_snapshot_is_removed() -> None:
    disk = filled()
    disk.put(SNAPSHOT_NEW_NAME, b"half")
    Store(disk)
    assert SNAPSHOT_NEW_NAME not in disk.names()


def test_a_last_file_that_is_gone_is_missed() -> None:
    disk = filled()
    store = Store(disk)
    store.publish(b"c", 1)
    store.commit()
    disk.delete(journal_name(2))
    expected = [
        "journal.last, offset 0: journal-000000000002 was the last one, and it is missing: some "
        "are lost"
    ]
    assert [str(problem) for problem in inspect_folder(disk).problems] == expected
    recovered = Store(disk).recovered
    assert [str(problem) for problem in recovered.problems] == expected
    assert bodies(recovered) == {1: [b"a", b"b"]}
    # It may be found again: nothing else has its name.
    assert disk.names() == [journal_name(1), journal_name(3), MARK_NAME]
    assert Store(disk).recovered.problems == []


def test_all_files_that_are_gone_are_missed() -> None:
    disk = filled()
    disk.delete(journal_name(1))
    assert [str(problem) for problem in Store(disk).recovered.problems] == [
        "journal.last, offset 0: journal-000000000001 was the last one, and it is missing: some "
        "are lost"
    ]


@pytest.mark.parametrize("stops", [False, True])
@pytest.mark.parametrize("gone", [2, 3])
def test_first_files_that_are_gone_are_missed(gone: int, stops: bool) -> None:
    """Not those that went by themselves."""
    disk = FakeDisk()
    store = Store(disk, file_bytes_max=200)
    store.settle(*store.publish(bytes(200), 1))
    (first,) = store.publish(bytes(200), 1)
    store.commit()
    for _ in range(4):
        store.publish(bytes(200), 1)
        store.commit()
    store.settle(first)
    if stops:
        store.journal.stop([])
    store.commit()
    assert disk.names()[:3] == ["definitions", journal_name(2), journal_name(3)]
    disk.crash(kept_changes=~0)
    assert Store(disk, file_bytes_max=200).recovered.problems == []
    for number in range(2, gone + 1):
        disk.delete(journal_name(number))
    expected = [
        "journal.last, offset 0: journal-000000000002 was the first one, and it is missing: some "
        "are lost"
    ]
    assert [str(problem) for problem in inspect_folder(disk).problems] == expected
    assert [str(problem) for problem in Store(disk).recovered.problems] == expected
    assert Store(disk).recovered.problems == []


def test_files_that_go_are_not_missed_where_the_mark_has_no_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    disk = FakeDisk()
    store = Store(disk, file_bytes_max=200)
    entries = store.publish(bytes(200), 1)
    store.commit()
    for _ in range(3):
        store.publish(bytes(200), 1)
        store.commit()
    store.settle(*entries)
    create = disk.create

    def create_or_not(name: str) -> FakeFile:
        if name == MARK_NEW_NAME:
            raise DiskFullError(f"cannot create {name}")
        return create(name)

    with monkeypatch.context() as patch:
        patch.setattr(disk, "create", create_or_not)
        store.commit()
    assert journal_name(1) not in disk.names()
    assert MARK_NAME not in disk.names()
    disk.crash(kept_changes=~0)
    assert Store(disk).recovered.problems == []


def test_a_last_file_that_was_cut_to_its_header_is_missed() -> None:
    disk = filled()
    store = Store(disk)
    store.publish(b"c", 1)
    store.commit()
    disk.put(journal_name(2), disk.content(journal_name(2))[:FILE_HEADER_BYTES])
    expected = [
        "journal.last, offset 0: there were blocks up to 3, and the journal files end with block 2:"
        " some are lost"
    ]
    assert [str(problem) for problem in inspect_folder(disk).problems] == expected
    assert [str(problem) for problem in Store(disk).recovered.problems] == expected


def test_after_a_clean_stop_any_end_that_was_cut_is_missed() -> None:
    disk = filled()
    store = Store(disk)
    for body in (b"c", b"d"):
        store.publish(body, 1)
        store.commit()
    end = len(disk.content(journal_name(2)))
    store.journal.stop([])
    store.commit()
    assert read_folder(disk).clean
    disk.put(journal_name(2), disk.content(journal_name(2))[:end])
    recovered = read_folder(disk)
    assert [problem.file for problem in recovered.problems] == [MARK_NAME]
    assert not recovered.clean


def test_the_stop_before_a_file_that_is_gone_does_not_count() -> None:
    disk = filled()
    store = Store(disk)
    store.journal.stop([])
    store.commit()
    store = Store(disk)
    assert store.recovered.clean
    store.publish(b"c", 1)
    store.commit()
    disk.delete(journal_name(3))
    recovered = Store(disk).recovered
    assert len(recovered.problems) == 1
    assert not recovered.clean


def test_a_mark_costs_a_batch_of_each_file_only() -> None:
    disk = filled()
    store = Store(disk)
    costs = []
    for _ in range(3):
        store.publish(b"c", 1)
        before = disk.calls
        store.commit()
        costs.append(disk.calls - before)
    assert costs[0] > costs[1] == costs[2] == 2


@pytest.mark.parametrize("size", [0, FILE_HEADER_BYTES - 1, FILE_HEADER_BYTES + 1, 63, 65])
def test_a_mark_of_another_size_is_reported(size: int) -> None:
    disk = filled()
    disk.put(MARK_NAME, (disk.content(MARK_NAME) + b"?")[:size])
    expected = [
        "journal.last, offset 0: damaged: nobody knows whether the last journal files are missing"
    ]
    assert [str(problem) for problem in inspect_folder(disk).problems] == expected
    assert [str(problem) for problem in Store(disk).recovered.problems] == expected
    assert Store(disk).recovered.problems == []


def test_without_a_mark_nothing_is_missed() -> None:
    disk = filled()
    disk.delete(MARK_NAME)
    recovered = Store(disk).recovered
    assert recovered.problems == []
    assert bodies(recovered) == {1: [b"a", b"b"]}


def test_a_disk_without_room_for_a_mark_does_without() -> None:
    disk = filled()
    store = Store(disk)
    store.publish(b"c", 1)
    batch = take(store.journal)
    used = disk.capacity_bytes - disk.free_bytes()
    disk.capacity_bytes = used + sum(map(len, batch.chunks)) + FILE_HEADER_BYTES - 1
    store.files.write(batch)
    store.journal.synced(batch.position)
    assert MARK_NEW_NAME in disk.names()
    disk.capacity_bytes *= 2
    store.publish(b"d", 1)
    store.commit()
    assert MARK_NEW_NAME not in disk.names()
    recovered = read_folder(disk)
    assert recovered.problems == []
    assert (recovered.marked_number, recovered.marked_sequence) == (2, 4)


def test_other_files_in_the_folder_are_left_alone() -> None:
    disk = filled()
    disk.put("notes.txt", b"mine")
    Store(disk)
    assert disk.content("notes.txt") == b"mine"


def test_a_start_that_cannot_write_says_so() -> None:
    disk = FakeDisk(capacity_bytes=10)
    with pytest.raises(DiskError, match=f"cannot write to {journal_name(1)}: No space left"):
        Store(disk)


def test_a_new_file_and_a_snapshot_replace_old_files() -> None:
    disk = FakeDisk()
    store = Store(disk, file_bytes_max=100)
    store.journal.define(b"a", b"1")
    passing = store.publish(bytes(100), 1)
    store.commit()
    store.settle(*passing)
    store.publish(b"stays", 1)
    store.commit()
    assert disk.names() == [SNAPSHOT_NAME, journal_name(2), MARK_NAME]
    disk.crash(kept_changes=255)
    recovered = Store(disk).recovered
    assert recovered.definitions == {b"a": b"1"}
    assert bodies(recovered) == {1: [b"stays"]}


def test_settled_ranges_that_waited_are_synced_before_the_next_file() -> None:
    disk = FakeDisk()
    store = Store(disk, file_bytes_max=230)
    entries = store.publish(bytes(50), 1) + store.publish(b"stays", 1)
    store.commit()
    store.settle(entries[0])
    batch = store.commit()
    assert batch is not None
    assert not batch.sync
    store.publish(b"next file", 1)
    batch = store.commit()
    assert batch is not None
    assert batch.starts_file
    disk.crash()
    recovered = Store(disk).recovered
    assert bodies(recovered) == {1: [b"stays", b"next file"]}
    assert recovered.problems == []


def test_a_failed_write_is_not_tried_again() -> None:
    disk = FakeDisk()
    store = Store(disk)
    store.publish(b"a", 1)
    batch = take(store.journal)
    disk.fail_at_call = disk.calls + 1
    with pytest.raises(DiskError, match="Input/output error"):
        store.files.write(batch)
    disk.fail_at_call = 0
    with pytest.raises(DiskError, match="the journal failed before: cannot write to journal-"):
        store.files.write(batch)
    disk.crash(kept_bytes=1000)
    recovered = Store(disk).recovered
    assert bodies(recovered) == {}
    assert recovered.torn_tail is not None


def test_messages_of_any_size_survive() -> None:
    disk = FakeDisk()
    store = Store(disk)
    sizes = [0, 1, 1000, 65535, 65536, 65537, 262144, 1000000]
    for size in sizes:
        store.publish(b"%d" % (size % 10) * size, 1, 2)
    store.commit()
    disk.crash()
    recovered = Store(disk).recovered
    expected = [make_message(b"%d" % (size % 10) * size).body for size in sizes]
    assert bodies(recovered) == {1: expected, 2: expected}


def with_a_segment() -> FakeDisk:
    """A disk whose only segment holds two messages."""
    disk = FakeDisk()
    store = Store(disk)
    entries = store.publish(b"a", 1) + store.publish(b"b", 1)
    store.commit()
    store.logs[1].backlog.append(SegmentWriter(), entries)
    store.logs[1].stored(entries)
    store.commit()
    return disk


def test_a_missing_segment_is_reported_at_the_start() -> None:
    disk = with_a_segment()
    assert Store(disk).recovered.problems == []
    disk.delete(segment_name(1, 1))
    assert [str(problem) for problem in Store(disk).recovered.problems] == [
        "queues/1-1.seg, offset 0: missing, with 2 messages"
    ]


def test_a_segment_that_is_too_short_is_reported_at_the_start() -> None:
    disk = with_a_segment()
    name = segment_name(1, 1)
    size = len(disk.content(name))
    disk.put(name, disk.content(name)[:-1])
    assert [str(problem) for problem in Store(disk).recovered.problems] == [
        f"queues/1-1.seg, offset {size - 1}: the file ends here, and {size} bytes of it count"
    ]
    assert name in disk.names()


def damage_first_file(disk: FakeDisk) -> bytes:
    """A folder with three messages of queue 1, and a journal file with a wrong bit in the middle;
    what is in that."""
    store = Store(disk)
    for body in (b"a", b"b", b"c"):
        store.publish(body, 1)
        store.commit()
    data = bytearray(disk.content(journal_name(1)))
    data[(FILE_HEADER_BYTES + len(data)) // 2] ^= 1
    disk.put(journal_name(1), bytes(data))
    return bytes(data)


@pytest.mark.parametrize("holds", [False, True])
def test_a_damaged_file_is_set_aside_when_it_would_go(holds: bool) -> None:
    fake = FakeDisk()
    data = damage_first_file(fake)
    disk = HoldingDisk(fake)
    recovered, journal, files = open_folder(disk, SEED, 40)
    if holds:
        disk.hold()
    log = journal.open_queue(1)
    for entry in recovered.messages[1]:
        log.settle(entry)
    log.append(Entry(make_message(b"d"), 1, log.next_index))
    commit(journal, files)
    assert (journal_name(1) in fake.names()) == holds
    disk.release()
    assert journal_name(1) not in fake.names()
    assert fake.content(journal_name(1) + DAMAGED_SUFFIX) == data


def test_a_batch_that_a_snapshot_covers_is_not_undone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A damaged file that goes gets another name, for which there may be no room."""
    disk = FakeDisk()
    damage_first_file(disk)
    recovered, journal, files = open_folder(disk, SEED, 40)
    log = journal.open_queue(1)
    for entry in recovered.messages[1]:
        log.settle(entry)
    log.append(Entry(make_message(b"d"), 1, log.next_index))
    journal.define(b"key", b"value")
    batch = take(journal)
    rename = disk.rename

    def rename_or_not(old: str, new: str) -> None:
        if new.endswith(DAMAGED_SUFFIX):
            raise DiskFullError(f"cannot rename {old}")
        rename(old, new)

    monkeypatch.setattr(disk, "rename", rename_or_not)
    with pytest.raises(DiskError, match="cannot rename") as caught:
        files.write(batch)
    assert not isinstance(caught.value, DiskFullError)
    disk.crash()
    after = Store(disk).recovered
    assert after.definitions == {b"key": b"value"}
    assert bodies(after) == {1: [b"d"]}
