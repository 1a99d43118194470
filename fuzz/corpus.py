"""The pieces that streams are made of: valid frames of every method, with ordinary and odd values.

All frames are made once, for channel 1; `on_channel` moves one to another channel. Values come from
small pools, so that frames of one stream speak of the same queues, exchanges and consumers.
"""

from __future__ import annotations

import random
from datetime import UTC, datetime
from decimal import Decimal
from typing import Final

from pamqp.base import Frame
from pamqp.common import FieldTable, FieldValue

from amqbroker.wire import methods
from amqbroker.wire.methods import encode_method
from amqbroker.wire.properties import FLAGS, encode_header

END: Final = b"\xce"
HEARTBEAT: Final = b"\x08\x00\x00\x00\x00\x00\x00\xce"
PROTOCOL_HEADER: Final = b"AMQP\x00\x00\x09\x01"

NAMES: Final = (
    "",
    "q",
    "q",
    "q2",
    "x",
    "t",
    "amq.direct",
    "amq.topic",
    "amq.headers",
    "amq.fanout",
    "amq.gen-1",
    "amq.rabbitmq.reply-to",
    "amq.rabbitmq.reply-to.1",
    "a.b.c",
    "#",
    "*.b.#",
    "ct",
    "\u00e9",
    "n" * 255,
    "a\r\nb",
)
EXCHANGE_TYPES: Final = ("direct", "fanout", "topic", "headers", "x-unknown", "")
ARGUMENTS: Final = (
    "x-message-ttl",
    "x-expires",
    "x-max-length",
    "x-max-length-bytes",
    "x-max-priority",
    "x-overflow",
    "x-dead-letter-exchange",
    "x-dead-letter-routing-key",
    "x-single-active-consumer",
    "x-queue-type",
    "x-queue-mode",
    "x-priority",
    "x-cancel-on-ha-failover",
    "x-match",
    "alternate-exchange",
    "CC",
    "BCC",
    "x-death",
    "x-first-death-queue",
    "k",
)
VALUES: Final[tuple[FieldValue, ...]] = (
    None,
    True,
    False,
    0,
    1,
    5,
    255,
    256,
    -1,
    2**31,
    2**63 - 1,
    -(2**63),
    2**64 - 1,
    1.5,
    float("nan"),
    "",
    "q",
    "classic",
    "quorum",
    "drop-head",
    "reject-publish",
    "all",
    "any-with-x",
    "10",
    b"\xff\xfe",
    bytearray(b"\x00"),
    Decimal("1.5"),
    datetime(2020, 1, 1, tzinfo=UTC),
    [],
    ["q", "q2", 5],
    [b"\xff"],
    [{"queue": "q", "reason": "expired", "count": 1}],
    [{"queue": 1, "reason": None, "count": "a"}, 3],
    {},
    {"k": {"k": ["q"]}},
)
TEXT_PROPERTIES: Final = ("", "10", "-1", "10s", "99999999999999", "guest", "q", "\u00e9")
NUMBERS: Final = (0, 0, 1, 1, 2, 3, 10, 255, 65535)
BODIES: Final = (b"", b"a", b"abc", b"\xce" * 5, b"x" * 40)
METHODS: Final = tuple(each for each in methods.ALL if each is not methods.BasicPublish)
CONNECTION_CLASS: Final = 10


def on_channel(frame: bytes, channel: int) -> bytes:
    """The same frame on another channel."""
    return frame[:1] + channel.to_bytes(2, "big") + frame[3:]


def envelope(kind: int, payload: bytes) -> bytes:
    """A frame on channel 1."""
    return bytes([kind, 0, 1]) + len(payload).to_bytes(4, "big") + payload + END


def table(rng: random.Random) -> FieldTable:
    """A few arguments, more often none."""
    count = rng.choice((0, 0, 0, 1, 1, 2, 4))
    return {rng.choice(ARGUMENTS): rng.choice(VALUES) for _ in range(count)}


def method(rng: random.Random, frame_class: type[Frame]) -> bytes:
    """A method with values from the pools."""
    frame = frame_class.__new__(frame_class)
    for name in frame_class.attributes():
        setattr(frame, name, _argument(rng, name, frame_class.amqp_type(name)))
    return encode_method(1, frame)


def _argument(rng: random.Random, name: str, kind: str) -> object:
    if kind == "table":
        return table(rng)
    if kind == "bit":
        return rng.random() < 0.3
    if kind in ("shortstr", "longstr"):
        return rng.choice(EXCHANGE_TYPES if name == "exchange_type" else NAMES)
    number = rng.choice(NUMBERS)
    return min(number, 255) if kind == "octet" else number


def publish(rng: random.Random) -> list[bytes]:
    """basic.publish with its content."""
    octets = rng.choice(BODIES)
    properties: FieldTable = {}
    for name in FLAGS:
        if rng.random() < 0.2:
            properties[name] = _property(rng, name)
    frames = [
        method(rng, methods.BasicPublish),
        envelope(2, encode_header(len(octets), properties)),
    ]
    cut = rng.choice((0, 0, 1))
    frames.extend(envelope(3, piece) for piece in (octets[:cut], octets[cut:]) if piece)
    return frames


def _property(rng: random.Random, name: str) -> FieldValue:
    if name == "headers":
        return table(rng)
    if name in ("delivery_mode", "priority"):
        return rng.choice((0, 1, 2, 2, 9, 255))
    if name == "timestamp":
        return rng.choice((0, 1_600_000_000, 2**64 - 1))
    if name == "reply_to":
        return rng.choice(NAMES)
    return rng.choice(TEXT_PROPERTIES)


class Corpus:
    """The pieces: lists of frames that belong together, by how often they are wanted."""

    def __init__(self) -> None:
        rng = random.Random(20)
        self.pieces: list[list[bytes]] = [[HEARTBEAT]]
        for frame_class in METHODS:
            if frame_class.index >> 16 != CONNECTION_CLASS:
                self.pieces.extend([method(rng, frame_class)] for _ in range(12))
        self.pieces.extend(publish(rng) for _ in range(300))
        self.connection_methods = [
            method(rng, frame_class)
            for frame_class in METHODS
            if frame_class.index >> 16 == CONNECTION_CLASS
            for _ in range(8)
        ]
        self.starts = [_start(rng) for _ in range(20)]
        # What makes later frames meet something: queues, bindings, consumers, messages.
        self.openers = [
            [encode_method(1, methods.QueueDeclare(queue="q"))],
            [encode_method(1, methods.QueueDeclare(queue="q", durable=True))],
            [encode_method(1, methods.QueueDeclare(queue="q2", exclusive=True))],
            [encode_method(1, methods.ExchangeDeclare(exchange="x", exchange_type="headers"))],
            [encode_method(1, methods.QueueBind(queue="q", exchange="amq.topic", routing_key="#"))],
            [encode_method(1, methods.BasicConsume(queue="q", consumer_tag="ct"))],
            [encode_method(1, methods.ConfirmSelect())],
            [encode_method(1, methods.TxSelect())],
            [encode_method(1, methods.BasicQos(prefetch_count=1))],
        ]


def _start(rng: random.Random) -> list[bytes]:
    """A client's side of the start of a connection, and its first channel."""
    properties: FieldTable = {
        "capabilities": {"consumer_cancel_notify": rng.random() < 0.5, "basic.nack": True},
        "product": rng.choice(VALUES),
    }
    mechanism = rng.choice(("PLAIN", "PLAIN", "AMQPLAIN"))
    response = "\x00guest\x00guest"
    if mechanism == "AMQPLAIN":
        response = "\x05LOGINS\x00\x00\x00\x05guest\x08PASSWORDS\x00\x00\x00\x05guest"
    return [
        PROTOCOL_HEADER,
        encode_method(0, methods.ConnectionStartOk(properties, mechanism, response)),
        encode_method(0, methods.ConnectionTuneOk(rng.choice((2, 100, 2047)), 4096, 0)),
        encode_method(0, methods.ConnectionOpen()),
        encode_method(1, methods.ChannelOpen()),
    ]
