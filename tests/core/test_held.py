"""What a transaction holds, in the order in which it came."""

from __future__ import annotations

from amqbroker.core.held import REJECT, REQUEUE, HeldPublish, HeldSettle, Transaction
from tests.core.house import make_entry, make_message, make_queue


def test_every_delivery_that_waits_is_taken_once() -> None:
    queue = make_queue()
    entries = [make_entry(queue, index, tag=index + 1) for index in range(4)]
    transaction = Transaction()
    assert transaction.taken() == []
    transaction.settles.append(HeldSettle(entries[2:], REJECT))
    transaction.settles.append(HeldSettle([], REJECT))
    transaction.settles.append(HeldSettle(entries[:2], REQUEUE))
    assert transaction.taken() == [*entries[2:], *entries[:2]]


def test_a_publish_keeps_its_queues() -> None:
    queue, message = make_queue(), make_message()
    held = HeldPublish(message, [queue])
    assert (held.message, held.queues) == (message, [queue])
