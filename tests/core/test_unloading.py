"""What is out for delivery, under pressure: it leaves memory, and comes back as it was."""

from __future__ import annotations

import pytest
from pamqp import commands

from amqbroker.message import ENTRY_OVERHEAD_BYTES
from tests.core.house import PERSISTENT, House, core
from tests.semantics.peer import Channel

BODY = bytes(1000)
COUNT = 600
TRANSIENT = commands.Basic.Properties(delivery_mode=1)


def publish(ch: Channel, *, durable: bool = True, persistent: bool = True) -> list[bytes]:
    """Messages in a new queue."""
    ch.declare_queue("q", durable=durable)
    bodies = [b"%d " % number + BODY for number in range(COUNT)]
    for body in bodies:
        ch.publish(body, key="q", properties=PERSISTENT if persistent else TRANSIENT)
    return bodies


def press(house: House) -> None:
    """There is no memory for messages any more."""
    memory = core(house.node).memory
    memory.bytes_max = 0
    memory.back_min = 1
    house.queue("q").wake()
    house.run()
    house.advance(0.1)


def deliver(ch: Channel) -> list[int]:
    """The tags of all that a consumer gets, who does not ack."""
    ch.consume("q")
    return [ch.expect_delivery().tag for _ in range(COUNT)]


@pytest.mark.parametrize("durable", [True, False])
@pytest.mark.parametrize("persistent", [True, False])
def test_what_is_out_leaves_memory(
    house: House, ch: Channel, durable: bool, persistent: bool
) -> None:
    bodies = publish(ch, durable=durable, persistent=persistent)
    deliver(ch)
    memory = core(house.node).memory
    assert memory.bytes > COUNT * 1000
    press(house)
    assert memory.bytes == memory.flying_bytes == 0
    assert memory.unloaded == COUNT
    assert house.node.memory_account().unacked > COUNT * ENTRY_OVERHEAD_BYTES
    assert house.queue("q").unacked_count == COUNT
    ch.close()
    assert memory.unloaded == 0
    assert house.queue("q").ready_count() == COUNT
    again = house.channel()
    message = again.must_get("q")
    assert (message.body, message.redelivered) == (bodies[0], True)
    assert again.get_bodies("q") == bodies[1:]


@pytest.mark.parametrize("persistent", [True, False])
def test_what_is_out_with_gaps_is_written_once(house: House, ch: Channel, persistent: bool) -> None:
    publish(ch, persistent=persistent)
    for tag in deliver(ch)[1::2]:
        ch.ack(tag)
    house.advance(0.1)
    press(house)
    memory = core(house.node).memory
    assert (memory.bytes, memory.unloaded) == (0, COUNT // 2)
    assert list(house._disk.segments) == ["queues/1-1.seg"]


@pytest.mark.parametrize("persistent", [True, False])
def test_what_is_settled_needs_no_memory_and_leaves_no_file(
    house: House, ch: Channel, persistent: bool
) -> None:
    publish(ch, persistent=persistent)
    tags = deliver(ch)
    press(house)
    assert len(house._disk.segments) == 1
    for tag in tags[::2]:
        ch.ack(tag)
    ch.reject(tags[1], requeue=False)
    ch.ack(tags[-1], multiple=True)
    assert core(house.node).memory.unloaded == 0
    house.advance(0.1)
    house.advance(0.1)
    assert house._disk.segments == {}


def test_a_message_that_is_on_disk_already_is_not_written_again(house: House, ch: Channel) -> None:
    publish(ch)
    memory = core(house.node).memory
    memory.spill(house.queue("q").line, 0)
    house.advance(0.1)
    written = sum(map(len, house._disk.segments.values()))
    deliver(ch)
    press(house)
    assert memory.unloaded == COUNT
    assert sum(map(len, house._disk.segments.values())) == written


def test_what_a_full_disk_refused_leaves_memory_once(house: House, ch: Channel) -> None:
    """It can be read, and so leave memory, before it is on disk at last."""
    publish(ch, persistent=False)
    deliver(ch)
    memory = core(house.node).memory
    house.disk_is_slow = True
    press(house)
    assert house._batch is not None
    house._batch = None
    house.node.journal_refused("no space left on device", house.now)
    house.advance(1)
    other = house.channel()
    other.declare_queue("other")
    other.consume("other")
    house.channel().publish(b"m", key="other")
    tag = other.expect_delivery(b"m").tag
    assert memory.unloaded == COUNT
    house.disk_is_slow = False
    house.advance(10)
    assert memory.unloaded == COUNT
    other.ack(tag)
    assert memory.bytes == memory.flying_bytes == 0
    ch.close()
    assert memory.unloaded == 0


def test_a_crash_brings_all_of_it_back_in_order(house: House, ch: Channel) -> None:
    bodies = publish(ch)
    tags = deliver(ch)
    for tag in tags[10:400:3]:
        ch.ack(tag)
    press(house)
    assert core(house.node).memory.unloaded == COUNT - 130
    left = [body for place, body in enumerate(bodies) if place not in range(10, 400, 3)]
    house.advance(0.1)
    house.restart(clean=False)
    again = house.channel()
    assert house.queue("q").ready_count() == len(left)
    first = again.must_get("q")
    assert (first.body, first.redelivered) == (left[0], True)
    assert again.get_bodies("q") == left[1:]


def test_a_clean_stop_says_what_was_delivered(house: House, ch: Channel) -> None:
    publish(ch)
    ch.qos(300)
    ch.consume("q")
    for _ in range(300):
        ch.expect_delivery()
    press(house)
    house.restart(clean=True)
    again = house.channel()
    assert [again.must_get("q").redelivered for _ in range(COUNT)] == [True] * 300 + [False] * 300


def test_what_comes_back_stands_between_what_is_in_memory(house: House, ch: Channel) -> None:
    bodies = publish(ch)
    tags = [ch.must_get("q").tag for _ in range(COUNT)]
    press(house)
    core(house.node).memory.bytes_max = 1 << 30
    more = [b"more %d" % number for number in range(5)]
    for body in more:
        ch.publish(body, key="q", properties=PERSISTENT)
    for place in (500, 20, 300, 21):
        ch.nack(tags[place])
    assert house.queue("q").ready_count() == 9
    assert ch.must_get("q").body == bodies[20]
    ch.nack(tags[4])
    found = ch.get_bodies("q")
    assert found == [bodies[4], bodies[21], bodies[300], bodies[500], *more]


def test_a_transaction_that_is_rolled_back_has_it_out_again(house: House, ch: Channel) -> None:
    bodies = publish(ch)
    ch.call(commands.Tx.Select(), commands.Tx.SelectOk)
    tags = [ch.must_get("q").tag for _ in range(COUNT)]
    ch.ack(tags[299], multiple=True)
    press(house)
    assert core(house.node).memory.unloaded == COUNT
    ch.call(commands.Tx.Rollback(), commands.Tx.RollbackOk)
    ch.nack(tags[-1], multiple=True)
    ch.call(commands.Tx.Commit(), commands.Tx.CommitOk)
    assert ch.get_bodies("q") == bodies
    assert core(house.node).memory.unloaded == 0


@pytest.mark.parametrize("persistent", [True, False])
def test_a_purge_leaves_what_is_out_and_a_deleted_queue_does_not(
    house: House, ch: Channel, persistent: bool
) -> None:
    bodies = publish(ch, persistent=persistent)
    tags = [ch.must_get("q").tag for _ in range(COUNT)]
    press(house)
    ch.nack(tags[9], multiple=True)
    assert ch.purge("q") == 10
    ch.nack(tags[12])
    assert ch.get_bodies("q") == [bodies[12]]
    ch.delete_queue("q")
    ch.nack(tags[13])
    ch.ack(tags[-1], multiple=True)
    house.advance(0.1)
    assert core(house.node).memory.unloaded == 0
    assert house._disk.segments == {}


def test_a_delivery_count_outlives_the_way_to_disk(house: House, ch: Channel) -> None:
    ch.declare_queue("q", durable=True, arguments={"x-queue-type": "quorum"})
    for _ in range(COUNT):
        ch.publish(BODY, key="q", properties=PERSISTENT)
    for count in (1, 3):
        tags = [ch.must_get("q").tag for _ in range(COUNT)]
        press(house)
        assert core(house.node).memory.unloaded == COUNT
        ch.nack(tags[-1], multiple=True)
        message = ch.must_get("q")
        assert message.headers["x-delivery-count"] == count
        ch.nack(message.tag)


def test_a_disk_that_refuses_it_leaves_it_in_memory(house: House, ch: Channel) -> None:
    bodies = publish(ch)
    tags = [ch.must_get("q").tag for _ in range(COUNT)]
    memory = core(house.node).memory
    memory.bytes_max = 0
    house.paused = True
    house.queue("q").wake()
    house.settle()
    assert memory.unloading
    assert house.node.take_batch(house.now) is not None
    assert memory.flying_bytes > 0
    house.node.journal_failed("it is broken")
    house.paused = False
    assert memory.flying_bytes == memory.unloaded == 0
    ch.nack(tags[-1], multiple=True)
    assert ch.get_bodies("q") == bodies


@pytest.mark.parametrize("persistent", [True, False])
def test_what_a_transaction_holds_is_written_once_or_not_at_all(
    house: House, ch: Channel, persistent: bool
) -> None:
    bodies = publish(ch, persistent=persistent)
    ch.call(commands.Tx.Select(), commands.Tx.SelectOk)
    tags = [ch.must_get("q").tag for _ in range(COUNT)]
    ch.ack(tags[-1], multiple=True)
    memory = core(house.node).memory
    memory.bytes_max = 0
    house.queue("q").wake()
    for _ in range(10):
        house._turn()
    # It has come to rest.
    assert not house._turn()
    assert not memory.unloading
    ch.call(commands.Tx.Rollback(), commands.Tx.RollbackOk)
    ch.nack(tags[-1], multiple=True)
    ch.call(commands.Tx.Commit(), commands.Tx.CommitOk)
    assert ch.get_bodies("q") == bodies
