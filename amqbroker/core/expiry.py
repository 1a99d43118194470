"""Time to live of messages.

When a message enters a queue its time to die is fixed: the smaller of the queue's time to live and
its own `expiration` from now, in wall time. A policy that changes later does not touch it, a
requeue keeps it. It is looked at when the message is the first of its queue, and only then: behind
a message that lives longer it stays and counts. In a queue with priorities the first message is
that of the highest priority that has any.

The first message is looked at before every delivery and whenever anything happens to its queue;
for a queue to which nothing happens there is a timer, at most one a queue. What has just come is
offered to consumers first, so that a time to live of 0 means "now or never".

On disk, a segment's deadlines are known without reading it (store/backlog.py): a queue is not read
for its expiry before the first of them has passed, and a segment whose last one has passed goes
without being read, unless there is a dead-letter exchange for what is in it.

Source: RabbitMQ's `rabbit_amqqueue_process` (`calculate_msg_expiry`, `drop_expired_msgs`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, final

from mypy_extensions import i64

from amqbroker.core.discard import EXPIRED
from amqbroker.core.rules import NO_LIMIT
from amqbroker.core.timers import TimerTarget
from amqbroker.wire import properties

if TYPE_CHECKING:
    from amqbroker.core.entry import QueueEntry
    from amqbroker.core.line import Line
    from amqbroker.core.queue import Queue
    from amqbroker.message import Message


def deadline_of(queue: Queue, message: Message) -> i64:
    """When this message, which enters the queue now, expires; 0 for never.

    Its `expiration` was checked when it was published.
    """
    ttl_ms = queue.rules.message_ttl_ms
    if properties.flags_of(message.header) & properties.EXPIRATION != 0:
        own_ms: i64 = int(properties.property_text(message.header, properties.EXPIRATION) or "0")
        if ttl_ms == NO_LIMIT or own_ms < ttl_ms:
            ttl_ms = own_ms
    if ttl_ms == NO_LIMIT:
        return 0
    return max(queue.turn.wall_ms() + ttl_ms, 1)


def drop_expired(queue: Queue, drops_max: i64, with_new: bool) -> i64:
    """Remove what has expired from the head; how much was done, at most `drops_max`.

    Without `with_new` what was not offered to consumers yet stays. If the head is on disk and may
    have expired, the queue's `wants_head` is set; if more has to go, `is_overdue`.
    """
    wall_ms = queue.turn.wall_ms()
    expired: list[QueueEntry] = []
    drops: i64 = 0
    while True:
        line = queue.first_line()
        ready = line.ready
        if ready.count == 0:
            break
        on_disk = not line.is_loaded()
        if on_disk:
            if not _segment_has_expired(queue, line, wall_ms, with_new):
                break
        else:
            entry = ready.head()
            if entry.expires_at == 0 or entry.expires_at > wall_ms:
                break
            if not with_new and entry.index >= line.seen_index:
                break
        if drops == drops_max:
            queue.is_overdue = True
            break
        if on_disk:
            line.drop_segment()
        else:
            expired.append(ready.take())
        drops += 1
    if expired:
        queue.discard(expired, EXPIRED)
    return drops


def _segment_has_expired(queue: Queue, line: Line, wall_ms: i64, with_new: bool) -> bool:
    """Whether the line's next segment can be dropped unread, as all of it has expired. If some of
    it has, or was not offered to consumers yet and must be, ask for its head."""
    backlog = line.backlog
    assert backlog is not None, queue.name
    segment = backlog.next_segment()
    if segment.expires_from == 0 or segment.expires_from > wall_ms:
        return False
    if (
        queue.rules.dead_letter_exchange is None
        and segment.expires_until != 0
        and segment.expires_until <= wall_ms
        and (with_new or segment.last < line.seen_index)
    ):
        return True
    queue.wants_head = True
    return False


def set_head_timer(queue: Queue) -> None:
    """See to it that the queue is looked at when its first message expires."""
    line = queue.first_line()
    ready = line.ready
    if ready.count == 0:
        return
    if not line.is_loaded():
        backlog = line.backlog
        assert backlog is not None, queue.name
        if queue.wants_head:
            # When it is there it wakes the queue.
            return
        expires_at = backlog.next_segment().expires_from
    else:
        expires_at = ready.head().expires_at
    if expires_at == 0:
        return
    turn = queue.turn
    # A millisecond later it has passed, whatever was rounded.
    deadline = (expires_at + 1) / 1000 - turn.wall_offset
    timer = queue.head_timer
    if timer is not None:
        # One that is too early finds out.
        if timer.deadline <= deadline:
            return
        turn.timers.cancel(timer)
    queue.head_timer = turn.timers.set(deadline, HeadTimer(queue), 0)


@final
class HeadTimer(TimerTarget):
    """Wakes a queue when its first message may have expired."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue

    def on_timer(self, kind: int, now: float) -> None:
        """The time has come."""
        self._queue.head_timer = None
        if not self._queue.deleted:
            self._queue.wake()
