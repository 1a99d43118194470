"""One consumer of one queue, and the order in which a queue serves its consumers.

Consumers of the highest priority are served in turn; a lower priority gets messages only while
every higher one is blocked by its prefetch or by a full output buffer. A consumer that cannot take
a message leaves the line until it can (`Consumer.blocked`), so that a queue with a thousand busy
consumers asks none of them.

Source: RabbitMQ's `rabbit_queue_consumers`; consumer priorities and single active consumer are its
extensions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, final

from mypy_extensions import i64

from amqbroker.core.entry import QueueEntry
from amqbroker.core.tracing import trace_delivery
from amqbroker.exchanges.base import Table
from amqbroker.wire.writer import deliver_prefix, write_deliver

if TYPE_CHECKING:
    from amqbroker.core.channel import Channel
    from amqbroker.core.queue import Queue


@final
class Consumer:
    """A basic.consume on one channel. `prefetch` 0 means no limit of its own."""

    __slots__ = (
        "arguments",
        "blocked",
        "blocked_at",
        "channel",
        "exclusive",
        "no_ack",
        "prefetch",
        "prefix",
        "priority",
        "queue",
        "tag",
        "unacked",
    )

    def __init__(
        self,
        channel: Channel,
        queue: Queue,
        tag: str,
        no_ack: bool,
        exclusive: bool,
        priority: int,
        prefetch: i64,
        arguments: Table,
    ) -> None:
        self.channel = channel
        self.queue = queue
        self.tag = tag
        self.no_ack = no_ack
        self.exclusive = exclusive
        self.priority = priority
        self.prefetch: i64 = prefetch
        self.arguments = arguments
        self.unacked: i64 = 0
        # Out of the line until prefetch or room in the output buffer comes back.
        self.blocked = False
        # When it left the line, on the channel's count: in this order they come back.
        self.blocked_at: i64 = 0
        self.prefix = deliver_prefix(tag)

    def can_take(self) -> bool:
        """Whether one more message may be sent now."""
        channel = self.channel
        if not channel.client.has_room():
            return False
        # Without acks it has nothing unacked, yet the channel's limit may be reached by others.
        if self.prefetch != 0 and self.unacked >= self.prefetch:
            return False
        return channel.prefetch_global == 0 or channel.unacked_global < channel.prefetch_global

    def send(self, entry: QueueEntry) -> None:
        """Write one delivery, and settle it at once for no-ack."""
        channel = self.channel
        client = channel.client
        tag = channel.next_delivery_tag
        channel.next_delivery_tag = tag + 1
        original = entry.message
        message = original
        if self.queue.edits:
            message = entry.message_to_send()
        write_deliver(
            client.output,
            channel.number,
            self.prefix,
            tag,
            entry.redelivered,
            message,
            client.payload_size_max,
        )
        client.mark_output()
        if self.no_ack:
            entry.line.settle(entry)
        else:
            entry.delivery_tag = tag
            entry.consumer = self
            self.unacked += 1
            if channel.prefetch_global != 0:
                entry.limited = True
                channel.unacked_global += 1
            self.queue.unacked_count += 1
            channel.unacked.add(entry)
        if channel.vhost.traced:
            # Last, as the copy's queue may deliver by that, on this channel too.
            trace_delivery(channel, self.queue.name, original, entry.redelivered)

    def is_full(self) -> bool:
        """Whether it has all that its own prefetch allows."""
        return self.prefetch != 0 and self.unacked >= self.prefetch

    def unblock(self) -> None:
        """Something that may have blocked this consumer changed: back into the line."""
        if self.blocked:
            self.blocked = False
            self.queue.consumers.enter(self)
            self.queue.wake()


@final
class Group:
    """The consumers of one priority that are in line."""

    __slots__ = ("line", "priority", "turn")

    def __init__(self, priority: int) -> None:
        self.priority = priority
        self.line: list[Consumer] = []
        self.turn: i64 = 0


@final
class Consumers:
    """All consumers of one queue. With `single_active`, only the first of them is served."""

    __slots__ = ("_groups", "active", "all", "single_active")

    def __init__(self, single_active: bool) -> None:
        self.all: list[Consumer] = []
        self.single_active = single_active
        self.active: Consumer | None = None
        self._groups: list[Group] = []

    def add(self, consumer: Consumer) -> None:
        """A new consumer; the first of a single-active queue becomes the active one."""
        self.all.append(consumer)
        if self.active is None:
            self.active = consumer
        self.enter(consumer)
        consumer.channel.client.broker.events.consumer_created(consumer)

    def remove(self, consumer: Consumer) -> None:
        """The consumer was cancelled; the next active one has the highest priority, then has waited
        longest."""
        self.all.remove(consumer)
        self._leave(consumer)
        # Its outstanding messages may still be settled: that must not bring it back into the line.
        consumer.blocked = False
        if self.active is consumer:
            self.active = None
            for candidate in self.all:
                if self.active is None or candidate.priority > self.active.priority:
                    self.active = candidate
        # Last, as the event may make this queue deliver.
        consumer.channel.client.broker.events.consumer_deleted(consumer)

    def can_any_take(self) -> bool:
        """Whether a consumer may be in line: none is that was found to be blocked."""
        if self.single_active:
            return self.active is not None and not self.active.blocked
        return bool(self._groups)

    def has_exclusive(self) -> bool:
        """Whether the queue's only consumer asked for exclusive use."""
        return bool(self.all) and self.all[0].exclusive

    def next(self) -> Consumer | None:
        """Whose turn it is; None if nobody can take a message."""
        if self.single_active:
            active = self.active
            if active is not None and not active.blocked:
                if active.can_take():
                    return active
                self._block(active)
            return None
        position: i64 = 0
        while position < len(self._groups):
            group = self._groups[position]
            line = group.line
            while line:
                turn = group.turn
                if turn >= len(line):
                    turn = 0
                consumer = line[turn]
                if consumer.can_take():
                    group.turn = turn + 1
                    return consumer
                group.turn = turn
                # A group whose whole line is blocked leaves, and the next one stands in its place.
                self._block(consumer)
        return None

    def enter(self, consumer: Consumer) -> None:
        """Join the line of this consumer's priority, behind all who are in it."""
        position = 0
        for group in self._groups:
            if group.priority == consumer.priority:
                # The line is a circle: behind all is before whose turn it is.
                group.line.insert(group.turn, consumer)
                group.turn += 1
                return
            if group.priority < consumer.priority:
                break
            position += 1
        group = Group(consumer.priority)
        group.line.append(consumer)
        self._groups.insert(position, group)

    def _block(self, consumer: Consumer) -> None:
        channel = consumer.channel
        channel.blocks += 1
        consumer.blocked = True
        consumer.blocked_at = channel.blocks
        if channel.is_full() and not consumer.is_full():
            channel.stopped[consumer.queue.id] = consumer.queue
        channel.client.consumer_blocked()
        self._leave(consumer)

    def _leave(self, consumer: Consumer) -> None:
        for group in self._groups:
            if group.priority != consumer.priority:
                continue
            if consumer in group.line:
                place = group.line.index(consumer)
                del group.line[place]
                if place < group.turn:
                    group.turn -= 1
                if not group.line:
                    self._groups.remove(group)
            return


def left_at(consumer: Consumer) -> int:
    """The sort key of a channel's consumers that are blocked."""
    return consumer.blocked_at


def consumer_tag_of(consumer: Consumer) -> str:
    """The sort key of consumers that are told of something one after the other."""
    return consumer.tag
