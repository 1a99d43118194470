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

from typing import TYPE_CHECKING, Final, final

from mypy_extensions import i64

from amqbroker.core.entry import QueueEntry
from amqbroker.core.memory import ReadRequest
from amqbroker.core.ready import Ready
from amqbroker.message import VOLATILE, Message
from amqbroker.store.backlog import Backlog
from amqbroker.store.journal import QueueLog

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
        "id",
        "log",
        "memory",
        "next_index",
        "queue",
        "ready",
        "spill_down_to",
    )

    def __init__(self, queue: Queue, line_id: i64, memory: Memory) -> None:
        self.queue = queue
        self.id: i64 = line_id
        self.memory = memory
        self.log: QueueLog | None = None
        # What is on disk; None for a line that never had anything there.
        self.backlog: Backlog | None = None
        # While its tail goes to disk: how many bytes shall be left of it, else -1.
        self.spill_down_to: i64 = -1
        self.ready = Ready()
        self.next_index: i64 = 0

    def append(self, message: Message) -> i64:
        """A new message; the journal position to wait for, 0 if there is nothing to wait for."""
        entry = QueueEntry(message, self, self.next_index)
        self.next_index += 1
        self.memory.hold(message)
        self.ready.append(entry)
        log = self.log
        if log is not None and message.persistent:
            return log.append(entry)
        return 0

    def settle(self, entry: QueueEntry) -> None:
        """This entry is done with, for ever."""
        self.memory.release(entry.message)
        if entry.state != VOLATILE:
            log = self.log
            if log is not None:
                log.settle(entry)

    def purge(self) -> None:
        """Drop every ready message."""
        for entry in self.ready.take_all():
            self.settle(entry)
        if self.backlog is not None:
            self.backlog.drop_unread()

    def close(self) -> None:
        """The queue is deleted, and everything with it."""
        for entry in self.ready.take_all():
            self.memory.release(entry.message)
        if self.log is not None:
            self.log.close()
            self.log = None
        elif self.backlog is not None:
            self.backlog.close()

    # To disk and back.

    def spill(self, cost_max: i64) -> bool:
        """Put the oldest of the tail into the next batch; False if nothing more is to go."""
        ready = self.ready
        # The oldest messages of a queue that is being consumed are wanted next: they stay.
        keep: i64 = KEPT_FOR_CONSUMERS if self.queue.consumers.all and not ready.paged else 0
        if ready.tail_count() <= keep:
            return False
        left = ready.tail_cost() - self.spill_down_to
        if left <= 0:
            return False
        backlog = self.backlog
        if backlog is None:
            backlog = self.log.backlog if self.log is not None else None
            if backlog is None:
                backlog = Backlog(self.id, self.memory.outbox)
            self.backlog = backlog
        if not ready.paged:
            # What was taken since is in no segment: its indexes must not lie inside of one.
            backlog.seal()
        entries = ready.cut_tail(keep, min(left, cost_max))
        backlog.append(self.memory.writer, entries)
        ready.disk_next = backlog.next_index
        if self.log is not None:
            self.log.stored(entries)
        for entry in entries:
            self.memory.release(entry.message)
        self.memory.stored.append(self)
        return True

    def is_loaded(self) -> bool:
        """Whether the first ready message, if there is one, is in memory."""
        ready = self.ready
        return not ready.paged or ready.is_loaded()

    def read_ahead(self) -> None:
        """Ask for the next messages on disk, if they will be wanted soon."""
        backlog = self.backlog
        assert backlog is not None, self.id
        ready = self.ready
        if not self.queue.consumers.all and not self.queue.waiting_gets:
            return
        if ready.is_loaded() and ready.front_cost() > self.memory.read_ahead():
            return
        piece = backlog.next_read(self.memory.read_length())
        if piece is not None:
            self.memory.reads.append(ReadRequest(self, piece))
