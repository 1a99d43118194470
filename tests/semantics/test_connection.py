"""From the protocol header to an open connection (facts 1, 9, 11 to 36)."""

from __future__ import annotations

import pytest
from pamqp.commands import Basic, Connection, Queue

from . import wire
from .conftest import Bench
from .marks import differs_on_reference, fact
from .peer import CAPABILITIES, Peer

REFUSED = (
    "ACCESS_REFUSED - Login was refused using authentication mechanism {}. "
    "For details see the broker logfile."
)


def _greeted(bench: Bench) -> Peer:
    peer = bench.raw()
    peer.greet()
    return peer


@fact(11)
@pytest.mark.parametrize("header", [b"AMQP\x00\x00\x09\x01", b"AMQP\x01\x01\x00\x09"])
def test_fact_011_protocol_headers_of_0_9(bench: Bench, header: bytes) -> None:
    peer = bench.raw()
    start = peer.greet(header)
    assert (start.version_major, start.version_minor) == (0, 9)
    peer.log_in()
    peer.tune_ok()
    peer.open()
    assert peer.is_alive()


@fact(11)
def test_fact_011_header_may_come_byte_by_byte(bench: Bench) -> None:
    peer = bench.raw()
    for byte in b"AMQP\x00\x00\x09":
        peer.send_raw(bytes([byte]))
    peer.greet(b"\x01")


@fact(12)
@differs_on_reference("3.10 still speaks 0-8")
@pytest.mark.parametrize("header", [b"AMQP\x01\x01\x08\x00", b"AMQP\x01\x01\x09\x01"])
def test_fact_012_headers_of_0_8_are_unknown(bench: Bench, header: bytes) -> None:
    peer = bench.raw()
    peer.send_raw(header)
    peer.expect_dropped()
    assert peer.protocol_header == b"AMQP\x00\x00\x09\x01"


@fact(13, 14)
@pytest.mark.parametrize(
    "header",
    [
        b"AMQP\x00\x01\x00\x00",
        b"AMQP\x00\x00\x08\x00",
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01",
        b"nonsense",
    ],
)
def test_fact_013_other_headers_are_answered_with_ours(bench: Bench, header: bytes) -> None:
    peer = bench.raw()
    peer.send_raw(header)
    peer.expect_dropped()
    assert peer.protocol_header == b"AMQP\x00\x00\x09\x01"


@fact(15)
def test_fact_015_connecting_and_leaving_without_a_byte(bench: Bench) -> None:
    bench.raw().drop()
    assert bench.connect().is_alive()


@fact(16)
def test_fact_016_connection_start(bench: Bench) -> None:
    peer = _greeted(bench)
    assert peer.start is not None
    assert peer.start.locales == "en_US"
    assert set(peer.start.mechanisms.split(" ")) == {"PLAIN", "AMQPLAIN"}


@fact(17, 1)
def test_fact_017_server_properties(bench: Bench) -> None:
    properties = _greeted(bench).server_properties
    for key in ("cluster_name", "copyright", "information", "platform", "product", "version"):
        assert isinstance(properties[key], str), key
    assert isinstance(properties["capabilities"], dict)
    assert list(properties) == sorted(properties)


@fact(1)
def test_fact_001_product_and_version_steer_clients(bench: Bench) -> None:
    properties = _greeted(bench).server_properties
    assert properties["product"] == "RabbitMQ"
    version = str(properties["version"])
    assert [int(part) for part in version.split(".")] >= [3, 3]


@fact(18, 19)
def test_fact_018_capabilities(bench: Bench) -> None:
    assert _greeted(bench).server_properties["capabilities"] == {
        "publisher_confirms": True,
        "exchange_exchange_bindings": True,
        "basic.nack": True,
        "consumer_cancel_notify": True,
        "connection.blocked": True,
        "consumer_priorities": True,
        "authentication_failure_close": True,
        "per_consumer_qos": True,
        "direct_reply_to": True,
    }


@fact(21)
def test_fact_021_connection_name_is_accepted(bench: Bench) -> None:
    peer = _greeted(bench)
    peer.log_in(properties={"connection_name": "a name of my own"})
    peer.tune_ok()
    peer.open()
    assert peer.is_alive()


@fact(22)
@pytest.mark.parametrize("response", ["guest\0guest", "other\0guest\0guest", "", "\0guest"])
def test_fact_022_malformed_plain_response_ends_the_connection(bench: Bench, response: str) -> None:
    peer = _greeted(bench)
    peer.start_ok("PLAIN", response, capabilities={})
    bench.let_handshake_fail()
    peer.expect_dropped(10.0)


@fact(23)
def test_fact_023_amqplain(bench: Bench) -> None:
    peer = _greeted(bench)
    response = wire.pairs({"LOGIN": wire.text("guest"), "PASSWORD": wire.text("guest")})
    peer.start_ok("AMQPLAIN", response.decode())
    peer.tune_ok()
    peer.open()
    assert peer.is_alive()


@fact(23, 26)
def test_fact_023_amqplain_with_a_wrong_password(bench: Bench) -> None:
    peer = _greeted(bench)
    response = wire.pairs({"LOGIN": wire.text("guest"), "PASSWORD": wire.text("wrong")})
    peer.start_ok("AMQPLAIN", response.decode())
    peer.expect_connection_close(403, REFUSED.format("AMQPLAIN"))


@fact(24)
def test_fact_024_login_goes_straight_to_tune(bench: Bench) -> None:
    peer = _greeted(bench)
    peer.log_in()
    peer.expect(Connection.Tune)


@fact(25)
def test_fact_025_unknown_mechanism_is_dropped_silently(bench: Bench) -> None:
    peer = _greeted(bench)
    peer.start_ok("CARRIER-PIGEON", "coo")
    bench.let_handshake_fail()
    peer.expect_dropped(10.0)


@fact(26, 9, 44, 77)
@pytest.mark.parametrize(("user", "password"), [("guest", "wrong"), ("nobody", "guest")])
def test_fact_026_capable_clients_are_told_of_a_refused_login(
    bench: Bench, user: str, password: str
) -> None:
    peer = _greeted(bench)
    peer.log_in(user, password)
    close = peer.expect_connection_close(403, REFUSED.format("PLAIN"))
    assert (close.class_id, close.method_id) == (0, 0)


@fact(9)
def test_fact_009_other_clients_are_dropped_silently(bench: Bench) -> None:
    peer = _greeted(bench)
    peer.log_in("guest", "wrong", capabilities={})
    bench.let_handshake_fail()
    peer.expect_dropped(10.0)


@fact(28)
def test_fact_028_tune_defaults(bench: Bench) -> None:
    peer = bench.connect()
    assert peer.tune is not None
    assert (peer.tune.channel_max, peer.tune.frame_max, peer.tune.heartbeat) == (2047, 131072, 60)


@fact(29)
@differs_on_reference("3.10 logs this text, and drops the connection in silence")
@pytest.mark.parametrize(
    ("channel_max", "frame_max", "text"),
    [
        (
            0,
            131072,
            "negotiated channel_max = 0 (no limit) is higher than the maximum allowed value (2047)",
        ),
        (
            2048,
            131072,
            "negotiated channel_max = 2048 is higher than the maximum allowed value (2047)",
        ),
        (
            2047,
            0,
            "negotiated frame_max = 0 is higher than the maximum allowed value (131072)",
        ),
        (
            2047,
            131073,
            "negotiated frame_max = 131073 is higher than the maximum allowed value (131072)",
        ),
        (
            2047,
            4095,
            "negotiated frame_max = 4095 is lower than the minimum allowed value (4096)",
        ),
    ],
)
def test_fact_029_tune_ok_out_of_range(
    bench: Bench, channel_max: int, frame_max: int, text: str
) -> None:
    peer = _greeted(bench)
    peer.log_in()
    peer.tune_ok(channel_max=channel_max, frame_max=frame_max)
    peer.expect_connection_close(530, f"NOT_ALLOWED - {text}", method=Connection.Tune)


@fact(30)
def test_fact_030_smallest_frame_max(bench: Bench) -> None:
    ch = bench.connect(frame_max=4096).open_channel()
    queue = bench.name()
    ch.declare_queue(queue)
    ch.fill(queue)
    data = bytes(range(256)) * 40
    ch.publish(data, key=queue, frame_size=4088)
    ch.wait_ready(queue, 1)
    message = ch.must_get(queue)
    assert message.body == data
    assert message.body_frames == 3
    assert ch.peer.largest_payload == 4088


@fact(31)
def test_fact_031_frame_limit_before_tune(bench: Bench) -> None:
    peer = _greeted(bench)
    peer.log_in(properties={"padding": "x" * 5000})
    bench.let_handshake_fail()
    peer.expect_dropped(10.0)


@fact(34)
def test_fact_034_missing_vhost(bench: Bench) -> None:
    peer = _greeted(bench)
    peer.log_in()
    peer.tune_ok()
    peer.send(0, Connection.Open(virtual_host="foo"))
    peer.expect_connection_close(530, "NOT_ALLOWED - vhost foo not found", method=Connection.Open)


@fact(36)
def test_fact_036_connection_methods_in_the_wrong_state(bench: Bench) -> None:
    peer = bench.connect()
    peer.send(0, Connection.TuneOk(2047, 131072, 0))
    peer.expect_connection_close(
        504,
        "CHANNEL_ERROR - unexpected method in connection state running",
        method=Connection.TuneOk,
    )


@fact(36)
def test_fact_036_wrong_method_in_the_handshake_is_dropped_silently(bench: Bench) -> None:
    peer = _greeted(bench)
    peer.send(0, Connection.TuneOk(2047, 131072, 0))
    bench.let_handshake_fail()
    peer.expect_dropped(10.0)


@fact(33)
def test_fact_033_handshake_timeout(memory_bench: Bench) -> None:
    silent, slow, quick = memory_bench.raw(), memory_bench.raw(), memory_bench.raw()
    slow.greet()
    slow.log_in()
    quick.handshake()
    memory_bench.advance(9.5)
    slow.tune_ok()
    assert not silent.transport.closed
    memory_bench.advance(1.0)
    silent.expect_dropped()
    slow.expect_dropped()
    assert quick.is_alive()


@fact(20)
def test_fact_020_capabilities_of_the_client_are_optional(bench: Bench) -> None:
    peer = _greeted(bench)
    peer.send(0, Connection.StartOk({}, "PLAIN", "\0guest\0guest", "en_US"))
    peer.tune_ok()
    peer.open()
    assert peer.is_alive()


@fact(20)
def test_fact_020_a_capability_must_be_true(bench: Bench) -> None:
    capabilities = dict(CAPABILITIES)
    capabilities["consumer_cancel_notify"] = False
    ch = bench.connect(capabilities=capabilities).open_channel()
    queue = bench.name()
    ch.declare_queue(queue)
    ch.consume(queue, "c")
    bench.channel().delete_queue(queue)
    ch.expect_nothing()


@fact(32)
@pytest.mark.parametrize("interval", [0, 1, 600])
def test_fact_032_any_heartbeat_is_accepted(bench: Bench, interval: int) -> None:
    assert bench.connect(heartbeat=interval).is_alive()


@fact(32)
def test_fact_032_zero_disables_heartbeats(memory_bench: Bench) -> None:
    peer = memory_bench.connect(heartbeat=0)
    memory_bench.advance(3600)
    assert not peer.waiting()
    assert peer.heartbeats == []
    assert peer.is_alive()


@fact(41)
@differs_on_reference("there, the built-in user database refuses to change the secret")
def test_fact_041_update_secret(bench: Bench) -> None:
    peer = bench.connect()
    peer.send(0, Connection.UpdateSecret(new_secret="guest", reason="renewed"))
    peer.expect(Connection.UpdateSecretOk)
    assert peer.is_alive()


@fact(43)
def test_fact_043_long_texts_are_cut(bench: Bench) -> None:
    ch = bench.channel()
    name = "n" * 250
    close = ch.fails(Queue.Declare(queue=name, passive=True), 404)
    whole = f"NOT_FOUND - no queue '{name}' in vhost '/'"
    assert close.reply_text == whole[:252] + "..."


@fact(44)
def test_fact_044_close_names_the_offending_method(bench: Bench) -> None:
    ch = bench.channel()
    missing = bench.name("missing")
    for question in (
        Queue.Declare(queue=missing, passive=True),
        Queue.Purge(queue=missing),
        Basic.Get(queue=missing),
        Basic.Ack(delivery_tag=9),
    ):
        ch.fails(question, 406 if isinstance(question, Basic.Ack) else 404)
