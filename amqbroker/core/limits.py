"""Length limits of queues, and what happens to a message that is too much.

Ready messages count, and the bytes of their bodies; what is out for delivery does not. Where the
queue drops its head, a message comes in first and is offered to consumers; then messages go from
the head until what is left is within the limits. Where it refuses, it looks before the message
comes in: with what waits at that moment and without asking consumers whether they want this one.
What comes back is never refused, and what is too much by that goes before consumers are asked.

A limit on bytes of a queue that was on disk at a start may be based on an estimate, until the
segment that was settled in part is read (store/backlog.py). A head that must go and is on disk is
read first: until then the queue is longer than it may be, and after a requeue it gives nobody
anything (`Queue.surplus`).

Source: RabbitMQ's `rabbit_amqqueue_process` (`maybe_deliver_or_enqueue`, `maybe_drop_head`,
`will_overflow`, `over_max_length`, `requeue_and_run`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mypy_extensions import i64

from amqbroker.core.discard import EXPIRED, MAXLEN
from amqbroker.core.entry import QueueEntry
from amqbroker.core.expiry import deadline_of
from amqbroker.core.rules import DROP_HEAD, NO_LIMIT, REJECT_PUBLISH_DLX

if TYPE_CHECKING:
    from amqbroker.core.line import Line
    from amqbroker.core.queue import Queue
    from amqbroker.message import Message

# What enqueue returns, instead of a journal position, for a message that was refused.
REFUSED: Final = -1


def enqueue(queue: Queue, line: Line, message: Message) -> i64:
    """A message for a queue with rules; as `Queue.enqueue`."""
    if refuses(queue, message):
        # Consumers may take, and time may have taken, what is in the way.
        queue.catch_up()
        if refuses(queue, message):
            _refuse(queue, line, message)
            return REFUSED
    return line.append(message, deadline_of(queue, message))


def refuses(queue: Queue, message: Message) -> bool:
    """Whether the queue has no room for this message, and does not make any."""
    rules = queue.rules
    if rules.overflow == DROP_HEAD:
        return False
    if rules.max_length != NO_LIMIT and queue.ready_count() >= rules.max_length:
        return True
    if rules.max_length_bytes == NO_LIMIT:
        return False
    return queue.ready_bytes() + len(message.body) > rules.max_length_bytes


def _refuse(queue: Queue, line: Line, message: Message) -> None:
    """The message does not come in; it may be dead-lettered all the same."""
    if queue.rules.overflow == REJECT_PUBLISH_DLX:
        line.memory.hold(message)
        queue.discard([QueueEntry(message, line, line.next_index)], MAXLEN)


def drop_head(queue: Queue, drops_max: i64, one_by_one: bool) -> i64:
    """Remove messages from the head while there are too many; how much was done, at most
    `drops_max`.

    With `one_by_one` they came one after the other: what had expired was dropped as such as soon as
    there was nothing in front of it. If the head is on disk and must go, the queue's `wants_head`
    is set; if more has to go, `is_overdue`.
    """
    rules = queue.rules
    if rules.overflow != DROP_HEAD:
        return 0
    return _drop_down_to(queue, rules.max_length, rules.max_length_bytes, drops_max, one_by_one)


def came_back(queue: Queue, entries: list[QueueEntry], drops_max: i64) -> i64:
    """These came back: no more than that goes from the head, if there is too much now. As
    `drop_surplus`."""
    size: i64 = 0
    for entry in entries:
        size += entry.message.body_bytes()
    queue.surplus += len(entries)
    queue.surplus_bytes += size
    return drop_surplus(queue, drops_max)


def drop_surplus(queue: Queue, drops_max: i64) -> i64:
    """Remove from the head what is too much since messages came back; as `drop_head`. What must
    wait for the disk, or for another turn, stays the queue's `surplus`: nobody gets anything
    before."""
    rules = queue.rules
    drops: i64 = 0
    if rules.overflow == DROP_HEAD:
        count = queue.ready_count()
        size = queue.ready_bytes()
        keep = _floor(count - queue.surplus, rules.max_length)
        keep_bytes = _floor(size - queue.surplus_bytes, rules.max_length_bytes)
        drops = _drop_down_to(queue, keep, keep_bytes, drops_max, False)
        queue.surplus = _excess(queue.ready_count(), keep)
        queue.surplus_bytes = _excess(queue.ready_bytes(), keep_bytes)
    else:
        queue.surplus = 0
        queue.surplus_bytes = 0
    return drops


def _floor(wanted: i64, limit: i64) -> i64:
    return NO_LIMIT if limit == NO_LIMIT else max(wanted, limit)


def _drop_down_to(
    queue: Queue, max_length: i64, max_length_bytes: i64, drops_max: i64, one_by_one: bool
) -> i64:
    dropped: list[QueueEntry] = []
    reason = MAXLEN
    wall_ms = queue.turn.wall_ms()
    drops: i64 = 0
    while True:
        excess = _excess(queue.ready_count(), max_length)
        excess_bytes = _excess(queue.ready_bytes(), max_length_bytes)
        line = queue.first_line()
        ready = line.ready
        if (excess == 0 and excess_bytes == 0) or ready.count == 0:
            break
        if drops == drops_max:
            queue.is_overdue = True
            break
        if not line.is_loaded():
            if not _drop_whole_segment(queue, line, excess, excess_bytes):
                queue.wants_head = True
                break
        else:
            entry = ready.take()
            has_expired = one_by_one and drops > 0 and 0 < entry.expires_at <= wall_ms
            if has_expired != (reason == EXPIRED):
                if dropped:
                    queue.discard(dropped, reason)
                    dropped = []
                reason = EXPIRED if has_expired else MAXLEN
            dropped.append(entry)
        drops += 1
    if dropped:
        queue.discard(dropped, reason)
    return drops


def _excess(present: i64, limit: i64) -> i64:
    return 0 if limit == NO_LIMIT or present <= limit else present - limit


def _drop_whole_segment(queue: Queue, line: Line, excess: i64, excess_bytes: i64) -> bool:
    """Drop the line's next segment unread, if all of it must go and nobody wants to have it."""
    backlog = line.backlog
    assert backlog is not None, queue.name
    segment = backlog.next_segment()
    fits = segment.unread <= excess or (excess_bytes > 0 and segment.unread_bytes <= excess_bytes)
    if not fits or queue.rules.dead_letter_exchange is not None:
        return False
    line.drop_segment()
    return True
