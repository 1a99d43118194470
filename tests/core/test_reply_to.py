"""Direct reply-to: addresses that are one, and replies that nobody reads."""

from __future__ import annotations

import pytest
from pamqp.commands import Basic, Tx
from pamqp.common import FieldTable

from amqbroker.core.definitions import short
from amqbroker.core.reply_to import (
    BACKLOG_FACTOR,
    REPLY_PREFIX,
    REPLY_QUEUE,
    ReplyConsumer,
    deliver_reply,
    is_reply_address,
    own_reply_address,
)
from amqbroker.errors import PRECONDITION_FAILED, ChannelException
from amqbroker.wire.writer import deliver_prefix
from tests.core.house import House, core, make_channel, make_message
from tests.semantics.peer import Channel


@pytest.mark.parametrize(
    ("exchange", "key", "found"),
    [
        ("", REPLY_PREFIX + "g-abc", True),
        ("", REPLY_PREFIX, True),
        ("", REPLY_QUEUE, False),
        ("", "", False),
        ("", "q", False),
        ("x", REPLY_PREFIX + "g-abc", False),
        ("", "x" + REPLY_PREFIX + "g-abc", False),
    ],
)
def test_addresses_that_are_one(exchange: str, key: str, found: bool) -> None:
    assert is_reply_address(short(exchange) + short(key)) is found


def test_only_a_channel_that_consumes_replies_has_an_address() -> None:
    channel = make_channel()
    with pytest.raises(ChannelException) as caught:
        own_reply_address(channel)
    assert caught.value.code == PRECONDITION_FAILED
    channel.reply_consumer = ReplyConsumer(channel, "t", "g-1", deliver_prefix("t"))
    assert own_reply_address(channel) == "amq.rabbitmq.reply-to.g-1"


def test_a_requester_that_reads_nothing_gets_no_more_than_so_much() -> None:
    """Replies are not held back, so they are dropped; the responder does not notice."""
    channel = make_channel()
    channel.client.output_size_max = 1000
    consumer = ReplyConsumer(channel, "t", "g-1", deliver_prefix("t"))
    message = make_message(b"x" * 10_000)
    for _ in range(100):
        deliver_reply(consumer, message)
    assert 0 < channel.client.output.size() <= 1000 * BACKLOG_FACTOR + 11_000


@pytest.mark.parametrize("end", ["cancel", "channel", "connection"])
def test_a_requester_that_goes_is_forgotten(house: House, ch: Channel, end: str) -> None:
    tag = ch.consume(REPLY_QUEUE, no_ack=True)
    assert len(core(house.node).reply_consumers) == 1
    if end == "cancel":
        ch.cancel(tag)
    elif end == "channel":
        ch.close()
    else:
        ch.peer.drop()
    assert core(house.node).reply_consumers == {}


def test_each_channel_has_its_own_address(house: House, ch: Channel) -> None:
    """A reply goes to the channel that asked, not to the connection's other one."""
    ch.declare_queue("service")
    other = ch.peer.open_channel()
    for channel in (ch, other):
        channel.consume(REPLY_QUEUE, no_ack=True)
    other.publish(b"?", key="service", properties=Basic.Properties(reply_to=REPLY_QUEUE))
    request = ch.must_get("service", no_ack=True)
    ch.publish(b"!", key=str(request.properties.reply_to))
    assert other.expect_delivery(b"!").redelivered is False
    ch.expect_nothing()


def _address_of(ch: Channel, requester: Channel) -> str:
    """The address of a requester's replies, as a service sees it that reads from `service`."""
    requester.consume(REPLY_QUEUE, no_ack=True)
    requester.publish(b"?", key="service", properties=Basic.Properties(reply_to=REPLY_QUEUE))
    return str(ch.must_get("service", no_ack=True).properties.reply_to)


def test_a_requester_gets_a_reply_once_and_never_its_bcc(ch: Channel) -> None:
    ch.declare_queue("service")
    requester, other = ch.peer.open_channel(), ch.peer.open_channel()
    address, second = _address_of(ch, requester), _address_of(ch, other)
    headers: FieldTable = {
        "CC": [address, second],
        "BCC": [address, REPLY_PREFIX, REPLY_PREFIX + "nobody"],
    }
    ch.publish(b"!", key=address, mandatory=True, properties=Basic.Properties(headers=headers))
    for channel in (requester, other):
        assert channel.expect_delivery(b"!").headers == {"CC": [address, second]}
        channel.expect_nothing()
    ch.expect_nothing()


def test_other_exchanges_know_no_requesters(ch: Channel) -> None:
    ch.declare_queue("service")
    requester = ch.peer.open_channel()
    address = _address_of(ch, requester)
    properties = Basic.Properties(headers={"CC": [address]})
    ch.publish(b"!", exchange="amq.direct", key=address, mandatory=True, properties=properties)
    assert ch.expect_return().body == b"!"
    requester.expect_nothing()


def test_what_was_rolled_back_had_been_answered(ch: Channel) -> None:
    ch.declare_queue("service")
    requester = ch.peer.open_channel()
    address = _address_of(ch, requester)
    server = ch.peer.open_channel()
    server.call(Tx.Select(), Tx.SelectOk)
    server.publish(b"!", key=address, mandatory=True)
    requester.expect_delivery(b"!")
    server.call(Tx.Rollback(), Tx.RollbackOk)
    requester.expect_nothing()
    server.publish(b"again", key=address, mandatory=True)
    requester.expect_delivery(b"again")
    server.call(Tx.Commit(), Tx.CommitOk)
    requester.expect_nothing()
    server.expect_nothing()
