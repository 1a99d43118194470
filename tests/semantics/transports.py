"""Brokers to test: one behind a socket, and one in memory with a clock of its own.

Both hand out transports to `Peer`. Whatever the node in memory needs from its edge (password
checks, the journal, closing connections) is done here and nowhere else in these tests.
"""

from __future__ import annotations

import socket
from random import Random
from typing import NamedTuple

from amqbroker.auth.certificates import TlsPeer
from amqbroker.auth.passwords import verify
from amqbroker.config import Config, Permission, Vhost
from amqbroker.config import User as ConfiguredUser
from amqbroker.core.memory import ReadRequest
from amqbroker.errors import DiskError, DiskFullError
from amqbroker.node import Node, PeerInfo
from amqbroker.store.journal import Batch, Journal
from amqbroker.store.records import JOURNAL_MAGIC, file_header
from amqbroker.store.recovery import Recovered, fold

from .peer import Transport


class SocketTransport:
    """A blocking socket."""

    exact = False

    def __init__(self, host: str, port: int) -> None:
        self.closed = False
        self._socket = socket.create_connection((host, port), timeout=5.0)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self, data: bytes) -> None:
        """Send bytes, unless the broker has closed the connection."""
        try:
            self._socket.settimeout(5.0)
            self._socket.sendall(data)
        except OSError:
            self.closed = True

    def receive(self, timeout_s: float) -> bytes:
        """Receive some bytes."""
        if self.closed and self._socket.fileno() < 0:
            return b""
        try:
            self._socket.settimeout(max(timeout_s, 0.001))
            data = self._socket.recv(1 << 16)
        except TimeoutError:
            return b""
        except OSError:
            data = b""
        if not data:
            self.closed = True
        return data

    def close(self) -> None:
        """Close the socket."""
        self.closed = True
        self._socket.close()


# The time of day when a node in memory starts to count: 2023-11-14 22:13:20 UTC.
WALL_AT_ZERO = 1_700_000_000.0

ALL = (".*", ".*", ".*")
# How many passwords a node in memory has checked at a time.
PASSWORD_CHECKS = 2


class User(NamedTuple):
    """A user to set up: permissions are (configure, write, read) for each virtual host."""

    name: str
    tags: tuple[str, ...]
    permissions: dict[str, tuple[str, str, str]]

    @property
    def password(self) -> str:
        """The password; `guest` has its usual one."""
        return "guest" if self.name == "guest" else f"{self.name}-pw"


VHOSTS = ("/", "other")
USERS = (
    User("guest", ("administrator",), {"/": ALL}),
    User("alice", (), {"/": ("^mine-", "^mine-", "^mine-")}),
    User("stranger", (), {"other": ALL}),
    User("impersonator", ("impersonator",), {"/": ALL}),
)


class Broker:
    """What a test may ask of a broker, in memory or not."""

    in_memory: bool = False
    is_reference: bool = False
    host: str = ""

    def transport(self, address: str = "127.0.0.1") -> Transport:
        """A new connection, nothing sent yet; the address it comes from counts only in memory."""
        raise NotImplementedError

    def advance(self, seconds: float) -> None:
        """Let time pass; only in memory."""
        raise NotImplementedError

    def restart(self, *, clean: bool) -> None:
        """Stop, in good order or at once, and start again from what is stored; only in memory."""
        raise NotImplementedError


class SocketBroker(Broker):
    """A broker on the network."""

    def __init__(self, host: str, port: int) -> None:
        self.host = host
        self.port = port

    def transport(self, address: str = "127.0.0.1") -> Transport:
        """A new TCP connection."""
        return SocketTransport(self.host, self.port)


class NodeTransport:
    """One connection of a node in memory."""

    exact = True

    def __init__(self, broker: NodeBroker, connection_id: int) -> None:
        self.closed = False
        self.unread = b""  # what the edge has not read, as the node asked for a pause
        self.output = b""
        self._broker = broker
        self._id = connection_id

    def send(self, data: bytes) -> None:
        """Hand bytes to the node and let it do all it can."""
        if not self.closed:
            self.unread += data
            self._broker.run()

    def receive(self, timeout_s: float) -> bytes:
        """All the node has sent so far."""
        self._broker.run()
        data, self.output = self.output, b""
        return data

    def close(self) -> None:
        """Tell the node that the connection is lost."""
        if not self.closed:
            self._broker.lose(self._id)
            self._broker.run()


class MemoryDisk:
    """The data folder of a node in memory: journal files, segments and the snapshot."""

    def __init__(self) -> None:
        self.files: dict[int, bytes] = {}
        self.segments: dict[str, bytes] = {}
        self.snapshot: bytes | None = None

    def open(self) -> tuple[Journal, Recovered]:
        """The journal that continues from what is there, in a file of its own."""
        recovered = fold(self.snapshot, sorted(self.files.items()))
        assert not recovered.problems, [str(problem) for problem in recovered.problems]
        named = {segment.name for found in recovered.segments.values() for segment in found}
        self.segments = {name: data for name, data in self.segments.items() if name in named}
        number = max(self.files, default=0) + 1
        self.files[number] = file_header(JOURNAL_MAGIC, number, bytes(8))
        return Journal(recovered, number), recovered

    def write(self, batch: Batch) -> None:
        """Carry out a batch."""
        for write in batch.segments:
            assert write.offset == len(self.segments.get(write.name, b""))
            self.segments[write.name] = self.segments.get(write.name, b"") + b"".join(write.chunks)
        number = batch.file_number
        before = b"" if batch.starts_file else self.files[number]
        self.files[number] = before + b"".join(batch.chunks)
        if batch.snapshot is not None:
            self.snapshot = batch.snapshot
        for old in batch.deletable:
            del self.files[old]
        for name in batch.unlinks:
            # One of a queue that was deleted before a crash may be gone already.
            self.segments.pop(name, None)
        for name in batch.set_aside:
            self.segments[name + ".damaged"] = self.segments.pop(name)

    def read_at(self, name: str, offset: int, length: int) -> bytes:
        """A piece of a segment."""
        if name not in self.segments:
            raise DiskError(f"cannot read {name}: No such file or directory")
        return self.segments[name][offset : offset + length]


class NodeBroker(Broker):
    """A node in memory: its edge, its disk and its clock are this object."""

    in_memory = True

    def __init__(self) -> None:
        self.now = 1000.0
        self.disk_is_slow = False  # a batch that was taken stays unwritten while this is set
        self.log_lines: list[str] = []
        self._connections: dict[int, NodeTransport] = {}
        self._next_id = 1
        self._disk = MemoryDisk()
        self._batch: Batch | None = None
        self._start()

    def _start(self) -> None:
        journal, recovered = self._disk.open()
        self.node = Node(
            self._config(),
            journal,
            recovered,
            Random(self._next_id),
            self.now,
            WALL_AT_ZERO + self.now,
        )

    @staticmethod
    def _config() -> Config:
        users = tuple(
            ConfiguredUser(
                user.name,
                password=user.password,
                tags=user.tags,
                permissions={
                    vhost: Permission(*allowed) for vhost, allowed in user.permissions.items()
                },
            )
            for user in USERS
        )
        return Config(vhosts=tuple(Vhost(name) for name in VHOSTS), users=users)

    def transport(
        self,
        address: str = "127.0.0.1",
        mechanisms: tuple[str, ...] = (),
        tls: TlsPeer | None = None,
    ) -> Transport:
        """A new connection from an address, to a listener with or without TLS."""
        connection_id = self._next_id
        self._next_id += 1
        transport = NodeTransport(self, connection_id)
        self._connections[connection_id] = transport
        peer = PeerInfo(address, 40000 + connection_id, "127.0.0.1", 5672, mechanisms, tls)
        self.node.client_connected(connection_id, peer, self.now)
        return transport

    def lose(self, connection_id: int) -> None:
        """A connection has ended, by either side."""
        self._connections.pop(connection_id).closed = True
        self.node.client_lost(connection_id, "", self.now)

    def run(self) -> None:
        """Turns of the node, until it has nothing more to do or say."""
        while self._turn():
            pass

    def _turn(self) -> bool:
        node, busy = self.node, False
        for connection_id, transport in list(self._connections.items()):
            if transport.unread and not node.must_pause(connection_id):
                data, transport.unread = transport.unread, b""
                node.client_received(connection_id, data, self.now)
                busy = True
        node.settle(self.now)
        for check in node.take_password_checks(PASSWORD_CHECKS):
            node.password_checked(check, verify(check.stored, check.password), self.now)
            busy = True
        busy = self._write_journal() or busy
        if not self.disk_is_slow:
            for request in node.take_reads():
                self._read(request)
                busy = True
        for connection_id in node.outputs():
            ending = self._connections.get(connection_id)
            if ending is None:
                continue
            ending.output += b"".join(node.take_output(connection_id))
            if node.must_close(connection_id):
                self.lose(connection_id)
            busy = True
        self.log_lines.extend(line.text for line in node.take_log_lines())
        return busy or node.has_work()

    def _read(self, request: ReadRequest) -> None:
        try:
            data = self._disk.read_at(request.name, request.offset, request.length)
        except DiskError as error:
            self.node.messages_read(request, None, str(error), self.now)
        else:
            self.node.messages_read(request, data, "", self.now)

    def _write_journal(self) -> bool:
        if self._batch is None:
            self._batch = self.node.take_batch(self.now)
        if self._batch is None or self.disk_is_slow:
            return False
        batch, self._batch = self._batch, None
        try:
            self._disk.write(batch)
        except DiskFullError as error:
            self.node.journal_refused(str(error), self.now)
        else:
            self.node.journal_synced(batch.position)
        return True

    def restart(self, *, clean: bool) -> None:
        """Stop and start again: clean, all are told and all is written; else it is a crash."""
        if clean:
            self.node.shut_down("shutdown", self.now)
            self.run()
            for connection_id in list(self._connections):
                self.lose(connection_id)
            self.advance(1.0)
            self.node.stop(self.now)
            self.run()
        for transport in self._connections.values():
            transport.closed = True
        self._connections.clear()
        self._batch = None
        self.now += 1.0
        self.node.let_go()
        self._start()

    def measured(self, *, memory_is_low: bool = False, disk_is_low: bool = False) -> None:
        """The edge measured memory and disk."""
        self.node.serving(1 << 20)
        self.node.limit_memory(1 << 30, 1 << 30)
        self.node.limit_disk(1000)
        self.node.memory_measured(1 << 31 if memory_is_low else 1, self.now)
        self.node.disk_measured(0 if disk_is_low else 1 << 40, self.now)
        self.run()

    def is_held_back(self, transport: NodeTransport) -> bool:
        """Whether the edge must not read from a connection for now."""
        self.run()
        return self.node.must_pause(transport._id)

    def break_disk(self) -> None:
        """The disk refuses the next batch, or the one that is being written."""
        self._batch = None
        self.node.journal_failed("no space left on device")
        self.run()

    def advance(self, seconds: float) -> None:
        """Let time pass, calling the node at each of its deadlines."""
        self.run()
        end = self.now + seconds
        while (deadline := self.node.next_deadline()) is not None and deadline <= end:
            self.now = max(self.now, deadline)
            self.node.on_time(self.now)
            self.run()
        self.now = end
        self.run()
