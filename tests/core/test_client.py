"""One connection: what it may hold up, where its mistakes end, and what ends with it."""

from __future__ import annotations

import pytest
from pamqp import frame
from pamqp.commands import Basic, Connection, Queue
from pamqp.commands import Channel as ChannelMethods

from amqbroker.core import client as client_module
from amqbroker.core.client import blame, channel_of
from amqbroker.errors import not_found
from amqbroker.wire import methods as m
from amqbroker.wire.commands import Ack, Method
from tests.core.house import House, core, items, make_message
from tests.semantics import wire
from tests.semantics.messages import Message
from tests.semantics.peer import Channel


def test_a_mistake_is_blamed_on_the_method_that_made_it() -> None:
    for command, ids in (
        (make_message(), (60, 40)),
        (Ack(3, 1, False), (60, 80)),
        (Method(4, m.QueuePurge()), (50, 30)),
    ):
        error = not_found("no such thing")
        blame(error, command)
        assert (error.class_id, error.method_id) == ids
        blame(error, Ack(3, 1, False))
        assert (error.class_id, error.method_id) == ids, "the first word stands"
    assert [channel_of(each) for each in (make_message(), Ack(3, 1, False))] == [1, 3]
    assert channel_of(Method(4, m.QueuePurge())) == 4


def test_a_client_that_does_not_read_its_answers_is_not_read(house: House, ch: Channel) -> None:
    """It asks for more than it takes: what it sent stays in its socket, and is answered later."""
    ch.declare_queue("q")
    ch.fill("q", b"x" * 200_000)
    client = house.core_client(ch.peer)
    house.paused = True
    for _ in range(4):
        for _ in range(2):
            ch.send(Basic.Get(queue="q"))
            ch.send(Basic.Recover(requeue=True))
        house.settle()
    assert client.must_pause()
    assert client.output.size() <= 2 * client.output_size_max + 600_000
    house.paused = False
    found = [item for item in items(ch) if isinstance(item, Message)]
    assert len(found) == 8
    assert not client.must_pause()


def test_a_publisher_is_not_read_while_the_disk_is_behind(house: House, ch: Channel) -> None:
    consumer = house.channel()
    ch.declare_queue("q", durable=True)
    ch.confirm()
    limit = core(house.node).config.store.journal_pending_bytes_max
    house.disk_is_slow = True
    body = b"x" * (limit // 4)
    for _ in range(6):
        ch.publish(body, key="q", properties=Basic.Properties(delivery_mode=2))
    assert house.core_client(ch.peer).must_pause()
    assert house.queue("q").line.ready.count < 6
    assert not house.core_client(consumer.peer).must_pause(), "it publishes nothing"
    house.disk_is_slow = False
    ch.expect_confirms(6)
    assert house.queue("q").line.ready.count == 6


def test_a_client_is_not_read_while_much_waits_behind_a_reply(house: House, ch: Channel) -> None:
    """Commands behind a method that waits for the disk are kept, but not without limit."""
    client = house.core_client(ch.peer)
    house.disk_is_slow = True
    ch.send(Queue.Declare(queue="q", durable=True))
    for number in range(40):
        ch.publish(b"%d" % number + b"x" * 100_000, key="q")
    assert client.must_pause()
    assert client.deferred_bytes <= client_module.DEFERRED_BYTES_MAX + 101_000
    house.disk_is_slow = False
    ch.expect(Queue.DeclareOk)
    assert not client.must_pause()
    assert client.deferred_bytes == 0
    assert [int(body.rstrip(b"x")) for body in ch.get_bodies("q")] == list(range(40))


@pytest.mark.parametrize("end", ["channel error", "connection"])
def test_what_waited_is_forgotten_with_its_channel(house: House, ch: Channel, end: str) -> None:
    client = house.core_client(ch.peer)
    house.disk_is_slow = True
    ch.send(Queue.Declare(queue="q", durable=True))
    ch.publish(b"x" * 1000, key="q")
    assert client.deferred_bytes > 1000
    if end == "connection":
        ch.peer.drop()
    else:
        ch.send(Queue.Purge(queue="missing"))
        ch.publish(b"x" * 1000, key="q")
        house.disk_is_slow = False
        ch.expect(Queue.DeclareOk)
        ch.expect_channel_close(404)
    assert client.deferred_bytes == 0


def test_a_publisher_that_meets_an_alarm_is_not_read_any_more(house: House, ch: Channel) -> None:
    ch.declare_queue("q")
    reader = house.channel()
    reader.consume("q", no_ack=True)
    house.break_disk()
    ch.publish(b"0", key="q")
    ch.publish(b"1", key="q")
    assert ch.peer.expect(Connection.Blocked).reason == "low on disk"
    reader.expect_delivery(b"0")
    reader.expect_nothing()
    assert [line for line in house.log_lines if "is blocked" in line] != []


def test_a_client_that_cannot_bear_it_is_blocked_without_a_word(house: House) -> None:
    ch = house.connect(capabilities={}).open_channel()
    house.break_disk()
    ch.publish(b"0", key="q")
    assert ch.peer.waiting() == []
    assert house.core_client(ch.peer).must_pause()


def test_after_a_channel_error_the_channel_is_deaf_until_close_ok(
    house: House, ch: Channel
) -> None:
    ch.declare_queue("q")
    ch.fill("q", b"m")
    ch.must_get("q")
    house.paused = True
    ch.send(Queue.Purge(queue="missing"))
    ch.send(Queue.Delete(queue="q"))
    ch.publish(b"late", key="q")
    ch.ack(1)
    house.paused = False
    ch.expect_channel_close(404)
    ch.open()
    message = ch.must_get("q")
    assert (message.body, message.redelivered, message.tag) == (b"m", True, 1)


@pytest.mark.parametrize("method", [Basic.Ack(1), Basic.Nack(1), Basic.Reject(1)])
def test_late_settlements_of_a_channel_that_the_broker_closed_are_dropped(
    ch: Channel, method: Basic.Ack | Basic.Nack | Basic.Reject
) -> None:
    ch.send(Queue.Purge(queue="missing"))
    ch.expect_channel_close(404)
    ch.send(method)
    assert ch.peer.is_alive()
    ch.send(Basic.Qos())
    ch.peer.expect_connection_close(504, "CHANNEL_ERROR - expected 'channel.open'")


def test_settlements_on_a_channel_that_was_never_open_are_mistakes(ch: Channel) -> None:
    ch.peer.send(99, Basic.Ack(1))
    ch.peer.expect_connection_close(504, "CHANNEL_ERROR - expected 'channel.open'")


def test_closes_that_cross_are_both_answered(ch: Channel) -> None:
    ch.send(Queue.Purge(queue="missing"))
    ch.send(ChannelMethods.Close(200, "", 0, 0))
    ch.expect(ChannelMethods.Close)
    ch.expect(ChannelMethods.CloseOk)
    ch.send(ChannelMethods.CloseOk())
    ch.open()


def test_a_channel_that_is_closed_in_the_middle_of_a_message_forgets_it(
    house: House, ch: Channel
) -> None:
    ch.declare_queue("q")
    ch.peer.send_raw(wire.publish(ch.number, "", "q") + wire.header(ch.number, 10))
    ch.peer.send_raw(wire.body(ch.number, b"half"))
    other = ch.peer.open_channel()
    other.publish(b"whole", key="q")
    ch.peer.drop()
    assert house.channel().get_bodies("q") == [b"whole"]


def test_the_limit_of_channels_counts_those_that_are_open(house: House) -> None:
    peer = house.connect()
    client = house.core_client(peer)
    client.channel_max = 2
    first = peer.open_channel()
    peer.open_channel()
    first.close()
    peer.open_channel()
    peer.send(9, ChannelMethods.Open())
    peer.expect_connection_close(
        530,
        "NOT_ALLOWED - number of channels opened (2) has reached the negotiated channel_max (2)",
    )


def test_a_connection_error_takes_all_with_it_at_once(house: House, ch: Channel) -> None:
    """Before close-ok: another connection finds messages requeued and exclusive queues gone."""
    ch.declare_queue("q")
    ch.declare_queue("own", exclusive=True)
    ch.fill("q", b"m")
    ch.must_get("q")
    ch.send(ChannelMethods.Open())
    other = house.channel()
    assert other.must_get("q", no_ack=True).redelivered
    assert not other.queue_exists("own")
    assert house.vhost().connections == 1
    ch.peer.expect_connection_close(504, "CHANNEL_ERROR - second 'channel.open' seen")


def test_a_closing_connection_waits_so_long_for_close_ok(house: House, ch: Channel) -> None:
    ch.send(ChannelMethods.Open())
    ch.peer.expect(Connection.Close)
    house.advance(client_module.CLOSE_OK_S_MAX - 0.1)
    ch.send(Basic.Qos())
    assert ch.peer.waiting() == []
    house.advance(0.2)
    ch.peer.expect_dropped()


def test_a_closing_connection_answers_a_close(ch: Channel) -> None:
    ch.send(ChannelMethods.Open())
    ch.peer.expect(Connection.Close)
    ch.peer.send(0, Connection.Close(200, "", 0, 0))
    ch.peer.expect(Connection.CloseOk)


def test_a_lost_connection_leaves_no_timer(house: House) -> None:
    peer = house.connect(heartbeat=10)
    assert house.node.next_deadline() is not None
    peer.drop()
    assert house.node.next_deadline() is None
    assert core(house.node).clients == {}
    assert (core(house.node).open_connections, house.vhost().connections) == (0, 0)


def test_a_peer_that_says_nothing_is_let_go(house: House) -> None:
    transport = house.transport()
    house.advance(core(house.node).config.limits.handshake_timeout_s + 0.1)
    assert transport.closed


def test_bytes_that_come_one_by_one_are_the_same(house: House, ch: Channel) -> None:
    ch.declare_queue("q")
    raw = wire.publish(ch.number, "", "q") + wire.content(ch.number, b"\0\0", b"body")
    raw += frame.marshal(Basic.Get(queue="q", no_ack=True), ch.number)
    for place in range(len(raw)):
        ch.peer.send_raw(raw[place : place + 1])
    assert ch._message(Basic.GetOk).body == b"body"
