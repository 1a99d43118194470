"""One channel: its state, and which rule answers which command.

States: open; waiting (a reply waits for the journal or the disk, later commands are kept in order);
closing (the broker sent channel.close and ignores everything but the client's close and close-ok).

What a method does is in a module of its class (settling.py, consuming.py, transactions.py, and so
on); handlers.py has which method goes where.

Source: RabbitMQ's `rabbit_channel`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from mypy_extensions import i64
from pamqp.base import Frame

from amqbroker.core.ack_timeouts import AckWatch
from amqbroker.core.confirms import Confirms
from amqbroker.core.consumer import Consumer, left_at
from amqbroker.core.entry import QueueEntry
from amqbroker.core.held import HeldGet, Transaction
from amqbroker.core.queue import Queue
from amqbroker.core.reply_to import ReplyConsumer
from amqbroker.core.unacked import Unacked, forget_limited
from amqbroker.core.vhost import Route, VirtualHost
from amqbroker.errors import broken_journal, not_found
from amqbroker.message import Message

if TYPE_CHECKING:
    from amqbroker.core.client import Client

# What a command costs while it waits, besides its content.
DEFERRED_OVERHEAD_BYTES: Final = 200


# Late answers that one channel may give.
FORGIVEN_MAX: Final = 65_536

# Channel.waiting_position of a channel that waits for messages from disk.
ON_DISK: Final = -1


@final
class Channel:
    """One channel of one client."""

    __slots__ = (
        "ack_watches",
        "blocks",
        "client",
        "closing",
        "committing",
        "confirms",
        "confirms_due",
        "confirms_waiting",
        "consumers",
        "deferred",
        "deferred_bytes",
        "forgiven",
        "last_address",
        "last_queue",
        "last_route",
        "last_version",
        "next_delivery_tag",
        "number",
        "prefetch_default",
        "prefetch_global",
        "reply_consumer",
        "stopped",
        "transaction",
        "unacked",
        "unacked_global",
        "vhost",
        "waiting_get",
        "waiting_position",
        "waiting_reply",
    )

    def __init__(self, client: Client, number: i64, vhost: VirtualHost) -> None:
        self.client = client
        self.number: i64 = number
        self.vhost = vhost
        self.closing = False
        self.next_delivery_tag: i64 = 1
        self.unacked = Unacked()
        self.consumers: dict[str, Consumer] = {}
        # Of consumers and gets with a timeout; and the tags of deliveries that went back to their
        # queue by that, which the client may still settle.
        self.ack_watches: list[AckWatch] = []
        self.forgiven: dict[int, None] = {}
        # basic.qos: global false is the default of later consumers, global true a limit on the
        # channel.
        self.prefetch_default: i64 = 0
        self.prefetch_global: i64 = 0
        self.unacked_global: i64 = 0
        # Queues that would have had something for a consumer here, but for the channel's limit.
        self.stopped: dict[int, Queue] = {}
        # Grows with every consumer that leaves its queue's line.
        self.blocks: i64 = 0
        self.confirms: Confirms | None = None
        self.confirms_due = False
        self.confirms_waiting = False
        self.transaction: Transaction | None = None
        # The name that an empty queue name stands for.
        self.last_queue = ""
        # The consumer tag and the secret of direct reply-to.
        self.reply_consumer: ReplyConsumer | None = None
        # The route of the last publish, valid while the virtual host has this version.
        self.last_address = b""
        self.last_route: Route | None = None
        self.last_version: i64 = -1
        # A reply that waits until this journal position is durable, and what arrived meanwhile.
        self.waiting_position: i64 = 0
        self.waiting_reply: bytes = b""
        self.committing = False
        # A basic.get that waits for the disk, with the position ON_DISK.
        self.waiting_get: HeldGet | None = None
        self.deferred: list[object] = []
        self.deferred_bytes: i64 = 0

    def send(self, frame: Frame) -> None:
        """Write a method on this channel."""
        self.client.send(self.number, frame)

    def reply_when_durable(self, position: i64, frame: Frame) -> None:
        """Send `frame` once the journal has reached this position; commands that arrive until then
        wait.

        Raises 541 if it never will.
        """
        if self.client.broker.is_durable(position):
            self.send(frame)
            return
        if self.client.broker.journal.broken:
            raise broken_journal()
        self.waiting_position = position
        self.waiting_reply = self.client.encode(self.number, frame)
        self.client.broker.waiting.append(self)

    def queue_name(self, name: str) -> str:
        """An empty name means the last queue that this channel declared.

        Raises 404 if there is none.
        """
        if name:
            return name
        if not self.last_queue:
            raise not_found("no previously declared queue")
        return self.last_queue

    def confirm(self, position: i64) -> None:
        """Answer the last publish once this journal position is durable; 0 means at the end of the
        turn, REFUSED that a queue had no room for it."""
        confirms = self.confirms
        if confirms is None:
            return
        confirms.add(position)
        self.confirms_changed()

    def confirms_changed(self) -> None:
        """Look at the confirms when the turn is settled."""
        if not self.confirms_due:
            self.confirms_due = True
            self.client.broker.turn.confirming.append(self)

    def settled(self, entry: QueueEntry) -> None:
        """An outstanding entry is not outstanding any more: prefetch comes back, and the queue may
        go on. The consumer's own comes first."""
        self.returned(entry)
        if entry.limited:
            entry.limited = False
            self.release(1)

    def returned(self, entry: QueueEntry) -> None:
        """As `settled`, but the channel's limit has no room yet: `release` makes it."""
        queue = entry.line.queue
        queue.unacked_count -= 1
        consumer = entry.consumer
        if consumer is None:
            return
        before = consumer.unacked
        consumer.unacked = before - 1
        if consumer.blocked and before == consumer.prefetch:
            if self.prefetch_global == 0:
                consumer.unblock()
            else:
                # As RabbitMQ, try all that the channel's limit has stopped on this queue.
                self._unblock(queue)

    def release(self, count: i64) -> None:
        """So many fewer of the deliveries that the channel's limit counts are outstanding."""
        was_full = self.is_full()
        self.unacked_global -= count
        if was_full and not self.is_full():
            self.has_room_again()

    def is_full(self) -> bool:
        """Whether the channel's limit allows no more."""
        return self.prefetch_global != 0 and self.unacked_global >= self.prefetch_global

    def forgive(self, entries: list[QueueEntry]) -> None:
        """These go back to their queues, and the client may settle them yet, without effect."""
        for entry in entries:
            self.forgiven[entry.delivery_tag] = None
        while len(self.forgiven) > FORGIVEN_MAX:
            del self.forgiven[next(iter(self.forgiven))]

    def has_room_again(self) -> None:
        """The channel's limit was reached and is not any more."""
        self.stopped = {}
        self.unblock_consumers()

    def unblock_consumers(self) -> None:
        """The channel has room again, or its client: back into the line with all but those that are
        at their own limit."""
        self._unblock(None)

    def _unblock(self, queue: Queue | None) -> None:
        """In the order in which they left: of one queue, or of all."""
        back = [
            consumer
            for consumer in self.consumers.values()
            if consumer.blocked
            and not consumer.is_full()
            and (queue is None or consumer.queue is queue)
        ]
        if len(back) > 1:
            back.sort(key=left_at)
        for consumer in back:
            consumer.unblock()

    def requeue(self, entries: list[QueueEntry]) -> None:
        """Give outstanding entries back to their queues, each to its place.

        If the channel's limit has stopped a queue, others get them before it has room again:
        RabbitMQ's `rabbit_channel` tells its limiter last, which tells the queue.
        """
        by_queue: dict[int, list[QueueEntry]] = {}
        queues: list[Queue] = []
        counted = forget_limited(entries)
        for entry in entries:
            self.returned(entry)
            queue = entry.line.queue
            group = by_queue.get(queue.id)
            if group is None:
                by_queue[queue.id] = [entry]
                queues.append(queue)
            else:
                group.append(entry)
        for queue in queues:
            queue.requeue(by_queue[queue.id])
        if counted > 0:
            for queue in queues:
                if self.consumers and queue.id in self.stopped:
                    queue.serve()
            self.release(counted)

    def defer(self, command: object) -> None:
        """Keep a command until the reply that waits for the journal is sent."""
        self.deferred.append(command)
        size: i64 = DEFERRED_OVERHEAD_BYTES
        if isinstance(command, Message):
            size += len(command.header) + len(command.body)
        self.deferred_bytes += size
        self.client.deferred_bytes += size

    def take_deferred(self) -> list[object]:
        """The commands that were kept, in order; they are the caller's now."""
        deferred = self.deferred
        self.deferred = []
        self.client.deferred_bytes -= self.deferred_bytes
        self.deferred_bytes = 0
        return deferred

    def tear_down(self) -> None:
        """The channel is gone: consumers leave, and what is outstanding goes back to its queues."""
        self.take_deferred()
        self.waiting_position = 0
        self.waiting_get = None
        # Nothing may follow close-ok, and the number may be another channel's by the time the
        # journal is there.
        self.confirms = None
        if self.transaction is not None:
            self.unacked.restore(self.transaction.taken())
            self.transaction = None
        for watch in self.ack_watches:
            watch.stop()
        self.ack_watches = []
        consumers = list(self.consumers.values())
        self.consumers = {}
        for consumer in consumers:
            consumer.queue.consumers.remove(consumer)
        # What comes back to an auto-delete queue that goes is gone with it, and does not die in it.
        for consumer in consumers:
            self.client.broker.consumer_left(self.vhost, consumer.queue)
        self.requeue(self.unacked.take_all())
        if self.reply_consumer is not None:
            self.client.broker.reply_consumers.pop(self.reply_consumer.key, None)
            self.reply_consumer = None
