"""Acknowledging, requeueing and prefetch limits (facts 4, 5, 174 to 187)."""

from __future__ import annotations

import pytest
from pamqp.commands import Basic

from . import wire
from .conftest import Bench
from .marks import fact
from .peer import Channel


def _filled(bench: Bench, count: int) -> tuple[Channel, str]:
    ch = bench.channel()
    queue = bench.name()
    ch.declare_queue(queue)
    ch.fill(queue, *(b"%d" % number for number in range(1, count + 1)))
    return ch, queue


def _unknown(tag: int) -> str:
    return f"PRECONDITION_FAILED - unknown delivery tag {tag % 2**64}"


def _back_in_queue(ch: Channel, queue: str, count: int) -> list[bytes]:
    """Close the channel, so that all that is unacked returns, and take the queue's content."""
    ch.close()
    ch.open()
    ch.sync(queue)
    ch.wait_ready(queue, count)
    return ch.get_bodies(queue)


@fact(174)
def test_fact_174_ack_settles_one(bench: Bench) -> None:
    ch, queue = _filled(bench, 3)
    for _ in range(3):
        ch.must_get(queue)
    ch.ack(2)
    assert _back_in_queue(ch, queue, 2) == [b"1", b"3"]


@fact(174)
def test_fact_174_multiple_settles_all_up_to_the_tag(bench: Bench) -> None:
    ch, queue = _filled(bench, 4)
    for _ in range(4):
        ch.must_get(queue)
    ch.ack(3, multiple=True)
    assert _back_in_queue(ch, queue, 1) == [b"4"]


@fact(174)
def test_fact_174_tag_zero_and_multiple_is_all(bench: Bench) -> None:
    ch, queue = _filled(bench, 3)
    for _ in range(3):
        ch.must_get(queue)
    ch.ack(0, multiple=True)
    assert _back_in_queue(ch, queue, 0) == []


@fact(174)
@pytest.mark.parametrize("method", [Basic.Ack, Basic.Nack, Basic.Reject])
@pytest.mark.parametrize("tag", [0, 7, -1])
def test_fact_174_unknown_tag(
    ch: Channel, method: type[Basic.Ack | Basic.Nack | Basic.Reject], tag: int
) -> None:
    ch.send(method(delivery_tag=tag))
    ch.expect_channel_close(406, _unknown(tag), method=method)


@fact(174)
def test_fact_174_settled_and_no_ack_tags_are_unknown(bench: Bench) -> None:
    ch, queue = _filled(bench, 3)
    ch.must_get(queue)
    ch.ack(1)
    ch.ack(1)
    ch.expect_channel_close(406, _unknown(1), method=Basic.Ack)
    ch.open()
    assert ch.must_get(queue, no_ack=True).tag == 1
    ch.ack(1)
    ch.expect_channel_close(406, _unknown(1), method=Basic.Ack)


@fact(175)
def test_fact_175_multiple_must_name_an_outstanding_tag(bench: Bench) -> None:
    ch, queue = _filled(bench, 3)
    for _ in range(3):
        ch.must_get(queue)
    ch.ack(2)
    ch.ack(2, multiple=True)
    ch.expect_channel_close(406, _unknown(2), method=Basic.Ack)
    ch.open()
    ch.wait_ready(queue, 2)
    assert ch.get_bodies(queue) == [b"1", b"3"]


@fact(175)
def test_fact_175_multiple_beyond_the_last_tag_settles_nothing(bench: Bench) -> None:
    ch, queue = _filled(bench, 2)
    ch.must_get(queue)
    ch.ack(5, multiple=True)
    ch.expect_channel_close(406, _unknown(5), method=Basic.Ack)
    ch.open()
    ch.wait_ready(queue, 2)
    assert ch.get_bodies(queue) == [b"1", b"2"]


@fact(175)
def test_fact_175_tag_zero_with_nothing_outstanding(ch: Channel) -> None:
    ch.ack(0, multiple=True)
    ch.nack(0, multiple=True)
    ch.expect_nothing()


@fact(176)
def test_fact_176_acks_belong_to_the_delivering_channel(bench: Bench) -> None:
    ch, queue = _filled(bench, 1)
    ch.must_get(queue)
    other = ch.peer.open_channel()
    other.ack(1)
    other.expect_channel_close(406, _unknown(1), method=Basic.Ack)
    ch.ack(1)
    ch.expect_nothing()


@fact(177)
@pytest.mark.parametrize("method", ["nack", "reject"])
def test_fact_177_without_requeue_messages_are_dropped(bench: Bench, method: str) -> None:
    ch, queue = _filled(bench, 2)
    tag = ch.must_get(queue).tag
    if method == "nack":
        ch.nack(tag, requeue=False)
    else:
        ch.reject(tag, requeue=False)
    assert _back_in_queue(ch, queue, 1) == [b"2"]


@fact(177)
def test_fact_177_nack_multiple(bench: Bench) -> None:
    ch, queue = _filled(bench, 4)
    for _ in range(4):
        ch.must_get(queue)
    ch.nack(3, multiple=True, requeue=False)
    assert _back_in_queue(ch, queue, 1) == [b"4"]


@fact(177)
def test_fact_177_rejected_messages_are_dead_lettered(bench: Bench) -> None:
    ch = bench.channel()
    queue, dead = bench.name(), bench.name("dead")
    ch.declare_queue(dead)
    ch.declare_queue(
        queue, arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead}
    )
    ch.fill(queue, b"1", b"2", b"3")
    for _ in range(3):
        ch.must_get(queue)
    ch.reject(1, requeue=False)
    ch.nack(3, multiple=True, requeue=False)
    ch.wait_ready(dead, 3)
    message = ch.must_get(dead)
    assert message.body == b"1"
    assert message.headers["x-first-death-reason"] == "rejected"


@fact(5, 173)
def test_fact_005_requeue_returns_messages_to_their_place(bench: Bench) -> None:
    ch, queue = _filled(bench, 5)
    for _ in range(4):
        ch.must_get(queue)
    ch.nack(3)
    ch.reject(1)
    ch.nack(4)
    ch.wait_ready(queue, 4)
    seen = [(m.body, m.redelivered) for m in (ch.must_get(queue, no_ack=True) for _ in range(4))]
    assert seen == [(b"1", True), (b"3", True), (b"4", True), (b"5", False)]


@fact(179)
def test_fact_179_recover_requeues_all_of_the_channel(bench: Bench) -> None:
    ch, queue = _filled(bench, 3)
    for _ in range(2):
        ch.must_get(queue)
    ch.call(Basic.Recover(requeue=True), Basic.RecoverOk)
    ch.wait_ready(queue, 3)
    assert [ch.must_get(queue).redelivered for _ in range(3)] == [True, True, False]
    ch.peer.send_raw(wire.method(ch.number, 60, 100, b"\x01"))
    ch.wait_ready(queue, 3)
    ch.expect_nothing(queue)
    assert ch.get_bodies(queue) == [b"1", b"2", b"3"]


@fact(179)
def test_fact_179_recovered_messages_are_delivered_again(bench: Bench) -> None:
    ch, queue = _filled(bench, 2)
    ch.consume(queue, "c")
    tags = [ch.expect_delivery().tag for _ in range(2)]
    ch.send(Basic.Recover(requeue=True))
    ch.expect(Basic.RecoverOk)
    again = [ch.expect_delivery() for _ in range(2)]
    assert [m.body for m in again] == [b"1", b"2"]
    assert all(m.redelivered for m in again)
    assert [m.tag for m in again] == [tag + 2 for tag in tags]


@fact(179)
@pytest.mark.parametrize("method_id", [100, 110])
def test_fact_179_recover_without_requeue_is_not_implemented(ch: Channel, method_id: int) -> None:
    ch.peer.send_raw(wire.method(ch.number, 60, method_id, b"\x00"))
    close = ch.peer.expect_connection_close(540, "NOT_IMPLEMENTED - requeue=false")
    assert (close.class_id, close.method_id) == (60, method_id)


@fact(180)
def test_fact_180_lost_connection_requeues_in_place(bench: Bench) -> None:
    ch, queue = _filled(bench, 4)
    watcher = bench.channel()
    for _ in range(3):
        ch.must_get(queue)
    ch.ack(2)
    ch.peer.drop()
    watcher.wait_ready(queue, 3)
    watcher.consume(queue, "c")
    seen = [watcher.expect_delivery() for _ in range(3)]
    assert [(m.body, m.redelivered) for m in seen] == [
        (b"1", True),
        (b"3", True),
        (b"4", False),
    ]


@fact(174, 177)
def test_fact_174_a_message_that_was_redelivered_is_not_settled_by_its_old_place(
    bench: Bench,
) -> None:
    ch, queue = _filled(bench, 4)
    tags = [ch.must_get(queue).tag for _ in range(4)]
    ch.nack(tags[1])
    ch.sync(queue)
    again = ch.must_get(queue)
    assert again.body == b"2"
    ch.ack(tags[2], multiple=True)
    ch.ack(again.tag - 1)
    ch.nack(again.tag)
    ch.sync(queue)
    assert ch.get_bodies(queue) == [b"2"]


@fact(181)
def test_fact_181_no_ack_timeout_by_default(memory_bench: Bench) -> None:
    ch, queue = _filled(memory_bench, 1)
    ch.consume(queue, "c")
    ch.expect_delivery(b"1")
    memory_bench.advance(7200)
    ch.ack(1)
    ch.expect_nothing(queue)


@fact(182, 2)
def test_fact_182_prefetch_size_is_not_implemented(ch: Channel) -> None:
    ch.send(Basic.Qos(prefetch_size=10, prefetch_count=1))
    ch.peer.expect_connection_close(
        540, "NOT_IMPLEMENTED - prefetch_size!=0 (10)", method=Basic.Qos
    )


@fact(183, 4)
def test_fact_183_prefetch_is_for_later_consumers(bench: Bench) -> None:
    ch, queue = _filled(bench, 6)
    ch.qos(1)
    ch.consume(queue, "one")
    ch.qos(3)
    ch.consume(queue, "three")
    tags = [str(ch.expect_delivery().method["consumer_tag"]) for _ in range(4)]
    assert sorted(tags) == ["one", "three", "three", "three"]
    ch.expect_nothing(queue)
    ch.wait_ready(queue, 2)


@fact(183)
def test_fact_183_changing_it_leaves_running_consumers_alone(bench: Bench) -> None:
    ch, queue = _filled(bench, 3)
    ch.qos(1)
    ch.consume(queue, "c")
    ch.expect_delivery(b"1")
    ch.qos(10)
    ch.expect_nothing(queue)


@fact(183)
def test_fact_183_zero_is_unlimited(bench: Bench) -> None:
    ch, queue = _filled(bench, 30)
    ch.qos(1)
    ch.qos(0)
    ch.consume(queue, "c")
    for _ in range(30):
        ch.expect_delivery()


@fact(184, 186)
def test_fact_184_global_limit_is_shared_and_immediate(bench: Bench) -> None:
    ch, queue = _filled(bench, 9)
    ch.qos(2, global_=True)
    ch.consume(queue, "a")
    ch.consume(queue, "b")
    ch.expect_delivery(b"1")
    last = ch.expect_delivery(b"2")
    ch.expect_nothing(queue)
    ch.qos(4, global_=True)
    ch.expect_delivery(b"3")
    ch.expect_delivery(b"4")
    ch.expect_nothing(queue)
    ch.ack(last.tag, multiple=True)
    ch.expect_delivery(b"5")
    ch.expect_delivery(b"6")
    ch.expect_nothing(queue)


@fact(184)
def test_fact_184_both_limits_apply(bench: Bench) -> None:
    ch, queue = _filled(bench, 9)
    ch.qos(2)
    ch.qos(3, global_=True)
    ch.consume(queue, "a")
    ch.consume(queue, "b")
    tags = [str(ch.expect_delivery().method["consumer_tag"]) for _ in range(3)]
    ch.expect_nothing(queue)
    assert max(tags.count("a"), tags.count("b")) == 2


def _one_of_four_is_out(bench: Bench) -> tuple[Channel, str]:
    """A consumer on a channel that may have one message, and has it."""
    ch, queue = _filled(bench, 4)
    ch.qos(1, global_=True)
    ch.consume(queue, "c")
    ch.expect_delivery(b"1")
    return ch, queue


@fact(184)
def test_fact_184_lifting_the_global_limit(bench: Bench) -> None:
    ch, queue = _one_of_four_is_out(bench)
    ch.expect_nothing(queue)
    ch.qos(0, global_=True)
    for body in (b"2", b"3", b"4"):
        ch.expect_delivery(body)


@fact(184)
def test_fact_184_a_prefetch_for_later_consumers_lifts_it(bench: Bench) -> None:
    ch, queue = _one_of_four_is_out(bench)
    ch.expect_nothing(queue)
    ch.qos(1)
    for body in (b"2", b"3", b"4"):
        ch.expect_delivery(body)


@fact(185)
def test_fact_185_get_is_never_limited(bench: Bench) -> None:
    ch, queue = _one_of_four_is_out(bench)
    assert ch.must_get(queue).body == b"2"
    assert ch.must_get(queue).body == b"3"
    ch.expect_nothing(queue)


@fact(187)
@pytest.mark.parametrize("how", ["ack", "nack", "reject"])
def test_fact_187_settling_returns_the_credit(bench: Bench, how: str) -> None:
    ch, queue = _filled(bench, 3)
    ch.qos(1)
    ch.consume(queue, "c")
    message = ch.expect_delivery(b"1")
    ch.expect_nothing(queue)
    if how == "ack":
        ch.ack(message.tag)
    elif how == "nack":
        ch.nack(message.tag, requeue=False)
    else:
        ch.reject(message.tag, requeue=False)
    ch.expect_delivery(b"2")
    ch.expect_nothing(queue)


@fact(187)
def test_fact_187_credit_is_per_consumer(bench: Bench) -> None:
    ch, queue = _filled(bench, 4)
    ch.qos(1)
    ch.consume(queue, "a")
    first = ch.expect_delivery(b"1", "a")
    ch.consume(queue, "b")
    ch.expect_delivery(b"2", "b")
    ch.ack(first.tag)
    ch.expect_delivery(b"3", "a")
    ch.expect_nothing(queue)


@fact(181)
def test_fact_181_a_late_consumer_is_cancelled_where_a_timeout_is_set(memory_bench: Bench) -> None:
    """Its messages go back, and the channel stays open (RabbitMQ 3.13 closes it)."""
    ch, queue = memory_bench.channel(), memory_bench.name()
    ch.declare_queue(queue, arguments={"x-consumer-timeout": 60_000})
    ch.fill(queue, b"1")
    ch.consume(queue, "c")
    ch.expect_delivery(b"1")
    memory_bench.advance(70)
    assert ch.expect(Basic.Cancel).consumer_tag == "c"
    again = ch.must_get(queue)
    assert (again.body, again.redelivered) == (b"1", True)
    ch.ack(1)
    ch.ack(again.tag)
    ch.expect_nothing(queue)


@fact(184)
def test_fact_184_who_has_waited_longest_gets_the_room(bench: Bench) -> None:
    ch = bench.channel()
    queue = bench.name()
    ch.declare_queue(queue)
    for tag in ("a", "b", "c"):
        ch.consume(queue, tag)
    ch.qos(1, global_=True)
    for _ in range(7):
        ch.publish(key=queue)
    for tag in ("a", "b", "c", "a", "b", "c", "a"):
        ch.ack(ch.expect_delivery(tag=tag).tag)


@fact(184)
def test_fact_184_the_order_of_turns_is_older_than_the_limit(bench: Bench) -> None:
    """Who got something before there was a limit is behind the others when there is one."""
    ch = bench.channel()
    queue = bench.name()
    ch.declare_queue(queue)
    for tag in ("a", "b", "c"):
        ch.consume(queue, tag)
    ch.publish(key=queue)
    ch.ack(ch.expect_delivery(tag="a").tag)
    ch.qos(1, global_=True)
    for _ in range(4):
        ch.publish(key=queue)
    for tag in ("b", "c", "a", "b"):
        ch.ack(ch.expect_delivery(tag=tag).tag)


@fact(184, 187)
def test_fact_184_a_consumer_at_its_own_limit_waits_for_that(bench: Bench) -> None:
    """It keeps its place while others get what the channel's limit has room for."""
    ch = bench.channel()
    queue = bench.name()
    ch.declare_queue(queue)
    ch.qos(1)
    ch.consume(queue, "one")
    ch.qos(0)
    for tag in ("a", "b"):
        ch.consume(queue, tag)
    ch.qos(3, global_=True)
    for _ in range(7):
        ch.publish(key=queue)
    first = ch.expect_delivery(tag="one").tag
    tags = [ch.expect_delivery(tag=tag).tag for tag in ("a", "b")]
    for wanted in ("a", "b", "a"):
        ch.ack(tags.pop(0))
        tags.append(ch.expect_delivery(tag=wanted).tag)
    ch.ack(first)
    ch.expect_delivery(tag="one")


@fact(184)
def test_fact_184_another_limit_counts_on(bench: Bench) -> None:
    """What `basic.get` took under the first limit does not count under the second either."""
    ch = bench.channel()
    queue = bench.name()
    ch.declare_queue(queue)
    ch.qos(1, global_=True)
    ch.fill(queue, b"1", b"2", b"3", b"4")
    ch.must_get(queue)
    ch.consume(queue, "c")
    ch.expect_delivery(b"2")
    ch.qos(2, global_=True)
    ch.expect_delivery(b"3")
    ch.expect_nothing(queue)


@fact(187)
def test_fact_187_one_ack_of_several_consumers_is_one_of_each(bench: Bench) -> None:
    """In the order of their tags; the first gets all that it has room for."""
    ch = bench.channel()
    queue = bench.name()
    ch.declare_queue(queue)
    ch.qos(2)
    for tag in ("b", "a"):
        ch.consume(queue, tag)
    for _ in range(8):
        ch.publish(key=queue)
    for tag in ("b", "a", "b", "a"):
        last = ch.expect_delivery(tag=tag).tag
    ch.ack(last, multiple=True)
    for tag in ("a", "a", "b", "b"):
        ch.expect_delivery(tag=tag)


@fact(184, 187)
def test_fact_187_one_ack_of_several_consumers_under_the_channels_limit(bench: Bench) -> None:
    """Where it has stopped them, they go on in turn, in the order in which they had to stop."""
    ch = bench.channel()
    queue = bench.name()
    ch.declare_queue(queue)
    ch.qos(4, global_=True)
    for tag in ("b", "a"):
        ch.consume(queue, tag)
    for _ in range(8):
        ch.publish(key=queue)
    for tag in ("b", "a", "b", "a"):
        last = ch.expect_delivery(tag=tag).tag
    ch.ack(last, multiple=True)
    for tag in ("b", "a", "b", "a"):
        ch.expect_delivery(tag=tag)
