"""Frames that are wrong, and what the parser answers: RabbitMQ's codes and texts."""

from __future__ import annotations

import pytest
from pamqp import body, commands, frame, header

from amqbroker.errors import FRAME_ERROR, SYNTAX_ERROR, UNEXPECTED_FRAME, AmqpError
from amqbroker.message import IMMEDIATE, MANDATORY, Message
from amqbroker.wire import methods
from amqbroker.wire.commands import Ack, Method
from amqbroker.wire.methods import encode_method
from amqbroker.wire.parser import LARGE_FRAME_BYTES, Parser

HEARTBEAT = b"\x08\x00\x00\x00\x00\x00\x00\xce"


def make(frame_size_max: int = 4096, message_size_max: int = 1 << 20) -> Parser:
    return Parser(frame_size_max, message_size_max)


def frame_of(kind: int, channel: int, payload: bytes) -> bytes:
    size = len(payload).to_bytes(4, "big")
    return bytes([kind]) + channel.to_bytes(2, "big") + size + payload + b"\xce"


def publish(channel: int = 1) -> bytes:
    return encode_method(channel, methods.BasicPublish(exchange="x", routing_key="k"))


def content_header(channel: int = 1, size: int = 3) -> bytes:
    return frame.marshal(header.ContentHeader(body_size=size), channel)


def content_body(octets: bytes = b"abc", channel: int = 1) -> bytes:
    return frame.marshal(body.ContentBody(octets), channel)


def error_of(*frames: bytes) -> AmqpError:
    """The error that these frames end with; it stays, and no command is read after it."""
    parser = make()
    parser.receive(b"".join(frames))
    error = parser.error
    assert error is not None
    assert parser.receive(publish() + content_header() + content_body() + b"rubbish") == []
    assert parser.error is error
    return error


def test_a_publish_keeps_what_came_as_it_came() -> None:
    parser = make()
    method = encode_method(
        7, methods.BasicPublish(exchange="ex", routing_key="rk", mandatory=True, immediate=True)
    )
    properties = commands.Basic.Properties(delivery_mode=2, headers={"a": 1})
    content = header.ContentHeader(body_size=3, properties=properties)
    (message,) = parser.receive(method + frame.marshal(content, 7) + content_body(channel=7))
    assert isinstance(message, Message)
    assert (message.channel, message.address) == (7, b"\x02ex\x02rk")
    assert message.bits == MANDATORY | IMMEDIATE
    assert message.header == content.marshal()
    assert (message.body, message.persistent) == (b"abc", True)


def test_an_empty_body_completes_the_message_at_its_header() -> None:
    (message,) = make().receive(publish() + content_header(size=0))
    assert isinstance(message, Message)
    assert message.body == b""


def test_channels_interleave() -> None:
    parser = make()
    found = parser.receive(
        publish(1)
        + publish(2)
        + content_header(2)
        + encode_method(3, methods.BasicAck(9, True))
        + content_header(1)
        + content_body(b"ab", 1)
        + content_body(b"xyz", 2)
        + HEARTBEAT
        + content_body(b"c", 1)
    )
    ack, second, first = found
    assert isinstance(ack, Ack)
    assert (ack.channel, ack.delivery_tag, ack.multiple) == (3, 9, True)
    assert isinstance(first, Message)
    assert isinstance(second, Message)
    assert (first.channel, first.body, second.channel, second.body) == (1, b"abc", 2, b"xyz")


def test_other_methods_come_decoded() -> None:
    (found,) = make().receive(encode_method(5, methods.QueueDeclare(queue="q")))
    assert isinstance(found, Method)
    assert isinstance(found.frame, methods.QueueDeclare)
    assert (found.channel, found.frame.queue) == (5, "q")


def test_commands_before_an_error_are_kept() -> None:
    parser = make()
    assert len(parser.receive(HEARTBEAT + publish() + content_header(size=0) + b"\x09" * 20)) == 1
    assert parser.error is not None


def test_a_forgotten_channel_may_start_anew() -> None:
    parser = make()
    parser.receive(publish() + content_header() + content_body(b"a"))
    parser.forget_channel(1)
    (message,) = parser.receive(publish() + content_header(size=2) + content_body(b"bc"))
    assert isinstance(message, Message)
    assert message.body == b"bc"


def test_a_message_over_the_limit_comes_without_its_body() -> None:
    parser = make(message_size_max=2)
    (message,) = parser.receive(publish() + content_header(size=3) + content_body(b"abc"))
    assert isinstance(message, Message)
    assert message.body == b""
    assert int.from_bytes(message.header[4:12], "big") == 3
    (after,) = parser.receive(publish() + content_header(size=2) + content_body(b"de"))
    assert isinstance(after, Message)
    assert after.body == b"de"


def test_a_frame_may_be_eight_octets_longer_than_negotiated() -> None:
    parser = make(4096)
    parser.receive(publish() + content_header(size=5000) + content_body(b"a" * 4096))
    assert parser.error is None
    parser = make(4096)
    parser.receive(publish() + content_header(size=5000) + content_body(b"a" * 4097))
    assert parser.error is not None
    assert parser.error.code == FRAME_ERROR
    assert parser.error.reply_text.startswith(
        "FRAME_ERROR - type 3, all octets = <<>>: {frame_too_large,"
    )


def test_a_frame_too_large_is_refused_at_its_size() -> None:
    parser = make(4096)
    parser.receive(b"\x01\x00\x01\xff\xff\xff\xff")
    assert parser.error is not None
    assert "frame_too_large,4294967295" in parser.error.reply_text


def test_no_limit_on_frames() -> None:
    parser = make(0)
    octets = b"a" * 200_000
    (message,) = parser.receive(
        publish() + content_header(size=len(octets)) + frame_of(3, 1, octets)
    )
    assert isinstance(message, Message)
    assert message.body == octets


@pytest.mark.parametrize(
    ("octets", "code", "text"),
    [
        (publish()[:-1] + b"\x00", FRAME_ERROR, "invalid_frame_end_marker"),
        (frame_of(4, 1, b"abc"), FRAME_ERROR, "unknown_frame"),
        (frame_of(8, 0, b"a"), FRAME_ERROR, "unknown_frame"),
        (frame_of(8, 1, b""), UNEXPECTED_FRAME, "type 8, all octets = <<>>"),
        (
            content_header(),
            UNEXPECTED_FRAME,
            "UNEXPECTED_FRAME - expected method frame, got non method frame instead",
        ),
        (
            content_body(),
            UNEXPECTED_FRAME,
            "UNEXPECTED_FRAME - expected method frame, got non method frame instead",
        ),
        (
            publish() + publish(),
            UNEXPECTED_FRAME,
            "UNEXPECTED_FRAME - expected content header for class 60, "
            "got non content header frame instead",
        ),
        (publish() + content_body(), UNEXPECTED_FRAME, "got non content header frame instead"),
        (publish() + content_header() + publish(), UNEXPECTED_FRAME, "expected content body"),
        (publish() + content_header() + content_header(), UNEXPECTED_FRAME, "content body"),
        (
            publish() + content_header(size=2) + content_body(b"abc"),
            FRAME_ERROR,
            "FRAME_ERROR - content body frame exceeds remaining content size",
        ),
        (
            publish() + content_header(size=536870913),
            FRAME_ERROR,
            "FRAME_ERROR - content body size 536870913 exceeds maximum allowed size 536870912",
        ),
        (
            publish() + content_header(size=2**64 - 1),
            FRAME_ERROR,
            "content body size 18446744073709551615 exceeds",
        ),
        (frame_of(2, 0, b""), UNEXPECTED_FRAME, "type 2, all octets = <<>>"),
        (frame_of(3, 0, b"abc"), UNEXPECTED_FRAME, 'type 3, all octets = <<"abc">>'),
        (publish() + frame_of(2, 1, b"\x00\x3c" + bytes(11)), SYNTAX_ERROR, "content header of 13"),
        (publish() + frame_of(2, 1, b"\x00\x3d" + bytes(12)), UNEXPECTED_FRAME, "class 61"),
        (publish() + frame_of(2, 1, b"\x00\x3c\x00\x01" + bytes(10)), UNEXPECTED_FRAME, "header"),
        (publish() + frame_of(2, 1, b"\x00\x3c" + bytes(13)), SYNTAX_ERROR, "after the last"),
        (frame_of(1, 1, b"\x00\x3c"), SYNTAX_ERROR, "no class and method"),
        (frame_of(1, 1, b"\x00\x3c\x00\x28\x00\x00"), SYNTAX_ERROR, "cut short"),
        (frame_of(1, 1, b"\x00\x3c\x00\x28\x00\x00\x05a"), SYNTAX_ERROR, "cut short"),
        (frame_of(1, 1, b"\x00\x3c\x00\x28\x00\x00\x00\x05a\x00"), SYNTAX_ERROR, "routing key"),
        (frame_of(1, 1, b"\x00\x3c\x00\x28\x00\x00\x00\x00"), SYNTAX_ERROR, "routing key"),
        (frame_of(1, 1, b"\x00\x3c\x00\x28\x00\x00\x00\x00\x00a"), SYNTAX_ERROR, "routing key"),
        (frame_of(1, 1, b"\x00\x3c\x00\x50" + bytes(8)), SYNTAX_ERROR, "basic.ack of 12 octets"),
    ],
)
def test_wrong_frames(octets: bytes, code: int, text: str) -> None:
    error = error_of(octets)
    assert error.code == code
    assert text in error.reply_text


def test_the_octets_of_a_bad_frame_are_shown_in_the_text() -> None:
    error = error_of(frame_of(9, 1, bytes(range(3))))
    assert error.reply_text == "FRAME_ERROR - type 9, all octets = <<0,1,2>>: unknown_frame"
    error = error_of(frame_of(9, 1, bytes(range(17))))
    assert "type 9, first 16 octets = <<0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15>>" in error.reply_text


def test_the_method_to_blame_is_named() -> None:
    error = error_of(publish() + publish())
    assert (error.class_id, error.method_id) == (60, 40)


def test_an_error_in_the_middle_of_single_octets() -> None:
    parser = make()
    octets = publish() + content_body()
    for number, octet in enumerate(octets):
        parser.receive(bytes([octet]))
        assert (parser.error is not None) == (number == len(octets) - 1)


CLOSE = encode_method(0, methods.ConnectionClose(200, "bye", 0, 0))
CLOSE_OK = encode_method(0, methods.ConnectionCloseOk())


@pytest.mark.parametrize("cut", [0, 1, 30])
def test_only_the_close_handshake_is_read_after_an_error(cut: int) -> None:
    parser = make()
    stream = publish() + publish() + content_header() + HEARTBEAT + CLOSE + publish() + CLOSE_OK
    parser.receive(stream[:cut])
    parser.receive(stream[cut:])
    assert parser.error is not None
    assert parser.error.code == UNEXPECTED_FRAME
    close, close_ok = parser.after_error
    assert isinstance(close, Method)
    assert isinstance(close.frame, methods.ConnectionClose)
    assert isinstance(close_ok, Method)
    assert isinstance(close_ok.frame, methods.ConnectionCloseOk)
    assert not parser.lost


@pytest.mark.parametrize(
    "rubbish",
    [HEARTBEAT[:-1] + b"\x00", b"\x01\x00\x00\x00\x01\x00\x00", frame_of(1, 0, CLOSE[7:-2])],
)
def test_nothing_is_read_after_a_stream_is_lost(rubbish: bytes) -> None:
    parser = make()
    parser.receive(publish() + publish() + rubbish + CLOSE)
    parser.receive(CLOSE)
    assert parser.lost
    assert parser.after_error == []
    assert parser.error is not None
    assert parser.error.code == UNEXPECTED_FRAME


def test_a_large_frame_is_announced() -> None:
    parser = make(0)
    parser.receive(publish() + content_header(size=LARGE_FRAME_BYTES))
    assert not parser.awaits_large_frame()
    frame_octets = frame_of(3, 1, bytes(LARGE_FRAME_BYTES))
    parser.receive(frame_octets[:100])
    assert parser.awaits_large_frame()
    (message,) = parser.receive(frame_octets[100:])
    assert isinstance(message, Message)
    assert not parser.awaits_large_frame()
