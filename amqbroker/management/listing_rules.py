"""Lists of who may do what, and of the rules that administrators made: as listing.py, in columns
with rabbitmqctl's names."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from amqbroker.core.broker import Broker
from amqbroker.core.vhost import VirtualHost
from amqbroker.management import parameters, policies, users, vhosts
from amqbroker.management.listing import Kind
from amqbroker.management.values import to_json

Item = dict[str, object]


def _kind(
    name: str,
    columns: tuple[str, ...],
    items: Callable[[Broker, list[VirtualHost]], Iterator[Item]],
    defaults: tuple[str, ...] = (),
) -> Kind[Item]:
    return Kind(name, defaults or columns, {column: _getter(column) for column in columns}, items)


def _getter(column: str) -> Callable[[Item], object]:
    return lambda item: to_json(item[column])


def _of_vhosts(list_them: Callable[[Broker, str], list[Item]]) -> Callable[..., Iterator[Item]]:
    """All of these virtual hosts, with their names."""

    def items(broker: Broker, found: list[VirtualHost]) -> Iterator[Item]:
        for vhost in found:
            for item in list_them(broker, vhost.name):
                yield {**item, "vhost": vhost.name}

    return items


def _of_node(list_them: Callable[[Broker], list[Item]]) -> Callable[..., Iterator[Item]]:
    return lambda broker, _vhosts: iter(list_them(broker))


def _vhost_limits(broker: Broker, found: list[VirtualHost]) -> Iterator[Item]:
    names = [vhost.name for vhost in found]
    return (item for item in vhosts.list_vhost_limits(broker) if item["vhost"] in names)


PERMISSIONS: Final = ("configure", "write", "read")
POLICY: Final = ("vhost", "name", "pattern", "apply-to", "definition", "priority")

RULE_KINDS: Final = (
    _kind("users", ("user", "tags"), _of_node(users.list_users)),
    _kind(
        "vhosts",
        ("name", "description", "tags", "default_queue_type", "tracing"),
        _of_node(vhosts.list_vhosts),
        ("name",),
    ),
    _kind(
        "permissions",
        ("user", *PERMISSIONS, "vhost"),
        _of_vhosts(users.list_permissions),
        ("user", *PERMISSIONS),
    ),
    _kind(
        "topic_permissions",
        ("user", "exchange", "write", "read", "vhost"),
        _of_vhosts(users.list_topic_permissions),
        ("user", "exchange", "write", "read"),
    ),
    _kind("vhost_limits", ("vhost", "limits"), _vhost_limits),
    _kind("policies", POLICY, _of_vhosts(policies.list_policies)),
    _kind("operator_policies", POLICY, _of_vhosts(policies.list_operator_policies)),
    _kind(
        "parameters",
        ("component", "name", "value", "vhost"),
        _of_vhosts(parameters.list_parameters),
        ("component", "name", "value"),
    ),
    _kind("global_parameters", ("name", "value"), _of_node(parameters.list_global_parameters)),
)
