"""Dead letters whose messages are only on disk: they are read before they are sent on.

What a client rejects may have left memory while it was out for delivery (unloading.py). It waits
here until a piece of its segment was read, and so does all that its queue discards after it: dead
letters keep their order. No more is read than `discard.py` takes at once. Until then an entry
belongs to its old queue, neither ready nor outstanding, as one whose letter is refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from mypy_extensions import i64

from amqbroker.core import log
from amqbroker.core.discard import DEAD_LETTERS_A_TURN, DISCARDED_MAX, Discard
from amqbroker.core.entry import QueueEntry
from amqbroker.core.memory import SMALL_READ_BYTES, ReadRequest
from amqbroker.message import VOLATILE
from amqbroker.store.backlog import SegmentPiece
from amqbroker.store.segments import SegmentReader

if TYPE_CHECKING:
    from amqbroker.core.broker import Broker
    from amqbroker.core.queue import Queue
    from amqbroker.store.segment import Segment

# So many entries are looked for in one piece.
WANTED_MAX: Final = 4096


@final
class Reloading:
    """The dead letters of one queue that wait for the disk, or behind those."""

    __slots__ = ("_discards", "_is_reading", "_queue")

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self._discards: list[Discard] = []
        self._is_reading = False

    def add(self, entries: list[QueueEntry], reason: int) -> None:
        """These follow."""
        self._discards.append(Discard(self._queue, entries, reason))
        self.go_on()

    def entries(self) -> list[QueueEntry]:
        """All that wait, in order."""
        return [entry for each in self._discards for entry in each.entries[each.place :]]

    def go_on(self) -> None:
        """Send on what is there, and ask for what is not, until there is enough to do."""
        queue = self._queue
        while self._discards and not self._is_reading:
            if queue.holds_back or queue.has_many_dying():
                return
            if queue.turn.discarded >= DISCARDED_MAX:
                queue.turn.stalled[queue.id] = queue
                return
            first = self._discards[0]
            loaded = self._take_loaded(first)
            if loaded:
                queue.send_on(loaded, first.reason)
            elif first.place == len(first.entries):
                del self._discards[0]
            else:
                entry = first.entries[first.place]
                segment = _copy_of(entry)
                self._ask(entry, segment, segment.offset_of(entry.index), SMALL_READ_BYTES)
        if not self._discards:
            queue.reloading = None

    def give_up(self) -> None:
        """The queue is deleted."""
        entries = self.entries()
        self._discards = []
        self._queue.reloading = None
        for entry in entries:
            entry.line.settle(entry)

    def _take_loaded(self, discard: Discard) -> list[QueueEntry]:
        loaded: list[QueueEntry] = []
        while discard.place < len(discard.entries) and len(loaded) < DEAD_LETTERS_A_TURN:
            entry = discard.entries[discard.place]
            if entry.message.is_absent():
                break
            loaded.append(entry)
            discard.place += 1
        return loaded

    # From disk.

    def _ask(self, entry: QueueEntry, segment: Segment, offset: i64, length: i64) -> None:
        """For a piece that may have this entry."""
        piece = SegmentPiece(segment.name, offset, min(length, segment.offset - offset), 0)
        request = ReadRequest(entry.line, piece)
        request.reloading = self
        entry.line.memory.reads.append(request)
        self._is_reading = True

    def piece_read(
        self, broker: Broker, request: ReadRequest, data: bytes | None, reason: str
    ) -> None:
        """A piece was read, or could not be for this reason."""
        if not self._discards:
            return
        self._is_reading = False
        first = self._discards[0]
        entry = first.entries[first.place]
        if data is None:
            self._lose(broker, request, reason)
        else:
            segment = _copy_of(entry)
            reader = SegmentReader(data, request.offset, segment.offset, segment.crc)
            self._load(first, reader)
            for offset, what in reader.problems:
                text = f"{request.name}, offset {offset}: {what}"
                broker.log(log.ERROR, text, queue=self._queue.name)
            if entry.message.is_absent():
                # It lies further on, unless the file is shorter than it should be.
                is_whole = len(data) == request.length and reader.offset < segment.offset
                if is_whole and (reader.offset > request.offset or reader.wanted > len(data)):
                    length = max(reader.wanted, SMALL_READ_BYTES)
                    self._ask(entry, segment, reader.offset, length)
                    return
                self._lose(broker, request, "the message is not where it should be")
        self.go_on()

    def _load(self, discard: Discard, reader: SegmentReader) -> None:
        """Give entries the messages that are in this piece."""
        line = discard.entries[discard.place].line
        wanted = {
            entry.index: entry
            for entry in discard.entries[discard.place : discard.place + WANTED_MAX]
            if entry.line is line and entry.message.is_absent()
        }
        transient: list[QueueEntry] = []
        while wanted and reader.next_block():
            while (message := reader.next_record()) is not None:
                entry = wanted.pop(reader.index, None)
                if entry is None:
                    continue
                line.memory.unloaded -= 1
                line.memory.hold(message)
                entry.message = message
                if entry.state == VOLATILE:
                    transient.append(entry)
        assert line.backlog is not None, line.id
        for entry in transient:
            line.backlog.hold_out(entry.index, -1)

    def _lose(self, broker: Broker, request: ReadRequest, reason: str) -> None:
        """The first one is damaged: there is no dead letter of it."""
        first = self._discards[0]
        entry = first.entries[first.place]
        first.place += 1
        entry.line.settle(entry)
        broker.messages_lost += 1
        broker.log(
            log.ERROR,
            f"{request.name}: a dead letter of queue '{self._queue.name}' cannot be read and is "
            f"left out: {reason}",
            queue=self._queue.name,
        )


def _copy_of(entry: QueueEntry) -> Segment:
    backlog = entry.line.backlog
    assert backlog is not None, entry.index
    segment = backlog.copy_of(entry.index)
    assert segment is not None, entry.index
    return segment


def has_absent(entries: list[QueueEntry]) -> bool:
    """Whether the message of any of these is only on disk."""
    return any(entry.message.is_absent() for entry in entries)
