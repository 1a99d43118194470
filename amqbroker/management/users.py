"""Users, their permissions and their limits, while the broker runs.

Names, values and texts are those of `rabbitmqctl`. Every change acts on open connections at once
and is a record in the data folder. A user that the configuration names is an exception: a change
holds until the next start, when the configuration has the last word; `note` says so.

Passwords come as hashes, for making one is slow: `auth.passwords.hash_password` in a thread. So
does a check: `auth.passwords.verify(password_hash(broker, name), password)`.

Source: RabbitMQ's `rabbit_auth_backend_internal` and `rabbitmq_cli`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from amqbroker.auth.permissions import Permissions, TopicPermission
from amqbroker.auth.users import NO_LIMIT, User
from amqbroker.core import definitions, log
from amqbroker.core.broker import Broker
from amqbroker.core.configured import is_configured_user
from amqbroker.exchanges.base import Table
from amqbroker.management.errors import BAD_ARGUMENT, NO_SUCH_USER, REFUSED, ManagementError
from amqbroker.management.limits import ALL, checked_limits, shown_limits
from amqbroker.management.lookup import check_name, check_tags, find_vhost

MAX_CONNECTIONS: Final = "max-connections"
MAX_CHANNELS: Final = "max-channels"
LIMITS: Final = (MAX_CONNECTIONS, MAX_CHANNELS)


def note(broker: Broker, name: str) -> str:
    """What an administrator should know who changes this user; empty if there is nothing."""
    if not is_configured_user(broker, name):
        return ""
    return (
        f"user '{name}' is named in the configuration, which has the last word at the next start: "
        "change it there too"
    )


def find_user(broker: Broker, name: str) -> User:
    """The user of this name. Raises ManagementError."""
    user = broker.users.get(name)
    if user is None:
        raise ManagementError(NO_SUCH_USER, f'User "{name}" does not exist')
    return user


def add_user(broker: Broker, name: str, password_hash: str | None, tags: Sequence[str] = ()) -> int:
    """A new user, who may enter no virtual host yet. Without a hash only a certificate lets the
    user in."""
    check_name("a user", name)
    check_tags(tags)
    if broker.users.get(name) is not None:
        raise ManagementError(REFUSED, f'User "{name}" already exists')
    try:
        user = User(name, password_hash, tuple(tags), {})
    except ValueError as error:
        raise ManagementError(BAD_ARGUMENT, str(error)) from None
    broker.users.put(user)
    broker.events.emit("user.created", {"name": name, "tags": list(tags)})
    return _changed(broker, user, "was added")


def delete_user(broker: Broker, name: str) -> int:
    """The end of a user, and of the user's connections."""
    user = find_user(broker, name)
    broker.users.remove(name)
    for client in list(broker.clients.values()):
        if client.user is user:
            client.force_close(f"user '{name}' is deleted")
    _report(broker, name, "was deleted")
    broker.events.emit("user.deleted", {"name": name})
    if is_configured_user(broker, name):
        return 0
    return int(broker.journal.undefine(definitions.user_key(name)))


def change_password(broker: Broker, name: str, password_hash: str) -> int:
    """Another password. Open connections stay."""
    user = find_user(broker, name)
    try:
        user.set_password_hash(password_hash)
    except ValueError as error:
        raise ManagementError(BAD_ARGUMENT, str(error)) from None
    broker.events.emit("user.password.changed", {"name": name})
    return _changed(broker, user, "has another password")


def clear_password(broker: Broker, name: str) -> int:
    """No password: the user cannot log in with one any more."""
    user = find_user(broker, name)
    user.set_password_hash(None)
    broker.events.emit("user.password.cleared", {"name": name})
    return _changed(broker, user, "has no password any more")


def password_hash(broker: Broker, name: str) -> str | None:
    """What to verify a password against. A user who does not exist takes as long as any."""
    return broker.users.password_hash(name)


def set_user_tags(broker: Broker, name: str, tags: Sequence[str]) -> int:
    """These tags and no others."""
    user = find_user(broker, name)
    check_tags(tags)
    user.tags = tuple(tags)
    broker.events.emit("user.tags.set", {"name": name, "tags": list(tags)})
    return _changed(broker, user, f"has the tags {list(tags)}")


def list_users(broker: Broker) -> list[dict[str, object]]:
    """`user` and `tags` of everybody, by name."""
    return [{"user": user.name, "tags": list(user.tags)} for user in _by_name(broker)]


# Permissions on names.


def set_permissions(
    broker: Broker, vhost: str, name: str, configure: str, write: str, read: str
) -> int:
    """What a user may do in a virtual host: three regular expressions on names."""
    user = find_user(broker, name)
    place = find_vhost(broker, vhost)
    try:
        user.permissions[vhost] = Permissions(configure, write, read)
    except ValueError as error:
        raise ManagementError(BAD_ARGUMENT, str(error)) from None
    place.permissions_changed()
    facts: Table = {
        "user": name,
        "vhost": vhost,
        "configure": configure,
        "write": write,
        "read": read,
    }
    broker.events.emit("permission.created", facts)
    return _changed(
        broker, user, f"has permissions in vhost '{vhost}': '{configure}' '{write}' '{read}'"
    )


def clear_permissions(broker: Broker, vhost: str, name: str) -> int:
    """The user may not enter the virtual host any more. Connections that are in it stay, and may do
    nothing."""
    user = find_user(broker, name)
    find_vhost(broker, vhost).permissions_changed()
    user.permissions.pop(vhost, None)
    broker.events.emit("permission.deleted", {"user": name, "vhost": vhost})
    return _changed(broker, user, f"has no permissions in vhost '{vhost}' any more")


def list_permissions(broker: Broker, vhost: str) -> list[dict[str, object]]:
    """`user`, `configure`, `write` and `read` of everybody who may enter a virtual host."""
    find_vhost(broker, vhost)
    return [
        {"user": user.name, **_shown(user.permissions[vhost])}
        for user in _by_name(broker)
        if vhost in user.permissions
    ]


def list_user_permissions(broker: Broker, name: str) -> list[dict[str, object]]:
    """`vhost`, `configure`, `write` and `read` of all that a user may enter."""
    permissions = find_user(broker, name).permissions
    return [{"vhost": vhost, **_shown(permissions[vhost])} for vhost in sorted(permissions)]


def _shown(permissions: Permissions) -> dict[str, object]:
    return {
        "configure": permissions.configure.text,
        "write": permissions.write.text,
        "read": permissions.read.text,
    }


# Permissions on topics.


def set_topic_permissions(
    broker: Broker, vhost: str, name: str, exchange: str, write: str, read: str
) -> int:
    """What a user may do with a topic exchange, which need not exist: two regular expressions on
    keys."""
    user = find_user(broker, name)
    place = find_vhost(broker, vhost)
    if exchange:
        check_name("an exchange", exchange)
    try:
        allowed = TopicPermission(write, read, name, vhost)
    except ValueError as error:
        raise ManagementError(BAD_ARGUMENT, str(error)) from None
    user.topic_permissions.setdefault(vhost, {})[exchange] = allowed
    place.permissions_changed()
    facts: Table = {
        "user": name,
        "vhost": vhost,
        "exchange": exchange,
        "write": write,
        "read": read,
    }
    broker.events.emit("topic.permission.created", facts)
    return _changed(
        broker,
        user,
        f"has topic permissions on exchange '{exchange}' in vhost '{vhost}': '{write}' '{read}'",
    )


def clear_topic_permissions(
    broker: Broker, vhost: str, name: str, exchange: str | None = None
) -> int:
    """No restriction on the keys of an exchange any more, or of all exchanges of a virtual host."""
    user = find_user(broker, name)
    find_vhost(broker, vhost).permissions_changed()
    exchanges = user.topic_permissions.get(vhost, {})
    if exchange is not None:
        exchanges.pop(exchange, None)
    if exchange is None or not exchanges:
        user.topic_permissions.pop(vhost, None)
    facts: Table = {"user": name, "vhost": vhost, "exchange": exchange}
    broker.events.emit("topic.permission.deleted", facts)
    where = "any exchange" if exchange is None else f"exchange '{exchange}'"
    return _changed(
        broker, user, f"has no topic permissions on {where} in vhost '{vhost}' any more"
    )


def list_topic_permissions(broker: Broker, vhost: str) -> list[dict[str, object]]:
    """`user`, `exchange`, `write` and `read`, all of a virtual host."""
    find_vhost(broker, vhost)
    return [
        {"user": user.name, "exchange": exchange, **_shown_topic(allowed)}
        for user in _by_name(broker)
        for exchange, allowed in sorted(user.topic_permissions.get(vhost, {}).items())
    ]


def list_user_topic_permissions(broker: Broker, name: str) -> list[dict[str, object]]:
    """`vhost`, `exchange`, `write` and `read`, all of a user."""
    permissions = find_user(broker, name).topic_permissions
    return [
        {"vhost": vhost, "exchange": exchange, **_shown_topic(allowed)}
        for vhost in sorted(permissions)
        for exchange, allowed in sorted(permissions[vhost].items())
    ]


def _shown_topic(allowed: TopicPermission) -> dict[str, object]:
    return {"write": allowed.write.text, "read": allowed.read.text}


# Limits.


def set_user_limits(broker: Broker, name: str, limits: Mapping[str, object]) -> int:
    """Any of `max-connections` and `max-channels`; below zero is no limit, others stay."""
    user = find_user(broker, name)
    checked = checked_limits("user-limits", limits, LIMITS)
    user.max_connections = checked.get(MAX_CONNECTIONS, user.max_connections)
    user.max_channels = checked.get(MAX_CHANNELS, user.max_channels)
    left: Table = dict(limits_of(user))
    broker.events.emit("user.limits.set" if left else "user.limits.cleared", {"name": name, **left})
    return _changed(broker, user, f"has the limits {limits_of(user)}")


def clear_user_limits(broker: Broker, name: str, limit: str = ALL) -> int:
    """One limit, or `all`."""
    user = find_user(broker, name)
    cleared = LIMITS if limit == ALL else (limit,)
    return set_user_limits(broker, user.name, dict.fromkeys(cleared, NO_LIMIT))


def list_user_limits(broker: Broker, name: str | None = None) -> list[dict[str, object]]:
    """`user` and `limits`, of one user or of all who have any."""
    users = _by_name(broker) if name is None else [find_user(broker, name)]
    shown: list[dict[str, object]] = [
        {"user": user.name, "limits": limits_of(user)} for user in users
    ]
    return [row for row in shown if name is not None or row["limits"]]


def limits_of(user: User) -> dict[str, int]:
    """The limits of a user, by rabbitmqctl's names."""
    return shown_limits({MAX_CONNECTIONS: user.max_connections, MAX_CHANNELS: user.max_channels})


# What all of them share.


def _by_name(broker: Broker) -> list[User]:
    return [user for _, user in sorted(broker.users.users.items())]


def _changed(broker: Broker, user: User, what: str) -> int:
    """Record a user as it is now; the position to wait for."""
    _report(broker, user.name, what)
    if is_configured_user(broker, user.name):
        return 0
    return int(broker.journal.define(definitions.user_key(user.name), definitions.user_value(user)))


def _report(broker: Broker, name: str, what: str) -> None:
    warning = note(broker, name)
    broker.log(log.INFO, f"user '{name}' {what}" + (f"; {warning}" if warning else ""), user=name)
