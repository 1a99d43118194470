"""basic.consume, cancel, get and qos.

Source: RabbitMQ's `rabbit_channel` (`basic.consume`, `basic.get`, `basic.qos`),
`rabbit_amqqueue_process`, `rabbit_limiter`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from pamqp.base import Frame

from amqbroker.core import access
from amqbroker.core.ack_timeouts import TIMEOUT_ARGUMENT, watch_consumer, watch_get
from amqbroker.core.arguments import check_consumer_arguments, queue_type, time_error
from amqbroker.core.channel import ON_DISK
from amqbroker.core.consumer import Consumer
from amqbroker.core.held import HeldGet
from amqbroker.core.names import made_up_name, queue_resource
from amqbroker.core.reply_to import REPLY_QUEUE, ReplyConsumer
from amqbroker.core.tracing import trace_delivery
from amqbroker.errors import access_refused, not_allowed, not_implemented, precondition_failed
from amqbroker.exchanges.base import Table
from amqbroker.exchanges.terms import field_type
from amqbroker.wire import methods as m
from amqbroker.wire.writer import deliver_prefix, write_get_ok

if TYPE_CHECKING:
    from amqbroker.core.channel import Channel
    from amqbroker.core.queue import Queue


def consume(channel: Channel, frame: Frame) -> None:
    """basic.consume."""
    method = cast("m.BasicConsume", frame)
    if method.queue == REPLY_QUEUE:
        _consume_replies(channel, method)
        return
    if method.consumer_tag in channel.consumers or _is_reply_tag(channel, method.consumer_tag):
        raise not_allowed(f"attempt to reuse consumer tag '{method.consumer_tag}'")
    name = channel.queue_name(method.queue)
    vhost = channel.vhost
    access.check(channel.client, access.READ, access.QUEUE, name)
    queue = vhost.queue(name)
    access.check_owner(channel.client, queue, vhost.name)
    arguments: Table = dict(method.arguments or {})
    resource = queue_resource(name, vhost.name)
    check_consumer_arguments(resource, queue_type(queue.arguments), arguments)
    priority = _priority(resource, arguments)
    _check_failover(resource, arguments)
    _check_timeout(resource, arguments)
    consumers = queue.consumers
    if consumers.has_exclusive() or (
        method.exclusive and (consumers.all or consumers.single_active)
    ):
        raise access_refused(f"{resource} in exclusive use")
    tag = method.consumer_tag or made_up_name("amq.ctag", channel.client.broker.random)
    consumer = Consumer(
        channel,
        queue,
        tag,
        method.no_ack,
        method.exclusive,
        priority,
        channel.prefetch_default,
        arguments,
    )
    channel.consumers[tag] = consumer
    queue.had_consumer = True
    if not method.nowait:
        # Before anything else: that it is there is an event, which may come back by this queue.
        channel.send(m.BasicConsumeOk(tag))
    consumers.add(consumer)
    if not method.no_ack:
        watch_consumer(consumer)
    queue.wake()


def _priority(resource: str, arguments: Table) -> int:
    """The x-priority argument. Raises 406 unless it is an integer."""
    value = arguments.get("x-priority", 0)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise precondition_failed(
        f"invalid arg 'x-priority' for {resource}: \"expected integer, got {field_type(value)}\""
    )


def _check_failover(resource: str, arguments: Table) -> None:
    """x-cancel-on-ha-failover has no effect, yet must be a bool. Raises 406 otherwise."""
    value = arguments.get("x-cancel-on-ha-failover", False)
    if not isinstance(value, bool):
        raise precondition_failed(
            f"invalid arg 'x-cancel-on-ha-failover' for {resource}: "
            f"{{unacceptable_type,{field_type(value)}}}"
        )


def _check_timeout(resource: str, arguments: Table) -> None:
    """The x-consumer-timeout argument. Raises 406 unless it is a time."""
    if TIMEOUT_ARGUMENT not in arguments:
        return
    reason = time_error(arguments[TIMEOUT_ARGUMENT], zero=False)
    if reason:
        raise precondition_failed(f"invalid arg '{TIMEOUT_ARGUMENT}' for {resource}: {reason}")


def _is_reply_tag(channel: Channel, tag: str) -> bool:
    return channel.reply_consumer is not None and channel.reply_consumer.tag == tag


def _consume_replies(channel: Channel, method: m.BasicConsume) -> None:
    """A consumer of amq.rabbitmq.reply-to."""
    if channel.reply_consumer is not None:
        raise precondition_failed("reply consumer already set")
    if not method.no_ack:
        raise precondition_failed("reply consumer cannot acknowledge")
    if method.consumer_tag in channel.consumers:
        raise not_allowed(f"attempt to reuse consumer tag '{method.consumer_tag}'")
    broker = channel.client.broker
    tag = method.consumer_tag or made_up_name("amq.ctag", broker.random)
    key = made_up_name("g", broker.random)
    channel.reply_consumer = ReplyConsumer(channel, tag, key, deliver_prefix(tag))
    broker.reply_consumers[key] = channel.reply_consumer
    if not method.nowait:
        channel.send(m.BasicConsumeOk(tag))


def cancel(channel: Channel, frame: Frame) -> None:
    """basic.cancel: an unknown tag is fine."""
    method = cast("m.BasicCancel", frame)
    tag = method.consumer_tag or ""
    consumer = channel.consumers.pop(tag, None)
    if consumer is not None:
        queue = consumer.queue
        queue.consumers.remove(consumer)
        queue.wake()
        if all(other.queue is not queue for other in channel.consumers.values()):
            channel.stopped.pop(queue.id, None)
        channel.client.broker.consumer_left(channel.vhost, queue)
    elif _is_reply_tag(channel, tag):
        assert channel.reply_consumer is not None
        del channel.client.broker.reply_consumers[channel.reply_consumer.key]
        channel.reply_consumer = None
    if not method.nowait:
        channel.send(m.BasicCancelOk(tag))


def get(channel: Channel, frame: Frame) -> None:
    """basic.get."""
    method = cast("m.BasicGet", frame)
    name = channel.queue_name(method.queue)
    vhost = channel.vhost
    client = channel.client
    access.check(client, access.READ, access.QUEUE, name)
    queue = vhost.queue(name)
    access.check_owner(client, queue, vhost.name)
    client.broker.queue_used(vhost, queue)
    if not queue.catch_up() or not queue.first_line().is_loaded():
        held = HeldGet(channel, queue, method.no_ack)
        channel.waiting_get = held
        channel.waiting_position = ON_DISK
        queue.waiting_gets.append(held)
        queue.wake()
        return
    _answer_get(channel, queue, method.no_ack)


def resume_gets(queue: Queue) -> None:
    """Messages came from disk, or there are none any more: answer who waits for them."""
    waiting = queue.waiting_gets
    queue.waiting_gets = []
    for held in waiting:
        channel = held.channel
        if channel.waiting_get is not held:
            continue
        if not queue.catch_up() or not queue.first_line().is_loaded():
            queue.waiting_gets.append(held)
            continue
        channel.waiting_get = None
        channel.waiting_position = 0
        _answer_get(channel, queue, held.no_ack)
        channel.client.run(channel.take_deferred())


def _answer_get(channel: Channel, queue: Queue, no_ack: bool) -> None:
    client = channel.client
    ready = queue.first_line().ready
    if ready.count == 0 or queue.holds_back:
        channel.send(m.BasicGetEmpty())
        return
    entry = ready.take()
    if queue.has_rules:
        # What has expired behind it does not count as left.
        queue.catch_up()
        queue.wake()
    original = entry.message
    message = original
    if queue.edits:
        message = entry.message_to_send()
    tag = channel.next_delivery_tag
    channel.next_delivery_tag = tag + 1
    write_get_ok(
        client.output,
        channel.number,
        tag,
        entry.redelivered,
        message,
        queue.ready_count(),
        client.payload_size_max,
    )
    client.mark_output()
    if no_ack:
        entry.line.settle(entry)
    else:
        entry.delivery_tag = tag
        entry.consumer = None
        queue.unacked_count += 1
        channel.unacked.add(entry)
        watch_get(channel, queue)
    if channel.vhost.traced:
        # Last, as the copy's queue may deliver by that, on this channel too.
        trace_delivery(channel, queue.name, original, entry.redelivered)


def qos(channel: Channel, frame: Frame) -> None:
    """basic.qos: the default of later consumers, or with global a limit on the whole channel.

    The former lifts the latter, as in RabbitMQ's `rabbit_channel`: for both, it comes first.
    """
    method = cast("m.BasicQos", frame)
    if method.prefetch_size:
        raise not_implemented(f"prefetch_size!=0 ({method.prefetch_size})")
    if method.global_:
        _limit_channel(channel, method.prefetch_count)
    else:
        channel.prefetch_default = method.prefetch_count
        if channel.prefetch_global != 0:
            _limit_channel(channel, 0)
    channel.send(m.BasicQosOk())


def _limit_channel(channel: Channel, limit: int) -> None:
    """Set the channel's limit, or lift it with 0. Where there was none, what is outstanding now
    counts too: basic.get, and what a transaction has settled but not committed."""
    was_full = channel.is_full()
    if limit == 0 or channel.prefetch_global == 0:
        entries = channel.unacked.entries()
        if channel.transaction is not None:
            entries.extend(channel.transaction.taken())
        for entry in entries:
            entry.limited = limit != 0
        channel.unacked_global = len(entries) if limit != 0 else 0
    channel.prefetch_global = limit
    if was_full and not channel.is_full():
        channel.has_room_again()
