"""Virtual hosts and their limits, while the broker runs.

Names, values and texts are those of `rabbitmqctl`. A virtual host that the configuration names is
what it says at the next start, whatever is changed here; `note` says so.

Source: RabbitMQ's `rabbit_vhost`, `rabbit_vhost_limit` and `rabbitmq_cli`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from amqbroker.auth.users import NO_LIMIT
from amqbroker.core import definitions, log
from amqbroker.core.arguments import CLASSIC, QUORUM
from amqbroker.core.broker import Broker
from amqbroker.core.configured import is_configured_user, is_configured_vhost
from amqbroker.core.vhost import VirtualHost
from amqbroker.exchanges.base import Table
from amqbroker.management.errors import BAD_ARGUMENT, ManagementError
from amqbroker.management.limits import checked_limits, shown_limits
from amqbroker.management.lookup import check_name, check_tags, check_text, find_vhost

MAX_CONNECTIONS: Final = "max-connections"
MAX_QUEUES: Final = "max-queues"
LIMITS: Final = (MAX_CONNECTIONS, MAX_QUEUES)
QUEUE_TYPES: Final = (CLASSIC, QUORUM)
TEXT_BYTES_MAX: Final = 4096
# Records of rules that end with their virtual host.
RULES: Final = (
    definitions.POLICY_KIND,
    definitions.OPERATOR_POLICY_KIND,
    definitions.PARAMETER_KIND,
)


def note(broker: Broker, name: str) -> str:
    """What an administrator should know who changes this virtual host; empty if nothing."""
    if not is_configured_vhost(broker, name):
        return ""
    return (
        f"vhost '{name}' is named in the configuration, which has the last word at the next start: "
        "change it there too"
    )


def add_vhost(
    broker: Broker,
    name: str,
    description: str | None = None,
    tags: Sequence[str] | None = None,
    default_queue_type: str | None = None,
) -> int:
    """A new virtual host, which nobody may enter yet. One that exists gets what is given here, and
    keeps what is not."""
    check_name("a virtual host", name)
    check_tags(tags or ())
    if default_queue_type is not None and default_queue_type not in QUEUE_TYPES:
        what = (
            f"Unsupported default queue type '{default_queue_type}': {CLASSIC} and {QUORUM} are "
            "supported"
        )
        raise ManagementError(BAD_ARGUMENT, what)
    if description is not None:
        check_text("the description", description)
        if len(description.encode()) > TEXT_BYTES_MAX:
            raise ManagementError(BAD_ARGUMENT, f"a description has at most {TEXT_BYTES_MAX} bytes")
    vhost = broker.vhosts.get(name)
    is_new = vhost is None
    if vhost is None:
        vhost = VirtualHost(name, broker.journal, broker.events)
        broker.vhosts[name] = vhost
    if description is not None:
        vhost.description = description
    if tags is not None:
        vhost.tags = tuple(tags)
    if default_queue_type is not None:
        vhost.default_queue_type = default_queue_type
    if is_new:
        broker.events.emit("vhost.created", {"name": name})
    return _changed(broker, vhost, "was added" if is_new else "was changed")


def update_vhost(
    broker: Broker,
    name: str,
    description: str | None = None,
    tags: Sequence[str] | None = None,
    default_queue_type: str | None = None,
) -> int:
    """Another description, other tags, another default queue type of a virtual host that exists."""
    find_vhost(broker, name)
    return add_vhost(broker, name, description, tags, default_queue_type)


def set_vhost_tags(broker: Broker, name: str, tags: Sequence[str]) -> int:
    """These tags and no others."""
    return update_vhost(broker, name, tags=tags)


def delete_vhost(broker: Broker, name: str) -> int:
    """The end of a virtual host: of its connections, queues, exchanges and rules, and of what users
    may do in it."""
    vhost = find_vhost(broker, name)
    for client in list(broker.clients.values()):
        if client.vhost is vhost:
            client.force_close(f"vhost '{name}' is deleted")
    for queue in list(vhost.queues.values()):
        broker.delete_queue(vhost, queue)
    for exchange in list(vhost.exchanges.values()):
        vhost.remove_exchange(exchange)
    for user in broker.users.users.values():
        had = user.permissions.pop(name, None) is not None
        had = user.topic_permissions.pop(name, None) is not None or had
        if had and not is_configured_user(broker, user.name):
            value = definitions.user_value(user)
            broker.journal.define(definitions.user_key(user.name), value)
    for kind in RULES:
        for key in broker.journal.defined(kind + definitions.short(name)):
            broker.journal.undefine(key)
    del broker.vhosts[name]
    _report(broker, name, "was deleted")
    broker.events.emit("vhost.deleted", {"name": name})
    # The last word, so that a crash in between leaves a virtual host that can be deleted again.
    return int(broker.journal.undefine(definitions.vhost_key(name)))


def list_vhosts(broker: Broker) -> list[dict[str, object]]:
    """`name`, `description`, `tags`, `default_queue_type` and `tracing` of all, by name."""
    return [
        {
            "name": name,
            "description": vhost.description,
            "tags": list(vhost.tags),
            "default_queue_type": vhost.default_queue_type,
            "tracing": vhost.traced,
        }
        for name, vhost in sorted(broker.vhosts.items())
    ]


def set_vhost_limits(broker: Broker, name: str, limits: Mapping[str, object]) -> int:
    """These limits, `max-connections` and `max-queues`; below zero, or left out, is no limit."""
    vhost = find_vhost(broker, name)
    checked = checked_limits("vhost-limits", limits, LIMITS)
    vhost.max_connections = checked.get(MAX_CONNECTIONS, NO_LIMIT)
    vhost.max_queues = checked.get(MAX_QUEUES, NO_LIMIT)
    left: Table = dict(_limits_of(vhost))
    event = "vhost.limits.set" if left else "vhost.limits.cleared"
    broker.events.emit(event, {"name": name, **left})
    return _changed(broker, vhost, f"has the limits {_limits_of(vhost)}")


def clear_vhost_limits(broker: Broker, name: str) -> int:
    """No limits."""
    return set_vhost_limits(broker, name, {})


def list_vhost_limits(broker: Broker, name: str | None = None) -> list[dict[str, object]]:
    """`vhost` and `limits`, of one virtual host or of all that have any."""
    vhosts = sorted(broker.vhosts) if name is None else [find_vhost(broker, name).name]
    shown: list[dict[str, object]] = [
        {"vhost": each, "limits": _limits_of(broker.vhosts[each])} for each in vhosts
    ]
    return [row for row in shown if name is not None or row["limits"]]


def _limits_of(vhost: VirtualHost) -> dict[str, int]:
    return shown_limits({MAX_CONNECTIONS: vhost.max_connections, MAX_QUEUES: vhost.max_queues})


def _changed(broker: Broker, vhost: VirtualHost, what: str) -> int:
    """Record a virtual host as it is now; the position to wait for."""
    _report(broker, vhost.name, what)
    key = definitions.vhost_key(vhost.name)
    return int(broker.journal.define(key, definitions.vhost_value(vhost)))


def _report(broker: Broker, name: str, what: str) -> None:
    warning = note(broker, name)
    broker.log(log.INFO, f"vhost '{name}' {what}" + (f"; {warning}" if warning else ""), vhost=name)
