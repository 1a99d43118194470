"""What a queue has in segments, what of it is settled, and where reading goes on.

No segment is ever searched for: the journal records what counts of each (SEGMENT), its snapshot
names all that are left, and a file that nothing names is removed at a start. So a start reads no
segment, however long the backlog is.

    appended ──> in flight ──> readable ──> read ──> settled ──> the file goes
                 (a batch)     (synced)     (in memory again)

Invariants:
- Segments are in index order, and reading goes through them in that order.
- Every message of the queue with an index between `first` and `last` of a segment that outlives a
  restart is in this segment. A queue that has read all its segments may hand out what it has in
  memory: from then on it begins a new segment.
- A segment that was there at the start is never appended to.
- A file goes when all in it was read and nothing in it lives, after the batch that says so is
  synced.

Messages that were read may be given back as soon as they are ready again: they are read once more,
before what was never read. Messages that came back, or are out for delivery, and are in no segment
get segments of their own, in between. What is out for delivery needs no memory as long as its
segment is there.

`unread` counts exactly what is ready on disk: messages that were damaged are found missing at the
end of their segment. `unread_bytes` are those of their bodies; of a segment that was settled in
part before a start they are an estimate until the segment is read to its end.
"""

from __future__ import annotations

from typing import Final, final

from mypy_extensions import i64

from amqbroker.message import Entry
from amqbroker.store.ranges import Ranges
from amqbroker.store.records import FILE_HEADER_BYTES
from amqbroker.store.segment import Segment, holes_between
from amqbroker.store.segment_outbox import SegmentOutbox, SegmentWrite
from amqbroker.store.segments import (
    KEPT,
    SegmentReader,
    SegmentWriter,
    segment_header,
)

INDEX_MAX: Final = (1 << 62) - 1


@final
class SegmentPiece:
    """Bytes of a segment that are to be read."""

    __slots__ = ("generation", "length", "name", "offset")

    def __init__(self, name: str, offset: i64, length: i64, generation: i64) -> None:
        self.name = name
        self.offset: i64 = offset
        self.length: i64 = length
        self.generation: i64 = generation


@final
class Backlog:
    """The segments of one queue."""

    __slots__ = (
        "_at",
        "_next_number",
        "_offset",
        "_open",
        "_outbox",
        "_read_length",
        "_reading",
        "_rereads",
        "_searching",
        "_wanted",
        "dropped",
        "generation",
        "is_cut_up",
        "is_reading",
        "next_index",
        "queue_id",
        "redelivered",
        "segments",
        "unread",
        "unread_bytes",
        "wanted_flags",
    )

    def __init__(self, queue_id: i64, outbox: SegmentOutbox) -> None:
        self.queue_id: i64 = queue_id
        self.segments: list[Segment] = []
        self.unread: i64 = 0
        self.unread_bytes: i64 = 0
        # Every message that is not read yet has at least this index.
        self.next_index: i64 = 0
        # Of what was there at the start: had been delivered before.
        self.redelivered = Ranges()
        # Grows when reads that are under way are not wanted any more.
        self.generation: i64 = 0
        self.is_reading = False
        self._outbox = outbox
        self._next_number: i64 = 1
        self._open: Segment | None = None
        # Given back and then dropped: these are to be settled by who has the log.
        self.dropped: list[tuple[int, int]] = []
        # Where reading goes on: in the segment at place `_at`, from `_offset`; `_rereads` says that
        # it is among what was read before.
        self._rereads = False
        self._at: i64 = 0
        self._offset: i64 = FILE_HEADER_BYTES
        self._wanted: i64 = 0
        self._searching = False
        self._reading: Segment | None = None
        # Of the block that is being read: see `wants_block`.
        self.wanted_flags: i64 = 0
        self.is_cut_up = False
        self._read_length: i64 = 0

    def recover(self, segments: list[Segment], redelivered: Ranges, next_number: i64) -> None:
        """Take over what a start found, oldest first."""
        self._next_number = next_number
        for segment in segments:
            segment.recovered = True
            segment.settled_before = segment.settled.total
            segment.readable = segment.size
            segment.unread = segment.live()
            segment.unread_bytes = segment.body_bytes * segment.unread // segment.count
            self.unread += segment.unread
            self.unread_bytes += segment.unread_bytes
        self.segments = segments
        self.redelivered = redelivered
        self._begin_segment()

    # Writing.

    def append(self, writer: SegmentWriter, entries: list[Entry]) -> None:
        """Leave these entries, in index order, for the next batch."""
        segment = self._open
        if segment is None:
            segment = self._new_segment(entries[0].index)
            if self.unread == 0:
                self.next_index = segment.first
            self.segments.append(segment)
            self._open = segment
        self._write(writer, segment, entries, [])
        outbox = self._outbox
        if segment.size >= outbox.size_max or segment.messages >= outbox.messages_max:
            self._open = None

    def insert(self, writer: SegmentWriter, entries: list[Entry]) -> list[tuple[int, int]]:
        """Leave these entries, in index order, for the next batch, in a segment of their own.

        They come before others; no segment, and nothing else that is still there, has an index
        between their first and their last. Which of these indexes are to be settled once more.
        """
        segment = self._new_segment(entries[0].index)
        place = self._place(segment.first)
        self.segments.insert(place, segment)
        holes = holes_between(entries)
        self._write(writer, segment, entries, holes)
        if place <= self._at:
            self._at = place
            self._begin_anew()
        return holes

    def insert_out(self, writer: SegmentWriter, entries: list[Entry]) -> list[tuple[int, int]]:
        """The same for entries that are out for delivery: nobody reads them for now."""
        self._open = None
        segment = self._new_segment(entries[0].index)
        place = self._place(segment.first)
        self.segments.insert(place, segment)
        holes = holes_between(entries)
        self._write(writer, segment, entries, holes)
        self.unread -= segment.unread
        self.unread_bytes -= segment.unread_bytes
        segment.hand_out(writer)
        if place <= self._at:
            self._at += 1
        # To settle anything in a segment of which nothing is kept would let it go.
        return holes if segment.count > 0 else []

    def gap(self, index: i64) -> i64:
        """The first index behind this one that is in a segment, or this one if that is; a large one
        if there is none."""
        place = self._place(index)
        if place == len(self.segments):
            return INDEX_MAX
        return max(index, self.segments[place].first)

    def _new_segment(self, first: i64) -> Segment:
        segment = Segment(self.queue_id, self._next_number, self._outbox.seed, first)
        self._next_number += 1
        return segment

    def _write(
        self,
        writer: SegmentWriter,
        segment: Segment,
        entries: list[Entry],
        holes: list[tuple[int, int]],
    ) -> None:
        """Leave these for the next batch, at the end of this segment."""
        offset = segment.size
        writer.begin(segment.crc)
        for entry in entries:
            writer.add(entry)
        chunks = writer.take()
        kept = writer.kept
        if offset == 0:
            chunks.insert(0, segment_header(self.queue_id, segment.seed))
            segment.size += FILE_HEADER_BYTES
        segment.last = entries[-1].index
        segment.grow(writer, len(entries))
        if kept > 0 and holes:
            segment.punch(holes)
        self.unread += len(entries)
        self.unread_bytes += writer.body_bytes
        outbox = self._outbox
        outbox.writes.append(SegmentWrite(segment.name, offset, chunks, kept > 0))
        outbox.appended.append(segment)
        if kept > 0:
            outbox.parts.append(segment.part(entries[0].index))

    def seal(self) -> None:
        """What comes next goes into a new segment."""
        self._open = None

    def unwritten(self, entries: list[Entry]) -> None:
        """The disk refused these, which were appended last, and it takes nothing more."""
        self._open = None
        for entry in entries:
            segment = self.segments[self._place(entry.index)]
            size: i64 = len(entry.message.body)
            segment.unread -= 1
            segment.unread_bytes -= size
            self.unread -= 1
            self.unread_bytes -= size
        for segment in self.segments:
            segment.size = segment.readable

    def growing(self) -> list[str]:
        """The segments that may be longer on disk after the next batch."""
        return [
            segment.name
            for segment in self.segments
            if segment is self._open or segment.readable < segment.size
        ]

    # Reading.

    def next_read(self, length: i64) -> SegmentPiece | None:
        """What to read next, about this much; None if a read is under way or there is nothing."""
        if self.is_reading or self.unread == 0:
            return None
        segment = self.next_segment()
        available = self._read_end(segment) - self._offset
        if available <= 0:
            return None
        if self._outbox.refused:
            on_disk = self._outbox.refused_from(segment.name) - self._offset
            if on_disk > 0:
                available = min(available, on_disk)
        length = min(max(length, self._wanted), available)
        self.is_reading = True
        self._reading = segment
        self._read_length = length
        if not self._rereads:
            segment.mark()
        return SegmentPiece(segment.name, self._offset, length, self.generation)

    def begin_read(self, data: bytes) -> SegmentReader:
        """The piece that was asked for was read: walk through it, then call `end_read`."""
        segment = self._reading
        assert segment is not None, self.queue_id
        end = self._read_end(segment)
        return SegmentReader(data, self._offset, end, segment.crc, self._searching)

    def _read_end(self, segment: Segment) -> i64:
        """Where what is read now ends."""
        return min(segment.offset, segment.readable) if self._rereads else segment.readable

    def wants_block(self, reader: SegmentReader) -> bool:
        """Whether the reader's block may have a message that is still there. Each of it is, if it
        has the flags `wanted_flags`, and if the block `is_cut_up`, if this `wants` its index."""
        segment = self._reading
        assert segment is not None
        first, last = reader.first, reader.last
        if self._rereads:
            self.wanted_flags = 0
            self.is_cut_up = not segment.again.covers(first, last)
            return segment.again.touches(first, last)
        self.wanted_flags = KEPT if segment.recovered else 0
        self.is_cut_up = segment.recovered and segment.settled.touches(first, last)
        return not self.is_cut_up or not segment.settled.covers(first, last)

    def wants(self, index: i64) -> bool:
        """Whether the message with this index, of a block that is cut up, is still there."""
        segment = self._reading
        assert segment is not None
        if self._rereads:
            return segment.again.contains(index)
        return not segment.settled.contains(index)

    def end_read(
        self, reader: SegmentReader, size: i64, taken: i64, kept: i64, body_bytes: i64
    ) -> i64:
        """The piece of this size is used up: `taken` messages with so much in their bodies are in
        memory now, `kept` of them outlive a restart. How many messages were found to be missing.
        """
        segment = self._reading
        assert segment is not None
        end = self._read_end(segment)
        moved = reader.offset > self._offset
        self._wanted = reader.wanted
        self._searching = reader.searching
        self._offset = reader.offset
        if reader.last >= self.next_index:
            self.next_index = reader.last + 1
        if size < self._read_length and reader.offset < end:
            reader.problems.append((reader.offset, "the file ends here, before its time"))
            self._offset = segment.size
        elif not moved and reader.wanted <= size:
            reader.problems.append((reader.offset, "nothing can be read from here on"))
            self._offset = segment.size
        return self._end(segment, taken, kept, body_bytes, bool(reader.problems))

    def read_failed(self) -> i64:
        """The piece cannot be read: step over it. How many messages were found to be missing."""
        segment = self._reading
        assert segment is not None
        self._offset += self._read_length
        self._wanted = 0
        self._searching = True
        return self._end(segment, 0, 0, 0, True)

    def is_damaged(self) -> bool:
        """Whether something was found missing in the segment that is being read."""
        return self._reading is not None and self._reading.is_damaged

    def forget_read(self) -> None:
        """The piece was not read, and may be asked for again."""
        self.is_reading = False
        self._reading = None

    def _end(self, segment: Segment, taken: i64, kept: i64, body_bytes: i64, damaged: bool) -> i64:
        self.forget_read()
        lost: i64 = 0
        if self._rereads:
            lost = self._end_again(segment, taken, kept)
        else:
            segment.offset = self._offset
            segment.read_to = self.next_index
            segment.searching = self._searching
        segment.handed += kept
        segment.unread -= taken + lost
        self.unread -= taken + lost
        if segment.unread == 0:
            # What was an estimate is known now.
            body_bytes = segment.unread_bytes
        segment.unread_bytes -= body_bytes
        self.unread_bytes -= body_bytes
        if damaged:
            segment.is_damaged = True
        if self._rereads:
            if segment.again.total == 0:
                self._begin_segment()
        elif self._offset >= segment.size and (segment.unread > 0 or segment.is_damaged):
            lost = segment.unread
            self.unread -= lost
            self.unread_bytes -= segment.unread_bytes
            segment.cut(segment.last, segment.size)
        self._drop_if_done(segment)
        if self.unread > 0:
            # What is in memory and comes before that is first.
            segment = self.next_segment()
            if self._rereads:
                self.next_index = segment.again.first()
        return lost

    def _end_again(self, segment: Segment, taken: i64, kept: i64) -> i64:
        """So many were read once more; how many were found to be missing."""
        is_over = self._offset >= segment.offset
        return segment.take_again(segment.last if is_over else self.next_index - 1, kept) - taken

    def give_back(self, entries: list[Entry]) -> list[Entry]:
        """These entries, in index order, were read or taken, and are ready: they are read once
        more. Those for which that cannot be are returned."""
        left: list[Entry] = []
        place: i64 = 0
        for entry in entries:
            index = entry.index
            if place >= len(self.segments) or self.segments[place].last < index:
                place = self._place(index)
            if place >= len(self.segments) or not self.segments[place].give_back(entry):
                left.append(entry)
                continue
            self.unread += 1
            self.unread_bytes += entry.message.body_bytes()
            if entry.redelivered:
                self.redelivered.add(index, index)
        if len(left) < len(entries):
            self._at = 0
            while self.segments[self._at].unread == 0:
                self._at += 1
            self._begin_anew()
        return left

    def unread_segments(self) -> list[Segment]:
        """The segments that are not read to their end, the first one perhaps in part."""
        return self.segments[self._at :] if self.unread > 0 else []

    def unread_offset(self) -> int:
        """Where the unread part of the first of them begins."""
        return int(self._offset)

    # What is out for delivery.

    def copy_of(self, index: i64) -> Segment | None:
        """The segment that still has a message that was read, or will have it with the next
        batch."""
        place = self._place(index)
        if place < len(self.segments) and self.segments[place].was_read(index):
            return self.segments[place]
        return None

    def hold_out(self, index: i64, count: i64) -> None:
        """So many more, or fewer, transient messages are nowhere but in this index's segment."""
        segment = self.copy_of(index)
        if segment is not None:
            segment.out += count
            self._drop_if_done(segment)

    # Settling.

    def settle(self, ranges: list[tuple[int, int]]) -> None:
        """These indexes are settled, wherever they were; ranges are in order."""
        if not self.segments or ranges[0][0] > self.segments[-1].last:
            return
        for first, last in ranges:
            place = self._place(first)
            while place < len(self.segments) and self.segments[place].first <= last:
                segment = self.segments[place]
                segment.settled.add(max(i64(first), segment.first), min(i64(last), segment.last))
                if not self._drop_if_done(segment):
                    place += 1

    def next_segment(self) -> Segment:
        """The segment of the next message that was not read; there is one."""
        while self.segments[self._at].unread == 0:
            self._go_on()
        return self.segments[self._at]

    def drop_next(self) -> i64:
        """What was not read of the next segment does not count any more; how many messages."""
        segment = self.next_segment()
        dropped = segment.unread
        if segment is self._open:
            self._open = None
        self.unread -= dropped
        self.unread_bytes -= segment.unread_bytes
        was_live = segment.live() > 0
        self.dropped.extend(segment.keep_again())
        if segment.handed > 0:
            segment.cut(segment.read_to - 1, segment.offset)
        else:
            segment.forget()
        if was_live:
            self._outbox.parts.append(segment.part(segment.last + 1))
        self._begin_anew()
        self._drop_if_done(segment)
        return dropped

    def drop_unread(self) -> None:
        """Nothing that is only on disk counts any more: the cost is one step a segment."""
        self.generation += 1
        self.forget_read()
        self._open = None
        while self.unread > 0:
            self.drop_next()

    def close(self) -> None:
        """The queue is deleted: all its segments go."""
        self.generation += 1
        self.forget_read()
        for segment in self.segments:
            self._outbox.unlink(segment)
        self.segments = []
        self.unread = 0
        self.unread_bytes = 0
        self._open = None

    def redelivered_unread(self) -> list[tuple[int, int]]:
        """Of what is on disk only: the indexes that had been delivered before."""
        if self.unread == 0 or self.redelivered.total == 0:
            return []
        return self.redelivered.items_from(self.next_index)

    def has(self, index: i64) -> bool:
        """Whether this index is in a segment, and not known to be settled."""
        place = self._place(index)
        if place == len(self.segments) or self.segments[place].first > index:
            return False
        return not self.segments[place].settled.contains(index)

    def _place(self, index: i64) -> i64:
        """The place of the first segment that ends at this index or behind it."""
        low: i64 = 0
        high: i64 = len(self.segments)
        while low < high:
            middle = (low + high) // 2
            if self.segments[middle].last < index:
                low = middle + 1
            else:
                high = middle
        return low

    def _drop_if_done(self, segment: Segment) -> bool:
        """Let the file go if nothing in it is wanted any more."""
        if segment.unread > 0 or segment.live() > 0 or segment.out > 0:
            return False
        if segment is self._open:
            self._open = None
        outbox = self._outbox
        if segment.is_damaged:
            # Somebody may want to look at it.
            outbox.keep_aside(segment)
        else:
            outbox.unlink(segment)
        place = i64(self.segments.index(segment))
        del self.segments[place]
        if place < self._at:
            self._at -= 1
        elif place == self._at:
            self._begin_segment()
        return True

    def _go_on(self) -> None:
        """Read the next segment."""
        self._at += 1
        self._begin_segment()

    def _begin_anew(self) -> None:
        """Reading goes on elsewhere: what is under way is not wanted."""
        self.generation += 1
        self.forget_read()
        self._begin_segment()

    def _begin_segment(self) -> None:
        self._wanted = 0
        self._searching = False
        self._rereads = False
        self._offset = FILE_HEADER_BYTES
        if self._at < len(self.segments):
            segment = self.segments[self._at]
            if segment.again.total > 0:
                self._rereads = True
                self.next_index = segment.again.first()
                self._offset = segment.offset_of(self.next_index)
            else:
                self._searching = segment.searching
                self.next_index = segment.read_to
                self._offset = segment.offset
