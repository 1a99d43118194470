"""What a start finds in the data folder: the snapshot and the journal files, folded into state.

Files are given oldest first and each is read once. A message is there as long as no later record
settled it; an index that a settled range names never comes back. Definitions are replayed from the
block on that follows the snapshot.

Damage is never served and never passed over in silence: each unreadable stretch becomes a `Problem`
with file and offset, and what is sound after it is used. The bytes behind the last sound block of
the last file are what a crash tears: they are the `torn_tail`, which the caller cuts off. Damaged
definitions stop the start with a DiskError, since a node without them would drop the messages of
queues that it no longer knows.

`redelivered`: after a crash every recovered entry carries it. After a clean stop (the last record
is STOPPED) only those entries do that had been delivered before.
"""

from __future__ import annotations

from typing import Final, final

from mypy_extensions import i64

from amqbroker.errors import DiskError
from amqbroker.message import WRITTEN, Entry, Message
from amqbroker.store.records import (
    BLOCK_HEADER_BYTES,
    JOURNAL_MAGIC,
    SNAPSHOT_MAGIC,
    SNAPSHOT_NAME,
    BlockReader,
    RecordError,
    RecordVisitor,
    guess_header_crc,
    journal_name,
    read_file_header,
    read_records,
)

NO_QUEUE: Final = -1


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

    `messages` has the entries of each queue in index order, `live` how many of them each journal
    file holds; `next_index` has every queue that is known to have given an index. `sequence` is the
    last block's. `snapshot_sequence` is the last block that the definitions snapshot covers.
    """

    __slots__ = (
        "clean",
        "definitions",
        "files",
        "live",
        "messages",
        "next_index",
        "next_queue_id",
        "problems",
        "sequence",
        "snapshot_sequence",
        "torn_tail",
    )

    def __init__(self) -> None:
        self.definitions: dict[bytes, bytes] = {}
        self.messages: dict[int, list[Entry]] = {}
        self.next_index: dict[int, int] = {}
        self.live: dict[int, dict[int, int]] = {}
        self.next_queue_id = 1
        self.files: list[RecoveredFile] = []
        self.sequence = 0
        self.snapshot_sequence = 0
        self.clean = False
        self.problems: list[Problem] = []
        self.torn_tail: Problem | None = None


@final
class _Queue:
    """One queue while the files are read."""

    __slots__ = ("entries", "next_index")

    def __init__(self) -> None:
        self.entries: dict[int, Entry] = {}
        self.next_index: i64 = 0


class Recovery(RecordVisitor):
    """Folds the snapshot and then the journal files, oldest first. `finish` gives the result."""

    __slots__ = (
        "_file",
        "_queue",
        "_queue_id",
        "_queues",
        "_replays_definitions",
        "_result",
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
        self._replays_definitions = True
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
        if reader.tail >= 0:
            self._note_tail(name, reader.tail, reader.tail_what, len(data), is_last)

    def finish(self) -> Recovered:
        """The state after the last file."""
        result = self._result
        for queue_id, queue in self._queues.items():
            result.next_index[queue_id] = queue.next_index
            result.next_queue_id = max(result.next_queue_id, queue_id + 1)
            if not queue.entries:
                continue
            entries = [queue.entries[index] for index in sorted(queue.entries)]
            live: dict[int, int] = {}
            for entry in entries:
                live[entry.file] = live.get(entry.file, 0) + 1
                if not result.clean:
                    entry.redelivered = True
            result.messages[queue_id] = entries
            result.live[queue_id] = live
        return result

    def on_message(self, queue_id: i64, index: i64, message: Message) -> None:
        """A message in a queue."""
        entry = Entry(message, queue_id, index)
        entry.state = WRITTEN
        entry.file = self._file
        queue = self._queue_of(queue_id)
        queue.entries[index] = entry
        if index >= queue.next_index:
            queue.next_index = index + 1

    def on_settled(self, queue_id: i64, first: i64, last: i64) -> None:
        """These entries are gone."""
        queue = self._queue_of(queue_id)
        entries = queue.entries
        if last >= queue.next_index:
            queue.next_index = last + 1
        if last - first < len(entries):
            index = first
            while index <= last:
                entries.pop(index, None)
                index += 1
        else:
            queue.entries = {i: entry for i, entry in entries.items() if not first <= i <= last}

    def on_redelivered(self, queue_id: i64, first: i64, last: i64) -> None:
        """These entries had been delivered before."""
        entries = self._queue_of(queue_id).entries
        for index in range(first, last + 1):
            entry = entries.get(index)
            if entry is not None:
                entry.redelivered = True

    def on_define(self, key: bytes, value: bytes) -> None:
        """A definition is made or replaced."""
        if self._replays_definitions:
            self._result.definitions[key] = value

    def on_undefine(self, key: bytes) -> None:
        """A definition is gone."""
        if self._replays_definitions:
            self._result.definitions.pop(key, None)

    def on_stopped(self) -> None:
        """A clean stop, unless a block or a file follows."""
        self._result.clean = True

    def on_next_index(self, queue_id: i64, index: i64) -> None:
        """The snapshot knows this queue."""
        self._queue_of(queue_id).next_index = index

    def on_next_queue(self, queue_id: i64) -> None:
        """The snapshot's free queue id."""
        self._result.next_queue_id = queue_id

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
        if file.blocks == 0 and len(result.files) == 1:
            if sequence > result.snapshot_sequence + 1:
                raise DiskError(
                    f"{name} begins with block {sequence}, but the file '{SNAPSHOT_NAME}' covers"
                    f" blocks up to {result.snapshot_sequence} only: definitions are missing,"
                    " restore the folder from a copy"
                )
        elif sequence > result.sequence + 1:
            what = f"blocks {result.sequence + 1} to {sequence - 1} are missing before this one"
            self._note(name, reader.start - BLOCK_HEADER_BYTES, what)
        file.blocks += 1
        file.last_sequence = sequence
        result.sequence = max(result.sequence, sequence)
        result.clean = False
        self._replays_definitions = sequence > result.snapshot_sequence
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
