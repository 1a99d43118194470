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
from amqbroker.core.ready import Ready
from amqbroker.core.timers import Timer
from amqbroker.exchanges.base import Table
from amqbroker.message import VOLATILE, Message
from amqbroker.store.journal import QueueLog

if TYPE_CHECKING:
    from amqbroker.core.client import Client
    from amqbroker.core.turn import Turn

# Messages that one queue may send in one turn, so that others and the sockets get theirs.
DELIVERIES_A_TURN: Final = 4096


@final
class Queue:
    """One queue. `owner` is the connection that it is exclusive to."""

    __slots__ = (
        "_turn",
        "arguments",
        "auto_delete",
        "consumers",
        "deleted",
        "dirty",
        "durable",
        "expires_ms",
        "expiry",
        "had_consumer",
        "id",
        "log",
        "name",
        "next_index",
        "owner",
        "ready",
        "served",
        "unacked_count",
        "used_at",
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
        self.log: QueueLog | None = None
        self.ready = Ready()
        self.next_index: i64 = 0
        self.unacked_count: i64 = 0
        self.consumers = Consumers(arguments.get("x-single-active-consumer") is True)
        self.had_consumer = False
        self.deleted = False
        self.dirty = False
        # When this queue last sent anything, on the turn's count.
        self.served: i64 = 0
        # x-expires in milliseconds, 0 for never, and when the queue was last used.
        self.expires_ms: i64 = 0
        self.expiry: Timer | None = None
        self.used_at = 0.0

    def enqueue(self, message: Message) -> i64:
        """Append a message; the journal position to wait for, 0 if there is nothing to wait for."""
        entry = QueueEntry(message, self, self.next_index)
        self.next_index += 1
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
            consumer = consumers.next()
            if consumer is None:
                break
            consumer.send(ready.take())
            sent += 1
        if sent > 0:
            self._turn.served += 1
            self.served = self._turn.served
        return sent == DELIVERIES_A_TURN and ready.count > 0

    def settle(self, entry: QueueEntry) -> None:
        """This entry is done with, for ever."""
        if entry.state != VOLATILE:
            log = self.log
            if log is not None:
                log.settle(entry)

    def requeue(self, entries: list[QueueEntry]) -> None:
        """Outstanding entries come back to their places, marked as redelivered."""
        if self.deleted:
            return
        for entry in entries:
            entry.redelivered = True
            entry.consumer = None
        self.ready.put_back(entries)
        self.wake()

    def purge(self) -> int:
        """Drop every ready message; how many there were."""
        dropped = self.ready.take_all()
        log = self.log
        if log is not None:
            log.settle_all([entry for entry in dropped if entry.state != VOLATILE])
        return len(dropped)

    def delete(self) -> int:
        """Drop everything, for ever; how many messages were ready. Outstanding ones settle into
        nothing."""
        self.deleted = True
        count = self.ready.count
        self.ready.take_all()
        if self.log is not None:
            self.log.close()
            self.log = None
        return count


def last_served(queue: Queue) -> int:
    """The sort key of queues that are to deliver."""
    return queue.served
