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

from amqbroker.auth.passwords import rabbit_hash
from amqbroker.auth.permissions import EVERYTHING, Permissions, TopicPermission
from amqbroker.auth.users import ADMINISTRATOR, NO_LIMIT, User
from amqbroker.config import DEFAULT_VHOST, Vhost
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


EMPTY: Final = definitions.encode({})


def is_configured_user(broker: Broker, name: str) -> bool:
    """Whether the configuration names this user, and so has the last word on it."""
    return name in [user.name for user in broker.config.users]


def is_configured_vhost(broker: Broker, name: str) -> bool:
    """Whether the configuration names this virtual host, and so has the last word on it."""
    return name in [vhost.name for vhost in broker.config.vhosts]


def _apply_vhost(broker: Broker, named: Vhost) -> None:
    vhost = broker.vhosts.get(named.name)
    before = b"" if vhost is None else definitions.vhost_value(vhost)
    if vhost is None:
        vhost = VirtualHost(named.name, broker.journal)
        broker.vhosts[named.name] = vhost
    vhost.description = named.description
    vhost.tags = tuple(named.tags)
    vhost.default_queue_type = named.default_queue_type
    vhost.max_connections = named.max_connections or NO_LIMIT
    vhost.max_queues = named.max_queues or NO_LIMIT
    after = definitions.vhost_value(vhost)
    if after != before:
        broker.journal.define(definitions.vhost_key(named.name), after)


def _apply_user(broker: Broker, named: ConfiguredUser) -> None:
    name = named.name
    if broker.users.get(name) is not None:
        broker.journal.undefine(definitions.user_key(name))
        broker.log(
            log.WARNING,
            f"user '{name}' of the data folder is replaced by the user '{name}' of the "
            "configuration",
        )
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
    broker.users.put(user)


def _make_guest(broker: Broker) -> None:
    """Its password is known to everybody; so it may come from this host only, by default."""
    stored = rabbit_hash(GUEST.encode(), broker.random.randbytes(SALT_SIZE))
    everything = Permissions(EVERYTHING, EVERYTHING, EVERYTHING)
    guest = User(GUEST, stored, (ADMINISTRATOR,), {DEFAULT_VHOST: everything})
    broker.users.put(guest)
    broker.journal.define(definitions.user_key(GUEST), definitions.user_value(guest))
