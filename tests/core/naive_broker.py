"""A slow and obvious model of queues, consumers and channels: lists and dicts, no wire.

It does not say which of several consumers gets a message. It says which messages may go out, in
which order and with which marks, who may take one, and what is left afterwards.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

# What becomes of a delivery.
Outcome = Literal["ack", "requeue", "reject"]


def priority_of(body: bytes) -> int:
    """The priority that a message with this number as its body is published with."""
    return int(body) % 5


@dataclass(eq=False)
class NaiveMessage:
    """A message in one queue; `index` is its place."""

    index: int
    body: bytes
    persistent: bool
    priority: int = 0
    expires_at: float | None = None
    redelivered: bool = False
    seen: bool = False  # it was offered to consumers
    died: bool = False  # it is a dead letter

    def identity(self) -> tuple[bytes, bool]:
        """What tells it from others of its queue: a body comes once from a publisher, and once
        from the queue that the dead letters come from."""
        return self.body, self.died

    def place(self) -> tuple[int, int]:
        """What a queue is sorted by."""
        return -self.priority, self.index


@dataclass(eq=False)
class NaiveConsumer:
    """A consumer."""

    channel: NaiveChannel
    queue: NaiveQueue
    tag: str
    no_ack: bool
    priority: int
    prefetch: int
    holds: int = 0

    def can_take(self) -> bool:
        """Whether its own limit and its channel's leave room for one more."""
        limit = self.channel.limit
        return (not self.prefetch or self.no_ack or self.holds < self.prefetch) and (
            not limit or self.channel.limited() < limit
        )


@dataclass(eq=False)
class NaiveQueue:
    """A queue: what is ready, in order, and who consumes, in order of coming."""

    name: str
    durable: bool = False
    auto_delete: bool = False
    single_active: bool = False
    max_priority: int = 0
    owner: int | None = None  # the connection that it is exclusive to
    ready: list[NaiveMessage] = field(default_factory=list)
    consumers: list[NaiveConsumer] = field(default_factory=list)
    active: NaiveConsumer | None = None
    had_consumer: bool = False
    deleted: bool = False
    next_index: int = 0
    outstanding: int = 0
    lifetime: float | None = None
    limit: int | None = None
    limit_bytes: int | None = None
    refuses: bool = False
    dies_to: str = ""  # the queue that gets its dead letters
    dying: list[NaiveMessage] = field(default_factory=list)  # on their way there

    def publish(
        self,
        body: bytes,
        persistent: bool,
        now: float = 0.0,
        lifetime: float | None = None,
        died: bool = False,
    ) -> bool:
        """One more at the end; False if it is refused."""
        if self.deleted:
            return True
        if self.refuses and self.limit is not None and len(self.ready) >= self.limit:
            # What has expired is not in the way.
            self.expire(now, with_new=True)
            if len(self.ready) >= self.limit:
                return False
        priority = min(priority_of(body), self.max_priority)
        lifetimes = [each for each in (lifetime, self.lifetime) if each is not None]
        expires_at = now + min(lifetimes) if lifetimes else None
        self._put(NaiveMessage(self.next_index, body, persistent, priority, expires_at, died=died))
        self.next_index += 1
        return True

    def requeue(self, message: NaiveMessage) -> None:
        """Back to its place, marked; what is too much goes."""
        message.redelivered = True
        message.seen = True
        self._put(message)
        self.shrink(1)

    def expire(self, now: float, *, with_new: bool = False) -> None:
        """What has expired goes from the head; with what was not offered yet, or without."""
        while self.ready:
            head = self.ready[0]
            if head.expires_at is None or head.expires_at > now or not (head.seen or with_new):
                break
            self.die(self.ready.pop(0))

    def shrink(self, at_most: int | None = None) -> None:
        """What is too much goes from the head.

        Of what came back no more than that: what came in before is offered to consumers first, and
        pushes out others only then.
        """
        while not self.refuses and self.ready and self._is_too_long() and at_most != 0:
            self.die(self.ready.pop(0))
            at_most = None if at_most is None else at_most - 1

    def die(self, message: NaiveMessage) -> None:
        """A message leaves without an ack."""
        if self.dies_to and not self.deleted:
            self.dying.append(message)

    def _is_too_long(self) -> bool:
        size = sum(len(message.body) for message in self.ready)
        return (self.limit is not None and len(self.ready) > self.limit) or (
            self.limit_bytes is not None and size > self.limit_bytes
        )

    def offered(self, now: float) -> None:
        """Consumers have what they can take."""
        if self.limit != 0 and self.limit_bytes != 0:
            self.expire(now, with_new=True)
        self.shrink()
        self.expire(now, with_new=True)
        for message in self.ready:
            message.seen = True

    def _put(self, message: NaiveMessage) -> None:
        self.ready.append(message)
        self.ready.sort(key=NaiveMessage.place)

    def takers(self) -> list[NaiveConsumer]:
        """Who may take the next message."""
        candidates = self.consumers
        if self.single_active:
            candidates = [self.active] if self.active else []
        return [consumer for consumer in candidates if consumer.can_take()]

    def add(self, consumer: NaiveConsumer) -> None:
        """A new consumer."""
        self.consumers.append(consumer)
        self.had_consumer = True
        self.active = self.active or consumer

    def remove(self, consumer: NaiveConsumer) -> None:
        """A consumer goes; of those left the highest priority becomes active, then the oldest."""
        self.consumers.remove(consumer)
        if self.active is consumer:
            self.active = max(self.consumers, key=lambda each: each.priority, default=None)


@dataclass(eq=False)
class NaiveDelivery:
    """A delivery that is not settled for good."""

    tag: int
    queue: NaiveQueue
    message: NaiveMessage
    consumer: NaiveConsumer | None
    limited: bool = False


@dataclass
class NaiveTransaction:
    """What waits for the commit."""

    # To queues by their names: one may have gone by then, or come again.
    publishes: list[tuple[bytes, bool, float | None, list[str]]] = field(default_factory=list)
    settles: list[tuple[list[NaiveDelivery], Outcome]] = field(default_factory=list)

    def settle(self, deliveries: list[NaiveDelivery], outcome: Outcome) -> None:
        """What is settled the same way in a row is settled at once, oldest first."""
        if self.settles and self.settles[-1][1] == outcome:
            before, _ = self.settles.pop()
            deliveries = sorted([*before, *deliveries], key=lambda each: each.tag)
        self.settles.append((deliveries, outcome))

    def can_settle(self, deliveries: list[NaiveDelivery], outcome: Outcome) -> bool:
        """Whether one commit with this as well has an order that does not depend on who is served
        when. What comes back after an ack may be too late: the ack gave others their room, and they
        took what there was. An ack of several consumers serves them in between."""
        before = [each for _, each in self.settles]
        together = list(deliveries)
        if before and before[-1] == outcome:
            before.pop()
            together.extend(self.settles[-1][0])
        if outcome == "ack":
            return len({delivery.consumer for delivery in together}) <= 1
        return outcome != "requeue" or all(each == "reject" for each in before)

    def taken(self) -> list[NaiveDelivery]:
        """What was settled and is not committed."""
        return [delivery for deliveries, _ in self.settles for delivery in deliveries]


@dataclass(eq=False)
class NaiveChannel:
    """A channel."""

    connection: int
    number: int
    next_tag: int = 1
    unacked: dict[int, NaiveDelivery] = field(default_factory=dict)
    consumers: dict[str, NaiveConsumer] = field(default_factory=dict)
    prefetch: int = 0
    limit: int = 0
    transaction: NaiveTransaction | None = None
    publish_seq: int | None = None  # None: not in confirm mode
    confirmed: int = 0
    refused: set[int] = field(default_factory=set)
    # What was just settled gives room to one consumer after the other; each takes what there is.
    gives_room_in_turns: bool = False

    def held(self) -> list[NaiveDelivery]:
        """All that is not settled for good."""
        taken = self.transaction.taken() if self.transaction else []
        return [*self.unacked.values(), *taken]

    def limited(self) -> int:
        """How much counts in the channel's limit."""
        return sum(delivery.limited for delivery in self.held())

    def deliver(self, queue: NaiveQueue, consumer: NaiveConsumer | None, no_ack: bool) -> int:
        """The queue's first message goes out on this channel; its tag."""
        message = queue.ready.pop(0)
        tag = self.next_tag
        self.next_tag += 1
        if not no_ack:
            delivery = NaiveDelivery(tag, queue, message, consumer)
            self.unacked[tag] = delivery
            queue.outstanding += 1
            if consumer is not None:
                consumer.holds += 1
                delivery.limited = self.limit != 0
        return tag

    def set_limit(self, limit: int) -> None:
        """basic.qos with global: where there was no limit, what is out counts from now on; with no
        limit nothing does."""
        if limit == 0 or self.limit == 0:
            for delivery in self.held():
                delivery.limited = limit != 0
        self.limit = limit

    def named(self, tag: int, multiple: bool) -> list[NaiveDelivery] | None:
        """Deliveries that are to be settled, oldest first; None for a tag that is not out."""
        if multiple and tag == 0:
            tags = list(self.unacked)
        elif tag not in self.unacked:
            return None
        else:
            tags = [each for each in self.unacked if each == tag or (multiple and each < tag)]
        return [self.unacked[each] for each in sorted(tags)]

    def take(self, deliveries: list[NaiveDelivery]) -> None:
        """These are not out any more."""
        for delivery in deliveries:
            del self.unacked[delivery.tag]

    def settle(self, deliveries: list[NaiveDelivery], outcome: Outcome) -> None:
        """Settle now, or at the commit."""
        if self.transaction is not None:
            self.transaction.settle(deliveries, outcome)
        else:
            self.finish(deliveries, outcome)

    def finish(self, deliveries: list[NaiveDelivery], outcome: Outcome) -> None:
        """Settle for good."""
        self.gives_room_in_turns = (
            self.gives_room_in_turns
            or len({delivery.consumer for delivery in deliveries}) > 1
            or any(delivery.limited for delivery in deliveries)
        )
        for delivery in deliveries:
            delivery.queue.outstanding -= 1
            if delivery.consumer is not None:
                delivery.consumer.holds -= 1
            if outcome == "requeue" and not delivery.queue.deleted:
                delivery.queue.requeue(delivery.message)
            elif outcome == "reject":
                delivery.queue.die(delivery.message)

    def commit(self, present: dict[str, NaiveQueue], now: float) -> None:
        """Publishes first, then what was settled."""
        assert self.transaction is not None
        transaction, self.transaction = self.transaction, NaiveTransaction()
        for body, persistent, lifetime, names in transaction.publishes:
            for name in names:
                if name in present:
                    present[name].publish(body, persistent, now, lifetime)
        for deliveries, outcome in transaction.settles:
            self.finish(deliveries, outcome)

    def roll_back(self) -> None:
        """As if nothing had been settled or published."""
        assert self.transaction is not None
        for delivery in self.transaction.taken():
            self.unacked[delivery.tag] = delivery
        self.unacked = dict(sorted(self.unacked.items()))
        self.transaction = NaiveTransaction()


class NaiveBroker:
    """Queues by name, and the channels that are open."""

    def __init__(self) -> None:
        self.queues: dict[str, NaiveQueue] = {}
        self.channels: list[NaiveChannel] = []
        # Queues that were deleted, perhaps with dead letters on their way.
        self.gone: list[NaiveQueue] = []
        # Consumers whose queue went, and who must be told.
        self.cancelled: list[tuple[NaiveChannel, str]] = []

    def declare(self, queue: NaiveQueue) -> None:
        """A new queue."""
        self.queues[queue.name] = queue

    def bury(self, now: float) -> bool:
        """Dead letters arrive; False if there are none."""
        some = False
        for queue in [*self.queues.values(), *self.gone]:
            some = some or bool(queue.dying)
            for message in queue.dying:
                target = self.queues.get(queue.dies_to)
                if target is not None:
                    target.publish(message.body, message.persistent, now, died=True)
            queue.dying.clear()
        self.gone = []
        return some

    def delete(self, queue: NaiveQueue) -> None:
        """A queue goes with its messages and consumers."""
        del self.queues[queue.name]
        self.gone.append(queue)
        queue.deleted = True
        queue.ready = []
        for consumer in list(queue.consumers):
            queue.remove(consumer)
            del consumer.channel.consumers[consumer.tag]
            self.cancelled.append((consumer.channel, consumer.tag))

    def cancel(self, consumer: NaiveConsumer) -> None:
        """A consumer goes; an auto-delete queue with its last one."""
        del consumer.channel.consumers[consumer.tag]
        consumer.queue.remove(consumer)
        self._left(consumer.queue)

    def _left(self, queue: NaiveQueue) -> None:
        if not queue.deleted and queue.auto_delete and queue.had_consumer and not queue.consumers:
            self.delete(queue)

    def close_channel(self, channel: NaiveChannel) -> None:
        """All that is out goes back, uncommitted settlements included."""
        self.channels.remove(channel)
        if channel.transaction is not None:
            channel.roll_back()
        gone = list(channel.consumers.values())
        for consumer in gone:
            consumer.queue.remove(consumer)
        channel.consumers = {}
        for consumer in gone:
            self._left(consumer.queue)
        channel.finish(list(channel.unacked.values()), "requeue")
        channel.unacked = {}

    def close_connection(self, connection: int) -> None:
        """All its channels go, and its exclusive queues."""
        for channel in [each for each in self.channels if each.connection == connection]:
            self.close_channel(channel)
        for queue in [each for each in self.queues.values() if each.owner == connection]:
            self.delete(queue)

    def restart(self, clean: bool, now: float) -> None:
        """Only durable queues are left, with their persistent messages.

        In a crash nobody sees that what comes back is too much, before it is back.
        """
        limits = {queue: (queue.limit, queue.limit_bytes) for queue in self.queues.values()}
        if not clean:
            for queue in limits:
                queue.limit = queue.limit_bytes = None
        for connection in {channel.connection for channel in self.channels}:
            self.close_connection(connection)
        for queue in list(self.queues.values()):
            if not queue.durable:
                self.delete(queue)
            queue.limit, queue.limit_bytes = limits[queue]
            queue.had_consumer = False
            queue.ready = [message for message in queue.ready if message.persistent]
            for message in queue.ready:
                message.redelivered = message.redelivered or not clean
                message.seen = True
            queue.expire(now)
            queue.offered(now)
        while self.bury(now):
            for queue in self.queues.values():
                queue.offered(now)
        self.cancelled = []
