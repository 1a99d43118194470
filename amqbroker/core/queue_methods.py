"""queue.declare, bind, unbind, purge and delete.

Source: RabbitMQ's `rabbit_channel` (queue methods), `rabbit_amqqueue`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from pamqp.base import Frame

from amqbroker.core import access
from amqbroker.core.arguments import (
    CLASSIC,
    CLASSIC_ARGUMENTS,
    QUORUM,
    QUORUM_ARGUMENTS,
    check_equivalent_arguments,
    check_equivalent_flag,
    queue_type,
)
from amqbroker.core.exchange_methods import RESERVED_PREFIX, check_not_default
from amqbroker.core.names import made_up_name, queue_resource, strip_line_ends
from amqbroker.core.new_queues import add_queue_type, check_new_queue, check_queue_limit
from amqbroker.core.queue import Queue
from amqbroker.core.reply_to import REPLY_PREFIX, REPLY_QUEUE
from amqbroker.errors import access_refused, not_found, precondition_failed
from amqbroker.exchanges.base import QUEUE, Binding, Destination, Table
from amqbroker.wire import methods as m

if TYPE_CHECKING:
    from amqbroker.core.channel import Channel


def declare(channel: Channel, frame: Frame) -> None:
    """queue.declare."""
    method = cast("m.QueueDeclare", frame)
    name = strip_line_ends(method.queue)
    if name == REPLY_QUEUE or name.startswith(REPLY_PREFIX):
        _declare_reply(channel, name, method.nowait)
        return
    if method.passive:
        access.check_any(channel.client, access.QUEUE, name)
        queue = channel.vhost.queue(name)
        access.check_owner(channel.client, queue, channel.vhost.name)
        _declared(channel, queue, method.nowait, 0)
        return
    # The journal has no room for a queue that dies with its connection.
    durable = method.durable and not method.exclusive
    if name.startswith(RESERVED_PREFIX):
        raise access_refused(f"queue name '{name}' contains reserved prefix 'amq.*'")
    arguments: Table = dict(method.arguments or {})
    add_queue_type(channel.vhost, arguments, durable, method.exclusive, method.auto_delete)
    if not name:
        if queue_type(arguments) != CLASSIC:
            raise precondition_failed(
                f"Cannot declare a server-named queue for type rabbit_{queue_type(arguments)}_queue"
            )
        name = made_up_name("amq.gen", channel.client.broker.random)
    access.check(channel.client, access.CONFIGURE, access.QUEUE, name)
    existing = channel.vhost.queues.get(name)
    if existing is not None:
        access.check_owner(channel.client, existing, channel.vhost.name)
        _check_equivalent(
            channel, existing, method.exclusive, durable, method.auto_delete, arguments
        )
        _declared(channel, existing, method.nowait, 0)
        return
    check_new_queue(channel, name, durable, method.exclusive, method.auto_delete, arguments)
    check_queue_limit(channel.vhost, name)
    owner = channel.client if method.exclusive else None
    queue, position = channel.client.broker.create_queue(
        channel.vhost, name, durable, method.auto_delete, owner, arguments
    )
    _declared(channel, queue, method.nowait, position)


def _check_equivalent(
    channel: Channel,
    queue: Queue,
    exclusive: bool,
    durable: bool,
    auto_delete: bool,
    arguments: Table,
) -> None:
    """In RabbitMQ's order: exclusive, durable, auto_delete, then the arguments that the queue's
    type knows."""
    if exclusive != (queue.owner is not None):
        raise access.locked(queue.name, channel.vhost.name)
    resource = queue_resource(queue.name, channel.vhost.name)
    check_equivalent_flag("durable", resource, durable, queue.durable)
    check_equivalent_flag("auto_delete", resource, auto_delete, queue.auto_delete)
    known = QUORUM_ARGUMENTS if queue_type(queue.arguments) == QUORUM else CLASSIC_ARGUMENTS
    check_equivalent_arguments(resource, arguments, queue.arguments, known)


def _declared(channel: Channel, queue: Queue, nowait: bool, position: int) -> None:
    channel.last_queue = queue.name
    channel.client.broker.queue_used(channel.vhost, queue)
    if not nowait:
        queue.catch_up()
        frame = m.QueueDeclareOk(queue.name, int(queue.ready_count()), len(queue.consumers.all))
        channel.reply_when_durable(position, frame)


def _declare_reply(channel: Channel, name: str, nowait: bool) -> None:
    """Declaring a direct reply-to name asks whether its requester is still there; the name that
    requesters consume from is always there."""
    if (
        name != REPLY_QUEUE
        and name[len(REPLY_PREFIX) :] not in channel.client.broker.reply_consumers
    ):
        raise not_found(f"no {queue_resource(name, channel.vhost.name)}")
    if not nowait:
        channel.send(m.QueueDeclareOk(name, 0, 1))


def bind(channel: Channel, frame: Frame) -> None:
    """queue.bind."""
    method = cast("m.QueueBind", frame)
    name, source, key = _ends(channel, method.queue, method.exchange, method.routing_key)
    if name.startswith(REPLY_PREFIX):
        channel.send(m.QueueBindOk())
        return
    vhost = channel.vhost
    exchange = vhost.exchange(source)
    access.check_owner(channel.client, vhost.queue(name), vhost.name)
    position = vhost.bind(
        exchange, Binding(Destination(QUEUE, name), key, dict(method.arguments or {}))
    )
    if not method.nowait:
        channel.reply_when_durable(position, m.QueueBindOk())


def unbind(channel: Channel, frame: Frame) -> None:
    """queue.unbind: a missing binding, queue or exchange is fine, whose ever the queue is."""
    method = cast("m.QueueUnbind", frame)
    name, source, key = _ends(channel, method.queue, method.exchange, method.routing_key)
    vhost = channel.vhost
    queue = vhost.queues.get(name)
    exchange = vhost.exchanges.get(source)
    position = 0
    if queue is not None and exchange is not None:
        binding = Binding(Destination(QUEUE, name), key, dict(method.arguments or {}))
        if exchange.find(binding.destination, binding.key, binding.arguments) is not None:
            access.check_owner(channel.client, queue, vhost.name)
            position = vhost.unbind(exchange, binding)
    channel.reply_when_durable(position, m.QueueUnbindOk())


def _ends(channel: Channel, queue: str, exchange: str, key: str) -> tuple[str, str, str]:
    """Queue, exchange and key of a binding; an empty queue name means the last one, for an empty
    key too."""
    name = strip_line_ends(queue)
    if not name:
        name = channel.queue_name(name)
        key = key or name
    source = strip_line_ends(exchange)
    check_not_default(source)
    access.check(channel.client, access.WRITE, access.QUEUE, name)
    access.check(channel.client, access.READ, access.EXCHANGE, source)
    access.check_topic(channel.client, access.READ, channel.vhost.exchanges.get(source), key)
    return name, source, key


def purge(channel: Channel, frame: Frame) -> None:
    """queue.purge: ready messages only."""
    method = cast("m.QueuePurge", frame)
    name = channel.queue_name(strip_line_ends(method.queue))
    vhost = channel.vhost
    access.check(channel.client, access.READ, access.QUEUE, name)
    queue = vhost.queue(name)
    access.check_owner(channel.client, queue, vhost.name)
    queue.catch_up()
    count = queue.purge()
    if not method.nowait:
        channel.send(m.QueuePurgeOk(count))


def delete(channel: Channel, frame: Frame) -> None:
    """queue.delete: a missing queue is fine."""
    method = cast("m.QueueDelete", frame)
    name = channel.queue_name(strip_line_ends(method.queue))
    vhost = channel.vhost
    access.check(channel.client, access.CONFIGURE, access.QUEUE, name)
    queue = vhost.queues.get(name)
    count = 0
    position = 0
    if queue is not None:
        access.check_owner(channel.client, queue, vhost.name)
        resource = queue_resource(name, vhost.name)
        queue.catch_up()
        if method.if_empty and queue.ready_count() > 0:
            raise precondition_failed(f"{resource} not empty")
        if method.if_unused and queue.consumers.all:
            raise precondition_failed(f"{resource} in use")
        count, position = channel.client.broker.delete_queue(vhost, queue)
    if not method.nowait:
        channel.reply_when_durable(position, m.QueueDeleteOk(count))
