"""More of everything than there should be: each is refused with a code, takes no memory that it was
not given, and harms nobody else.

A node in memory raises whatever goes wrong in it, so that a test here fails on any exception.
"""

from __future__ import annotations

import struct

import pytest
from pamqp import commands
from pamqp.commands import Basic, Connection, Queue

from tests.core.house import House
from tests.semantics import wire
from tests.semantics.peer import PROTOCOL_HEADER, Channel, Peer

MIB = 1024 * 1024
FRAME_MAX = 131_072
U32_MAX = 0xFFFFFFFF
# Far deeper than any stack.
NESTED = 20_000


@pytest.fixture
def house() -> House:
    return House()


@pytest.fixture
def ch(house: House) -> Channel:
    return house.channel()


def others_are_served(house: House) -> None:
    """A message goes through a queue, on a connection of its own."""
    other = house.channel()
    other.declare_queue("others")
    other.publish(b"m", key="others")
    assert other.must_get("others", no_ack=True).body == b"m"


def closed_with(house: House, ch: Channel, code: int) -> None:
    """The connection ends with this code."""
    close = ch.peer.expect(Connection.Close)
    assert close.reply_code == code, close.reply_text
    others_are_served(house)


def nested(depth: int) -> bytes:
    """Tables in tables, as one field table with its size."""
    inner = wire.long_string(b"")
    for _ in range(depth):
        inner = wire.long_string(wire.short_string("t") + b"F" + inner)
    return inner


def nested_arrays(depth: int) -> bytes:
    """A field table with arrays in arrays."""
    inner = wire.long_string(b"")
    for _ in range(depth):
        inner = wire.long_string(b"A" + inner)
    return wire.long_string(wire.short_string("a") + b"A" + inner)


# Frames.


@pytest.mark.parametrize("size", [FRAME_MAX + 1, 16 * MIB, U32_MAX])
@pytest.mark.parametrize("kind", [wire.METHOD, wire.HEADER, wire.BODY, wire.HEARTBEAT])
def test_a_frame_that_announces_too_much(house: House, ch: Channel, kind: int, size: int) -> None:
    """It is refused by its first seven octets; what would follow is not waited for."""
    ch.peer.send_raw(struct.pack(">BHI", kind, 1, size))
    closed_with(house, ch, 501)


@pytest.mark.parametrize("size", [5000, FRAME_MAX, U32_MAX])
def test_a_large_frame_before_the_login(house: House, size: int) -> None:
    peer = Peer(house.transport())
    peer.send_raw(PROTOCOL_HEADER)
    peer.expect(Connection.Start)
    peer.send_raw(struct.pack(">BHI", wire.METHOD, 0, size))
    house.advance(3.1)
    peer.expect_dropped()
    others_are_served(house)


# Messages.


@pytest.mark.parametrize("size", [512 * MIB + 1, 1 << 62, (1 << 64) - 1])
def test_a_content_header_that_announces_too_much(house: House, ch: Channel, size: int) -> None:
    ch.peer.send_raw(wire.publish(1, "", "q") + wire.header(1, size))
    closed_with(house, ch, 501)


def test_a_message_over_the_limit_is_counted_and_not_kept(house: House, ch: Channel) -> None:
    limit = 128 * MIB
    ch.peer.send_raw(wire.publish(1, "", "q") + wire.header(1, limit + 1))
    piece = wire.body(1, bytes(FRAME_MAX - 8))
    client = house.core_client(ch.peer)
    sent = 0
    for _ in range(20):
        ch.peer.send_raw(piece)
        sent += FRAME_MAX - 8
    assembly = client.parser._assemblies[1]
    assert (assembly.remaining, assembly.parts) == (limit + 1 - sent, [])
    left = limit + 1 - sent
    while left:
        size = min(left, FRAME_MAX - 8)
        ch.peer.send_raw(wire.body(1, bytes(size)))
        left -= size
    ch.expect_channel_close(406)
    others_are_served(house)


def test_more_body_than_announced(house: House, ch: Channel) -> None:
    ch.peer.send_raw(wire.publish(1, "", "q") + wire.header(1, 10) + wire.body(1, bytes(11)))
    closed_with(house, ch, 501)


# Tables.


@pytest.mark.parametrize(
    "arguments",
    [nested(100), nested(NESTED // 10), nested_arrays(100), nested_arrays(NESTED)],
    ids=["tables", "many tables", "arrays", "many arrays"],
)
def test_arguments_that_are_too_deep(house: House, ch: Channel, arguments: bytes) -> None:
    head = struct.pack(">H", 0) + wire.short_string("q") + b"\0"
    ch.peer.send_raw(wire.method(1, 50, 10, head + arguments))
    closed_with(house, ch, 502)


@pytest.mark.parametrize("exchange", ["", "amq.headers"])
def test_headers_of_a_message_that_are_too_deep(house: House, ch: Channel, exchange: str) -> None:
    ch.declare_queue("q")
    properties = struct.pack(">H", 0x2000) + nested_arrays(NESTED)
    ch.peer.send_raw(wire.publish(1, exchange, "q") + wire.content(1, properties, b"m"))
    closed_with(house, ch, 502)


@pytest.mark.parametrize("depth", [100, 2000])
def test_client_properties_that_are_too_deep(house: House, depth: int) -> None:
    peer = Peer(house.transport())
    peer.send_raw(PROTOCOL_HEADER)
    peer.expect(Connection.Start)
    arguments = nested_arrays(depth // 10) if depth == 2000 else nested(depth)
    rest = wire.short_string("PLAIN") + wire.long_string(b"\0guest\0guest")
    peer.send_raw(wire.method(0, 10, 11, arguments + rest + wire.short_string("en_US")))
    house.advance(3.1)
    peer.expect_dropped()
    others_are_served(house)


def test_an_amqplain_response_that_is_too_deep(house: House) -> None:
    peer = Peer(house.transport())
    peer.send_raw(PROTOCOL_HEADER)
    peer.expect(Connection.Start)
    response = nested_arrays(300)[4:]
    arguments = wire.long_string(b"") + wire.short_string("AMQPLAIN") + wire.long_string(response)
    peer.send_raw(wire.method(0, 10, 11, arguments + wire.short_string("en_US")))
    house.advance(3.1)
    peer.expect_dropped()
    others_are_served(house)


@pytest.mark.parametrize("size", [1, 1000, U32_MAX])
@pytest.mark.parametrize("kind", ["S", "x", "F", "A"])
def test_a_field_that_is_longer_than_its_table(
    house: House, ch: Channel, kind: str, size: int
) -> None:
    value = struct.pack(">I", size)
    ch.peer.send_raw(wire.queue_declare(1, "q", {"k": (kind, value)}))
    closed_with(house, ch, 502)


@pytest.mark.parametrize("size", [1, 1000, U32_MAX])
def test_a_table_that_is_longer_than_its_frame(house: House, ch: Channel, size: int) -> None:
    head = struct.pack(">H", 0) + wire.short_string("q") + b"\0"
    ch.peer.send_raw(wire.method(1, 50, 10, head + struct.pack(">I", size)))
    closed_with(house, ch, 502)


def test_a_table_of_very_many_fields(house: House, ch: Channel) -> None:
    """As many as a frame holds: they are kept, and no more than they are."""
    fields = {f"{number:04x}": ("t", b"\1") for number in range(16_000)}
    ch.peer.send_raw(wire.queue_declare(1, "q", fields))
    assert ch.expect(Queue.DeclareOk).queue == "q"
    others_are_served(house)


# Names.


@pytest.mark.parametrize("length", [200, 255])
def test_a_short_string_that_is_longer_than_its_frame(
    house: House, ch: Channel, length: int
) -> None:
    head = struct.pack(">H", 0) + bytes([length]) + b"q"
    ch.peer.send_raw(wire.method(1, 50, 10, head))
    closed_with(house, ch, 502)


@pytest.mark.parametrize("name", [b"\0" * 255, "\u00e9".encode() * 127, b"\x7f" * 255])
def test_the_longest_and_oddest_names(house: House, ch: Channel, name: bytes) -> None:
    """They are names like others, and outlive a restart."""
    ch.peer.send_raw(wire.method(1, 50, 10, declare(name)))
    ch.expect(Queue.DeclareOk)
    house.restart(clean=False)
    assert len(house.vhost().queues) == 1
    others_are_served(house)


@pytest.mark.parametrize("name", [b"\xff" * 255, b"\xc3" * 100, b"\xed\xa0\x80"])
def test_names_that_are_no_text(house: House, ch: Channel, name: bytes) -> None:
    ch.peer.send_raw(wire.method(1, 50, 10, declare(name)))
    closed_with(house, ch, 502)


def declare(name: bytes) -> bytes:
    """The arguments of queue.declare, of a durable queue."""
    head = struct.pack(">H", 0) + bytes([len(name)]) + name
    return head + b"\2" + wire.long_string(b"")


@pytest.mark.parametrize("response", [b"\0" * 4000, b"\0" + b"u" * 3000 + b"\0p", b"\xff" * 4000])
def test_long_credentials(house: House, response: bytes) -> None:
    peer = Peer(house.transport())
    peer.send_raw(PROTOCOL_HEADER)
    peer.expect(Connection.Start)
    arguments = wire.long_string(b"") + wire.short_string("PLAIN") + wire.long_string(response)
    peer.send_raw(wire.method(0, 10, 11, arguments + wire.short_string("en_US")))
    house.advance(3.1)
    peer.expect_dropped()
    others_are_served(house)


# Channels.


@pytest.mark.parametrize("number", [2, 2048, 65_535])
def test_channels_that_are_not_open(house: House, ch: Channel, number: int) -> None:
    ch.peer.send(number, Queue.Declare(queue="q"))
    closed_with(house, ch, 504)


def test_more_channels_than_were_agreed(house: House) -> None:
    peer = house.connect()
    for number in range(1, 2048):
        peer.send(number, commands.Channel.Open())
    assert len(house.core_client(peer).channels) == 2047
    peer.send(65_535, commands.Channel.Open())
    for number in range(1, 2048):
        peer.expect(commands.Channel.OpenOk, number)
    assert peer.expect(Connection.Close).reply_code == 530
    others_are_served(house)


def test_contents_that_are_never_finished(house: House) -> None:
    """One on each channel: each is kept, and all go with their connection."""
    peer = house.connect()
    for number in range(1, 101):
        peer.channel(number).open()
        peer.send_raw(
            wire.publish(number, "", "q") + wire.header(number, 10) + wire.body(number, b"12345")
        )
    client = house.core_client(peer)
    peer.drop()
    assert client.channels == {}
    others_are_served(house)


def test_a_prefetch_and_tags_as_large_as_they_get(house: House, ch: Channel) -> None:
    ch.declare_queue("q")
    ch.qos(65_535)
    ch.consume("q", tag="t" * 255)
    ch.send(Basic.Ack((1 << 63) - 1))
    ch.expect_channel_close(406)
    others_are_served(house)
