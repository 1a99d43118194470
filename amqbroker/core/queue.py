"""One queue: its messages in lines, its consumers, and who gets what next.

A plain queue is one line. With `x-max-priority` there is a line for each level that was used, and
the highest one with messages is served first. Deliveries happen once a turn, in `deliver`, never
inside a publish.

Source: RabbitMQ's `rabbit_amqqueue_process`, `rabbit_priority_queue`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from mypy_extensions import i64

from amqbroker.core import limits
from amqbroker.core.arguments import QUORUM, queue_type
from amqbroker.core.consumer import Consumers
from amqbroker.core.discard import DELIVERY_LIMIT, DISCARDED_MAX, Discard
from amqbroker.core.entry import QueueEntry
from amqbroker.core.expiry import drop_expired, set_head_timer
from amqbroker.core.held import HeldGet
from amqbroker.core.line import Line
from amqbroker.core.reloading import Reloading, has_absent
from amqbroker.core.rules import NO_LIMIT, Rules
from amqbroker.core.timers import Timer
from amqbroker.exchanges.base import Table
from amqbroker.message import Message
from amqbroker.store.journal import Journal
from amqbroker.wire.properties import priority_of

if TYPE_CHECKING:
    from amqbroker.core.client import Client
    from amqbroker.core.turn import Turn
    from amqbroker.core.vhost import VirtualHost

# Messages that one queue may send in one turn, so that others and the sockets get theirs, and those
# that may expire or be dropped.
DELIVERIES_A_TURN: Final = 4096
DROPS_A_TURN: Final = 1024
# A queue that keeps so many messages, with all its consumers at their limits, is outrun.
OUTRUN_MIN: Final = 1024


@final
class Queue:
    """One queue. `owner` is the connection that it is exclusive to.

    `line` is the only line, or that of priority 0. `levels` has all lines of a queue with
    priorities, the highest first; it is None for one without.
    """

    __slots__ = (
        "_journal",
        "arguments",
        "auto_delete",
        "consumers",
        "deleted",
        "dirty",
        "durable",
        "dying",
        "dying_bytes",
        "edits",
        "expiry",
        "had_consumer",
        "has_copies",
        "has_rules",
        "head_timer",
        "held",
        "held_bytes",
        "holds_back",
        "id",
        "is_awaited",
        "is_overdue",
        "levels",
        "line",
        "name",
        "owner",
        "reloading",
        "rules",
        "served",
        "serving",
        "surplus",
        "surplus_bytes",
        "turn",
        "unacked_count",
        "used_at",
        "vhost",
        "waiting_gets",
        "wants_head",
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
        self.turn = turn
        # Where it lives; None for a queue that was never added anywhere.
        self.vhost: VirtualHost | None = None
        self.id: i64 = queue_id
        self.name = name
        self.durable = durable
        self.auto_delete = auto_delete
        self.owner = owner
        self.arguments = arguments
        self.rules = Rules(arguments)
        self._journal: Journal | None = None
        self.line = Line(self, queue_id, turn.memory)
        self.line.keeps_all = queue_type(arguments) == QUORUM
        self.levels: list[Line] | None = [self.line] if self.rules.max_priority > 0 else None
        # basic.gets that wait for the disk.
        self.waiting_gets: list[HeldGet] = []
        self.unacked_count: i64 = 0
        self.consumers = Consumers(arguments.get("x-single-active-consumer") is True)
        self.had_consumer = False
        self.deleted = False
        self.dirty = False
        # What it discarded and was not sent on yet.
        self.dying: i64 = 0
        self.dying_bytes: i64 = 0
        # Its dead letters that are refused by full queues (discard.py); with too many of them its
        # own messages are held back.
        self.held: i64 = 0
        self.held_bytes: i64 = 0
        self.holds_back = False
        # This queue is full, and dead letters wait for room in it.
        self.is_awaited = False
        # Dead letters that come from disk first, and those behind them.
        self.reloading: Reloading | None = None
        # When this queue last sent or dropped anything, on the turn's count.
        self.served: i64 = 0
        # Whether messages may expire, or there may be too many: has_rules is asked on the way of
        # every message, and not taken back while one of them may have an expiry of its own.
        self.has_rules = self.rules.limit_messages()
        # Whether messages may have BCC keys that nobody may see, and whether any do not go out as
        # they are: that is asked for every delivery.
        self.has_copies = False
        self.edits = self.rules.counts_deliveries
        self.head_timer: Timer | None = None
        # A rule needs to see a head that is on disk.
        self.wants_head = False
        # A rule wants the head to go, and has dropped enough for this turn.
        self.is_overdue = False
        # What is too much since messages came back, and goes from the head before anybody gets
        # anything.
        self.surplus: i64 = 0
        self.surplus_bytes: i64 = 0
        self.serving = False
        # Of a queue that expires: its timer, and when it was last used.
        self.expiry: Timer | None = None
        self.used_at = 0.0

    def set_rules(self, rules: Rules) -> None:
        """Other rules hold from now on: what they ask of the messages that are here is done at the
        turn's end. Messages keep the expiry that they have."""
        self.rules = rules
        self.edits = rules.counts_deliveries or self.has_copies
        if rules.limit_messages() and not self.has_rules:
            self.has_rules = True
            for line in self.lines():
                line.seen_index = line.next_index
        self.wake()

    def expect_expiry(self) -> None:
        """A message with an expiry of its own comes, or was found at a start."""
        self.has_rules = True

    def hide_copies(self) -> None:
        """A message that may have BCC keys comes, or was found on disk."""
        self.has_copies = True
        self.edits = True

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

    def ready_bytes(self) -> i64:
        """What their bodies have."""
        if self.levels is None:
            return self.line.body_bytes()
        size: i64 = 0
        for line in self.levels:
            size += line.body_bytes()
        return size

    # In and out.

    def enqueue(self, message: Message) -> i64:
        """Append a message; the journal position to wait for, 0 if there is nothing to wait for."""
        line = self.line
        if self.levels is not None:
            line = self.level(min(priority_of(message.header), self.rules.max_priority))
        if not self.dirty:
            self.wake()
        if self.has_rules:
            return limits.enqueue(self, line, message)
        return line.append(message, 0)

    def wake(self) -> None:
        """Look at this queue when the turn is settled."""
        if not self.dirty:
            self.dirty = True
            self.turn.queues.append(self)

    def deliver(self) -> bool:
        """Send what consumers can take, and drop what rules want gone; True if there is more to do
        than one turn allows."""
        self.dirty = False
        if self.reloading is not None:
            self.reloading.go_on()
        goes_on = self._serve()
        if self.is_overdue and self._drops_max() == 0:
            # It goes on when dead letters do.
            self.turn.stalled[self.id] = self
            return False
        return goes_on

    def catch_up(self) -> bool:
        """Do at once what rules want at the end of the turn: somebody is about to count messages,
        or to take one. False if there is more to do than is done at once."""
        return not self.has_rules or self.serve()

    def serve(self) -> bool:
        """Do at once what is for the end of the turn; False if there is more to do."""
        if self.serving or self._serve():
            self.wake()
            return False
        return True

    def _serve(self) -> bool:
        line = self.line
        has_levels = self.levels is not None
        has_rules = self.has_rules
        consumers = self.consumers
        # With too many dead letters on its hands it makes no more of them.
        holds_back = self.holds_back or (self.dying > 0 and self.has_many_dying())
        limit: i64 = 0 if holds_back else DELIVERIES_A_TURN
        self.serving = True
        self.wants_head = False
        self.is_overdue = False
        drops_max = self._drops_max()
        drops: i64 = 0
        if has_rules and self._has_surplus():
            drops = limits.drop_surplus(self, drops_max)
            if self._has_surplus():
                limit = 0
        sent: i64 = 0
        awaits_head = False
        while sent < limit:
            if has_rules:
                drops += drop_expired(self, drops_max - drops, False)
                if self.is_overdue:
                    break
            if has_levels:
                line = self.first_line()
            ready = line.ready
            if ready.count == 0:
                break
            if ready.paged and not line.is_loaded():
                # What is behind it was not offered to those who have room, either.
                awaits_head = consumers.can_any_take()
                break
            consumer = consumers.next()
            if consumer is None:
                if sent > 0 and ready.count > OUTRUN_MIN:
                    self.turn.outrun_at = self.turn.now
                break
            consumer.send(ready.take())
            sent += 1
        if has_rules:
            if sent < DELIVERIES_A_TURN and not awaits_head and not self._has_surplus():
                drops += self._drop_rest(drops_max - drops)
            if not self.holds_back and not self.is_overdue:
                set_head_timer(self)
        if sent > 0 or drops > 0:
            self.turn.served += 1
            self.served = self.turn.served
        if has_levels:
            line = self.first_line()
        if has_rules and line.ready.count == 0 and not self.rules.limit_messages():
            # The last message that could expire is gone.
            self.has_rules = False
        if line.ready.paged:
            line.read_ahead(self.wants_head, drops > 0)
        self.serving = False
        return self.is_overdue or (sent == DELIVERIES_A_TURN and self.ready_count() > 0)

    def _drops_max(self) -> i64:
        """How much rules may drop now: not more dead letters than are sent on."""
        if self.rules.dead_letter_exchange is None:
            return DROPS_A_TURN
        return max(0, min(DROPS_A_TURN, DISCARDED_MAX - self.turn.discarded))

    def _has_surplus(self) -> bool:
        return self.surplus > 0 or self.surplus_bytes > 0

    def _drop_rest(self, drops_max: i64) -> i64:
        """No consumer takes any more: drop what is too much, and what lived for consumers that
        wait; how much was done."""
        come: i64 = 0
        for line in self.lines():
            come += line.next_index - line.seen_index
            line.seen_index = line.next_index
        drops: i64 = 0
        # As if each had come alone: what does not live on is in nobody's way.
        rules = self.rules
        lives = not self.holds_back and rules.max_length != 0 and rules.max_length_bytes != 0
        if lives:
            drops = drop_expired(self, drops_max, True)
        # What new messages push out goes at once: publishers wait if that is too much.
        drops += limits.drop_head(self, max(drops_max - drops, come), lives)
        if not self.holds_back:
            drops += drop_expired(self, max(drops_max - drops, 0), True)
        return drops

    def discard(self, entries: list[QueueEntry], reason: int) -> None:
        """Entries that are neither ready nor outstanding leave for this reason: to the dead-letter
        exchange at the end of the turn (discard.py), or for ever."""
        if self.rules.dead_letter_exchange is not None and not self.deleted:
            if self.reloading is None and has_absent(entries):
                self.reloading = Reloading(self)
            if self.reloading is not None:
                self.reloading.add(entries, reason)
            else:
                self.send_on(entries, reason)
            return
        for entry in entries:
            entry.line.settle(entry)

    def send_on(self, entries: list[QueueEntry], reason: int) -> None:
        """These are dead letters, and in memory: they go at the end of the turn."""
        self.turn.discards.append(Discard(self, entries, reason))
        self.turn.discarded += len(entries)
        self.dying += len(entries)
        for entry in entries:
            self.dying_bytes += entry.message.cost

    def has_many_dying(self) -> bool:
        """Whether so much is discarded and was not sent on that no more may be."""
        turn = self.turn
        return self.dying >= turn.dying_max or self.dying_bytes >= turn.dying_bytes_max

    def sends_on(self, entry: QueueEntry) -> None:
        """This entry, which was discarded, is not in the way of others any more."""
        had_many = self.has_many_dying()
        self.dying -= 1
        self.dying_bytes -= entry.message.cost
        if had_many and not self.has_many_dying():
            self.wake()

    def refuses(self, message: Message) -> bool:
        """Whether this queue has no room for this message, and would not make any."""
        return self.has_rules and limits.refuses(self, message)

    def requeue(self, entries: list[QueueEntry]) -> None:
        """Outstanding entries come back to their places, marked as redelivered."""
        if self.deleted:
            for entry in entries:
                entry.line.settle(entry)
            return
        for entry in entries:
            entry.redelivered = True
            entry.deliveries += 1
            entry.consumer = None
            if entry.expires_at != 0:
                self.has_rules = True
        if self.rules.counts_deliveries:
            entries = self._counted(entries)
        if self.levels is None:
            self.line.put_back(entries)
        else:
            for line in self.levels:
                back = [entry for entry in entries if entry.line is line]
                if back:
                    line.put_back(back)
        if self.has_rules:
            # Before anybody gets them: what is too much goes, even if it has just come back.
            limits.came_back(self, entries, DROPS_A_TURN)
        self.wake()

    def _counted(self, entries: list[QueueEntry]) -> list[QueueEntry]:
        """Keep the counts of these deliveries; which entries may be delivered once more. The others
        are discarded."""
        limit = self.rules.delivery_limit
        kept: list[QueueEntry] = []
        over: list[QueueEntry] = []
        for entry in entries:
            if limit != NO_LIMIT and entry.deliveries > limit:
                over.append(entry)
                continue
            kept.append(entry)
            log = entry.line.log
            if log is not None:
                log.returned(entry)
        if over:
            self.discard(over, DELIVERY_LIMIT)
        return kept

    def purge(self) -> int:
        """Drop every ready message; how many there were."""
        count = self.ready_count()
        self.surplus = 0
        self.surplus_bytes = 0
        for line in self.lines():
            line.purge()
        if self.waiting_gets:
            self.wake()
        return count

    def delete(self) -> int:
        """Drop everything, for ever; how many messages were ready. Outstanding ones settle into
        nothing."""
        self.deleted = True
        if self.head_timer is not None:
            self.turn.timers.cancel(self.head_timer)
            self.head_timer = None
        if self.reloading is not None:
            self.reloading.give_up()
        count = self.ready_count()
        for line in self.lines():
            line.close()
        if self.waiting_gets:
            self.wake()
        return count


def last_served(queue: Queue) -> int:
    """The sort key of queues that are to deliver."""
    return queue.served
