"""One client's socket: what is read, what is written, and how it ends."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from pamqp import commands, frame

from tests.semantics import wire
from tests.semantics.peer import PROTOCOL_HEADER
from tests.semantics.transports import SocketTransport

from .process import BrokerProcess, broker_process, wait_until


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrokerProcess]:
    """One broker for all tests here."""
    with broker_process(tmp_path_factory.mktemp("data")) as process:
        yield process


@pytest.fixture(autouse=True)
def _no_client_stays(broker: BrokerProcess) -> Iterator[None]:
    yield
    broker.drop_clients()


def receive_all(sock: socket.socket) -> bytes:
    """What comes until the broker closes."""
    received = b""
    while data := sock.recv(65536):
        received += data
    return received


CLOSE_OK = frame.marshal(commands.Connection.CloseOk(), 0)


def half_close(broker: BrokerProcess, data: bytes) -> bytes:
    """Send this on a running connection, end our side at once, and read the rest."""
    peer = broker.connect()
    assert isinstance(peer.transport, SocketTransport)
    sock = peer.transport._socket
    sock.sendall(data)
    sock.shutdown(socket.SHUT_WR)
    with sock:
        return receive_all(sock)


def test_a_client_that_ends_its_side_behind_its_close_gets_close_ok(broker: BrokerProcess) -> None:
    for _ in range(20):
        close = frame.marshal(commands.Connection.Close(200, "", 0, 0), 0)
        assert half_close(broker, close) == CLOSE_OK


def test_a_client_that_ends_its_side_behind_a_mistake_hears_of_it(broker: BrokerProcess) -> None:
    answer = half_close(broker, frame.marshal(commands.Basic.Qos(), 1))
    _, _, close = frame.unmarshal(answer)
    assert isinstance(close, commands.Connection.Close)
    assert close.reply_code == 504


def test_no_socket_outlives_its_connection(broker: BrokerProcess) -> None:
    before = broker.open_sockets()
    for _ in range(10):
        broker.connect().drop()
        broker.connect().close()
        broker.raw().drop()
        half_close(broker, b"")
    wait_until(lambda: broker.open_sockets() == before, f"{before} sockets are open again")


def test_a_client_that_only_ends_its_side_is_lost(broker: BrokerProcess) -> None:
    ch, watcher = broker.channel(), broker.channel()
    watcher.declare_queue("unacked")
    watcher.fill("unacked", b"m")
    ch.must_get("unacked")
    start = len(broker.lines)
    assert isinstance(ch.peer.transport, SocketTransport)
    ch.peer.transport._socket.shutdown(socket.SHUT_WR)
    ch.peer.expect_dropped()
    watcher.wait_ready("unacked", 1)
    broker.expect_log("WARNING .* lost: the client closed the socket without", start)
    watcher.delete_queue("unacked")


def test_a_large_message_comes_through_whole(broker: BrokerProcess) -> None:
    ch = broker.channel()
    ch.declare_queue("large", exclusive=True)
    body = bytes(range(256)) * 40_960
    ch.publish(body, key="large")
    assert ch.must_get("large").body == body


def test_small_and_large_messages_of_two_clients_do_not_mix(broker: BrokerProcess) -> None:
    large, small = broker.channel(), broker.channel()
    large.declare_queue("of-large", exclusive=True)
    small.declare_queue("of-small", exclusive=True)
    small.consume("of-small", "c")
    body = b"L" * 3_000_000
    for number in range(10):
        large.publish(body, key="of-large")
        small.publish(b"%d" % number, key="of-small")
        small.expect_delivery(b"%d" % number)
    for _ in range(10):
        assert large.must_get("of-large", no_ack=True).body == body


def test_a_client_may_speak_byte_by_byte(broker: BrokerProcess) -> None:
    peer = broker.raw()
    for byte in PROTOCOL_HEADER:
        peer.send_raw(bytes([byte]))
    peer.expect(commands.Connection.Start)
    peer.log_in()
    peer.tune_ok()
    peer.open()
    ch = peer.open_channel()
    ch.declare_queue("q", exclusive=True)
    for byte in wire.publish(1, "", "q") + wire.header(1, 5) + wire.body(1, b"bytes"):
        peer.send_raw(bytes([byte]))
    assert ch.must_get("q").body == b"bytes"


def test_a_client_may_say_everything_at_once(broker: BrokerProcess) -> None:
    """As fast clients do: nothing in AMQP makes them wait between open and channel.open."""
    peer = broker.raw()
    peer.send_raw(PROTOCOL_HEADER)
    peer.log_in()
    peer.send(0, commands.Connection.TuneOk(2047, 131072, 0))
    peer.send(0, commands.Connection.Open())
    peer.send(1, commands.Channel.Open())
    peer.send(0, commands.Connection.Close(200, "", 0, 0))
    peer.expect(commands.Connection.Start)
    peer.expect(commands.Connection.Tune)
    peer.expect(commands.Connection.OpenOk)
    peer.expect(commands.Connection.CloseOk)
    peer.expect_dropped()
