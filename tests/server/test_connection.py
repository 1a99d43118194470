"""One client's socket: what is read, what is written, and how it ends."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from pamqp import commands, frame

from tests.semantics.transports import SocketTransport

from .process import BrokerProcess, broker_process, wait_until


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrokerProcess]:
    """One broker for all tests here."""
    with broker_process(tmp_path_factory.mktemp("data")) as process:
        yield process


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
