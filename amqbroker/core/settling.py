"""basic.ack, nack, reject and recover: what happens to outstanding deliveries.

Source: RabbitMQ's `rabbit_channel` (`collect_acks`, `ack`, `reject`, `internal_reject`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from mypy_extensions import i64
from pamqp.base import Frame

from amqbroker.core.discard import REJECTED
from amqbroker.core.entry import QueueEntry
from amqbroker.core.held import ACK, REJECT, REQUEUE
from amqbroker.core.unacked import forget_limited
from amqbroker.errors import AmqpError, not_implemented, precondition_failed
from amqbroker.wire import methods as m
from amqbroker.wire.commands import Ack

if TYPE_CHECKING:
    from amqbroker.core.channel import Channel


def ack(channel: Channel, command: Ack) -> None:
    """basic.ack."""
    if channel.transaction is not None:
        channel.transaction.settle(take(channel, command.delivery_tag, command.multiple), ACK)
    elif command.multiple:
        finish(channel, take(channel, command.delivery_tag, True), ACK)
    else:
        entry = channel.unacked.take(command.delivery_tag)
        if entry is None:
            check_forgiven(channel, command.delivery_tag)
            return
        entry.line.settle(entry)
        channel.settled(entry)


def nack(channel: Channel, frame: Frame) -> None:
    """basic.nack: requeue, or drop."""
    method = cast("m.BasicNack", frame)
    settle(channel, method.delivery_tag, bool(method.multiple), bool(method.requeue))


def reject(channel: Channel, frame: Frame) -> None:
    """basic.reject: requeue, or drop."""
    method = cast("m.BasicReject", frame)
    settle(channel, cast("int", method.delivery_tag), False, bool(method.requeue))


def settle(channel: Channel, delivery_tag: int, multiple: bool, requeue: bool) -> None:
    """Settle one delivery or all up to it; a transaction holds that back."""
    entries = take(channel, delivery_tag, multiple)
    outcome = REQUEUE if requeue else REJECT
    if channel.transaction is not None:
        channel.transaction.settle(entries, outcome)
    else:
        finish(channel, entries, outcome)


def finish(channel: Channel, entries: list[QueueEntry], outcome: int) -> None:
    """Carry out what was decided about deliveries that are not outstanding any more."""
    if outcome == REQUEUE:
        channel.requeue(entries)
        return
    if outcome == ACK and not _have_one_consumer(entries):
        _acknowledge_apart(channel, entries)
        return
    for entry in entries:
        if outcome == REJECT:
            entry.line.queue.discard([entry], REJECTED)
        else:
            entry.line.settle(entry)
        channel.settled(entry)


def _have_one_consumer(entries: list[QueueEntry]) -> bool:
    """Whether all of these went to the same one."""
    first = entries[0].consumer if entries else None
    return all(entry.consumer is first for entry in entries)


def _acknowledge_apart(channel: Channel, entries: list[QueueEntry]) -> None:
    """As RabbitMQ's channel does with an ack of several consumers: one after the other, by queue
    and tag, each of which gets what it has room for before the next one has any."""
    parts: dict[tuple[str, str], list[QueueEntry]] = {}
    for entry in entries:
        consumer = entry.consumer
        key = (entry.line.queue.name, "" if consumer is None else consumer.tag)
        parts.setdefault(key, []).append(entry)
    counted = forget_limited(entries)
    was_stopped = bool(channel.stopped)
    if not was_stopped:
        channel.release(counted)
    for key in sorted(parts):
        for entry in parts[key]:
            entry.line.settle(entry)
            channel.returned(entry)
        parts[key][0].line.queue.serve()
    if was_stopped:
        channel.release(counted)


def take(channel: Channel, delivery_tag: i64, multiple: bool) -> list[QueueEntry]:
    """Remove deliveries from the outstanding ones. Raises 406 for a tag that is not among them."""
    if not multiple:
        entry = channel.unacked.take(delivery_tag)
        if entry is None:
            check_forgiven(channel, delivery_tag)
            return []
        return [entry]
    if delivery_tag == 0:
        return channel.unacked.take_all()
    entries = channel.unacked.take_until(delivery_tag)
    if entries is None:
        check_forgiven(channel, delivery_tag)
        return channel.unacked.take_below(delivery_tag)
    return entries


def check_forgiven(channel: Channel, delivery_tag: i64) -> None:
    """Raise 406 for a tag that is not outstanding, unless its delivery went back to the queue
    because this answer was late."""
    if not channel.forgiven or delivery_tag not in channel.forgiven:
        raise unknown_delivery_tag(delivery_tag)
    del channel.forgiven[delivery_tag]


def unknown_delivery_tag(delivery_tag: i64) -> AmqpError:
    """406: not outstanding on this channel, or settled already."""
    unsigned = int(delivery_tag) & 0xFFFFFFFFFFFFFFFF
    return precondition_failed(f"unknown delivery tag {unsigned}")


def recover(channel: Channel, frame: Frame) -> None:
    """basic.recover."""
    recover_async(channel, frame)
    channel.send(m.BasicRecoverOk())


def recover_async(channel: Channel, frame: Frame) -> None:
    """basic.recover-async: requeue all that is outstanding on the channel."""
    if not cast("m.BasicRecover", frame).requeue:
        raise not_implemented("requeue=false")
    channel.requeue(channel.unacked.take_all())
