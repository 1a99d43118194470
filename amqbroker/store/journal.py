"""The node's write-ahead log: what must be durable gathers here and leaves in batches.

Queues append entries and settle them, the vhosts put definitions; nothing is encoded until
`take_batch`. While the edge writes one batch the next one gathers, so that however many queues and
connections there are, one sync serves all that came meanwhile. Each append answers with the
position of its batch; it is durable as soon as `synced_position` has reached it.

States of an entry here:

    VOLATILE --append--> PENDING --take_batch--> WRITTEN --settle--> SETTLED, written as a range
                            |
                            +--settle, stored--> SETTLED, never written at all

What waits long does not stay: entries move to segments of their queue (`QueueLog.stored`,
backlog.py), or, if they are few, are written once more (`rewrite`), so that old files can go.

Invariants:
- One batch at a time is with the edge: after `take_batch` gave one, `synced` or `failed` comes
  before the next.
- Once `failed`, nothing is written, synced or confirmed again: the disk may have dropped what it
  was given.
- Journal files go oldest first, and only when no entry in them lives, since later files hold the
  settled ranges of earlier ones. Before a file goes, a snapshot has the definitions that it held.
- A queue id and an index are never given twice.
"""

from __future__ import annotations

from typing import Final, final

from mypy_extensions import i64

from amqbroker.message import IN_SEGMENT, PENDING, SETTLED, WRITTEN, Entry
from amqbroker.store.backlog import Backlog, Segment, SegmentOutbox
from amqbroker.store.batch import Batch as Batch
from amqbroker.store.ranges import Ranges, merged
from amqbroker.store.records import (
    FILE_HEADER_BYTES,
    JOURNAL_MAGIC,
    REDELIVERED_RANGES,
    SETTLED_RANGES,
    SNAPSHOT_MAGIC,
    BlockWriter,
    file_header,
    header_crc,
)
from amqbroker.store.recovery import Recovered

# A file is small enough to be read at once, and large enough that most messages die before their
# file is full.
JOURNAL_FILE_BYTES: Final = 64 * 1024 * 1024
# Settled ranges are not waited for: a write this late loses no promise, and spares a write for each
# ack.
SETTLE_DELAY_S: Final = 0.05
# So many ranges are written at once, whatever the time. A range costs about 100 bytes of memory.
WAITING_RANGES_MAX: Final = 10_000
# With more files than this the oldest one is to be emptied.
FILES_MAX: Final = 4
# What is written once more in one batch.
REWRITE_BYTES: Final = 4 * 1024 * 1024
# What an entry costs in the queue to the disk besides its bytes.
ENTRY_OVERHEAD_BYTES: Final = 64

NONE: Final = -2  # no index, no file; its successor is none either


@final
class _QueueState:
    """What a start found of a queue that is not open yet."""

    __slots__ = ("live", "next_index", "next_segment", "redelivered", "segments")

    def __init__(
        self,
        next_index: i64,
        live: dict[int, int],
        segments: list[Segment],
        redelivered: Ranges,
        next_segment: i64,
    ) -> None:
        self.next_index: i64 = next_index
        self.live = live
        self.segments = segments
        self.redelivered = redelivered
        self.next_segment: i64 = next_segment


@final
class _File:
    """A journal file on disk, and how many entries in it live."""

    __slots__ = ("live", "number")

    def __init__(self, number: i64) -> None:
        self.number: i64 = number
        self.live: i64 = 0


class Journal:
    """The one journal of a node. Without arguments: a new one in an empty folder."""

    __slots__ = (
        "_appended",
        "_covered",
        "_defined",
        "_definitions",
        "_dirty",
        "_emptied",
        "_file",
        "_file_bytes",
        "_file_bytes_max",
        "_file_crc",
        "_files",
        "_files_by_number",
        "_in_flight",
        "_in_flight_bytes",
        "_in_flight_segments",
        "_logs",
        "_queue_states",
        "_ranges",
        "_redelivered",
        "_rewrites",
        "_seed",
        "_settle_deadline",
        "_settle_delay_s",
        "_settles_are_due",
        "_stops",
        "_writer",
        "broken",
        "failure",
        "next_queue_id",
        "pending_bytes",
        "position",
        "segments",
        "synced_position",
    )

    def __init__(
        self,
        recovered: Recovered | None = None,
        file_number: i64 = 1,
        seed: bytes = bytes(8),
        file_bytes_max: i64 = JOURNAL_FILE_BYTES,
        settle_delay_s: float = SETTLE_DELAY_S,
    ) -> None:
        """Continue from `recovered`; file `file_number` holds a header with `seed` only."""
        if recovered is None:
            recovered = Recovered()
        self.position: i64 = 1
        self.synced_position: i64 = 0
        self.pending_bytes: i64 = 0
        self.broken = False
        self.failure = ""
        self.next_queue_id: i64 = recovered.next_queue_id
        self._seed = seed
        self._file_bytes_max: i64 = file_bytes_max
        self._settle_delay_s = settle_delay_s
        # What waits for the next batch.
        self._appended: list[Entry] = []
        self._defined: list[tuple[bytes, bytes | None]] = []
        self._dirty: list[QueueLog] = []
        self._ranges: i64 = 0  # settled ranges of all logs
        self._settle_deadline = -1.0  # -1: not known, `due` has not been asked since
        self._settles_are_due = False
        self._stops = False
        self._redelivered: list[Entry] = []
        self._rewrites: list[Entry] = []
        self._emptied: i64 = 0
        self.segments = SegmentOutbox(seed)
        # The batch that is with the edge; 0 for none.
        self._in_flight: i64 = 0
        self._in_flight_bytes: i64 = 0
        self._in_flight_segments: list[Segment] = []
        # What the files hold.
        self._definitions: dict[bytes, bytes] = dict(recovered.definitions)
        self._logs: dict[int, QueueLog] = {}
        self._queue_states: dict[int, _QueueState] = {}
        self._writer = BlockWriter(recovered.sequence)
        self._files: list[_File] = []
        self._files_by_number: dict[int, _File] = {}
        self._covered: i64 = file_number  # the snapshot on disk covers the files before this one
        self._recover(recovered)
        self._file = self._add_file(file_number)
        self._file_bytes: i64 = FILE_HEADER_BYTES
        self._file_crc = header_crc(file_header(JOURNAL_MAGIC, file_number, seed))

    def open_queue(self, queue_id: i64) -> QueueLog:
        """The log of a durable queue, new or recovered."""
        assert queue_id not in self._logs, f"queue {queue_id} is open"
        state = self._queue_states.pop(queue_id, None)
        if state is None:
            log = QueueLog(self, queue_id, 0, {})
        else:
            log = QueueLog(self, queue_id, state.next_index, state.live)
            log.backlog.recover(state.segments, state.redelivered, state.next_segment)
        self._logs[queue_id] = log
        if queue_id >= self.next_queue_id:
            self.next_queue_id = queue_id + 1
        return log

    def is_recovered(self, queue_id: i64) -> bool:
        """Whether a start found something of this queue, which is not open yet."""
        return queue_id in self._queue_states

    def drop_unclaimed(self) -> int:
        """After a start, all queues are open: forget what no queue claims, and say how much."""
        dropped = 0
        for state in self._queue_states.values():
            for number, count in state.live.items():
                self._files_by_number[number].live -= count
                dropped += count
            for segment in state.segments:
                dropped += segment.live()
                self.segments.unlinks.append(segment.name)
        self._queue_states = {}
        return dropped

    def define(self, key: bytes, value: bytes) -> i64:
        """Make or replace a definition; the position to wait for."""
        return self._define(key, value)

    def undefine(self, key: bytes) -> i64:
        """Take a definition back; the position to wait for."""
        return self._define(key, None)

    def defined(self, prefix: bytes) -> list[bytes]:
        """The keys of all definitions that begin so."""
        return [key for key in self._definitions if key.startswith(prefix)]

    def stop(self, redelivered: list[Entry]) -> i64:
        """The next batch is the last one, and makes this a clean stop; the position to wait for.

        `redelivered` are the entries in the journal whose flag is set: after the next start it is
        set on them only.
        """
        self._stops = True
        self._redelivered = redelivered
        return self.position

    def due(self, now: float) -> bool:
        """Should `take_batch` be called now? Not while the batch before is with the edge."""
        if self.broken:
            return False
        if self._ranges and not self._settles_are_due:
            if self._settle_deadline < 0:
                self._settle_deadline = now + self._settle_delay_s
            self._settles_are_due = (
                now >= self._settle_deadline or self._ranges >= WAITING_RANGES_MAX
            )
        if self._in_flight:
            return False
        return (
            bool(self._appended or self._defined or self._rewrites)
            or self._settles_are_due
            or self._stops
            or self.segments.has_work()
        )

    def is_idle(self) -> bool:
        """Whether `take_batch` may be called."""
        return self._in_flight == 0 and not self.broken

    def file_to_empty(self) -> int:
        """The oldest file, if there are too many and it has entries; else 0. Said once a file."""
        if len(self._files) <= FILES_MAX or self._rewrites:
            return 0
        oldest = self._files[0]
        if oldest.live == 0 or oldest.number == self._emptied:
            return 0
        self._emptied = oldest.number
        return self._emptied

    def has_entries(self, queue_id: i64, number: int) -> bool:
        """Whether entries of this queue live in this file."""
        log = self._logs.get(queue_id)
        return log is not None and number in log._live

    def rewrite(self, entries: list[Entry]) -> None:
        """Write these once more, so that the file that they are in can go."""
        self._rewrites = entries

    def deadline(self) -> float | None:
        """When `due` turns true by time alone, as far as the last `due` could know."""
        if self.broken or self._in_flight or not self._ranges or self._settle_deadline < 0:
            return None
        return self._settle_deadline

    def take_batch(self) -> Batch | None:
        """All that waits, encoded; None if nothing is left to write: then it all counts as synced.

        Settled ranges go along with what is written anyway; alone they go when they are due, or
        nothing else waited.
        """
        assert self._in_flight == 0, f"batch {self._in_flight} is being written"
        if self.broken:
            return None
        starts_file = self._file_bytes >= self._file_bytes_max
        number = self._file.number
        header = b""
        crc = self._file_crc
        if starts_file:
            number += 1
            header = file_header(JOURNAL_MAGIC, number, self._seed)
            crc = header_crc(header)
        writer = self._writer
        writer.begin(crc)
        outbox = self.segments
        waited = bool(self._appended or self._defined)
        rewritten: list[tuple[int, int]] = []
        sync = self._encode_all(number, waited, rewritten)
        starts_file = starts_file and not writer.is_empty()
        if writer.is_empty() and not outbox.has_work():
            if waited:
                self.synced_position = self.position
                self.position += 1
                self.pending_bytes = 0
            return None
        chunks = writer.take()
        if starts_file:
            chunks.insert(0, header)
            self._file = self._add_file(number)
            self._file_crc = crc
            self._file_bytes = FILE_HEADER_BYTES
        self._file_bytes += writer.chunk_bytes
        self._count_appended()
        self._count_rewritten(rewritten)
        deletable = self._take_deletable()
        snapshot: bytes | None = None
        if deletable and deletable[-1] >= self._covered:
            snapshot = self._encode_snapshot()
            self._covered = self._file.number
        # A snapshot says which blocks it covers: those must be on disk before it is. What is
        # settled in a segment must be as well, before the segment is gone.
        sync = sync or starts_file or snapshot is not None
        sync = sync or bool(outbox.unlinks) or bool(outbox.set_aside)
        self._in_flight_segments = outbox.appended
        outbox.appended = []
        number = self._file.number
        batch = Batch(self.position, number, chunks, sync, starts_file, snapshot, deletable, outbox)
        self._in_flight = self.position
        self._in_flight_bytes = self.pending_bytes
        self.position += 1
        return batch

    def synced(self, position: i64) -> None:
        """The edge wrote the batch, and synced it if it was told to."""
        assert position == self._in_flight, f"batch {position} synced, {self._in_flight} taken"
        self.synced_position = position
        self.pending_bytes -= self._in_flight_bytes
        self._in_flight = 0
        for segment in self._in_flight_segments:
            segment.readable = segment.size
        self._in_flight_segments = []

    def failed(self, reason: str) -> None:
        """The edge could not write or sync the batch: the journal is broken for good."""
        self.broken = True
        self.failure = reason
        self._in_flight = 0
        self.pending_bytes = 0
        self._appended = []
        self._defined = []
        self._redelivered = []
        self._rewrites = []

    def _define(self, key: bytes, value: bytes | None) -> i64:
        if self.broken:
            return self.position
        if value is None:
            self._definitions.pop(key, None)
        else:
            self._definitions[key] = value
            self.pending_bytes += len(value)
        self._defined.append((key, value))
        self.pending_bytes += len(key) + ENTRY_OVERHEAD_BYTES
        return self.position

    def _recover(self, recovered: Recovered) -> None:
        for found in recovered.files:
            if found.blocks:
                self._add_file(found.number)
                if found.last_sequence > recovered.snapshot_sequence:
                    self._covered = min(self._covered, found.number)
        for queue_id, next_index in recovered.next_index.items():
            live = recovered.live.get(queue_id, {})
            segments = recovered.segments.get(queue_id, [])
            redelivered = recovered.redelivered.get(queue_id)
            if redelivered is None:
                redelivered = Ranges()
            self._queue_states[queue_id] = _QueueState(
                next_index, live, segments, redelivered, recovered.next_segment.get(queue_id, 1)
            )
            for number, count in live.items():
                self._files_by_number[number].live += count

    def _add_file(self, number: i64) -> _File:
        file = _File(number)
        self._files.append(file)
        self._files_by_number[number] = file
        return file

    def _encode_all(self, number: i64, waited: bool, rewritten: list[tuple[int, int]]) -> bool:
        """All records of a batch; True if it must be synced. `rewritten` gets those entries."""
        self._encode_definitions()
        self._encode_appended(number)
        self._encode_rewrites(number, rewritten)
        self._encode_segments()
        sync = not self._writer.is_empty() or self._stops
        if sync or not waited or self._settles_are_due:
            self._encode_settled()
            self._encode_segments()
        if self._stops:
            self._encode_stop()
        return sync

    def _encode_segments(self) -> None:
        for part in self.segments.parts:
            self._writer.segment(part)
        self.segments.parts = []

    def _encode_definitions(self) -> None:
        writer = self._writer
        for key, value in self._defined:
            if value is None:
                writer.undefine(key)
            else:
                writer.define(key, value)
        self._defined = []

    def _encode_appended(self, number: i64) -> None:
        """Entries of one message that follow each other share its bytes."""
        writer = self._writer
        message = None
        for entry in self._appended:
            if entry.state != PENDING:
                continue
            entry.state = WRITTEN
            entry.file = number
            if entry.message is message:
                writer.same(entry)
            else:
                message = entry.message
                writer.message(entry)
        self._appended = []

    def _encode_rewrites(self, number: i64, rewritten: list[tuple[int, int]]) -> None:
        """Notes queue and old file of each entry that is in this batch once more."""
        size: i64 = 0
        done = 0
        for entry in self._rewrites:
            done += 1
            if entry.state == WRITTEN and entry.file != IN_SEGMENT and entry.file != number:
                rewritten.append((entry.queue_id, entry.file))
                entry.file = number
                self._writer.message(entry)
                size += entry.message.cost
                if size > REWRITE_BYTES:
                    break
        del self._rewrites[:done]

    def _encode_settled(self) -> None:
        writer = self._writer
        for log in self._dirty:
            ranges = log._take_ranges()
            if ranges:
                writer.ranges(SETTLED_RANGES, log.queue_id, ranges)
        self._ranges = 0
        self._settle_deadline = -1.0
        self._settles_are_due = False

    def _encode_stop(self) -> None:
        """Only entries that are on disk or in this batch are named."""
        indexes: dict[int, list[tuple[int, int]]] = {}
        for entry in self._redelivered:
            if entry.state == WRITTEN:
                indexes.setdefault(entry.queue_id, []).append((entry.index, entry.index))
        for queue_id, ranges in indexes.items():
            self._writer.ranges(REDELIVERED_RANGES, queue_id, merged(ranges))
        for log in self._logs.values():
            ranges = log.backlog.redelivered_unread()
            if ranges:
                self._writer.ranges(REDELIVERED_RANGES, log.queue_id, ranges)
        self._writer.stopped()
        self._stops = False
        self._redelivered = []

    def _count_appended(self) -> None:
        for log in self._dirty:
            self._file.live += log._take_appended(self._file.number)
            log._is_dirty = False
        self._dirty = []

    def _count_rewritten(self, rewritten: list[tuple[int, int]]) -> None:
        for queue_id, number in rewritten:
            log = self._logs.get(queue_id)
            if log is not None:
                log._move(number, self._file.number)
                self._files_by_number[number].live -= 1
                self._file.live += 1

    def _take_deletable(self) -> list[int]:
        deletable: list[int] = []
        while self._files[0] is not self._file and self._files[0].live == 0:
            number = self._files.pop(0).number
            del self._files_by_number[number]
            deletable.append(number)
        return deletable

    def _encode_snapshot(self) -> bytes:
        header = file_header(SNAPSHOT_MAGIC, self._writer.sequence, self._seed)
        writer = BlockWriter(0)
        writer.begin(header_crc(header))
        writer.next_queue(self.next_queue_id)
        for queue_id, state in self._queue_states.items():
            writer.next_index(queue_id, state.next_index)
        for log in self._logs.values():
            writer.next_index(log.queue_id, log.next_index)
            for segment in log.backlog.segments:
                if segment.live() > 0:
                    writer.segment(segment.part(segment.last + 1))
                    if segment.settled.total:
                        writer.ranges(SETTLED_RANGES, log.queue_id, segment.settled.items())
        for key, value in self._definitions.items():
            writer.define(key, value)
        writer.end()
        return b"".join([header, *writer.take()])


class QueueLog:
    """What one durable queue writes to the journal."""

    __slots__ = (
        "_appended",
        "_file",
        "_file_settled",
        "_first",
        "_is_closed",
        "_is_dirty",
        "_journal",
        "_last",
        "_live",
        "_ranges",
        "backlog",
        "next_index",
        "queue_id",
    )

    def __init__(
        self, journal: Journal, queue_id: i64, next_index: i64, live: dict[int, int]
    ) -> None:
        self.queue_id: i64 = queue_id
        self.next_index: i64 = next_index  # what the queue's next entry must at least have
        self.backlog = Backlog(queue_id, journal.segments)
        self._journal = journal
        self._live = live  # entries of this queue that live, by journal file
        self._appended: i64 = 0  # entries that wait for the next batch
        # Settled indexes that wait for the next batch: `_ranges`, then `_first` to `_last`.
        self._ranges: list[tuple[int, int]] = []
        self._first: i64 = NONE
        self._last: i64 = NONE
        # Settled entries of journal file `_file` that are not yet taken off its count.
        self._file: i64 = NONE
        self._file_settled: i64 = 0
        self._is_dirty = False
        self._is_closed = False

    def append(self, entry: Entry) -> i64:
        """Write this entry with the next batch; the position to wait for."""
        journal = self._journal
        if journal.broken:
            return journal.position
        assert not self._is_closed, "append to a deleted queue"
        entry.state = PENDING
        message = entry.message
        journal._appended.append(entry)
        journal.pending_bytes += len(message.header) + len(message.body) + ENTRY_OVERHEAD_BYTES
        self.next_index = entry.index + 1
        self._appended += 1
        if not self._is_dirty:
            self._make_dirty()
        return journal.position

    def settle(self, entry: Entry) -> None:
        """This entry is done with. One that was never appended is no concern of the journal."""
        state = entry.state
        if state == WRITTEN:
            entry.state = SETTLED
            if entry.index == self._last + 1:
                self._last += 1
            else:
                self._begin_range(entry.index)
            if entry.file != self._file:
                self._begin_file(entry.file)
            self._file_settled += 1
        elif state == PENDING:
            entry.state = SETTLED
            self._appended -= 1

    def settle_all(self, entries: list[Entry]) -> None:
        """All these entries are done with."""
        for entry in entries:
            self.settle(entry)

    def settle_ranges(self, ranges: list[tuple[int, int]]) -> None:
        """These are done with; all of them are in segments."""
        if self._is_closed or self._journal.broken:
            return
        for first, last in ranges:
            self._begin_range(first)
            self._last = last

    def stored(self, entries: list[Entry]) -> None:
        """These entries are in the next batch as part of a segment: the journal forgets them."""
        for entry in entries:
            state = entry.state
            if state == WRITTEN:
                if entry.file != self._file:
                    self._begin_file(entry.file)
                self._file_settled += 1
                entry.state = SETTLED
            elif state == PENDING:
                entry.state = SETTLED
                self._appended -= 1
        self._settle_count()

    def close(self) -> None:
        """The queue is deleted: none of its entries lives. Later settles of them do nothing."""
        journal = self._journal
        self._settle_count()
        for number, count in self._live.items():
            journal._files_by_number[number].live -= count
        self._live = {}
        self._ranges = []
        self._first = NONE
        self._last = NONE
        self._is_closed = True
        self.backlog.close()
        del journal._logs[self.queue_id]

    def _make_dirty(self) -> None:
        self._is_dirty = True
        self._journal._dirty.append(self)

    def _begin_range(self, index: i64) -> None:
        if self._is_closed or self._journal.broken:
            return
        if self._last != NONE:
            self._ranges.append((self._first, self._last))
        self._first = index
        self._last = index
        self._journal._ranges += 1
        if not self._is_dirty:
            self._make_dirty()

    def _begin_file(self, number: i64) -> None:
        self._settle_count()
        self._file = number

    def _settle_count(self) -> None:
        """Take what was settled in `_file` off the counts."""
        if self._file_settled and not self._is_closed and self._file != IN_SEGMENT:
            count = self._file_settled
            live = self._live[self._file] - count
            if live:
                self._live[self._file] = live
            else:
                del self._live[self._file]
            self._journal._files_by_number[self._file].live -= count
        self._file = NONE
        self._file_settled = 0

    def _take_ranges(self) -> list[tuple[int, int]]:
        if self._last == NONE:
            return []
        ranges = self._ranges
        ranges.append((self._first, self._last))
        self._ranges = []
        self._first = NONE
        self._last = NONE
        self._settle_count()
        if len(ranges) > 1:
            ranges = merged(ranges)
        self.backlog.settle(ranges)
        return ranges

    def _move(self, old: int, number: int) -> None:
        """One entry is in a younger journal file now."""
        live = self._live[old] - 1
        if live:
            self._live[old] = live
        else:
            del self._live[old]
        self._live[number] = self._live.get(number, 0) + 1

    def _take_appended(self, number: i64) -> i64:
        """The entries that waited are in this journal file now; how many live there."""
        count = self._appended
        self._appended = 0
        if count == 0 or self._is_closed:
            return 0
        self._live[number] = self._live.get(number, 0) + count
        return count
