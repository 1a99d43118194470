"""Consumers that come and go: what consume, cancel, get and qos leave behind."""

from __future__ import annotations

import pytest
from pamqp.commands import Basic, Queue, Tx
from pamqp.common import FieldTable

from tests.core.house import PERSISTENT, House, core, items
from tests.semantics.messages import Message
from tests.semantics.peer import Channel


def test_a_refused_consume_leaves_nothing_behind(house: House, ch: Channel) -> None:
    ch.declare_queue("q", auto_delete=True)
    method = Basic.Consume(queue="q", consumer_tag="t", arguments={"x-priority": "high"})
    ch.fails(
        method,
        406,
        "PRECONDITION_FAILED - invalid arg 'x-priority' for queue 'q' in vhost '/': "
        '"expected integer, got longstr"',
    )
    assert not house.queue("q").had_consumer
    ch.consume("q", "t")
    ch.cancel("t")
    assert not ch.queue_exists("q")


def test_a_tag_can_be_used_again_after_its_cancel(house: House, ch: Channel) -> None:
    ch.declare_queue("q")
    for _ in range(3):
        ch.consume("q", "t")
        ch.cancel("t")
    assert house.queue("q").consumers.all == []
    assert house.core_channel(ch).consumers == {}


def test_made_up_tags_differ(ch: Channel) -> None:
    ch.declare_queue("q")
    assert len({ch.consume("q") for _ in range(50)}) == 50


def consume_within(ch: Channel, limit: int, messages: int) -> None:
    """A consumer under a limit of its channel, and messages `0`, `1`, ... for it."""
    ch.declare_queue("q")
    ch.qos(limit, global_=True)
    ch.consume("q")
    for number in range(messages):
        ch.publish(b"%d" % number, key="q")


def test_a_channel_limit_of_nothing_is_no_limit(house: House, ch: Channel) -> None:
    consume_within(ch, 1, messages=5)
    ch.expect_delivery(b"0")
    ch.expect_nothing("q")
    ch.qos(0, global_=True)
    assert [ch.expect_delivery().body for _ in range(4)] == [b"1", b"2", b"3", b"4"]
    channel = house.core_channel(ch)
    assert (channel.unacked_global, channel.prefetch_global) == (0, 0)
    ch.ack(0, multiple=True)
    ch.sync("q")
    assert channel.unacked_global == 0


def test_a_limit_that_is_lowered_waits_until_enough_is_settled(ch: Channel) -> None:
    consume_within(ch, 4, messages=8)
    tags = [ch.expect_delivery().tag for _ in range(4)]
    ch.qos(2, global_=True)
    ch.ack(tags[0])
    ch.ack(tags[1])
    ch.expect_nothing("q")
    ch.ack(tags[2])
    ch.expect_delivery(b"4")
    ch.expect_nothing("q")


def test_a_limit_counts_what_get_took_before_it(house: House, ch: Channel) -> None:
    ch.declare_queue("q")
    ch.fill("q", b"0", b"1", b"2", b"3")
    tag = ch.must_get("q").tag
    ch.qos(2, global_=True)
    ch.consume("q")
    ch.expect_delivery(b"1")
    ch.expect_nothing("q")
    ch.ack(tag)
    ch.expect_delivery(b"2")
    ch.expect_nothing("q")


def test_get_takes_the_next_message_though_a_consumer_waits_for_room(
    house: House, ch: Channel
) -> None:
    ch.declare_queue("q")
    ch.fill("q", b"0", b"1", b"2")
    ch.qos(1)
    ch.consume("q")
    first = ch.expect_delivery(b"0")
    message = ch.must_get("q")
    assert (message.body, message.tag) == (b"1", first.tag + 1)
    ch.ack(first.tag)
    ch.expect_delivery(b"2")


def test_a_consumer_that_does_not_read_bounds_its_output(house: House, ch: Channel) -> None:
    """However much there is, and others get theirs meanwhile; in the end it gets all in order."""
    ch.declare_queue("q")
    ch.fill("q", *[b"%d" % number + b"x" * 1000 for number in range(1500)])
    client = house.core_client(ch.peer)
    house.paused = True
    ch.send(Basic.Consume(queue="q", consumer_tag="slow", no_ack=True))
    house.settle()
    assert client.output_size_max <= client.output.size() <= client.output_size_max + 1200
    left = house.queue("q").line.ready.count
    assert left > 1000
    house.paused = False
    bodies = [item.body for item in items(ch) if isinstance(item, Message)]
    assert [int(body.rstrip(b"x")) for body in bodies] == list(range(1500))
    assert core(house.node).awaiting_room == 0


def test_a_consumer_that_does_not_read_holds_up_no_other(house: House, ch: Channel) -> None:
    fast = house.channel()
    ch.declare_queue("q")
    ch.fill("q", *[b"x" * 1000] * 1500)
    house.paused = True
    ch.send(Basic.Consume(queue="q", consumer_tag="slow", no_ack=True))
    fast.send(Basic.Consume(queue="q", consumer_tag="fast", no_ack=True))
    house.settle()
    while house.take_output(fast.peer):
        house.settle()
    assert house.queue("q").line.ready.count == 0
    slow_size = house.core_client(ch.peer).output.size()
    assert slow_size <= house.core_client(ch.peer).output_size_max + 1200


def test_a_deleted_queue_takes_its_consumers_off_every_channel(house: House, ch: Channel) -> None:
    ch.declare_queue("q")
    other = house.channel()
    old = house.connect(capabilities={}).open_channel()
    for channel in (ch, other, old):
        channel.consume("q", "t")
    ch.send(Queue.Delete(queue="q"))
    assert ch.expect(Basic.Cancel).consumer_tag == "t"
    ch.expect(Queue.DeleteOk)
    assert other.expect(Basic.Cancel).nowait
    old.expect_nothing()
    for channel in (ch, other, old):
        assert house.core_channel(channel).consumers == {}
        channel.cancel("t")


# Requeueing under a channel's limit. RabbitMQ's queue hears of what comes back and of room in the
# limit from two processes; nearly always in the order that holds here.


def high_and_low(house: House, limit: int) -> tuple[Channel, Channel]:
    """A channel under a limit whose consumer goes first, and one that takes the rest."""
    ch, other = house.channel(), house.channel()
    ch.declare_queue("q")
    ch.qos(limit, global_=True)
    ch.consume("q", "high", arguments={"x-priority": 1})
    other.consume("q", "low", no_ack=True)
    return ch, other


@pytest.mark.parametrize("how", ["nack", "reject", "recover"])
def test_what_comes_back_goes_to_others_first(house: House, how: str) -> None:
    """Only then the channel that gave it back has room again, whatever its priority."""
    ch, other = high_and_low(house, 1)
    ch.publish(b"1", key="q")
    ch.publish(b"2", key="q")
    tag = ch.expect_delivery(b"1", tag="high").tag
    other.expect_delivery(b"2", tag="low")
    if how == "nack":
        ch.nack(tag)
    elif how == "reject":
        ch.reject(tag)
    else:
        ch.call(Basic.Recover(requeue=True), Basic.RecoverOk)
    assert other.expect_delivery(b"1", tag="low").redelivered
    ch.publish(b"3", key="q")
    ch.expect_delivery(b"3", tag="high")


def test_it_may_come_back_where_nobody_was_refused(house: House) -> None:
    """A queue that had nothing more for the channel does not know that it is full."""
    ch, _ = high_and_low(house, 1)
    ch.publish(b"1", key="q")
    ch.nack(ch.expect_delivery(b"1", tag="high").tag)
    assert ch.expect_delivery(b"1", tag="high").redelivered


def test_a_refusal_is_forgotten_with_the_last_consumer(house: House) -> None:
    """A later one of this channel is asked anew."""
    ch, other = house.channel(), house.channel()
    ch.declare_queue("q")
    ch.qos(1, global_=True)
    ch.consume("q", "first")
    ch.publish(b"1", key="q")
    ch.publish(b"2", key="q")
    tag = ch.expect_delivery(b"1").tag
    ch.wait_ready("q", 1)
    assert other.purge("q") == 1
    ch.cancel("first")
    ch.consume("q", "high", arguments={"x-priority": 1})
    other.consume("q", "low", no_ack=True)
    ch.nack(tag)
    assert ch.expect_delivery(b"1", tag="high").redelivered


def test_what_a_commit_gives_back_goes_to_others_first(house: House) -> None:
    """All of it, if it was given back one by one."""
    ch, other = high_and_low(house, 2)
    ch.call(Tx.Select(), Tx.SelectOk)
    for body in (b"1", b"2", b"3"):
        other.publish(body, key="q")
    tags = [ch.expect_delivery(tag="high").tag for _ in range(2)]
    other.expect_delivery(b"3")
    for tag in tags:
        ch.nack(tag)
    ch.call(Tx.Commit(), Tx.CommitOk)
    other.expect_delivery(b"1")
    other.expect_delivery(b"2")


# Such a queue delivers at once what is in the way of another message.
FULL: FieldTable = {"x-max-length": 1, "x-overflow": "reject-publish"}


def test_consume_ok_comes_first_also_for_a_consumer_of_events(ch: Channel) -> None:
    """That it is there is an event, which comes to its own queue."""
    ch.declare_queue("events", arguments=FULL)
    ch.bind("events", "amq.rabbitmq.event", "#")
    ch.send(Basic.Consume(queue="events"))
    ch.expect(Basic.ConsumeOk)
    keys = [ch.expect_delivery().routing_key for _ in range(2)]
    assert keys == ["binding.created", "consumer.created"]


def test_a_consumer_of_events_gets_nothing_once_it_is_cancelled(house: House, ch: Channel) -> None:
    """That it is gone is an event, which comes to its own queue."""
    other = house.channel()
    ch.declare_queue("events", arguments={**FULL, "x-single-active-consumer": True})
    ch.bind("events", "amq.rabbitmq.event", "consumer.deleted")
    ch.qos(1)
    ch.consume("events", "active")
    other.consume("events", "next")
    for body in (b"1", b"2"):
        other.publish(body, key="events")
    tag = ch.expect_delivery(b"1").tag
    house.paused = True
    ch.ack(tag)
    ch.send(Basic.Cancel(consumer_tag="active"))
    house.paused = False
    ch.expect(Basic.CancelOk)
    other.expect_delivery(b"2", tag="next")
    other.expect_delivery(b"", tag="next")


@pytest.mark.parametrize("how", ["deliver", "get"])
def test_a_copy_of_a_delivery_may_go_out_on_the_same_channel(house: House, how: str) -> None:
    """The delivery is outstanding before the copy makes another queue deliver: tags only grow."""
    ch, other = house.channel(), house.channel()
    ch.declare_queue("copies", arguments=FULL)
    ch.bind("copies", "amq.rabbitmq.trace", "deliver.#")
    for queue in ("first", "q"):
        ch.declare_queue(queue)
    house.vhost().trace(True)
    if how == "deliver":
        ch.consume("q", "q")
    else:
        ch.publish(b"3", key="q")
    ch.qos(1)
    ch.consume("copies", "copies")
    for body in (b"1", b"2"):
        other.publish(body, key="first")
        other.must_get("first", no_ack=True)
    tag = ch.expect_delivery(b"1", tag="copies").tag
    house.paused = True
    if how == "deliver":
        ch.publish(b"3", key="q")
    ch.ack(tag)
    if how == "get":
        ch.send(Basic.Get(queue="q"))
    house.paused = False
    house.run()
    found = [item for item in items(ch) if isinstance(item, Message)]
    assert [message.body for message in found] == [b"3", b"2"]
    for message in found:
        ch.ack(message.tag)
    ch.sync()


@pytest.mark.parametrize("no_ack", [True, False])
def test_a_copy_is_made_of_what_is_written_already(house: House, ch: Channel, no_ack: bool) -> None:
    """To settle it is to let go of it."""
    for queue in ("copies", "q"):
        ch.declare_queue(queue, durable=True)
    ch.bind("copies", "amq.rabbitmq.trace", "deliver.#")
    for body in (b"1", b"2"):
        ch.publish(body, key="q", properties=PERSISTENT)
    ch.sync("q")
    house.vhost().trace(True)
    assert ch.must_get("q", no_ack=no_ack).body == b"1"
    ch.consume("q", no_ack=no_ack)
    ch.expect_delivery(b"2")
    house.vhost().trace(False)
    assert house.channel().get_bodies("copies") == [b"1", b"2"]


def test_copies_of_copies_come_to_an_end(house: House, ch: Channel) -> None:
    """A dead-letter exchange leads them back to the queue whose deliveries are copied. Each has the
    headers of the one before within its own."""
    ch.declare_queue("q")
    back: FieldTable = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "q"}
    ch.declare_queue("copies", arguments={**back, "x-message-ttl": 0})
    ch.bind("copies", "amq.rabbitmq.trace", "deliver.q")
    house.vhost().trace(True)
    ch.consume("q", no_ack=True)
    ch.publish(b"m", key="q")
    house.run()
    found = [item for item in items(ch) if isinstance(item, Message)]
    assert 10 < len(found) < 64
    ch.sync()
