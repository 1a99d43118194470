"""Logins that must not succeed, and what they may cost."""

from __future__ import annotations

from typing import Any

import pytest
from argon2 import extract_parameters
from argon2.low_level import Type, hash_secret, verify_secret
from pamqp import frame
from pamqp.commands import Basic, Connection, Queue

from amqbroker.auth import passwords
from amqbroker.auth.certificates import TlsPeer
from amqbroker.auth.passwords import hash_password, rabbit_hash, verify
from amqbroker.core.broker import Broker
from amqbroker.management import users
from amqbroker.node import PeerInfo
from tests.core.house import House, core
from tests.semantics.peer import Peer

AFAR = ("192.0.2.1", "2001:db8::1", "::ffff:192.0.2.1", "128.0.0.1", "not an address")
REFUSED = (
    "ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN. For details see the "
    "broker logfile."
)
LOGINS = 1000
START_OK = frame.marshal(
    Connection.StartOk(mechanism="PLAIN", response="\0guest\0wrong", locale="en_US"), 0
)


@pytest.fixture
def house() -> House:
    return House()


@pytest.fixture
def broker(house: House) -> Broker:
    """With one user for each way to keep a password, and one without."""
    broker = core(house.node)
    users.add_user(broker, "argon", hash_password(b"argon-pw", bytes(16)))
    users.add_user(broker, "rabbit", rabbit_hash(b"rabbit-pw", b"salt"))
    users.add_user(broker, "nopassword", None)
    return broker


def log_in(house: House, user: str, password: str, host: str = "127.0.0.1") -> Peer:
    """A peer that has tried."""
    peer = Peer(house.transport(host))
    peer.greet()
    peer.log_in(user, password)
    return peer


@pytest.mark.parametrize("host", AFAR)
def test_guest_from_afar(house: House, host: str) -> None:
    """Also once the password was right from here."""
    house.connect()
    log_in(house, "guest", "guest", host).expect_connection_close(403, REFUSED)


@pytest.mark.parametrize("host", AFAR)
def test_guest_from_afar_with_a_certificate(house: House, host: str) -> None:
    tls = TlsPeer("TLSv1.3", "TLS_AES_256_GCM_SHA384", True, "guest", 0.1, 60.0)
    peer = Peer(house.transport(host, ("EXTERNAL",), tls))
    peer.greet()
    peer.start_ok("EXTERNAL", "")
    assert peer.expect(Connection.Close).reply_code == 403


@pytest.mark.parametrize(
    ("user", "password"),
    [
        *(("argon", word) for word in ("", "argon", "argon-p", "argon-pw ", "Argon-pw")),
        *(("rabbit", word) for word in ("", "rabbit", "rabbit-pww", "guest")),
        *(("nopassword", word) for word in ("", "None", "nopassword")),
        *(("nobody", word) for word in ("", "nobody", "argon-pw")),
        *((name, "argon-pw") for name in ("", "ARGON", "argon ", " argon", "argon\n")),
    ],
)
def test_a_wrong_name_or_password(house: House, broker: Broker, user: str, password: str) -> None:
    log_in(house, user, password).expect_connection_close(403, REFUSED)
    assert broker.open_connections == 0


def test_the_hash_is_no_password(house: House, broker: Broker) -> None:
    """Who has read the data folder cannot log in with what is there."""
    for name in ("argon", "rabbit"):
        stored = users.password_hash(broker, name)
        assert stored is not None
        log_in(house, name, stored).expect_connection_close(403, REFUSED)


def test_a_deleted_user(house: House, broker: Broker) -> None:
    users.set_permissions(broker, "/", "argon", ".*", ".*", ".*")
    house.connect("argon").close()
    users.delete_user(broker, "argon")
    log_in(house, "argon", "argon-pw").expect_connection_close(403, REFUSED)


@pytest.mark.parametrize("change", ["deleted", "password"])
def test_a_user_who_changes_while_the_password_is_checked(
    house: House, broker: Broker, change: str
) -> None:
    house.paused = True
    peer = Peer(house.transport())
    house.paused = False
    peer.greet()
    house.paused = True
    peer.log_in("argon", "argon-pw")
    house.hand_over()
    (check,) = house.node.take_password_checks(1)
    if change == "deleted":
        users.delete_user(broker, "argon")
    else:
        users.change_password(broker, "argon", rabbit_hash(b"new", b"salt"))
    house.node.password_checked(check, True, house.now)
    house.paused = False
    if change == "deleted":
        peer.expect_connection_close(403, REFUSED)
    # The old password was right when it was asked for; from now on it is not.
    log_in(house, "argon", "argon-pw").expect_connection_close(403, REFUSED)


def test_no_method_but_start_ok_before_the_login(house: House) -> None:
    for method in (
        Connection.TuneOk(2047, 131072, 0),
        Connection.Open("/"),
        Basic.Publish(routing_key="q"),
    ):
        peer = Peer(house.transport())
        peer.greet()
        peer.send(0 if isinstance(method, Connection.TuneOk | Connection.Open) else 1, method)
        # A publish is nothing until its content is there: that one ends with the handshake's time.
        house.advance(10.1)
        peer.expect_dropped()
    assert core(house.node).open_connections == 0


def test_what_comes_with_a_wrong_password_is_not_carried_out(house: House) -> None:
    peer = Peer(house.transport())
    peer.greet()
    house.paused = True
    peer.log_in("guest", "wrong")
    peer.send(0, Connection.TuneOk(2047, 131072, 0))
    peer.send(0, Connection.Open("/"))
    house.paused = False
    peer.expect_connection_close(403, REFUSED)
    assert core(house.node).open_connections == 0


# What it costs.


class Work:
    """The hash work that was done, as (memory, passes) of each."""

    def __init__(self) -> None:
        self.done: list[tuple[int, int]] = []

    def hash(self, secret: bytes, salt: bytes, **cost: Any) -> bytes:
        self.done.append((cost["memory_cost"], cost["time_cost"]))
        return hash_secret(secret, salt, **cost)

    def verify(self, encoded: bytes, secret: bytes, kind: Type) -> bool:
        cost = extract_parameters(encoded.decode())
        self.done.append((cost.memory_cost, cost.time_cost))
        return verify_secret(encoded, secret, kind)


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> Work:
    work = Work()
    monkeypatch.setattr(passwords, "hash_secret", work.hash)
    monkeypatch.setattr(passwords, "verify_secret", work.verify)
    return work


@pytest.mark.parametrize("user", ["argon", "rabbit", "nopassword", "nobody", "guest"])
@pytest.mark.parametrize("host", ["127.0.0.1", "192.0.2.1"])
def test_the_work_tells_nothing_about_a_user(
    house: House, broker: Broker, user: str, host: str, work: Work
) -> None:
    """One hash of one cost, whoever it is and wherever from; counted, for times tell nothing on a
    machine that others use."""
    work.done.clear()
    log_in(house, user, "wrong", host).expect_connection_close(403, REFUSED)
    assert work.done == [(passwords.MEMORY_KIB, passwords.PASSES)]


@pytest.mark.parametrize("host", ["192.0.2.1", "127.0.0.1"])
def test_a_thousand_failed_logins_and_another_client(house: House, host: str) -> None:
    """Those who are logged in are served at once, others after one check of each address and user;
    the thousand wait."""
    ch = house.channel()
    ch.declare_queue("q")
    node = house.node
    other = Peer(house.transport("192.0.2.2"))
    other.greet()
    house.paused = True
    for number in range(10_000, 10_000 + LOGINS):
        node.client_connected(number, PeerInfo(host, 1, "127.0.0.1", 5672), house.now)
        node.client_received(number, b"AMQP\x00\x00\x09\x01" + START_OK, house.now)
    other.log_in("alice", "alice-pw")
    house.hand_over()
    node.settle(house.now)
    # A turn does no hash work of its own, and gives out no more than is asked for.
    (first,) = node.take_password_checks(1)
    assert first.connection_id >= 10_000
    ch.send(Queue.Purge(queue="q"))
    house.hand_over()
    assert house.take_output(ch.peer) > 0
    (second,) = node.take_password_checks(1)
    assert second.password == b"alice-pw"
    node.password_checked(second, verify(second.stored, second.password), house.now)
    node.settle(house.now)
    assert core(node).clients[second.connection_id].user.name == "alice"
