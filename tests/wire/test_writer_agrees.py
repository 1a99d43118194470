"""pamqp reads from the writer's frames what was put in, bodies split to any frame size."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from pamqp import body, commands, frame, header

from amqbroker.message import Message
from amqbroker.wire.outbox import Outbox
from amqbroker.wire.writer import (
    deliver_prefix,
    write_ack,
    write_deliver,
    write_get_ok,
    write_nack,
    write_return,
)
from tests.wire.strategies import CHANNELS, names, properties

tags = st.integers(1, 2**63 - 1)
payload_sizes = st.integers(1, 300)


@st.composite
def messages(draw: st.DrawFn) -> tuple[Message, str, str, commands.Basic.Properties]:
    """A message, and the exchange, routing key and properties that are in it."""
    exchange, routing_key = draw(names), draw(names)
    made = draw(properties)
    octets = draw(st.binary(max_size=400))
    raw = header.ContentHeader(body_size=len(octets), properties=made).marshal()
    first, second = exchange.encode(), routing_key.encode()
    address = bytes([len(first)]) + first + bytes([len(second)]) + second
    return Message(1, address, 0, raw, octets, False), exchange, routing_key, made


def unmarshal_all(stream: bytes) -> list[tuple[int, object]]:
    found: list[tuple[int, object]] = []
    while stream:
        consumed, channel, read = frame.unmarshal(stream)
        found.append((channel, read))
        stream = stream[consumed:]
    return found


def check_content(
    frames: list[tuple[int, object]],
    channel: int,
    message: Message,
    made: commands.Basic.Properties,
    payload_size_max: int,
) -> None:
    """The header frame and the body frames after a method."""
    assert [number for number, _ in frames] == [channel] * len(frames)
    content = frames[0][1]
    assert isinstance(content, header.ContentHeader)
    assert content.body_size == len(message.body)
    assert content.properties.marshal() == made.marshal()
    pieces = []
    for _, piece in frames[1:]:
        assert isinstance(piece, body.ContentBody)
        pieces.append(piece.value or b"")
    assert b"".join(pieces) == message.body
    assert all(0 < len(piece) <= payload_size_max for piece in pieces)
    assert len(pieces) == -(-len(message.body) // payload_size_max)


@given(messages(), CHANNELS, names, tags, st.booleans(), payload_sizes)
def test_deliver(
    made: tuple[Message, str, str, commands.Basic.Properties],
    channel: int,
    consumer_tag: str,
    tag: int,
    redelivered: bool,
    size: int,
) -> None:
    message, exchange, routing_key, properties_of = made
    out = Outbox([])
    write_deliver(out, channel, deliver_prefix(consumer_tag), tag, redelivered, message, size)
    frames = unmarshal_all(b"".join(out.take()))
    method = frames[0][1]
    assert isinstance(method, commands.Basic.Deliver)
    assert (method.consumer_tag, method.delivery_tag) == (consumer_tag, tag)
    assert method.redelivered is redelivered
    assert (method.exchange, method.routing_key) == (exchange, routing_key)
    assert frames[0][0] == channel
    check_content(frames[1:], channel, message, properties_of, size)


@given(messages(), CHANNELS, tags, st.booleans(), st.integers(0, 2**31 - 1), payload_sizes)
def test_get_ok(
    made: tuple[Message, str, str, commands.Basic.Properties],
    channel: int,
    tag: int,
    redelivered: bool,
    count: int,
    size: int,
) -> None:
    message, exchange, routing_key, properties_of = made
    out = Outbox([])
    write_get_ok(out, channel, tag, redelivered, message, count, size)
    frames = unmarshal_all(b"".join(out.take()))
    method = frames[0][1]
    assert isinstance(method, commands.Basic.GetOk)
    assert (method.delivery_tag, method.redelivered) == (tag, redelivered)
    assert (method.exchange, method.routing_key) == (exchange, routing_key)
    assert method.message_count == count
    check_content(frames[1:], channel, message, properties_of, size)


@given(messages(), CHANNELS, payload_sizes)
def test_return(
    made: tuple[Message, str, str, commands.Basic.Properties], channel: int, size: int
) -> None:
    message, exchange, routing_key, properties_of = made
    out = Outbox([])
    write_return(out, channel, 312, b"NO_ROUTE", message, size)
    frames = unmarshal_all(b"".join(out.take()))
    method = frames[0][1]
    assert isinstance(method, commands.Basic.Return)
    assert (method.reply_code, method.reply_text) == (312, "NO_ROUTE")
    assert (method.exchange, method.routing_key) == (exchange, routing_key)
    check_content(frames[1:], channel, message, properties_of, size)


@given(CHANNELS, tags, st.booleans())
def test_ack_and_nack(channel: int, tag: int, multiple: bool) -> None:
    out = Outbox([])
    write_ack(out, channel, tag, multiple)
    write_nack(out, channel, tag, multiple)
    (first, ack), (second, nack) = unmarshal_all(b"".join(out.take()))
    assert (first, second) == (channel, channel)
    assert isinstance(ack, commands.Basic.Ack)
    assert isinstance(nack, commands.Basic.Nack)
    assert (ack.delivery_tag, ack.multiple) == (tag, multiple)
    assert (nack.delivery_tag, nack.multiple, nack.requeue) == (tag, multiple, False)
