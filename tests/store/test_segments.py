"""Segments: what is written is what is read, in pieces of any size, and nothing else is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amqbroker.message import PENDING, VOLATILE, WRITTEN, Entry, Message
from amqbroker.store.records import FILE_HEADER_BYTES
from amqbroker.store.segments import (
    KEPT,
    LARGE_BODY_BYTES,
    LIKE,
    PERSISTENT,
    REDELIVERED,
    SEGMENT_BLOCK_BYTES,
    SEGMENT_BLOCK_HEADER_BYTES,
    SegmentReader,
    SegmentWriter,
    segment_crc,
    segment_header,
    segment_name,
)
from tests.store.helpers import SEED, make_message

CRC = segment_crc(7, SEED)
Found = tuple[int, int, int, int, bytes, bytes, bytes]


def make_entry(index: int, body: bytes = b"body", state: int = WRITTEN) -> Entry:
    entry = Entry(make_message(body), 7, index)
    entry.state = state
    return entry


def write(entries: list[Entry]) -> bytes:
    """A segment with these entries, a write every five."""
    writer = SegmentWriter()
    data = segment_header(7, SEED)
    for start in range(0, len(entries), 5):
        writer.begin(CRC)
        for entry in entries[start : start + 5]:
            writer.add(entry)
        chunks = writer.take()
        assert writer.size == sum(map(len, chunks))
        data += b"".join(chunks)
    return data


def read(data: bytes, step: int) -> tuple[list[Found], list[tuple[int, str]]]:
    """What a reader finds that reads pieces of this size, or as much as it must."""
    offset, wanted, searching = FILE_HEADER_BYTES, 0, False
    found: list[Found] = []
    problems: list[tuple[int, str]] = []
    while offset < len(data):
        piece = data[offset : offset + max(step, wanted)]
        reader = SegmentReader(piece, offset, len(data), CRC, searching)
        while reader.next_block():
            count = 0
            while (message := reader.next_record()) is not None:
                count += 1
                assert reader.first <= reader.index <= reader.last
                flags = reader.flags & ~LIKE
                fields = (reader.index, reader.expires_at, flags, reader.deliveries)
                found.append((*fields, message.address, message.header, message.body))
                assert message.persistent == bool(reader.flags & PERSISTENT)
            assert count == reader.count
        problems += reader.problems
        assert reader.offset > offset or reader.wanted > len(piece)
        offset, wanted, searching = reader.offset, reader.wanted, reader.searching
    assert offset == len(data)
    return found, problems


entries = st.lists(
    st.builds(
        lambda address, header, body, persistent, state, redelivered, expires, deliveries: (
            Message(1, address, 0, header, body, persistent),
            state,
            redelivered,
            expires,
            deliveries,
        ),
        st.sampled_from([b"\0\1a", b"\0\1b"]) | st.binary(max_size=512),
        st.sampled_from([b"one", b"other"]) | st.binary(max_size=60),
        st.binary(max_size=60)
        | st.sampled_from([SEGMENT_BLOCK_BYTES, LARGE_BODY_BYTES, 3 * LARGE_BODY_BYTES]).map(bytes),
        st.booleans(),
        st.sampled_from([VOLATILE, PENDING, WRITTEN]),
        st.booleans(),
        st.integers(0, 2**63 - 1),
        st.integers(0, 32_767),
    ),
    max_size=12,
)


@given(entries, st.sampled_from([1, 50, 1000, 1 << 20]))
def test_what_is_written_is_read(
    parts: list[tuple[Message, int, bool, int, int]], step: int
) -> None:
    written = []
    expected: list[Found] = []
    for number, (message, state, redelivered, expires, deliveries) in enumerate(parts):
        entry = Entry(message, 7, number * 3)
        entry.state, entry.redelivered = state, redelivered
        entry.expires_at, entry.deliveries = expires, deliveries
        written.append(entry)
        flags = (KEPT if state != VOLATILE else 0) | (REDELIVERED if redelivered else 0)
        flags |= PERSISTENT if message.persistent else 0
        fields = (number * 3, expires, flags, deliveries)
        expected.append((*fields, message.address, message.header, message.body))
    found, problems = read(write(written), step)
    assert found == expected
    assert problems == []


@pytest.mark.parametrize("step", [1, 300, 1 << 20])
def test_every_damaged_bit_is_found_and_costs_its_block_only(step: int) -> None:
    data = write([make_entry(index) for index in range(20)])
    whole, _ = read(data, step)
    for position in range(FILE_HEADER_BYTES, len(data)):
        damaged = bytearray(data)
        damaged[position] ^= 1 << position % 8
        found, problems = read(bytes(damaged), step)
        assert len(problems) == 1, position
        assert problems[0][0] <= position
        block = (position - FILE_HEADER_BYTES) * 20 // (len(data) - FILE_HEADER_BYTES) // 5
        assert found == whole[: block * 5] + whole[block * 5 + 5 :], position


def test_a_segment_that_ends_too_soon_is_reported() -> None:
    data = write([make_entry(index) for index in range(10)])
    for size in range(FILE_HEADER_BYTES + 1, len(data)):
        found, problems = read(data[:size], 1 << 20)
        whole = size == FILE_HEADER_BYTES + (len(data) - FILE_HEADER_BYTES) // 2
        assert len(found) == (5 if size >= (len(data) + FILE_HEADER_BYTES) // 2 else 0)
        assert len(problems) == (0 if whole else 1)


def test_a_block_is_closed_when_it_is_large_enough() -> None:
    writer = SegmentWriter()
    writer.begin(CRC)
    for index in range(1000):
        writer.add(make_entry(index, bytes(1000)))
    chunks = writer.take()
    assert max(map(len, chunks)) < SEGMENT_BLOCK_BYTES + 1100
    assert writer.kept == 1000


def test_a_large_body_is_not_copied() -> None:
    writer = SegmentWriter()
    writer.begin(CRC)
    entry = make_entry(0, bytes(LARGE_BODY_BYTES))
    writer.add(entry)
    assert any(chunk is entry.message.body for chunk in writer.take())


def test_the_layout_is_the_drawn_one() -> None:
    entry = Entry(Message(1, b"\0\1k", 0, b"hh", b"bbbb", True), 7, 3)
    entry.expires_at, entry.deliveries, entry.state, entry.redelivered = 5, 2, WRITTEN, True
    again = Entry(Message(1, b"\0\1k", 0, b"hh", b"again", True), 7, 4)
    data = write([entry, again])
    assert data[:8] == b"AMQBSEGM"
    block = data[FILE_HEADER_BYTES:][:SEGMENT_BLOCK_HEADER_BYTES]
    number = b"\0\0\0\0\0\0\0\3"
    assert block[:28] == b"segb" + b"\0\0\0\x44" + b"\0\0\0\2" + number + number[:7] + b"\4"
    record = data[FILE_HEADER_BYTES + SEGMENT_BLOCK_HEADER_BYTES :]
    expected = number + b"\0\0\0\0\0\0\0\5" + b"\0\2" + b"\0\7" + b"\0\0\0\4"
    expected += b"\0\3" + b"\0\0\0\2" + b"\0\1khhbbbb"
    expected += number[:7] + b"\4" + bytes(8) + b"\0\0" + b"\0\x0c" + b"\0\0\0\5" + b"again"
    assert record == expected
    assert segment_name(7, 12) == "queues/7-12.seg"


def test_each_block_says_address_and_header_once_more() -> None:
    entries = [make_entry(index, bytes(1000)) for index in range(100)]
    blocks = write(entries).split(b"segb")[1:]
    name = entries[0].message.address + entries[0].message.header
    assert [block.count(name) for block in blocks] == [1] * len(blocks)
    assert len(blocks) >= 100 // 5


def test_a_client_cannot_plant_blocks() -> None:
    planted = SegmentWriter()
    planted.begin(segment_crc(7, bytes(8)))
    planted.add(make_entry(99, b"evil"))
    data = bytearray(write([make_entry(0, b"".join(planted.take())), make_entry(1)]))
    data[FILE_HEADER_BYTES] ^= 1
    found, problems = read(bytes(data), 1 << 20)
    assert found == []
    assert len(problems) == 1
