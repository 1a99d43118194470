"""Time to live of messages (facts 6, 196 to 200 and 207)."""

from __future__ import annotations

import pytest
from pamqp.commands import Basic, Queue

from amqbroker.management.policies import set_policy

from .conftest import Bench
from .marks import fact
from .peer import Channel


def _expiring(ms: int, **others: int) -> Basic.Properties:
    return Basic.Properties(expiration=str(ms), **others)  # type: ignore[arg-type]


def _ready(ch: Channel, queue: str) -> int:
    return ch.declare_queue(queue, passive=True).message_count or 0


@fact(6, 198)
def test_fact_006_only_the_head_expires(bench: Bench) -> None:
    ch = bench.channel()
    queue = bench.name()
    ch.declare_queue(queue)
    ch.fill(queue, b"lives long")
    ch.fill(queue, b"lives short", properties=_expiring(100))
    bench.let_pass(0.3)
    assert _ready(ch, queue) == 2
    assert ch.get_bodies(queue) == [b"lives long"]
    assert _ready(ch, queue) == 0


@fact(196)
@pytest.mark.parametrize("first", ["queue", "message"])
def test_fact_196_the_smaller_time_counts(bench: Bench, first: str) -> None:
    ch = bench.channel()
    queue = bench.name()
    ch.declare_queue(queue, arguments={"x-message-ttl": 200 if first == "queue" else 60_000})
    ch.fill(queue, b"m", properties=_expiring(60_000 if first == "queue" else 200))
    bench.let_pass(0.5)
    assert _ready(ch, queue) == 0


@fact(196)
def test_fact_196_each_queue_has_its_own_time(bench: Bench) -> None:
    ch = bench.channel()
    x, short, long = bench.name("x"), bench.name(), bench.name()
    ch.declare_exchange(x, "fanout")
    ch.declare_queue(short, arguments={"x-message-ttl": 200})
    ch.declare_queue(long, arguments={"x-message-ttl": 60_000})
    ch.bind(short, x)
    ch.bind(long, x)
    ch.publish(b"m", exchange=x)
    ch.wait_ready(long, 1)
    bench.let_pass(0.5)
    assert (_ready(ch, short), _ready(ch, long)) == (0, 1)


@fact(196)
def test_fact_196_the_expiration_is_delivered_as_it_came(bench: Bench) -> None:
    ch = bench.channel()
    queue = bench.name()
    ch.declare_queue(queue, arguments={"x-message-ttl": 30_000})
    ch.fill(queue, b"m", properties=_expiring(60_000))
    assert ch.must_get(queue).properties.expiration == "60000"


@fact(196)
def test_fact_196_a_policy_is_for_messages_that_come(memory_bench: Bench) -> None:
    ch = memory_bench.channel()
    ch.declare_queue("q")
    ch.fill("q", b"before")
    broker = memory_bench.node.node._broker
    set_policy(broker, "/", "ttl", "^q$", {"message-ttl": 200})
    ch.fill("q", b"after")
    memory_bench.advance(0.5)
    assert _ready(ch, "q") == 2
    assert ch.get_bodies("q") == [b"before"]


@fact(199)
def test_fact_199_in_an_exclusive_queue_before_it_goes(memory_bench: Bench) -> None:
    ch, other = memory_bench.channel(), memory_bench.channel()
    other.declare_queue("dead")
    dead = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "dead"}
    ch.declare_queue("q", exclusive=True, arguments={**dead, "x-message-ttl": 1000})
    ch.consume("q")
    ch.publish(b"out", key="q")
    ch.expect_delivery(b"out")
    memory_bench.advance(2.0)
    ch.peer.close()
    assert other.must_get("dead").body == b"out"


@fact(197)
@pytest.mark.parametrize("whose", ["queue", "message"])
def test_fact_197_zero_is_for_waiting_consumers_only(bench: Bench, whose: str) -> None:
    ch = bench.channel()
    queue = bench.name()
    ch.declare_queue(queue, arguments={"x-message-ttl": 0} if whose == "queue" else {})
    properties = _expiring(0) if whose == "message" else None
    ch.publish(b"nobody", key=queue, mandatory=True, properties=properties)
    ch.expect_nothing(queue)
    assert _ready(ch, queue) == 0
    ch.qos(2)
    ch.consume(queue, "c")
    for body in (b"1", b"2", b"3"):
        ch.publish(body, key=queue, mandatory=True, properties=properties)
    ch.sync(queue)
    tag = ch.expect_delivery(b"1").tag
    ch.ack(tag)
    ch.expect_delivery(b"2")
    ch.expect_nothing(queue)


@fact(197)
def test_fact_197_zero_is_confirmed(bench: Bench) -> None:
    ch = bench.channel()
    queue = bench.name()
    ch.declare_queue(queue, durable=True, arguments={"x-message-ttl": 0})
    ch.confirm()
    ch.publish(b"m", key=queue, properties=Basic.Properties(delivery_mode=2))
    ch.expect_confirms(1)
    assert ch.get(queue) is None


@fact(198)
def test_fact_198_expiry_needs_no_consumer(bench: Bench) -> None:
    ch = bench.channel()
    queue = bench.name()
    ch.declare_queue(queue, arguments={"x-message-ttl": 300})
    ch.fill(queue, b"1", b"2", b"3")
    bench.let_pass(0.6)
    assert _ready(ch, queue) == 0
    assert ch.delete_queue(queue) == 0


@fact(198)
def test_fact_198_each_at_its_own_time(bench: Bench) -> None:
    ch = bench.channel()
    queue = bench.name()
    ch.declare_queue(queue)
    ch.fill(queue, b"1", properties=_expiring(300))
    ch.fill(queue, b"2", properties=_expiring(1500))
    bench.let_pass(0.7)
    assert _ready(ch, queue) == 1
    bench.let_pass(1.2)
    assert _ready(ch, queue) == 0


@fact(198)
def test_fact_198_what_is_out_does_not_expire(bench: Bench) -> None:
    ch = bench.channel()
    queue = bench.name()
    ch.declare_queue(queue, arguments={"x-message-ttl": 200})
    ch.fill(queue, b"m")
    message = ch.must_get(queue)
    bench.let_pass(0.5)
    ch.ack(message.tag)
    ch.sync(queue)
    assert ch.get(queue) is None


@fact(199)
def test_fact_199_requeue_does_not_prolong_a_life(bench: Bench) -> None:
    ch = bench.channel()
    queue = bench.name()
    ch.declare_queue(queue, arguments={"x-message-ttl": 600})
    ch.fill(queue, b"m")
    bench.let_pass(0.4)
    ch.nack(ch.must_get(queue).tag)
    ch.wait_ready(queue, 1)
    bench.let_pass(0.4)
    assert _ready(ch, queue) == 0


@fact(199)
def test_fact_199_requeued_too_late(bench: Bench) -> None:
    ch = bench.channel()
    queue = bench.name()
    ch.declare_queue(queue, arguments={"x-message-ttl": 200})
    ch.fill(queue, b"m")
    message = ch.must_get(queue)
    ch.consume(queue, "c")
    bench.let_pass(0.5)
    ch.nack(message.tag)
    ch.expect_nothing(queue)
    assert _ready(ch, queue) == 0


@fact(200)
def test_fact_200_nobody_gets_what_has_expired(bench: Bench) -> None:
    ch = bench.channel()
    queue = bench.name()
    ch.declare_queue(queue)
    ch.fill(queue, b"lives long")
    ch.fill(queue, b"1", b"2", properties=_expiring(100))
    bench.let_pass(0.3)
    ch.must_get(queue)
    ch.consume(queue, "c")
    ch.expect_nothing(queue)
    assert _ready(ch, queue) == 0


@fact(207)
def test_fact_207_lower_priorities_wait_for_the_higher(bench: Bench) -> None:
    ch = bench.channel()
    queue = bench.name()
    ch.declare_queue(queue, arguments={"x-max-priority": 3})
    ch.fill(queue, b"low", properties=_expiring(100, priority=1))
    ch.fill(queue, b"high", properties=Basic.Properties(priority=2))
    bench.let_pass(0.3)
    assert _ready(ch, queue) == 2
    assert ch.must_get(queue, no_ack=True).body == b"high"
    assert ch.get(queue) is None


@fact(207)
def test_fact_207_the_highest_that_has_messages_expires(bench: Bench) -> None:
    ch = bench.channel()
    queue = bench.name()
    ch.declare_queue(queue, arguments={"x-max-priority": 3})
    ch.fill(queue, b"low", properties=_expiring(200, priority=1))
    ch.fill(queue, b"high", properties=_expiring(100, priority=2))
    bench.let_pass(0.5)
    assert _ready(ch, queue) == 0


@fact(198)
@pytest.mark.parametrize("mode", [1, 2])
def test_fact_198_quorum_queues_expire_too(bench: Bench, mode: int) -> None:
    ch = bench.channel()
    queue = bench.name()
    ch.declare_queue(queue, durable=True, arguments={"x-queue-type": "quorum"})
    ch.fill(queue, b"1", b"2", properties=_expiring(200, delivery_mode=mode))
    bench.let_pass(0.5)
    ch.call(Queue.Declare(queue=queue, passive=True), Queue.DeclareOk)
    assert ch.get(queue) is None
