"""What belongs to another virtual host, another connection or another user."""

from __future__ import annotations

import pytest
from pamqp.commands import Basic, Connection, Exchange, Queue

from amqbroker.auth.passwords import rabbit_hash
from amqbroker.core.broker import Broker
from amqbroker.management import users, vhosts
from tests.core.house import House, core
from tests.semantics.peer import Channel, Peer


@pytest.fixture
def house() -> House:
    """With a queue, an exchange and a secret message in `/`."""
    house = House()
    owner = house.channel()
    owner.declare_queue("q")
    owner.declare_exchange("x", "fanout")
    owner.bind("q", "x")
    owner.fill("q", b"secret")
    return house


@pytest.fixture
def broker(house: House) -> Broker:
    return core(house.node)


@pytest.fixture
def stranger(house: House) -> Channel:
    """Who may do everything in `other`, and enter no other virtual host."""
    return house.connect("stranger", "other").open_channel()


def test_anothers_vhost_cannot_be_entered(house: House) -> None:
    for name in ("/", "/other", "other/", "OTHER", "other\0", "", "*", ".*"):
        peer = Peer(house.transport())
        peer.greet()
        peer.log_in("stranger", "stranger-pw")
        peer.tune_ok()
        peer.send(0, Connection.Open(name))
        assert peer.expect(Connection.Close).reply_code == 530


@pytest.mark.parametrize(
    "method",
    [
        Queue.Declare(queue="q", passive=True),
        Queue.Purge(queue="q"),
        Queue.Bind(queue="q", exchange="amq.direct", routing_key="k"),
        Basic.Consume(queue="q"),
        Basic.Get(queue="q"),
        Exchange.Declare(exchange="x", passive=True),
        Exchange.Bind(destination="amq.direct", source="x", routing_key="k"),
    ],
    ids=lambda method: str(method.name),
)
def test_a_queue_of_another_vhost(stranger: Channel, method: Basic.Get, house: House) -> None:
    close = stranger.fails(method, 404)
    assert "in vhost 'other'" in close.reply_text
    assert house.queue("q").ready_count() == 1


def test_a_publish_stays_in_its_vhost(house: House, stranger: Channel) -> None:
    stranger.publish(b"m", key="q")
    stranger.expect_nothing()
    stranger.publish(b"m", exchange="x")
    stranger.expect_channel_close(404)
    assert house.queue("q").ready_count() == 1


def test_deleting_in_one_vhost_deletes_in_no_other(house: House, stranger: Channel) -> None:
    assert stranger.delete_queue("q") == 0
    stranger.call(Exchange.Delete(exchange="x"), Exchange.DeleteOk)
    assert house.queue("q").ready_count() == 1
    assert "x" in house.vhost().exchanges


def test_a_dead_letter_stays_in_its_vhost(house: House, stranger: Channel) -> None:
    stranger.declare_queue("mine", arguments={"x-dead-letter-exchange": "x", "x-message-ttl": 0})
    stranger.publish(b"m", key="mine")
    house.advance(1.0)
    assert house.queue("q").ready_count() == 1


def test_a_queue_of_another_connection(house: House) -> None:
    house.channel().declare_queue("mine", exclusive=True)
    thief = house.channel()
    for method in (
        Queue.Declare(queue="mine", exclusive=True),
        Queue.Declare(queue="mine", passive=True),
        Queue.Bind(queue="mine", exchange="amq.fanout", routing_key=""),
        Queue.Purge(queue="mine"),
        Queue.Delete(queue="mine"),
        Basic.Consume(queue="mine"),
        Basic.Get(queue="mine"),
    ):
        thief.fails(method, 405)


def test_a_message_of_another_channel(house: House) -> None:
    """Delivery tags are a channel's own."""
    owner = house.channel()
    delivered = owner.must_get("q")
    thief = owner.peer.channel(9)
    thief.open()
    thief.send(Basic.Ack(delivered.tag))
    thief.expect_channel_close(406)
    assert house.queue("q").unacked_count == 1


def test_the_name_of_another_user(house: House, broker: Broker) -> None:
    """A message says who published it, or nothing."""
    users.add_user(broker, "ann", rabbit_hash(b"ann-pw", b"salt"))
    users.set_permissions(broker, "/", "ann", ".*", ".*", ".*")
    ch = house.connect("ann").open_channel()
    ch.publish(b"m", key="q", properties=Basic.Properties(user_id="guest"))
    ch.expect_channel_close(406)


def test_a_reply_address_cannot_be_guessed(house: House) -> None:
    requester = house.channel()
    requester.consume("amq.rabbitmq.reply-to", no_ack=True)
    thief = house.channel()
    for key in ("amq.rabbitmq.reply-to", "amq.rabbitmq.reply-to.", "amq.rabbitmq.reply-to.1"):
        thief.publish(b"m", key=key)
    thief.expect_nothing()
    requester.expect_nothing()


def test_a_topic_by_wildcard(house: House, broker: Broker) -> None:
    """Who may read `news.` can bind to nothing wider."""
    users.add_user(broker, "ann", rabbit_hash(b"ann-pw", b"salt"))
    users.set_permissions(broker, "/", "ann", ".*", ".*", ".*")
    users.set_topic_permissions(broker, "/", "ann", "amq.topic", "^$", r"^news\.[^.#*]+$")
    ch = house.connect("ann").open_channel()
    ch.declare_queue("mine")
    ch.declare_exchange("relay", "topic")
    for key in ("#", "*.*", "news.#", "news.*", "#.secret", "", "news", "xnews.a"):
        ch.fails(Queue.Bind(queue="mine", exchange="amq.topic", routing_key=key), 403)
        ch.fails(Exchange.Bind(destination="relay", source="amq.topic", routing_key=key), 403)
        ch.publish(b"m", exchange="amq.topic", key=key or "a")
        ch.expect_channel_close(403)
        ch.open()
    ch.bind("mine", "amq.topic", "news.today")


def test_a_user_and_a_vhost_of_old_names_are_new(house: House, broker: Broker) -> None:
    """Who takes a name that was free again gets nothing of what went with it."""
    vhosts.delete_vhost(broker, "other")
    vhosts.add_vhost(broker, "other")
    peer = Peer(house.transport())
    peer.greet()
    peer.log_in("stranger", "stranger-pw")
    peer.tune_ok()
    peer.send(0, Connection.Open("other"))
    assert peer.expect(Connection.Close).reply_code == 530
