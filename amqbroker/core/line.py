"""The messages of one queue, or of one priority of it, in the order in which they came.

To the store a line is what has an id: it has a log of its own in the journal, its own indexes, and
its own segments. A plain queue has one line; a queue with priorities has one for each level that
was ever used, with ids that follow the queue's own.

Invariant: an entry is either in `ready` or outstanding on exactly one channel; `ready` is in
publish order, and a requeued entry returns to its place by its index (0-9-1 leaves that open;
RabbitMQ does it, and clients count on it).

`log` is the line's door to durability: None for a queue that is not durable.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING, Final, cast, final

from mypy_extensions import i64

from amqbroker.core.entry import QueueEntry
from amqbroker.core.memory import NOTHING, READ_BYTES, SMALL_READ_BYTES, ReadRequest
from amqbroker.core.ready import Ready, index_of
from amqbroker.message import (
    ENTRY_OVERHEAD_BYTES,
    IN_SEGMENT,
    PENDING,
    SETTLED,
    VOLATILE,
    WRITTEN,
    Entry,
    Message,
)
from amqbroker.store.backlog import Backlog
from amqbroker.store.queue_log import QueueLog
from amqbroker.store.segment_outbox import SEGMENT_MESSAGES_MAX, SEGMENT_SIZE_MAX

if TYPE_CHECKING:
    from amqbroker.core.memory import Memory
    from amqbroker.core.queue import Queue

# Messages at the head of a line with consumers that do not go to disk with those behind them.
KEPT_FOR_CONSUMERS: Final = 4096


@final
class Line:
    """One line of `queue`."""

    __slots__ = (
        "backlog",
        "came_back",
        "flying",
        "flying_back",
        "flying_bytes",
        "flying_out",
        "flying_out_bytes",
        "id",
        "keeps_all",
        "log",
        "memory",
        "next_index",
        "queue",
        "ready",
        "seen_index",
        "spill_down_to",
        "window",
    )

    def __init__(self, queue: Queue, line_id: i64, memory: Memory) -> None:
        self.queue = queue
        self.id: i64 = line_id
        self.memory = memory
        self.log: QueueLog | None = None
        # Transient messages are durable here too.
        self.keeps_all = False
        # What is on disk; None for a line that never had anything there.
        self.backlog: Backlog | None = None
        # While its tail goes to disk: how many bytes shall be left of it, else -1.
        self.spill_down_to: i64 = -1
        # How often messages came back that are on disk only, and whose log does not know it.
        self.came_back: dict[int, int] = {}
        # What is in the batch that is being written to disk, of the tail, of what came back, and of
        # what is out for delivery.
        self.flying: list[Entry] = []
        self.flying_back: list[Entry] = []
        self.flying_bytes: i64 = 0
        self.flying_out: list[QueueEntry] = []
        self.flying_out_bytes: i64 = 0
        # How much is read at once.
        self.window: i64 = SMALL_READ_BYTES
        self.ready = Ready()
        self.next_index: i64 = 0
        # All before this index has been offered to consumers.
        self.seen_index: i64 = 0

    def append(self, message: Message, expires_at: i64) -> i64:
        """A new message; the journal position to wait for, 0 if there is nothing to wait for."""
        entry = QueueEntry(message, self, self.next_index)
        entry.expires_at = expires_at
        self.next_index += 1
        self.memory.hold(message)
        self.ready.append(entry)
        log = self.log
        if log is not None and (message.persistent or self.keeps_all):
            return log.append(entry)
        return 0

    def settle(self, entry: QueueEntry) -> None:
        """This entry is done with, for ever."""
        if entry.file == IN_SEGMENT and entry.message.is_absent():
            self._settle_absent(entry)
        else:
            self.memory.release(entry.message)
        if entry.state != VOLATILE:
            log = self.log
            if log is not None:
                log.settle(entry)

    def _settle_absent(self, entry: QueueEntry) -> None:
        self.memory.unloaded -= 1
        if entry.state == VOLATILE and self.backlog is not None:
            self.backlog.hold_out(entry.index, -1)

    def put_back(self, entries: list[QueueEntry]) -> None:
        """Outstanding entries are ready again, at their places. Those that are only on disk are
        read when they are wanted."""
        absent = [entry for entry in entries if entry.message.is_absent()]
        if not absent:
            self.ready.put_back(entries)
            return
        if len(absent) < len(entries):
            self.ready.put_back([entry for entry in entries if not entry.message.is_absent()])
        absent.sort(key=index_of)
        backlog = self._make_backlog()
        # What was taken since is in no segment: its indexes must not lie inside of one.
        backlog.seal()
        left = backlog.give_back([cast("Entry", entry) for entry in absent])
        assert not left, left[0].index
        for entry in absent:
            if entry.state == VOLATILE:
                if self.queue.rules.counts_deliveries:
                    self.came_back[entry.index] = entry.deliveries
                backlog.hold_out(entry.index, -1)
        self.memory.unloaded -= len(absent)
        self.ready.went_back(len(absent), backlog.next_index)

    def purge(self) -> None:
        """Drop every ready message."""
        for entry in self.ready.take_all():
            self.settle(entry)
        self.landed()
        if self.backlog is not None:
            self.backlog.drop_unread()
            self._settle_dropped(self.backlog)
            self.came_back = {}

    def close(self) -> None:
        """The queue is deleted, and everything with it."""
        for entry in self.ready.take_all():
            self.memory.release(entry.message)
        self.landed()
        if self.log is not None:
            self.log.close()
            self.log = None
        elif self.backlog is not None:
            self.backlog.close()

    def forget(self) -> None:
        """The broker is done with, its messages are not."""
        self.ready.take_all()
        self.flying = []
        self.flying_back = []
        self.flying_out = []

    def _settle_dropped(self, backlog: Backlog) -> None:
        """What was read, given back and then dropped."""
        dropped = backlog.dropped
        backlog.dropped = []
        if dropped and self.log is not None:
            self.log.settle_ranges(dropped)

    # To disk and back.

    def is_far_behind(self) -> bool:
        """Whether new messages will not be wanted for long: so much is on disk before them."""
        backlog = self.backlog
        if backlog is None or not self.queue.consumers.all:
            return True
        return backlog.unread > SEGMENT_MESSAGES_MAX or backlog.unread_bytes > SEGMENT_SIZE_MAX

    def spill(self, extra_max: i64) -> i64:
        """Put the oldest of the tail into the next batch, and NOTHING if no more is to go.

        What would not be in the batch anyway is limited, and costs as much as is returned. There is
        no limit but the disk's for a line that is far behind: else what comes meanwhile would go to
        the journal, and be written twice from then on.
        """
        ready = self.ready
        # The oldest messages of a queue that is being consumed are wanted next: they stay.
        keep: i64 = KEPT_FOR_CONSUMERS if self.queue.consumers.all and not ready.paged else 0
        if ready.tail_count() <= keep:
            return NOTHING
        left = ready.tail_cost() - self.spill_down_to
        if left <= 0:
            return NOTHING
        backlog = self._make_backlog()
        if not ready.paged:
            # What was taken since is in no segment: its indexes must not lie inside of one.
            backlog.seal()
        at_once = ready.paged and self.is_far_behind() and left <= self.memory.disk_room
        entries = ready.cut_tail(keep, left, left if at_once else extra_max)
        cost: i64 = 0
        extra: i64 = 0
        for entry in entries:
            one = entry.message.cost + ENTRY_OVERHEAD_BYTES
            cost += one
            if entry.state != PENDING:
                extra += one
        backlog.append(self.memory.writer, entries)
        ready.disk_next = backlog.next_index
        if self.log is not None:
            self.log.stored(entries)
        self._takes_off()
        self.flying.extend(entries)
        self.flying_bytes += cost
        self.memory.flying_bytes += cost
        return 0 if at_once else extra

    def _takes_off(self) -> None:
        """Something of this line will be in the next batch: it wants to know how that ends."""
        if not self.flying and not self.flying_back and not self.flying_out:
            self.memory.stored.append(self)

    def give_back(self, bounds: list[int], can_write: bool) -> i64:
        """What was read ahead, and what came back, goes to disk again; what that gains, in bytes.

        What a segment has is read once more. What came back and is in none is written to one, if
        it is much, the disk takes it, and no index of `bounds` lies in between: those of messages
        that are in memory and not ready.
        """
        ready = self.ready
        backlog = self._make_backlog()
        if not ready.paged:
            # What was taken since is in no segment: its indexes must not lie inside of one.
            backlog.seal()
        self.window = SMALL_READ_BYTES
        before = ready.head_cost()
        taken = ready.cut_head()
        left = backlog.give_back(taken)
        counts = self.queue.rules.counts_deliveries
        place: i64 = 0
        for entry in taken:
            if place < len(left) and entry is left[place]:
                place += 1
            else:
                if counts and entry.deliveries > 0 and entry.state == VOLATILE:
                    self.came_back[entry.index] = entry.deliveries
                self.memory.release(entry.message)
        stay = self._store_returned(left, bounds) if can_write else left
        ready.keep(stay, backlog.next_index)
        return before - ready.head_cost()

    def _store_returned(self, entries: list[Entry], bounds: list[int]) -> list[Entry]:
        """Write what came back to segments of its own; what stays in memory."""
        backlog = self._make_backlog()
        stay: list[Entry] = []
        limits = sorted(bounds + self.ready.indexes())
        start: i64 = 0
        while start < len(entries):
            group = self._group(entries, start, limits)
            start += len(group)
            if len(group) < self.memory.back_count_min:
                stay.extend(group)
                continue
            holes = backlog.insert(self.memory.writer, group)
            if self.log is not None:
                self.log.stored(group)
                self.log.settle_ranges(holes)
            self._takes_off()
            self.flying_back.extend(group)
            for entry in group:
                cost = entry.message.cost + ENTRY_OVERHEAD_BYTES
                self.flying_bytes += cost
                self.memory.flying_bytes += cost
        return stay

    def _group(self, entries: list[Entry], start: i64, limits: list[int]) -> list[Entry]:
        """From `start` on, what can be in one segment: no other segment may lie inside, and none of
        these indexes."""
        first = entries[start].index
        bound = self._make_backlog().gap(first)
        place = bisect_left(limits, first)
        if place < len(limits):
            bound = min(bound, limits[place])
        end = start + 1
        size: i64 = entries[start].message.cost
        while (
            end < len(entries)
            and entries[end].index < bound
            and end - start < SEGMENT_MESSAGES_MAX
            and size < SEGMENT_SIZE_MAX
        ):
            size += entries[end].message.cost
            end += 1
        return entries[start:end]

    # What is out for delivery.

    def unload(self, entry: QueueEntry) -> bool:
        """Let go of the message of an entry that is out for delivery, if a segment has it."""
        backlog = self.backlog
        segment = backlog.copy_of(entry.index) if backlog is not None else None
        if backlog is None or segment is None:
            return False
        if segment.can_read_again():
            if entry.state == VOLATILE:
                backlog.hold_out(entry.index, 1)
            self.memory.unload(entry)
        return True

    def store_out(self, entries: list[Entry], bounds: list[int], bytes_max: i64) -> i64:
        """Write about so much of what is out for delivery, in index order and in no segment, to
        segments of its own; how much that was. `bounds` as of `give_back`."""
        backlog = self._make_backlog()
        limits = sorted(bounds + self.ready.indexes())
        stored: i64 = 0
        start: i64 = 0
        while start < len(entries) and stored < bytes_max:
            group = self._group(entries, start, limits)
            start += len(group)
            if len(group) < self.memory.back_count_min:
                continue
            holes = backlog.insert_out(self.memory.writer, group)
            if self.log is not None:
                self.log.stored(group)
                self.log.settle_ranges(holes)
            self._takes_off()
            for entry in group:
                # To the log it is done with, so far as that is the journal's.
                if entry.state == SETTLED:
                    entry.state = WRITTEN
                entry.file = IN_SEGMENT
                self.flying_out.append(cast("QueueEntry", entry))
                stored += entry.message.cost + ENTRY_OVERHEAD_BYTES
        self.flying_out_bytes += stored
        self.memory.flying_bytes += stored
        return stored

    def out_landed(self) -> None:
        """What is out for delivery and was on its way to disk is there."""
        out = self._end_flight_out()
        if self.queue.deleted:
            return
        backlog = self._make_backlog()
        for entry in out:
            # If a full disk took it before the rest of its batch, it may have left memory already.
            if entry.outstanding and not entry.message.is_absent():
                self.unload(entry)
        for entry in out:
            if entry.state == VOLATILE:
                # If it is nowhere any more, nobody wants its segment.
                backlog.hold_out(entry.index, 0)

    def _end_flight_out(self) -> list[QueueEntry]:
        out = self.flying_out
        self.flying_out = []
        self.memory.flying_bytes -= self.flying_out_bytes
        self.flying_out_bytes = 0
        return out

    def _make_backlog(self) -> Backlog:
        backlog = self.backlog
        if backlog is None:
            backlog = self.log.backlog if self.log is not None else None
            if backlog is None:
                backlog = Backlog(self.id, self.memory.outbox)
            self.backlog = backlog
        return backlog

    def landed(self) -> None:
        """What is on its way to disk is there, or nobody wants it any more."""
        self._forget_flying(self.next_index)

    def _forget_flying(self, end: i64) -> None:
        """Let go of what is on its way to disk and has a smaller index than this."""
        self.flying = self._let_go(self.flying, end)
        self.flying_back = self._let_go(self.flying_back, end)

    def _let_go(self, entries: list[Entry], end: i64) -> list[Entry]:
        memory = self.memory
        stay: list[Entry] = []
        for entry in entries:
            if entry.index >= end:
                stay.append(entry)
                continue
            cost = entry.message.cost + ENTRY_OVERHEAD_BYTES
            self.flying_bytes -= cost
            memory.flying_bytes -= cost
            memory.release(entry.message)
        return stay

    def come_back(self) -> None:
        """The disk refused what was on its way there, and it takes nothing more."""
        backlog = self._make_backlog()
        backlog.unwritten(self.flying)
        backlog.unwritten(self.flying_back)
        self.ready.uncut(self.flying)
        self.ready.keep(self.flying_back, backlog.next_index)
        self.flying = []
        self.flying_back = []
        self.memory.flying_bytes -= self.flying_bytes
        self.flying_bytes = 0
        for entry in self._end_flight_out():
            entry.file = 0
            if entry.state == WRITTEN:
                entry.state = SETTLED

    def is_loaded(self) -> bool:
        """Whether the first ready message, if there is one, is in memory."""
        ready = self.ready
        if not ready.paged or ready.is_loaded():
            return True
        backlog = self.backlog
        if backlog is None or ready.on_disk == 0:
            return False
        # Reading may have stopped at the end of a segment: a message that came back is first if it
        # is before the next one.
        backlog.next_segment()
        ready.disk_next = backlog.next_index
        return ready.is_loaded()

    def body_bytes(self) -> i64:
        """What the bodies of all ready messages have, with an estimate where only the disk
        knows."""
        backlog = self.backlog
        if backlog is None:
            return self.ready.body_bytes
        return self.ready.body_bytes + max(backlog.unread_bytes, 0)

    def drop_segment(self) -> None:
        """Drop what is not read of the next segment."""
        backlog = self.backlog
        assert backlog is not None, self.id
        self._forget_flying(backlog.next_segment().last + 1)
        dropped = backlog.drop_next()
        self._settle_dropped(backlog)
        self.ready.load([], 0, 0, dropped, backlog.next_index)

    def read_ahead(self, head_only: bool, drops: bool) -> None:
        """Ask for the next messages on disk, if they will be wanted soon.

        With `head_only` nobody but the queue's own rules wants to see the first of them; `drops`
        says that those are dropping messages, and will probably want to see many.
        """
        backlog = self.backlog
        assert backlog is not None, self.id
        ready = self.ready
        queue = self.queue
        length = min(self.memory.read_length(), self.window)
        if not queue.waiting_gets and not queue.consumers.can_any_take():
            if not head_only:
                return
            if not drops:
                length = min(length, SMALL_READ_BYTES)
        if ready.is_loaded() and ready.front_cost() > self.memory.read_ahead():
            return
        piece = backlog.next_read(length)
        if piece is not None:
            self.window = min(self.window * 2, READ_BYTES)
            self.memory.reads.append(ReadRequest(self, piece))
