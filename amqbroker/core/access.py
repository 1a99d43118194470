"""May this connection do that: permissions by name and topic, and the owner of exclusive queues.

Source: RabbitMQ's `rabbit_access_control`, `rabbit_amqqueue:check_exclusive_access`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from amqbroker.auth.permissions import CONFIGURE, EXCHANGE, QUEUE, READ, WRITE
from amqbroker.core.names import queue_resource
from amqbroker.errors import AmqpError, resource_locked
from amqbroker.exchanges.base import Exchange

if TYPE_CHECKING:
    from amqbroker.core.client import Client
    from amqbroker.core.queue import Queue

TOPIC: Final = "topic"

__all__ = [
    "CONFIGURE",
    "EXCHANGE",
    "QUEUE",
    "READ",
    "WRITE",
    "check",
    "check_any",
    "check_owner",
    "check_topic",
    "locked",
]


def check(client: Client, permission: str, kind: str, name: str) -> None:
    """Raise 403 unless the client's user has this permission on this resource."""
    client.user.check(permission, kind, name, client.vhost_name)


def check_any(client: Client, kind: str, name: str) -> None:
    """Raise 403 unless the client's user has some permission on this resource, as RabbitMQ 4 asks
    for a look at it."""
    may = client.user.may
    vhost = client.vhost_name
    if not may(CONFIGURE, kind, name, vhost) and not may(WRITE, kind, name, vhost):
        client.user.check(READ, kind, name, vhost)


def check_topic(client: Client, permission: str, exchange: Exchange | None, key: str) -> None:
    """Raise 403 unless the client's user may publish to a topic exchange with this routing key, or
    bind to it with this binding key; other exchanges have no topics, and one that is missing is
    found out later."""
    if exchange is not None and exchange.type_name == TOPIC and client.user.topic_permissions:
        client.user.check_topic(permission, exchange.name, key, client.vhost_name)


def check_owner(client: Client, queue: Queue, vhost: str) -> None:
    """Raise 405 if the queue is exclusive to another connection."""
    if queue.owner is not None and queue.owner is not client:
        raise locked(queue.name, vhost)


def locked(name: str, vhost: str) -> AmqpError:
    """405 in RabbitMQ's words."""
    return resource_locked(
        f"cannot obtain exclusive access to locked {queue_resource(name, vhost)}. It could be "
        "originally declared on another connection or the exclusive property value does not match "
        "that of the original declaration."
    )
