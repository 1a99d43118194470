"""The hot frames that the broker sends, written by hand into a connection's output buffer.

Every function appends whole frames to an `Outbox`. A basic.deliver is the consumer's prefix (class,
method, consumer tag), the delivery tag, the redelivered bit and the message's address, copied as
they stand; the content header and the body follow as they came. Everything else goes through
wire/methods.py.

Source: AMQP 0-9-1 sections 1.8.3 (basic methods) and 4.2.
"""

from __future__ import annotations

from typing import Final

from librt.strings import write_i16_be, write_i32_be, write_i64_be
from mypy_extensions import i16, i32, i64

from amqbroker.message import Message
from amqbroker.wire import frames
from amqbroker.wire.outbox import GROWN_FROM_BYTES, LARGE_BODY_BYTES, Outbox

ACK_PAYLOAD_SIZE: Final = 13


def as_i16(channel: i64) -> i16:
    """A channel number for librt, which writes signed numbers; only compiled code would wrap it by
    itself."""
    return i16(channel - 0x10000 if channel > 0x7FFF else channel)


def deliver_prefix(consumer_tag: str) -> bytes:
    """The start of every basic.deliver to one consumer: class, method and consumer tag."""
    tag = consumer_tag.encode()
    return frames.BASIC_DELIVER.to_bytes(4, "big") + bytes([len(tag)]) + tag


def write_deliver(
    outbox: Outbox,
    channel: i64,
    prefix: bytes,
    delivery_tag: i64,
    redelivered: bool,
    message: Message,
    payload_size_max: i64,
) -> None:
    """basic.deliver with its content; `prefix` comes from `deliver_prefix`."""
    out = outbox.small
    address = message.address
    number = as_i16(channel)
    out.append(frames.METHOD)
    write_i16_be(out, number)
    write_i32_be(out, i32(i64(len(prefix)) + 9 + i64(len(address))))
    out.write(prefix)
    write_i64_be(out, delivery_tag)
    out.append(1 if redelivered else 0)
    out.write(address)
    out.append(frames.END)
    write_content(outbox, channel, message.header, message.body, payload_size_max)


def write_get_ok(
    outbox: Outbox,
    channel: i64,
    delivery_tag: i64,
    redelivered: bool,
    message: Message,
    message_count: i64,
    payload_size_max: i64,
) -> None:
    """basic.get-ok with its content; `message_count` is what is ready after this message."""
    out = outbox.small
    address = message.address
    out.append(frames.METHOD)
    write_i16_be(out, as_i16(channel))
    write_i32_be(out, i32(17 + i64(len(address))))
    write_i32_be(out, frames.BASIC_GET_OK)
    write_i64_be(out, delivery_tag)
    out.append(1 if redelivered else 0)
    out.write(address)
    write_i32_be(out, i32(message_count))
    out.append(frames.END)
    write_content(outbox, channel, message.header, message.body, payload_size_max)


def write_return(
    outbox: Outbox,
    channel: i64,
    reply_code: i64,
    reply_text: bytes,
    message: Message,
    payload_size_max: i64,
) -> None:
    """basic.return with its content."""
    out = outbox.small
    address = message.address
    out.append(frames.METHOD)
    write_i16_be(out, as_i16(channel))
    write_i32_be(out, i32(7 + i64(len(reply_text)) + i64(len(address))))
    write_i32_be(out, frames.BASIC_RETURN)
    write_i16_be(out, i16(reply_code))
    out.append(len(reply_text))
    out.write(reply_text)
    out.write(address)
    out.append(frames.END)
    write_content(outbox, channel, message.header, message.body, payload_size_max)


def write_content(
    outbox: Outbox, channel: i64, header: bytes, body: bytes, payload_size_max: i64
) -> None:
    """The header frame and as many body frames as the peer's frame size asks for; none for an empty
    body."""
    out = outbox.small
    if not outbox.has_grown and i64(len(out)) >= GROWN_FROM_BYTES:
        out = outbox.grow()
    number = as_i16(channel)
    size: i64 = len(body)
    out.append(frames.HEADER)
    write_i16_be(out, number)
    write_i32_be(out, i32(len(header)))
    out.write(header)
    out.append(frames.END)
    if size == 0:
        return
    if size <= payload_size_max:
        out.append(frames.BODY)
        write_i16_be(out, number)
        write_i32_be(out, i32(size))
        if size >= LARGE_BODY_BYTES:
            outbox.write_large(body)
            out = outbox.small
        else:
            out.write(body)
        out.append(frames.END)
        return
    start: i64 = 0
    while start < size:
        end: i64 = start + payload_size_max
        if end > size:
            end = size
        out.append(frames.BODY)
        write_i16_be(out, number)
        write_i32_be(out, i32(end - start))
        outbox.write_large(body[start:end])
        out = outbox.small
        out.append(frames.END)
        start = end


def write_ack(outbox: Outbox, channel: i64, delivery_tag: i64, multiple: bool) -> None:
    """basic.ack: a publisher confirm."""
    out = outbox.small
    out.append(frames.METHOD)
    write_i16_be(out, as_i16(channel))
    write_i32_be(out, ACK_PAYLOAD_SIZE)
    write_i32_be(out, frames.BASIC_ACK)
    write_i64_be(out, delivery_tag)
    out.append(1 if multiple else 0)
    out.append(frames.END)


def write_nack(outbox: Outbox, channel: i64, delivery_tag: i64, multiple: bool) -> None:
    """basic.nack: the broker could not take responsibility for a publish."""
    out = outbox.small
    out.append(frames.METHOD)
    write_i16_be(out, as_i16(channel))
    write_i32_be(out, ACK_PAYLOAD_SIZE)
    write_i32_be(out, frames.BASIC_NACK)
    write_i64_be(out, delivery_tag)
    out.append(1 if multiple else 0)
    out.append(frames.END)
