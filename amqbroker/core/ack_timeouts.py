"""Deliveries that a client keeps for too long without an answer go back to their queue.

Off unless asked for: by `x-consumer-timeout` of the consumer, else by the smaller one of that
argument of the queue and the policy `consumer-timeout`, else by `limits.consumer_timeout_ms`. What
is too old is requeued, and the consumer is cancelled, as RabbitMQ 4.3 does on quorum queues; the
channel lives on, and may still settle what it was too late for, without effect. A client that does
not understand basic.cancel has its channel closed with RabbitMQ's 406.

A delivery costs nothing for that. Each consumer with a timeout has a watch with one timer: it notes
the delivery tag that comes next, sixteen times in the length of the timeout, and a tag below a note
of that age is too old. So a timeout is at most an eighth late. What basic.get took is watched for
each channel and queue.

Source: RabbitMQ's `rabbit_channel` (`evaluate_consumer_timeout`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from mypy_extensions import i64

from amqbroker.core import log
from amqbroker.core.entry import QueueEntry
from amqbroker.core.rules import NO_LIMIT
from amqbroker.core.timers import Timer, TimerTarget
from amqbroker.errors import precondition_failed

if TYPE_CHECKING:
    from amqbroker.core.channel import Channel
    from amqbroker.core.consumer import Consumer
    from amqbroker.core.queue import Queue

TIMEOUT_ARGUMENT: Final = "x-consumer-timeout"

NOTES_A_TIMEOUT: Final = 16
INTERVAL_S_MIN: Final = 0.05
# Sums of intervals are not exact.
TOLERANCE_S: Final = 0.000_001


def watch_consumer(consumer: Consumer) -> None:
    """A consumer came, or its timeout may be another one now."""
    channel = consumer.channel
    for watch in channel.ack_watches:
        if watch.consumer is consumer:
            watch.begin()
            return
    _begin_watch(channel, consumer.queue, consumer)


def watch_get(channel: Channel, queue: Queue) -> None:
    """A basic.get took a message that it has to acknowledge."""
    for watch in channel.ack_watches:
        if watch.consumer is None and watch.queue is queue:
            return
    _begin_watch(channel, queue, None)


def _begin_watch(channel: Channel, queue: Queue, consumer: Consumer | None) -> None:
    if timeout_ms(channel, queue, consumer) != NO_LIMIT:
        watch = AckWatch(channel, queue, consumer)
        channel.ack_watches.append(watch)
        watch.begin()


def timeout_ms(channel: Channel, queue: Queue, consumer: Consumer | None) -> i64:
    """How long a delivery may be outstanding; NO_LIMIT if for ever."""
    if consumer is not None:
        asked = consumer.arguments.get(TIMEOUT_ARGUMENT)
        if isinstance(asked, int):
            return asked
    if queue.rules.consumer_timeout_ms != NO_LIMIT:
        return queue.rules.consumer_timeout_ms
    return channel.client.broker.consumer_timeout_ms


@final
class AckWatch(TimerTarget):
    """Watches what one consumer has outstanding, or what one channel got from one queue."""

    def __init__(self, channel: Channel, queue: Queue, consumer: Consumer | None) -> None:
        self.channel = channel
        self.queue = queue
        self.consumer = consumer
        self._timer: Timer | None = None
        # Notes, the oldest first: when, and which delivery tag was to come next.
        self._times: list[float] = []
        self._tags: list[int] = []

    def begin(self) -> None:
        """Make a note now and the next one in a part of the timeout, which may be a new one."""
        self.stop()
        allowed_ms = timeout_ms(self.channel, self.queue, self.consumer)
        broker = self.channel.client.broker
        if allowed_ms == NO_LIMIT or self._is_over():
            self.channel.ack_watches.remove(self)
            return
        self._times.append(broker.now)
        self._tags.append(self.channel.next_delivery_tag)
        interval_s = max(allowed_ms / 1000 / NOTES_A_TIMEOUT, INTERVAL_S_MIN)
        self._timer = broker.timers.set(broker.now + interval_s, self, 0)

    def stop(self) -> None:
        """Do nothing more."""
        if self._timer is not None:
            self.channel.client.broker.timers.cancel(self._timer)
            self._timer = None

    def on_timer(self, kind: int, now: float) -> None:
        """Look for what is too old, and make the next note."""
        self._timer = None
        allowed_ms = timeout_ms(self.channel, self.queue, self.consumer)
        if allowed_ms != NO_LIMIT:
            old = self._take_old(now - allowed_ms / 1000 + TOLERANCE_S)
            if old and not self._give_back(old, allowed_ms):
                return
        self.begin()

    def _is_over(self) -> bool:
        """Whether nothing can be outstanding here any more."""
        consumer = self.consumer
        if consumer is None:
            return self.channel.unacked.count == 0
        return consumer.unacked == 0 and self.channel.consumers.get(consumer.tag) is not consumer

    def _take_old(self, until: float) -> list[QueueEntry]:
        """What was delivered before this time, not outstanding any more."""
        passed: i64 = 0
        while passed < len(self._times) and self._times[passed] <= until:
            passed += 1
        if passed == 0:
            return []
        limit = self._tags[passed - 1]
        self._times = self._times[passed:]
        self._tags = self._tags[passed:]
        old: list[QueueEntry] = []
        for entry in self.channel.unacked.entries():
            if entry.delivery_tag >= limit:
                break
            if entry.consumer is self.consumer and entry.line.queue is self.queue:
                old.append(entry)
        for entry in old:
            self.channel.unacked.take(entry.delivery_tag)
        return old

    def _give_back(self, old: list[QueueEntry], allowed_ms: i64) -> bool:
        """Requeue these and cancel the consumer, or end its channel; False if that is closed."""
        channel = self.channel
        client = channel.client
        who = "basic.get" if self.consumer is None else f"consumer '{self.consumer.tag}'"
        client.broker.log(
            log.WARNING,
            f"connection {client.name}, channel {channel.number}: {who} did not acknowledge within "
            f"{allowed_ms} ms what it got from queue '{self.queue.name}'; back in the queue: "
            f"{len(old)}",
            connection=client.name,
            channel=int(channel.number),
            user=client.user.name,
        )
        consumer = self.consumer
        if consumer is not None and not client.hears_cancels():
            channel.unacked.restore(old)
            error = precondition_failed(
                f"delivery acknowledgement on channel {channel.number} timed out. Timeout value "
                f"used: {allowed_ms} ms. This timeout value can be configured, see consumers doc "
                "guide to learn more"
            )
            client.close_channel(channel, error)
            return False
        channel.forgive(old)
        cancelled = consumer is not None and channel.consumers.get(consumer.tag) is consumer
        if consumer is not None and cancelled:
            del channel.consumers[consumer.tag]
            self.queue.consumers.remove(consumer)
        channel.requeue(old)
        if consumer is not None and cancelled:
            client.consumer_cancelled(channel, consumer.tag)
            client.broker.consumer_left(channel.vhost, self.queue)
        return True
