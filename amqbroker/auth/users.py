"""The users of the broker: names, password hashes, tags and permissions.

A login has two steps, as checking a password is slow: `recall` answers at once if this user logged
in with this password before; else `passwords.verify(stored, password)` with `stored =
store.password_hash(name)` runs in a thread and, if it is True, `remember(name, stored, password)`
keeps a fast digest of the password in memory. So a thousand clients that come back after a network
failure cost a thousand hashes of microseconds. The digest is gone with the password it belongs to.

Source: RabbitMQ's `rabbit_access_control` and `rabbit_auth_backend_internal`.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable
from ipaddress import ip_address
from typing import Final, final

from amqbroker.auth.permissions import (
    Permissions,
    TopicPermission,
    checked_name,
    refused,
    topic_refused,
)
from amqbroker.config.hashes import check_hash

ADMINISTRATOR: Final = "administrator"
# May publish with another user's name in `user_id`.
IMPERSONATOR: Final = "impersonator"
NO_LIMIT: Final = -1


@final
class User:
    """One user. `password_hash` is one of the two kinds in `passwords`, None forbids every login
    with a password.

    `permissions` goes by virtual host; no entry means no access. `topic_permissions` goes by
    virtual host and exchange; no entry means no restriction. Open connections hold on to their
    user, so a change acts on them at once; `connections` and `channels` count them.
    """

    __slots__ = (
        "_digest",
        "channels",
        "connections",
        "max_channels",
        "max_connections",
        "name",
        "password_hash",
        "permissions",
        "tags",
        "topic_permissions",
    )

    def __init__(
        self,
        name: str,
        password_hash: str | None,
        tags: tuple[str, ...],
        permissions: dict[str, Permissions],
    ) -> None:
        if password_hash is not None:
            check_hash(password_hash)
        self.name = name
        self.password_hash = password_hash
        self.tags = tags
        self.permissions = permissions
        self.topic_permissions: dict[str, dict[str, TopicPermission]] = {}
        self.max_connections = NO_LIMIT
        self.max_channels = NO_LIMIT
        self.connections = 0
        self.channels = 0
        self._digest = b""

    def set_password_hash(self, stored: str | None) -> None:
        """Another password, or none. ValueError if this is no hash."""
        if stored is not None:
            check_hash(stored)
        self.password_hash = stored
        self._digest = b""

    def may_enter(self, vhost: str) -> bool:
        """Whether the user may open the virtual host."""
        return vhost in self.permissions

    def may(self, permission: str, kind: str, name: str, vhost: str) -> bool:
        """Whether the user may CONFIGURE, WRITE or READ a queue or an exchange."""
        permissions = self.permissions.get(vhost)
        return permissions is not None and permissions.allow(permission, checked_name(kind, name))

    def check(self, permission: str, kind: str, name: str, vhost: str) -> None:
        """403 unless the user `may`."""
        if not self.may(permission, kind, name, vhost):
            raise refused(permission, kind, name, vhost, self.name)

    def check_topic(self, permission: str, exchange: str, key: str, vhost: str) -> None:
        """403 unless the user may WRITE with this routing key, or READ with this binding key."""
        exchanges = self.topic_permissions.get(vhost)
        if exchanges is None:
            return
        allowed = exchanges.get(exchange)
        if allowed is not None and not allowed.allow(permission, key):
            raise topic_refused(permission, key, exchange, vhost, self.name)

    def recall(self, password: bytes) -> bool:
        """Whether this is the password that `remember` was called with."""
        return self._digest != b"" and hmac.compare_digest(self._digest, self._digest_of(password))

    def remember(self, password: bytes) -> None:
        """The password was verified."""
        self._digest = self._digest_of(password)

    def _digest_of(self, password: bytes) -> bytes:
        salt = (self.password_hash or "").encode()
        return hmac.digest(salt, password, hashlib.sha256)


@final
class UserStore:
    """All users by name, in the order in which they came."""

    def __init__(self, users: Iterable[User], loopback_users: Iterable[str]) -> None:
        self.users: dict[str, User] = {user.name: user for user in users}
        self.loopback_users: dict[str, bool] = dict.fromkeys(loopback_users, True)

    def get(self, name: str) -> User | None:
        """The user, if there is one."""
        return self.users.get(name)

    def put(self, user: User) -> None:
        """Add a user, or replace the one of this name."""
        self.users[user.name] = user

    def remove(self, name: str) -> None:
        """Forget a user; an unknown one is no mistake."""
        self.users.pop(name, None)

    def password_hash(self, name: str) -> str | None:
        """What to verify a password against; None for an unknown user takes as long as any."""
        user = self.users.get(name)
        return None if user is None else user.password_hash

    def recall(self, name: str, password: bytes) -> bool:
        """Whether the user logged in with this password before."""
        user = self.users.get(name)
        return user is not None and user.recall(password)

    def remember(self, name: str, verified_hash: str, password: bytes) -> None:
        """The password was verified; the user may have got another one since."""
        user = self.users.get(name)
        if user is not None and user.password_hash == verified_hash:
            user.remember(password)

    def may_come_from(self, name: str, host: str) -> bool:
        """Whether the user may log in from this address: some only from the broker's own host."""
        return name not in self.loopback_users or is_loopback(host)


def is_loopback(host: str) -> bool:
    """Whether a peer's address is this host; a Unix socket's peer has none."""
    if not host:
        return True
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return bool((mapped or address).is_loopback)
