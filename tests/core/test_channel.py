"""A channel's end, and replies that wait for the journal."""

from __future__ import annotations

from pamqp.commands import Basic, Connection, Queue
from pamqp.commands import Channel as ChannelMethods

from tests.core.house import PERSISTENT, House, items
from tests.semantics.peer import Channel


def test_nothing_follows_close_ok(house: House, ch: Channel) -> None:
    """A confirm that was still waiting for the disk is for a channel that is no more."""
    ch.declare_queue("q", durable=True)
    ch.confirm()
    house.disk_is_slow = True
    ch.publish(key="q", properties=PERSISTENT)
    ch.close()
    ch.open()
    ch.confirm()
    house.disk_is_slow = False
    assert items(ch) == []
    ch.publish(key="q", properties=PERSISTENT)
    ch.expect_confirms(1)


def test_a_confirm_of_the_same_turn_does_not_follow_close_ok(house: House, ch: Channel) -> None:
    ch.confirm()
    house.paused = True
    ch.publish(key="nowhere")
    ch.send(ChannelMethods.Close(200, "", 0, 0))
    house.paused = False
    found = items(ch)
    assert [type(item) for item in found] == [ChannelMethods.CloseOk]


def test_nothing_follows_close_ok_of_the_connection(house: House, ch: Channel) -> None:
    ch.declare_queue("q", durable=True)
    ch.confirm()
    house.disk_is_slow = True
    ch.publish(key="q", properties=PERSISTENT)
    ch.peer.send(0, Connection.Close(200, "", 0, 0))
    house.disk_is_slow = False
    ch.peer.expect(Connection.CloseOk)
    assert ch.peer.waiting() == []
    assert ch.peer.transport.closed


def test_commands_behind_a_reply_that_waits_keep_their_order(house: House, ch: Channel) -> None:
    """Each of these waits for the journal by itself; what comes between stays between."""
    house.disk_is_slow = True
    ch.send(Queue.Declare(queue="a", durable=True))
    ch.publish(b"1", key="a", properties=PERSISTENT)
    ch.send(Queue.Declare(queue="b", durable=True))
    ch.publish(b"2", key="b", properties=PERSISTENT)
    ch.send(Basic.Get(queue="b", no_ack=True))
    ch.send(Queue.Declare(queue="a", passive=True))
    assert items(ch) == []
    house.disk_is_slow = False
    assert ch.expect(Queue.DeclareOk).queue == "a"
    assert ch.expect(Queue.DeclareOk).queue == "b"
    assert ch._message(Basic.GetOk).body == b"2"
    assert ch.expect(Queue.DeclareOk).message_count == 1


def test_one_channel_that_waits_does_not_hold_up_another(house: House, ch: Channel) -> None:
    other = ch.peer.open_channel()
    house.disk_is_slow = True
    ch.send(Queue.Declare(queue="a", durable=True))
    other.declare_queue("b")
    assert items(ch) == []


def test_a_connection_that_ends_while_a_reply_waits(house: House, ch: Channel) -> None:
    house.disk_is_slow = True
    ch.send(Queue.Declare(queue="a", durable=True))
    ch.send(Queue.Declare(queue="b"))
    ch.peer.drop()
    house.disk_is_slow = False
    house.run()
    other = house.channel()
    assert other.queue_exists("a")
    assert not other.queue_exists("b"), "a command that waited was carried out for nobody"


def test_requeued_messages_of_several_queues_go_each_to_its_own(house: House, ch: Channel) -> None:
    for queue in ("a", "b"):
        ch.declare_queue(queue)
        ch.fill(queue, b"1" + queue.encode(), b"2" + queue.encode())
    reader = ch.peer.open_channel()
    for queue in ("b", "a", "a", "b"):
        reader.must_get(queue)
    reader.close()
    assert ch.get_bodies("a") == [b"1a", b"2a"]
    assert ch.get_bodies("b") == [b"1b", b"2b"]


def test_an_empty_name_is_the_last_queue_of_this_channel_only(house: House, ch: Channel) -> None:
    ch.declare_queue("q")
    other = ch.peer.open_channel()
    other.fails(Basic.Get(), 404, "NOT_FOUND - no previously declared queue")
    ch.publish(b"m", key="q")
    assert ch.must_get("", no_ack=True).body == b"m"


def test_what_is_out_goes_with_its_auto_delete_queue(house: House, ch: Channel) -> None:
    """It does not come back first, to find the queue full."""
    other = house.channel()
    other.declare_queue("dead")
    dead = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "dead"}
    ch.declare_queue("q", auto_delete=True, arguments={**dead, "x-max-length": 0})
    ch.consume("q")
    ch.publish(b"out", key="q")
    ch.expect_delivery(b"out")
    ch.close()
    assert not other.queue_exists("q")
    assert other.get("dead") is None
