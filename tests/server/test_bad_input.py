"""Peers that speak nonsense, too slowly, not at all, or that never listen.

Every test ends with a normal client that is served by the same process, and the log says what
happened: one line for a connection that was opened, closed or refused.
"""

from __future__ import annotations

import resource
import socket
import ssl
import struct
import time
from collections.abc import Iterator

import pytest
from pamqp import commands, frame

from tests.semantics import wire
from tests.semantics.peer import PROTOCOL_HEADER, Channel, Peer
from tests.semantics.transports import SocketTransport

from .process import BrokerProcess, broker_process, wait_until

HANDSHAKE_TIMEOUT_S = 1
MIB = 1024 * 1024


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrokerProcess]:
    """One broker for all tests here: what one leaves behind, the next ones suffer from."""
    with broker_process(
        tmp_path_factory.mktemp("data"),
        limits={"handshake_timeout_s": HANDSHAKE_TIMEOUT_S, "outbox_bytes_max": 65_536},
    ) as process:
        yield process


@pytest.fixture
def broker(process: BrokerProcess) -> Iterator[BrokerProcess]:
    """The broker; it must serve a normal client afterwards."""
    yield process
    serve_a_client(process)
    process.drop_clients()
    assert not process.find_log("Traceback|exception")


def steady_bytes(broker: BrokerProcess) -> int:
    """What of the broker is in memory, once it does not grow by what is on its way to disk."""
    last = broker.resident_bytes()
    same = 0

    def is_steady() -> bool:
        nonlocal last, same
        now = broker.resident_bytes()
        same = same + 1 if abs(now - last) < MIB // 16 else 0
        last = now
        return same >= 100

    wait_until(is_steady, "memory is steady")
    return last


def serve_a_client(broker: BrokerProcess) -> None:
    """A message goes through a queue."""
    ch = broker.channel()
    ch.declare_queue("normal", durable=True)
    ch.confirm()
    ch.publish(b"hello", key="normal", properties=commands.Basic.Properties(delivery_mode=2))
    ch.expect_confirms(1)
    message = ch.must_get("normal")
    assert message.body == b"hello"
    ch.ack(message.tag)
    ch.delete_queue("normal")
    ch.peer.close()


def name_of(peer: Peer) -> str:
    """What the broker calls this connection, as a regular expression."""
    assert isinstance(peer.transport, SocketTransport)
    host, port = peer.transport._socket.getsockname()[:2]
    return f"{host}:{port} -> ".replace(".", r"\.")


def socket_of(peer: Peer) -> socket.socket:
    """The socket under a peer."""
    assert isinstance(peer.transport, SocketTransport)
    return peer.transport._socket


# What comes instead of AMQP 0-9-1.


def client_hello() -> bytes:
    """What a TLS client says first."""
    outgoing = ssl.MemoryBIO()
    tls = ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="x")
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    return outgoing.read()


@pytest.mark.parametrize(
    ("data", "diagnosis"),
    [
        (b"garbage, and more of it\n" * 100, "not AMQP, it began with b'garbage,'"),
        (bytes(8), "not AMQP, it began with"),
        (client_hello(), "a TLS client hello on a port without TLS"),
        (b"GET /api/overview HTTP/1.1\r\nHost: x\r\n\r\n", "an HTTP request on an AMQP port"),
        (b"AMQP\x00\x01\x00\x00", "an AMQP 1.0 client"),
        (b"AMQP\x03\x01\x00\x00", "an AMQP 1.0 client"),
        (b"PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n", "a PROXY protocol header"),
    ],
    ids=["garbage", "zeros", "tls", "http", "amqp-1.0", "amqp-1.0-sasl", "proxy"],
)
def test_what_is_not_amqp_gets_our_header_and_is_named(
    broker: BrokerProcess, data: bytes, diagnosis: str
) -> None:
    peer = broker.raw()
    name = name_of(peer)
    peer.send_raw(data)
    peer.expect_dropped()
    assert peer.protocol_header == PROTOCOL_HEADER
    broker.expect_log(f"WARNING .*{name}.* refused: {diagnosis}")


def test_a_silent_peer_is_dropped(broker: BrokerProcess) -> None:
    peer = broker.raw()
    name = name_of(peer)
    peer.expect_dropped()
    broker.expect_log(
        f"{name}.* (refused: no connection.open within 1 s|closed without a byte: a health check)"
    )


def test_a_peer_that_stops_in_the_handshake_is_dropped(broker: BrokerProcess) -> None:
    peer = broker.raw()
    name = name_of(peer)
    peer.greet()
    peer.log_in()
    peer.expect(commands.Connection.Tune)
    peer.expect_dropped()
    broker.expect_log(rf"{name}.* refused: no connection.open within 1 s \(state tuning\)")


def test_a_handshake_byte_by_byte_has_no_more_time(broker: BrokerProcess) -> None:
    peer = broker.raw()
    name = name_of(peer)
    started_at = time.monotonic()
    login = commands.Connection.StartOk(response="\0guest\0guest")
    for byte in PROTOCOL_HEADER + frame.marshal(login, 0):
        peer.send_raw(bytes([byte]))
        peer.transport.receive(0.05)
        if peer.transport.closed:
            break
    assert peer.transport.closed
    assert time.monotonic() - started_at < HANDSHAKE_TIMEOUT_S + 1
    broker.expect_log(f"{name}.* refused: no connection.open within 1 s")


def test_a_load_balancer_that_only_connects_is_no_warning(broker: BrokerProcess) -> None:
    peer = broker.raw()
    name = name_of(peer)
    peer.drop()
    broker.expect_log(f"DEBUG .*{name}.* closed without a byte: a health check")


def test_a_wrong_password_is_logged_without_the_password(broker: BrokerProcess) -> None:
    peer = broker.raw()
    name = name_of(peer)
    peer.greet()
    peer.log_in("guest", "s3cret")
    assert peer.expect(commands.Connection.Close).reply_code == 403
    broker.expect_log(f"WARNING .*{name}.* refused: login with PLAIN refused: user 'guest'")
    assert not broker.find_log("s3cret")


# Frames that are none.


@pytest.mark.parametrize(
    "data",
    [
        wire.frame(9, 0, b"x"),
        wire.frame(wire.METHOD, 1, b"\x00\x14\x00\x0a\x00", end=b"x"),
        struct.pack(">BHI", wire.METHOD, 1, 0xFFFF_FFF0) + bytes(1000),
        struct.pack(">BHI", wire.BODY, 1, 131_072 + 1) + bytes(200_000),
        wire.frame(wire.HEARTBEAT, 0, b"x"),
    ],
    ids=["unknown type", "wrong end", "4 GiB", "over frame_max", "full heartbeat"],
)
def test_a_frame_that_is_none_closes_with_501(broker: BrokerProcess, data: bytes) -> None:
    peer = broker.connect()
    name = name_of(peer)
    peer.send_raw(data)
    assert peer.expect(commands.Connection.Close).reply_code == 501
    peer.drop()
    broker.expect_log(f"ERROR .*{name}.* FRAME_ERROR")


def test_one_line_for_the_open_and_one_for_the_end(broker: BrokerProcess) -> None:
    start = len(broker.lines)
    peer = broker.connect()
    name = name_of(peer)
    peer.close()
    broker.expect_log(f"{name}.* closed by the client", start)
    peer = broker.connect()
    lost = name_of(peer)
    peer.drop()
    broker.expect_log(f"WARNING .*{lost}.* lost: ", start)
    lines = [line for line in broker.lines[start:] if name in line.replace(".", r"\.")]
    assert [
        word in line
        for word, line in zip(("opened: user 'guest'", "closed by"), lines, strict=True)
    ]


# Peers that do not listen.


def deaf_peer(broker: BrokerProcess) -> Peer:
    """A connection whose end does not read, with as little room in between as the system allows."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.connect((broker.host, broker.port))
    peer = broker.raw()
    socket_of(peer).close()
    assert isinstance(peer.transport, SocketTransport)
    peer.transport._socket = sock
    peer.handshake()
    return peer


def fill(ch: Channel, queue: str, count: int, size: int) -> None:
    """Put messages into a queue, and wait until they are there."""
    ch.declare_queue(queue)
    ch.confirm()
    body = bytes(size)
    for _ in range(count):
        ch.publish(body, key=queue)
    ch.expect_confirms(count)


def test_a_consumer_that_never_reads_costs_no_memory_and_holds_up_nobody(
    broker: BrokerProcess,
) -> None:
    publisher = broker.channel()
    fill(publisher, "backlog", 2000, 32_768)
    before = steady_bytes(broker)
    deaf = deaf_peer(broker).open_channel()
    deaf.send(commands.Basic.Consume(queue="backlog"))
    other = broker.channel()
    other.send(commands.Basic.Qos(prefetch_count=10))
    other.send(commands.Basic.Consume(queue="backlog"))
    other.expect(commands.Basic.QosOk)
    other.expect(commands.Basic.ConsumeOk)
    for _ in range(500):
        other.ack(other.expect_delivery().tag)
    serve_a_client(broker)
    assert broker.resident_bytes() - before < 8 * MIB
    left = publisher.declare_queue("backlog", passive=True).message_count or 0
    assert left > 1000  # most was not sent to the one who does not read
    deaf.peer.drop()
    other.peer.close()
    publisher.delete_queue("backlog")


def test_a_peer_that_asks_and_never_listens_is_not_read_any_more(broker: BrokerProcess) -> None:
    before = broker.resident_bytes()
    ch = deaf_peer(broker).open_channel()
    question = frame.marshal(commands.Queue.Declare(queue="asked", exclusive=True), 1)
    sock = socket_of(ch.peer)
    sock.settimeout(0.5)
    refused = False
    for _ in range(1000):
        try:
            sock.sendall(question * 5000)
        except TimeoutError:
            refused = True
            break
    assert refused
    serve_a_client(broker)
    assert broker.resident_bytes() - before < 16 * MIB
    ch.peer.drop()


# Peers that go, and many of them.


def test_a_connection_lost_in_the_middle_of_a_large_body(broker: BrokerProcess) -> None:
    watcher = broker.channel()
    watcher.declare_queue("large")
    before = broker.resident_bytes()
    for _ in range(5):
        ch = broker.channel()
        name = name_of(ch.peer)
        ch.peer.send_raw(wire.publish(1, "", "large") + wire.header(1, 10 * MIB))
        for _ in range(60):
            ch.peer.send_raw(wire.body(1, bytes(100_000)))
        ch.peer.drop()
        broker.expect_log(f"WARNING .*{name}.* lost: ")
    assert watcher.declare_queue("large", passive=True).message_count == 0
    assert broker.resident_bytes() - before < 40 * MIB
    watcher.delete_queue("large")


def test_a_thousand_connections_at_once(broker: BrokerProcess) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    soft = max(1200, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
    if hard < soft:
        pytest.skip("this system does not let a process have so many files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    before = broker.open_sockets()
    sockets = [socket.create_connection((broker.host, broker.port), 10) for _ in range(1000)]
    for number, sock in enumerate(sockets):
        if number % 3:
            sock.sendall(PROTOCOL_HEADER[: number % 8 + 1])
        if number % 2:
            # Close with a reset.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    for sock in sockets:
        sock.close()
    serve_a_client(broker)
    wait_until(lambda: broker.open_sockets() <= before, "all sockets are closed again")
