"""Which tags may be settled: those that are out, each once, on their own channel."""

from __future__ import annotations

import pytest
from pamqp.commands import Basic

from amqbroker.core.settling import take, unknown_delivery_tag
from amqbroker.errors import PRECONDITION_FAILED, ChannelException
from tests.core.house import House, make_channel, make_entry, make_queue
from tests.semantics.peer import Channel


def test_taking_by_tag() -> None:
    channel, queue = make_channel(), make_queue()
    for tag in (1, 2, 4, 5):
        channel.unacked.add(make_entry(queue, tag, tag=tag))
    assert [entry.index for entry in take(channel, 2, False)] == [2]
    assert [entry.index for entry in take(channel, 4, True)] == [1, 4]
    assert [entry.index for entry in take(channel, 0, True)] == [5]
    assert take(channel, 0, True) == []


@pytest.mark.parametrize("tag", [0, 3, 6, -1, 2**63 - 1, -(2**63)])
@pytest.mark.parametrize("multiple", [True, False])
def test_a_tag_that_is_not_out_settles_nothing(tag: int, multiple: bool) -> None:
    channel, queue = make_channel(), make_queue()
    for known in (1, 2, 4):
        channel.unacked.add(make_entry(queue, known, tag=known))
    if tag == 0 and multiple:
        return
    with pytest.raises(ChannelException) as caught:
        take(channel, tag, multiple)
    assert caught.value.code == PRECONDITION_FAILED
    assert caught.value.explanation == f"unknown delivery tag {tag % 2**64}"
    assert channel.unacked.count == 3
    assert unknown_delivery_tag(tag).reply_text == caught.value.reply_text


def test_prefetch_comes_back_by_every_way_to_settle(house: House, ch: Channel) -> None:
    ch.declare_queue("q")
    for number in range(9):
        ch.publish(b"%d" % number, key="q")
    ch.qos(2)
    ch.consume("q")
    consumer = next(iter(house.core_channel(ch).consumers.values()))
    tags = [ch.expect_delivery().tag for _ in range(2)]
    ch.ack(tags[0])
    tags = [tags[1], ch.expect_delivery(b"2").tag]
    ch.reject(tags[0], requeue=False)
    tags = [tags[1], ch.expect_delivery(b"3").tag]
    ch.nack(tags[1], multiple=True, requeue=False)
    tags = [ch.expect_delivery(b"4").tag, ch.expect_delivery(b"5").tag]
    ch.ack(0, multiple=True)
    ch.expect_delivery(b"6")
    ch.expect_delivery(b"7")
    ch.send(Basic.Recover(requeue=True))
    ch.expect(Basic.RecoverOk)
    assert [ch.expect_delivery().body for _ in range(2)] == [b"6", b"7"]
    ch.expect_nothing("q")
    assert (consumer.unacked, house.queue("q").unacked_count) == (2, 2)


def test_what_a_cancelled_consumer_holds_is_settled_without_it(house: House, ch: Channel) -> None:
    ch.declare_queue("q")
    ch.fill("q", b"0", b"1")
    ch.qos(1)
    ch.consume("q", "t")
    tag = ch.expect_delivery(b"0").tag
    ch.cancel("t")
    ch.ack(tag)
    ch.expect_nothing("q")
    assert house.queue("q").line.ready.count == 1


def test_settling_after_the_queue_is_gone(house: House, ch: Channel) -> None:
    """Settled into nothing; a queue of the same name is not touched."""
    ch.declare_queue("q")
    ch.fill("q", b"0", b"1", b"2")
    tags = [ch.must_get("q").tag for _ in range(3)]
    ch.delete_queue("q")
    ch.declare_queue("q")
    ch.ack(tags[0])
    ch.nack(tags[1])
    ch.reject(tags[2])
    ch.expect_nothing("q")
    queue = house.queue("q")
    assert (queue.line.ready.count, queue.unacked_count) == (0, 0)
