"""Methods to bytes and back: agreement with pamqp, and strictness where pamqp has none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pamqp import frame
from pamqp.base import Frame

from amqbroker.errors import COMMAND_INVALID, SYNTAX_ERROR, ConnectionException
from amqbroker.wire import methods
from amqbroker.wire.methods import decode_method, encode_method
from tests.wire.strategies import CHANNELS, method_frames, values_of

pytestmark = pytest.mark.filterwarnings("ignore:This command is deprecated")


def payload_of(octets: bytes) -> bytes:
    """A frame without its envelope."""
    return octets[7:-1]


@given(method_frames, CHANNELS)
def test_pamqp_reads_what_is_written(made: Frame, channel: int) -> None:
    consumed, number, read = frame.unmarshal(encode_method(channel, made) + b"more")
    assert isinstance(read, Frame)
    assert consumed == len(encode_method(channel, made))
    assert (number, read.index, values_of(read)) == (channel, made.index, values_of(made))


@given(method_frames)
def test_what_pamqp_writes_is_read(made: Frame) -> None:
    read = decode_method(payload_of(frame.marshal(made, 1)))
    assert type(read) is type(made)
    assert values_of(read) == values_of(made)


@given(method_frames, st.data())
def test_cut_short_anywhere_is_502(made: Frame, data: st.DataObject) -> None:
    payload = payload_of(encode_method(1, made))
    cut = data.draw(st.integers(0, len(payload) - 1))
    with pytest.raises(ConnectionException) as caught:
        decode_method(payload[:cut])
    assert caught.value.code == SYNTAX_ERROR
    if cut >= 4:
        assert caught.value.class_id << 16 | caught.value.method_id == made.index


@given(method_frames, st.binary(min_size=1, max_size=4))
def test_octets_after_the_last_argument_are_502(made: Frame, more: bytes) -> None:
    with pytest.raises(ConnectionException, match="after the last argument"):
        decode_method(payload_of(encode_method(1, made)) + more)


@given(method_frames, st.data())
def test_a_lying_octet_is_read_or_refused_but_never_breaks(
    made: Frame, data: st.DataObject
) -> None:
    payload = bytearray(payload_of(encode_method(1, made)))
    payload[data.draw(st.integers(0, len(payload) - 1))] = data.draw(st.integers(0, 255))
    try:
        read = decode_method(bytes(payload))
    except ConnectionException:
        return
    octets = encode_method(1, read)
    assert encode_method(1, decode_method(payload_of(octets))) == octets


@pytest.mark.parametrize("index", [0x000A00FF, 0x00640001, 0xFFFFFFFF, 0])
def test_an_unknown_method_is_503_and_named(index: int) -> None:
    with pytest.raises(ConnectionException) as caught:
        decode_method(index.to_bytes(4, "big"))
    assert caught.value.code == COMMAND_INVALID
    assert caught.value.reply_text == "COMMAND_INVALID - unimplemented method"
    assert (caught.value.class_id, caught.value.method_id) == (index >> 16, index & 0xFFFF)


@pytest.mark.parametrize("payload", [b"", b"\x00", b"\x00\x0a\x00"])
def test_a_frame_without_a_method_is_502(payload: bytes) -> None:
    with pytest.raises(ConnectionException, match="has no class and method"):
        decode_method(payload)


@pytest.mark.parametrize(
    "name", ["a\nb", "\u00e9\u4e2d", "~!$%&*(){}[]|\\\"'<>?", "q" * 255, "\x00"]
)
def test_names_that_pamqp_refuses_pass_both_ways(name: str) -> None:
    made = methods.QueueDeclare(ticket=7, queue=name)
    read = decode_method(payload_of(encode_method(1, made)))
    assert isinstance(read, methods.QueueDeclare)
    assert (read.queue, read.ticket) == (name, 7)
    reply = methods.QueueDeclareOk(queue=name, message_count=1, consumer_count=2)
    assert isinstance(decode_method(payload_of(encode_method(1, reply))), methods.QueueDeclareOk)


def test_a_name_that_is_not_utf8_is_502() -> None:
    payload = payload_of(encode_method(1, methods.QueueDelete(queue="ab"))).replace(b"ab", b"\xc3(")
    with pytest.raises(ConnectionException, match="not UTF-8"):
        decode_method(payload)


def test_a_long_string_that_is_not_utf8_passes_both_ways() -> None:
    start_ok = methods.ConnectionStartOk(response="ab")
    payload = payload_of(encode_method(0, start_ok)).replace(b"ab", b"\xc3(")
    read = decode_method(payload)
    assert isinstance(read, methods.ConnectionStartOk)
    assert read.response == "\udcc3("
    assert payload_of(encode_method(0, read)) == payload


def test_a_name_over_255_bytes_is_the_brokers_mistake() -> None:
    with pytest.raises(ValueError, match="longer than 255"):
        encode_method(1, methods.QueueDelete(queue="\u00e9" * 128))


def test_bits_share_an_octet_in_order() -> None:
    octets = encode_method(1, methods.QueueDeclare(durable=True, nowait=True))
    # class, method, ticket, empty name, bits, empty table
    assert payload_of(octets) == b"\x00\x32\x00\x0a\x00\x00\x00\x12\x00\x00\x00\x00"
