"""The bytes of a segment: messages of one queue that wait on disk; encode and decode.

A segment is `queues/<queue id>-<segment number>.seg`. Integers are big-endian and signed, a CRC is
CRC-32 as zlib computes it.

    file      = header, block, block, ...
    header    as in records.py: magic "AMQBSEGM", the number is the queue's id, and the seed is
              random, so that no client can guess a block's CRC

    block     0        4        8       12      20     28       32      36
              +--------+--------+-------+-------+------+--------+-------+---------+
              | "segb" | length | count | first | last | CRC    | CRC   | records |
              +--------+--------+-------+-------+------+--------+-------+---------+
              length and the first CRC: of the records. count: of the records, i32; first and last:
              their indexes. The second CRC: of the 32 bytes before it, continued from the CRC of
              the file header.

    record    0       8            16           18      20     24       26       30
              +-------+------------+------------+-------+------+--------+--------+---------
              | index | expires at | deliveries | flags | body | address| header | bytes...
              +-------+------------+------------+-------+------+--------+--------+---------
              expires at: i64, milliseconds of wall time, 0 for never. deliveries: i16. flags, i16:
              KEPT (it outlives a restart), REDELIVERED, PERSISTENT (its delivery mode is 2), LIKE
              (address and header are those of the record before in this block: it has none, and no
              lengths of them, so that the body begins at 24). Lengths: i32 of body and header, i16
              of the address. Then the bytes of address, header and body.

Invariants: indexes only grow in a segment. A block is served whole or not at all. How much of a
segment counts is not said by the segment, but by the journal (backlog.py): bytes behind that are of
a write that was never promised.
"""

from __future__ import annotations

from typing import Final, final

from librt.strings import (
    BytesWriter,
    read_i16_be,
    read_i32_be,
    read_i64_be,
    write_i16_be,
    write_i32_be,
    write_i64_be,
)
from mypy_extensions import i16, i32, i64

from amqbroker.message import PENDING, WRITTEN, Entry, Message
from amqbroker.store.checksum import crc32
from amqbroker.store.records import as_i16, as_i32, file_header, header_crc

SEGMENT_MAGIC: Final = b"AMQBSEGM"
SEGMENT_MARKER: Final = b"segb"
SEGMENTS_FOLDER: Final = "queues"
SEGMENT_SUFFIX: Final = ".seg"
SEGMENT_BLOCK_HEADER_BYTES: Final = 36
# Of a record, with the lengths of address and header, and without.
RECORD_FIXED_BYTES: Final = 30
LIKE_FIXED_BYTES: Final = 24

KEPT: Final = 1
REDELIVERED: Final = 2
PERSISTENT: Final = 4
LIKE: Final = 8

# Where deliveries and flags are among the eight bytes that a record has from 16 on.
DELIVERIES_SHIFT: Final = 48
FLAGS_SHIFT: Final = 32
FLAGS_MASK: Final = 0xFFFF
BODY_MASK: Final = 0x7FFF_FFFF

# What is lost with one damaged bit, and small enough that copy and CRC stay in the cache.
SEGMENT_BLOCK_BYTES: Final = 32 * 1024
# A body from this size on is handed to the disk as it is.
LARGE_BODY_BYTES: Final = 64 * 1024


def segment_name(queue_id: int, number: int) -> str:
    """The name of a segment in the data folder."""
    return f"{SEGMENTS_FOLDER}/{queue_id}-{number}{SEGMENT_SUFFIX}"


def segment_header(queue_id: int, seed: bytes) -> bytes:
    """The first bytes of a segment."""
    return file_header(SEGMENT_MAGIC, queue_id, seed)


def segment_crc(queue_id: int, seed: bytes) -> int:
    """What the CRCs of a segment's block headers go on from."""
    return header_crc(segment_header(queue_id, seed))


@final
class SegmentWriter:
    """Turns entries into blocks: `begin`, `add` in index order, `take`. One serves all segments."""

    __slots__ = (
        "_address",
        "_blocks",
        "_count",
        "_file_crc",
        "_first",
        "_header",
        "_last",
        "_part_bytes",
        "_parts",
        "_records",
        "block_firsts",
        "block_offsets",
        "body_bytes",
        "expires_from",
        "expires_until",
        "kept",
        "kept_body_bytes",
        "size",
    )

    def __init__(self) -> None:
        # The first index of each block since `begin`, and where it begins.
        self.block_firsts: list[int] = []
        self.block_offsets: list[int] = []
        self.size: i64 = 0  # of all closed blocks since `begin`
        self.kept: i64 = 0  # messages since `begin` that outlive a restart
        # All bodies since `begin`, and those of messages that outlive a restart.
        self.body_bytes: i64 = 0
        self.kept_body_bytes: i64 = 0
        # The first deadline since `begin`, 0 for none; the last one, 0 if not all have one.
        self.expires_from: i64 = 0
        self.expires_until: i64 = 0
        self._file_crc = 0
        self._records = BytesWriter()  # of the open block, behind `_parts`
        self._parts: list[bytes] = []
        self._part_bytes: i64 = 0
        self._count: i64 = 0
        self._first: i64 = 0
        self._last: i64 = 0
        # Of the record before.
        self._address = b""
        self._header = b""
        self._blocks: list[bytes] = []

    def begin(self, file_crc: int) -> None:
        """Start on what is appended to one segment."""
        assert not self._blocks, "the entries before were not taken"
        self._file_crc = file_crc
        self.block_firsts = []
        self.block_offsets = []
        self.size = 0
        self.kept = 0
        self.body_bytes = 0
        self.kept_body_bytes = 0
        self.expires_from = 0
        self.expires_until = -1

    def add(self, entry: Entry) -> None:
        """One message. Its state says whether it outlives a restart."""
        writer = self._records
        message = entry.message
        address = message.address
        header = message.header
        body = message.body
        state = entry.state
        flags: i64 = 0
        if state in (WRITTEN, PENDING):
            flags = KEPT
            self.kept += 1
            self.kept_body_bytes += len(body)
        self.body_bytes += len(body)
        self._note_expiry(entry.expires_at)
        if entry.redelivered:
            flags |= REDELIVERED
        if message.persistent:
            flags |= PERSISTENT
        if self._count == 0:
            self._first = entry.index
        elif header == self._header and address == self._address:
            flags |= LIKE
        self._count += 1
        self._last = entry.index
        write_i64_be(writer, entry.index)
        write_i64_be(writer, entry.expires_at)
        write_i64_be(
            writer,
            i64(as_i16(entry.deliveries)) << DELIVERIES_SHIFT | flags << FLAGS_SHIFT | len(body),
        )
        if flags & LIKE == 0:
            write_i16_be(writer, i16(len(address)))
            write_i32_be(writer, i32(len(header)))
            writer.write(address)
            writer.write(header)
            self._address = address
            self._header = header
        if len(body) < LARGE_BODY_BYTES:
            writer.write(body)
            if len(writer) >= SEGMENT_BLOCK_BYTES:
                self._close_block()
        else:
            self._close_part()
            self._parts.append(body)
            self._part_bytes += len(body)
            self._close_block()

    def _note_expiry(self, expires_at: i64) -> None:
        if expires_at == 0:
            self.expires_until = 0
            return
        if self.expires_from == 0 or expires_at < self.expires_from:
            self.expires_from = expires_at
        if self.expires_until != 0 and expires_at > self.expires_until:
            self.expires_until = expires_at

    def take(self) -> list[bytes]:
        """All blocks since `begin`, as chunks to be written one after the other."""
        if self._count:
            self._close_block()
        blocks = self._blocks
        self._blocks = []
        return blocks

    def _close_part(self) -> None:
        part = self._records.getvalue()
        self._records.truncate(0)
        self._parts.append(part)
        self._part_bytes += len(part)

    def _close_block(self) -> None:
        if len(self._records):
            self._close_part()
        crc = 0
        for part in self._parts:
            crc = crc32(part, crc)
        writer = BytesWriter()
        writer.write(SEGMENT_MARKER)
        write_i32_be(writer, i32(self._part_bytes))
        write_i32_be(writer, i32(self._count))
        write_i64_be(writer, self._first)
        write_i64_be(writer, self._last)
        write_i32_be(writer, as_i32(crc))
        write_i32_be(writer, as_i32(crc32(writer.getvalue(), self._file_crc)))
        self._blocks.append(writer.getvalue())
        self._blocks.extend(self._parts)
        self.block_firsts.append(self._first)
        self.block_offsets.append(self.size)
        self.size += SEGMENT_BLOCK_HEADER_BYTES + self._part_bytes
        self._parts = []
        self._part_bytes = 0
        self._count = 0


@final
class SegmentReader:
    """Walks through a piece of a segment: while `next_block()`, while `next_record()`.

    `data` was read at offset `base`; the segment counts up to `end`. When `next_block` is false,
    the next piece is to be read from `offset` on and must have `wanted` bytes at least; `offset` is
    `end` if there is none. Damage is noted in `problems` (offset, what) and stepped over to the
    next sound block; `searching` says that this search goes on in the next piece.
    """

    __slots__ = (
        "_address",
        "_at",
        "_base",
        "_block_end",
        "_data",
        "_end",
        "_file_crc",
        "_header",
        "_next_record",
        "count",
        "deliveries",
        "expires_at",
        "first",
        "flags",
        "index",
        "last",
        "offset",
        "problems",
        "searching",
        "wanted",
    )

    def __init__(
        self, data: bytes, base: i64, end: i64, file_crc: int, searching: bool = False
    ) -> None:
        self._data = data
        self._base: i64 = base
        self._end: i64 = end
        self._file_crc = file_crc
        self._at: i64 = 0  # of the next block in `data`
        self._block_end: i64 = 0
        self._next_record: i64 = 0
        # Of the record before. Most publishers say the same in each message: they share one object.
        self._address = b""
        self._header = b""
        self.searching = searching
        self.problems: list[tuple[int, str]] = []
        self.offset: i64 = base
        self.wanted: i64 = 0
        # Of the block.
        self.count: i64 = 0
        self.first: i64 = -1
        self.last: i64 = -1
        # Of the record that `next_record` decodes.
        self.index: i64 = 0
        self.expires_at: i64 = 0
        self.flags: i64 = 0
        self.deliveries: i64 = 0

    def next_block(self) -> bool:
        """Go to the next sound block."""
        data = self._data
        size: i64 = len(data)
        while True:
            at = self._at
            self.offset = self._base + at
            if self.offset >= self._end:
                self.offset = self._end
                return False
            if at + SEGMENT_BLOCK_HEADER_BYTES > size:
                return self._stop(SEGMENT_BLOCK_HEADER_BYTES)
            if not self._header_is_sound(at):
                if not self._find(at):
                    return False
                continue
            self.searching = False
            start = at + SEGMENT_BLOCK_HEADER_BYTES
            end = start + i64(read_i32_be(data, at + 4))
            if end > size:
                return self._stop(end - at)
            self._at = end
            self.offset = self._base + end
            self.count = i64(read_i32_be(data, at + 8))
            self.first = read_i64_be(data, at + 12)
            self.last = read_i64_be(data, at + 20)
            if read_i32_be(data, at + 28) != as_i32(crc32(memoryview(data)[start:end])):
                what = f"a block of {self.count} messages is damaged"
                self.problems.append((self._base + at, what))
                continue
            self._next_record = start
            self._block_end = end
            return True

    def next_record(self) -> Message | None:
        """The next message of the block, and its fields; None after the last."""
        at = self._next_record
        if at >= self._block_end:
            return None
        data = self._data
        self.index = read_i64_be(data, at)
        self.expires_at = read_i64_be(data, at + 8)
        rest = read_i64_be(data, at + 16)
        flags = rest >> FLAGS_SHIFT & FLAGS_MASK
        self.flags = flags
        self.deliveries = rest >> DELIVERIES_SHIFT
        body_at = at + LIKE_FIXED_BYTES
        if flags & LIKE == 0:
            body_at = self._read_address(data, at)
        end = body_at + (rest & BODY_MASK)
        assert end <= self._block_end, (self._base + at, end, self._block_end)
        self._next_record = end
        return Message(
            0, self._address, 0, self._header, data[body_at:end], flags & PERSISTENT != 0
        )

    def _read_address(self, data: bytes, at: i64) -> i64:
        """Address and header of the record there; where its body begins."""
        header_at = at + RECORD_FIXED_BYTES + i64(read_i16_be(data, at + LIKE_FIXED_BYTES))
        body_at = header_at + i64(read_i32_be(data, at + LIKE_FIXED_BYTES + 2))
        self._address = data[at + RECORD_FIXED_BYTES : header_at]
        self._header = data[header_at:body_at]
        return body_at

    def _stop(self, wanted: i64) -> bool:
        """The block goes on behind this piece; if nothing is there, it was cut."""
        if self.offset + wanted > self._end:
            if not self.searching:
                self.problems.append((self.offset, "a block is incomplete"))
            self.offset = self._end
        self.wanted = wanted
        return False

    def _find(self, at: i64) -> bool:
        """Step over bytes that are no block; False if none begins in this piece."""
        if not self.searching:
            self.problems.append((self._base + at, "the header of a block is damaged"))
            self.searching = True
        found: i64 = self._data.find(SEGMENT_MARKER, at + 1)
        while found >= 0:
            if found + SEGMENT_BLOCK_HEADER_BYTES > len(self._data) or self._header_is_sound(found):
                self._at = found
                return True
            found = self._data.find(SEGMENT_MARKER, found + 1)
        self._at = max(at + 1, len(self._data) - len(SEGMENT_MARKER) + 1)
        self.offset = min(self._base + self._at, self._end)
        self.wanted = SEGMENT_BLOCK_HEADER_BYTES
        return False

    def _header_is_sound(self, at: i64) -> bool:
        data = self._data
        if data[at : at + 4] != SEGMENT_MARKER:
            return False
        crc = crc32(data[at : at + SEGMENT_BLOCK_HEADER_BYTES - 4], self._file_crc)
        return read_i32_be(data, at + SEGMENT_BLOCK_HEADER_BYTES - 4) == as_i32(crc)
