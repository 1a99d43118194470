"""Steps of the handshake in odd orders, and who may open what."""

from __future__ import annotations

import pytest
from pamqp.commands import Channel, Connection, Queue

from amqbroker.auth.certificates import TlsPeer
from amqbroker.auth.passwords import rabbit_hash, verify
from amqbroker.core.rules import NO_LIMIT
from amqbroker.management import users
from tests.core.house import House, core
from tests.semantics.peer import PROTOCOL_HEADER, Peer


def _greeted(house: House) -> Peer:
    peer = Peer(house.transport())
    peer.greet()
    return peer


def test_everything_in_one_read_waits_for_the_password(house: House) -> None:
    """A client may send all it has before it knows whether it may come in."""
    peer = Peer(house.transport())
    house.paused = True
    peer.send_raw(PROTOCOL_HEADER)
    peer.log_in()
    peer.send(0, Connection.TuneOk(2047, 131072, 0))
    peer.send(0, Connection.Open("/"))
    house.hand_over()
    assert house.core_client(peer).must_pause()
    house.paused = False
    peer.expect(Connection.Start)
    peer.expect(Connection.Tune)
    peer.expect(Connection.OpenOk)


def test_a_client_is_not_read_while_its_password_is_checked(house: House) -> None:
    peer = _greeted(house)
    house.paused = True
    peer.log_in()
    house.hand_over()
    client = house.core_client(peer)
    assert client.must_pause()
    house.paused = False
    peer.tune_ok()
    assert not client.must_pause()
    peer.open()


def test_what_came_behind_a_wrong_password_is_not_carried_out(house: House) -> None:
    peer = _greeted(house)
    house.paused = True
    peer.log_in(password="wrong")
    peer.send(0, Connection.TuneOk(2047, 131072, 0))
    peer.send(0, Connection.Open("/"))
    house.paused = False
    assert peer.expect(Connection.Close).reply_code == 403
    assert core(house.node).open_connections == 0
    house.advance(3.1)
    peer.expect_dropped()


def test_a_client_that_goes_while_its_password_is_checked(house: House) -> None:
    peer = _greeted(house)
    house.paused = True
    peer.log_in()
    house.hand_over()
    checks = house.node.take_password_checks(1)
    peer.drop()
    for check in checks:
        house.node.password_checked(check, True, house.now)
    house.paused = False
    house.run()
    assert core(house.node).clients == {}


def test_a_password_is_checked_by_its_hash_once(house: House) -> None:
    house.connect().close()
    peer = _greeted(house)
    house.paused = True
    peer.log_in()
    house.hand_over()
    assert house.node.take_password_checks(1) == []
    house.paused = False
    peer.tune_ok()
    peer.open()


def test_a_user_that_was_deleted_while_its_password_was_checked(house: House) -> None:
    peer = _greeted(house)
    house.paused = True
    peer.log_in("alice", "alice-pw")
    house.hand_over()
    core(house.node).users.remove("alice")
    house.paused = False
    assert peer.expect(Connection.Close).reply_code == 403
    assert any("user 'alice' was deleted" in line for line in house.log_lines)


@pytest.mark.parametrize("limit", ["node", "vhost"])
def test_limits_count_connections_that_are_open(house: House, limit: str) -> None:
    first = house.connect()
    house.vhost().max_connections = 2 if limit == "vhost" else NO_LIMIT
    second = house.connect()
    third = _greeted(house)
    third.log_in()
    third.tune_ok()
    if limit == "vhost":
        third.send(0, Connection.Open("/"))
        third.expect_connection_close(
            530,
            "NOT_ALLOWED - access to vhost '/' refused for user 'guest': "
            "connection limit (2) is reached",
        )
    first.drop()
    second.close()
    assert (core(house.node).open_connections, house.vhost().connections) == (0, 0)
    house.connect()


def test_connections_to_other_vhosts_do_not_count(house: House) -> None:
    house.connect()
    house.vhost("other").max_connections = 1
    house.connect("stranger", "other")
    assert (house.vhost().connections, house.vhost("other").connections) == (1, 1)


@pytest.mark.parametrize(
    "method",
    [
        Connection.Open("/"),
        Connection.TuneOk(2047, 131072, 0),
        Connection.CloseOk(),
        Connection.SecureOk("x"),
    ],
    ids=lambda method: str(method.name),
)
def test_a_step_out_of_its_place_is_refused(house: House, method: Connection.Open) -> None:
    """In a running connection by 504; in the handshake by silence."""
    running = house.connect()
    running.send(0, method)
    running.expect_connection_close(
        504, "CHANNEL_ERROR - unexpected method in connection state running"
    )
    starting = _greeted(house)
    starting.send(0, method)
    house.advance(3.1)
    starting.expect_dropped()


def test_the_secret_is_updated_with_the_same_password_only(house: House) -> None:
    peer = house.connect()
    peer.send(0, Connection.UpdateSecret("guest", "why not"))
    peer.expect(Connection.UpdateSecretOk)
    peer.send(0, Connection.UpdateSecret("other", "why not"))
    peer.expect_connection_close(
        530,
        "NOT_ALLOWED - New secret was refused by one of the backends",
        method=Connection.UpdateSecret,
    )


def test_a_password_that_has_changed_is_the_new_secret(house: House) -> None:
    """It is checked as at a login, and what comes meanwhile waits."""
    peer = house.connect("alice")
    users.change_password(core(house.node), "alice", rabbit_hash(b"new", b"salt"))
    house.paused = True
    peer.send(0, Connection.UpdateSecret("new", "changed"))
    peer.send(1, Channel.Open())
    house.hand_over()
    assert house.core_client(peer).must_pause()
    assert house.core_client(peer).channels == {}
    house.paused = False
    peer.expect(Connection.UpdateSecretOk)
    peer.expect(Channel.OpenOk, 1)
    peer.send(0, Connection.UpdateSecret("alice-pw", "the old one"))
    peer.expect_connection_close(530)


def test_what_a_channel_kept_before_a_new_secret_is_carried_out_before_what_follows_it(
    house: House,
) -> None:
    """The reply that it waited behind comes while the secret is being checked."""
    peer = house.connect()
    ch = peer.open_channel()
    ch.declare_queue("q")
    users.change_password(core(house.node), "guest", rabbit_hash(b"new", b"salt"))
    house.disk_is_slow = True
    house.paused = True
    ch.send(Queue.Declare(queue="durable", durable=True))
    ch.publish(b"1", key="q")
    ch.publish(b"2", key="q")
    peer.send(0, Connection.UpdateSecret("new", "changed"))
    ch.publish(b"3", key="q")
    house.hand_over()
    house.node.settle(house.now)
    house.disk_is_slow = False
    assert house._write_journal()
    house.paused = False
    ch.expect(Queue.DeclareOk)
    peer.expect(Connection.UpdateSecretOk)
    assert ch.get_bodies("q") == [b"1", b"2", b"3"]


WITH_EXTERNAL = ("EXTERNAL", "PLAIN")


def _with_tls(
    house: House,
    user: str,
    *,
    verified: bool = True,
    address: str = "127.0.0.1",
    valid_s: float = 3600.0,
) -> Peer:
    """A client with a certificate that has this name, greeted by a listener with EXTERNAL."""
    tls = TlsPeer("TLSv1.3", "TLS_AES_256_GCM_SHA384", verified, user, 0.5, valid_s)
    peer = Peer(house.transport(address, WITH_EXTERNAL, tls))
    peer.greet()
    return peer


def test_a_certificate_logs_its_user_in(house: House) -> None:
    peer = _with_tls(house, "alice")
    assert peer.start is not None
    assert peer.start.mechanisms == "EXTERNAL PLAIN"
    peer.start_ok("EXTERNAL", "")
    peer.tune_ok()
    peer.open()
    (client,) = core(house.node).clients.values()
    assert client.user.name == "alice"


@pytest.mark.parametrize(
    ("user", "address"), [("", "127.0.0.1"), ("nobody", "127.0.0.1"), ("guest", "192.0.2.1")]
)
def test_a_certificate_without_a_user_logs_nobody_in(house: House, user: str, address: str) -> None:
    peer = _with_tls(house, user, address=address)
    peer.start_ok("EXTERNAL", "guest")
    assert peer.expect(Connection.Close).reply_code == 403
    house.advance(3.1)
    peer.expect_dropped()


def test_external_without_a_verified_certificate_is_an_unknown_mechanism(house: House) -> None:
    plain = Peer(house.transport("127.0.0.1", WITH_EXTERNAL))
    plain.greet()
    for peer in (plain, _with_tls(house, "alice", verified=False)):
        assert peer.start is not None
        assert peer.start.mechanisms == "PLAIN"
        peer.start_ok("EXTERNAL", "alice")
        house.advance(3.1)
        peer.expect_dropped()


def test_the_time_of_the_tls_handshake_is_part_of_the_limit(house: House) -> None:
    peer = _with_tls(house, "alice")
    house.advance(9.4)
    assert len(core(house.node).clients) == 1
    house.advance(0.2)
    peer.expect_dropped()


def test_a_connection_ends_with_the_certificate_that_logged_it_in(house: House) -> None:
    peer = _with_tls(house, "alice", valid_s=100.0)
    peer.start_ok("EXTERNAL", "")
    peer.tune_ok()
    peer.open()
    other = _with_tls(house, "alice", valid_s=100.0)
    other.log_in("alice", "alice-pw")
    other.tune_ok()
    other.open()
    house.advance(99.0)
    assert peer.is_alive()
    house.advance(2.0)
    peer.expect_connection_close(320, "CONNECTION_FORCED - credential expired")
    assert other.is_alive()


@pytest.mark.parametrize("user", ["guest", "nobody"])
def test_who_may_not_come_from_there_learns_nothing_of_the_password(
    house: House, user: str
) -> None:
    """The right password is checked like a wrong one, and refused like one."""
    house.connect().close()
    for password in ("guest", "wrong"):
        peer = Peer(house.transport("192.0.2.1"))
        peer.greet()
        house.paused = True
        peer.log_in(user, password)
        house.hand_over()
        (check,) = house.node.take_password_checks(1)
        house.node.password_checked(check, verify(check.stored, check.password), house.now)
        house.paused = False
        assert peer.expect(Connection.Close).reply_code == 403
