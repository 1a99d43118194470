"""A queue's turn: how much it sends, who comes first, and what it keeps account of."""

from __future__ import annotations

import pytest
from pamqp.commands import Basic

from amqbroker.core.queue import DELIVERIES_A_TURN, last_served
from amqbroker.core.turn import Turn
from amqbroker.message import SETTLED, VOLATILE
from tests.core.house import (
    PERSISTENT,
    House,
    items,
    make_entry,
    make_message,
    make_queue,
)
from tests.semantics.messages import Message
from tests.semantics.peer import Channel


def test_a_queue_is_looked_at_once_a_turn_however_often_it_was_woken() -> None:
    turn = Turn()
    queue = make_queue(turn=turn)
    for _ in range(3):
        queue.enqueue(make_message())
    queue.wake()
    assert turn.queues == [queue]
    turn.queues = []
    assert not queue.deliver()
    queue.enqueue(make_message())
    assert turn.queues == [queue]


def test_a_queue_sends_so_much_in_one_turn_and_no_more(house: House, ch: Channel) -> None:
    ch.declare_queue("q")
    house.paused = True
    for _ in range(DELIVERIES_A_TURN + 5):
        ch.publish(b"", key="q")
    house.paused = False
    house.run()
    house.core_client(ch.peer).output_size_max = 1 << 30
    house.paused = True
    ch.send(Basic.Consume(queue="q", consumer_tag="t", no_ack=True))
    house.hand_over()
    house.node.settle(house.now)
    assert house.queue("q").line.ready.count == 5
    assert house.node.has_work()
    house.node.settle(house.now)
    assert house.queue("q").line.ready.count == 0
    assert not house.node.has_work()


def test_a_queue_that_sent_all_in_one_turn_is_done() -> None:
    """Also when that was just as much as it may."""
    queue = make_queue()
    assert not queue.deliver()
    assert queue.served == 0


@pytest.mark.parametrize("global_limit", [True, False])
def test_queues_that_share_a_limit_take_turns(
    house: House, ch: Channel, global_limit: bool
) -> None:
    """A channel's prefetch, or the output buffer of a connection that reads slowly."""
    names = ["a", "b", "c"]
    for name in names:
        ch.declare_queue(name)
        ch.fill(name, *[b"x" * 1000] * 60)
    if global_limit:
        ch.qos(2, global_=True)
    else:
        house.core_client(ch.peer).output_size_max = 5_000
    for name in names:
        ch.send(Basic.Consume(queue=name, consumer_tag=name))
    counts = dict.fromkeys(names, 0)
    for _ in range(15):
        for item in _read(house, ch, global_limit):
            counts[str(item.method.consumer_tag)] += 1  # type: ignore[attr-defined]
            if global_limit:
                ch.ack(item.tag)
    assert min(counts.values()) >= 5
    assert max(counts.values()) - min(counts.values()) <= 8, counts


def _read(house: House, ch: Channel, everything: bool) -> list[Message]:
    """Deliveries: all that come, or those of one look at the socket."""
    if everything:
        return [item for item in items(ch) if isinstance(item, Message)]
    house.paused = True
    house.settle()
    house.take_output(ch.peer)
    return [item for item in items(ch) if isinstance(item, Message)]


def test_who_delivered_last_is_last_in_the_next_turn() -> None:
    turn = Turn()
    queues = [make_queue(name, queue_id=number, turn=turn) for number, name in enumerate("abc")]
    queues[0].served, queues[2].served = 9, 4
    assert [queue.name for queue in sorted(queues, key=last_served)] == ["b", "c", "a"]


def test_a_requeued_message_goes_to_its_place_and_is_marked() -> None:
    queue = make_queue()
    for number in range(4):
        queue.enqueue(make_message(b"%d" % number))
    first, second = queue.line.ready.take(), queue.line.ready.take()
    queue.requeue([second, first])
    found = [(entry.index, entry.redelivered) for entry in queue.line.ready.take_all()]
    assert found == [(0, True), (1, True), (2, False), (3, False)]


def test_a_deleted_queue_takes_nothing_back() -> None:
    queue = make_queue()
    queue.enqueue(make_message())
    queue.enqueue(make_message())
    entry = queue.line.ready.take()
    assert queue.delete() == 1
    queue.requeue([entry])
    entry.line.settle(entry)
    assert queue.line.ready.count == 0


def test_purge_settles_only_what_is_ready(house: House, ch: Channel) -> None:
    """After a restart what was out is there, what was purged is not."""
    ch.declare_queue("q", durable=True)
    ch.fill("q", b"0", b"1", b"2", properties=PERSISTENT)
    ch.must_get("q")
    assert ch.purge("q") == 2
    house.advance(1.0)
    house.restart(clean=False)
    assert house.channel().get_bodies("q") == [b"0"]


def test_only_persistent_messages_in_durable_queues_reach_the_journal(
    house: House, ch: Channel
) -> None:
    for name, durable in (("durable", True), ("transient", False)):
        ch.declare_queue(name, durable=durable)
        ch.fill(name, b"m", properties=PERSISTENT)
        ch.fill(name, b"m")
    states = {
        name: [entry.state != VOLATILE for entry in house.queue(name).line.ready.entries()]
        for name in ("durable", "transient")
    }
    assert states == {"durable": [True, False], "transient": [False, False]}


def test_a_message_that_is_settled_before_its_batch_is_never_written(
    house: House, ch: Channel
) -> None:
    ch.declare_queue("q", durable=True)
    ch.consume("q", no_ack=True)
    house.paused = True
    ch.publish(b"m", key="q", properties=PERSISTENT)
    house.hand_over()
    entry = house.queue("q").line.ready.entries()[0]
    house.paused = False
    ch.expect_delivery(b"m")
    assert entry.state == SETTLED
    house.restart(clean=False)
    assert house.channel().get_bodies("q") == []


def test_outstanding_messages_are_counted(house: House, ch: Channel) -> None:
    ch.declare_queue("q")
    ch.fill("q", b"0", b"1", b"2", b"3")
    queue = house.queue("q")
    tags = [ch.must_get("q").tag for _ in range(3)]
    ch.must_get("q", no_ack=True)
    assert queue.unacked_count == 3
    ch.ack(tags[1])
    ch.nack(tags[0])
    assert (queue.unacked_count, queue.line.ready.count) == (1, 1)
    ch.close()
    assert (queue.unacked_count, queue.line.ready.count) == (0, 2)


def test_an_entry_knows_its_queue() -> None:
    queue = make_queue(queue_id=9)
    entry = make_entry(queue, 3)
    assert (entry.line.queue, entry.queue_id, entry.index) == (queue, 9, 3)
    assert entry.consumer is None
