"""A look at the first messages of a queue, also at those on disk; nothing of the queue changes.

The caller reads pieces of segments until there are no more to read:

    peek = Peek(queue, count)
    while (piece := peek.next_piece()) is not None:
        peek.piece_read(... the bytes of the piece)
    peek.messages()

What is in memory is of the moment when the look began, so messages that are consumed meanwhile are
shown all the same, and each once.
"""

from __future__ import annotations

from typing import Final, final

from amqbroker.core.line import Line
from amqbroker.core.queue import Queue
from amqbroker.message import Message
from amqbroker.store.backlog import SegmentPiece
from amqbroker.store.records import FILE_HEADER_BYTES
from amqbroker.store.segment import Segment
from amqbroker.store.segments import REDELIVERED, SegmentReader

PIECE_BYTES: Final = 64 * 1024


@final
class Seen:
    """A message that waits in a queue."""

    __slots__ = ("deliveries", "index", "message", "redelivered")

    def __init__(self, index: int, message: Message, redelivered: bool, deliveries: int) -> None:
        self.index = index
        self.message = message
        self.redelivered = redelivered
        self.deliveries = deliveries


@final
class Peek:
    """The first `count` messages of a queue."""

    def __init__(self, queue: Queue, count: int) -> None:
        self._count = count
        self._lines = [_LinePeek(line, count) for line in queue.lines()]

    def next_piece(self) -> SegmentPiece | None:
        """What is to be read next; None if nothing is, or if `is_in_flight`."""
        found = 0
        for line in self._lines:
            if found >= self._count:
                return None
            if line.wants_more():
                return line.next_piece()
            found += len(line.messages())
        return None

    def is_in_flight(self) -> bool:
        """Whether what is to be read next is being written: after a turn it may be there."""
        return any(line.in_flight for line in self._lines)

    def piece_read(self, data: bytes) -> None:
        """The piece that was asked for."""
        next(line for line in self._lines if line.wants_more()).piece_read(data)

    def messages(self) -> list[Seen]:
        """What was found, the next message to be delivered first."""
        return [seen for line in self._lines for seen in line.messages()][: self._count]

    def problems(self) -> list[str]:
        """What could not be read, with file and offset."""
        return [problem for line in self._lines for problem in line.problems]


@final
class _LinePeek:
    """The first messages of one line: some before those on disk, some among them, some behind."""

    def __init__(self, line: Line, count: int) -> None:
        ready = line.ready
        self.problems: list[str] = []
        self.in_flight = False
        self._count = count
        self._memory = [
            Seen(entry.index, entry.message, entry.redelivered, entry.deliveries)
            for entry in ready.first(count)
        ]
        self._disk: list[Seen] = []
        before = sum(1 for seen in self._memory if seen.index < ready.disk_next)
        self._wanted = count - before if ready.on_disk > 0 else 0
        self._backlog = line.backlog
        self._segments: list[Segment] = []
        self._offset = 0
        if self._backlog is not None and self._wanted > 0:
            self._segments = self._backlog.unread_segments()
            self._offset = self._backlog.unread_offset()
        self._length = PIECE_BYTES
        self._searching = False

    def wants_more(self) -> bool:
        """Whether something is to be read."""
        return bool(self._segments) and len(self._disk) < self._wanted

    def next_piece(self) -> SegmentPiece | None:
        """Only if this `wants_more`; None if that is in flight."""
        segment = self._segments[0]
        available = int(segment.readable) - self._offset
        self.in_flight = available <= 0
        if self.in_flight:
            return None
        return SegmentPiece(segment.name, self._offset, min(self._length, available), 0)

    def piece_read(self, data: bytes) -> None:
        """Take the messages out of a piece."""
        assert self._backlog is not None
        segment = self._segments[0]
        redelivered = self._backlog.redelivered
        reader = SegmentReader(data, self._offset, segment.readable, segment.crc, self._searching)
        while reader.next_block():
            while (message := reader.next_record()) is not None:
                if not segment.has_unread(reader.index, reader.flags):
                    continue
                is_redelivered = bool(reader.flags & REDELIVERED) or redelivered.contains(
                    reader.index
                )
                self._disk.append(Seen(reader.index, message, is_redelivered, reader.deliveries))
        self.problems += [f"{segment.name}, offset {at}: {what}" for at, what in reader.problems]
        stuck = reader.offset == self._offset and reader.wanted <= len(data)
        self._offset = reader.offset
        self._searching = reader.searching
        self._length = max(PIECE_BYTES, reader.wanted)
        if self._offset >= segment.size or stuck:
            del self._segments[0]
            self._begin_segment()

    def _begin_segment(self) -> None:
        self._offset = FILE_HEADER_BYTES
        self._length = PIECE_BYTES
        self._searching = False

    def messages(self) -> list[Seen]:
        """What was found, in order."""
        found = self._memory + self._disk
        found.sort(key=lambda seen: seen.index)
        return found[: self._count]
