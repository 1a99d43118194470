"""An entry: a message's place in a queue, and who has it."""

from __future__ import annotations

from amqbroker.core.entry import QueueEntry
from amqbroker.message import VOLATILE
from tests.core.house import House, make_entry, make_queue
from tests.semantics.peer import Channel


def test_a_new_entry_is_ready_and_nobody_has_it() -> None:
    queue = make_queue(queue_id=4)
    entry = make_entry(queue, 17)
    assert (entry.line, entry.queue_id, entry.index, entry.state) == (queue.line, 4, 17, VOLATILE)
    assert (entry.consumer, entry.delivery_tag, entry.outstanding) == (None, 0, False)
    assert not entry.limited
    assert not entry.redelivered


def test_an_entry_follows_its_message_out_and_back(house: House, ch: Channel) -> None:
    """The same entry: it keeps its index, and forgets who had it."""
    ch.declare_queue("q")
    ch.fill("q", b"m")
    entry = house.queue("q").line.ready.entries()[0]
    ch.qos(5, global_=True)
    ch.consume("q", "t")
    tag = ch.expect_delivery(b"m").tag
    assert entry.consumer is house.core_channel(ch).consumers["t"]
    assert (entry.delivery_tag, entry.outstanding, entry.limited) == (tag, True, True)
    ch.cancel("t")
    ch.nack(tag)
    assert house.queue("q").line.ready.entries() == [entry]
    _assert_at_home(entry)
    assert entry.redelivered


def _assert_at_home(entry: QueueEntry) -> None:
    assert (entry.consumer, entry.outstanding, entry.limited) == (None, False, False)
