"""Frames, contents and field tables (facts 54 to 66)."""

from __future__ import annotations

import datetime
import decimal
import struct

import pytest
from pamqp.commands import Basic, Connection, Queue

from . import wire
from .conftest import Bench
from .marks import differs_on_reference, fact
from .peer import Channel


@fact(54)
def test_fact_054_frames_may_come_in_any_pieces(bench: Bench) -> None:
    ch = bench.channel()
    queue = bench.name()
    ch.declare_queue(queue)
    data = (
        wire.publish(ch.number, "", queue)
        + wire.header(ch.number, 5)
        + wire.body(ch.number, b"he")
        + wire.frame(wire.HEARTBEAT, 0, b"")
        + wire.body(ch.number, b"llo")
    )
    for byte in data:
        ch.peer.send_raw(bytes([byte]))
    ch.wait_ready(queue, 1)
    assert ch.must_get(queue).body == b"hello"


@fact(55)
def test_fact_055_frames_of_the_largest_size(bench: Bench) -> None:
    ch = bench.connect(frame_max=8192).open_channel()
    queue = bench.name()
    ch.declare_queue(queue)
    data = bytes(8184 * 2 + 1)
    ch.publish(data, key=queue, frame_size=8184)
    ch.wait_ready(queue, 1)
    message = ch.must_get(queue)
    assert message.body == data
    assert (message.body_frames, ch.peer.largest_payload) == (3, 8184)


@fact(55)
def test_fact_055_eight_octets_of_leniency(bench: Bench) -> None:
    ch = bench.connect(frame_max=8192).open_channel()
    queue = bench.name()
    ch.declare_queue(queue)
    ch.publish(bytes(8192), key=queue, frame_size=8192)
    ch.wait_ready(queue, 1)


@fact(55)
def test_fact_055_larger_frames_end_the_connection(bench: Bench) -> None:
    ch = bench.connect(frame_max=8192).open_channel()
    ch.peer.send_raw(wire.publish(ch.number, "", "q") + wire.header(ch.number, 8193))
    ch.peer.send_raw(wire.body(ch.number, bytes(8193)))
    close = ch.peer.expect(Connection.Close)
    assert close.reply_code == 501
    assert close.reply_text.startswith("FRAME_ERROR - type 3, ")
    assert "frame_too_large" in close.reply_text


@fact(56)
def test_fact_056_wrong_end_octet(bench: Bench) -> None:
    ch = bench.channel()
    ch.peer.send_raw(wire.frame(wire.METHOD, ch.number, b"\0\x14\0\x14\x01", b"\xcf"))
    close = ch.peer.expect(Connection.Close)
    assert close.reply_code == 501
    assert close.reply_text.startswith("FRAME_ERROR - type 1, ")
    assert "invalid_frame_end_marker" in close.reply_text


@fact(56)
@pytest.mark.parametrize("kind", [0, 4, 7, 200])
def test_fact_056_unknown_frame_type(bench: Bench, kind: int) -> None:
    ch = bench.channel()
    ch.peer.send_raw(wire.frame(kind, ch.number, b"payload"))
    close = ch.peer.expect(Connection.Close)
    assert close.reply_code == 501
    assert close.reply_text.startswith(f"FRAME_ERROR - type {kind}, ")
    assert "unknown_frame" in close.reply_text


NOT_A_METHOD = "UNEXPECTED_FRAME - expected method frame, got non method frame instead"


@fact(57)
def test_fact_057_header_where_a_method_is_due(ch: Channel) -> None:
    ch.peer.send_raw(wire.header(ch.number, 5))
    ch.peer.expect_connection_close(505, NOT_A_METHOD)


@fact(57)
def test_fact_057_body_where_a_method_is_due(ch: Channel) -> None:
    ch.peer.send_raw(wire.body(ch.number, b"m"))
    ch.peer.expect_connection_close(505, NOT_A_METHOD)


@fact(57, 60)
def test_fact_057_body_after_an_empty_content(bench: Bench) -> None:
    ch = bench.channel()
    ch.peer.send_raw(wire.publish(ch.number, "amq.direct", "k") + wire.header(ch.number, 0))
    ch.peer.send_raw(wire.body(ch.number, b"m"))
    ch.peer.expect_connection_close(505, NOT_A_METHOD)


@fact(58)
def test_fact_058_method_where_a_header_is_due(ch: Channel) -> None:
    ch.peer.send_raw(wire.publish(ch.number, "amq.direct", "k"))
    ch.send(Basic.Qos(prefetch_count=1))
    ch.peer.expect_connection_close(
        505,
        "UNEXPECTED_FRAME - expected content header for class 60, "
        "got non content header frame instead",
        method=Basic.Publish,
    )


@fact(58)
def test_fact_058_header_of_another_class(ch: Channel) -> None:
    ch.peer.send_raw(
        wire.publish(ch.number, "amq.direct", "k") + wire.header(ch.number, 1, class_id=50)
    )
    ch.peer.expect_connection_close(
        505,
        "UNEXPECTED_FRAME - expected content header for class 60, got one for class 50 instead",
        method=Basic.Publish,
    )


@fact(58)
def test_fact_058_method_where_a_body_is_due(ch: Channel) -> None:
    ch.peer.send_raw(wire.publish(ch.number, "amq.direct", "k") + wire.header(ch.number, 9))
    ch.send(Basic.Qos(prefetch_count=1))
    ch.peer.expect_connection_close(
        505,
        "UNEXPECTED_FRAME - expected content body, got non content body frame instead",
        method=Basic.Publish,
    )


@fact(59)
@differs_on_reference("3.10 waits for more without an answer")
def test_fact_059_body_larger_than_announced(ch: Channel) -> None:
    ch.peer.send_raw(wire.publish(ch.number, "amq.direct", "k") + wire.header(ch.number, 3))
    ch.peer.send_raw(wire.body(ch.number, b"abcd"))
    close = ch.peer.expect_connection_close(501)
    assert close.reply_text.startswith(
        "FRAME_ERROR - content body frame exceeds remaining content size"
    ), close.reply_text


@fact(59)
@differs_on_reference("the limit came after 3.10")
def test_fact_059_body_over_the_hard_limit(ch: Channel) -> None:
    size = 536870913
    ch.peer.send_raw(wire.publish(ch.number, "amq.direct", "k") + wire.header(ch.number, size))
    close = ch.peer.expect_connection_close(501)
    assert close.reply_text.startswith(
        f"FRAME_ERROR - content body size {size} exceeds maximum allowed size 536870912"
    ), close.reply_text


@fact(61)
def test_fact_061_contents_of_two_channels_may_interleave(bench: Bench) -> None:
    peer = bench.connect()
    a, b = peer.open_channel(), peer.open_channel()
    one, two = bench.name(), bench.name()
    a.declare_queue(one)
    b.declare_queue(two)
    for part in (
        wire.publish(a.number, "", one),
        wire.publish(b.number, "", two),
        wire.header(b.number, 4),
        wire.header(a.number, 4),
        wire.body(a.number, b"aa"),
        wire.body(b.number, b"bb"),
        wire.body(b.number, b"BB"),
        wire.body(a.number, b"AA"),
    ):
        peer.send_raw(part)
    a.wait_ready(one, 1)
    b.wait_ready(two, 1)
    assert a.must_get(one).body == b"aaAA"
    assert b.must_get(two).body == b"bbBB"


@fact(62)
def test_fact_062_content_on_channel_zero(bench: Bench) -> None:
    peer = bench.connect()
    peer.send_raw(wire.header(0, 1))
    peer.expect_connection_close(505)
    peer = bench.connect()
    peer.send_raw(wire.publish(0, "", "q"))
    peer.expect_connection_close(
        504, "CHANNEL_ERROR - unexpected method in connection state running", method=Basic.Publish
    )


@fact(62)
def test_fact_062_other_methods_on_channel_zero(bench: Bench) -> None:
    peer = bench.connect()
    peer.send(0, Basic.Qos(prefetch_count=1))
    peer.expect_connection_close(504, method=Basic.Qos)


@fact(63)
@differs_on_reference("there the connection is dropped without a word")
@pytest.mark.parametrize(("class_id", "method_id"), [(60, 222), (77, 10), (10, 99)])
def test_fact_063_unknown_methods(bench: Bench, class_id: int, method_id: int) -> None:
    ch = bench.channel()
    number = 0 if class_id == 10 else ch.number
    ch.peer.send_raw(wire.method(number, class_id, method_id))
    ch.peer.expect_connection_close(503)


@fact(63)
def test_fact_063_methods_only_a_server_sends(bench: Bench) -> None:
    ch = bench.channel()
    ch.send(Queue.DeclareOk(queue="q", message_count=0, consumer_count=0))
    ch.peer.expect_connection_close(
        503, "COMMAND_INVALID - unimplemented method", method=Queue.DeclareOk
    )


FIELDS: dict[str, wire.Typed] = {
    "longstr": wire.text("text"),
    "int32": wire.int32(-70000),
    "decimal": ("D", struct.pack(">BI", 2, 314)),
    "timestamp": ("T", struct.pack(">Q", 1_700_000_000)),
    "table": ("F", wire.table({"inner": wire.int8(-1)})),
    "array": ("A", wire.long_string(b"b\x01b\x02")),
    "int8": wire.int8(-8),
    "uint8": ("B", b"\xff"),
    "int16": ("s", struct.pack(">h", -300)),
    "uint16": ("u", struct.pack(">H", 65535)),
    "uint32": ("i", struct.pack(">I", 4_000_000_000)),
    "int64": wire.int64(-(2**62)),
    "double": ("d", struct.pack(">d", 1.5)),
    "float": ("f", struct.pack(">f", 0.25)),
    "bool": ("t", b"\x01"),
    "bytes": ("x", wire.long_string(b"\x00\xff")),
    "void": ("V", b""),
}
VALUES = {
    "longstr": "text",
    "int32": -70000,
    "decimal": decimal.Decimal("3.14"),
    "timestamp": datetime.datetime.fromtimestamp(1_700_000_000, tz=datetime.UTC),
    "table": {"inner": -1},
    "array": [1, 2],
    "int8": -8,
    "uint8": 255,
    "int16": -300,
    "uint16": 65535,
    "uint32": 4_000_000_000,
    "int64": -(2**62),
    "double": 1.5,
    "float": 0.25,
    "bool": True,
    "bytes": bytearray(b"\x00\xff"),
    "void": None,
}


@fact(64)
@pytest.mark.parametrize("name", list(FIELDS))
def test_fact_064_field_types_pass_unchanged(bench: Bench, name: str) -> None:
    ch = bench.channel()
    queue = bench.name()
    ch.declare_queue(queue)
    ch.peer.send_raw(
        wire.publish(ch.number, "", queue)
        + wire.content(ch.number, wire.headers_only({name: FIELDS[name]}), b"m")
    )
    ch.wait_ready(queue, 1)
    assert ch.must_get(queue).headers == {name: VALUES[name]}


@fact(64)
def test_fact_064_a_big_l_is_a_signed_integer(bench: Bench) -> None:
    ch = bench.channel()
    queue = bench.name()
    ch.peer.send_raw(
        wire.queue_declare(ch.number, queue, {"x-max-length": ("L", struct.pack(">q", -7))})
    )
    ch.expect_channel_close(
        406,
        f"PRECONDITION_FAILED - invalid arg 'x-max-length' for queue '{queue}' in vhost '/': "
        "{value_negative,-7}",
    )


@fact(64)
def test_fact_064_small_s_is_an_integer_not_a_string(bench: Bench) -> None:
    ch = bench.channel()
    queue = bench.name()
    ch.peer.send_raw(
        wire.queue_declare(ch.number, queue, {"x-max-length": ("s", struct.pack(">h", -5))})
    )
    close = ch.expect_channel_close(406)
    assert close.reply_text.endswith("{value_negative,-5}")


@fact(65)
def test_fact_065_longest_names(bench: Bench) -> None:
    ch = bench.channel()
    queue = bench.name() + "-"
    queue += "q" * (255 - len(queue))
    bench.names.append(queue)
    assert ch.declare_queue(queue).queue == queue
    ch.publish(b"m", key=queue)
    ch.wait_ready(queue, 1)
    assert ch.must_get(queue).method["routing_key"] == queue


@fact(65)
def test_fact_065_names_are_utf8(bench: Bench) -> None:
    ch = bench.channel()
    queue = bench.name("очередь-キュー")
    ch.peer.send_raw(wire.queue_declare(ch.number, queue, {}))
    assert ch.expect(Queue.DeclareOk).queue == queue
    ch.peer.send_raw(
        wire.publish(ch.number, "", queue) + wire.header(ch.number, 1) + wire.body(ch.number, b"m")
    )
    ch.sync()
    ch.peer.send_raw(wire.queue_declare(ch.number, queue, {}))
    assert ch.expect(Queue.DeclareOk).queue == queue


@fact(65)
def test_fact_065_line_ends_are_stripped_from_names(bench: Bench) -> None:
    ch = bench.channel()
    queue = bench.name()
    ch.peer.send_raw(wire.queue_declare(ch.number, queue + "\r\n", {}))
    assert ch.expect(Queue.DeclareOk).queue == queue
    ch.peer.send_raw(wire.queue_declare(ch.number, "\n" + queue, {}))
    assert ch.expect(Queue.DeclareOk).queue == queue


@fact(66)
def test_fact_066_every_header_arrives(bench: Bench) -> None:
    ch = bench.channel()
    queue = bench.name()
    ch.declare_queue(queue)
    names = ["z", "a", "m", "x-y"]
    ch.peer.send_raw(
        wire.publish(ch.number, "", queue)
        + wire.content(
            ch.number, wire.headers_only({name: wire.text(name) for name in names}), b"m"
        )
    )
    ch.wait_ready(queue, 1)
    assert ch.must_get(queue).headers == {name: name for name in names}
