"""Fixtures of the conformance tests.

By default every test has a fresh node in memory. `--broker-url amqp://user:password@host:port` runs
the folder against any broker on the network instead: names are then unique to the run and removed
after each test, and tests that need a settable clock or a restart are skipped.
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from pamqp import commands
from pamqp.common import FieldTable

from . import wire
from .peer import Channel, Peer
from .transports import Broker, NodeBroker, SocketBroker


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option that names a broker on the network."""
    parser.addoption("--broker-url", default=None, help="run against this broker, not in memory")


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marks."""
    config.addinivalue_line("markers", "fact(*numbers): the numbered facts a test proves")
    config.addinivalue_line("markers", "not_yet(what): expected to fail for want of this")
    config.addinivalue_line(
        "markers", "differs_on_reference(why): not run on RabbitMQ over a socket"
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Expect failures of what is not there yet; on the network this waits until the broker is
    known.
    """
    if config.getoption("--broker-url", default=None):
        return
    for item in items:
        mark = item.get_closest_marker("not_yet")
        if mark is not None:
            item.add_marker(pytest.mark.xfail(reason=f"not yet: {mark.args[0]}", strict=True))


class Bench:
    """A broker, the peers connected to it and the names in use, for one test."""

    _run = f"{os.getpid():x}"
    _numbers = itertools.count(1)

    def __init__(self, broker: Broker) -> None:
        self.broker = broker
        self.in_memory = broker.in_memory
        self.peers: list[Peer] = []
        self.names: list[str] = []

    def name(self, stem: str = "t") -> str:
        """A name for a queue or exchange that nobody else uses."""
        name = f"{stem}-{self._run}-{next(self._numbers)}"
        self.names.append(name)
        return name

    def raw(self, address: str = "127.0.0.1") -> Peer:
        """A connected peer that has not sent a byte."""
        peer = Peer(self.broker.transport(address))
        self.peers.append(peer)
        return peer

    def connect(
        self,
        user: str = "guest",
        password: str = "guest",
        vhost: str = "/",
        *,
        capabilities: FieldTable | None = None,
        channel_max: int = 2047,
        frame_max: int = 131072,
        heartbeat: int = 0,
    ) -> Peer:
        """A peer with an open connection."""
        peer = self.raw()
        peer.handshake(
            user,
            password,
            vhost,
            capabilities=capabilities,
            channel_max=channel_max,
            frame_max=frame_max,
            heartbeat=heartbeat,
        )
        return peer

    def channel(self) -> Channel:
        """An open channel on a connection of its own."""
        return self.connect().open_channel()

    def advance(self, seconds: float) -> None:
        """Let time pass (in memory only)."""
        self.broker.advance(seconds)

    def let_pass(self, seconds: float) -> None:
        """Let time pass, over a socket by waiting: another broker's clock cannot be set."""
        if self.in_memory:
            self.broker.advance(seconds)
        else:
            time.sleep(seconds)

    @property
    def node(self) -> NodeBroker:
        """The broker in memory, for what only its edge can do."""
        assert isinstance(self.broker, NodeBroker)
        return self.broker

    def let_handshake_fail(self) -> None:
        """Pass the seconds a broker waits before it drops a peer it will not speak to."""
        if self.in_memory:
            self.broker.advance(5.0)

    def tidy(self) -> None:
        """Drop the peers and, on a shared broker, delete what the test left."""
        for peer in self.peers:
            peer.drop()
        if self.in_memory or not self.names:
            return
        peer = Peer(self.broker.transport())
        peer.handshake()
        channel = peer.open_channel()
        for name in self.names:
            for exchange, answer in (
                (False, commands.Queue.DeleteOk),
                (True, commands.Exchange.DeleteOk),
            ):
                peer.send_raw(wire.delete_by_name(channel.number, name, exchange=exchange))
                if not isinstance(peer.next_item(channel.number), answer):
                    channel.send(commands.Channel.CloseOk())
                    channel.open()
        peer.close()


@pytest.fixture(scope="session")
def shared_broker(request: pytest.FixtureRequest) -> Broker | None:
    """The broker of `--broker-url`, or None when the tests run in memory."""
    url = request.config.getoption("--broker-url", default=None)
    if not url:
        return None
    parts = urlsplit(url)
    broker = SocketBroker(parts.hostname or "127.0.0.1", parts.port or 5672)
    peer = Peer(broker.transport())
    peer.handshake()
    broker.is_reference = "amqbroker_version" not in peer.server_properties
    peer.close()
    return broker


@pytest.fixture
def bench(request: pytest.FixtureRequest, shared_broker: Broker | None) -> Iterator[Bench]:
    """A broker with `guest` and the vhost `/`, and peers to talk to it."""
    mark = request.node.get_closest_marker("differs_on_reference")
    if mark is not None and shared_broker is not None and shared_broker.is_reference:
        pytest.skip(f"differs on the reference: {mark.args[0]}")
    mark = request.node.get_closest_marker("not_yet")
    if mark is not None and shared_broker is not None and not shared_broker.is_reference:
        pytest.xfail(f"not yet: {mark.args[0]}")
    bench = Bench(shared_broker if shared_broker is not None else NodeBroker())
    yield bench
    bench.tidy()


@pytest.fixture
def memory_bench(bench: Bench) -> Bench:
    """A bench whose clock can be set; skipped over a socket."""
    if not bench.in_memory:
        pytest.skip("needs a settable clock")
    return bench


@pytest.fixture
def broker_with_users(bench: Bench) -> Bench:
    """A bench whose broker has the users and virtual hosts of `transports.USERS`.

    On the network they must have been set up beforehand; without them the test is skipped.
    """
    if not bench.in_memory:
        peer = bench.raw()
        peer.greet()
        peer.log_in("alice", "alice-pw")
        if not isinstance(peer.next_item(0), commands.Connection.Tune):
            pytest.skip("the broker lacks the users of these tests")
    return bench


@pytest.fixture
def ch(bench: Bench) -> Channel:
    """An open channel."""
    return bench.channel()
