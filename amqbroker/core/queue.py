"""One queue: its messages in lines, its consumers, and who gets what next.

A plain queue is one line. With `x-max-priority` there is a line for each level that was used, and
the highest one with messages is served first. Deliveries happen once a turn, in `deliver`, never
inside a publish.

Source: RabbitMQ's `rabbit_amqqueue_process`, `rabbit_priority_queue`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from mypy_extensions import i64

from amqbroker.core.consumer import Consumers
from amqbroker.core.entry import QueueEntry
from amqbroker.core.held import HeldGet
from amqbroker.core.line import Line
from amqbroker.core.rules import Rules
from amqbroker.core.timers import Timer
from amqbroker.exchanges.base import Table
from amqbroker.message import Message
from amqbroker.store.journal import Journal
from amqbroker.wire.properties import priority_of

if TYPE_CHECKING:
    from amqbroker.core.client import Client
    from amqbroker.core.turn import Turn

# Messages that one queue may send in one turn, so that others and the sockets get theirs.
DELIVERIES_A_TURN: Final = 4096


@final
class Queue:
    """One queue. `owner` is the connection that it is exclusive to.

    `line` is the only line, or that of priority 0. `levels` has all lines of a queue with
    priorities, the highest first; it is None for one without.
    """

    __slots__ = (
        "_journal",
        "_turn",
        "arguments",
        "auto_delete",
        "consumers",
        "deleted",
        "dirty",
        "durable",
        "expiry",
        "had_consumer",
        "id",
        "levels",
        "line",
        "name",
        "owner",
        "rules",
        "served",
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
        self._journal: Journal | None = None
        self.line = Line(self, queue_id, turn.memory)
        self.levels: list[Line] | None = [self.line] if self.rules.max_priority > 0 else None
        # basic.gets that wait for the disk.
        self.waiting_gets: list[HeldGet] = []
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

    # Lines.

    def ids(self) -> i64:
        """How many ids this queue has: its own, and those of its priorities."""
        return 1 + max(self.rules.max_priority, 0)

    def open_log(self, journal: Journal) -> None:
        """A durable queue gets its log, and those of priorities that a start found."""
        self._journal = journal
        self.line.log = journal.open_queue(self.id)
        priority: i64 = 1
        while priority < self.ids():
            if journal.is_recovered(self.id + priority):
                self.level(priority)
            priority += 1

    def lines(self) -> list[Line]:
        """All lines, the first to be served first."""
        return [self.line] if self.levels is None else self.levels

    def level(self, priority: i64) -> Line:
        """The line of this priority, which is made when it is first used."""
        levels = self.levels
        assert levels is not None, self.name
        line_id = self.id + priority
        place = 0
        for line in levels:
            if line.id == line_id:
                return line
            if line.id < line_id:
                break
            place += 1
        made = Line(self, line_id, self.line.memory)
        if self._journal is not None:
            made.log = self._journal.open_queue(line_id)
        levels.insert(place, made)
        return made

    def first_line(self) -> Line:
        """The line whose first message is the next one; an empty one if there is none."""
        if self.levels is not None:
            for line in self.levels:
                if line.ready.count > 0:
                    return line
        return self.line

    def ready_count(self) -> i64:
        """How many messages wait."""
        if self.levels is None:
            return self.line.ready.count
        count: i64 = 0
        for line in self.levels:
            count += line.ready.count
        return count

    # In and out.

    def enqueue(self, message: Message) -> i64:
        """Append a message; the journal position to wait for, 0 if there is nothing to wait for."""
        line = self.line
        if self.levels is not None:
            line = self.level(min(priority_of(message.header), self.rules.max_priority))
        if not self.dirty:
            self.wake()
        return line.append(message)

    def wake(self) -> None:
        """Look at this queue when the turn is settled."""
        if not self.dirty:
            self.dirty = True
            self._turn.queues.append(self)

    def deliver(self) -> bool:
        """Send what consumers can take; True if there is more to send than one turn allows."""
        self.dirty = False
        line = self.line
        has_levels = self.levels is not None
        consumers = self.consumers
        sent: i64 = 0
        while sent < DELIVERIES_A_TURN:
            if has_levels:
                line = self.first_line()
            ready = line.ready
            if ready.count == 0 or (ready.paged and not ready.is_loaded()):
                break
            consumer = consumers.next()
            if consumer is None:
                break
            consumer.send(ready.take())
            sent += 1
        if sent > 0:
            self._turn.served += 1
            self.served = self._turn.served
        if has_levels:
            line = self.first_line()
        if line.ready.paged:
            line.read_ahead()
        return sent == DELIVERIES_A_TURN and self.ready_count() > 0

    def discard(self, entries: list[QueueEntry], reason: int) -> None:
        """Entries that are neither ready nor outstanding leave for this reason (discard.py)."""
        for entry in entries:
            entry.line.settle(entry)

    def requeue(self, entries: list[QueueEntry]) -> None:
        """Outstanding entries come back to their places, marked as redelivered."""
        if self.deleted:
            for entry in entries:
                entry.line.memory.release(entry.message)
            return
        for entry in entries:
            entry.redelivered = True
            entry.deliveries += 1
            entry.consumer = None
        if self.levels is None:
            self.line.ready.put_back(entries)
        else:
            for line in self.levels:
                back = [entry for entry in entries if entry.line is line]
                if back:
                    line.ready.put_back(back)
        self.wake()

    def purge(self) -> int:
        """Drop every ready message; how many there were."""
        count = self.ready_count()
        for line in self.lines():
            line.purge()
        if self.waiting_gets:
            self.wake()
        return count

    def delete(self) -> int:
        """Drop everything, for ever; how many messages were ready. Outstanding ones settle into
        nothing."""
        self.deleted = True
        count = self.ready_count()
        for line in self.lines():
            line.close()
        if self.waiting_gets:
            self.wake()
        return count


def last_served(queue: Queue) -> int:
    """The sort key of queues that are to deliver."""
    return queue.served
