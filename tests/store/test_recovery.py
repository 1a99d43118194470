"""Recovery: whatever happened to the files, what is served is what was written."""

from __future__ import annotations

import pytest

from amqbroker.errors import DiskError
from amqbroker.message import WRITTEN, Entry
from amqbroker.store.folder import read_folder
from amqbroker.store.inspect import inspect_folder
from amqbroker.store.mark import MARK_NAME
from amqbroker.store.records import (
    DELIVERIES,
    FILE_HEADER_BYTES,
    JOURNAL_MAGIC,
    REDELIVERED_RANGES,
    SETTLED_RANGES,
    SNAPSHOT_MAGIC,
    SNAPSHOT_NAME,
    BlockWriter,
    file_header,
    header_crc,
    journal_name,
)
from amqbroker.store.recovery import Recovered, fold
from tests.store.fake_disk import FakeDisk
from tests.store.helpers import SEED, Store, bodies, make_message


def recover(disk: FakeDisk) -> Recovered:
    return read_folder(disk)


def test_nothing_recovers_to_nothing() -> None:
    recovered = fold(None, [])
    assert recovered.messages == {}
    assert recovered.definitions == {}
    assert recovered.next_queue_id == 1
    assert not recovered.clean


def test_messages_come_back_in_index_order_with_their_places() -> None:
    disk = FakeDisk()
    store = Store(disk)
    entries = store.publish(b"a", 1, 2) + store.publish(b"b", 1)
    store.commit()
    store.publish(b"c", 1)
    store.settle(entries[1])
    store.commit()
    recovered = recover(disk)
    assert bodies(recovered) == {1: [b"a", b"b", b"c"]}
    first = recovered.messages[1][0]
    assert (first.queue_id, first.index, first.state, first.file) == (1, 0, WRITTEN, 1)
    assert first.message.address == b"\x00\x03key"
    assert first.message.header == b"header"
    assert first.message.persistent
    assert recovered.next_index == {1: 3, 2: 1}
    assert recovered.next_queue_id == 3
    assert recovered.live == {1: {1: 3}}


def test_a_fanout_comes_back_as_one_message() -> None:
    disk = FakeDisk()
    store = Store(disk)
    store.publish(b"a", 1, 2)
    store.commit()
    recovered = recover(disk)
    assert recovered.messages[1][0].message is recovered.messages[2][0].message


def test_definitions_come_back_as_the_last_record_left_them() -> None:
    disk = FakeDisk()
    store = Store(disk)
    store.journal.define(b"a", b"1")
    store.journal.define(b"b", b"1")
    store.commit()
    store.journal.define(b"a", b"2")
    store.journal.undefine(b"b")
    store.commit()
    assert recover(disk).definitions == {b"a": b"2"}


def test_the_tail_is_cut_wherever_it_is_torn() -> None:
    disk = FakeDisk()
    store = Store(disk)
    ends = [FILE_HEADER_BYTES]
    for number in range(3):
        store.publish(b"%d" % number, 1)
        store.commit()
        ends.append(len(disk.content(journal_name(1))))
    data = disk.content(journal_name(1))
    for size in range(len(data) + 1):
        recovered = fold(None, [(1, data[:size])])
        whole = sum(end <= size for end in ends) - 1
        expected = [b"%d" % number for number in range(whole)]
        assert bodies(recovered).get(1, []) == expected, size
        assert recovered.problems == []
        torn = recovered.torn_tail
        if size in (0, *ends):
            assert torn is None, size
        else:
            assert torn is not None, size
            assert torn.file == journal_name(1)
            assert torn.offset == (ends[whole] if whole >= 0 else 0)


def test_a_definition_is_there_or_not_wherever_the_tail_is_torn() -> None:
    disk = FakeDisk()
    store = Store(disk)
    store.journal.define(b"key", b"1")
    store.commit()
    data = disk.content(journal_name(1))
    # It is there twice.
    length = (len(data) - FILE_HEADER_BYTES) // 2
    for size in range(len(data) + 1):
        recovered = fold(None, [(1, data[:size])])
        assert recovered.problems == []
        is_there = size >= FILE_HEADER_BYTES + length
        assert recovered.definitions == ({b"key": b"1"} if is_there else {})


def test_a_tail_of_zeros_is_torn() -> None:
    disk = FakeDisk()
    store = Store(disk)
    store.publish(b"a", 1)
    store.commit()
    size = len(disk.content(journal_name(1)))
    recovered = fold(None, [(1, disk.content(journal_name(1)) + bytes(5000))])
    assert bodies(recovered) == {1: [b"a"]}
    assert recovered.torn_tail is not None
    assert recovered.torn_tail.offset == size
    assert "the last 5000 bytes are cut off" in recovered.torn_tail.what


def build_folder() -> FakeDisk:
    """A snapshot that covers a file that is gone, and two journal files of several blocks."""
    disk = FakeDisk()
    store = Store(disk, file_bytes_max=400)
    store.journal.define(b"queue", b"durable")
    early = store.publish(b"early", 1)
    store.commit()
    while store.commit() is not None or len(disk.names()) == 2:
        store.settle(*early)
        early = store.publish(b"passing", 1)
        if journal_name(1) not in disk.names():
            break
    for number in range(8):
        store.publish(b"stays %d" % number, 1, 2)
        store.commit()
    return disk


def test_any_flipped_bit_is_reported_and_never_served() -> None:
    disk = build_folder()
    names = disk.names()
    assert names[0] == SNAPSHOT_NAME
    assert len(names) >= 3
    sound = bodies(recover(disk))
    assert sum(map(len, sound.values())) >= 16
    for name in names:
        original = disk.content(name)
        for position in range(len(original)):
            damaged = bytearray(original)
            damaged[position] ^= 1 << position % 8
            disk.put(name, bytes(damaged))
            if name == SNAPSHOT_NAME:
                with pytest.raises(DiskError, match=r"^definitions, offset [0-9]+: "):
                    recover(disk)
                continue
            recovered = recover(disk)
            reports = [*recovered.problems]
            if recovered.torn_tail is not None:
                reports.append(recovered.torn_tail)
            at = [report.offset for report in reports if report.file == name]
            assert at, (name, position)
            assert min(at) <= position
            for queue_id, found in bodies(recovered).items():
                assert set(found) <= set(sound[queue_id]) | {b"passing"}, (name, position)
        disk.put(name, original)


def test_blocks_after_a_damaged_one_are_served() -> None:
    disk = FakeDisk()
    store = Store(disk)
    ends = []
    for body in (b"first", b"second", b"third"):
        store.publish(body, 1)
        store.commit()
        ends.append(len(disk.content(journal_name(1))))
    data = bytearray(disk.content(journal_name(1)))
    data[ends[1] - 1] ^= 1
    recovered = fold(None, [(1, bytes(data))])
    assert bodies(recovered) == {1: [b"first", b"third"]}
    assert [str(problem) for problem in recovered.problems] == [
        f"journal-000000000001, offset {ends[0]}: the records of a block are damaged",
        f"journal-000000000001, offset {ends[1]}: blocks 2 to 2 are missing before this one",
    ]
    assert recovered.torn_tail is None


@pytest.mark.parametrize("position", range(FILE_HEADER_BYTES))
def test_a_damaged_file_header_does_not_cost_the_file(position: int) -> None:
    disk = FakeDisk()
    store = Store(disk)
    store.publish(b"a", 1)
    store.commit()
    data = bytearray(disk.content(journal_name(1)))
    data[position] ^= 0x10
    recovered = fold(None, [(1, bytes(data))])
    assert bodies(recovered) == {1: [b"a"]}
    assert [problem.offset for problem in recovered.problems] == [0]


def test_a_damaged_end_of_a_file_that_is_not_the_last_is_no_torn_tail() -> None:
    disk = FakeDisk()
    store = Store(disk, file_bytes_max=40)
    store.publish(b"a", 1)
    store.commit()
    store.publish(b"b", 1)
    store.commit()
    name = journal_name(1)
    disk.put(name, disk.content(name)[:-1])
    recovered = recover(disk)
    assert bodies(recovered) == {1: [b"b"]}
    assert recovered.torn_tail is None
    assert recovered.problems[0].file == name
    assert recovered.problems[0].offset == FILE_HEADER_BYTES
    assert recovered.problems[0].what == "a block is incomplete"


def test_a_missing_file_is_reported() -> None:
    disk = FakeDisk()
    store = Store(disk, file_bytes_max=40)
    for body in (b"a", b"b", b"c"):
        store.publish(body, 1)
        store.commit()
    data = [(number, disk.content(journal_name(number))) for number in (1, 3)]
    recovered = fold(None, data)
    assert bodies(recovered) == {1: [b"a", b"c"]}
    assert recovered.problems[0].file == journal_name(3)
    assert recovered.problems[0].what == "blocks 2 to 2 are missing before this one"


def covered_folder() -> FakeDisk:
    """Messages in files 2 to 4, and a snapshot that covers them all."""
    disk = FakeDisk()
    store = Store(disk, file_bytes_max=40)
    (first,) = store.publish(b"a", 1)
    store.commit()
    for body in (b"b", b"c"):
        store.publish(body, 1)
        store.commit()
    store.settle(first)
    store.publish(b"d", 1)
    store.commit()
    assert disk.names() == [SNAPSHOT_NAME, *map(journal_name, (2, 3, 4)), MARK_NAME]
    return disk


def test_a_missing_file_is_reported_though_the_snapshot_covers_it() -> None:
    disk = covered_folder()
    disk.delete(journal_name(3))
    recovered = recover(disk)
    assert bodies(recovered) == {1: [b"b", b"d"]}
    assert [str(problem) for problem in recovered.problems] == [
        "journal-000000000004, offset 32: blocks 3 to 3 are missing before this one"
    ]
    assert [str(problem) for problem in inspect_folder(disk).problems] == [
        "journal-000000000004, offset 32: blocks 3 to 3 are missing before this one"
    ]


@pytest.mark.parametrize(
    ("numbers", "what"),
    [
        ((4,), "it covers blocks up to 4, and the journal files end with block 3: some are lost"),
        ((2, 3, 4), "it covers blocks up to 4, and there is no journal file: some are lost"),
    ],
)
def test_the_last_files_are_missed_by_what_the_snapshot_covers(
    numbers: tuple[int, ...], what: str
) -> None:
    disk = covered_folder()
    for number in numbers:
        disk.delete(journal_name(number))
    assert [str(problem) for problem in recover(disk).problems] == [
        f"definitions, offset 0: {what}"
    ]
    assert [str(problem) for problem in inspect_folder(disk).problems] == [
        f"definitions, offset 0: {what}"
    ]


def test_a_copied_file_stops_the_start() -> None:
    disk = covered_folder()
    disk.put(journal_name(7), disk.content(journal_name(3)))
    with pytest.raises(
        DiskError, match=r"^journal-000000000007 holds journal-000000000003, as its"
    ):
        recover(disk)


def test_files_of_two_folders_stop_the_start() -> None:
    disk = covered_folder()
    disk.put(journal_name(5), file_header(JOURNAL_MAGIC, 5, SEED) + _one_block(2))
    with pytest.raises(
        DiskError, match=r"^journal-000000000005 has block 2, but a file before it has block 4: "
    ):
        recover(disk)


def _one_block(sequence: int) -> bytes:
    writer = BlockWriter(sequence - 1)
    writer.begin(header_crc(file_header(JOURNAL_MAGIC, 5, SEED)))
    writer.message(Entry(make_message(b"other"), 1, 0))
    return b"".join(writer.take())


def test_a_missing_snapshot_stops_the_start() -> None:
    disk = build_folder()
    disk.delete(SNAPSHOT_NAME)
    with pytest.raises(DiskError, match="'definitions' covers blocks up to 0 only: definitions"):
        recover(disk)


def test_a_damaged_first_block_stops_the_start() -> None:
    disk = FakeDisk()
    store = Store(disk)
    for body in (b"a", b"b"):
        store.publish(body, 1)
        store.commit()
    data = bytearray(disk.content(journal_name(1)))
    data[FILE_HEADER_BYTES + 30] ^= 1
    with pytest.raises(
        DiskError,
        match=r"journal-000000000001, offset 32: the records of a block are damaged\. The first "
        "sound one is 2, but the file 'definitions' covers blocks up to 0 only",
    ):
        fold(None, [(1, bytes(data))])


def test_an_incomplete_snapshot_stops_the_start() -> None:
    header = file_header(SNAPSHOT_MAGIC, 5, SEED)
    writer = BlockWriter(0)
    writer.begin(header_crc(header))
    writer.define(b"key", b"value")
    with pytest.raises(DiskError, match=r"definitions, offset \d+: the end is missing"):
        fold(header + b"".join(writer.take()), [])


def test_definitions_that_the_snapshot_covers_are_not_replayed() -> None:
    disk = FakeDisk()
    store = Store(disk)
    store.journal.define(b"gone", b"1")
    store.commit()
    size = len(disk.content(journal_name(1)))
    store.journal.undefine(b"gone")
    store.commit()
    data = bytearray(disk.content(journal_name(1)))
    data[size] ^= 1  # the block that takes it back; the snapshot has it as well
    header = file_header(SNAPSHOT_MAGIC, 2, SEED)
    writer = BlockWriter(0)
    writer.begin(header_crc(header))
    writer.end()
    recovered = fold(header + b"".join(writer.take()), [(1, bytes(data))])
    assert recovered.definitions == {}


def test_records_that_cannot_be_read_are_reported() -> None:
    header = file_header(JOURNAL_MAGIC, 1, SEED)
    writer = BlockWriter(0)
    writer.begin(header_crc(header))
    writer.message(Entry(make_message(b"a"), 1, 0))
    writer._begin_record(77)
    writer.message(Entry(make_message(b"b"), 1, 1))
    recovered = fold(None, [(1, header + b"".join(writer.take()))])
    assert bodies(recovered) == {1: [b"a"]}
    assert recovered.problems[0].what == "a record of unknown kind 77"


def test_a_huge_settled_range_costs_no_time() -> None:
    header = file_header(JOURNAL_MAGIC, 1, SEED)
    writer = BlockWriter(0)
    writer.begin(header_crc(header))
    for index in (0, 5, 2**40):
        writer.message(Entry(make_message(b"%d" % index), 1, index))
    writer.ranges(SETTLED_RANGES, 1, [(1, 2**40 - 1)])
    recovered = fold(None, [(1, header + b"".join(writer.take()))])
    assert bodies(recovered) == {1: [b"0", b"%d" % 2**40]}


def test_the_next_index_counts_what_was_settled() -> None:
    disk = FakeDisk()
    store = Store(disk)
    entries = store.publish(b"a", 1) + store.publish(b"b", 1)
    store.commit()
    store.settle(*entries)
    store.commit()
    recovered = recover(disk)
    assert recovered.messages == {}
    assert recovered.next_index == {1: 2}


@pytest.mark.parametrize("kind", [REDELIVERED_RANGES, DELIVERIES])
def test_the_next_index_counts_what_was_only_delivered(kind: int) -> None:
    """A message that does not outlive the stop leaves nothing else: the next one must not have its
    index."""
    header = file_header(JOURNAL_MAGIC, 1, SEED)
    writer = BlockWriter(0)
    writer.begin(header_crc(header))
    writer.message(Entry(make_message(b"a"), 1, 0))
    writer.ranges(kind, 1, [(0, 0), (4, 4)])
    recovered = fold(None, [(1, header + b"".join(writer.take()))])
    assert recovered.next_index == {1: 5}


def test_all_are_redelivered_after_a_crash() -> None:
    disk = FakeDisk()
    store = Store(disk)
    store.publish(b"a", 1)
    store.publish(b"b", 1)
    store.commit()
    recovered = recover(disk)
    assert not recovered.clean
    assert [entry.redelivered for entry in recovered.messages[1]] == [True, True]


def test_after_a_clean_stop_only_those_that_had_been_delivered_are() -> None:
    disk = FakeDisk()
    store = Store(disk)
    entries = store.publish(b"a", 1) + store.publish(b"b", 1) + store.publish(b"c", 1)
    store.commit()
    entries[1].redelivered = True
    store.journal.stop([entries[1]])
    store.commit()
    recovered = recover(disk)
    assert recovered.clean
    assert [entry.redelivered for entry in recovered.messages[1]] == [False, True, False]


def test_what_is_written_after_a_stop_ends_it() -> None:
    disk = FakeDisk()
    store = Store(disk)
    store.journal.stop([])
    store.commit()
    assert recover(disk).clean
    store.publish(b"a", 1)
    store.commit()
    assert not recover(disk).clean


def test_a_start_after_a_clean_stop_ends_it() -> None:
    disk = FakeDisk()
    store = Store(disk)
    store.publish(b"a", 1)
    store.journal.stop([])
    store.commit()
    again = Store(disk)
    assert [entry.redelivered for entry in again.recovered.messages[1]] == [False]
    disk.crash()
    assert [entry.redelivered for entry in recover(disk).messages[1]] == [True]
