"""Consumers: starting, delivering, cancelling, taking turns (facts 161 to 173, 188, 189, 194 and
195).
"""

from __future__ import annotations

import re

import pytest
from pamqp.commands import Basic, Queue

from . import wire
from .conftest import Bench
from .marks import differs_on_reference, fact
from .peer import CAPABILITIES, Channel


@fact(161)
def test_fact_161_server_made_tags(bench: Bench) -> None:
    ch = bench.channel()
    queue = bench.name()
    ch.declare_queue(queue)
    tags = {ch.consume(queue), ch.consume(queue)}
    assert len(tags) == 2
    assert all(re.fullmatch(r"amq\.ctag-[A-Za-z0-9_-]{22}", tag) for tag in tags)


@fact(161)
def test_fact_161_tags_are_unique_in_a_channel_only(bench: Bench) -> None:
    peer = bench.connect()
    a, b = peer.open_channel(), peer.open_channel()
    queue = bench.name()
    a.declare_queue(queue)
    assert a.consume(queue, "same") == "same"
    assert b.consume(queue, "same") == "same"


@fact(162, 2)
def test_fact_162_reusing_a_tag_ends_the_connection(bench: Bench) -> None:
    ch = bench.channel()
    queue = bench.name()
    ch.declare_queue(queue)
    ch.consume(queue, "same")
    ch.send(Basic.Consume(queue=queue, consumer_tag="same"))
    ch.peer.expect_connection_close(
        530, "NOT_ALLOWED - attempt to reuse consumer tag 'same'", method=Basic.Consume
    )


@fact(162)
def test_fact_162_a_cancelled_tag_is_free(bench: Bench) -> None:
    ch = bench.channel()
    queue = bench.name()
    ch.declare_queue(queue)
    ch.consume(queue, "same")
    ch.cancel("same")
    ch.consume(queue, "same")


@fact(163, 7)
def test_fact_163_missing_queue(bench: Bench) -> None:
    ch = bench.channel()
    queue = bench.name("missing")
    text = f"NOT_FOUND - no queue '{queue}' in vhost '/'"
    ch.fails(Basic.Consume(queue=queue), 404, text)
    ch.fails(Basic.Get(queue=queue), 404, text)


@fact(164)
def test_fact_164_exclusive_consumer_shuts_out_others(bench: Bench) -> None:
    ch, other = bench.channel(), bench.channel()
    queue = bench.name()
    text = f"ACCESS_REFUSED - queue '{queue}' in vhost '/' in exclusive use"
    ch.declare_queue(queue)
    ch.consume(queue, "c", exclusive=True)
    other.fails(Basic.Consume(queue=queue), 403, text)
    other.fails(Basic.Consume(queue=queue, exclusive=True), 403, text)
    ch.cancel("c")
    other.consume(queue)


@fact(164)
def test_fact_164_exclusive_needs_a_queue_without_consumers(bench: Bench) -> None:
    ch = bench.channel()
    queue = bench.name()
    ch.declare_queue(queue)
    other = ch.peer.open_channel()
    other.consume(queue)
    ch.fails(
        Basic.Consume(queue=queue, exclusive=True),
        403,
        f"ACCESS_REFUSED - queue '{queue}' in vhost '/' in exclusive use",
    )


@fact(165)
def test_fact_165_consume_ok_comes_first(bench: Bench) -> None:
    ch = bench.channel()
    queue = bench.name()
    ch.declare_queue(queue)
    ch.fill(queue, b"1", b"2")
    for number in (b"1", b"2"):
        ch.qos(1)
        ch.send(Basic.Consume(queue=queue, consumer_tag=f"c{number!r}"))
        assert ch.expect(Basic.ConsumeOk).consumer_tag == f"c{number!r}"
        ch.expect_delivery(number, f"c{number!r}")


@fact(166)
def test_fact_166_no_local_is_ignored(bench: Bench) -> None:
    ch = bench.channel()
    queue = bench.name()
    ch.declare_queue(queue)
    ch.consume(queue, "c", no_local=True)
    ch.publish(b"mine", key=queue)
    ch.expect_delivery(b"mine")


def _delivered(ch: Channel, count: int) -> list[tuple[str, bytes]]:
    out = []
    for _ in range(count):
        message = ch.expect_delivery()
        out.append((str(message.method["consumer_tag"]), message.body))
    return out


@fact(167)
def test_fact_167_round_robin(bench: Bench) -> None:
    ch = bench.channel()
    queue = bench.name()
    ch.declare_queue(queue)
    for tag in ("a", "b", "c"):
        ch.consume(queue, tag)
    for number in range(6):
        ch.publish(b"%d" % number, key=queue)
    tags = [tag for tag, _ in _delivered(ch, 6)]
    assert sorted(tags[:3]) == ["a", "b", "c"]
    assert tags[3:] == tags[:3]


@fact(167)
def test_fact_167_who_comes_back_is_last_in_line(bench: Bench) -> None:
    ch = bench.channel()
    queue = bench.name()
    ch.declare_queue(queue)
    for tag, limit in (("a", 1), ("b", 0), ("c", 0)):
        ch.qos(limit)
        ch.consume(queue, tag)
    for number in range(5):
        ch.publish(b"%d" % number, key=queue)
    assert [tag for tag, _ in _delivered(ch, 5)] == ["a", "b", "c", "b", "c"]
    ch.publish(b"5", key=queue)
    assert [tag for tag, _ in _delivered(ch, 1)] == ["b"]
    ch.ack(1)
    ch.sync(queue)
    for number in range(6, 9):
        ch.publish(b"%d" % number, key=queue)
    assert [tag for tag, _ in _delivered(ch, 3)] == ["c", "b", "a"]


@fact(167)
def test_fact_167_highest_priority_first(bench: Bench) -> None:
    ch = bench.channel()
    queue = bench.name()
    ch.declare_queue(queue)
    ch.qos(2)
    for tag, priority in (("low", -5), ("none", None), ("high", 10)):
        arguments = {} if priority is None else {"x-priority": priority}
        ch.consume(queue, tag, arguments=dict(arguments))
    for number in range(6):
        ch.publish(b"%d" % number, key=queue)
    assert [tag for tag, _ in _delivered(ch, 6)] == ["high"] * 2 + ["none"] * 2 + ["low"] * 2


@fact(167)
def test_fact_167_priority_must_be_an_integer(bench: Bench) -> None:
    ch = bench.channel()
    queue = bench.name()
    ch.declare_queue(queue)
    close = ch.fails(Basic.Consume(queue=queue, arguments={"x-priority": "high"}), 406)
    assert close.reply_text.startswith("PRECONDITION_FAILED - invalid arg 'x-priority' for queue")


@fact(168)
def test_fact_168_no_ack_ignores_prefetch_and_settles(bench: Bench) -> None:
    ch = bench.channel()
    queue = bench.name()
    ch.declare_queue(queue)
    ch.fill(queue, b"1", b"2", b"3")
    ch.qos(1)
    ch.consume(queue, "c", no_ack=True)
    assert [body for _, body in _delivered(ch, 3)] == [b"1", b"2", b"3"]
    ch.close()
    ch.open()
    ch.sync(queue)
    ch.wait_ready(queue, 0)


@fact(168)
def test_fact_168_the_channels_limit_holds_without_acks_too(bench: Bench) -> None:
    ch = bench.channel()
    queue = bench.name()
    ch.declare_queue(queue)
    ch.qos(1, global_=True)
    ch.consume(queue, "first")
    for body in (b"1", b"2", b"3"):
        ch.publish(body, key=queue)
    ch.expect_delivery(b"1")
    ch.consume(queue, "second", no_ack=True)
    ch.expect_nothing(queue)
    ch.cancel("first")
    ch.ack(1)
    assert [body for _, body in _delivered(ch, 2)] == [b"2", b"3"]


@fact(169)
def test_fact_169_delivery_tags_count_all_messages_of_a_channel(bench: Bench) -> None:
    peer = bench.connect()
    ch, other = peer.open_channel(), peer.open_channel()
    queue = bench.name()
    ch.declare_queue(queue)
    ch.fill(queue, b"1", b"2", b"3", b"4", b"5")
    assert ch.must_get(queue).tag == 1
    assert ch.must_get(queue, no_ack=True).tag == 2
    assert other.must_get(queue).tag == 1
    ch.consume(queue, "c", no_ack=True)
    assert [ch.expect_delivery().tag for _ in range(2)] == [3, 4]
    ch.consume(queue, "d")
    ch.cancel("c")
    ch.publish(b"6", key=queue)
    assert ch.expect_delivery(b"6", "d").tag == 5


@fact(171, 70)
@pytest.mark.parametrize("how", ["nack", "reject", "recover", "close"])
def test_fact_171_redelivered(bench: Bench, how: str) -> None:
    ch = bench.channel()
    queue = bench.name()
    ch.declare_queue(queue)
    ch.fill(queue, b"m")
    message = ch.must_get(queue)
    assert not message.redelivered
    if how == "nack":
        ch.nack(message.tag)
    elif how == "reject":
        ch.reject(message.tag)
    elif how == "recover":
        ch.call(Basic.Recover(requeue=True), Basic.RecoverOk)
    else:
        ch.close()
        ch.open()
    ch.wait_ready(queue, 1)
    assert ch.must_get(queue).redelivered


@fact(172)
def test_fact_172_deliver_names_the_publish(bench: Bench) -> None:
    ch = bench.channel()
    queue = bench.name()
    ch.declare_queue(queue)
    ch.bind(queue, "amq.topic", f"{queue}.#")
    ch.consume(queue, "c")
    ch.publish(b"1", exchange="amq.topic", key=f"{queue}.x.y")
    message = ch.expect_delivery(b"1", "c")
    assert message.method["exchange"] == "amq.topic"
    assert message.method["routing_key"] == f"{queue}.x.y"
    ch.publish(b"2", key=queue)
    message = ch.expect_delivery(b"2", "c")
    assert (message.method["exchange"], message.method["routing_key"]) == ("", queue)


@fact(172)
def test_fact_172_get_ok_names_the_publish(bench: Bench) -> None:
    ch = bench.channel()
    queue, x, inner = bench.name(), bench.name("x"), bench.name("i")
    ch.declare_queue(queue)
    ch.declare_exchange(x, "fanout")
    ch.declare_exchange(inner, "fanout")
    ch.bind_exchange(inner, x)
    ch.bind(queue, inner)
    ch.publish(exchange=x, key="k")
    ch.wait_ready(queue, 1)
    message = ch.must_get(queue)
    assert (message.method["exchange"], message.method["routing_key"]) == (x, "k")


@fact(173)
def test_fact_173_publish_order_is_kept(bench: Bench) -> None:
    ch = bench.channel()
    queue = bench.name()
    ch.declare_queue(queue, durable=True)
    bodies = [b"%03d" % number for number in range(100)]
    for number, body in enumerate(bodies):
        mode = 2 if number % 3 else 1
        ch.publish(body, key=queue, properties=Basic.Properties(delivery_mode=mode))
    ch.qos(7)
    ch.consume(queue, "c")
    seen = []
    for _ in bodies:
        message = ch.expect_delivery()
        seen.append(message.body)
        ch.ack(message.tag)
    assert seen == bodies


@fact(188, 7)
def test_fact_188_cancelling_an_unknown_tag_succeeds(ch: Channel) -> None:
    ok = ch.call(Basic.Cancel(consumer_tag="never"), Basic.CancelOk)
    assert ok.consumer_tag == "never"


@fact(188)
def test_fact_188_outstanding_messages_survive_a_cancel(bench: Bench) -> None:
    ch = bench.channel()
    queue = bench.name()
    ch.declare_queue(queue)
    ch.qos(2)
    ch.consume(queue, "c")
    ch.publish(b"1", key=queue)
    ch.publish(b"2", key=queue)
    first, second = ch.expect_delivery(b"1"), ch.expect_delivery(b"2")
    ch.cancel("c")
    ch.publish(b"3", key=queue)
    ch.expect_nothing(queue)
    assert ch.declare_queue(queue, passive=True).consumer_count == 0
    ch.ack(first.tag)
    ch.nack(second.tag)
    ch.wait_ready(queue, 2)
    assert ch.get_bodies(queue) == [b"2", b"3"]


@fact(189, 20)
def test_fact_189_capable_clients_hear_of_a_deleted_queue(bench: Bench) -> None:
    ch, other = bench.channel(), bench.channel()
    queue = bench.name()
    ch.declare_queue(queue)
    ch.consume(queue, "c")
    other.delete_queue(queue)
    cancel = ch.expect(Basic.Cancel)
    assert (cancel.consumer_tag, cancel.nowait) == ("c", True)
    ch.expect_nothing()


@fact(189)
def test_fact_189_several_consumers_are_told_in_the_order_of_their_tags(bench: Bench) -> None:
    ch = bench.channel()
    queue = bench.name()
    ch.declare_queue(queue)
    for tag in ("t9", "b", "t10", "a"):
        ch.consume(queue, tag)
    bench.channel().delete_queue(queue)
    tags = [ch.expect(Basic.Cancel).consumer_tag for _ in range(4)]
    assert tags == ["a", "b", "t10", "t9"]


@fact(189)
@differs_on_reference("3.10 ends the connection with 503")
def test_fact_189_an_answer_to_cancel_is_tolerated(bench: Bench) -> None:
    ch = bench.channel()
    queue = bench.name()
    ch.declare_queue(queue)
    ch.consume(queue, "c")
    bench.channel().delete_queue(queue)
    ch.expect(Basic.Cancel)
    ch.send(Basic.CancelOk(consumer_tag="c"))
    ch.expect_nothing()


@fact(189, 20)
def test_fact_189_others_do_not(bench: Bench) -> None:
    capabilities = dict(CAPABILITIES)
    del capabilities["consumer_cancel_notify"]
    ch = bench.connect(capabilities=capabilities).open_channel()
    queue = bench.name()
    ch.declare_queue(queue)
    ch.consume(queue, "c")
    bench.channel().delete_queue(queue)
    ch.expect_nothing()


@fact(189)
def test_fact_189_deleting_ones_own_queue(bench: Bench) -> None:
    ch = bench.channel()
    queue = bench.name()
    ch.declare_queue(queue)
    ch.consume(queue, "c")
    ch.send(Queue.Delete(queue=queue))
    seen = {type(ch.peer.next_item(ch.number)) for _ in range(2)}
    assert seen == {Basic.Cancel, Queue.DeleteOk}


@fact(192)
def test_fact_192_get_works_beside_consumers(bench: Bench) -> None:
    ch, other = bench.channel(), bench.channel()
    queue = bench.name()
    ch.declare_queue(queue)
    ch.qos(1)
    ch.consume(queue, "c", exclusive=True)
    ch.publish(b"1", key=queue)
    ch.publish(b"2", key=queue)
    ch.expect_delivery(b"1")
    ch.wait_ready(queue, 1)
    assert other.must_get(queue).body == b"2"


@fact(192)
def test_fact_192_get_works_on_a_single_active_consumer_queue(bench: Bench) -> None:
    ch = bench.channel()
    queue = bench.name()
    ch.declare_queue(queue, arguments={"x-single-active-consumer": True})
    ch.fill(queue, b"1", b"2")
    ch.qos(1)
    ch.consume(queue, "c")
    ch.expect_delivery(b"1")
    assert ch.must_get(queue).body == b"2"


@fact(191)
def test_fact_191_get_counts_what_is_left(bench: Bench) -> None:
    ch = bench.channel()
    queue = bench.name()
    ch.declare_queue(queue)
    ch.fill(queue, b"1", b"2", b"3")
    left = [ch.must_get(queue).method["message_count"] for _ in range(3)]
    assert left == [2, 1, 0]
    assert ch.get(queue) is None


@fact(191)
def test_fact_191_what_expired_behind_it_is_not_left(bench: Bench) -> None:
    ch = bench.channel()
    queue = bench.name()
    ch.declare_queue(queue)
    ch.publish(b"1", key=queue)
    for _ in range(3):
        ch.publish(b"short", key=queue, properties=Basic.Properties(expiration="0"))
    ch.publish(b"2", key=queue)
    ch.wait_ready(queue, 5)
    assert ch.must_get(queue).method["message_count"] == 1
    assert ch.must_get(queue).body == b"2"


@fact(193)
def test_fact_193_get_keeps_a_queue_from_expiring(memory_bench: Bench) -> None:
    ch = memory_bench.channel()
    ch.declare_queue("q", arguments={"x-expires": 10000})
    memory_bench.advance(9)
    assert ch.get("q") is None
    memory_bench.advance(9)
    assert ch.queue_exists("q")


@fact(194)
def test_fact_194_one_active_consumer_the_others_wait(bench: Bench) -> None:
    ch = bench.channel()
    queue = bench.name()
    ch.declare_queue(queue, arguments={"x-single-active-consumer": True})
    for tag in ("a", "b", "c"):
        ch.consume(queue, tag)
    for number in range(4):
        ch.publish(b"%d" % number, key=queue)
    assert [tag for tag, _ in _delivered(ch, 4)] == ["a"] * 4
    ch.cancel("a")
    ch.publish(b"4", key=queue)
    ch.expect_delivery(b"4", "b")


@fact(194)
def test_fact_194_the_next_follows_a_lost_connection(bench: Bench) -> None:
    first, second = bench.channel(), bench.channel()
    queue = bench.name()
    first.declare_queue(queue, arguments={"x-single-active-consumer": True})
    first.consume(queue, "a")
    second.consume(queue, "b")
    first.publish(b"m", key=queue)
    first.expect_delivery(b"m", "a")
    first.peer.drop()
    message = second.expect_delivery(b"m", "b")
    assert message.redelivered


@fact(194)
def test_fact_194_exclusive_consumers_are_refused(bench: Bench) -> None:
    ch = bench.channel()
    queue = bench.name()
    ch.declare_queue(queue, arguments={"x-single-active-consumer": True})
    ch.fails(
        Basic.Consume(queue=queue, exclusive=True),
        403,
        f"ACCESS_REFUSED - queue '{queue}' in vhost '/' in exclusive use",
    )


@fact(194)
def test_fact_194_next_is_chosen_by_priority_then_age(bench: Bench) -> None:
    ch = bench.channel()
    queue = bench.name()
    ch.declare_queue(queue, arguments={"x-single-active-consumer": True})
    ch.consume(queue, "active")
    ch.consume(queue, "old")
    ch.consume(queue, "young")
    ch.consume(queue, "prior", arguments={"x-priority": 5})
    for gone, chosen in (("active", "prior"), ("prior", "old"), ("old", "young")):
        ch.cancel(gone)
        ch.publish(b"m", key=queue)
        ch.expect_delivery(b"m", chosen)


@fact(195)
def test_fact_195_higher_priority_does_not_take_over(bench: Bench) -> None:
    ch = bench.channel()
    queue = bench.name()
    ch.declare_queue(queue, arguments={"x-single-active-consumer": True})
    ch.consume(queue, "a")
    ch.consume(queue, "b", arguments={"x-priority": 10})
    ch.publish(b"m", key=queue)
    ch.expect_delivery(b"m", "a")


@fact(60)
def test_fact_060_empty_message_has_no_body_frame(bench: Bench) -> None:
    ch = bench.channel()
    queue = bench.name()
    ch.declare_queue(queue)
    ch.peer.send_raw(wire.publish(ch.number, "", queue) + wire.header(ch.number, 0))
    ch.wait_ready(queue, 1)
    message = ch.must_get(queue)
    assert (message.body, message.body_frames) == (b"", 0)
