"""What the tests of the core share: a node in memory with peers, and parts of it made by hand."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from pamqp import base, commands
from pamqp.common import FieldTable

from amqbroker.auth.users import UserStore
from amqbroker.config import Config, Store
from amqbroker.core.broker import Broker
from amqbroker.core.channel import Channel as CoreChannel
from amqbroker.core.client import Client
from amqbroker.core.configured import apply_config
from amqbroker.core.entry import QueueEntry
from amqbroker.core.queue import Queue
from amqbroker.core.recovery import restore
from amqbroker.core.turn import Turn
from amqbroker.core.vhost import VirtualHost
from amqbroker.exchanges.base import Table
from amqbroker.message import Message
from amqbroker.node import Node
from amqbroker.store.journal import Journal
from amqbroker.wire.handshake import Offer
from tests.semantics.messages import Item
from tests.semantics.peer import Channel, Peer
from tests.semantics.transports import MemoryDisk, NodeBroker, NodeTransport

PENDING_BYTES_MAX = 1_000_000
PERSISTENT = commands.Basic.Properties(delivery_mode=2)


class House(NodeBroker):
    """A node in memory, and the peers connected to it.

    While it is `paused` what peers send gathers, to be carried out in one turn.
    """

    def __init__(self) -> None:
        super().__init__()
        self.paused = False

    @staticmethod
    def _config() -> Config:
        """The same users and virtual hosts, and a disk that is behind soon."""
        config = NodeBroker._config()
        store = Store(journal_pending_bytes_max=PENDING_BYTES_MAX)
        return Config(vhosts=config.vhosts, users=config.users, store=store)

    def run(self) -> None:
        """Turns of the node, unless it is paused."""
        if not self.paused:
            super().run()

    def hand_over(self) -> None:
        """Give the node what peers have sent, and nothing else."""
        for connection_id, transport in list(self._connections.items()):
            if transport.unread and not self.node.must_pause(connection_id):
                data, transport.unread = transport.unread, b""
                self.node.client_received(connection_id, data, self.now)

    def settle(self) -> None:
        """Hand over and settle, as an edge does whose sockets are all full: no output is taken."""
        self.hand_over()
        self.node.settle(self.now)
        while self.node.has_work():
            self.node.settle(self.now)

    def take_output(self, peer: Peer) -> int:
        """One peer's socket has room: it gets what is in its output buffer; how many bytes."""
        assert isinstance(peer.transport, NodeTransport)
        data = b"".join(self.node.take_output(peer.transport._id))
        peer.transport.output += data
        return len(data)

    def connect(
        self,
        user: str = "guest",
        vhost: str = "/",
        *,
        capabilities: FieldTable | None = None,
        heartbeat: int = 0,
    ) -> Peer:
        """A peer with an open connection."""
        peer = Peer(self.transport())
        password = "guest" if user == "guest" else f"{user}-pw"
        peer.handshake(user, password, vhost, capabilities=capabilities, heartbeat=heartbeat)
        return peer

    def channel(self) -> Channel:
        """An open channel on a connection of its own."""
        return self.connect().open_channel()

    def core_client(self, peer: Peer) -> Client:
        """The broker's side of a peer's connection."""
        assert isinstance(peer.transport, NodeTransport)
        return core(self.node).clients[peer.transport._id]

    def core_channel(self, channel: Channel) -> CoreChannel:
        """The broker's side of a peer's channel."""
        return self.core_client(channel.peer).channels[channel.number]

    def vhost(self, name: str = "/") -> VirtualHost:
        """A virtual host."""
        return core(self.node).vhosts[name]

    def queue(self, name: str) -> Queue:
        """A queue of the virtual host "/"."""
        return self.vhost().queues[name]


def core(node: Node) -> Broker:
    """What is behind a node."""
    return node._broker


def items(channel: Channel) -> list[Item]:
    """All that has come on a channel and was not expected; gone afterwards."""
    found = [item for number, item in channel.peer.waiting() if number == channel.number]
    channel.peer._inbox[channel.number].clear()
    return found


def assert_each_waits_for_the_disk(
    house: House, ch: Channel, changes: Sequence[tuple[base.Frame, type[base.Frame]]]
) -> None:
    """Methods with their answers: none is answered before the disk has it."""
    for method, answer in changes:
        house.disk_is_slow = True
        ch.send(method)
        assert items(ch) == [], method.name
        house.disk_is_slow = False
        ch.expect(answer)


def make_message(body: bytes = b"m", *, persistent: bool = False, key: str = "q") -> Message:
    """A message to the default exchange without properties."""
    address = b"\0" + bytes([len(key)]) + key.encode()
    header = b"\0\x3c\0\0" + len(body).to_bytes(8, "big") + b"\0\0"
    return Message(1, address, 0, header, body, persistent)


def make_queue(
    name: str = "q", *, queue_id: int = 1, arguments: Table | None = None, turn: Turn | None = None
) -> Queue:
    """A queue that no virtual host knows, and that is not durable."""
    return Queue(turn or Turn(), queue_id, name, False, False, None, arguments or {})


def make_entry(queue: Queue, index: int, *, tag: int = 0) -> QueueEntry:
    """A message's place in a queue, and its tag on the channel that has it."""
    entry = QueueEntry(make_message(b"%d" % index), queue.line, index)
    entry.delivery_tag = tag
    return entry


def make_broker(journal: Journal | None = None) -> Broker:
    """A broker with `guest` and the virtual host "/", by default with an empty journal."""
    broker = _bare_broker(journal or Journal())
    apply_config(broker)
    return broker


def _bare_broker(journal: Journal) -> Broker:
    offer = Offer({}, ["PLAIN"], 0, 0, 0)
    return Broker(Config(), offer, UserStore([], []), journal, Random(1))


def make_channel(broker: Broker | None = None, number: int = 1) -> CoreChannel:
    """A channel of a client that nobody is connected to."""
    broker = broker or make_broker()
    client = Client(broker, 1, "a -> b", "127.0.0.1", 0.0)
    return CoreChannel(client, number, VirtualHost("/", None))


class Restartable:
    """A broker without clients that can be started again from what it has in its journal."""

    def __init__(self) -> None:
        self._disk = MemoryDisk()
        self._open()

    def _open(self) -> None:
        journal, recovered = self._disk.open()
        self.broker = _bare_broker(journal)
        restore(self.broker, recovered)
        apply_config(self.broker)
        self.vhost = self.broker.vhosts["/"]

    def restart(self) -> None:
        """Write what waits, and start again from that."""
        journal = self.broker.journal
        batch = journal.take_batch()
        if batch is not None:
            self._disk.write(batch)
            journal.synced(batch.position)
        self._open()
