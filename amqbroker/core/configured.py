"""What the configuration says of virtual hosts and users, at every start.

Virtual hosts live in the data folder. Those that the configuration names are brought to what it
says; one that it no longer names stays, for its queues are data.

Users that the configuration names live in it and nowhere else: they are what it says at every
start, and go when it no longer names them. All others live in the data folder. A user of the data
folder whom the configuration has come to name is the configuration's from then on.

Where the configuration names no virtual host, or no user, the first start of a data folder makes
`/` and `guest`; what is deleted afterwards stays deleted.

Source: RabbitMQ's `rabbit_mnesia:insert_default_data` and its definitions that are imported at
boot.
"""

from __future__ import annotations

from typing import Final

from amqbroker.auth.passwords import rabbit_hash, verify
from amqbroker.auth.permissions import EVERYTHING, Permissions, TopicPermission
from amqbroker.auth.users import ADMINISTRATOR, NO_LIMIT, User
from amqbroker.config import DEFAULT_VHOST, Config, Vhost
from amqbroker.config import User as ConfiguredUser
from amqbroker.core import definitions, log
from amqbroker.core.broker import Broker
from amqbroker.core.vhost import VirtualHost

GUEST: Final = "guest"
SALT_SIZE: Final = 4


def apply_config(broker: Broker) -> None:
    """Bring a broker that was restored, or is new, to what the configuration says."""
    config = broker.config
    for named in config.vhosts:
        _apply_vhost(broker, named)
    for user in config.users:
        _apply_user(broker, user)
    if not broker.defaults_made:
        if not config.vhosts:
            _apply_vhost(broker, Vhost(DEFAULT_VHOST))
        if not config.users:
            _make_guest(broker)
        broker.journal.define(definitions.node_key(definitions.DEFAULTS_MADE), EMPTY)
        broker.defaults_made = True
    if not broker.users.users:
        broker.log(log.WARNING, "there is no user: nobody can log in until one is added")


def apply_changes(broker: Broker, before: Config) -> int:
    """While a broker runs, bring it from one configuration to the one that it has now; the journal
    position to wait for.

    Only what the two say differently is touched: an administrator's changes to other users stay
    until the next start. A user that is no longer named goes, with the user's connections.
    """
    position = 0
    vhosts = {vhost.name: vhost for vhost in before.vhosts}
    for vhost in broker.config.vhosts:
        if vhosts.get(vhost.name) != vhost:
            position = max(position, _apply_vhost(broker, vhost))
    users = {user.name: user for user in before.users}
    for user in broker.config.users:
        if users.pop(user.name, None) != user:
            is_new = user.name not in [each.name for each in before.users]
            position = max(position, _change_user(broker, user, is_new))
    for name in users:
        _forget_user(broker, name)
    for known in broker.vhosts.values():
        known.permissions_changed()
    return position


EMPTY: Final = definitions.encode({})


def is_configured_user(broker: Broker, name: str) -> bool:
    """Whether the configuration names this user, and so has the last word on it."""
    return name in [user.name for user in broker.config.users]


def is_configured_vhost(broker: Broker, name: str) -> bool:
    """Whether the configuration names this virtual host, and so has the last word on it."""
    return name in [vhost.name for vhost in broker.config.vhosts]


def guest_is_known(broker: Broker) -> bool:
    """Whether `guest` has the password that everybody knows. May be slow, once."""
    guest = broker.users.get(GUEST)
    return guest is not None and verify(guest.password_hash, GUEST.encode())


def _apply_vhost(broker: Broker, named: Vhost) -> int:
    vhost = broker.vhosts.get(named.name)
    before = b"" if vhost is None else definitions.vhost_value(vhost)
    if vhost is None:
        vhost = VirtualHost(named.name, broker.journal, broker.events)
        broker.vhosts[named.name] = vhost
    vhost.description = named.description
    vhost.tags = tuple(named.tags)
    vhost.default_queue_type = named.default_queue_type
    vhost.max_connections = named.max_connections or NO_LIMIT
    vhost.max_queues = named.max_queues or NO_LIMIT
    after = definitions.vhost_value(vhost)
    if after == before:
        return 0
    return int(broker.journal.define(definitions.vhost_key(named.name), after))


def _apply_user(broker: Broker, named: ConfiguredUser) -> None:
    if broker.users.get(named.name) is not None:
        _take_from_folder(broker, named.name)
    broker.users.put(_made_user(broker, named))


def _take_from_folder(broker: Broker, name: str) -> int:
    broker.log(
        log.WARNING,
        f"user '{name}' of the data folder is replaced by the user '{name}' of the configuration",
    )
    return int(broker.journal.undefine(definitions.user_key(name)))


def _made_user(broker: Broker, named: ConfiguredUser) -> User:
    name = named.name
    stored = named.password_hash
    if named.password is not None:
        # It stands in the configuration to be read: there is nothing to hide by a slow hash.
        stored = rabbit_hash(named.password.encode(), broker.random.randbytes(SALT_SIZE))
    permissions: dict[str, Permissions] = {}
    for vhost, allowed in named.permissions.items():
        permissions[vhost] = Permissions(allowed.configure, allowed.write, allowed.read)
    user = User(name, stored, tuple(named.tags), permissions)
    for vhost, exchanges in named.topic_permissions.items():
        topics: dict[str, TopicPermission] = {}
        for exchange, topic in exchanges.items():
            topics[exchange] = TopicPermission(topic.write, topic.read, name, vhost)
        user.topic_permissions[vhost] = topics
    user.max_connections = named.max_connections or NO_LIMIT
    user.max_channels = named.max_channels or NO_LIMIT
    return user


def _change_user(broker: Broker, named: ConfiguredUser, is_new: bool) -> int:
    """Connections hold on to the user whom they logged in as: that one changes."""
    user = broker.users.get(named.name)
    if user is None:
        broker.users.put(_made_user(broker, named))
        return 0
    position = _take_from_folder(broker, named.name) if is_new else 0
    made = _made_user(broker, named)
    user.set_password_hash(made.password_hash)
    user.tags = made.tags
    user.permissions = made.permissions
    user.topic_permissions = made.topic_permissions
    user.max_connections = made.max_connections
    user.max_channels = made.max_channels
    return position


def _forget_user(broker: Broker, name: str) -> None:
    user = broker.users.get(name)
    broker.users.remove(name)
    for client in list(broker.clients.values()):
        if client.user is user:
            client.force_close(f"user '{name}' is no longer in the configuration")


def _make_guest(broker: Broker) -> None:
    """Its password is known to everybody; so it may come from this host only, by default."""
    stored = rabbit_hash(GUEST.encode(), broker.random.randbytes(SALT_SIZE))
    everything = Permissions(EVERYTHING, EVERYTHING, EVERYTHING)
    guest = User(GUEST, stored, (ADMINISTRATOR,), {DEFAULT_VHOST: everything})
    broker.users.put(guest)
    broker.journal.define(definitions.user_key(GUEST), definitions.user_value(guest))
