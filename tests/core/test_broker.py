"""The life of queues: made, used, expired, deleted, and what goes with them."""

from __future__ import annotations

import pytest
from pamqp.commands import Basic, Queue

from amqbroker.store.journal import Journal
from tests.core.house import PERSISTENT, House, core, make_broker
from tests.semantics.peer import Channel


def test_every_queue_has_an_id_of_its_own() -> None:
    broker = make_broker()
    vhost = broker.vhosts["/"]
    ids = [
        broker.create_queue(vhost, f"q{number}", number % 2 == 0, False, None, {})[0].id
        for number in range(6)
    ]
    assert ids == sorted(set(ids))


def test_only_a_durable_queue_has_a_position_to_wait_for() -> None:
    broker = make_broker()
    vhost = broker.vhosts["/"]
    _, durable = broker.create_queue(vhost, "d", True, False, None, {})
    _, transient = broker.create_queue(vhost, "t", False, False, None, {})
    assert transient == 0
    assert durable > 0
    assert not broker.is_durable(durable)
    assert broker.is_durable(transient)


def test_a_broken_journal_makes_nothing_durable() -> None:
    journal = Journal()
    broker = make_broker(journal)
    journal.failed("gone")
    _, position = broker.create_queue(broker.vhosts["/"], "q", True, False, None, {})
    assert not broker.is_durable(position)


def test_a_queue_expires_when_it_was_unused_for_its_time(house: House, ch: Channel) -> None:
    ch.declare_queue("q", arguments={"x-expires": 1000})
    house.advance(0.9)
    assert "q" in house.vhost().queues
    house.advance(0.2)
    assert "q" not in house.vhost().queues
    assert house.node.next_deadline() is None


@pytest.mark.parametrize("use", ["declare", "passive", "get"])
def test_use_starts_the_time_again(house: House, ch: Channel, use: str) -> None:
    arguments = {"x-expires": 1000}
    ch.declare_queue("q", arguments=arguments)  # type: ignore[arg-type]
    for _ in range(5):
        house.advance(0.7)
        if use == "get":
            assert ch.get("q") is None
        else:
            ch.declare_queue("q", passive=use == "passive", arguments=arguments)  # type: ignore[arg-type]
    house.advance(0.9)
    assert "q" in house.vhost().queues
    house.advance(0.2)
    assert "q" not in house.vhost().queues


def test_publishing_is_no_use(house: House, ch: Channel) -> None:
    ch.declare_queue("q", arguments={"x-expires": 1000})
    house.advance(0.9)
    ch.publish(b"m", key="q")
    house.advance(0.2)
    assert not ch.queue_exists("q")


def test_a_consumer_uses_its_queue_until_it_goes(house: House, ch: Channel) -> None:
    ch.declare_queue("q", arguments={"x-expires": 1000})
    ch.consume("q", "t")
    house.advance(10.3)
    ch.cancel("t")
    house.advance(0.9)
    assert "q" in house.vhost().queues
    house.advance(0.2)
    assert "q" not in house.vhost().queues


def test_the_expiry_of_a_deleted_queue_does_not_touch_the_next(house: House, ch: Channel) -> None:
    ch.declare_queue("q", arguments={"x-expires": 1000})
    house.advance(0.5)
    ch.delete_queue("q")
    ch.declare_queue("q")
    house.advance(10.0)
    assert ch.queue_exists("q")


def test_a_deleted_queue_waits_for_no_expiry(house: House, ch: Channel) -> None:
    """Ten years may be long: neither it nor its timer is kept for that."""
    for number in range(300):
        ch.declare_queue(f"q{number}", arguments={"x-expires": 315_360_000_000})
        ch.delete_queue(f"q{number}")
    assert house.node.next_deadline() is None
    assert len(core(house.node).timers._heap) <= 200


def test_an_auto_delete_queue_goes_once_with_several_consumers_of_one_channel(
    house: House, ch: Channel
) -> None:
    other = house.channel()
    other.declare_queue("q", auto_delete=True)
    for _ in range(3):
        ch.consume("q")
    ch.close()
    assert not other.queue_exists("q")


def test_an_auto_delete_queue_stays_for_the_consumer_of_another_connection(
    house: House, ch: Channel
) -> None:
    ch.declare_queue("q", auto_delete=True)
    other = house.channel()
    for channel in (ch, other):
        channel.qos(1)
        channel.consume("q", "t")
    ch.publish(b"m", key="q")
    ch.expect_delivery(b"m")
    ch.peer.drop()
    assert other.expect_delivery(b"m").redelivered
    other.cancel("t")
    assert not other.queue_exists("q")


def test_an_auto_delete_queue_that_had_no_consumer_stays(house: House, ch: Channel) -> None:
    ch.declare_queue("q", auto_delete=True)
    ch.fill("q", b"m")
    ch.must_get("q")
    ch.peer.drop()
    assert house.channel().get_bodies("q") == [b"m"]


def test_an_exclusive_queue_goes_with_its_connection_and_with_no_channel(
    house: House, ch: Channel
) -> None:
    ch.declare_queue("q", exclusive=True)
    client = house.core_client(ch.peer)
    assert list(client.exclusive_queues) == [house.queue("q").id]
    ch.close()
    assert "q" in house.vhost().queues
    ch.peer.drop()
    assert "q" not in house.vhost().queues
    assert client.exclusive_queues == {}


def test_an_exclusive_queue_that_was_deleted_is_not_deleted_again(
    house: House, ch: Channel
) -> None:
    """By its owner's end: another queue may have its name by then."""
    ch.declare_queue("q", exclusive=True)
    ch.delete_queue("q")
    other = house.channel()
    other.declare_queue("q")
    ch.peer.drop()
    assert other.queue_exists("q")


def test_deleting_a_queue_drops_its_messages_from_the_journal(house: House, ch: Channel) -> None:
    ch.declare_queue("q", durable=True)
    ch.fill("q", b"0", b"1", properties=PERSISTENT)
    ch.must_get("q")
    assert ch.call(Queue.Delete(queue="q"), Queue.DeleteOk).message_count == 1
    house.restart(clean=False)
    ch = house.channel()
    assert not ch.queue_exists("q")
    assert core(house.node).vhosts["/"].queues == {}


def test_reply_consumers_are_no_consumers_of_a_queue(house: House, ch: Channel) -> None:
    ch.send(Basic.Consume(queue="amq.rabbitmq.reply-to", no_ack=True, consumer_tag="t"))
    ch.expect(Basic.ConsumeOk)
    assert house.vhost().queues == {}


def test_the_time_of_day_goes_with_the_nodes_time() -> None:
    broker = make_broker()
    broker.turn.wall_offset = 1_000.0
    broker.now = 2.5
    assert broker.wall_ms() == 1_002_500
