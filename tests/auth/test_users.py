"""Users: what they may do, where they may come from, and which passwords are remembered."""

from __future__ import annotations

import pytest

from amqbroker.auth.passwords import rabbit_hash
from amqbroker.auth.permissions import CONFIGURE, EXCHANGE, QUEUE, READ, WRITE, Permissions
from amqbroker.auth.users import User, UserStore, is_loopback
from amqbroker.errors import ACCESS_REFUSED, ChannelException

HASH = rabbit_hash(b"secret", b"salt")
OTHER_HASH = rabbit_hash(b"another", b"salt")


def make(password_hash: str | None = HASH) -> User:
    return User("u", password_hash, ("monitoring",), {"/": Permissions("^a", "amq.default", "")})


def test_permissions_go_by_virtual_host() -> None:
    user = make()
    assert user.may_enter("/")
    assert not user.may_enter("other")
    assert user.may(CONFIGURE, QUEUE, "abc", "/")
    assert not user.may(CONFIGURE, QUEUE, "abc", "other")
    assert not user.may(READ, QUEUE, "abc", "/")
    assert user.may(WRITE, EXCHANGE, "", "/")
    assert not user.may(WRITE, QUEUE, "", "/")


def test_a_refusal_is_403_with_the_name() -> None:
    make().check(CONFIGURE, QUEUE, "abc", "/")
    with pytest.raises(ChannelException) as caught:
        make().check(READ, QUEUE, "q", "/")
    assert caught.value.code == ACCESS_REFUSED
    assert caught.value.explanation == "read access to queue 'q' in vhost '/' refused for user 'u'"


def test_a_hash_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="no password hash"):
        make("c2VjcmV0")


def test_the_store_keeps_users_by_name() -> None:
    store = UserStore([make()], ["guest"])
    assert store.get("u") is not None
    assert store.get("v") is None
    assert store.password_hash("u") == HASH
    assert store.password_hash("v") is None
    store.put(User("v", None, (), {}))
    assert list(store.users) == ["u", "v"]
    assert store.password_hash("v") is None
    store.remove("u")
    store.remove("u")
    assert list(store.users) == ["v"]


def test_only_a_verified_password_is_recalled() -> None:
    store = UserStore([make()], [])
    assert not store.recall("u", b"secret")
    assert not store.recall("u", b"")
    store.remember("u", HASH, b"secret")
    assert store.recall("u", b"secret")
    assert not store.recall("u", b"other")
    assert not store.recall("v", b"secret")


def test_a_new_password_ends_the_memory_of_the_old() -> None:
    store = UserStore([make()], [])
    store.remember("u", HASH, b"secret")
    store.put(make(OTHER_HASH))
    assert not store.recall("u", b"secret")


def test_a_verification_that_ends_after_the_change_is_forgotten() -> None:
    store = UserStore([make()], [])
    store.put(make(OTHER_HASH))
    store.remember("u", HASH, b"secret")
    assert not store.recall("u", b"secret")
    store.remove("u")
    store.remember("u", HASH, b"secret")
    assert not store.recall("u", b"secret")


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("", True),
        ("10.0.0.1", False),
        ("::ffff:10.0.0.1", False),
        ("fe80::1%eth0", False),
        ("localhost.example", False),
    ],
)
def test_loopback_addresses(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback
    store = UserStore([], ["guest"])
    assert store.may_come_from("guest", host) is loopback
    assert store.may_come_from("other", host)
