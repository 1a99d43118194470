"""tx.select, tx.commit and tx.rollback.

A transaction keeps the channel's publishes, routed when they came, and its acks, nacks and rejects.
Commit delivers the publishes first, settles second, and answers once everything is durable; nothing
is atomic across queues: if one refuses a message, the others keep theirs and the channel is closed.
Rollback drops the publishes and makes the settled deliveries outstanding
again.

Source: RabbitMQ's `rabbit_channel` (`tx.commit`), AMQP 0-9-1 class tx.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pamqp.base import Frame

from amqbroker.core.dead_letters import hides
from amqbroker.core.held import Transaction
from amqbroker.core.limits import REFUSED
from amqbroker.core.publishing import deliver, expect_expiry
from amqbroker.core.settling import finish
from amqbroker.core.unacked import delivery_tag_of
from amqbroker.errors import precondition_failed
from amqbroker.wire import methods as m

if TYPE_CHECKING:
    from amqbroker.core.channel import Channel


def select(channel: Channel, frame: Frame) -> None:
    """tx.select."""
    if channel.confirms is not None:
        raise precondition_failed("cannot switch from confirm to tx mode")
    if channel.transaction is None:
        channel.transaction = Transaction()
    channel.send(m.TxSelectOk())


def commit(channel: Channel, frame: Frame) -> None:
    """tx.commit: publishes first, then what was settled, then the answer once it is durable."""
    transaction = _transaction(channel)
    channel.transaction = Transaction()
    position = 0
    refused = False
    present = channel.vhost.queues
    for publish in transaction.publishes:
        # By their names: a queue may have gone since, or come again.
        queues = [present[queue.name] for queue in publish.queues if queue.name in present]
        expect_expiry(publish.message, queues)
        if hides(publish.message.header):
            for queue in queues:
                queue.hide_copies()
        needed = deliver(channel, publish.message, queues)
        position = max(position, needed)
        refused = refused or needed == REFUSED
    for settle in transaction.settles:
        settle.entries.sort(key=delivery_tag_of)
        finish(channel, settle.entries, settle.outcome)
    if refused:
        raise precondition_failed("partial tx completion")
    channel.committing = not channel.client.broker.is_durable(position)
    channel.reply_when_durable(position, m.TxCommitOk())


def rollback(channel: Channel, frame: Frame) -> None:
    """tx.rollback: what was settled is outstanding again, neither requeued nor redelivered."""
    channel.unacked.restore(_transaction(channel).taken())
    channel.transaction = Transaction()
    channel.send(m.TxRollbackOk())


def _transaction(channel: Channel) -> Transaction:
    if channel.transaction is None:
        raise precondition_failed("channel is not transactional")
    return channel.transaction
