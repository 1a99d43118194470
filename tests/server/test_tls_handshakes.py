"""Clients that come with TLS, as they should and as they should not."""

from __future__ import annotations

import socket
import ssl
import time
from contextlib import suppress
from pathlib import Path

import pika
import pytest
from pika.credentials import ExternalCredentials
from pika.exceptions import AMQPError, ProbableAuthenticationError

from .certificates import LOOPS, Authority, Running, running

ANN = {"name": "ann", "permissions": {"/": {"configure": ".*", "write": ".*", "read": ".*"}}}
GUEST = {"name": "guest", "password": "guest", "permissions": {"/": {"read": ".*"}}}
EXTERNAL = ["EXTERNAL", "PLAIN", "AMQPLAIN"]


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture(params=LOOPS)
def loop(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def works(connection: pika.BlockingConnection) -> None:
    """Messages pass, the largest ones too, and the end is a clean one."""
    channel = connection.channel()
    queue = channel.queue_declare("", exclusive=True).method.queue
    channel.confirm_delivery()
    for size in (0, 10, 3_000_000):
        channel.basic_publish("", queue, b"x" * size)
    bodies = [channel.basic_get(queue, auto_ack=True)[2] for _ in range(3)]
    assert [len(body) for body in bodies] == [0, 10, 3_000_000]
    connection.close()


def still_serves(broker: Running, authority: Authority) -> None:
    """Nothing that happened before did harm."""
    broker.connect(None).close()
    broker.connect(authority.client()).close()


@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
def test_a_client_with_tls(loop: str, version: str, authority: Authority, tmp_path: Path) -> None:
    context = authority.client()
    context.minimum_version = context.maximum_version = ssl.TLSVersion[version]
    with running(loop, tmp_path, tls=authority.tls()) as broker:
        works(broker.connect(context))
        line = broker.expect_log(" opened: user 'guest'")
        assert f", {version.replace('_', '.')} with " in line
        assert broker.expect_log("closed by the client")


def test_the_header_may_come_with_the_last_bytes_of_the_handshake(
    loop: str, authority: Authority, tmp_path: Path
) -> None:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = authority.client().wrap_bio(incoming, outgoing, server_hostname="localhost")
    with (
        running(loop, tmp_path, tls=authority.tls()) as broker,
        socket.create_connection(("127.0.0.1", broker.tls_port), timeout=5) as raw,
    ):
        while True:
            try:
                client.do_handshake()
                break
            except ssl.SSLWantReadError:
                raw.sendall(outgoing.read())
                incoming.write(raw.recv(65_536))
        client.write(b"AMQP\x00\x00\x09\x01")
        raw.sendall(outgoing.read())
        answer = b""
        while len(answer) < 11:
            with suppress(ssl.SSLWantReadError):
                answer += client.read(65_536)
                continue
            incoming.write(raw.recv(65_536))
        assert (answer[:1], answer[7:11]) == (b"\x01", b"\x00\x0a\x00\x0a")


def test_a_client_that_closes_tls_behind_its_last_word_gets_the_answer(
    loop: str, authority: Authority, tmp_path: Path
) -> None:
    with running(loop, tmp_path, tls=authority.tls()) as broker:
        raw = socket.create_connection(("127.0.0.1", broker.tls_port), timeout=5)
        with authority.client().wrap_socket(raw, server_hostname="localhost") as client:
            client.sendall(b"GET / HTTP/1.1\r\n\r\n")
            with suppress(ssl.SSLError, OSError):
                client.unwrap()
        broker.expect_log("refused: an HTTP request on an AMQP port")
        still_serves(broker, authority)


def test_the_certificate_is_the_user(loop: str, authority: Authority, tmp_path: Path) -> None:
    tls = authority.tls(
        client_certificates="required", ca_certificates=authority.file, mechanisms=["EXTERNAL"]
    )
    with running(loop, tmp_path, tls=tls, users=[GUEST, ANN]) as broker:
        works(broker.connect(authority.client(authority.issue("ann")), ExternalCredentials()))
        broker.expect_log(" opened: user 'ann'")
        with pytest.raises(ProbableAuthenticationError):
            broker.connect(authority.client(authority.issue("bob")), ExternalCredentials())
        broker.expect_log("login with EXTERNAL refused: user 'bob' does not exist")
        # guest may come from this machine, and needs no password here.
        broker.connect(authority.client(authority.issue("guest")), ExternalCredentials()).close()
        with pytest.raises(AMQPError):
            broker.connect(authority.client(authority.issue("eve")))


@pytest.mark.parametrize("password", ["", "ann", "None"])
def test_a_user_without_a_password_has_no_other_way_in(
    password: str, authority: Authority, tmp_path: Path
) -> None:
    tls = authority.tls(
        client_certificates="optional", ca_certificates=authority.file, mechanisms=EXTERNAL
    )
    credentials = pika.PlainCredentials("ann", password)
    with running("asyncio", tmp_path, tls=tls, users=[ANN, GUEST]) as broker:
        for context in (None, authority.client(), authority.client(authority.issue("guest"))):
            with pytest.raises(ProbableAuthenticationError):
                broker.connect(context, credentials)


@pytest.mark.parametrize(
    ("kind", "identity"),
    [("dns", "ann"), ("email", "ann@example.org"), ("common_name", "ann")],
)
def test_the_name_is_the_one_that_the_configuration_says(
    kind: str, identity: str, authority: Authority, tmp_path: Path
) -> None:
    tls = authority.tls(
        client_certificates="optional",
        ca_certificates=authority.file,
        certificate_name=kind,
        mechanisms=EXTERNAL,
    )
    user = {**ANN, "name": identity}
    right = authority.issue(identity if kind == "common_name" else "other", identity)
    wrong = authority.issue("other" if kind == "common_name" else identity, "192.0.2.1")
    with running("asyncio", tmp_path, tls=tls, users=[user, GUEST]) as broker:
        broker.connect(authority.client(right), ExternalCredentials()).close()
        with pytest.raises(ProbableAuthenticationError):
            broker.connect(authority.client(wrong), ExternalCredentials())


def mechanisms(broker: Running, context: ssl.SSLContext | None, port: int | None = None) -> bytes:
    """The mechanisms that are offered."""
    usual = broker.port if context is None else broker.tls_port
    raw = socket.create_connection(("127.0.0.1", usual if port is None else port), timeout=5)
    client = raw if context is None else context.wrap_socket(raw, server_hostname="localhost")
    with client:
        client.sendall(b"AMQP\x00\x00\x09\x01")
        answer = b""
        while not answer.endswith(b"\x00\x00\x00\x05en_US\xce"):
            answer += client.recv(65_536)
    before = answer[: -len(b"\x00\x00\x00\x05en_US\xce")]
    return before[before.rindex(b"\x00") + 2 :]


def test_fact_023_external_is_for_those_who_show_a_certificate(
    authority: Authority, tmp_path: Path
) -> None:
    """py-amqp would take EXTERNAL before a password wherever it is offered."""
    tls = authority.tls(
        client_certificates="optional", ca_certificates=authority.file, mechanisms=EXTERNAL
    )
    with running("asyncio", tmp_path, tls=tls, users=[GUEST, ANN]) as broker:
        assert mechanisms(broker, None) == b"PLAIN AMQPLAIN"
        assert mechanisms(broker, authority.client()) == b"PLAIN AMQPLAIN"
        ann = authority.client(authority.issue("ann"))
        assert mechanisms(broker, ann) == b"EXTERNAL PLAIN AMQPLAIN"
        broker.connect(authority.client()).close()
        broker.connect(ann).close()
        broker.expect_log(" opened: user 'guest'")


def test_external_is_not_there_unless_the_configuration_says_so(
    authority: Authority, tmp_path: Path
) -> None:
    tls = authority.tls(client_certificates="required", ca_certificates=authority.file)
    with running("asyncio", tmp_path, tls=tls) as broker:
        assert mechanisms(broker, authority.client(authority.issue("guest"))) == b"PLAIN AMQPLAIN"


def test_listeners_have_mechanisms_of_their_own(authority: Authority, tmp_path: Path) -> None:
    with running(
        "asyncio",
        tmp_path,
        listeners=[{"address": "127.0.0.1:0", "mechanisms": ["AMQPLAIN"]}],
        tls_listeners=[{"address": "127.0.0.1:0", "mechanisms": ["PLAIN"]}],
        tls=authority.tls(),
    ) as broker:
        assert mechanisms(broker, None) == b"AMQPLAIN"
        assert mechanisms(broker, authority.client()) == b"PLAIN"


def refused(broker: Running, context: ssl.SSLContext) -> None:
    with pytest.raises((AMQPError, OSError)):
        broker.connect(context)


def test_client_certificates_that_are_not_accepted(
    loop: str, authority: Authority, tmp_path: Path
) -> None:
    other = Authority(tmp_path, "other")
    tls = authority.tls(client_certificates="required", ca_certificates=authority.file)
    with running(loop, tmp_path, tls=tls) as broker:
        refused(broker, authority.client(other.issue("ann", file_name="forged")))
        broker.expect_log("the client's certificate is not accepted: unable to get local issuer")
        refused(broker, authority.client(authority.issue("old", expired=True)))
        broker.expect_log("the client's certificate is not accepted: certificate has expired")
        refused(broker, authority.client())
        line = broker.expect_log("the client showed no certificate, and one is required")
        assert "WARNING" in line
        broker.connect(authority.client(authority.issue("ann"))).close()
        broker.connect(None).close()


def test_an_optional_certificate_of_another_authority_is_refused_as_well(
    loop: str, authority: Authority, tmp_path: Path
) -> None:
    other = Authority(tmp_path, "other")
    tls = authority.tls(
        client_certificates="optional", ca_certificates=authority.file, mechanisms=EXTERNAL
    )
    with running(loop, tmp_path, tls=tls, users=[ANN, GUEST]) as broker:
        refused(broker, authority.client(other.issue("ann", file_name="forged")))
        broker.expect_log("the client's certificate is not accepted: unable to get local issuer")
        still_serves(broker, authority)


@pytest.mark.parametrize("first", [b"AMQP\x00\x00\x09\x01", b"GET / HTTP/1.1\r\n\r\n", bytes(40)])
def test_what_is_no_tls_on_a_tls_port(
    loop: str, first: bytes, authority: Authority, tmp_path: Path
) -> None:
    with running(loop, tmp_path, tls=authority.tls()) as broker:
        with socket.create_connection(("127.0.0.1", broker.tls_port), timeout=5) as raw:
            raw.sendall(first)
            with suppress(ConnectionResetError):
                while raw.recv(100):
                    pass
        what = "an HTTP request" if first.startswith(b"GET") else "no TLS"
        line = broker.expect_log(f" refused: {what} on a TLS port")
        assert "127.0.0.1:" in line
        still_serves(broker, authority)


def test_fact_014_tls_on_a_plain_port(loop: str, authority: Authority, tmp_path: Path) -> None:
    with running(loop, tmp_path, tls=authority.tls()) as broker:
        with pytest.raises((AMQPError, OSError)):
            broker.connect(authority.client(), port=broker.port)
        broker.expect_log(" refused: a TLS client hello on a port without TLS")
        still_serves(broker, authority)


def test_a_client_that_does_not_trust_the_broker(
    loop: str, authority: Authority, tmp_path: Path
) -> None:
    with running(loop, tmp_path, tls=authority.tls()) as broker:
        refused(broker, Authority(tmp_path, "other").client())
        broker.expect_log(" refused: the client does not know the authority of the broker's")
        still_serves(broker, authority)


def test_a_client_of_an_old_version(loop: str, authority: Authority, tmp_path: Path) -> None:
    context = authority.client()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with running(loop, tmp_path, tls=authority.tls(version_min="1.3")) as broker:
        refused(broker, context)
        broker.expect_log(" refused: the client speaks only old versions of TLS")
        still_serves(broker, authority)


def test_no_cipher_in_common(authority: Authority, tmp_path: Path) -> None:
    context = authority.client()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("ECDHE+CHACHA20")
    with running("asyncio", tmp_path, tls=authority.tls(ciphers="ECDHE+AESGCM")) as broker:
        refused(broker, context)
        broker.expect_log(" refused: the client and the broker have no cipher in common")


def test_a_client_that_says_nothing_has_a_time_limit(
    loop: str, authority: Authority, tmp_path: Path
) -> None:
    limits = {"handshake_timeout_s": 1}
    with running(loop, tmp_path, tls=authority.tls(), limits=limits) as broker:
        started_at = time.monotonic()
        with socket.create_connection(("127.0.0.1", broker.tls_port), timeout=5) as raw:
            with suppress(ConnectionResetError):
                assert raw.recv(1) == b""
            assert time.monotonic() - started_at < 3
        broker.expect_log(" refused: no TLS handshake within 1 s")


def test_the_time_of_the_tls_handshake_counts(authority: Authority, tmp_path: Path) -> None:
    limits = {"handshake_timeout_s": 2}
    with running("asyncio", tmp_path, tls=authority.tls(), limits=limits) as broker:
        started_at = time.monotonic()
        raw = socket.create_connection(("127.0.0.1", broker.tls_port), timeout=5)
        raw.settimeout(1.2)
        with suppress(TimeoutError):
            raw.recv(1)
        raw.settimeout(5)
        with authority.client().wrap_socket(raw, server_hostname="localhost") as client:
            assert client.recv(1) == b""
        assert time.monotonic() - started_at < 2.8
        broker.expect_log(" refused: no connection.open within 2 s")


def test_a_look_at_the_port_is_no_warning(loop: str, authority: Authority, tmp_path: Path) -> None:
    with running(loop, tmp_path, tls=authority.tls()) as broker:
        socket.create_connection(("127.0.0.1", broker.tls_port)).close()
        assert "DEBUG" in broker.expect_log("closed before the TLS handshake was over")
        still_serves(broker, authority)


def test_a_stop_does_not_wait_for_handshakes(
    loop: str, authority: Authority, tmp_path: Path
) -> None:
    started_at = time.monotonic()
    with running(loop, tmp_path, tls=authority.tls()) as broker:
        raw = socket.create_connection(("127.0.0.1", broker.tls_port), timeout=5)
        still_serves(broker, authority)
    with raw, suppress(ConnectionResetError):
        assert raw.recv(1) == b""
    assert time.monotonic() - started_at < 8


def test_a_slow_reader_is_waited_for(loop: str, authority: Authority, tmp_path: Path) -> None:
    """Back-pressure passes through TLS."""
    limits = {"outbox_bytes_max": 65_536}
    with running(loop, tmp_path, tls=authority.tls(), limits=limits) as broker:
        slow = broker.connect(authority.client())
        channel = slow.channel()
        channel.queue_declare("q")
        received: list[int] = []
        channel.basic_consume(
            "q", lambda _c, _m, _p, body: received.append(len(body)), auto_ack=True
        )
        fast = broker.connect(authority.client())
        publisher = fast.channel()
        publisher.confirm_delivery()
        for _ in range(200):
            publisher.basic_publish("", "q", bytes(100_000))
        assert publisher.queue_declare("q", passive=True).method.message_count > 0
        while len(received) < 200:
            slow.process_data_events(time_limit=1)
        assert received == [100_000] * 200
        fast.close()
        slow.close()
