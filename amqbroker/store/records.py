"""The bytes of the data folder: file headers, blocks, records; encode and decode.

Journal files (`journal-<number>`) and the definitions snapshot (`definitions`) have one layout.
Integers are big-endian and signed; a CRC is CRC-32 as zlib computes it.

    file    = header, block, block, ...

    header    0      8        12        20      28     32
              +------+--------+---------+-------+------+
              | magic| version| number  | seed  | CRC  |   CRC of the 28 bytes before it
              +------+--------+---------+-------+------+
              magic: "AMQBJRNL" or "AMQBDEFS". number: of the journal file; for a snapshot the
              sequence of the last journal block that it covers. seed: random, so that no client
              can guess a block's CRC.

    block     0        4        8         16      20      24
              +--------+--------+---------+-------+-------+---------+
              | "blok" | length | sequence| CRC   | CRC   | records |
              +--------+--------+---------+-------+-------+---------+
              length and the first CRC: of the records. The second CRC: of the 20 bytes before
              it, continued from the CRC of the file header. sequence: counts the journal's
              blocks across all files, without gaps; a snapshot's own blocks count from 1.

    records   1 MESSAGE      queue i64, index i64, expires at i64, deliveries i16,
                             address length i16, header length i32, body length i32, address,
                             header, body
              2 SAME         queue i64, index i64, expires at i64, deliveries i16: the message
                             before it, in this queue as well
              3 SETTLED      queue i64, count i32, then count times: first i64, last i64
              4 REDELIVERED  the same: these were delivered before
              5 DEFINE       key length i32, value length i32, key, value
              6 UNDEFINE     key length i32, key
              7 STOPPED      a clean stop: the last record of the last file
              8 NEXT_INDEX   queue i64, index i64: what the queue gives next (snapshots only)
              9 NEXT_QUEUE   queue i64: the next queue id that is free (snapshots only)
             10 END          the snapshot is complete (snapshots only)
             11 SEGMENT      queue i64, segment i64, seed, first i64, last i64, from i64, count i64,
                             size i64, bodies i64, expires from i64, expires until i64: what counts
                             of a segment
             12 DELIVERIES   as SETTLED, with index and deliveries in the place of first and last
              each begins with its kind, one byte.

Invariants: records never span blocks, and SAME is in the block of its MESSAGE, so a block is served
whole or not at all. Nothing is ever read from a block whose CRCs do not match. A change of any of
this is a new FORMAT_VERSION.
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
from mypy_extensions import i16, i32, i64, mypyc_attr

from amqbroker.errors import DiskError
from amqbroker.message import Entry, Message
from amqbroker.store.checksum import crc32

FORMAT_VERSION: Final = 3
JOURNAL_MAGIC: Final = b"AMQBJRNL"
SNAPSHOT_MAGIC: Final = b"AMQBDEFS"
BLOCK_MARKER: Final = b"blok"
MAGIC_BYTES: Final = 8
SEED_BYTES: Final = 8
FILE_HEADER_BYTES: Final = 32
BLOCK_HEADER_BYTES: Final = 24

MESSAGE: Final = 1
SAME: Final = 2
SETTLED_RANGES: Final = 3
REDELIVERED_RANGES: Final = 4
DEFINE: Final = 5
UNDEFINE: Final = 6
STOPPED: Final = 7
NEXT_INDEX: Final = 8
NEXT_QUEUE: Final = 9
END: Final = 10
SEGMENT: Final = 11
DELIVERIES: Final = 12

MESSAGE_FIXED_BYTES: Final = 37
SAME_BYTES: Final = 27
NEXT_INDEX_BYTES: Final = 17
SEGMENT_BYTES: Final = 89
RANGES_FIXED_BYTES: Final = 13
RANGE_BYTES: Final = 16
DEFINE_FIXED_BYTES: Final = 9
UNDEFINE_FIXED_BYTES: Final = 5
NEXT_QUEUE_BYTES: Final = 9

# A block is closed at this: copy and CRC stay in the processor's cache, its 24 bytes do not count.
BLOCK_BYTES: Final = 256 * 1024
# A body from this size on is handed to the disk as it is, not copied into the block.
LARGE_BODY_BYTES: Final = 64 * 1024
# Ranges of one record, so that a record always fits a block.
RANGES_PER_RECORD_MAX: Final = 8192
# Deliveries are counted up to here.
DELIVERIES_MAX: Final = 32_767

JOURNAL_PREFIX: Final = "journal-"
NUMBER_END: Final = 1 << 62  # a file with a number from here on is none of ours
SNAPSHOT_NAME: Final = "definitions"
SNAPSHOT_NEW_NAME: Final = "definitions.new"


def journal_name(number: int) -> str:
    """The name of a journal file; names sort as their numbers."""
    return f"{JOURNAL_PREFIX}{number:012d}"


def journal_number(name: str) -> int | None:
    """The number of a journal file, or None if the name is not one."""
    digits = name.removeprefix(JOURNAL_PREFIX)
    number = int(digits) if digits.isascii() and digits.isdigit() else 0
    return number if 0 < number < NUMBER_END and journal_name(number) == name else None


def as_i32(crc: int) -> i32:
    """A CRC as it is stored: the same 32 bits as a signed number."""
    return i32(crc - 0x1_0000_0000 if crc >= 0x8000_0000 else crc)


def as_i16(deliveries: i64) -> i16:
    """A count of deliveries as it is stored: at most 32,767."""
    return i16(deliveries if deliveries < DELIVERIES_MAX else DELIVERIES_MAX)


@final
class SegmentPart:
    """What counts of a segment: messages from index `first` to `last` in its first `size` bytes.

    `count` of them outlive a restart; 0 says that nothing counts any more. Those from `added_from`
    on were in the journal until now. Their bodies have `body_bytes`. They expire not before
    `expires_from`, which is 0 if none of them ever does, and not after `expires_until`, which is 0
    if some of them never do.
    """

    __slots__ = (
        "added_from",
        "body_bytes",
        "count",
        "expires_from",
        "expires_until",
        "first",
        "last",
        "number",
        "queue_id",
        "seed",
        "size",
    )

    def __init__(
        self,
        queue_id: i64,
        number: i64,
        seed: bytes,
        first: i64,
        last: i64,
        added_from: i64,
        count: i64,
        size: i64,
        body_bytes: i64,
        expires_from: i64,
        expires_until: i64,
    ) -> None:
        self.queue_id: i64 = queue_id
        self.number: i64 = number
        self.seed = seed
        self.first: i64 = first
        self.last: i64 = last
        self.added_from: i64 = added_from
        self.count: i64 = count
        self.size: i64 = size
        self.body_bytes: i64 = body_bytes
        self.expires_from: i64 = expires_from
        self.expires_until: i64 = expires_until


def file_header(magic: bytes, number: int, seed: bytes) -> bytes:
    """The first bytes of a file."""
    assert len(magic) == MAGIC_BYTES, magic
    assert len(seed) == SEED_BYTES, seed
    writer = BytesWriter()
    writer.write(magic)
    write_i32_be(writer, FORMAT_VERSION)
    write_i64_be(writer, number)
    writer.write(seed)
    write_i32_be(writer, as_i32(crc32(writer.getvalue())))
    return writer.getvalue()


def header_crc(header: bytes) -> int:
    """What the block CRCs of a file with this header go on from."""
    return crc32(header[: FILE_HEADER_BYTES - 4])


@final
class BlockWriter:
    """Gathers records and gives them back as blocks.

    `begin`, then any records, then `take`. The same writer serves all batches, because its buffer
    stays warm.
    """

    __slots__ = (
        "_blocks",
        "_file_crc",
        "_part_bytes",
        "_parts",
        "_records",
        "chunk_bytes",
        "sequence",
    )

    def __init__(self, sequence: i64) -> None:
        self.sequence: i64 = sequence  # of the last closed block
        self.chunk_bytes: i64 = 0  # of all blocks closed since `begin`
        self._file_crc = 0
        self._records = BytesWriter()  # of the open block, behind `_parts`
        self._parts: list[bytes] = []  # of the open block
        self._part_bytes: i64 = 0
        self._blocks: list[bytes] = []

    def begin(self, file_crc: int) -> None:
        """Start a batch for the file whose header has this CRC."""
        assert self.is_empty(), "records of the batch before were not taken"
        self._file_crc = file_crc
        self.chunk_bytes = 0

    def is_empty(self) -> bool:
        """Has nothing been written since `begin`?"""
        return len(self._records) == 0 and not self._parts and not self._blocks

    def take(self) -> list[bytes]:
        """All blocks since `begin`, as chunks to be written one after the other."""
        self.end_block()
        blocks = self._blocks
        self._blocks = []
        return blocks

    def end_block(self) -> None:
        """What comes next goes into another block."""
        if len(self._records) or self._parts:
            self._close_block()

    def message(self, entry: Entry) -> None:
        """A message and the first queue that it is in."""
        if len(self._records) + self._part_bytes >= BLOCK_BYTES:
            self._close_block()
        writer = self._records
        message = entry.message
        address = message.address
        header = message.header
        body = message.body
        writer.append(MESSAGE)
        write_i64_be(writer, entry.queue_id)
        write_i64_be(writer, entry.index)
        write_i64_be(writer, entry.expires_at)
        write_i16_be(writer, as_i16(entry.deliveries))
        write_i16_be(writer, i16(len(address)))
        write_i32_be(writer, i32(len(header)))
        write_i32_be(writer, i32(len(body)))
        writer.write(address)
        writer.write(header)
        if len(body) < LARGE_BODY_BYTES:
            writer.write(body)
        else:
            self._close_part()
            self._parts.append(body)
            self._part_bytes += len(body)

    def same(self, entry: Entry) -> None:
        """One more queue for the message that was written last."""
        writer = self._records
        writer.append(SAME)
        write_i64_be(writer, entry.queue_id)
        write_i64_be(writer, entry.index)
        write_i64_be(writer, entry.expires_at)
        write_i16_be(writer, as_i16(entry.deliveries))

    def ranges(self, kind: int, queue_id: i64, ranges: list[tuple[int, int]]) -> None:
        """Ranges (first index, last index) of one queue that were settled, or delivered before; or
        indexes with their deliveries."""
        for start in range(0, len(ranges), RANGES_PER_RECORD_MAX):
            part = ranges[start : start + RANGES_PER_RECORD_MAX]
            self._begin_record(kind)
            writer = self._records
            write_i64_be(writer, queue_id)
            write_i32_be(writer, i32(len(part)))
            for first, last in part:
                write_i64_be(writer, first)
                write_i64_be(writer, last)

    def define(self, key: bytes, value: bytes) -> None:
        """A definition that is made or replaced."""
        self._begin_record(DEFINE)
        writer = self._records
        write_i32_be(writer, i32(len(key)))
        write_i32_be(writer, i32(len(value)))
        writer.write(key)
        writer.write(value)

    def undefine(self, key: bytes) -> None:
        """A definition that is gone."""
        self._begin_record(UNDEFINE)
        write_i32_be(self._records, i32(len(key)))
        self._records.write(key)

    def stopped(self) -> None:
        """The node stops cleanly: nothing follows."""
        self._begin_record(STOPPED)

    def next_index(self, queue_id: i64, index: i64) -> None:
        """The index that the queue gives next."""
        self._begin_record(NEXT_INDEX)
        write_i64_be(self._records, queue_id)
        write_i64_be(self._records, index)

    def next_queue(self, queue_id: i64) -> None:
        """The queue id that is given next."""
        self._begin_record(NEXT_QUEUE)
        write_i64_be(self._records, queue_id)

    def end(self) -> None:
        """The snapshot is complete."""
        self._begin_record(END)

    def segment(self, part: SegmentPart) -> None:
        """What counts of a segment now."""
        self._begin_record(SEGMENT)
        writer = self._records
        write_i64_be(writer, part.queue_id)
        write_i64_be(writer, part.number)
        writer.write(part.seed)
        write_i64_be(writer, part.first)
        write_i64_be(writer, part.last)
        write_i64_be(writer, part.added_from)
        write_i64_be(writer, part.count)
        write_i64_be(writer, part.size)
        write_i64_be(writer, part.body_bytes)
        write_i64_be(writer, part.expires_from)
        write_i64_be(writer, part.expires_until)

    def _begin_record(self, kind: int) -> None:
        if len(self._records) + self._part_bytes >= BLOCK_BYTES:
            self._close_block()
        self._records.append(kind)

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
        self.sequence += 1
        writer = BytesWriter()
        writer.write(BLOCK_MARKER)
        write_i32_be(writer, i32(self._part_bytes))
        write_i64_be(writer, self.sequence)
        write_i32_be(writer, as_i32(crc))
        write_i32_be(writer, as_i32(crc32(writer.getvalue(), self._file_crc)))
        self._blocks.append(writer.getvalue())
        self._blocks.extend(self._parts)
        self.chunk_bytes += BLOCK_HEADER_BYTES + self._part_bytes
        self._parts = []
        self._part_bytes = 0


class RecordError(Exception):
    """A record inside a sound block cannot be read: another program wrote it, or ours is wrong."""

    def __init__(self, offset: int, what: str) -> None:
        super().__init__(offset, what)
        self.offset = offset
        self.what = what


@mypyc_attr(allow_interpreted_subclasses=True)
class RecordVisitor:
    """Is told what `read_records` finds, in order. A method does nothing unless overridden."""

    __slots__ = ()

    def on_message(self, queue_id: i64, index: i64, record_at: i64, message_at: i64) -> None:
        """A message in a queue. `read_message` and `read_entry` decode it from these offsets."""

    def on_settled(self, queue_id: i64, first: i64, last: i64) -> None:
        """These indexes of the queue are settled."""

    def on_redelivered(self, queue_id: i64, first: i64, last: i64) -> None:
        """These indexes of the queue were delivered before."""

    def on_deliveries(self, queue_id: i64, index: i64, deliveries: i64) -> None:
        """This message of the queue came back so often."""

    def on_define(self, key: bytes, value: bytes) -> None:
        """A definition is made or replaced."""

    def on_undefine(self, key: bytes) -> None:
        """A definition is gone."""

    def on_stopped(self) -> None:
        """The node stopped cleanly."""

    def on_next_index(self, queue_id: i64, index: i64) -> None:
        """Snapshot: the queue gives this index next."""

    def on_next_queue(self, queue_id: i64) -> None:
        """Snapshot: this queue id is free, and so are all above it."""

    def on_end(self) -> None:
        """Snapshot: it is complete."""

    def on_segment(self, part: SegmentPart) -> None:
        """What counts of a segment."""


def read_records(data: bytes, start: i64, end: i64, visitor: RecordVisitor) -> None:
    """Tell the visitor of every record of a block. Raises RecordError where one cannot be read."""
    offset = start
    message_at: i64 = -1
    while offset < end:
        kind: i64 = data[offset]
        if kind == MESSAGE:
            _need(offset, MESSAGE_FIXED_BYTES, end)
            size = (
                MESSAGE_FIXED_BYTES
                + i64(read_i16_be(data, offset + 27))
                + i64(read_i32_be(data, offset + 29))
                + i64(read_i32_be(data, offset + 33))
            )
            _need(offset, size, end)
            if size < MESSAGE_FIXED_BYTES:
                raise RecordError(offset, f"a message of {size} bytes")
            message_at = offset
            visitor.on_message(
                read_i64_be(data, offset + 1), read_i64_be(data, offset + 9), offset, offset
            )
            offset += size
        elif kind == SAME:
            _need(offset, SAME_BYTES, end)
            if message_at < 0:
                raise RecordError(offset, "a SAME record without a message before it")
            visitor.on_message(
                read_i64_be(data, offset + 1), read_i64_be(data, offset + 9), offset, message_at
            )
            offset += SAME_BYTES
        elif kind in (SETTLED_RANGES, REDELIVERED_RANGES, DELIVERIES):
            offset = _read_ranges(data, offset, end, visitor)
        else:
            offset = _read_rare(data, offset, end, visitor)


def read_message(data: bytes, offset: i64) -> Message:
    """The message of a sound MESSAGE record."""
    address_at = offset + MESSAGE_FIXED_BYTES
    header_at = address_at + i64(read_i16_be(data, offset + 27))
    body_at = header_at + i64(read_i32_be(data, offset + 29))
    body_end = body_at + i64(read_i32_be(data, offset + 33))
    return Message(
        0, data[address_at:header_at], 0, data[header_at:body_at], data[body_at:body_end], True
    )


def read_entry(data: bytes, offset: i64, message: Message) -> Entry:
    """The entry of a sound MESSAGE or SAME record."""
    entry = Entry(message, read_i64_be(data, offset + 1), read_i64_be(data, offset + 9))
    entry.expires_at = read_i64_be(data, offset + 17)
    entry.deliveries = i64(read_i16_be(data, offset + 25))
    return entry


def _need(offset: i64, size: i64, end: i64) -> None:
    if size < 0 or size > end - offset:
        raise RecordError(offset, f"a record of {size} bytes where {end - offset} are left")


def _read_ranges(data: bytes, offset: i64, end: i64, visitor: RecordVisitor) -> i64:
    _need(offset, RANGES_FIXED_BYTES, end)
    queue_id = read_i64_be(data, offset + 1)
    count = i64(read_i32_be(data, offset + 9))
    next_offset = offset + RANGES_FIXED_BYTES + count * RANGE_BYTES
    _need(offset, next_offset - offset, end)
    kind: i64 = data[offset]
    at = offset + RANGES_FIXED_BYTES
    while at < next_offset:
        first = read_i64_be(data, at)
        last = read_i64_be(data, at + 8)
        if kind == SETTLED_RANGES:
            visitor.on_settled(queue_id, first, last)
        elif kind == DELIVERIES:
            visitor.on_deliveries(queue_id, first, last)
        else:
            visitor.on_redelivered(queue_id, first, last)
        at += RANGE_BYTES
    return next_offset


def _read_rare(data: bytes, offset: i64, end: i64, visitor: RecordVisitor) -> i64:
    kind: i64 = data[offset]
    if kind == DEFINE:
        _need(offset, DEFINE_FIXED_BYTES, end)
        key_end = offset + DEFINE_FIXED_BYTES + i64(read_i32_be(data, offset + 1))
        value_end = key_end + i64(read_i32_be(data, offset + 5))
        _need(offset, value_end - offset, end)
        visitor.on_define(data[offset + DEFINE_FIXED_BYTES : key_end], data[key_end:value_end])
        return value_end
    if kind == UNDEFINE:
        _need(offset, UNDEFINE_FIXED_BYTES, end)
        key_end = offset + UNDEFINE_FIXED_BYTES + i64(read_i32_be(data, offset + 1))
        _need(offset, key_end - offset, end)
        visitor.on_undefine(data[offset + UNDEFINE_FIXED_BYTES : key_end])
        return key_end
    if kind == NEXT_INDEX:
        _need(offset, NEXT_INDEX_BYTES, end)
        visitor.on_next_index(read_i64_be(data, offset + 1), read_i64_be(data, offset + 9))
        return offset + NEXT_INDEX_BYTES
    if kind == SEGMENT:
        _need(offset, SEGMENT_BYTES, end)
        visitor.on_segment(_read_segment(data, offset))
        return offset + SEGMENT_BYTES
    if kind == NEXT_QUEUE:
        _need(offset, NEXT_QUEUE_BYTES, end)
        visitor.on_next_queue(read_i64_be(data, offset + 1))
        return offset + NEXT_QUEUE_BYTES
    if kind == STOPPED:
        visitor.on_stopped()
    elif kind == END:
        visitor.on_end()
    else:
        raise RecordError(offset, f"a record of unknown kind {kind}")
    return offset + 1


def _read_segment(data: bytes, offset: i64) -> SegmentPart:
    return SegmentPart(
        read_i64_be(data, offset + 1),
        read_i64_be(data, offset + 9),
        data[offset + 17 : offset + 25],
        read_i64_be(data, offset + 25),
        read_i64_be(data, offset + 33),
        read_i64_be(data, offset + 41),
        read_i64_be(data, offset + 49),
        read_i64_be(data, offset + 57),
        read_i64_be(data, offset + 65),
        read_i64_be(data, offset + 73),
        read_i64_be(data, offset + 81),
    )


@final
class FileHeader:
    """A sound file header: `crc` is what the block CRCs go on from."""

    __slots__ = ("crc", "number")

    def __init__(self, number: i64, crc: int) -> None:
        self.number: i64 = number
        self.crc = crc


def read_file_header(name: str, data: bytes, magic: bytes) -> FileHeader | None:
    """The header of a file, None if it is damaged. Raises DiskError if its format is another."""
    if len(data) < FILE_HEADER_BYTES or data[:MAGIC_BYTES] != magic:
        return None
    crc = header_crc(data)
    if read_i32_be(data, FILE_HEADER_BYTES - 4) != as_i32(crc):
        return None
    version = read_i32_be(data, MAGIC_BYTES)
    if version > FORMAT_VERSION:
        raise DiskError(
            f"{name} has format version {version}, this program reads versions up to"
            f" {FORMAT_VERSION}: start the newer program"
        )
    if version < FORMAT_VERSION:
        raise DiskError(
            f"{name} has format version {version}, from before the first release; this program"
            f" reads version {FORMAT_VERSION}: drain the queues with the older program, and start"
            " with an empty data folder"
        )
    return FileHeader(read_i64_be(data, MAGIC_BYTES + 4), crc)


def guess_header_crc(data: bytes, magic: bytes, number: int) -> int | None:
    """What the blocks' CRCs of a file with a damaged header go on from, if its first block says so.

    Either the header's CRC is sound, or the damage is in what is known anyway.
    """
    if len(data) < FILE_HEADER_BYTES + BLOCK_HEADER_BYTES:
        return None
    stored: i64 = i64(read_i32_be(data, FILE_HEADER_BYTES - 4))
    rebuilt = file_header(magic, number, data[MAGIC_BYTES + 12 : FILE_HEADER_BYTES - 4])
    for crc in (stored & 0xFFFF_FFFF, header_crc(rebuilt)):
        if _block_header_is_sound(data, FILE_HEADER_BYTES, crc):
            return crc
    return None


def _block_header_is_sound(data: bytes, offset: i64, file_crc: int) -> bool:
    crc = crc32(data[offset : offset + BLOCK_HEADER_BYTES - 4], file_crc)
    return read_i32_be(data, offset + BLOCK_HEADER_BYTES - 4) == as_i32(crc)


@final
class BlockReader:
    """Walks through the blocks of a file: while `next()`, the records are at `start` to `end`.

    Bytes that are no sound block are stepped over to the next sound one and noted in `damage`
    (offset, what). Where no sound block follows them they are the `tail`: torn by a crash, if this
    is the last file. `tail` is -1 if there is none.
    """

    __slots__ = (
        "_data",
        "_file_crc",
        "_offset",
        "damage",
        "end",
        "sequence",
        "start",
        "tail",
        "tail_what",
    )

    def __init__(self, data: bytes, file_crc: int) -> None:
        self.start: i64 = 0
        self.end: i64 = 0
        self.sequence: i64 = 0
        self.damage: list[tuple[int, str]] = []
        self.tail: i64 = -1
        self.tail_what = ""
        self._data = data
        self._file_crc = file_crc
        self._offset: i64 = FILE_HEADER_BYTES

    def next(self) -> bool:
        """Go to the next sound block."""
        size: i64 = len(self._data)
        while self._offset < size:
            offset = self._offset
            if not self._header_is_sound(offset):
                what = "the header of a block is damaged"
                search_from = offset + 1
            else:
                search_from = offset + BLOCK_HEADER_BYTES + i64(read_i32_be(self._data, offset + 4))
                if search_from > size:
                    what = "a block is incomplete"
                elif not self._records_are_sound(offset, search_from):
                    what = "the records of a block are damaged"
                else:
                    self.sequence = read_i64_be(self._data, offset + 8)
                    self.start = offset + BLOCK_HEADER_BYTES
                    self.end = search_from
                    self._offset = search_from
                    return True
            following = self._find(search_from)
            if following < 0:
                self.tail = offset
                self.tail_what = what
                self._offset = size
            else:
                self.damage.append((offset, what))
                self._offset = following
        return False

    def _header_is_sound(self, offset: i64) -> bool:
        data = self._data
        if offset + BLOCK_HEADER_BYTES > len(data) or data[offset : offset + 4] != BLOCK_MARKER:
            return False
        if not _block_header_is_sound(data, offset, self._file_crc):
            return False
        # A block that is behind the last one was not written there.
        return read_i32_be(data, offset + 4) >= 0 and read_i64_be(data, offset + 8) > self.sequence

    def _records_are_sound(self, offset: i64, end: i64) -> bool:
        crc = crc32(memoryview(self._data)[offset + BLOCK_HEADER_BYTES : end])
        return read_i32_be(self._data, offset + 16) == as_i32(crc)

    def _find(self, offset: i64) -> i64:
        """The first sound block header from this offset on, or -1."""
        found: i64 = self._data.find(BLOCK_MARKER, offset)
        while found >= 0:
            if self._header_is_sound(found):
                return found
            found = self._data.find(BLOCK_MARKER, found + 1)
        return -1
