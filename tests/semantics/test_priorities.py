"""Queues with priorities (facts 206 and 208)."""

from __future__ import annotations

from pamqp.commands import Basic, Queue
from pamqp.common import FieldTable

from .conftest import Bench
from .marks import fact
from .peer import Channel


def _publish(ch: Channel, queue: str, *messages: tuple[bytes, int | None], mode: int = 1) -> None:
    for body, priority in messages:
        properties = Basic.Properties(delivery_mode=mode)
        if priority is not None:
            properties.priority = priority
        ch.publish(body, key=queue, properties=properties)


@fact(206)
def test_fact_206_highest_first_and_in_order_within(bench: Bench) -> None:
    """No priority is 0, and what is above the largest is the largest."""
    ch = bench.channel()
    queue = bench.name()
    ch.declare_queue(queue, arguments={"x-max-priority": 5})
    _publish(ch, queue, (b"none", None), (b"3a", 3), (b"0", 0), (b"5a", 5), (b"9", 9), (b"3b", 3))
    ch.wait_ready(queue, 6)
    assert ch.get_bodies(queue) == [b"5a", b"9", b"3a", b"3b", b"none", b"0"]


@fact(206)
def test_fact_206_what_was_sent_is_not_sorted_again(bench: Bench) -> None:
    ch = bench.channel()
    queue = bench.name()
    ch.declare_queue(queue, arguments={"x-max-priority": 5})
    ch.qos(1)
    ch.consume(queue, "c")
    _publish(ch, queue, (b"low", 1))
    first = ch.expect_delivery(b"low")
    _publish(ch, queue, (b"middle", 2), (b"high", 5))
    ch.wait_ready(queue, 2)
    ch.ack(first.tag)
    second = ch.expect_delivery(b"high")
    ch.ack(second.tag)
    ch.expect_delivery(b"middle")


@fact(206)
def test_fact_206_a_requeued_message_keeps_its_priority(bench: Bench) -> None:
    ch = bench.channel()
    queue = bench.name()
    ch.declare_queue(queue, arguments={"x-max-priority": 5})
    _publish(ch, queue, (b"5a", 5), (b"5b", 5), (b"1", 1))
    ch.wait_ready(queue, 3)
    messages = [ch.must_get(queue) for _ in range(3)]
    ch.nack(messages[2].tag)
    ch.nack(messages[0].tag)
    ch.nack(messages[1].tag)
    ch.wait_ready(queue, 3)
    assert ch.get_bodies(queue) == [b"5a", b"5b", b"1"]


@fact(206)
def test_fact_206_counts_are_of_all_priorities(bench: Bench) -> None:
    ch = bench.channel()
    queue = bench.name()
    ch.declare_queue(queue, arguments={"x-max-priority": 255})
    _publish(ch, queue, *[(b"m", priority) for priority in (0, 1, 128, 255)])
    ch.wait_ready(queue, 4)
    assert ch.purge(queue) == 4
    _publish(ch, queue, (b"again", 7), (b"twice", 8))
    ch.wait_ready(queue, 2)
    assert ch.delete_queue(queue) == 2


@fact(206)
def test_fact_206_zero_priorities_are_none(bench: Bench) -> None:
    ch = bench.channel()
    queue = bench.name()
    ch.declare_queue(queue, arguments={"x-max-priority": 0})
    _publish(ch, queue, (b"1", 1), (b"2", 2))
    ch.wait_ready(queue, 2)
    assert ch.get_bodies(queue) == [b"1", b"2"]


@fact(206)
def test_fact_206_priorities_survive_a_restart(memory_bench: Bench) -> None:
    ch = memory_bench.channel()
    ch.declare_queue("q", durable=True, arguments={"x-max-priority": 9})
    ch.confirm()
    _publish(ch, "q", (b"1", 1), (b"9", 9), (b"5", 5), (b"0", None), mode=2)
    ch.expect_confirms(4)
    for clean in (True, False):
        memory_bench.broker.restart(clean=clean)
        ch = memory_bench.channel()
        assert ch.declare_queue("q", passive=True).message_count == 4
        for body in (b"9", b"5", b"1", b"0"):
            assert ch.must_get("q").body == body
        ch.declare_queue("after", durable=True)
        ch.publish(b"another queue's", key="after", properties=Basic.Properties(delivery_mode=2))
        assert ch.must_get("after").body == b"another queue's"


@fact(208)
def test_fact_208_quorum_queues_have_no_priorities(bench: Bench) -> None:
    """As in RabbitMQ 3.13: the argument is refused, the property is ignored."""
    ch = bench.channel()
    queue = bench.name()
    quorum: FieldTable = {"x-queue-type": "quorum"}
    ch.declare_queue(queue, durable=True, arguments=quorum)
    _publish(ch, queue, (b"low", 1), (b"high", 9), mode=2)
    ch.wait_ready(queue, 2)
    assert ch.get_bodies(queue) == [b"low", b"high"]
    ch.fails(
        Queue.Declare(queue=bench.name(), durable=True, arguments={**quorum, "x-max-priority": 5}),
        406,
    )
