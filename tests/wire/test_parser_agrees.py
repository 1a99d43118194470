"""The parser and pamqp read the same commands from any valid stream, cut anywhere."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pamqp import body, commands, frame, header, heartbeat
from pamqp.base import Frame

from amqbroker.message import Message
from amqbroker.wire.commands import Ack, Method
from amqbroker.wire.parser import Parser
from tests.wire.strategies import chunked, conversations, values_of

pytestmark = pytest.mark.filterwarnings("ignore:This command is deprecated")


def short_string(text: str) -> bytes:
    octets = text.encode()
    return bytes([len(octets)]) + octets


def as_pamqp_reads(stream: bytes) -> list[tuple[object, ...]]:
    """The commands in a stream, content assembled for each channel."""
    found: list[tuple[object, ...]] = []
    publishes: dict[int, commands.Basic.Publish] = {}
    headers: dict[int, tuple[bytes, header.ContentHeader]] = {}
    bodies: dict[int, bytes] = {}
    while stream:
        consumed, channel, read = frame.unmarshal(stream)
        payload = stream[7 : consumed - 1]
        stream = stream[consumed:]
        if isinstance(read, heartbeat.Heartbeat):
            continue
        if isinstance(read, commands.Basic.Publish):
            publishes[channel] = read
            bodies[channel] = b""
            continue
        if isinstance(read, commands.Basic.Ack):
            found.append(("ack", channel, read.delivery_tag, read.multiple))
            continue
        if isinstance(read, header.ContentHeader):
            headers[channel] = (payload, read)
        elif isinstance(read, body.ContentBody):
            bodies[channel] += read.value or b""
        else:
            assert isinstance(read, Frame)
            found.append(("method", channel, read.name, values_of(read)))
            continue
        raw, content = headers[channel]
        if len(bodies[channel]) == content.body_size:
            publish = publishes[channel]
            address = short_string(publish.exchange) + short_string(publish.routing_key)
            bits = int(publish.mandatory) | int(publish.immediate) << 1
            persistent = content.properties.delivery_mode == 2
            found.append(("publish", channel, address, bits, raw, bodies[channel], persistent))
    return found


def as_the_parser_reads(chunks: list[bytes]) -> list[tuple[object, ...]]:
    parser = Parser(131072, 1 << 20)
    found: list[tuple[object, ...]] = []
    for chunk in chunks:
        for command in parser.receive(chunk):
            if isinstance(command, Ack):
                found.append(("ack", command.channel, command.delivery_tag, command.multiple))
            elif isinstance(command, Message):
                found.append(
                    (
                        "publish",
                        command.channel,
                        command.address,
                        command.bits,
                        command.header,
                        command.body,
                        command.persistent,
                    )
                )
            else:
                assert isinstance(command, Method)
                read = command.frame
                found.append(("method", command.channel, read.name, values_of(read)))
    assert parser.error is None
    return found


@given(st.data())
def test_any_conversation_in_any_chunks(data: st.DataObject) -> None:
    stream = data.draw(conversations())
    chunks = data.draw(chunked(stream))
    assert as_the_parser_reads(chunks) == as_pamqp_reads(stream)
