"""The hot frames, octet by octet; that pamqp reads them is tested in test_writer_agrees."""

from __future__ import annotations

import pytest

from amqbroker.message import Message
from amqbroker.wire.outbox import LARGE_BODY_BYTES, Outbox
from amqbroker.wire.writer import (
    deliver_prefix,
    write_ack,
    write_content,
    write_deliver,
    write_nack,
)

HEADER = b"\x00\x3c\x00\x00\x00\x00\x00\x00\x00\x00\x00\x03\x00\x00"


def test_a_delivery_is_prefix_tag_bit_and_address() -> None:
    out = Outbox([])
    message = Message(9, b"\x01x\x02rk", 0, HEADER, b"abc", False)
    write_deliver(out, 0x0102, deliver_prefix("ct"), 3, True, message, 4088)
    assert b"".join(out.take()) == (
        b"\x01\x01\x02\x00\x00\x00\x15\x00\x3c\x00\x3c\x02ct"
        b"\x00\x00\x00\x00\x00\x00\x00\x03\x01\x01x\x02rk\xce"
        b"\x02\x01\x02\x00\x00\x00\x0e" + HEADER + b"\xce"
        b"\x03\x01\x02\x00\x00\x00\x03abc\xce"
    )


def test_an_empty_body_has_no_frame() -> None:
    out = Outbox([])
    write_content(out, 1, HEADER, b"", 4088)
    assert b"".join(out.take()) == b"\x02\x00\x01\x00\x00\x00\x0e" + HEADER + b"\xce"


def test_a_body_of_the_frame_size_is_one_frame_and_one_octet_more_are_two() -> None:
    out = Outbox([])
    write_content(out, 1, b"", b"abc", 3)
    assert b"".join(out.take()).count(b"\xce") == 2
    out = Outbox([])
    write_content(out, 1, b"", b"abcd", 3)
    assert b"".join(out.take()).endswith(
        b"\x03\x00\x01\x00\x00\x00\x03abc\xce\x03\x00\x01\x00\x00\x00\x01d\xce"
    )


def test_a_large_body_is_sent_as_it_is() -> None:
    out = Outbox([])
    body = bytes(LARGE_BODY_BYTES)
    write_content(out, 1, b"", body, 131064)
    write_ack(out, 1, 2, False)
    before, piece, after = out.take()
    assert piece is body
    assert before.endswith(b"\x03\x00\x01" + LARGE_BODY_BYTES.to_bytes(4, "big"))
    assert after[:2] == b"\xce\x01"


@pytest.mark.parametrize("channel", [1, 0x7FFF, 0x8000, 0xFFFF])
def test_channel_numbers_have_16_bits(channel: int) -> None:
    out = Outbox([])
    write_ack(out, channel, 2, False)
    assert b"".join(out.take())[1:3] == channel.to_bytes(2, "big")


def test_confirms() -> None:
    out = Outbox([])
    write_ack(out, 1, 2, True)
    write_nack(out, 1, 3, False)
    assert b"".join(out.take()) == (
        b"\x01\x00\x01\x00\x00\x00\x0d\x00\x3c\x00\x50\x00\x00\x00\x00\x00\x00\x00\x02\x01\xce"
        b"\x01\x00\x01\x00\x00\x00\x0d\x00\x3c\x00\x78\x00\x00\x00\x00\x00\x00\x00\x03\x00\xce"
    )
