"""The start of a connection, with RabbitMQ's answers and texts."""

from __future__ import annotations

import re

import pytest
from pamqp.common import FieldTable

from amqbroker.errors import COMMAND_INVALID, NOT_ALLOWED, ConnectionException
from amqbroker.wire import methods
from amqbroker.wire.handshake import (
    ACCEPTED,
    CAPABILITIES,
    MORE,
    PROTOCOL_HEADER,
    REFUSED,
    Handshake,
    Introduction,
    Offer,
    check_header,
    login_refused,
    server_properties,
)


def make(channel_max: int = 2047, frame_max: int = 131072, heartbeat_s: int = 60) -> Handshake:
    properties = server_properties("RabbitMQ", "3.13.7", "a cluster", {})
    return Handshake(Offer(properties, ["PLAIN", "AMQPLAIN"], channel_max, frame_max, heartbeat_s))


def tuning(channel_max: int = 2047, frame_max: int = 131072) -> Handshake:
    """A handshake that waits for tune-ok."""
    handshake = make(channel_max, frame_max)
    handshake.receive_header(PROTOCOL_HEADER)
    handshake.start_ok_received(methods.ConnectionStartOk())
    handshake.authenticated()
    return handshake


def introduction(properties: FieldTable) -> Introduction:
    return Introduction(methods.ConnectionStartOk(client_properties=properties))


def test_the_whole_way() -> None:
    handshake = make()
    assert handshake.state_name() == "pre_init"
    assert handshake.receive_header(PROTOCOL_HEADER).verdict == ACCEPTED
    assert handshake.state_name() == "starting"
    start = handshake.start()
    assert (start.version_major, start.version_minor) == (0, 9)
    assert (start.mechanisms, start.locales) == ("PLAIN AMQPLAIN", "en_US")
    login = handshake.start_ok_received(
        methods.ConnectionStartOk(mechanism="AMQPLAIN", response="abc")
    )
    assert (login.mechanism, login.response) == ("AMQPLAIN", b"abc")
    tune = handshake.authenticated()
    assert (tune.channel_max, tune.frame_max, tune.heartbeat) == (2047, 131072, 60)
    limits = handshake.tune_ok_received(methods.ConnectionTuneOk(100, 8192, 600))
    assert (limits.channel_max, limits.frame_max, limits.heartbeat_s) == (100, 8192, 600)
    assert handshake.open_received(methods.ConnectionOpen(virtual_host="a" * 200)) == "a" * 200
    assert handshake.state_name() == "running"
    with pytest.raises(ConnectionException, match="unexpected method"):
        handshake.open_received(methods.ConnectionOpen())


def test_the_header_in_single_octets_and_with_more_behind() -> None:
    handshake = make()
    for octet in PROTOCOL_HEADER[:-1]:
        assert handshake.receive_header(bytes([octet])).verdict == MORE
    verdict = handshake.receive_header(PROTOCOL_HEADER[-1:] + b"more")
    assert (verdict.verdict, verdict.rest) == (ACCEPTED, b"more")


def test_0_9_is_accepted_as_0_9_1() -> None:
    assert check_header(b"AMQP\x01\x01\x00\x09").verdict == ACCEPTED


@pytest.mark.parametrize(
    ("octets", "diagnosis"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc", "TLS client hello"),
        (b"GET / HTTP/1.1\r\n", "HTTP request"),
        (b"OPTIONS * HTTP/1.1\r\n", "HTTP request"),
        (b"PRI * HTTP/2.0\r\n", "HTTP request"),
        (b"PROXY TCP4 1.2.3.4", "PROXY protocol"),
        (b"\r\n\r\n\x00\r\nQUIT\n", "PROXY protocol"),
        (b"AMQP\x00\x01\x00\x00", r"AMQP 1\.0 client \(AMQP 0 1 0 0\)"),
        (b"AMQP\x03\x01\x00\x00", r"AMQP 1\.0 client \(AMQP 3 1 0 0\)"),
        (b"AMQP\x01\x01\x08\x00", r"unsupported protocol version \(AMQP 1 1 8 0\)"),
        (b"AMQP\x00\x00\x09\x02", r"unsupported protocol version \(AMQP 0 0 9 2\)"),
        (b"MQTT\x00\x04\x02\x00", r"not AMQP, it began with b'MQTT"),
    ],
)
def test_anything_else_is_answered_with_our_header(octets: bytes, diagnosis: str) -> None:
    handshake = make()
    verdict = handshake.receive_header(octets)
    assert (verdict.verdict, verdict.answer) == (REFUSED, b"AMQP\x00\x00\x09\x01")
    assert re.search(diagnosis, verdict.diagnosis)


def test_server_properties_are_rabbitmqs_in_order() -> None:
    properties = server_properties("RabbitMQ", "3.13.7", "a cluster", {})
    assert list(properties) == [
        "capabilities",
        "cluster_name",
        "copyright",
        "information",
        "platform",
        "product",
        "version",
    ]
    assert properties["capabilities"] == dict.fromkeys(CAPABILITIES, True)
    assert len(CAPABILITIES) == 9


def test_configured_server_properties_override_and_stay_sorted() -> None:
    properties = server_properties("p", "1.0", "c", {"product": "mine", "aaa": "b"})
    assert properties["product"] == "mine"
    assert list(properties) == sorted(properties)
    assert properties["aaa"] == "b"


def test_a_response_that_is_not_text_comes_as_it_was() -> None:
    start_ok = methods.ConnectionStartOk(response="\x00u\x00\udcff\u00e9")
    read = methods.decode_method(methods.encode_method(0, start_ok)[7:-1])
    assert isinstance(read, methods.ConnectionStartOk)
    assert Introduction(read).response == b"\x00u\x00\xff\xc3\xa9"


def test_a_client_introduces_itself() -> None:
    found = introduction(
        {
            "capabilities": {
                "consumer_cancel_notify": True,
                "connection.blocked": True,
                "authentication_failure_close": True,
            },
            "connection_name": "c1",
            "product": "pika",
            "version": "1.3",
            "platform": "Python 3",
        }
    )
    assert (found.connection_name, found.product) == ("c1", "pika")
    assert (found.version, found.platform) == ("1.3", "Python 3")
    assert found.consumer_cancel_notify
    assert found.connection_blocked
    assert found.authentication_failure_close


@pytest.mark.parametrize(
    "properties",
    [
        {},
        {"capabilities": None, "connection_name": 5},
        {"capabilities": {"consumer_cancel_notify": 1, "connection.blocked": "true"}},
    ],
)
def test_a_client_that_says_nothing_of_use(properties: FieldTable) -> None:
    found = introduction(properties)
    assert found.connection_name == ""
    assert not found.consumer_cancel_notify
    assert not found.connection_blocked
    assert not found.authentication_failure_close


def test_an_unknown_mechanism_is_503() -> None:
    handshake = make()
    handshake.receive_header(PROTOCOL_HEADER)
    with pytest.raises(ConnectionException, match="unknown authentication mechanism 'X'") as caught:
        handshake.start_ok_received(methods.ConnectionStartOk(mechanism="X"))
    assert caught.value.code == COMMAND_INVALID
    assert (caught.value.class_id, caught.value.method_id) == (10, 11)


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
        (2047, 0, "negotiated frame_max = 0 is higher than the maximum allowed value (131072)"),
        (2047, 4095, "negotiated frame_max = 4095 is lower than the minimum allowed value (4096)"),
        (
            2047,
            131073,
            "negotiated frame_max = 131073 is higher than the maximum allowed value (131072)",
        ),
    ],
)
def test_limits_over_the_offer_are_530(channel_max: int, frame_max: int, text: str) -> None:
    with pytest.raises(ConnectionException) as caught:
        tuning().tune_ok_received(methods.ConnectionTuneOk(channel_max, frame_max, 0))
    assert caught.value.code == NOT_ALLOWED
    assert caught.value.reply_text == f"NOT_ALLOWED - {text}"
    assert (caught.value.class_id, caught.value.method_id) == (10, 30)


@pytest.mark.parametrize(("channel_max", "frame_max"), [(0, 0), (65535, 4096), (1, 2**32 - 1)])
def test_an_offer_without_limits_takes_everything(channel_max: int, frame_max: int) -> None:
    frame = methods.ConnectionTuneOk(channel_max, frame_max, 65535)
    limits = tuning(channel_max=0, frame_max=0).tune_ok_received(frame)
    assert (limits.channel_max, limits.frame_max) == (channel_max, frame_max)
    assert limits.heartbeat_s == 65535


def test_a_method_out_of_order_is_504_and_names_the_state() -> None:
    handshake = make()
    handshake.receive_header(PROTOCOL_HEADER)
    with pytest.raises(ConnectionException) as caught:
        handshake.tune_ok_received(methods.ConnectionTuneOk())
    expected = "CHANNEL_ERROR - unexpected method in connection state starting"
    assert caught.value.reply_text == expected
    assert (caught.value.class_id, caught.value.method_id) == (10, 31)
    handshake.start_ok_received(methods.ConnectionStartOk())
    with pytest.raises(ConnectionException, match="state securing"):
        handshake.start_ok_received(methods.ConnectionStartOk())
    handshake.authenticated()
    with pytest.raises(ConnectionException, match="state tuning"):
        handshake.open_received(methods.ConnectionOpen())
    with pytest.raises(ConnectionException, match="state tuning"):
        handshake.tune_ok_received(methods.ChannelOpen())
    handshake.tune_ok_received(methods.ConnectionTuneOk(1, 4096, 0))
    with pytest.raises(ConnectionException, match="state opening"):
        handshake.tune_ok_received(methods.ConnectionTuneOk(1, 4096, 0))


def test_the_text_of_a_refused_login_is_rabbitmqs() -> None:
    assert login_refused("PLAIN").reply_text == (
        "ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN. "
        "For details see the broker logfile."
    )
