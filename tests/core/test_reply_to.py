"""Direct reply-to: addresses that are one, and replies that nobody reads."""

from __future__ import annotations

import pytest
from pamqp.commands import Basic

from amqbroker.core.definitions import short
from amqbroker.core.reply_to import (
    BACKLOG_FACTOR,
    REPLY_PREFIX,
    REPLY_QUEUE,
    ReplyConsumer,
    deliver_reply,
    own_reply_address,
    reply_key,
)
from amqbroker.errors import PRECONDITION_FAILED, ChannelException
from amqbroker.wire.writer import deliver_prefix
from tests.core.house import House, core, make_channel, make_message
from tests.semantics.peer import Channel


@pytest.mark.parametrize(
    ("exchange", "key", "found"),
    [
        ("", REPLY_PREFIX + "g-abc", "g-abc"),
        ("", REPLY_PREFIX, ""),
        ("", REPLY_QUEUE, ""),
        ("", "", ""),
        ("", "q", ""),
        ("x", REPLY_PREFIX + "g-abc", ""),
        ("", "x" + REPLY_PREFIX + "g-abc", ""),
    ],
)
def test_the_secret_part_of_an_address(exchange: str, key: str, found: str) -> None:
    assert reply_key(short(exchange) + short(key)) == found


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
        assert deliver_reply({"g-1": consumer}, "g-1", message)
    assert channel.client.output.size() <= 1000 * BACKLOG_FACTOR + 11_000
    assert not deliver_reply({}, "g-1", message)


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
