"""Ready and outstanding messages of one queue.

Invariants: an entry is either in `ready` or outstanding on exactly one channel; `ready` is in
publish order, and a requeued entry returns to its place by its index (0-9-1 leaves that open;
RabbitMQ does it, and clients count on it). Deliveries happen once a turn, in `deliver`, never
inside a publish.

`log` is the queue's door to durability: None for a queue that is not durable.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from mypy_extensions import i64

from amqbroker.core.consumer import Consumers
from amqbroker.core.entry import QueueEntry
from amqbroker.core.held import HeldGet
from amqbroker.core.memory import ReadRequest
from amqbroker.core.ready import Ready
from amqbroker.core.rules import Rules
from amqbroker.core.timers import Timer
from amqbroker.exchanges.base import Table
from amqbroker.message import VOLATILE, Message
from amqbroker.store.backlog import Backlog
from amqbroker.store.journal import QueueLog

if TYPE_CHECKING:
    from amqbroker.core.client import Client
    from amqbroker.core.turn import Turn

# Messages that one queue may send in one turn, so that others and the sockets get theirs.
DELIVERIES_A_TURN: Final = 4096
# Messages at the head of a queue with consumers that do not go to disk with those behind them.
KEPT_FOR_CONSUMERS: Final = 4096


@final
class Queue:
    """One queue. `owner` is the connection that it is exclusive to."""

    __slots__ = (
        "_turn",
        "arguments",
        "auto_delete",
        "backlog",
        "consumers",
        "deleted",
        "dirty",
        "durable",
        "expiry",
        "had_consumer",
        "id",
        "log",
        "memory",
        "name",
        "next_index",
        "owner",
        "ready",
        "rules",
        "served",
        "spill_down_to",
        "unacked_count",
        "used_at",
        "waiting_gets",
    )

    def __init__(
        self,
        turn: Turn,
        queue_id: i64,
        name: str,
        durable: bool,
        auto_delete: bool,
        owner: Client | None,
        arguments: Table,
    ) -> None:
        self._turn = turn
        self.id: i64 = queue_id
        self.name = name
        self.durable = durable
        self.auto_delete = auto_delete
        self.owner = owner
        self.arguments = arguments
        self.rules = Rules(arguments)
        self.log: QueueLog | None = None
        # What is on disk; None for a queue that never had anything there.
        self.backlog: Backlog | None = None
        self.memory = turn.memory
        # While its tail goes to disk: how many bytes shall be left of it, else -1.
        self.spill_down_to: i64 = -1
        # basic.gets that wait for the disk.
        self.waiting_gets: list[HeldGet] = []
        self.ready = Ready()
        self.next_index: i64 = 0
        self.unacked_count: i64 = 0
        self.consumers = Consumers(arguments.get("x-single-active-consumer") is True)
        self.had_consumer = False
        self.deleted = False
        self.dirty = False
        # When this queue last sent anything, on the turn's count.
        self.served: i64 = 0
        # Of a queue that expires: its timer, and when it was last used.
        self.expiry: Timer | None = None
        self.used_at = 0.0

    def set_rules(self, rules: Rules) -> None:
        """Other rules hold from now on: what they ask of the messages that are here is done at the
        turn's end."""
        self.rules = rules
        self.wake()

    def enqueue(self, message: Message) -> i64:
        """Append a message; the journal position to wait for, 0 if there is nothing to wait for."""
        entry = QueueEntry(message, self, self.next_index)
        self.next_index += 1
        self.memory.hold(message)
        self.ready.append(entry)
        if not self.dirty:
            self.wake()
        log = self.log
        if log is not None and message.persistent:
            return log.append(entry)
        return 0

    def wake(self) -> None:
        """Look at this queue when the turn is settled."""
        if not self.dirty:
            self.dirty = True
            self._turn.queues.append(self)

    def deliver(self) -> bool:
        """Send what consumers can take; True if there is more to send than one turn allows."""
        self.dirty = False
        ready = self.ready
        consumers = self.consumers
        sent: i64 = 0
        while ready.count > 0 and sent < DELIVERIES_A_TURN:
            if ready.paged and not ready.is_loaded():
                break
            consumer = consumers.next()
            if consumer is None:
                break
            consumer.send(ready.take())
            sent += 1
        if sent > 0:
            self._turn.served += 1
            self.served = self._turn.served
        if ready.paged:
            self._read_ahead()
        return sent == DELIVERIES_A_TURN and ready.count > 0

    def settle(self, entry: QueueEntry) -> None:
        """This entry is done with, for ever."""
        self.memory.release(entry.message)
        if entry.state != VOLATILE:
            log = self.log
            if log is not None:
                log.settle(entry)

    def requeue(self, entries: list[QueueEntry]) -> None:
        """Outstanding entries come back to their places, marked as redelivered."""
        if self.deleted:
            for entry in entries:
                self.memory.release(entry.message)
            return
        for entry in entries:
            entry.redelivered = True
            entry.deliveries += 1
            entry.consumer = None
        self.ready.put_back(entries)
        self.wake()

    def purge(self) -> int:
        """Drop every ready message; how many there were."""
        count = self.ready.count
        dropped = self.ready.take_all()
        for entry in dropped:
            self.settle(entry)
        if self.backlog is not None:
            self.backlog.drop_unread()
        if self.waiting_gets:
            self.wake()
        return count

    def delete(self) -> int:
        """Drop everything, for ever; how many messages were ready. Outstanding ones settle into
        nothing."""
        self.deleted = True
        count = self.ready.count
        for entry in self.ready.take_all():
            self.memory.release(entry.message)
        if self.log is not None:
            self.log.close()
            self.log = None
        elif self.backlog is not None:
            self.backlog.close()
        if self.waiting_gets:
            self.wake()
        return count

    # To disk and back.

    def spill(self, cost_max: i64) -> bool:
        """Put the oldest of the tail into the next batch; False if nothing more is to go."""
        ready = self.ready
        # The oldest messages of a queue that is being consumed are wanted next: they stay.
        keep: i64 = KEPT_FOR_CONSUMERS if self.consumers.all and not ready.paged else 0
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

    def _read_ahead(self) -> None:
        """Ask for the next messages on disk, if they will be wanted soon."""
        backlog = self.backlog
        assert backlog is not None, self.name
        ready = self.ready
        if not self.consumers.all and not self.waiting_gets:
            return
        if ready.is_loaded() and ready.front_cost() > self.memory.read_ahead():
            return
        piece = backlog.next_read(self.memory.read_length())
        if piece is not None:
            self.memory.reads.append(ReadRequest(self, piece))


def last_served(queue: Queue) -> int:
    """The sort key of queues that are to deliver."""
    return queue.served
