"""Sockets as clients treat them: bytes in any pieces, ends of every kind, and no reading."""

from __future__ import annotations

import resource
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import pika
import pytest
from pamqp.commands import Basic

from amqbroker.testing import Broker, broker

from .process import broker_process

PROTOCOL_HEADER = b"AMQP\x00\x00\x09\x01"


@pytest.fixture
def running() -> Iterator[Broker]:
    with broker(limits={"outbox_bytes_max": 65_536}) as running:
        yield running


def connected(running: Broker) -> pika.BlockingConnection:
    return pika.BlockingConnection(pika.URLParameters(running.url))


def raw(running: Broker) -> socket.socket:
    return socket.create_connection((running.host, running.port), timeout=5)


def test_bytes_may_come_one_by_one(running: Broker) -> None:
    with raw(running) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in PROTOCOL_HEADER:
            client.sendall(bytes([byte]))
        frame_type, channel, size = struct.unpack(">BHI", client.recv(7, socket.MSG_WAITALL))
        payload = client.recv(size, socket.MSG_WAITALL)
        assert (frame_type, channel, payload[:4]) == (1, 0, b"\x00\x0a\x00\x0a")


def test_a_wrong_header_is_answered_and_the_socket_closed(running: Broker) -> None:
    with raw(running) as client:
        client.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert client.recv(8, socket.MSG_WAITALL) == PROTOCOL_HEADER
        assert client.recv(1) == b""


def test_a_client_that_ends_without_a_word_is_let_go(running: Broker) -> None:
    with raw(running) as client:
        client.shutdown(socket.SHUT_WR)
        assert client.recv(1) == b""


def test_a_reset_gives_unacked_messages_back(running: Broker) -> None:
    with connected(running) as other:
        lost = connected(running)
        channel = lost.channel()
        channel.queue_declare("q")
        channel.basic_publish("", "q", b"x")
        assert channel.basic_get("q")[2] == b"x"
        # A linger of 0 seconds makes close() send a reset.
        raw_socket = lost._impl._transport._sock
        raw_socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raw_socket.close()
        lost._impl.ioloop.close()
        method, _, body = next(iter(other.channel().consume("q", inactivity_timeout=5)))
        assert body == b"x"
        assert method.redelivered


def test_a_client_that_does_not_read_holds_up_nobody_else(running: Broker) -> None:
    with connected(running) as slow, connected(running) as fast:
        channel = slow.channel()
        channel.queue_declare("q")
        channel.basic_consume("q", lambda *_: None, auto_ack=True)
        publisher = fast.channel()
        publisher.queue_declare("other")
        publisher.confirm_delivery()
        for _ in range(200):
            publisher.basic_publish("", "q", bytes(100_000))
            publisher.basic_publish("", "other", b"x")
        # What the slow one's socket and outbox do not hold waits in the queue.
        assert publisher.queue_declare("q", passive=True).method.message_count > 0
        assert publisher.queue_declare("other", passive=True).method.message_count == 200


def test_connections_leave_files_to_the_journal(tmp_path: Path) -> None:
    small_files = {"journal_file_size_bytes": 65_536}
    with broker_process(tmp_path, store=small_files) as process:
        ch = process.channel()
        ch.declare_queue("q", durable=True)
        ch.confirm()
        resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (100, 100))
        clients = [socket.create_connection((process.host, process.port)) for _ in range(150)]
        process.expect_log("WARNING .* refused: the broker may open 100 files only")
        for _ in range(100):
            ch.publish(bytes(2000), key="q", properties=Basic.Properties(delivery_mode=2))
        ch.expect_confirms(100)
        for client in clients:
            client.close()
