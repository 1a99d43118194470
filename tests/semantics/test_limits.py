"""Length limits and what happens at them (facts 201 to 205); policies are set in memory only."""

from __future__ import annotations

import pytest
from pamqp import frame
from pamqp.commands import Basic, Tx
from pamqp.common import FieldTable

from amqbroker.management.policies import set_policy

from . import wire
from .conftest import Bench
from .marks import differs_on_reference, fact
from .peer import Channel

PERSISTENT = Basic.Properties(delivery_mode=2)


def _limited(bench: Bench, **arguments: int | str) -> tuple[Channel, str]:
    """A channel and a queue with arguments, underscores for dashes and without their `x-`."""
    ch = bench.channel()
    queue = bench.name()
    table: FieldTable = {"x-" + name.replace("_", "-"): each for name, each in arguments.items()}
    ch.declare_queue(queue, durable="queue_type" in arguments, arguments=table)
    return ch, queue


def _publish(ch: Channel, queue: str, *bodies: bytes) -> None:
    """Publish to a queue that may not keep it all, and wait until it has seen them."""
    for body in bodies:
        ch.publish(body, key=queue)
    ch.sync(queue)


def _ready(ch: Channel, queue: str) -> int:
    return ch.declare_queue(queue, passive=True).message_count or 0


@fact(201, 202)
def test_fact_201_a_length_counts_ready_messages(bench: Bench) -> None:
    ch, queue = _limited(bench, max_length=2)
    _publish(ch, queue, b"1", b"2", b"3")
    assert _ready(ch, queue) == 2
    out = ch.must_get(queue)
    assert out.body == b"2"
    _publish(ch, queue, b"4")
    assert ch.get_bodies(queue) == [b"3", b"4"]


@fact(201)
def test_fact_201_bytes_count_bodies_only(bench: Bench) -> None:
    ch, queue = _limited(bench, max_length_bytes=10)
    headers = Basic.Properties(headers={"padding": "x" * 500})
    for body in (b"1234", b"5678"):
        ch.publish(body, key=queue, properties=headers)
    ch.wait_ready(queue, 2)
    out = ch.must_get(queue)
    ch.publish(b"abcdef", key=queue, properties=headers)
    ch.wait_ready(queue, 2)
    ch.ack(out.tag)
    ch.publish(b"g", key=queue)
    ch.sync(queue)
    assert ch.get_bodies(queue) == [b"abcdef", b"g"]


@fact(201)
def test_fact_201_empty_bodies_have_no_bytes(bench: Bench) -> None:
    ch, queue = _limited(bench, max_length_bytes=0)
    _publish(ch, queue, b"", b"x", b"")
    assert ch.get_bodies(queue) == [b""]


@fact(201)
def test_fact_201_both_limits_hold(bench: Bench) -> None:
    ch, queue = _limited(bench, max_length=3, max_length_bytes=6)
    _publish(ch, queue, b"1", b"2", b"3", b"4")
    assert _ready(ch, queue) == 3
    _publish(ch, queue, b"55555")
    assert ch.get_bodies(queue) == [b"4", b"55555"]


@fact(201)
def test_fact_201_a_requeue_may_be_too_much(bench: Bench) -> None:
    ch, queue = _limited(bench, max_length=2)
    _publish(ch, queue, b"1", b"2")
    out = [ch.must_get(queue).tag for _ in range(2)]
    _publish(ch, queue, b"3", b"4")
    ch.nack(out[1])
    ch.sync(queue)
    assert ch.get_bodies(queue) == [b"3", b"4"]


@fact(201)
def test_fact_201_a_requeue_over_the_limit_drops_before_it_delivers(bench: Bench) -> None:
    ch, queue = _limited(bench, max_length=0)
    ch.qos(1)
    ch.consume(queue, "c")
    ch.publish(b"1", key=queue)
    ch.nack(ch.expect_delivery(b"1").tag)
    ch.expect_nothing(queue)
    ch.publish(b"2", key=queue)
    ch.expect_delivery(b"2")


@fact(201)
def test_fact_201_a_requeue_drops_no_more_than_came_back(bench: Bench) -> None:
    """What comes in before it is offered to consumers first, and pushes out only what is left."""
    dead = bench.name()
    ch, queue = _limited(bench, max_length=5, dead_letter_exchange="", dead_letter_routing_key=dead)
    ch.declare_queue(dead)
    ch.qos(4)
    ch.consume(queue, "c")
    _publish(ch, queue, *[b"%d" % number for number in range(9)])
    tags = [ch.expect_delivery(b"%d" % number).tag for number in range(4)]
    burst = [
        frame.marshal(Basic.Ack(tags[2], True), ch.number),
        *[wire.publish(ch.number, "", queue) + wire.content(ch.number, bytes(2), b"n")] * 3,
        frame.marshal(Basic.Nack(tags[3], False, True), ch.number),
    ]
    ch.peer.send_raw(b"".join(burst))
    for number in range(4, 8):
        ch.expect_delivery(b"%d" % number)
    ch.sync(queue)
    assert ch.get_bodies(dead) == [b"3"]
    assert ch.get_bodies(queue) == [b"8", b"n", b"n", b"n"]


@fact(202)
@pytest.mark.parametrize("limit", ["max_length", "max_length_bytes"])
def test_fact_202_a_new_message_may_be_the_one_that_goes(bench: Bench, limit: str) -> None:
    ch, queue = _limited(bench, **{limit: 0 if limit == "max_length" else 4})
    ch.confirm()
    ch.publish(b"12345", key=queue, mandatory=True)
    ch.expect_confirms(1)
    ch.expect_nothing(queue)
    assert _ready(ch, queue) == 0


@fact(202)
def test_fact_202_one_large_message_may_drop_many(bench: Bench) -> None:
    ch, queue = _limited(bench, max_length_bytes=5)
    _publish(ch, queue, b"1", b"2", b"3", b"4", b"5", b"678")
    assert ch.get_bodies(queue) == [b"4", b"5", b"678"]


@fact(202)
def test_fact_202_dropped_messages_are_confirmed(bench: Bench) -> None:
    ch = bench.channel()
    queue = bench.name()
    ch.declare_queue(queue, durable=True, arguments={"x-max-length": 1})
    ch.confirm()
    for number in range(20):
        ch.publish(b"%d" % number, key=queue, properties=PERSISTENT)
    ch.expect_confirms(20)
    assert ch.get_bodies(queue) == [b"19"]


@fact(202)
def test_fact_202_the_highest_priority_goes_first(bench: Bench) -> None:
    ch, queue = _limited(bench, max_length=2, max_priority=5)
    for priority in (1, 4, 2):
        ch.publish(b"%d" % priority, key=queue, properties=Basic.Properties(priority=priority))
    ch.sync(queue)
    assert ch.get_bodies(queue) == [b"2", b"1"]


@fact(203)
def test_fact_203_a_waiting_consumer_comes_before_the_limit(bench: Bench) -> None:
    ch, queue = _limited(bench, max_length=0)
    ch.qos(2)
    ch.consume(queue, "c")
    _publish(ch, queue, b"1", b"2", b"3")
    ch.expect_delivery(b"1")
    ch.expect_delivery(b"2")
    ch.expect_nothing(queue)
    assert _ready(ch, queue) == 0


@fact(203)
def test_fact_203_refusal_comes_before_a_waiting_consumer(bench: Bench) -> None:
    ch, queue = _limited(bench, max_length=0, overflow="reject-publish")
    ch.consume(queue, "c")
    ch.confirm()
    ch.publish(b"1", key=queue)
    assert ch.expect(Basic.Nack).delivery_tag == 1
    ch.expect_nothing(queue)


@fact(203)
def test_fact_203_what_consumers_take_leaves_room(bench: Bench) -> None:
    ch, queue = _limited(bench, max_length=1, overflow="reject-publish")
    consumer = bench.channel()
    consumer.qos(5)
    consumer.consume(queue, "c")
    ch.confirm()
    for number in range(1, 8):
        ch.publish(b"%d" % number, key=queue)
    ch.expect_confirms(6)
    assert ch.expect(Basic.Nack).delivery_tag == 7
    for number in range(1, 6):
        consumer.expect_delivery(b"%d" % number)
    assert ch.get_bodies(queue) == [b"6"]


@fact(204)
@pytest.mark.parametrize(
    "kind",
    [
        "classic",
        pytest.param(
            "quorum",
            marks=differs_on_reference("its quorum queues begin to refuse some messages late"),
        ),
    ],
)
def test_fact_204_refused_messages_are_nacked(bench: Bench, kind: str) -> None:
    ch, queue = _limited(bench, max_length=2, overflow="reject-publish", queue_type=kind)
    ch.confirm()
    for number in range(1, 6):
        ch.publish(b"%d" % number, key=queue, properties=PERSISTENT)
    _expect_outcomes(ch, acked={1, 2}, nacked={3, 4, 5})
    assert ch.must_get(queue, no_ack=True).body == b"1"
    ch.publish(b"6", key=queue)
    _expect_outcomes(ch, acked={6}, nacked=set())
    assert ch.get_bodies(queue) == [b"2", b"6"]


@fact(204)
def test_fact_204_refused_by_bytes(bench: Bench) -> None:
    ch, queue = _limited(bench, max_length_bytes=5, overflow="reject-publish")
    ch.confirm()
    for body in (b"123", b"456", b"78", b"", b"9"):
        ch.publish(body, key=queue)
    _expect_outcomes(ch, acked={1, 3, 4}, nacked={2, 5})
    assert ch.get_bodies(queue) == [b"123", b"78", b""]


def _expect_outcomes(ch: Channel, acked: set[int], nacked: set[int]) -> None:
    """These publishes are acked and nacked, in any order and grouping."""
    waiting = acked | nacked
    seen: dict[str, set[int]] = {"Ack": set(), "Nack": set()}
    while waiting:
        item = ch.peer.next_item(ch.number)
        assert isinstance(item, Basic.Ack | Basic.Nack), item
        tag = item.delivery_tag or 0
        done = {n for n in waiting if n == tag or (item.multiple and n <= tag)}
        seen[type(item).__name__] |= done
        waiting -= done
    assert seen == {"Ack": acked, "Nack": nacked}


@fact(204)
def test_fact_204_a_requeue_is_never_refused(bench: Bench) -> None:
    ch, queue = _limited(bench, max_length=1, overflow="reject-publish")
    _publish(ch, queue, b"1")
    out = ch.must_get(queue)
    _publish(ch, queue, b"2")
    ch.nack(out.tag)
    ch.wait_ready(queue, 2)
    assert ch.get_bodies(queue) == [b"1", b"2"]


@fact(204)
def test_fact_204_a_refusal_in_a_commit_leaves_the_acks(bench: Bench) -> None:
    ch, queue = _limited(bench, max_length=1, overflow="reject-publish")
    source = bench.name()
    ch.declare_queue(source)
    ch.fill(source, b"s")
    ch.call(Tx.Select(), Tx.SelectOk)
    message = ch.must_get(source)
    for number in range(2):
        ch.publish(b"%d" % number, key=queue)
    ch.ack(message.tag)
    ch.send(Tx.Commit())
    ch.expect_channel_close(406, "PRECONDITION_FAILED - partial tx completion", method=Tx.Commit)
    ch.open()
    assert ch.get_bodies(queue) == [b"0"]
    ch.wait_ready(source, 0)


@fact(204)
def test_fact_204_refused_messages_may_be_dead_lettered(bench: Bench) -> None:
    ch = bench.channel()
    queue, dead = bench.name(), bench.name("dead")
    ch.declare_queue(dead)
    ch.declare_queue(
        queue,
        arguments={
            "x-max-length": 1,
            "x-overflow": "reject-publish-dlx",
            "x-dead-letter-exchange": "",
            "x-dead-letter-routing-key": dead,
        },
    )
    ch.confirm()
    ch.publish(b"1", key=queue)
    ch.publish(b"2", key=queue)
    _expect_outcomes(ch, acked={1}, nacked={2})
    ch.wait_ready(dead, 1)
    message = ch.must_get(dead)
    assert message.body == b"2"
    assert message.headers["x-first-death-reason"] == "maxlen"
    assert ch.get_bodies(queue) == [b"1"]


@fact(202)
def test_fact_202_dropped_messages_may_be_dead_lettered(bench: Bench) -> None:
    ch = bench.channel()
    queue, dead = bench.name(), bench.name("dead")
    ch.declare_queue(dead)
    ch.declare_queue(
        queue,
        arguments={
            "x-max-length": 1,
            "x-dead-letter-exchange": "",
            "x-dead-letter-routing-key": dead,
        },
    )
    _publish(ch, queue, b"1", b"2", b"3")
    ch.wait_ready(dead, 2)
    assert ch.get_bodies(dead) == [b"1", b"2"]
    assert ch.get_bodies(queue) == [b"3"]


def _set_policy(bench: Bench, queue: str, **settings: object) -> None:
    definition = {key.replace("_", "-"): value for key, value in settings.items()}
    set_policy(bench.node.node._broker, "/", "limits", f"^{queue}$", definition)
    bench.node.run()


@fact(205)
@pytest.mark.parametrize("limit", ["max_length", "max_length_bytes"])
def test_fact_205_a_lowered_limit_drops_at_once(memory_bench: Bench, limit: str) -> None:
    ch, queue = _limited(memory_bench, **{limit: 4})
    ch.fill(queue, b"1", b"2", b"3", b"4")
    _set_policy(memory_bench, queue, **{limit: 2})
    assert _ready(ch, queue) == 2
    _set_policy(memory_bench, queue, **{limit: 9})
    _publish(ch, queue, b"5", b"6", b"7")
    assert ch.get_bodies(queue) == [b"4", b"5", b"6", b"7"]


@fact(205)
def test_fact_205_not_where_messages_are_refused(memory_bench: Bench) -> None:
    ch, queue = _limited(memory_bench, overflow="reject-publish")
    ch.fill(queue, b"1", b"2", b"3")
    _set_policy(memory_bench, queue, max_length=1)
    _publish(ch, queue, b"4")
    assert ch.get_bodies(queue) == [b"1", b"2", b"3"]
