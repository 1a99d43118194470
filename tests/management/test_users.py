"""Users that change while the broker runs: at once, for those who are connected, and for ever."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from pamqp.commands import Basic, Connection
from pamqp.commands import Channel as ChannelMethods

from amqbroker.auth.passwords import hash_password
from amqbroker.core.broker import Broker
from amqbroker.management import users, vhosts
from amqbroker.management.errors import (
    BAD_ARGUMENT,
    NO_SUCH_USER,
    NOT_FOUND,
    REFUSED,
    ManagementError,
)
from tests.core.house import House, core
from tests.management.conftest import Plain, hash_of
from tests.semantics.peer import Peer


def may_log_in(house: House, user: str, password: str) -> bool:
    """Whether a new connection of this user gets past the password."""
    peer = Peer(house.transport())
    peer.greet()
    peer.log_in(user, password)
    answer = peer.next_item(0)
    if isinstance(answer, Connection.Close):
        assert answer.reply_code == 403
        return False
    assert isinstance(answer, Connection.Tune)
    peer.drop()
    return True


def refused(action: Callable[[], object], code: str, text: str) -> None:
    """An action is refused with this code and text."""
    with pytest.raises(ManagementError) as caught:
        action()
    assert (caught.value.code, caught.value.text) == (code, text)


# The life of a user.


def test_a_user_who_was_added_may_log_in_but_enter_no_vhost(house: Plain) -> None:
    users.add_user(house.broker, "ann", hash_of("secret"), ["monitoring"])
    assert may_log_in(house, "ann", "secret")
    assert not may_log_in(house, "ann", "Secret")
    peer = Peer(house.transport())
    peer.greet()
    peer.log_in("ann", "secret")
    peer.tune_ok()
    peer.send(0, Connection.Open("/"))
    peer.expect_connection_close(530, "NOT_ALLOWED - access to vhost '/' refused for user 'ann'")
    assert users.list_users(house.broker) == [
        {"user": "ann", "tags": ["monitoring"]},
        {"user": "guest", "tags": ["administrator"]},
    ]


def test_a_user_exists_once(house: Plain) -> None:
    house.add("ann")
    refused(lambda: users.add_user(house.broker, "ann", None), REFUSED, 'User "ann" already exists')
    assert may_log_in(house, "ann", "ann-pw")


def test_what_is_no_hash_is_refused(house: Plain) -> None:
    broker = house.broker
    house.add("ann")
    with pytest.raises(ManagementError, match="no password hash"):
        users.add_user(broker, "bob", "secret")
    with pytest.raises(ManagementError, match="no password hash"):
        users.change_password(broker, "ann", "secret")
    assert broker.users.get("bob") is None
    assert may_log_in(house, "ann", "ann-pw")


def test_a_deleted_user_loses_its_connections(house: Plain) -> None:
    house.add("ann")
    peer, other = house.connect("ann"), house.connect()
    greeted = Peer(house.transport())
    greeted.greet()
    greeted.log_in("ann", "ann-pw")
    greeted.expect(Connection.Tune)
    users.delete_user(house.broker, "ann")
    house.run()
    peer.expect_connection_close(320, "CONNECTION_FORCED - user 'ann' is deleted")
    greeted.expect_dropped()
    assert other.is_alive()
    assert not may_log_in(house, "ann", "ann-pw")
    assert [row["user"] for row in users.list_users(house.broker)] == ["guest"]


def test_a_user_of_a_deleted_ones_name_is_another(house: Plain) -> None:
    """What the first was allowed, and who was connected as the first, does not count for the
    second."""
    house.add("ann")
    old = house.connect("ann")
    users.set_user_limits(house.broker, "ann", {"max-connections": 1})
    users.delete_user(house.broker, "ann")
    users.add_user(house.broker, "ann", hash_of("ann-pw"))
    assert users.list_user_permissions(house.broker, "ann") == []
    assert users.list_user_limits(house.broker) == []
    users.set_user_limits(house.broker, "ann", {"max-connections": 1})
    users.set_permissions(house.broker, "/", "ann", "", "", "")
    house.connect("ann")
    house.run()
    old.expect(Connection.Close)
    user = house.broker.users.get("ann")
    assert user is not None
    assert user.connections == 1


def test_a_deleted_guest_stays_deleted(house: Plain) -> None:
    house.add("ann")
    users.delete_user(house.broker, "guest")
    house.crash()
    assert [row["user"] for row in users.list_users(house.broker)] == ["ann"]
    users.delete_user(house.broker, "ann")
    house.crash()
    assert users.list_users(house.broker) == []
    house.run()
    assert "there is no user: nobody can log in until one is added" in house.log_lines


# Passwords.


def test_a_password_changes_at_once(house: Plain) -> None:
    house.add("ann")
    peer = house.connect("ann")
    users.change_password(house.broker, "ann", hash_of("new"))
    assert not may_log_in(house, "ann", "ann-pw")
    assert may_log_in(house, "ann", "new")
    assert peer.is_alive()
    users.clear_password(house.broker, "ann")
    for password in ("new", "ann-pw", ""):
        assert not may_log_in(house, "ann", password)


def test_new_passwords_are_argon2id(house: Plain) -> None:
    stored = hash_password(b"secret", bytes(16))
    users.add_user(house.broker, "ann", stored)
    assert users.password_hash(house.broker, "ann") == stored
    assert users.password_hash(house.broker, "bob") is None
    house.crash()
    assert may_log_in(house, "ann", "secret")


# Tags and permissions act on those who are connected.


def test_a_tag_counts_at_once(house: Plain) -> None:
    house.add("ann")
    ch = house.connect("ann").open_channel()
    somebody = Basic.Properties(user_id="somebody")
    ch.publish(b"1", properties=somebody)
    ch.expect_channel_close(406)
    ch.open()
    users.set_user_tags(house.broker, "ann", ["impersonator"])
    ch.publish(b"1", properties=somebody)
    ch.expect_nothing()


def test_a_revoked_permission_stops_the_next_publish_on_a_known_route(house: Plain) -> None:
    house.add("ann")
    ch = house.connect("ann").open_channel()
    ch.declare_queue("q")
    for _ in range(3):
        ch.publish(b"m", key="q")
    ch.wait_ready("q", 3)
    users.set_permissions(house.broker, "/", "ann", ".*", "^other$", ".*")
    ch.publish(b"m", key="q")
    ch.expect_channel_close(
        403,
        "ACCESS_REFUSED - write access to exchange 'amq.default' in vhost '/' refused for user "
        "'ann'",
    )
    ch.open()
    users.set_permissions(house.broker, "/", "ann", ".*", ".*", ".*")
    ch.publish(b"m", key="q")
    ch.wait_ready("q", 4)


def test_cleared_permissions_close_the_vhost(house: Plain) -> None:
    house.add("ann")
    ch = house.connect("ann").open_channel()
    ch.declare_queue("q")
    users.clear_permissions(house.broker, "/", "ann")
    ch.publish(b"m", key="q")
    ch.expect_channel_close(403)
    peer = Peer(house.transport())
    peer.greet()
    peer.log_in("ann", "ann-pw")
    peer.tune_ok()
    peer.send(0, Connection.Open("/"))
    peer.expect_connection_close(530)


def test_permissions_are_listed_both_ways(house: Plain) -> None:
    house.add("ann", allowed="^a")
    vhosts.add_vhost(house.broker, "v")
    users.set_permissions(house.broker, "v", "ann", "c", "w", "r")
    everything = {"configure": ".*", "write": ".*", "read": ".*"}
    assert users.list_permissions(house.broker, "/") == [
        {"user": "ann", "configure": "^a", "write": "^a", "read": "^a"},
        {"user": "guest", **everything},
    ]
    assert users.list_user_permissions(house.broker, "ann") == [
        {"vhost": "/", "configure": "^a", "write": "^a", "read": "^a"},
        {"vhost": "v", "configure": "c", "write": "w", "read": "r"},
    ]
    users.clear_permissions(house.broker, "/", "ann")
    users.clear_permissions(house.broker, "/", "ann")
    assert [row["user"] for row in users.list_permissions(house.broker, "/")] == ["guest"]


def test_topic_permissions_act_at_once(house: Plain) -> None:
    house.add("ann")
    ch = house.connect("ann").open_channel()
    ch.publish(b"m", exchange="amq.topic", key="a.b")
    ch.expect_nothing()
    users.set_topic_permissions(house.broker, "/", "ann", "amq.topic", "^x", "^y")
    ch.publish(b"m", exchange="amq.topic", key="a.b")
    ch.expect_channel_close(403)
    ch.open()
    users.clear_topic_permissions(house.broker, "/", "ann", "amq.topic")
    ch.publish(b"m", exchange="amq.topic", key="a.b")
    ch.expect_nothing()


def test_topic_permissions_are_listed_both_ways(house: Plain) -> None:
    house.add("ann")
    vhosts.add_vhost(house.broker, "v")
    users.set_topic_permissions(house.broker, "/", "ann", "x", "^w", "^r")
    users.set_topic_permissions(house.broker, "/", "ann", "amq.topic", "{username}", "")
    users.set_topic_permissions(house.broker, "v", "ann", "x", "1", "2")
    row = {"exchange": "x", "write": "^w", "read": "^r"}
    topic = {"exchange": "amq.topic", "write": "{username}", "read": ""}
    assert users.list_topic_permissions(house.broker, "/") == [
        {"user": "ann", **topic},
        {"user": "ann", **row},
    ]
    third = {"vhost": "v", "exchange": "x", "write": "1", "read": "2"}
    assert users.list_user_topic_permissions(house.broker, "ann") == [
        {"vhost": "/", **topic},
        {"vhost": "/", **row},
        third,
    ]
    users.clear_topic_permissions(house.broker, "/", "ann")
    assert users.list_user_topic_permissions(house.broker, "ann") == [third]
    users.clear_topic_permissions(house.broker, "v", "ann", "x")
    assert users.list_user_topic_permissions(house.broker, "ann") == []


# Limits.


def test_a_limit_of_connections(house: Plain) -> None:
    house.add("ann")
    first = house.connect("ann")
    users.set_user_limits(house.broker, "ann", {"max-connections": 1})
    second = Peer(house.transport())
    second.greet()
    second.log_in("ann", "ann-pw")
    second.tune_ok()
    second.send(0, Connection.Open("/"))
    second.expect_connection_close(
        530,
        "NOT_ALLOWED - connection refused for user 'ann': user connection limit (1) is reached",
    )
    house.connect()
    first.close()
    house.connect("ann")


def test_a_limit_of_channels_counts_all_connections(house: Plain) -> None:
    house.add("ann")
    first, second = house.connect("ann"), house.connect("ann")
    users.set_user_limits(house.broker, "ann", {"max-channels": 2})
    closed = first.open_channel()
    second.open_channel()
    closed.close()
    first.open_channel()
    second.send(9, ChannelMethods.Open())
    second.expect_connection_close(
        530,
        "NOT_ALLOWED - number of channels opened for user 'ann' has reached the maximum allowed "
        "user limit of (2)",
    )
    house.connect("ann").open_channel()
    first.drop()
    house.connect("ann").open_channel()


def test_limits_are_listed_and_cleared(house: Plain) -> None:
    house.add("ann")
    broker = house.broker
    assert users.list_user_limits(broker) == []
    assert users.list_user_limits(broker, "ann") == [{"user": "ann", "limits": {}}]
    users.set_user_limits(broker, "ann", {"max-channels": 3})
    users.set_user_limits(broker, "ann", {"max-connections": 0})
    both = {"max-connections": 0, "max-channels": 3}
    assert users.list_user_limits(broker) == [{"user": "ann", "limits": both}]
    users.clear_user_limits(broker, "ann", "max-connections")
    assert users.list_user_limits(broker) == [{"user": "ann", "limits": {"max-channels": 3}}]
    users.clear_user_limits(broker, "ann")
    assert users.list_user_limits(broker) == []
    with pytest.raises(ManagementError, match="Unrecognised terms"):
        users.clear_user_limits(broker, "ann", "max-foo")


# What is refused, and what stays.

CHANGES: dict[str, Callable[[Broker], int]] = {
    "add_user": lambda broker: users.add_user(broker, "new", None, ["t"]),
    "delete_user": lambda broker: users.delete_user(broker, "ann"),
    "change_password": lambda broker: users.change_password(broker, "ann", hash_of("new")),
    "clear_password": lambda broker: users.clear_password(broker, "ann"),
    "set_user_tags": lambda broker: users.set_user_tags(broker, "ann", ["a", "b"]),
    "set_permissions": lambda broker: users.set_permissions(broker, "/", "ann", "1", "2", "3"),
    "clear_permissions": lambda broker: users.clear_permissions(broker, "/", "ann"),
    "set_topic_permissions": lambda broker: users.set_topic_permissions(
        broker, "/", "ann", "x", "{vhost}", "2"
    ),
    "clear_topic_permissions": lambda broker: users.clear_topic_permissions(broker, "/", "ann"),
    "set_user_limits": lambda broker: users.set_user_limits(
        broker, "ann", {"max-connections": 5, "max-channels": 6}
    ),
    "clear_user_limits": lambda broker: users.clear_user_limits(broker, "ann"),
}


def state(broker: Broker) -> dict[str, object]:
    """All there is to know about users."""
    return {
        "users": users.list_users(broker),
        "hashes": {name: users.password_hash(broker, name) for name in broker.users.users},
        "permissions": users.list_permissions(broker, "/"),
        "topics": users.list_topic_permissions(broker, "/"),
        "limits": users.list_user_limits(broker),
    }


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("clean", [True, False], ids=["clean", "unclean"])
def test_every_change_outlives_a_restart(
    house: Plain, change: Callable[[Broker], int], clean: bool
) -> None:
    house.add("ann")
    users.set_topic_permissions(house.broker, "/", "ann", "y", "a", "b")
    users.set_user_limits(house.broker, "ann", {"max-channels": 9})
    before = state(house.broker)
    position = change(house.broker)
    assert not house.broker.is_durable(position)
    after = state(house.broker)
    assert after != before
    house.run()
    assert house.broker.is_durable(position)
    house.restart(clean=clean)
    assert state(house.broker) == after


NO_USER = 'User "bob" does not exist'


@pytest.mark.parametrize(
    "action",
    [
        lambda broker: users.delete_user(broker, "bob"),
        lambda broker: users.change_password(broker, "bob", hash_of("new")),
        lambda broker: users.clear_password(broker, "bob"),
        lambda broker: users.set_user_tags(broker, "bob", []),
        lambda broker: users.set_permissions(broker, "/", "bob", "", "", ""),
        lambda broker: users.clear_permissions(broker, "/", "bob"),
        lambda broker: users.list_user_permissions(broker, "bob"),
        lambda broker: users.set_topic_permissions(broker, "/", "bob", "x", "", ""),
        lambda broker: users.clear_topic_permissions(broker, "/", "bob"),
        lambda broker: users.list_user_topic_permissions(broker, "bob"),
        lambda broker: users.set_user_limits(broker, "bob", {}),
        lambda broker: users.clear_user_limits(broker, "bob"),
        lambda broker: users.list_user_limits(broker, "bob"),
    ],
)
def test_a_user_who_does_not_exist(house: Plain, action: Callable[[Broker], object]) -> None:
    refused(lambda: action(house.broker), NO_SUCH_USER, NO_USER)


@pytest.mark.parametrize(
    "action",
    [
        lambda broker: users.set_permissions(broker, "nowhere", "guest", "", "", ""),
        lambda broker: users.clear_permissions(broker, "nowhere", "guest"),
        lambda broker: users.list_permissions(broker, "nowhere"),
        lambda broker: users.set_topic_permissions(broker, "nowhere", "guest", "x", "", ""),
        lambda broker: users.clear_topic_permissions(broker, "nowhere", "guest"),
        lambda broker: users.list_topic_permissions(broker, "nowhere"),
    ],
)
def test_a_vhost_that_does_not_exist(house: Plain, action: Callable[[Broker], object]) -> None:
    refused(lambda: action(house.broker), NOT_FOUND, "Virtual host 'nowhere' does not exist")


@pytest.mark.parametrize("pattern", ["*", "(", "a{2,1}", "a" + "{99999999999}"])
def test_what_is_no_pattern_is_refused_and_changes_nothing(house: Plain, pattern: str) -> None:
    broker = house.broker
    before = state(broker)
    with pytest.raises(ManagementError, match="bad permission pattern") as caught:
        users.set_permissions(broker, "/", "guest", "", pattern, "")
    assert caught.value.code == BAD_ARGUMENT
    with pytest.raises(ManagementError, match="bad permission pattern"):
        users.set_topic_permissions(broker, "/", "guest", "x", "", pattern)
    assert state(broker) == before


# Users of the configuration.


def test_the_configuration_has_the_last_word_on_whom_it_names() -> None:
    house = House()
    broker = core(house.node)
    assert users.change_password(broker, "alice", hash_of("new")) == 0
    users.set_user_tags(broker, "alice", ["t"])
    users.delete_user(broker, "stranger")
    assert may_log_in(house, "alice", "new")
    assert "configuration, which has the last word at the next start" in users.note(broker, "alice")
    assert any(users.note(broker, "alice") in line for line in house.log_lines)
    house.run()
    house.restart(clean=False)
    broker = core(house.node)
    assert may_log_in(house, "alice", "alice-pw")
    assert not may_log_in(house, "alice", "new")
    assert may_log_in(house, "stranger", "stranger-pw")


def test_others_are_no_matter_of_the_configuration() -> None:
    house = House()
    users.add_user(core(house.node), "ann", hash_of("ann-pw"))
    assert users.note(core(house.node), "ann") == ""
    house.run()
    house.restart(clean=False)
    assert may_log_in(house, "ann", "ann-pw")
