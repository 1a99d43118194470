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
- One batch at a time is with the edge: after `take_batch` gave one, `synced`, `refused` or `failed`
  comes before the next.
- A batch that was `refused`, as the disk is full, is put back as if it had not been taken. While it
  waits for room, only what makes room is written: what is settled or deleted.
- Once `failed`, nothing is written, synced or confirmed again: the disk may have dropped what it
  was given.
- Journal files go oldest first, and only when no entry in them lives, since later files hold the
  settled ranges of earlier ones. Before a file goes, a snapshot has the definitions that it held.
- A queue id and an index are never given twice.
"""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64

from amqbroker.message import IN_SEGMENT, PENDING, WRITTEN, Entry
from amqbroker.store.batch import Batch as Batch
from amqbroker.store.queue_log import ENTRY_OVERHEAD_BYTES, QueueLog
from amqbroker.store.ranges import merged, split
from amqbroker.store.records import (
    DELIVERIES,
    FILE_HEADER_BYTES,
    JOURNAL_MAGIC,
    REDELIVERED_RANGES,
    SETTLED_RANGES,
    SNAPSHOT_MAGIC,
    BlockWriter,
    SegmentPart,
    file_header,
    header_crc,
)
from amqbroker.store.recovery import QueueState, Recovered
from amqbroker.store.segment_outbox import SegmentOutbox
from amqbroker.store.segments import segment_name
from amqbroker.store.taken import JournalFile, Rewritten, Taken

# A file is small enough to be read at once, and large enough that most messages die before their
# file is full.
JOURNAL_FILE_BYTES: Final = 64 * 1024 * 1024
# Settled ranges are not waited for: a write this late loses no promise, and spares a write for each
# ack.
SETTLE_DELAY_S: Final = 0.05
# So many ranges are written at once, whatever the time. A range costs about 100 bytes of memory.
WAITING_RANGES_MAX: Final = 10_000
# With more files than this, and those of what is in memory, the oldest one is to be emptied.
FILES_MAX: Final = 4
# What is written once more in one batch.
REWRITE_BYTES: Final = 4 * 1024 * 1024
# The position of a batch that only makes room.
RELIEF: Final = -1


class Journal:
    """The one journal of a node. Without arguments: a new one in an empty folder."""

    __slots__ = (
        "_covered",
        "_defined",
        "_definitions",
        "_emptied",
        "_file",
        "_file_bytes",
        "_file_bytes_max",
        "_file_crc",
        "_files",
        "_held",
        "_in_flight",
        "_queue_states",
        "_redelivered",
        "_relieves",
        "_returned",
        "_rewrites",
        "_seed",
        "_settle_deadline",
        "_settles_are_due",
        "_starts_again",
        "_stops",
        "_taken",
        "_tries_all",
        "_writer",
        "appended",
        "broken",
        "counted",
        "dirty",
        "failure",
        "files_by_number",
        "full",
        "logs",
        "next_queue_id",
        "pending_bytes",
        "position",
        "ranges",
        "segments",
        "settle_delay_s",
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
        # Settled ranges that nobody waits for are written this much later.
        self.settle_delay_s = settle_delay_s
        # What waits for the next batch.
        self.appended: list[Entry] = []
        self._defined: list[tuple[bytes, bytes | None]] = []
        self.dirty: list[QueueLog] = []
        self.ranges: i64 = 0  # settled ranges of all logs
        self.counted: list[QueueLog] = []  # logs with new counts of deliveries
        self._settle_deadline = -1.0  # -1: not known, `due` has not been asked since
        self._settles_are_due = False
        self._stops = False
        self._redelivered: list[Entry] = []
        self._rewrites: list[Entry] = []
        self._emptied: i64 = 0
        self.segments = SegmentOutbox(seed)
        # The batch that is with the edge; 0 for none.
        self._in_flight: i64 = 0
        self._taken: Taken | None = None
        # The disk was full: what was put back waits for room. Until `retry` says so, only what
        # makes room is written.
        self.full = False
        self._tries_all = False
        self._relieves = False
        self._starts_again = False  # the file that was begun is not there
        # Settled ranges that a batch took, and those that wait for a segment to be there.
        self._held: list[tuple[i64, list[tuple[int, int]]]] = []
        self._returned: list[tuple[i64, list[tuple[int, int]]]] = []
        # What the files hold.
        self._definitions: dict[bytes, bytes] = dict(recovered.definitions)
        self.logs: dict[int, QueueLog] = {}
        self._queue_states: dict[int, QueueState] = {}
        self._writer = BlockWriter(recovered.sequence)
        self._files: list[JournalFile] = []
        self.files_by_number: dict[int, JournalFile] = {}
        self._covered: i64 = file_number  # the snapshot on disk covers the files before this one
        self._recover(recovered)
        self._file = self._add_file(file_number)
        self._file_bytes: i64 = FILE_HEADER_BYTES
        self._file_crc = header_crc(file_header(JOURNAL_MAGIC, file_number, seed))

    def open_queue(self, queue_id: i64) -> QueueLog:
        """The log of a durable queue, new or recovered."""
        assert queue_id not in self.logs, f"queue {queue_id} is open"
        state = self._queue_states.pop(queue_id, None)
        if state is None:
            log = QueueLog(self, queue_id, 0, {})
        else:
            log = QueueLog(self, queue_id, state.next_index, state.live)
            log.counts.in_segments = state.deliveries
            log.backlog.recover(state.segments, state.redelivered, state.next_segment)
        self.logs[queue_id] = log
        if queue_id >= self.next_queue_id:
            self.next_queue_id = queue_id + 1
        return log

    def unclaimed(self) -> list[int]:
        """The queues that a start found messages of, and that are not open yet."""
        return [each for each, state in self._queue_states.items() if state.live or state.segments]

    def is_recovered(self, queue_id: i64) -> bool:
        """Whether a start found something of this queue, which is not open yet."""
        return queue_id in self._queue_states

    def drop_unclaimed(self) -> int:
        """After a start, all queues are open: forget what no queue claims, and say how much."""
        dropped = 0
        for state in self._queue_states.values():
            for number, count in state.live.items():
                self.files_by_number[number].live -= count
                dropped += count
            for segment in state.segments:
                dropped += segment.live()
                self.segments.unlink(segment)
        self._queue_states = {}
        return dropped

    def let_go(self) -> None:
        """Nobody will write this journal any more: it forgets what it was to write."""
        self.appended = []
        self._redelivered = []
        self._rewrites = []
        self._taken = None

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
        self.retry(tries_all=True)
        return self.position

    def due(self, now: float) -> bool:
        """Should `take_batch` be called now? Not while the batch before is with the edge."""
        if self.broken:
            return False
        if self.ranges and not self._settles_are_due:
            if self._settle_deadline < 0:
                self._settle_deadline = now + self.settle_delay_s
            self._settles_are_due = (
                now >= self._settle_deadline or self.ranges >= WAITING_RANGES_MAX
            )
        if self._in_flight:
            return False
        if self.full and not self._tries_all:
            return self._relieves and (
                bool(self._defined or self._returned)
                or self._settles_are_due
                or self.segments.can_unlink()
            )
        return (
            bool(self.appended or self._defined or self._rewrites)
            or self._settles_are_due
            or self._stops
            or self.full
            or self.segments.has_work()
        )

    def is_idle(self) -> bool:
        """Whether `take_batch` may be called."""
        return self._in_flight == 0 and not self.broken

    def file_to_empty(self, held_bytes: i64) -> int:
        """The oldest file, if there are too many and it has entries; else 0. Said once a file.

        `held_bytes` is what the messages take that may live in the journal. They are allowed twice
        their place: were their own files too many, they would be written anew without end.
        """
        files_max = FILES_MAX + 2 * held_bytes // self._file_bytes_max
        if len(self._files) <= files_max or self._rewrites or self.full:
            return 0
        oldest = self._files[0]
        if oldest.live == 0 or oldest.number == self._emptied:
            return 0
        self._emptied = oldest.number
        return self._emptied

    def has_entries(self, queue_id: i64, number: int) -> bool:
        """Whether entries of this queue live in this file."""
        log = self.logs.get(queue_id)
        return log is not None and number in log.live

    def rewrite(self, entries: list[Entry]) -> None:
        """Write these once more, so that the file that they are in can go."""
        self._rewrites = entries

    def deadline(self) -> float | None:
        """When `due` turns true by time alone, as far as the last `due` could know."""
        if self.broken or self._in_flight or not self.ranges or self._settle_deadline < 0:
            return None
        if self.full and not (self._relieves or self._tries_all):
            return None
        return self._settle_deadline

    def take_batch(self) -> Batch | None:
        """All that waits, encoded; None if nothing is left to write: then it all counts as synced.

        Settled ranges go along with what is written anyway; alone they go when they are due, or
        nothing else waited. While the disk is full only what makes room is taken.
        """
        assert self._in_flight == 0, f"batch {self._in_flight} is being written"
        if self.broken:
            return None
        relieves = self.full and not self._tries_all
        if self.full:
            # To the journal, what a segment will never hold is settled.
            for part in self.segments.prune():
                self._returned.append((part.queue_id, [(part.added_from, part.last)]))
        starts_file = self._starts_again or self._file_bytes >= self._file_bytes_max
        number = self._file.number
        header = b""
        crc = self._file_crc
        if starts_file:
            if not self._starts_again:
                number += 1
            header = file_header(JOURNAL_MAGIC, number, self._seed)
            crc = header_crc(header)
        writer = self._writer
        writer.begin(crc)
        outbox = self.segments
        taken = Taken(relieves, writer.sequence, self._covered, self._file_bytes)
        waited = bool(self.appended or self._defined)
        sync = self._encode_relief(taken) if relieves else self._encode_all(number, waited, taken)
        starts_file = starts_file and not writer.is_empty()
        if writer.is_empty() and not (outbox.can_unlink() if relieves else outbox.has_work()):
            if relieves:
                return None
            if waited or self.full:
                self.full = False
                self.synced_position = self.position
                self.position += 1
                self.pending_bytes = 0
            return None
        chunks = writer.take()
        if starts_file:
            chunks.insert(0, header)
            if not self._starts_again:
                self._file = self._add_file(number)
            self._starts_again = False
            self._file_crc = crc
            self._file_bytes = FILE_HEADER_BYTES
        self._file_bytes += writer.chunk_bytes
        if not relieves:
            self._count_appended()
            for each in taken.rewritten:
                self._move(each.entry.queue_id, each.file, self._file.number)
        return self._make_batch(taken, chunks, sync, starts_file, waited)

    def _make_batch(
        self, taken: Taken, chunks: list[bytes], sync: bool, starts_file: bool, is_awaited: bool
    ) -> Batch:
        outbox = self.segments
        # While segments wait for room, entries may be on disk in old journal files only. And if
        # nothing is written, the file before one that was refused is still the last one.
        keeps_files = self._starts_again or (taken.relieves and bool(outbox.writes))
        number = self._file.number - (1 if self._starts_again else 0)
        deletable = [] if keeps_files else self._take_deletable(taken)
        snapshot: bytes | None = None
        if deletable and deletable[-1] >= self._covered:
            snapshot = self._encode_snapshot()
            self._covered = self._file.number
        batch = Batch(number, chunks, starts_file, snapshot, deletable)
        if taken.relieves:
            outbox.hand_over_idle(batch)
            self._in_flight = RELIEF
        else:
            outbox.hand_over(batch, is_awaited)
            taken.segments = outbox.appended
            outbox.appended = []
            taken.pending_bytes = self.pending_bytes
            self._in_flight = self.position
            self.position += 1
        batch.position = self._in_flight
        batch.sequence = self._writer.sequence
        batch.is_last = taken.stops
        # A snapshot says which blocks it covers: those must be on disk before it is. What is
        # settled in a segment must be as well, before the segment is gone.
        batch.sync = sync or starts_file or snapshot is not None
        batch.sync = batch.sync or bool(batch.unlinks or batch.cuts or batch.set_aside)
        taken.batch = batch
        self._taken = taken
        return batch

    def synced(self, position: i64) -> None:
        """The edge wrote the batch, and synced it if it was told to."""
        assert position == self._in_flight, f"batch {position} synced, {self._in_flight} taken"
        self._in_flight = 0
        taken = self._taken
        self._taken = None
        assert taken is not None, position
        if taken.relieves:
            return
        self.full = False
        self.segments.refused = {}
        self.synced_position = position
        self.pending_bytes -= taken.pending_bytes
        for segment in taken.segments:
            segment.readable = segment.size

    def refused(self, reason: str) -> None:
        """The disk has no room for the batch, and nothing of it is there: all of it waits again.

        A stop does not wait for room.
        """
        taken = self._taken
        assert taken is not None
        assert taken.batch is not None
        self._taken = None
        self._in_flight = 0
        if taken.stops:
            self.failed(reason)
            return
        self._relieves = not taken.relieves
        self.full = True
        self._tries_all = False
        self._files[:0] = taken.files
        for file in taken.files:
            self.files_by_number[file.number] = file
        self._put_back(taken)
        self._covered = taken.covered
        self._writer.sequence = taken.sequence
        self._file_bytes = taken.file_bytes
        if taken.batch.starts_file:
            self._starts_again = True
            self._file_bytes = FILE_HEADER_BYTES

    def retry(self, *, tries_all: bool) -> None:
        """There may be room now: for what makes more room, or for all that waits."""
        if self.full:
            self._relieves = True
            self._tries_all = tries_all

    def encoded_bytes(self) -> i64:
        """About what the batch that is being written takes besides its messages."""
        return 0 if self._taken is None else self._taken.pending_bytes

    def wanted_bytes(self) -> int:
        """About how much room is needed for all that waits."""
        return self.pending_bytes + self.segments.waiting_bytes()

    def failed(self, reason: str) -> None:
        """The edge could not write or sync the batch: the journal is broken for good."""
        self.broken = True
        self.failure = reason
        self._in_flight = 0
        self.full = False
        self.pending_bytes = 0
        self._defined = []
        self.let_go()

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
        for queue_id in recovered.next_index:
            state = QueueState(recovered, queue_id)
            self._queue_states[queue_id] = state
            for number, count in state.live.items():
                self.files_by_number[number].live += count

    def _add_file(self, number: i64) -> JournalFile:
        file = JournalFile(number)
        self._files.append(file)
        self.files_by_number[number] = file
        return file

    def _encode_all(self, number: i64, waited: bool, taken: Taken) -> bool:
        """All records of a batch; True if it must be synced."""
        self._encode_definitions(taken)
        self._encode_appended(number, taken)
        self._encode_rewrites(number, taken)
        self._encode_segments(taken)
        sync = not self._writer.is_empty() or self._stops
        if sync or not waited or self._settles_are_due:
            self._returned = self._held + self._returned
            self._held = []
            self._encode_settled(taken, {})
            self._encode_segments(taken)
        if self._stops:
            taken.stops = True
            self._encode_stop()
        return sync

    def _encode_relief(self, taken: Taken) -> bool:
        """What makes room, as far as it does not depend on what waits for room."""
        self._encode_definitions(taken)
        outbox = self.segments
        awaiting = outbox.awaiting()
        kept: list[SegmentPart] = []
        # Of each queue, the first index that the journal must not know to be settled yet.
        limits: dict[int, int] = {}
        for part in outbox.parts:
            if segment_name(part.queue_id, part.number) in awaiting:
                kept.append(part)
                limit: int = part.added_from
                limits[part.queue_id] = min(limit, limits.get(part.queue_id, limit))
            else:
                self._writer.segment(part)
                taken.parts.append(part)
        outbox.parts = kept
        self._encode_settled(taken, limits)
        return True

    def _encode_segments(self, taken: Taken) -> None:
        for part in self.segments.parts:
            self._writer.segment(part)
        taken.parts.extend(self.segments.parts)
        self.segments.parts = []

    def _encode_definitions(self, taken: Taken) -> None:
        """Twice, in two blocks: if one is damaged no queue is lost by it."""
        writer = self._writer
        for _ in range(2):
            writer.end_block()
            for key, value in self._defined:
                if value is None:
                    writer.undefine(key)
                else:
                    writer.define(key, value)
        taken.defined = self._defined
        self._defined = []

    def _encode_appended(self, number: i64, taken: Taken) -> None:
        """Entries of one message that follow each other share its bytes."""
        writer = self._writer
        message = None
        for entry in self.appended:
            if entry.state != PENDING:
                continue
            entry.state = WRITTEN
            entry.file = number
            if entry.message is message:
                writer.same(entry)
            else:
                message = entry.message
                writer.message(entry)
        taken.appended = self.appended
        self.appended = []

    def _encode_rewrites(self, number: i64, taken: Taken) -> None:
        size: i64 = 0
        done = 0
        for entry in self._rewrites:
            done += 1
            if entry.state == WRITTEN and entry.file != IN_SEGMENT and entry.file != number:
                taken.rewritten.append(Rewritten(entry, entry.file))
                entry.file = number
                self._writer.message(entry)
                size += entry.message.cost
                if size > REWRITE_BYTES:
                    break
        del self._rewrites[:done]

    def _encode_settled(self, taken: Taken, limits: dict[int, int]) -> None:
        """Ranges of a queue that has a limit wait from there on."""
        writer = self._writer
        for log in self.counted:
            counts = log.counts.take()
            writer.ranges(DELIVERIES, log.queue_id, counts)
            taken.counts.append((log, counts))
        self.counted = []
        ranges_of = self._returned
        self._returned = []
        for log in self.dirty:
            ranges = log.take_ranges()
            if ranges:
                ranges_of.append((log.queue_id, ranges))
        for queue_id, ranges in ranges_of:
            # A queue that was deleted meanwhile has nothing left to be settled.
            if queue_id not in self.logs:
                continue
            limit = limits.get(queue_id)
            if limit is not None:
                ranges, late = split(ranges, limit)
                if late:
                    self._held.append((queue_id, late))
            if ranges:
                writer.ranges(SETTLED_RANGES, queue_id, ranges)
                taken.ranges.append((queue_id, ranges))
        self.ranges = 0
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
        for log in self.logs.values():
            ranges = log.backlog.redelivered_unread()
            if ranges:
                self._writer.ranges(REDELIVERED_RANGES, log.queue_id, ranges)
        self._writer.stopped()
        self._stops = False
        self._redelivered = []

    def _count_appended(self) -> None:
        still_dirty: list[QueueLog] = []
        for log in self.dirty:
            self._file.live += log.take_appended(self._file.number)
            log.is_dirty = log.has_ranges()
            if log.is_dirty:
                still_dirty.append(log)
        self.dirty = still_dirty

    def _move(self, queue_id: i64, old: i64, number: i64) -> None:
        """One entry of this queue is in another file now."""
        log = self.logs.get(queue_id)
        if log is not None:
            log.move(old, number)
            self.files_by_number[old].live -= 1
            self.files_by_number[number].live += 1

    def _put_back(self, taken: Taken) -> None:
        """What a batch took waits again, before what came since."""
        number = self._file.number
        self._defined = taken.defined + self._defined
        self._returned = taken.ranges + self._returned
        for log, counts in taken.counts:
            if log.queue_id in self.logs and log.counts.put_back(counts):
                self.counted.append(log)
        waiting: list[Entry] = []
        for entry in taken.appended:
            its_log = self.logs.get(entry.queue_id)
            if entry.state == WRITTEN and entry.file != IN_SEGMENT and its_log is not None:
                entry.state = PENDING
                its_log.put_back(number)
                self._file.live -= 1
                waiting.append(entry)
        self.appended = waiting + self.appended
        again: list[Entry] = []
        for each in taken.rewritten:
            entry = each.entry
            if entry.state == WRITTEN and entry.queue_id in self.logs:
                entry.file = each.file
                self._move(entry.queue_id, number, each.file)
                again.append(entry)
        self._rewrites = again + self._rewrites
        outbox = self.segments
        outbox.parts = taken.parts + outbox.parts
        outbox.appended = taken.segments + outbox.appended
        for segment in outbox.appended:
            segment.readable = segment.size
        if taken.batch is not None:
            outbox.take_back(taken.batch)

    def _take_deletable(self, taken: Taken) -> list[int]:
        deletable: list[int] = []
        while self._files[0] is not self._file and self._files[0].live == 0:
            file = self._files.pop(0)
            del self.files_by_number[file.number]
            taken.files.append(file)
            deletable.append(file.number)
        return deletable

    def _encode_snapshot(self) -> bytes:
        header = file_header(SNAPSHOT_MAGIC, self._writer.sequence, self._seed)
        writer = BlockWriter(0)
        writer.begin(header_crc(header))
        writer.next_queue(self.next_queue_id)
        for queue_id, state in self._queue_states.items():
            writer.next_index(queue_id, state.next_index)
        for log in self.logs.values():
            writer.next_index(log.queue_id, log.next_index)
            for segment in log.backlog.segments:
                if segment.live() > 0:
                    writer.segment(segment.part(segment.last + 1))
                    if segment.settled.total:
                        writer.ranges(SETTLED_RANGES, log.queue_id, segment.settled.items())
            writer.ranges(DELIVERIES, log.queue_id, log.counts.kept(log.backlog))
        for key, value in self._definitions.items():
            writer.define(key, value)
        writer.end()
        return b"".join([header, *writer.take()])
