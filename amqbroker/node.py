"""One broker node without I/O: the same calls, in the same order, give the same outputs.

The edges call these methods from one thread and then drain the outputs. No method awaits, reads a
clock, or raises for what a client or a disk did. `now` is a monotonic time in seconds that never
goes back, read once a turn; made-up names come from the `random.Random` given at the start.

A turn: every input that is there, `settle` once, then the edge takes the outputs of `outputs()`,
the journal's batch from `take_batch()`, the password checks and the log lines.
"""

from __future__ import annotations

from random import Random
from typing import Final, final

from amqbroker.auth.certificates import TlsPeer
from amqbroker.auth.sasl import MECHANISMS, offered_to
from amqbroker.auth.users import UserStore
from amqbroker.config import Config
from amqbroker.core import connection_methods, full_disk, log
from amqbroker.core.account import Account, take_account
from amqbroker.core.broker import Broker
from amqbroker.core.client import CLOSING, DONE, Client
from amqbroker.core.configured import apply_changes, apply_config
from amqbroker.core.consuming import resume_gets
from amqbroker.core.logins import PasswordCheck
from amqbroker.core.memory import ReadRequest
from amqbroker.core.paging import empty_file, messages_read
from amqbroker.core.queue import last_served
from amqbroker.core.recovery import restore
from amqbroker.core.unloading import relieve, store_some
from amqbroker.errors import INTERNAL_ERROR, ConnectionException, broken_journal
from amqbroker.message import Entry
from amqbroker.store.journal import RELIEF, Batch, Journal
from amqbroker.store.recovery import Recovered
from amqbroker.wire.handshake import Offer, server_properties

# So long after consumers were outrun their acks may be on the way.
OUTRUN_S: Final = 0.001


@final
class PeerInfo:
    """Where a connection comes from and goes to, and what its listener offers it.

    No `mechanisms` are the usual ones; `tls` is None on a connection without.
    """

    __slots__ = ("host", "local_host", "local_port", "mechanisms", "port", "tls")

    def __init__(
        self,
        host: str,
        port: int,
        local_host: str,
        local_port: int,
        mechanisms: tuple[str, ...] = (),
        tls: TlsPeer | None = None,
    ) -> None:
        self.host = host
        self.port = port
        self.local_host = local_host
        self.local_port = local_port
        self.mechanisms = mechanisms
        self.tls = tls

    def __str__(self) -> str:
        return f"{self.host}:{self.port} -> {self.local_host}:{self.local_port}"


@final
class Counts:
    """How much there is of everything."""

    __slots__ = ("alarm", "connections", "queues", "ready", "unacked", "vhosts")

    def __init__(self) -> None:
        self.connections = 0
        self.vhosts = 0
        self.queues = 0
        # Messages that wait, and those that were delivered and not settled.
        self.ready = 0
        self.unacked = 0
        # Why publishers are blocked; empty if they are not.
        self.alarm = ""


@final
class Node:
    """All of a broker but its sockets, files and clock."""

    def __init__(
        self,
        config: Config,
        journal: Journal,
        recovered: Recovered | None,
        random: Random,
        now: float,
        wall: float = 0.0,
    ) -> None:
        """`wall` is the time of day at `now`, in seconds since 1970."""
        users = UserStore([], config.loopback_users)
        self._broker = Broker(config, make_offer(config), users, journal, random)
        self._broker.now = now
        self._broker.turn.wall_offset = wall - now
        self._journal = journal
        journal.settle_delay_s = config.store.settle_delay_ms / 1000
        self._base_bytes = 0
        if recovered is not None:
            restore(self._broker, recovered)
        apply_config(self._broker)

    # Inputs.

    def client_connected(self, connection_id: int, peer: PeerInfo, now: float) -> None:
        """A socket was accepted."""
        self._broker.now = now
        client = Client(self._broker, connection_id, str(peer), peer.host, now, peer.tls)
        if peer.mechanisms:
            client.offer(
                offered_to(peer.mechanisms, peer.tls is not None and peer.tls.has_certificate)
            )
        self._broker.clients[connection_id] = client

    def client_received(self, connection_id: int, data: bytes, now: float) -> None:
        """A socket was read."""
        self._broker.now = now
        self._broker.clients[connection_id].receive(data)

    def client_ended(self, connection_id: int, now: float) -> bool:
        """The peer sends no more, not even close-ok; True if it is owed the end of a close."""
        self._broker.now = now
        client = self._broker.clients[connection_id]
        if client.state == CLOSING:
            client.finish()
        return client.state == DONE

    def client_broke(self, connection_id: int, now: float) -> None:
        """A bug of the broker's showed on this connection: 541."""
        self._broker.now = now
        client = self._broker.clients[connection_id]
        if client.state != DONE:
            client.close(
                ConnectionException(
                    INTERNAL_ERROR, "an internal error occurred, see the broker's log"
                )
            )

    def client_lost(self, connection_id: int, reason: str, now: float) -> None:
        """A socket is closed, by either side; `reason` is what the edge knows, empty for a plain
        end of stream."""
        broker = self._broker
        broker.now = now
        client = broker.clients.pop(connection_id)
        client.lost()
        if client.refused:
            return
        if not client.started():
            broker.log(
                log.DEBUG,
                f"connection {client.name} closed without a byte: a health check",
                connection=client.name,
            )
            return
        end = client.end or "lost: the client closed the socket without connection.close" + (
            f" ({reason})" if reason else ""
        )
        level = log.WARNING if not client.end else log.INFO
        broker.log(
            level, f"connection {client.name} {end}", connection=client.name, user=client.user.name
        )

    def password_checked(self, check: PasswordCheck, right: bool, now: float) -> None:
        """A PasswordCheck was carried out."""
        self._broker.now = now
        client = self._broker.clients.get(check.connection_id)
        if client is not None:
            connection_methods.password_checked(client, check.stored, right)

    def journal_synced(self, position: int) -> None:
        """The batch of this position is durable, and all before it."""
        self._journal.synced(position)
        if position == RELIEF:
            return
        full_disk.look_again(self._broker)
        self._broker.memory.stored_ended(True)
        self._after_sync()

    def messages_read(
        self, request: ReadRequest, data: bytes | None, reason: str, now: float
    ) -> None:
        """A ReadRequest was carried out; no data means that it failed, for this reason."""
        self._broker.now = now
        messages_read(self._broker, request, data, reason)

    def journal_refused(self, reason: str, now: float) -> None:
        """The disk is full: the batch waits for room, publishers are blocked, consumers go on."""
        self._broker.now = now
        full_disk.refused(self._broker, reason)
        if self._journal.broken:
            self.journal_failed(reason)

    def journal_failed(self, reason: str) -> None:
        """The disk failed: nothing is confirmed any more, publishers are blocked."""
        broker = self._broker
        self._journal.failed(reason)
        if not broker.memory.outbox.refused:
            broker.memory.stored_ended(False)
        broker.alarms.disk_full = True
        broker.alarms_changed()
        broker.log(
            log.ERROR,
            f"the journal cannot be written: {reason}. Publishers are blocked and nothing more is "
            "confirmed; what was confirmed is on disk. Mend the disk and restart the broker",
        )
        for channel in broker.unconfirmed:
            channel.confirms_waiting = False
            channel.confirms_changed()
        broker.unconfirmed = []
        waiting = broker.waiting
        broker.waiting = []
        for channel in waiting:
            client = channel.client
            if channel.waiting_position > 0 and not client.is_closing():
                client.close(broken_journal())

    def limit_memory(self, watermark_bytes: int, queue_bytes_max: int) -> None:
        """Publishers are blocked while more than `watermark_bytes` are in use; messages of queues
        go to disk beyond `queue_bytes_max`."""
        self._broker.alarms.memory_watermark = watermark_bytes
        self._broker.memory.bytes_max = queue_bytes_max

    def limit_disk(self, free_bytes: int) -> None:
        """Publishers are blocked while the disk takes less than this."""
        self._broker.alarms.disk_free_limit = free_bytes

    def reconfigure(self, config: Config, now: float) -> int:
        """Another configuration holds: for connections that come, and at once for users, virtual
        hosts and consumer timeouts. The journal position to wait for."""
        broker = self._broker
        broker.now = now
        before = broker.config
        broker.config = config
        broker.offer = make_offer(config)
        broker.users.loopback_users = dict.fromkeys(config.loopback_users, True)
        if config.limits.consumer_timeout_ms != before.limits.consumer_timeout_ms:
            broker.change_consumer_timeout(config.limits.consumer_timeout_ms)
        return apply_changes(broker, before)

    def serving(self, resident_bytes: int) -> None:
        """The process has so much memory as it begins to serve: the base of the account."""
        self._base_bytes = max(0, resident_bytes - take_account(self._broker, 0).total())

    def memory_measured(self, resident_bytes: int, now: float) -> None:
        """The process has so much memory."""
        self._broker.now = now
        accounted = self.memory_account().used()
        self._broker.alarms.measure_memory(resident_bytes, accounted)
        self._broker.alarms_changed()

    def disk_measured(self, free_bytes: int, now: float) -> None:
        """The disk takes so much more."""
        self._broker.now = now
        self._broker.alarms.measure_disk(free_bytes)
        self._broker.memory.disk_measured(free_bytes)
        self._broker.alarms_changed()

    def settle(self, now: float) -> None:
        """Deliveries and confirms of this turn, once."""
        broker = self._broker
        broker.now = now
        turn = broker.turn
        dead_letters = broker.dead_letters
        if dead_letters.has_work():
            dead_letters.work()
        if turn.queues:
            queues = turn.queues
            turn.queues = []
            # Queues may share a channel's limit and an output buffer: who waited longest is first.
            if len(queues) > 1:
                queues.sort(key=last_served)
            for queue in queues:
                if queue.waiting_gets:
                    resume_gets(queue)
                if queue.deliver() and not queue.deleted:
                    queue.wake()
                if queue.is_awaited:
                    dead_letters.look_at(queue)
                if queue.levels is None:
                    broker.memory.look_at(queue.line)
                else:
                    for line in queue.levels:
                        broker.memory.look_at(line)
            if broker.memory.is_short():
                relieve(broker)
        if turn.confirming:
            channels = turn.confirming
            turn.confirming = []
            for channel in channels:
                channel.confirms_due = False
                confirms = channel.confirms
                if confirms is None:
                    continue
                if confirms.flush(
                    channel.client.output, channel.number, self._journal.synced_position
                ):
                    channel.client.mark_output()
                if self._journal.broken and confirms.pending():
                    confirms.refuse_pending(channel.client.output, channel.number)
                    channel.client.mark_output()
                elif confirms.pending() and not channel.confirms_waiting:
                    channel.confirms_waiting = True
                    broker.unconfirmed.append(channel)

    def _after_sync(self) -> None:
        """Look again at everyone who waits for the journal."""
        broker = self._broker
        broker.dead_letters.synced(self._journal.synced_position)
        if broker.unconfirmed:
            channels = broker.unconfirmed
            broker.unconfirmed = []
            for channel in channels:
                channel.confirms_waiting = False
                channel.confirms_changed()
        if broker.waiting:
            waiting = broker.waiting
            broker.waiting = []
            for channel in waiting:
                if channel.waiting_position == 0:
                    continue
                if broker.is_durable(channel.waiting_position):
                    channel.client.resume(channel)
                else:
                    broker.waiting.append(channel)

    def has_work(self) -> bool:
        """Whether another `settle` has something to do without a further input."""
        turn = self._broker.turn
        return bool(turn.queues) or bool(turn.confirming) or self._broker.dead_letters.has_work()

    def next_deadline(self) -> float | None:
        """When `on_time` must be called next; None if there is nothing to wait for."""
        timer = self._broker.timers.next_deadline()
        batch = self._journal.deadline()
        if timer is None or batch is None:
            return batch if timer is None else timer
        return min(timer, batch)

    def on_time(self, now: float) -> None:
        """A deadline passed."""
        self._broker.now = now
        self._broker.timers.fire(now)

    def shut_down(self, reason: str, now: float) -> None:
        """Close every connection with 320."""
        self._broker.now = now
        for client in list(self._broker.clients.values()):
            client.force_close(f"broker forced connection closure with reason '{reason}'")

    def stop(self, now: float) -> bool:
        """The last words of a clean stop, once all connections are gone; False if none can be said.

        They say which messages were delivered before.
        """
        if self._journal.broken:
            return False
        self._broker.now = now
        redelivered: list[Entry] = []
        for line in self._broker.all_lines():
            if line.log is not None:
                redelivered.extend([entry for entry in line.ready.entries() if entry.redelivered])
        redelivered.extend(self._broker.dead_letters.entries())
        for queue in self._broker.all_queues():
            if queue.reloading is not None:
                redelivered.extend(queue.reloading.entries())
        self._journal.stop(redelivered)
        return True

    # Outputs.

    def outputs(self) -> list[int]:
        """The connections that have bytes to send or must be closed, since the last call."""
        clients = self._broker.turn.outputs
        self._broker.turn.outputs = []
        return [client.id for client in clients]

    def take_output(self, connection_id: int) -> list[bytes]:
        """What waits to be sent on a connection, large bodies in pieces of their own."""
        client = self._broker.clients.get(connection_id)
        return [] if client is None else client.take_output()

    def awaits_large_frame(self, connection_id: int) -> bool:
        """Whether a frame that is too large for a small read is under way on this connection."""
        client = self._broker.clients.get(connection_id)
        return client is not None and client.parser.awaits_large_frame()

    def must_close(self, connection_id: int) -> bool:
        """Whether the edge must close the socket once the output is sent."""
        client = self._broker.clients.get(connection_id)
        return client is None or client.state == DONE

    def must_pause(self, connection_id: int) -> bool:
        """Whether the edge must not read from this connection for now."""
        client = self._broker.clients.get(connection_id)
        return client is not None and client.must_pause()

    def must_yield(self, connection_id: int) -> bool:
        """Whether this connection publishes while consumers wait for their sockets, or for their
        acks to get here: let those get ahead."""
        broker = self._broker
        client = broker.clients.get(connection_id)
        if client is None or not client.publishes:
            return False
        return broker.awaiting_room > 0 or broker.now - broker.turn.outrun_at < OUTRUN_S

    def take_batch(self, now: float) -> Batch | None:
        """What the journal has to write now; `journal_synced`, `journal_refused` or
        `journal_failed` must follow."""
        journal = self._journal
        if journal.is_idle():
            self._prepare_batch()
        if not journal.due(now):
            return None
        before = journal.synced_position
        batch = journal.take_batch()
        if batch is None:
            full_disk.look_again(self._broker)
            if journal.synced_position != before:
                self._after_sync()
        return batch

    def _prepare_batch(self) -> None:
        """What goes from memory to segments, or keeps old journal files, goes along."""
        if self._broker.alarms.disk_is_short():
            # It takes more disk before it takes less.
            self._broker.memory.unloading = False
            return
        memory = self._broker.memory
        number = self._journal.file_to_empty(self._broker.memory_bytes)
        if number:
            empty_file(self._broker, number)
        if memory.spilling:
            memory.write_some()
        if memory.unloading:
            store_some(self._broker)

    def take_reads(self) -> list[ReadRequest]:
        """Pieces of segments that are to be read; each is answered with `messages_read`."""
        memory = self._broker.memory
        reads = memory.reads
        memory.reads = []
        if memory.outbox.refused:
            return full_disk.read_refused(self._broker, reads)
        return reads

    def take_password_checks(self, count: int) -> list[PasswordCheck]:
        """At most so many logins that wait for a slow hash; each is answered with
        `password_checked`."""
        checks: list[PasswordCheck] = []
        while len(checks) < count:
            check = self._broker.logins.take()
            if check is None:
                break
            # A client that is gone, or has waited too long, costs nothing.
            client = self._broker.clients.get(check.connection_id)
            if client is not None and not client.is_closing():
                checks.append(check)
        return checks

    def take_log_lines(self) -> list[log.LogLine]:
        """What is worth a line in the log."""
        lines = self._broker.log_lines
        self._broker.log_lines = []
        return lines

    def let_go(self) -> None:
        """Nobody will call this node again. The garbage collector does not see entries, and they
        know their queues: without this it would never free a node that has messages."""
        broker = self._broker
        for line in broker.all_lines():
            line.forget()
        for channel in broker.channels():
            channel.unacked.take_all()
            channel.transaction = None
        broker.dead_letters.forget()
        self._journal.let_go()

    # For management/: what it changes is looked at when the next turn is settled.

    @property
    def broker(self) -> Broker:
        """What is behind this node."""
        return self._broker

    # Looks that change nothing.

    def counts(self) -> Counts:
        """The figures of the moment."""
        broker = self._broker
        counts = Counts()
        counts.connections = broker.open_connections
        counts.vhosts = len(broker.vhosts)
        for queue in broker.all_queues():
            counts.queues += 1
            counts.ready += queue.ready_count()
            counts.unacked += queue.unacked_count
        counts.alarm = broker.alarm
        return counts

    def memory_account(self) -> Account:
        """What the broker takes in memory, by what it is for."""
        return take_account(self._broker, self._base_bytes)

    def journal_failure(self) -> str:
        """Why the journal is broken; empty if it is not."""
        return self._journal.failure

    def growing_segments(self) -> list[str]:
        """The segments of durable queues that may be longer on disk after the next batch."""
        names: list[str] = []
        for line in self._broker.all_lines():
            if line.log is not None:
                names.extend(line.log.backlog.growing())
        return names

    def transient_queues(self) -> list[int]:
        """The ids of queues that no restart brings back."""
        return [int(line.id) for line in self._broker.all_lines() if line.log is None]


def make_offer(config: Config) -> Offer:
    """What connections are offered with this configuration."""
    properties = server_properties(
        config.server_properties.product,
        config.server_properties.version,
        config.server_properties.cluster_name,
        config.server_properties.extra,
    )
    limits = config.limits
    return Offer(
        properties, list(MECHANISMS), limits.channel_max, limits.frame_max, limits.heartbeat_s
    )
