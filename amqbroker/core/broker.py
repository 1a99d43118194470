"""What all connections of a node share: virtual hosts, users, the journal, timers, and the lists of
a turn.

The broker composes nothing and reads no input; node.py does. It owns the life of queues, as more
than one room ends them: their connection, their last consumer, their expiry, or a client's word.
"""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, final

from librt.strings import BytesWriter
from mypy_extensions import i64

from amqbroker.auth.users import UserStore
from amqbroker.config import Config
from amqbroker.core import log
from amqbroker.core.ack_timeouts import watch_consumer
from amqbroker.core.alarms import Alarms
from amqbroker.core.consumer import consumer_tag_of
from amqbroker.core.discard import DeadLettering
from amqbroker.core.events import Events
from amqbroker.core.line import Line
from amqbroker.core.log import LogLine
from amqbroker.core.logins import Logins
from amqbroker.core.memory import Memory
from amqbroker.core.queue import Queue
from amqbroker.core.reply_to import ReplyConsumer
from amqbroker.core.rules import NO_LIMIT, Rules
from amqbroker.core.timers import TimerTarget
from amqbroker.core.turn import Turn
from amqbroker.core.vhost import VirtualHost
from amqbroker.exchanges.base import Table
from amqbroker.store.journal import Journal
from amqbroker.wire.handshake import Offer

if TYPE_CHECKING:
    from amqbroker.core.channel import Channel
    from amqbroker.core.client import Client


@final
class Broker:
    """The shared state of one node."""

    def __init__(
        self, config: Config, offer: Offer, users: UserStore, journal: Journal, random: Random
    ) -> None:
        self.config = config
        self.offer = offer
        self.users = users
        self.journal = journal
        self.random = random
        self.turn = Turn(Memory(journal.segments, config.memory.queue_bytes_max))
        self.memory = self.turn.memory
        # Messages that could not be read from disk.
        self.messages_lost = 0
        self.timers = self.turn.timers
        self.dead_letters = DeadLettering(self)
        self.vhosts: dict[str, VirtualHost] = {}
        # JSON by name.
        self.global_parameters: dict[str, str] = {}
        # How long a delivery may be outstanding where neither consumer nor queue says it.
        self.consumer_timeout_ms: i64 = config.limits.consumer_timeout_ms or NO_LIMIT
        self.clients: dict[int, Client] = {}
        # Buffers that their outboxes share.
        self.grown: list[BytesWriter] = []
        # Channels of no connection: an administrator's, while they look at messages.
        self.own_channels: list[Channel] = []
        self.open_connections = 0
        # Clients whose consumers wait for room in their output buffer.
        self.awaiting_room = 0
        self.next_queue_id: i64 = 1
        # Channels whose reply waits for the journal.
        self.waiting: list[Channel] = []
        # Channels with confirms that wait for the journal.
        self.unconfirmed: list[Channel] = []
        self.reply_consumers: dict[str, ReplyConsumer] = {}
        # Who waits for a password to be checked.
        self.logins = Logins()
        self.log_lines: list[LogLine] = []
        # Why publishers are blocked; empty if they are not. It is what `alarms` says.
        self.alarm = ""
        self.alarms = Alarms()
        self.events = Events(self)
        # Whether an earlier start has made what the configuration leaves to the first one.
        self.defaults_made = False

    def log(self, level: int, text: str, **fields: object) -> None:
        """One line for the log."""
        self.log_lines.append(LogLine(level, text, fields))

    @property
    def now(self) -> float:
        """The monotonic time of the last input, in seconds."""
        return self.turn.now

    @now.setter
    def now(self, now: float) -> None:
        self.turn.now = now

    def alarms_changed(self) -> None:
        """Something was measured: block publishers, or let them go on."""
        before = self.alarm
        self.alarm = self.alarms.reason()
        if self.alarm == before:
            return
        event = "alarm.set" if self.alarm else "alarm.cleared"
        self.events.emit(event, {"reason": self.alarm or before})
        if self.alarm:
            self.log(log.WARNING, f"{self.alarm}: publishers are blocked ({self._figures()})")
            return
        self.log(log.INFO, f"no longer {before}: publishers go on ({self._figures()})")
        for client in self.clients.values():
            client.alarm_over()

    def _figures(self) -> str:
        alarms = self.alarms
        memory = f"memory in use: {megabytes(alarms.memory_bytes)}"
        if alarms.memory_watermark >= 0:
            memory += f" of {megabytes(alarms.memory_watermark)}"
        disk = f"disk free: {megabytes(alarms.disk_free_bytes)}"
        return f"{memory}; {disk}, limit {megabytes(alarms.disk_free_limit)}"

    def wall_ms(self) -> i64:
        """The time of day, in milliseconds since 1970."""
        return self.turn.wall_ms()

    @property
    def memory_bytes(self) -> int:
        """What messages take in memory, in bytes."""
        return self.memory.bytes

    def all_queues(self) -> list[Queue]:
        """Every queue of every virtual host."""
        return [queue for vhost in self.vhosts.values() for queue in vhost.queues.values()]

    def all_lines(self) -> list[Line]:
        """Every line of every queue."""
        return [line for queue in self.all_queues() for line in queue.lines()]

    def channels(self) -> list[Channel]:
        """Every channel that may have something outstanding."""
        found = [
            channel for client in self.clients.values() for channel in client.channels.values()
        ]
        found.extend(self.own_channels)
        return found

    def is_durable(self, position: i64) -> bool:
        """Whether the journal has reached this position; 0 is always reached."""
        return position <= self.journal.synced_position

    def is_disk_behind(self) -> bool:
        """Whether more waits for the disk than is good for memory: what comes must wait as well."""
        return (
            self.journal.pending_bytes > self.config.store.journal_pending_bytes_max
            or self.memory.must_wait()
        )

    def create_queue(
        self,
        vhost: VirtualHost,
        name: str,
        durable: bool,
        auto_delete: bool,
        owner: Client | None,
        arguments: Table,
    ) -> tuple[Queue, int]:
        """A new queue, and the journal position after which it will outlive a crash (0: it never
        does)."""
        queue = Queue(self.turn, self.next_queue_id, name, durable, auto_delete, owner, arguments)
        self.next_queue_id += queue.ids()
        if owner is not None:
            owner.exclusive_queues[queue.id] = queue
        position = vhost.add_queue(queue)
        self.start_expiry(vhost, queue)
        self.events.queue_created(vhost.name, queue)
        return queue, position

    def delete_queue(self, vhost: VirtualHost, queue: Queue) -> tuple[int, int]:
        """Delete a queue with its bindings, messages and consumers; ready messages and the position
        to wait for."""
        position = vhost.remove_queue(queue)
        if queue.owner is not None:
            queue.owner.exclusive_queues.pop(queue.id, None)
        if queue.expiry is not None:
            self.timers.cancel(queue.expiry)
            queue.expiry = None
        count = queue.delete()
        # Each channel hears of its own in the order of their tags, as from RabbitMQ.
        for consumer in sorted(queue.consumers.all, key=consumer_tag_of):
            queue.consumers.remove(consumer)
            channel = consumer.channel
            channel.consumers.pop(consumer.tag, None)
            channel.client.consumer_cancelled(channel, consumer.tag)
        self.events.queue_deleted(vhost.name, queue)
        return count, position

    def consumer_left(self, vhost: VirtualHost, queue: Queue) -> None:
        """A consumer was cancelled: an auto-delete queue goes with its last one."""
        if queue.deleted:
            return
        queue.used_at = self.now
        if queue.auto_delete and queue.had_consumer and not queue.consumers.all:
            self.delete_queue(vhost, queue)
        else:
            queue.wake()

    def queue_used(self, vhost: VirtualHost, queue: Queue) -> None:
        """Declare, passive declare and get count as use."""
        queue.used_at = self.now

    def change_consumer_timeout(self, timeout_ms: int) -> None:
        """Another limit on how long a client may keep a delivery, where nobody says otherwise; 0
        for none."""
        self.consumer_timeout_ms = timeout_ms or NO_LIMIT
        for queue in self.all_queues():
            for consumer in queue.consumers.all:
                watch_consumer(consumer)

    def change_rules(self, vhost: VirtualHost, queue: Queue, rules: Rules) -> None:
        """Other rules hold for a queue; if it now expires at another time, that begins anew."""
        before = queue.rules
        queue.set_rules(rules)
        if rules.consumer_timeout_ms != before.consumer_timeout_ms:
            for consumer in queue.consumers.all:
                watch_consumer(consumer)
        if rules.expires_ms == before.expires_ms:
            return
        if queue.expiry is not None:
            self.timers.cancel(queue.expiry)
            queue.expiry = None
        self.start_expiry(vhost, queue)

    def start_expiry(self, vhost: VirtualHost, queue: Queue) -> None:
        """Delete the queue when it was unused for its x-expires."""
        expires_ms = queue.rules.expires_ms
        if expires_ms != NO_LIMIT:
            queue.used_at = self.now
            target = QueueExpiry(self, vhost, queue)
            queue.expiry = self.timers.set(self.now + expires_ms / 1000, target, 0)


@final
class QueueExpiry(TimerTarget):
    """Deletes one queue when it was unused for its x-expires: no consumer, no declare, no get."""

    def __init__(self, broker: Broker, vhost: VirtualHost, queue: Queue) -> None:
        self.broker = broker
        self.vhost = vhost
        self.queue = queue

    def on_timer(self, kind: int, now: float) -> None:
        """Delete the queue, or look again when it could have expired next."""
        queue = self.queue
        if queue.consumers.all:
            queue.used_at = now
        expires_at = queue.used_at + queue.rules.expires_ms / 1000
        if expires_at <= now:
            self.broker.delete_queue(self.vhost, queue)
        else:
            queue.expiry = self.broker.timers.set(expires_at, self, kind)


def megabytes(count: int) -> str:
    """For people."""
    return f"{count / 1_000_000:,.1f} MB"
