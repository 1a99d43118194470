"""What the broker takes in memory, by what it is for.

Messages are counted exactly, as they come and go (memory.py). All else is counted when somebody
asks: how many there are, times what one costs. What one costs was measured with
benchmarks/memory.py on CPython 3.11 with compiled modules, asyncio's and uvloop's part included.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from mypy_extensions import i64

from amqbroker.message import ENTRY_OVERHEAD_BYTES

if TYPE_CHECKING:
    from amqbroker.core.broker import Broker
    from amqbroker.core.client import Client

CONNECTION_BYTES: Final = 4_500
# What OpenSSL keeps for one connection.
TLS_BYTES: Final = 24_000
CHANNEL_BYTES: Final = 600
CONSUMER_BYTES: Final = 600
QUEUE_BYTES: Final = 1_600
# A durable queue has a log in the journal and a definition besides.
DURABLE_BYTES: Final = 1_300
BINDING_BYTES: Final = 900
ROUTE_BYTES: Final = 400
# The place of an outstanding delivery in the list of its channel; the message is counted with all
# others, or is only on disk.
UNACKED_BYTES: Final = 10


@final
class Account:
    """Bytes, by what they are for. `base` is what the process had when it began to serve."""

    __slots__ = (
        "base",
        "bindings",
        "buffers",
        "channels",
        "connections",
        "consumers",
        "messages",
        "queues",
        "routes",
        "unacked",
        "unused",
    )

    def __init__(self, base: i64) -> None:
        self.base: i64 = base
        self.messages: i64 = 0
        self.unacked: i64 = 0
        self.queues: i64 = 0
        self.bindings: i64 = 0
        self.routes: i64 = 0
        self.connections: i64 = 0
        self.channels: i64 = 0
        self.consumers: i64 = 0
        # What waits for sockets, in unfinished frames, behind replies that wait, and for the disk.
        self.buffers: i64 = 0
        # What was accounted for and went, and is probably kept by allocators for what comes next.
        self.unused: i64 = 0

    def parts(self) -> dict[str, int]:
        """All of it, by name."""
        return {
            "base": self.base,
            "messages": self.messages,
            "unacked": self.unacked,
            "queues": self.queues,
            "bindings": self.bindings,
            "routes": self.routes,
            "connections": self.connections,
            "channels": self.channels,
            "consumers": self.consumers,
            "buffers": self.buffers,
            "unused": self.unused,
        }

    def total(self) -> int:
        """All of it."""
        return sum(self.parts().values())

    def used(self) -> int:
        """What is in use."""
        return self.total() - int(self.unused)


def take_account(broker: Broker, base: i64) -> Account:
    """Count. It takes some milliseconds with tens of thousands of connections and queues."""
    account = Account(base)
    account.messages = broker.memory.bytes
    account.unacked = broker.memory.unloaded * ENTRY_OVERHEAD_BYTES
    account.buffers = broker.journal.encoded_bytes()
    for client in broker.clients.values():
        _add_client(account, client)
    for vhost in broker.vhosts.values():
        for queue in vhost.queues.values():
            lines: i64 = len(queue.lines())
            account.queues += lines * (QUEUE_BYTES + (DURABLE_BYTES if queue.durable else 0))
        bindings: i64 = 0
        for exchange in vhost.exchanges.values():
            bindings += exchange.binding_count()
        account.bindings += bindings * BINDING_BYTES
        account.routes += i64(len(vhost.routes)) * ROUTE_BYTES
    account.unused = broker.alarms.kept(account.total())
    return account


def _add_client(account: Account, client: Client) -> None:
    account.connections += CONNECTION_BYTES if client.tls is None else CONNECTION_BYTES + TLS_BYTES
    account.buffers += client.output.size() + client.parser.unfinished_bytes()
    account.buffers += client.deferred_bytes
    for channel in client.channels.values():
        account.channels += CHANNEL_BYTES
        account.consumers += i64(len(channel.consumers)) * CONSUMER_BYTES
        account.unacked += channel.unacked.count * UNACKED_BYTES
