"""What a broker has, as RabbitMQ's definition files have it.

Everything durable, as far as such a file can say it: users with the hashes of their passwords,
virtual hosts, permissions, limits, parameters, policies, exchanges, queues and bindings. Messages
are not in it. What every virtual host has from the start is left out, and so are queues of one
connection.

Hashes of passwords that RabbitMQ does not know stand in a field of their own, and it takes such a
user for one without a password.

Source: RabbitMQ's `rabbit_definitions:all_definitions`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from amqbroker.auth.passwords import ARGON2ID, hashing_algorithm
from amqbroker.auth.users import User
from amqbroker.core.broker import Broker
from amqbroker.core.vhost import VirtualHost
from amqbroker.exchanges.registry import EVENT_EXCHANGE, PREDECLARED
from amqbroker.management import parameters, policies, users, vhosts
from amqbroker.management.listing import destination_kind
from amqbroker.management.values import table_to_json

# The lists of a file, in the order in which they are imported.
SECTIONS: Final = (
    "vhosts",
    "users",
    "permissions",
    "topic_permissions",
    "parameters",
    "global_parameters",
    "policies",
    "exchanges",
    "queues",
    "bindings",
)

# What one entry of a section is called, where that is not the section's name without its s.
SINGULAR: Final = {"policies": "policy"}

OPERATOR_POLICY: Final = "operator_policy"
VHOST_LIMITS: Final = "vhost-limits"
LIMITS_NAME: Final = "limits"

# Of a hash that RabbitMQ does not know, and what stands in its place.
OWN_HASH: Final = "amqbroker_password_hash"
DEFAULT_ALGORITHM: Final = "rabbit_password_hashing_sha256"

PREDECLARED_NAMES: Final = (*(name for name, _ in PREDECLARED), EVENT_EXCHANGE)

Item = dict[str, object]


def counted(counts: Mapping[str, int]) -> str:
    """`2 users, 1 policy`: how many entries of each section, for people."""
    return ", ".join(
        f"{count} {SINGULAR.get(name, name.removesuffix('s')) if count == 1 else name}"
        for name, count in counts.items()
        if count
    )


def head(broker: Broker, version: str) -> Item:
    """The fields of a file that are not lists. RabbitMQ reads its own version there, by which it
    knows how old a file is."""
    like = broker.config.server_properties.version
    return {
        "rabbit_version": like,
        "rabbitmq_version": like,
        "product_name": "amqbroker",
        "product_version": version,
    }


def items(broker: Broker) -> Iterator[tuple[str, Item]]:
    """Every entry of a file, with its section."""
    for row in vhosts.list_vhosts(broker):
        yield "vhosts", _vhost(row)
    for _, user in sorted(broker.users.users.items()):
        yield "users", _user(user)
        yield from _permissions(user)
    for name, vhost in sorted(broker.vhosts.items()):
        yield from _rules(broker, name)
        yield from _topology(vhost)
    for row in parameters.list_global_parameters(broker):
        yield "global_parameters", row


def _vhost(row: Item) -> Item:
    metadata = {key: row[key] for key in ("description", "tags", "default_queue_type")}
    return {"name": row["name"], **metadata, "metadata": metadata}


def _user(user: User) -> Item:
    stored = user.password_hash or ""
    item: Item = {"name": user.name, "password_hash": stored}
    item["hashing_algorithm"] = hashing_algorithm(stored) if stored else DEFAULT_ALGORITHM
    if item["hashing_algorithm"] == ARGON2ID:
        item["password_hash"] = ""
        item["hashing_algorithm"] = DEFAULT_ALGORITHM
        item[OWN_HASH] = stored
    item["tags"] = list(user.tags)
    item["limits"] = users.limits_of(user)
    return item


def _permissions(user: User) -> Iterator[tuple[str, Item]]:
    for vhost, allowed in sorted(user.permissions.items()):
        yield (
            "permissions",
            {
                "user": user.name,
                "vhost": vhost,
                "configure": allowed.configure.text,
                "write": allowed.write.text,
                "read": allowed.read.text,
            },
        )
    for vhost, exchanges in sorted(user.topic_permissions.items()):
        for exchange, topic in sorted(exchanges.items()):
            yield (
                "topic_permissions",
                {
                    "user": user.name,
                    "vhost": vhost,
                    "exchange": exchange,
                    "write": topic.write.text,
                    "read": topic.read.text,
                },
            )


def _rules(broker: Broker, vhost: str) -> Iterator[tuple[str, Item]]:
    for row in vhosts.list_vhost_limits(broker, vhost):
        if row["limits"]:
            yield "parameters", _parameter(vhost, VHOST_LIMITS, LIMITS_NAME, row["limits"])
    for row in policies.list_operator_policies(broker, vhost):
        keys = ("pattern", "definition", "priority", "apply-to")
        value = {key: row[key] for key in keys}
        yield "parameters", _parameter(vhost, OPERATOR_POLICY, str(row["name"]), value)
    for row in parameters.list_parameters(broker, vhost):
        yield "parameters", row
    for row in policies.list_policies(broker, vhost):
        yield "policies", row


def _parameter(vhost: str, component: str, name: str, value: object) -> Item:
    return {"vhost": vhost, "component": component, "name": name, "value": value}


def _topology(vhost: VirtualHost) -> Iterator[tuple[str, Item]]:
    for exchange in list(vhost.exchanges.values()):
        if exchange.durable and exchange.name not in PREDECLARED_NAMES:
            yield (
                "exchanges",
                {
                    "name": exchange.name,
                    "vhost": vhost.name,
                    "type": exchange.type_name,
                    "durable": True,
                    "auto_delete": exchange.auto_delete,
                    "internal": exchange.internal,
                    "arguments": table_to_json(exchange.arguments),
                },
            )
    for queue in list(vhost.queues.values()):
        if queue.durable and not queue.deleted:
            yield (
                "queues",
                {
                    "name": queue.name,
                    "vhost": vhost.name,
                    "durable": True,
                    "auto_delete": queue.auto_delete,
                    "arguments": table_to_json(queue.arguments),
                },
            )
    for exchange in list(vhost.exchanges.values()):
        for binding in exchange.bindings():
            if vhost.is_durable(exchange, binding.destination):
                yield (
                    "bindings",
                    {
                        "source": exchange.name,
                        "vhost": vhost.name,
                        "destination": binding.destination.name,
                        "destination_type": destination_kind(binding),
                        "routing_key": binding.key,
                        "arguments": table_to_json(binding.arguments),
                    },
                )
