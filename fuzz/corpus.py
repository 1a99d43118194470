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

# Most names are of things that exist, so that commands meet each other.
ODD_NAMES: Final = (
    "",
    "nothing",
    "\u00e9",
    "n" * 255,
    "a\r\nb",
    "amq.gen-1",
    "amq.rabbitmq.reply-to",
)
QUEUES: Final = ("q",) * 60 + ("q2",) * 15 + ("",) * 5 + ODD_NAMES
EXCHANGES: Final = (
    ("",) * 6
    + ("x",) * 20
    + ("amq.direct", "amq.topic", "amq.headers", "amq.fanout", "amq.match", "amq.rabbitmq.trace")
    + ODD_NAMES
)
KEYS: Final = ("q",) * 20 + ("q2",) * 5 + ("a.b.c", "#", "*.b.#", "#.#", ".") + ODD_NAMES
TAGS: Final = ("ct",) * 20 + ("ct2", "ct2") + ODD_NAMES
POOLS: Final[dict[str, tuple[object, ...]]] = {
    "queue": QUEUES,
    "exchange": EXCHANGES,
    "source": EXCHANGES,
    "destination": EXCHANGES,
    "routing_key": KEYS,
    "consumer_tag": TAGS,
    "exchange_type": ("direct", "fanout", "topic", "headers", "headers", "x-unknown", ""),
    "delivery_tag": (1,) * 6 + (2, 2, 3, 4, 0, 2**63 - 1),
    "prefetch_count": (0, 1, 1, 2, 10, 65535),
    "prefetch_size": (0,) * 12 + (1,),
}
# How likely a bit is set; those that end the connection are rare.
BITS: Final[dict[str, float]] = {
    "immediate": 0.01,
    "passive": 0.1,
    "exclusive": 0.15,
    "internal": 0.1,
    "active": 0.9,
    "requeue": 0.8,
    "no_ack": 0.4,
    "multiple": 0.4,
}
BIT_LIKELIHOOD: Final = 0.3
TO_QUEUE_LIKELIHOOD: Final = 0.6
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
TEXT_PROPERTIES: Final[dict[str, tuple[str, ...]]] = {
    "expiration": ("0", "0", "10", "1000", "1000", "-1", "10s", "", "99999999999999"),
    "user_id": ("guest",) * 5 + ("other",),
    "reply_to": ("q", "q2", "amq.rabbitmq.reply-to", "amq.rabbitmq.reply-to.1", ""),
}
TEXTS: Final = ("", "a", "a", "\u00e9", "n" * 30)
# Arguments that are in order.
QUEUE_ARGUMENTS: Final[dict[str, tuple[FieldValue, ...]]] = {
    "x-message-ttl": (0, 1, 1000),
    "x-expires": (1, 1000),
    "x-max-length": (0, 1, 2),
    "x-max-length-bytes": (0, 1, 10),
    "x-max-priority": (1, 5, 255),
    "x-overflow": ("drop-head", "reject-publish", "reject-publish-dlx"),
    "x-dead-letter-exchange": ("", "x", "amq.fanout", "nothing"),
    "x-dead-letter-routing-key": ("q", "q2", "nothing"),
    "x-single-active-consumer": (True, False),
    "x-queue-type": ("classic", "classic", "quorum"),
    "x-delivery-limit": (0, 1, 2),
}
NUMBERS: Final = (0, 0, 1, 1, 2, 3, 10, 255, 65535)
BODIES: Final = (b"", b"a", b"abc", b"\xce" * 5, b"x" * 40)
METHODS: Final = tuple(each for each in methods.ALL if each is not methods.BasicPublish)
# What clients send, and how often.
CLIENT_METHODS: Final = (
    (methods.QueueDeclare, 40),
    (methods.QueueBind, 20),
    (methods.QueueUnbind, 10),
    (methods.QueuePurge, 10),
    (methods.QueueDelete, 12),
    (methods.ExchangeDeclare, 20),
    (methods.ExchangeDelete, 10),
    (methods.ExchangeBind, 20),
    (methods.ExchangeUnbind, 10),
    (methods.BasicQos, 12),
    (methods.BasicConsume, 40),
    (methods.BasicCancel, 12),
    (methods.BasicGet, 30),
    (methods.BasicAck, 40),
    (methods.BasicNack, 30),
    (methods.BasicReject, 30),
    (methods.BasicRecover, 15),
    (methods.BasicRecoverAsync, 6),
    (methods.TxSelect, 6),
    (methods.TxCommit, 12),
    (methods.TxRollback, 8),
    (methods.ConfirmSelect, 8),
    (methods.ChannelFlow, 3),
    (methods.ChannelClose, 6),
    (methods.ChannelOpen, 3),
    (methods.AccessRequest, 2),
)


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
    pool = POOLS.get(name)
    if pool is not None:
        return rng.choice(pool)
    if kind == "table":
        return table(rng)
    if kind == "bit":
        return rng.random() < BITS.get(name, BIT_LIKELIHOOD)
    if kind in ("shortstr", "longstr"):
        return rng.choice(ODD_NAMES)
    number = rng.choice(NUMBERS)
    return min(number, 255) if kind == "octet" else number


def declare(rng: random.Random, queue: str) -> bytes:
    """A queue of some kind that exists afterwards."""
    names = rng.sample(sorted(QUEUE_ARGUMENTS), rng.choice((0, 0, 1, 2, 3)))
    if "x-dead-letter-routing-key" in names:
        names.append("x-dead-letter-exchange")
    return encode_method(
        1,
        methods.QueueDeclare(
            queue=queue,
            durable=rng.random() < 0.5,
            exclusive=rng.random() < 0.1,
            auto_delete=rng.random() < 0.1,
            arguments={name: rng.choice(QUEUE_ARGUMENTS[name]) for name in names},
        ),
    )


def publish(rng: random.Random) -> list[bytes]:
    """basic.publish with its content."""
    octets = rng.choice(BODIES)
    properties: FieldTable = {}
    for name in FLAGS:
        if rng.random() < 0.2:
            properties[name] = _property(rng, name)
    frame = method(rng, methods.BasicPublish)
    if rng.random() < TO_QUEUE_LIKELIHOOD:
        to_queue = methods.BasicPublish(routing_key="q", mandatory=rng.random() < BIT_LIKELIHOOD)
        frame = encode_method(1, to_queue)
    frames = [
        frame,
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
    return rng.choice(TEXT_PROPERTIES.get(name, TEXTS))


def round_trip(rng: random.Random) -> list[bytes]:
    """Messages to a queue, taken from it and settled in some way, perhaps in a transaction."""
    frames: list[bytes] = []
    count = 1 + rng.randrange(3)
    for _ in range(count):
        frames.extend(publish(rng))
    frames.extend(
        encode_method(1, methods.BasicGet(queue="q", no_ack=rng.random() < 0.1))
        for _ in range(rng.randrange(count + 1))
    )
    multiple = rng.random() < BIT_LIKELIHOOD
    requeue = rng.random() < 0.5
    settlements = (
        methods.BasicAck(1, multiple),
        methods.BasicNack(1, multiple, requeue),
        methods.BasicReject(1, requeue),
        methods.BasicRecover(True),
        methods.BasicCancel("ct"),
        methods.ChannelClose(200, "", 0, 0),
    )
    frames.extend(encode_method(1, rng.choice(settlements)) for _ in range(rng.randrange(3)))
    if rng.random() < 0.2:
        frames.insert(0, encode_method(1, methods.TxSelect()))
        frames.append(method(rng, rng.choice((methods.TxCommit, methods.TxRollback))))
    return frames


class Corpus:
    """The pieces: lists of frames that belong together, as often as they are wanted."""

    def __init__(self) -> None:
        rng = random.Random(20)
        self.pieces: list[list[bytes]] = [[HEARTBEAT]]
        for frame_class, count in CLIENT_METHODS:
            self.pieces.extend([method(rng, frame_class)] for _ in range(count))
        self.pieces.extend(publish(rng) for _ in range(300))
        self.pieces.extend(round_trip(rng) for _ in range(200))
        # Methods out of place: of servers, and of the start of a connection.
        self.strangers = [method(rng, frame_class) for frame_class in METHODS for _ in range(3)]
        self.starts = [_start(rng) for _ in range(20)]
        # What later frames meet: each list is a step that is taken or left out.
        self.openers = [
            [declare(rng, "q") for _ in range(60)],
            [declare(rng, "q2") for _ in range(20)],
            [
                encode_method(1, methods.ExchangeDeclare(exchange="x", exchange_type=kind))
                for kind in ("direct", "fanout", "topic", "headers")
            ],
            [
                encode_method(1, methods.QueueBind(queue=queue, exchange=exchange, routing_key="#"))
                for queue in ("q", "q2")
                for exchange in ("x", "amq.topic", "amq.fanout", "amq.headers")
            ],
            [
                encode_method(1, methods.BasicQos(prefetch_count=1)),
                encode_method(1, methods.BasicQos(prefetch_count=2, global_=True)),
                encode_method(1, methods.ConfirmSelect()),
                encode_method(1, methods.TxSelect()),
            ],
            [
                encode_method(1, methods.BasicConsume(queue="q", consumer_tag="ct")),
                encode_method(1, methods.BasicConsume(queue="q", consumer_tag="ct", no_ack=True)),
                encode_method(1, methods.BasicConsume(queue="q2", consumer_tag="ct")),
                encode_method(1, methods.BasicConsume(queue="amq.rabbitmq.reply-to", no_ack=True)),
            ],
        ]


def _start(rng: random.Random) -> list[bytes]:
    """A client's side of the start of a connection, and its first channels."""
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
        encode_method(2, methods.ChannelOpen()),
    ]
