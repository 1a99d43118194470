"""What the node's tasks do for it: the journal, the clock, the password checks."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pika
import pytest
from pamqp import commands
from pika.exceptions import ProbableAuthenticationError

from amqbroker.auth.passwords import verify
from amqbroker.cli.client import ControlClient
from amqbroker.core.handlers import HANDLERS
from amqbroker.errors import DiskError
from amqbroker.server import runner
from amqbroker.store.files import RealFile
from amqbroker.testing import Broker
from amqbroker.wire import methods
from tests.semantics.peer import Peer
from tests.semantics.transports import SocketTransport

PERSISTENT = pika.BasicProperties(delivery_mode=2)


def test_the_journal_confirms_what_it_has_written(amqp_broker: Broker) -> None:
    with pika.BlockingConnection(pika.URLParameters(amqp_broker.url)) as connection:
        channel = connection.channel()
        channel.queue_declare("q", durable=True)
        channel.confirm_delivery()
        for number in range(20):
            channel.basic_publish("", "q", str(number).encode(), PERSISTENT)
        bodies = [channel.basic_get("q", auto_ack=True)[2] for _ in range(20)]
        assert bodies == [str(number).encode() for number in range(20)]


@pytest.mark.amqp_broker(limits={"handshake_timeout_s": 1})
def test_the_clock_ends_a_handshake_that_does_not_go_on(amqp_broker: Broker) -> None:
    with socket.create_connection((amqp_broker.host, amqp_broker.port), timeout=10) as client:
        assert client.recv(1) == b""


def test_a_wrong_password_is_refused_and_a_right_one_is_not(amqp_broker: Broker) -> None:
    parameters = pika.URLParameters(amqp_broker.url)
    parameters.credentials = pika.PlainCredentials("guest", "wrong")
    with pytest.raises(ProbableAuthenticationError):
        pika.BlockingConnection(parameters)
    pika.BlockingConnection(pika.URLParameters(amqp_broker.url)).close()


class Peers:
    """Raw clients of a broker."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._transports: list[SocketTransport] = []

    def raw(self) -> Peer:
        """A connected peer that has not sent a byte."""
        self._transports.append(SocketTransport(self._broker.host, self._broker.port))
        return Peer(self._transports[-1])

    def connect(self) -> Peer:
        """A peer with an open connection."""
        peer = self.raw()
        peer.handshake()
        return peer

    def close(self) -> None:
        """Drop them all."""
        for transport in self._transports:
            transport.close()


@pytest.fixture
def peers(amqp_broker: Broker) -> Iterator[Peers]:
    """Clients of the broker of the test."""
    peers = Peers(amqp_broker)
    yield peers
    peers.close()


def test_a_password_check_holds_up_nobody_else(
    peers: Peers, monkeypatch: pytest.MonkeyPatch
) -> None:
    go = threading.Event()

    def slow_verify(stored: str | None, password: bytes) -> bool:
        go.wait(10)
        return verify(stored, password)

    other = peers.connect().open_channel()
    monkeypatch.setattr(runner, "verify", slow_verify)
    logging_in = [peers.raw() for _ in range(5)]
    try:
        for number, peer in enumerate(logging_in):
            peer.greet()
            # A password that was right once is not checked again.
            peer.log_in("guest", f"wrong {number}")
        other.declare_queue("q")
        other.publish(b"quick", key="q")
        assert other.must_get("q").body == b"quick"
        assert not logging_in[0].waiting()
    finally:
        go.set()
    for peer in logging_in:
        assert peer.expect(commands.Connection.Close).reply_code == 403


def test_what_one_read_brings_is_one_batch_for_the_disk_and_one_confirm(
    peers: Peers, monkeypatch: pytest.MonkeyPatch
) -> None:
    syncs: list[RealFile] = []
    sync = RealFile.sync

    def counted(file: RealFile) -> None:
        syncs.append(file)
        sync(file)

    ch = peers.connect().open_channel()
    ch.declare_queue("q", durable=True)
    ch.confirm()
    data: list[bytes] = []
    monkeypatch.setattr(ch.peer, "send_raw", data.append)
    for _ in range(200):
        ch.publish(b"m", key="q", properties=commands.Basic.Properties(delivery_mode=2))
    monkeypatch.undo()
    monkeypatch.setattr(RealFile, "sync", counted)
    ch.peer.send_raw(b"".join(data))
    acks = 0
    while True:
        ack = ch.expect(commands.Basic.Ack)
        acks += 1
        if ack.delivery_tag == 200:
            break
    assert acks < 20
    assert 0 < len(syncs) < 20


def test_a_bug_in_the_broker_ends_one_connection_and_no_other(
    peers: Peers, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(channel: object, frame: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setitem(HANDLERS, methods.BasicQos, broken)
    other, ch = peers.connect().open_channel(), peers.connect().open_channel()
    ch.send(commands.Basic.Qos(prefetch_count=1))
    assert ch.peer.expect(commands.Connection.Close).reply_code == 541
    other.declare_queue("q")
    other.publish(b"m", key="q")
    assert other.must_get("q").body == b"m"
    assert "a bug in the broker ends a connection" in caplog.text


def test_who_waits_for_a_broken_journal_is_told(
    amqp_broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_file: RealFile, _chunks: list[bytes]) -> None:
        raise DiskError("the disk is full")

    with pika.BlockingConnection(pika.URLParameters(amqp_broker.url)) as connection:
        connection.channel().queue_declare("q", durable=True)
    monkeypatch.setattr(RealFile, "write", refuse)
    with ControlClient(Path(amqp_broker.config.data_dir), 15) as client:
        answer = client.ask("delete_queue", {"vhost": "/", "name": "q"})
        again = client.ask("delete_queue", {"vhost": "/", "name": "q"})
    text = "the change was made, but will not outlive a restart: the disk is full"
    assert answer["error"] == {"code": "failed", "text": text}
    assert again["error"] == {"code": "not-found", "text": "there is no queue 'q' in vhost '/'"}
