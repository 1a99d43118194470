"""What must hold before a queue is made: its arguments, its type's rules, limits and permissions.

Source: RabbitMQ's `rabbit_channel` (`queue.declare`), `rabbit_amqqueue:declare`,
`rabbit_queue_type_util`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from amqbroker.core import access
from amqbroker.core.arguments import QUORUM, check_queue_arguments, queue_type
from amqbroker.core.names import queue_resource
from amqbroker.core.rules import NO_LIMIT
from amqbroker.core.vhost import VirtualHost
from amqbroker.errors import precondition_failed
from amqbroker.exchanges.base import Table
from amqbroker.exchanges.terms import field_type

if TYPE_CHECKING:
    from amqbroker.core.channel import Channel


def add_queue_type(
    vhost: VirtualHost, arguments: Table, durable: bool, exclusive: bool, auto_delete: bool
) -> None:
    """Arguments without a type get the virtual host's default one, where the flags permit it."""
    if "x-queue-type" in arguments or vhost.default_queue_type != QUORUM:
        return
    if durable and not exclusive and not auto_delete:
        arguments["x-queue-type"] = QUORUM


def check_new_queue(
    channel: Channel, name: str, durable: bool, exclusive: bool, auto_delete: bool, arguments: Table
) -> None:
    """Raise 403 or 406 for a queue that cannot be made, or not by this user."""
    resource = queue_resource(name, channel.vhost.name)
    _check_dead_letter_exchange(channel, name, arguments)
    check_queue_arguments(resource, arguments)
    if queue_type(arguments) == QUORUM:
        _check_quorum(resource, durable, exclusive, auto_delete)


def check_queue_limit(vhost: VirtualHost, name: str, count: int = 1) -> None:
    """Raise 406 if the virtual host has no room for so many queues more."""
    if vhost.max_queues != NO_LIMIT and len(vhost.queues) + count > vhost.max_queues:
        raise precondition_failed(
            f"cannot declare queue '{name}': queue limit in vhost '{vhost.name}' "
            f"({vhost.max_queues}) is reached"
        )


def _check_dead_letter_exchange(channel: Channel, name: str, arguments: Table) -> None:
    """It is a name, and who declares the queue may read here and write there."""
    if "x-dead-letter-exchange" not in arguments:
        return
    exchange = arguments["x-dead-letter-exchange"]
    if not isinstance(exchange, str):
        raise precondition_failed(
            f"invalid type '{field_type(exchange)}' for arg 'x-dead-letter-exchange' "
            f"in {queue_resource(name, channel.vhost.name)}"
        )
    access.check(channel.client, access.READ, access.QUEUE, name)
    access.check(channel.client, access.WRITE, access.EXCHANGE, exchange)


def _check_quorum(resource: str, durable: bool, exclusive: bool, auto_delete: bool) -> None:
    """Our strongest queue has RabbitMQ's rules for its own, in its order: there until it is
    deleted, shared, and durable."""
    if auto_delete:
        raise precondition_failed(f"invalid property 'auto-delete' for {resource}")
    if exclusive:
        raise precondition_failed(f"invalid property 'exclusive-owner' for {resource}")
    if not durable:
        raise precondition_failed(f"invalid property 'non-durable' for {resource}")
