"""Messages that leave a queue without having been acknowledged, and go on as dead letters.

`Queue.discard` only notes them. At the end of the turn `DeadLettering.work` sends so many of them
on: through the dead-letter exchange as it is then, to queues that may discard in their turn. What
is left is for the next turn, so neither long chains nor wide fanouts grow the stack or a turn.
Letters wait for a slow disk where publishers would (`waits_for_disk`). Meanwhile rules drop no more
that would have to be sent on: their queues stand in `turn.stalled` until letters go again. If more
than that is discarded, by consumers or since new messages push out old ones, publishers wait.

No dead letter is lost on its way: what outlives a restart leaves its queue only once its targets
have it on disk. Until then, and while a target is full and refuses (overflow `reject-publish`), the
message belongs to its old queue, neither ready nor outstanding, and a crash brings it back there.
A queue that has too many like that (`Queue.holds_back`), or too many that were not sent on yet
(`Queue.has_many_dying`), gives its consumers no more. Two kinds are dropped when they are refused:
of a queue whose strategy is `at-most-once`, and what a length limit dropped, since to keep it would
break the limit. RabbitMQ drops all that are refused, but those of quorum queues with the strategy
`at-least-once`.

Source: RabbitMQ's `rabbit_dead_letter`, `rabbit_fifo_dlx_worker`, and `dead_letter_publish` in
`rabbit_amqqueue_process`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from mypy_extensions import i64

from amqbroker.core import log
from amqbroker.core.dead_letters import Death, Letter, LetterMaker, shown
from amqbroker.core.entry import QueueEntry
from amqbroker.core.names import exchange_resource, queue_resource
from amqbroker.core.rules import REJECT_PUBLISH_DLX
from amqbroker.core.timers import TimerTarget
from amqbroker.exchanges.base import Exchange
from amqbroker.message import PENDING, Message
from amqbroker.wire.properties import headers_of

if TYPE_CHECKING:
    from amqbroker.core.broker import Broker
    from amqbroker.core.queue import Queue
    from amqbroker.core.vhost import VirtualHost

EXPIRED: Final = 0
MAXLEN: Final = 1
REJECTED: Final = 2
DELIVERY_LIMIT: Final = 3
# As x-death says it.
REASONS: Final = ("expired", "maxlen", "rejected", "delivery_limit")

# Dead letters that one turn sends on; one that goes to many queues counts as many.
DEAD_LETTERS_A_TURN: Final = 1024
# With so many that were not sent on yet, queues drop no more that would have to be sent on.
DISCARDED_MAX: Final = 2048
# With so many that left and are not on disk yet, the others wait.
UNSYNCED_MAX: Final = 65_536
# With so much that is refused, or was not sent on yet, a queue holds back what it has.
HELD_MAX: Final = 10_000
HELD_BYTES_MAX: Final = 64 * 1024 * 1024
# When refused letters are tried again, if no delivery of the full queue was a sign before.
RETRY_S: Final = 1.0
# What is said once is remembered for so many queues.
SAID_MAX: Final = 1_000


@final
class Discard:
    """Entries of one queue that leave for the same reason; those before `place` have left."""

    __slots__ = ("entries", "place", "queue", "reason")

    def __init__(self, queue: Queue, entries: list[QueueEntry], reason: int) -> None:
        self.queue = queue
        self.entries = entries
        self.reason = reason
        self.place = 0


@final
class Dying:
    """An entry that is about to leave its queue.

    `open` of its letters are not yet where they should be; `position` is of those that are.
    """

    __slots__ = ("entry", "open", "position", "queue")

    def __init__(self, queue: Queue, entry: QueueEntry) -> None:
        self.queue = queue
        self.entry = entry
        self.open: i64 = 1
        self.position: i64 = 0


@final
class HeldLetter:
    """A dead letter that `target` has no room for."""

    __slots__ = ("dying", "message", "target")

    def __init__(self, dying: Dying, message: Message, target: Queue) -> None:
        self.dying = dying
        self.message = message
        self.target = target


@final
class DeadLettering(TimerTarget):
    """The dead letters of one node that are on their way."""

    __slots__ = (
        "_broker",
        "_full",
        "_letters",
        "_said",
        "_timer_is_set",
        "_turned_away",
        "_unsynced",
        "has_room",
        "held_bytes_max",
        "held_max",
        "unsynced_max",
    )

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._letters = LetterMaker()
        # The letters that wait for room, by the id of the full queue.
        self._full: dict[int, list[HeldLetter]] = {}
        self._timer_is_set = False
        # Letters to full queues that send on what they refuse.
        self._turned_away: list[HeldLetter] = []
        # Entries whose letters are in a batch that is not on disk yet.
        self._unsynced: list[tuple[int, QueueEntry]] = []
        self._said: dict[str, bool] = {}
        # A full queue may have room by now.
        self.has_room = False
        self.unsynced_max: i64 = UNSYNCED_MAX
        self.held_max: i64 = HELD_MAX
        self.held_bytes_max: i64 = HELD_BYTES_MAX

    def work(self) -> None:
        """Send on some of what was discarded."""
        turn = self._broker.turn
        discards = turn.discards
        left: i64 = DEAD_LETTERS_A_TURN
        if self.has_room:
            left -= self._try_again(left)
        done = 0
        while left > 0 and not self.waits_for_disk():
            if self._turned_away:
                held = self._turned_away.pop()
                left -= self._send(held.target, held.message, MAXLEN, held.dying)
                continue
            if done == len(discards):
                break
            discard = discards[done]
            entry = discard.entries[discard.place]
            discard.place += 1
            turn.discarded -= 1
            discard.queue.sends_on(entry)
            dying = Dying(discard.queue, entry)
            left -= self._send(discard.queue, entry.message, discard.reason, dying)
            if discard.place == len(discard.entries):
                done += 1
        del discards[:done]
        if turn.stalled and turn.discarded < DISCARDED_MAX:
            stalled = turn.stalled
            turn.stalled = {}
            for queue in stalled.values():
                queue.wake()

    def has_work(self) -> bool:
        """Whether `work` has something to do."""
        return (
            self.has_room or bool(self._broker.turn.discards) or bool(self._turned_away)
        ) and not self.waits_for_disk()

    def waits_for_disk(self) -> bool:
        """Whether letters wait, since more of them would only fill the memory."""
        return len(self._unsynced) >= self.unsynced_max or self._broker.is_disk_behind()

    def look_at(self, queue: Queue) -> None:
        """A queue was served for which letters wait."""
        letters = self._full.get(queue.id)
        if letters is not None and not queue.refuses(letters[0].message):
            self.has_room = True

    def synced(self, position: i64) -> None:
        """All batches up to this position are on disk."""
        done = 0
        for needed, entry in self._unsynced:
            if needed > position:
                break
            entry.line.settle(entry)
            done += 1
        del self._unsynced[:done]

    def entries(self) -> list[QueueEntry]:
        """All that is on its way, and still belongs to its old queue; some perhaps twice."""
        found = [entry for _, entry in self._unsynced]
        for discard in self._broker.turn.discards:
            found.extend(discard.entries[discard.place :])
        found.extend([held.dying.entry for held in self._turned_away])
        for letters in self._full.values():
            found.extend([held.dying.entry for held in letters])
        return found

    def forget(self) -> None:
        """The broker is done with, its messages are not."""
        self._full = {}
        self._turned_away = []
        self._unsynced = []
        self._broker.turn.discards = []

    def on_timer(self, kind: int, now: float) -> None:
        """Try refused letters again: a queue that is gone or was purged gives no other sign."""
        self._timer_is_set = False
        self.has_room = True

    # One letter.

    def _send(self, queue: Queue, message: Message, reason: int, dying: Dying) -> i64:
        """This message died in this queue; `dying` is the entry that it comes from in the end. What
        that cost: as many letters as went out, and 1 at least."""
        vhost = queue.vhost
        name = queue.rules.dead_letter_exchange
        if vhost is None or name is None:
            self._arrived(dying, 0)
            return 1
        exchange = vhost.exchanges.get(name)
        if exchange is None:
            self._say(
                f"{queue.id} {name}",
                f"dead letters of {queue_resource(queue.name, vhost.name)} are dropped: there is "
                f"no {exchange_resource(name, vhost.name)}",
            )
            self._arrived(dying, 0)
            return 1
        broker = self._broker
        death = Death(
            queue.name,
            REASONS[reason],
            broker.wall_ms() // 1000,
            name,
            queue.rules.dead_letter_key,
            broker.config.dead_letters.published_history == "believed",
        )
        letter = self._letters.make(message, death)
        targets = self._route(vhost, exchange, letter)
        if reason != REJECTED:
            targets = self._without_cycles(vhost, letter, targets)
        may_wait = reason != MAXLEN and not queue.rules.at_most_once
        position: i64 = 0
        for target in targets:
            if letter.hides:
                target.hide_copies()
            position = max(position, self._deliver(dying, letter.message, target, may_wait))
        self._arrived(dying, position)
        return max(len(targets), 1)

    def _route(self, vhost: VirtualHost, exchange: Exchange, letter: Letter) -> list[Queue]:
        """Where a letter goes, as a publish would."""
        message = letter.message
        if len(letter.keys) == 1:
            route = vhost.route(message.address)
            message.address = route.address
            if not route.by_headers:
                return route.queues
        header = shown(message.header)
        walk = vhost.walk(exchange, letter.keys, dict(headers_of(header) or {}), header)
        return list(walk.queues.values())

    def _without_cycles(
        self, vhost: VirtualHost, letter: Letter, targets: list[Queue]
    ) -> list[Queue]:
        """Not to a queue where the letter died before, if no consumer had a hand in it since."""
        found: list[Queue] = []
        for target in targets:
            if not letter.deaths.is_cycle(target.name):
                found.append(target)
                continue
            path = ", ".join([target.name, *letter.deaths.queues()])
            self._say(
                path,
                f"dead letters are dropped in vhost '{vhost.name}', as they go in a cycle without "
                f"anyone rejecting them. The queues, the last one first: {path}",
            )
        return found

    def _deliver(self, dying: Dying, message: Message, target: Queue, may_wait: bool) -> i64:
        """To one queue; the position to wait for, or 0 if it refused and the letter is on its way
        elsewhere, waits, or is dropped."""
        if target.id not in self._full:
            if target.refuses(message):
                # Consumers may take, and time may have taken, what is in the way.
                target.catch_up()
            if not target.refuses(message):
                return target.enqueue(message)
        rules = target.rules
        if rules.overflow == REJECT_PUBLISH_DLX and rules.dead_letter_exchange is not None:
            dying.open += 1
            self._turned_away.append(HeldLetter(dying, message, target))
        elif may_wait:
            dying.open += 1
            self._hold(HeldLetter(dying, message, target))
        return 0

    def _arrived(self, dying: Dying, position: i64) -> None:
        """One letter is where it should be. After the last one the entry leaves its queue, on disk
        no earlier than all letters are on disk."""
        dying.position = max(dying.position, position)
        dying.open -= 1
        if dying.open > 0:
            return
        entry = dying.entry
        position = dying.position
        if position == 0 or entry.state == PENDING or self._broker.is_durable(position):
            # What was not written itself yet is in no earlier batch than its letter.
            entry.line.settle(entry)
        else:
            self._unsynced.append((position, entry))

    # Letters that are refused.

    def _hold(self, held: HeldLetter) -> None:
        queue = held.dying.queue
        target = held.target
        queue.held += 1
        queue.held_bytes += held.message.cost
        if self._has_too_many(queue):
            queue.holds_back = True
        assert target.vhost is not None
        self._say(
            f"{queue.id} {target.id}",
            f"dead letters of {queue_resource(queue.name, target.vhost.name)} wait there, as "
            f"{queue_resource(target.name, target.vhost.name)} is full and refuses them",
        )
        target.is_awaited = True
        self._full.setdefault(target.id, []).append(held)
        self._set_timer()

    def _has_too_many(self, queue: Queue) -> bool:
        return queue.held >= self.held_max or queue.held_bytes >= self.held_bytes_max

    def _set_timer(self) -> None:
        if self._full and not self._timer_is_set:
            self._timer_is_set = True
            self._broker.timers.set(self._broker.now + RETRY_S, self, 0)

    def _try_again(self, count_max: i64) -> i64:
        """Give full queues what they have room for, in its order; how much was given."""
        self.has_room = False
        given: i64 = 0
        for target_id, letters in list(self._full.items()):
            target = letters[0].target
            done = 0
            for held in letters:
                if not target.deleted and target.refuses(held.message):
                    break
                if given == count_max or self.waits_for_disk():
                    self.has_room = True
                    break
                self._give(held)
                done += 1
                given += 1
            del letters[:done]
            if not letters:
                target.is_awaited = False
                del self._full[target_id]
        self._set_timer()
        return given

    def _give(self, held: HeldLetter) -> None:
        """The queue takes it, or is gone."""
        queue = held.dying.queue
        queue.held -= 1
        queue.held_bytes -= held.message.cost
        if queue.holds_back and not self._has_too_many(queue):
            queue.holds_back = False
            queue.wake()
        target = held.target
        self._arrived(held.dying, 0 if target.deleted else target.enqueue(held.message))

    def _say(self, what: str, text: str) -> None:
        """A warning, once."""
        if what not in self._said:
            if len(self._said) >= SAID_MAX:
                self._said = {}
            self._said[what] = True
            self._broker.log(log.WARNING, text)
