"""Permissions by name, and exclusive owners."""

from __future__ import annotations

import pytest

from amqbroker.auth.permissions import Permissions
from amqbroker.auth.users import User
from amqbroker.core import access
from amqbroker.core.client import Client
from amqbroker.errors import ACCESS_REFUSED, RESOURCE_LOCKED, ChannelException
from tests.core.house import make_broker, make_queue

LOCKED = (
    "cannot obtain exclusive access to locked queue 'q' in vhost '/'. It could be originally "
    "declared on another connection or the exclusive property value does not match that of the "
    "original declaration."
)


def _client(configure: str, write: str, read: str) -> Client:
    client = Client(make_broker(), 1, "a -> b", "127.0.0.1", 0.0)
    client.user = User("u", None, (), {"/": Permissions(configure, write, read)})
    client.vhost_name = "/"
    return client


def test_each_permission_is_its_own() -> None:
    client = _client("^c", "^w", "^r")
    access.check(client, access.CONFIGURE, access.QUEUE, "c1")
    access.check(client, access.READ, access.EXCHANGE, "r1")
    with pytest.raises(ChannelException) as caught:
        access.check(client, access.WRITE, access.QUEUE, "c1")
    assert caught.value.code == ACCESS_REFUSED
    assert caught.value.explanation == (
        "write access to queue 'c1' in vhost '/' refused for user 'u'"
    )


@pytest.mark.parametrize("name", ["c1", "w1", "r1"])
def test_any_permission_allows_a_look(name: str) -> None:
    access.check_any(_client("^c", "^w", "^r"), access.QUEUE, name)


def test_no_permission_allows_none() -> None:
    with pytest.raises(ChannelException, match="read access to queue 'x'"):
        access.check_any(_client("^c", "^w", "^r"), access.QUEUE, "x")


def test_an_exclusive_queue_is_its_owners_only() -> None:
    owner, other = _client("", "", ""), _client("", "", "")
    queue = make_queue()
    access.check_owner(other, queue, "/")
    queue.owner = owner
    access.check_owner(owner, queue, "/")
    with pytest.raises(ChannelException) as caught:
        access.check_owner(other, queue, "/")
    assert (caught.value.code, caught.value.explanation) == (RESOURCE_LOCKED, LOCKED)
