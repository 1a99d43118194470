"""What a start finds in the data folder: the snapshot and the journal files, folded into state.

Files are given oldest first and each is read once. A message is there as long as no later record
settled it; an index that a settled range names never comes back. Definitions are replayed from the
block on that follows the snapshot.

Nothing is decoded that is settled later in the same file, or that a segment has: what is left of a
file becomes messages when the file is at its end. Segments are not opened at all: the snapshot and
the SEGMENT records behind it say what counts of them (backlog.py).

Damage is never served and never passed over in silence: each unreadable stretch becomes a `Problem`
with file and offset, and what is sound after it is used. The bytes behind the last sound block of
the last file are what a crash tears: they are the `torn_tail`, which the caller cuts off. Damaged
definitions stop the start with a DiskError, since a node without them would drop the messages of
queues that it no longer knows; so do files that do not belong together, or have another's name:
what was settled would come back.

`redelivered`: after a crash every recovered entry carries it. After a clean stop (the last record
is STOPPED) only those entries do that had been delivered before.
"""

from __future__ import annotations

from bisect import insort
from typing import Final, final

from mypy_extensions import i64

from amqbroker.errors import DiskError
from amqbroker.message import WRITTEN, Entry, Message
from amqbroker.store.mark import MARK_NAME, read_mark
from amqbroker.store.ranges import Ranges
from amqbroker.store.records import (
    BLOCK_HEADER_BYTES,
    FILE_HEADER_BYTES,
    JOURNAL_MAGIC,
    SNAPSHOT_MAGIC,
    SNAPSHOT_NAME,
    BlockReader,
    RecordError,
    RecordVisitor,
    SegmentPart,
    guess_header_crc,
    journal_name,
    read_entry,
    read_file_header,
    read_message,
    read_records,
)
from amqbroker.store.segment import Segment

NO_QUEUE: Final = -1
NO_BLOCK: Final = -1


@final
class Problem:
    """Bytes that could not be used: where they are, and why."""

    __slots__ = ("file", "offset", "what")

    def __init__(self, file: str, offset: int, what: str) -> None:
        self.file = file
        self.offset = offset
        self.what = what

    def __str__(self) -> str:
        return f"{self.file}, offset {self.offset}: {self.what}"


@final
class RecoveredFile:
    """A journal file that was found. `blocks` and `last_sequence` are of what is sound in it."""

    __slots__ = ("blocks", "last_sequence", "number", "size")

    def __init__(self, number: int, size: int) -> None:
        self.number = number
        self.size = size
        self.blocks = 0
        self.last_sequence = 0


@final
class Recovered:
    """The state that the data folder holds.

    `messages` has the entries of each queue in index order, but for those in its `segments`; `live`
    how many of them each journal file holds. `redelivered` says which messages in segments had been
    delivered before, `deliveries` how often some of them came back since they were written there,
    `next_segment` which number a new segment may have. `next_index` has every queue that is known
    to have given an index. `sequence` is the last block's. `snapshot_sequence` is the last block
    that the snapshot covers; of queues with ids below `snapshot_queue_id` it has all that are left.
    `undone` are definitions behind it that are no more. Journal files `marked_oldest` (0: unknown)
    and `marked_number` and block `marked_sequence` must be there, as the mark says.
    """

    __slots__ = (
        "clean",
        "definitions",
        "deliveries",
        "files",
        "live",
        "marked_number",
        "marked_oldest",
        "marked_sequence",
        "messages",
        "next_index",
        "next_queue_id",
        "next_segment",
        "problems",
        "redelivered",
        "segments",
        "sequence",
        "snapshot_queue_id",
        "snapshot_sequence",
        "torn_tail",
        "undone",
    )

    def __init__(self) -> None:
        self.definitions: dict[bytes, bytes] = {}
        self.messages: dict[int, list[Entry]] = {}
        self.next_index: dict[int, int] = {}
        self.live: dict[int, dict[int, int]] = {}
        self.segments: dict[int, list[Segment]] = {}
        self.redelivered: dict[int, Ranges] = {}
        self.deliveries: dict[int, dict[int, int]] = {}
        self.next_segment: dict[int, int] = {}
        self.next_queue_id = 1
        self.files: list[RecoveredFile] = []
        self.sequence = 0
        self.snapshot_sequence = 0
        self.snapshot_queue_id = 1
        self.undone: list[tuple[bytes, bytes]] = []
        self.marked_number = 0
        self.marked_sequence = 0
        self.marked_oldest = 0
        self.clean = False
        self.problems: list[Problem] = []
        self.torn_tail: Problem | None = None


@final
class QueueState:
    """What was found of one queue, for the journal to go on from."""

    __slots__ = ("deliveries", "live", "next_index", "next_segment", "redelivered", "segments")

    def __init__(self, recovered: Recovered, queue_id: int) -> None:
        self.next_index: i64 = recovered.next_index[queue_id]
        self.live = recovered.live.get(queue_id, {})
        self.segments = recovered.segments.get(queue_id, [])
        redelivered = recovered.redelivered.get(queue_id)
        self.redelivered = redelivered if redelivered is not None else Ranges()
        self.deliveries = recovered.deliveries.get(queue_id, {})
        self.next_segment: i64 = recovered.next_segment.get(queue_id, 1)


@final
class _Queue:
    """One queue while the files are read. `fresh` are places in the file that is being read."""

    __slots__ = (
        "deliveries",
        "entries",
        "fresh",
        "next_index",
        "next_segment",
        "redelivered",
        "segments",
    )

    def __init__(self) -> None:
        self.entries: dict[int, Entry] = {}
        self.fresh: dict[int, int] = {}
        self.next_index: i64 = 0
        self.next_segment: i64 = 1
        self.segments: list[Segment] = []
        self.redelivered = Ranges()
        self.deliveries: dict[int, int] = {}

    def is_in_segment(self, index: i64) -> bool:
        """Whether a segment has this index. Segments are in order."""
        segments = self.segments
        low: i64 = 0
        high: i64 = len(segments)
        if high == 0 or index > segments[high - 1].last:
            return False
        while low < high:
            middle = (low + high) // 2
            if segments[middle].last < index:
                low = middle + 1
            else:
                high = middle
        return segments[low].first <= index

    def forget(self, first: i64, last: i64) -> None:
        """These are not in the journal any more."""
        if last - first < len(self.entries) + len(self.fresh):
            for index in range(first, last + 1):
                if self.fresh.pop(index, None) is None:
                    self.entries.pop(index, None)
        else:
            self.entries = {i: entry for i, entry in self.entries.items() if not first <= i <= last}
            self.fresh = {i: at for i, at in self.fresh.items() if not first <= i <= last}

    def settle_in_segments(self, first: i64, last: i64) -> None:
        """These are settled, where they are in segments."""
        for segment in self.segments:
            if segment.first <= last and first <= segment.last:
                segment.settled.add(max(first, segment.first), min(last, segment.last))

    def put_segment(self, part: SegmentPart) -> None:
        """What counts of a segment is this now."""
        found: Segment | None = None
        for segment in reversed(self.segments):
            if segment.number == part.number:
                found = segment
                break
        if part.count == 0:
            if found is not None:
                self.segments.remove(found)
            return
        if found is None:
            found = Segment(part.queue_id, part.number, part.seed, part.first)
            insort(self.segments, found, key=first_of)
        found.last = part.last
        found.count = part.count
        found.size = part.size
        found.kept_size = part.size
        found.body_bytes = part.body_bytes
        found.expires_from = part.expires_from
        found.expires_until = part.expires_until
        found.settled.cut(part.last)


class Recovery(RecordVisitor):
    """Folds the snapshot and then the journal files, oldest first. `finish` gives the result."""

    __slots__ = (
        "_file",
        "_fresh",
        "_is_news",
        "_last_block",
        "_queue",
        "_queue_id",
        "_queues",
        "_result",
        "_same",
        "_snapshot_is_complete",
    )

    def __init__(self) -> None:
        self._result = Recovered()
        self._queues: dict[int, _Queue] = {}
        self._queue = (
            _Queue()
        )  # of `_queue_id`: most records name the queue that the one before named
        self._queue_id: i64 = NO_QUEUE
        self._file: i64 = 0
        # Queues with `fresh` places, and for those of a SAME record where its message is.
        self._fresh: dict[int, _Queue] = {}
        self._same: dict[int, int] = {}
        # The last one that a journal file has.
        self._last_block: i64 = NO_BLOCK
        # The snapshot does not cover the block that is being read.
        self._is_news = True
        self._snapshot_is_complete = False

    def add_snapshot(self, data: bytes) -> None:
        """Read the definitions snapshot. Raises DiskError if it is damaged."""
        header = read_file_header(SNAPSHOT_NAME, data, SNAPSHOT_MAGIC)
        if header is None:
            raise _damaged_snapshot(0, "the file header is damaged")
        reader = BlockReader(data, header.crc)
        while reader.next():
            try:
                read_records(data, reader.start, reader.end, self)
            except RecordError as error:
                raise _damaged_snapshot(error.offset, error.what) from error
        if reader.damage:
            raise _damaged_snapshot(*reader.damage[0])
        if reader.tail >= 0:
            raise _damaged_snapshot(reader.tail, reader.tail_what)
        if not self._snapshot_is_complete:
            raise _damaged_snapshot(len(data), "the end is missing")
        self._result.snapshot_sequence = header.number
        self._result.sequence = header.number

    def add_mark(self, data: bytes) -> None:
        """Read which journal file and block must be there. A damaged mark is a problem, and says
        nothing; DiskError if its format is newer."""
        mark = read_mark(data)
        if mark is None:
            what = "damaged: nobody knows whether the last journal files are missing"
            self._note(MARK_NAME, 0, what)
            return
        self._result.marked_number = mark.number
        self._result.marked_sequence = mark.sequence
        self._result.marked_oldest = mark.oldest

    def add_file(self, number: int, data: bytes, is_last: bool) -> None:
        """Read a journal file. DiskError if its format is newer or definitions are missing."""
        name = journal_name(number)
        file = RecoveredFile(number, len(data))
        self._result.files.append(file)
        self._result.clean = False
        if not data:
            return  # a start that was cut short
        header = read_file_header(name, data, JOURNAL_MAGIC)
        if header is not None:
            if header.number != number:
                raise DiskError(
                    f"{name} holds {journal_name(header.number)}, as its header says: it was copied"
                    " or renamed. Give the journal files their names back"
                )
            crc = header.crc
        else:
            guessed = guess_header_crc(data, JOURNAL_MAGIC, number)
            if guessed is None:
                self._note_tail(
                    name, 0, "the file header is damaged or incomplete", len(data), is_last
                )
                return
            self._note(name, 0, "the file header is damaged; the blocks behind it are not")
            crc = guessed
        self._file = number
        reader = BlockReader(data, crc)
        damages_noted = 0
        while reader.next():
            while damages_noted < len(reader.damage):
                self._note(name, *reader.damage[damages_noted])
                damages_noted += 1
            self._add_block(name, data, reader, file)
        self._decode_fresh(data)
        if reader.tail >= 0:
            self._note_tail(name, reader.tail, reader.tail_what, len(data), is_last)

    def finish(self) -> Recovered:
        """The state after the last file."""
        result = self._result
        self._look_at_the_end()
        for queue_id, queue in self._queues.items():
            result.next_index[queue_id] = queue.next_index
            result.next_queue_id = max(result.next_queue_id, queue_id + 1)
            result.next_segment[queue_id] = queue.next_segment
            self._finish_segments(queue_id, queue)
            # The record that moved them to their segment may be in a block that is damaged.
            places = [i for i in sorted(queue.entries) if not queue.is_in_segment(i)]
            if not places:
                continue
            entries = [queue.entries[index] for index in places]
            live: dict[int, int] = {}
            for entry in entries:
                live[entry.file] = live.get(entry.file, 0) + 1
                if not result.clean or queue.redelivered.contains(entry.index):
                    entry.redelivered = True
                # What is written once more has a newer count than a record before.
                entry.deliveries = max(entry.deliveries, queue.deliveries.get(entry.index, 0))
            result.messages[queue_id] = entries
            result.live[queue_id] = live
        return result

    def _look_at_the_end(self) -> None:
        """Files go oldest first: if any is left, the last one is, with what the snapshot covers and
        what the mark names. The mark knows of those that went."""
        result = self._result
        covered = result.snapshot_sequence
        last = result.files[-1].number if result.files else 0
        name = MARK_NAME
        what = ""
        if covered and not last:
            name = SNAPSHOT_NAME
            what = f"it covers blocks up to {covered}, and there is no journal file"
        elif NO_BLOCK < self._last_block < covered:
            name = SNAPSHOT_NAME
            what = (
                f"it covers blocks up to {covered}, and the journal files end with block"
                f" {self._last_block}"
            )
        elif result.marked_number > last:
            what = f"{journal_name(result.marked_number)} was the last one, and it is missing"
        elif result.marked_sequence > result.sequence:
            what = (
                f"there were blocks up to {result.marked_sequence}, and the journal files end with"
                f" block {result.sequence}"
            )
        elif 0 < result.marked_oldest < (result.files[0].number if last else 0):
            what = f"{journal_name(result.marked_oldest)} was the first one, and it is missing"
        if what:
            # A clean stop that is found was not the last one.
            result.clean = False
            self._note(name, 0, f"{what}: some are lost")

    def _finish_segments(self, queue_id: int, queue: _Queue) -> None:
        # The file of one that was settled wholly may be gone already.
        segments = [segment for segment in queue.segments if segment.live() > 0]
        segments.sort(key=first_of)
        queue.segments = segments
        if not segments:
            return
        self._result.segments[queue_id] = segments
        if not self._result.clean:
            queue.redelivered.add(segments[0].first, segments[-1].last)
        self._result.redelivered[queue_id] = queue.redelivered
        self._result.deliveries[queue_id] = {
            index: count
            for index, count in queue.deliveries.items()
            if queue.is_in_segment(index) and index not in queue.entries
        }

    def on_message(self, queue_id: i64, index: i64, record_at: i64, message_at: i64) -> None:
        """A message in a queue."""
        queue = self._queue_of(queue_id)
        if index >= queue.next_index:
            queue.next_index = index + 1
        elif queue.is_in_segment(index):
            return
        if not queue.fresh:
            self._fresh[queue_id] = queue
        queue.fresh[index] = record_at
        if record_at != message_at:
            self._same[record_at] = message_at

    def _decode_fresh(self, data: bytes) -> None:
        """The file is at its end: what is left of it becomes messages."""
        messages: dict[int, Message] = {}
        for queue in self._fresh.values():
            for index, record_at in queue.fresh.items():
                message_at = self._same.get(record_at, record_at) if self._same else record_at
                message = messages.get(message_at) if self._same else None
                if message is None:
                    message = read_message(data, message_at)
                    if self._same:
                        messages[message_at] = message
                entry = read_entry(data, record_at, message)
                entry.state = WRITTEN
                entry.file = self._file
                queue.entries[index] = entry
            queue.fresh = {}
        self._fresh = {}
        self._same = {}

    def on_settled(self, queue_id: i64, first: i64, last: i64) -> None:
        """These entries are gone."""
        queue = self._queue_of(queue_id)
        if last >= queue.next_index:
            queue.next_index = last + 1
        queue.forget(first, last)
        if self._is_news and queue.segments:
            queue.settle_in_segments(first, last)

    def on_segment(self, part: SegmentPart) -> None:
        """Entries went from the journal into a segment, or less of a segment counts."""
        queue = self._queue_of(part.queue_id)
        if part.last >= queue.next_index:
            queue.next_index = part.last + 1
        # Also of one that is gone: its records may be read once more at the next start.
        if part.number >= queue.next_segment:
            queue.next_segment = part.number + 1
        if part.added_from <= part.last:
            queue.forget(part.added_from, part.last)
        if self._is_news:
            queue.put_segment(part)

    def on_redelivered(self, queue_id: i64, first: i64, last: i64) -> None:
        """These entries had been delivered before."""
        queue = self._queue_of(queue_id)
        # Of messages that do not outlive a restart nothing else is known.
        if last >= queue.next_index:
            queue.next_index = last + 1
        queue.redelivered.add(first, last)

    def on_deliveries(self, queue_id: i64, index: i64, deliveries: i64) -> None:
        """This message came back so often, if it is still there."""
        queue = self._queue_of(queue_id)
        if index >= queue.next_index:
            queue.next_index = index + 1
        queue.deliveries[index] = deliveries

    def on_define(self, key: bytes, value: bytes) -> None:
        """A definition is made or replaced."""
        if self._is_news:
            self._undo(key, value)
            self._result.definitions[key] = value

    def on_undefine(self, key: bytes) -> None:
        """A definition is gone."""
        if self._is_news:
            self._undo(key, b"")
            self._result.definitions.pop(key, None)

    def _undo(self, key: bytes, value: bytes) -> None:
        before = self._result.definitions.get(key, value)
        if before != value:
            self._result.undone.append((key, before))

    def on_stopped(self) -> None:
        """A clean stop, unless a block or a file follows."""
        self._result.clean = True

    def on_next_index(self, queue_id: i64, index: i64) -> None:
        """The snapshot knows this queue."""
        self._queue_of(queue_id).next_index = index

    def on_next_queue(self, queue_id: i64) -> None:
        """The snapshot's free queue id."""
        self._result.next_queue_id = queue_id
        self._result.snapshot_queue_id = queue_id

    def on_end(self) -> None:
        """The snapshot is complete."""
        self._snapshot_is_complete = True

    def _queue_of(self, queue_id: i64) -> _Queue:
        if queue_id != self._queue_id:
            queue = self._queues.get(queue_id)
            if queue is None:
                queue = _Queue()
                self._queues[queue_id] = queue
            self._queue_id = queue_id
            self._queue = queue
        return self._queue

    def _add_block(self, name: str, data: bytes, reader: BlockReader, file: RecoveredFile) -> None:
        result = self._result
        sequence: int = reader.sequence
        last = self._last_block
        if last == NO_BLOCK and all(each.size <= FILE_HEADER_BYTES for each in result.files[:-1]):
            if sequence > result.snapshot_sequence + 1:
                begin = f"{name} begins with block {sequence}"
                if reader.damage:
                    offset, what = reader.damage[0]
                    begin = f"{name}, offset {offset}: {what}. The first sound one is {sequence}"
                raise DiskError(
                    f"{begin}, but the file '{SNAPSHOT_NAME}' covers"
                    f" blocks up to {result.snapshot_sequence} only: definitions are missing,"
                    " restore the folder from a copy"
                )
        elif sequence <= last:
            raise DiskError(
                f"{name} has block {sequence}, but a file before it has block {last}:"
                " they are not of one data folder, or not of one time. Restore all files of the"
                " folder from one copy"
            )
        else:
            last = result.snapshot_sequence if last == NO_BLOCK else last
            if sequence > last + 1:
                what = f"blocks {last + 1} to {sequence - 1} are missing before this one"
                self._note(name, reader.start - BLOCK_HEADER_BYTES, what)
        file.blocks += 1
        file.last_sequence = sequence
        self._last_block = sequence
        result.sequence = max(result.sequence, sequence)
        result.clean = False
        self._is_news = sequence > result.snapshot_sequence
        try:
            read_records(data, reader.start, reader.end, self)
        except RecordError as error:
            self._note(name, error.offset, error.what)

    def _note(self, name: str, offset: int, what: str) -> None:
        self._result.problems.append(Problem(name, offset, what))

    def _note_tail(self, name: str, offset: int, what: str, size: int, is_last: bool) -> None:
        if is_last:
            what = f"torn by a crash: {what}; the last {size - offset} bytes are cut off"
            self._result.torn_tail = Problem(name, offset, what)
        else:
            self._note(name, offset, what)


def first_of(segment: Segment) -> int:
    """The sort key of segments."""
    return segment.first


def _damaged_snapshot(offset: int, what: str) -> DiskError:
    return DiskError(
        f"{SNAPSHOT_NAME}, offset {offset}: {what}. Without its definitions the node would drop the"
        " messages of its queues, so it does not start: restore the file from a copy"
    )


def fold(snapshot: bytes | None, files: list[tuple[int, bytes]]) -> Recovered:
    """The state that a snapshot, if there is one, and journal files, oldest first, add up to."""
    recovery = Recovery()
    if snapshot is not None:
        recovery.add_snapshot(snapshot)
    for number, data in files:
        recovery.add_file(number, data, number == files[-1][0])
    return recovery.finish()
