"""Records: what is written is what is read, and nothing else is."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amqbroker.errors import DiskError
from amqbroker.message import Entry, Message
from amqbroker.store.records import (
    BLOCK_BYTES,
    BLOCK_HEADER_BYTES,
    DEFINE,
    DELIVERIES,
    FILE_HEADER_BYTES,
    FORMAT_VERSION,
    JOURNAL_MAGIC,
    LARGE_BODY_BYTES,
    MESSAGE,
    RANGES_PER_RECORD_MAX,
    REDELIVERED_RANGES,
    SAME,
    SEGMENT,
    SETTLED_RANGES,
    SNAPSHOT_MAGIC,
    BlockReader,
    BlockWriter,
    RecordError,
    RecordVisitor,
    SegmentPart,
    file_header,
    header_crc,
    journal_name,
    journal_number,
    read_entry,
    read_file_header,
    read_message,
    read_records,
)
from tests.store.helpers import SEED, make_message

HEADER = file_header(JOURNAL_MAGIC, 7, SEED)


class Collector(RecordVisitor):
    """Keeps what it is told, a message as its fields."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.seen: list[tuple[object, ...]] = []

    def on_message(self, queue_id: int, index: int, record_at: int, message_at: int) -> None:
        message = read_message(self.data, message_at)
        entry = read_entry(self.data, record_at, message)
        assert (entry.queue_id, entry.index) == (queue_id, index)
        fields = (message.address, message.header, message.body)
        self.seen.append(("message", queue_id, index, *fields))
        if entry.expires_at or entry.deliveries:
            self.seen.append(("entry", entry.expires_at, entry.deliveries))

    def on_segment(self, part: SegmentPart) -> None:
        numbers = (part.first, part.last, part.added_from, part.count, part.size)
        sums = (part.body_bytes, part.expires_from, part.expires_until)
        self.seen.append(("segment", part.queue_id, part.number, part.seed, *numbers, *sums))

    def on_settled(self, queue_id: int, first: int, last: int) -> None:
        self.seen.append(("settled", queue_id, first, last))

    def on_deliveries(self, queue_id: int, index: int, deliveries: int) -> None:
        self.seen.append(("deliveries", queue_id, index, deliveries))

    def on_redelivered(self, queue_id: int, first: int, last: int) -> None:
        self.seen.append(("redelivered", queue_id, first, last))

    def on_define(self, key: bytes, value: bytes) -> None:
        self.seen.append(("define", key, value))

    def on_undefine(self, key: bytes) -> None:
        self.seen.append(("undefine", key))

    def on_stopped(self) -> None:
        self.seen.append(("stopped",))

    def on_next_index(self, queue_id: int, index: int) -> None:
        self.seen.append(("next index", queue_id, index))

    def on_next_queue(self, queue_id: int) -> None:
        self.seen.append(("next queue", queue_id))

    def on_end(self) -> None:
        self.seen.append(("end",))


@dataclass(frozen=True)
class Publish:
    """A message in some queues."""

    address: bytes
    header: bytes
    body: bytes
    places: tuple[tuple[int, int], ...]


numbers = st.integers(0, 2**63 - 1)
pairs = st.tuples(numbers, numbers)
publishes = st.builds(
    Publish,
    st.binary(max_size=512),
    st.binary(max_size=100),
    st.one_of(st.binary(max_size=100), st.sampled_from([LARGE_BODY_BYTES, BLOCK_BYTES]).map(bytes)),
    st.lists(pairs, min_size=1, max_size=3).map(tuple),
)
records = st.one_of(
    publishes,
    st.tuples(st.just("settled"), numbers, st.lists(pairs, min_size=1, max_size=4)),
    st.tuples(st.just("redelivered"), numbers, st.lists(pairs, min_size=1, max_size=4)),
    st.tuples(st.just("deliveries"), numbers, st.lists(pairs, min_size=1, max_size=4)),
    st.tuples(st.just("define"), st.binary(max_size=50), st.binary(max_size=50)),
    st.tuples(st.just("undefine"), st.binary(max_size=50)),
    st.tuples(st.just("stopped")),
    st.tuples(st.just("next index"), numbers, numbers),
    st.tuples(st.just("next queue"), numbers),
    st.tuples(st.just("end")),
    st.tuples(
        st.just("segment"), *[numbers] * 2, st.binary(min_size=8, max_size=8), *[numbers] * 8
    ),
)


def write(writer: BlockWriter, record: object) -> list[tuple[object, ...]]:
    """Write a record; what a reader must be told."""
    match record:
        case Publish(address, header, body, places):
            message = Message(1, address, 0, header, body, True)
            entries = [Entry(message, queue_id, index) for queue_id, index in places]
            writer.message(entries[0])
            for entry in entries[1:]:
                writer.same(entry)
            return [("message", *place, address, header, body) for place in places]
        case ("settled", int(queue_id), list(ranges)):
            writer.ranges(SETTLED_RANGES, queue_id, ranges)
            return [("settled", queue_id, *part) for part in ranges]
        case ("redelivered", int(queue_id), list(ranges)):
            writer.ranges(REDELIVERED_RANGES, queue_id, ranges)
            return [("redelivered", queue_id, *part) for part in ranges]
        case ("deliveries", int(queue_id), list(counts)):
            writer.ranges(DELIVERIES, queue_id, counts)
            return [("deliveries", queue_id, *part) for part in counts]
        case ("define", bytes(key), bytes(value)):
            writer.define(key, value)
        case ("undefine", bytes(key)):
            writer.undefine(key)
        case ("stopped",):
            writer.stopped()
        case ("next index", int(queue_id), int(index)):
            writer.next_index(queue_id, index)
        case ("next queue", int(queue_id)):
            writer.next_queue(queue_id)
        case ("end",):
            writer.end()
        case ("segment", int(queue_id), int(number), bytes(seed), *rest):
            numbers = [each for each in rest if isinstance(each, int)]
            writer.segment(SegmentPart(queue_id, number, seed, *numbers))
        case _:
            raise AssertionError(record)
    assert isinstance(record, tuple)
    return [record]


def new_writer() -> BlockWriter:
    writer = BlockWriter(0)
    writer.begin(header_crc(HEADER))
    return writer


def read(data: bytes) -> tuple[list[tuple[object, ...]], list[int]]:
    """All records of a sound file, and the sequences of its blocks."""
    collector = Collector(data)
    sequences = []
    header = read_file_header("file", data, JOURNAL_MAGIC)
    assert header is not None
    reader = BlockReader(data, header.crc)
    while reader.next():
        sequences.append(reader.sequence)
        read_records(data, reader.start, reader.end, collector)
    assert reader.damage == []
    assert reader.tail == -1
    return collector.seen, sequences


@given(st.lists(st.lists(records, max_size=8), max_size=4))
def test_what_is_written_is_read(batches: list[list[object]]) -> None:
    writer = BlockWriter(0)
    data = HEADER
    written = []
    for batch in batches:
        writer.begin(header_crc(HEADER))
        for record in batch:
            written += write(writer, record)
        assert writer.is_empty() == (not batch)
        chunks = writer.take()
        assert writer.chunk_bytes == sum(map(len, chunks))
        data += b"".join(chunks)
    seen, sequences = read(data)
    assert seen == written
    assert sequences == list(range(1, writer.sequence + 1))


def test_a_large_body_is_not_copied() -> None:
    message = make_message(bytes(LARGE_BODY_BYTES))
    writer = new_writer()
    writer.message(Entry(message, 1, 0))
    assert any(chunk is message.body for chunk in writer.take())


def test_many_messages_fill_blocks_of_bounded_size() -> None:
    writer = new_writer()
    message = make_message(bytes(1000))
    for index in range(1000):
        writer.message(Entry(message, 1, index))
    chunks = writer.take()
    assert max(map(len, chunks)) < BLOCK_BYTES + 1100
    seen, sequences = read(HEADER + b"".join(chunks))
    assert [place[2] for place in seen] == list(range(1000))
    assert sequences == [1, 2, 3, 4]


def test_a_fanout_stays_in_the_block_of_its_message() -> None:
    writer = new_writer()
    message = make_message(bytes(BLOCK_BYTES))
    writer.message(Entry(message, 1, 0))
    for queue_id in range(2, 1000):
        writer.same(Entry(message, queue_id, 0))
    data = HEADER + b"".join(writer.take())
    assert len(data) < BLOCK_BYTES + 1000 * 27 + 200
    seen, sequences = read(data)
    assert len(seen) == 999
    assert sequences == [1]


def test_many_ranges_take_several_records() -> None:
    ranges = [(number * 2, number * 2) for number in range(RANGES_PER_RECORD_MAX + 1)]
    writer = new_writer()
    writer.ranges(SETTLED_RANGES, 5, ranges)
    seen, _ = read(HEADER + b"".join(writer.take()))
    assert seen == [("settled", 5, *part) for part in ranges]


def test_the_file_header_has_the_drawn_layout() -> None:
    assert len(HEADER) == FILE_HEADER_BYTES
    assert HEADER[:20] == b"AMQBJRNL" + b"\0\0\0\3" + b"\0\0\0\0\0\0\0\7"
    assert HEADER[20:28] == SEED


def test_a_message_record_has_the_drawn_layout() -> None:
    writer = new_writer()
    entry = Entry(Message(1, b"\0\1k", 0, b"hh", b"bbbb", True), 258, 3)
    entry.expires_at = 5
    entry.deliveries = 40_000
    writer.message(entry)
    block, record = writer.take()
    assert len(block) == BLOCK_HEADER_BYTES
    assert block[:16] == b"blok" + len(record).to_bytes(4, "big") + b"\0\0\0\0\0\0\0\1"
    expected = b"\x01" + b"\0\0\0\0\0\0\1\2" + b"\0\0\0\0\0\0\0\3"
    expected += b"\0\0\0\0\0\0\0\5" + b"\x7f\xff"
    assert record == expected + b"\0\3" + b"\0\0\0\2" + b"\0\0\0\4" + b"\0\1k" + b"hh" + b"bbbb"


@pytest.mark.parametrize("position", range(FILE_HEADER_BYTES))
def test_a_damaged_header_is_no_header(position: int) -> None:
    data = bytearray(HEADER)
    data[position] ^= 1
    assert read_file_header("file", bytes(data), JOURNAL_MAGIC) is None


def test_a_short_or_strange_header_is_no_header() -> None:
    assert read_file_header("file", HEADER[:-1], JOURNAL_MAGIC) is None
    assert read_file_header("file", HEADER, SNAPSHOT_MAGIC) is None


def header_of(version: int) -> bytes:
    data = HEADER[:8] + version.to_bytes(4, "big") + HEADER[12:28]
    return data + header_crc(data + bytes(4)).to_bytes(4, "big")


def test_a_newer_version_is_refused_with_both_numbers() -> None:
    text = "file has format version 4, this program reads versions up to 3"
    with pytest.raises(DiskError, match=text):
        read_file_header("file", header_of(FORMAT_VERSION + 1), JOURNAL_MAGIC)


def test_an_older_version_is_refused_with_both_numbers() -> None:
    text = "file has format version 2, from before the first release; this program reads version 3"
    with pytest.raises(DiskError, match=text):
        read_file_header("file", header_of(FORMAT_VERSION - 1), JOURNAL_MAGIC)


@pytest.mark.parametrize(
    ("record", "what"),
    [
        (b"\x63", "a record of unknown kind 99"),
        (b"\x00", "a record of unknown kind 0"),
        (bytes([MESSAGE]) + bytes(35), "a record of 37 bytes where 36 are left"),
        (bytes([MESSAGE]) + bytes(34) + b"\0\5", "a record of 42 bytes where 37 are left"),
        (bytes([MESSAGE]) + bytes(32) + b"\x80\0\0\0", "a record of -[0-9]+ bytes where 37"),
        (bytes([MESSAGE]) + bytes(26) + b"\xff\xdb" + bytes(8), "a message of 0 bytes"),
        (bytes([SAME]) + bytes(26), "a SAME record without a message before it"),
        (bytes([SAME]) + bytes(25), "a record of 27 bytes where 26 are left"),
        (bytes([SEGMENT]) + bytes(60), "a record of 89 bytes where 61 are left"),
        (bytes([SETTLED_RANGES]) + bytes(11) + b"\1", "a record of 29 bytes where 13 are left"),
        (bytes([DEFINE]) + b"\0\0\0\1\0\0\0\1k", "a record of 11 bytes where 10 are left"),
    ],
)
def test_a_record_that_cannot_be_read_is_named(record: bytes, what: str) -> None:
    data = b"\x07" + record  # STOPPED, then the record
    with pytest.raises(RecordError, match=what) as raised:
        read_records(data, 0, len(data), Collector(data))
    assert raised.value.offset == 1


def test_a_client_cannot_plant_blocks() -> None:
    # The body is a block as another file of ours might hold it: it has another seed.
    planted = BlockWriter(100)
    planted.begin(header_crc(file_header(JOURNAL_MAGIC, 7, bytes(8))))
    planted.define(b"user", b"evil")
    writer = new_writer()
    writer.message(Entry(make_message(b"".join(planted.take())), 1, 0))
    data = bytearray(HEADER + b"".join(writer.take()))
    data[FILE_HEADER_BYTES] ^= 1
    reader = BlockReader(bytes(data), header_crc(HEADER))
    assert not reader.next()
    assert reader.tail == FILE_HEADER_BYTES


def test_an_older_block_is_not_taken_for_the_next_one() -> None:
    writer = new_writer()
    writer.define(b"key", b"old")
    old = b"".join(writer.take())
    writer.begin(header_crc(HEADER))
    writer.define(b"key", b"new")
    reader = BlockReader(HEADER + old + b"".join(writer.take()) + old, header_crc(HEADER))
    assert reader.next()
    assert reader.next()
    assert not reader.next()
    assert reader.tail == FILE_HEADER_BYTES + 2 * len(old)


def test_journal_names() -> None:
    assert journal_name(7) == "journal-000000000007"
    assert journal_number(journal_name(7)) == 7
    assert journal_number(journal_name(10**12)) == 10**12
    for name in ("journal-", "journal-7", "journal-00000000000x", "definitions", "lock"):
        assert journal_number(name) is None
    # Names that no number has, and numbers that have no successor.
    for name in ("journal-0000000000007", "journal-000000000000", "journal-" + "9" * 20):
        assert journal_number(name) is None
