"""Publishing and returned messages (facts 3 and 137 to 146)."""

from __future__ import annotations

import struct

import pytest
from pamqp.commands import Basic, Exchange

from . import wire
from .conftest import Bench
from .marks import fact
from .peer import Channel

Properties = Basic.Properties


@fact(137)
def test_fact_137_checks_wait_for_the_whole_content(bench: Bench) -> None:
    ch = bench.channel()
    missing = bench.name("missing")
    ch.peer.send_raw(wire.publish(ch.number, missing, "k") + wire.header(ch.number, 6))
    ch.peer.send_raw(wire.body(ch.number, b"abc"))
    other = ch.peer.open_channel()
    other.expect_nothing()
    assert not [item for number, item in ch.peer.waiting() if number == ch.number]
    ch.peer.send_raw(wire.body(ch.number, b"def"))
    ch.expect_channel_close(404, method=Basic.Publish)


@fact(137)
def test_fact_137_order_of_the_checks(bench: Bench) -> None:
    ch = bench.channel()
    missing, internal = bench.name("missing"), bench.name("int")
    ch.declare_exchange(internal, internal=True)
    wrong = Properties(
        expiration="soon",
        user_id="nobody",
        headers={"CC": "text"},
        reply_to="amq.rabbitmq.reply-to",
    )
    steps: list[tuple[str, Properties, int, str]] = [
        (missing, wrong, 404, "NOT_FOUND - no exchange"),
        (internal, wrong, 403, "ACCESS_REFUSED - cannot publish to internal"),
        ("amq.topic", wrong, 406, "PRECONDITION_FAILED - fast reply consumer"),
    ]
    for exchange, properties, code, start in steps:
        ch.publish(exchange=exchange, properties=properties)
        close = ch.expect_channel_close(code, method=Basic.Publish)
        assert close.reply_text.startswith(start), close.reply_text
        ch.open()


@fact(138, 137, 2)
def test_fact_138_immediate_is_not_implemented(bench: Bench) -> None:
    ch = bench.channel()
    ch.publish(exchange=bench.name("missing"), immediate=True)
    ch.peer.expect_connection_close(540, "NOT_IMPLEMENTED - immediate=true", method=Basic.Publish)


@fact(139, 7)
def test_fact_139_missing_exchange(bench: Bench) -> None:
    ch = bench.channel()
    missing = bench.name("missing")
    ch.publish(exchange=missing)
    ch.expect_channel_close(
        404, f"NOT_FOUND - no exchange '{missing}' in vhost '/'", method=Basic.Publish
    )


@fact(142)
@pytest.mark.parametrize(
    ("expiration", "reason"),
    [
        ("10s", '{leftover_string,"s"}'),
        ("soon", "no_integer"),
        ("-1", "{value_negative,-1}"),
        ("315360000001", "{value_too_large,315360000001}"),
    ],
)
def test_fact_142_bad_expiration(bench: Bench, expiration: str, reason: str) -> None:
    ch = bench.channel()
    ch.publish(exchange="amq.direct", properties=Properties(expiration=expiration))
    ch.expect_channel_close(
        406,
        f"PRECONDITION_FAILED - invalid expiration '{expiration}': {reason}",
        method=Basic.Publish,
    )


@fact(142)
@pytest.mark.parametrize("expiration", ["0", "60000", "315360000000"])
def test_fact_142_good_expiration(bench: Bench, expiration: str) -> None:
    ch = bench.channel()
    ch.publish(exchange="amq.direct", properties=Properties(expiration=expiration))
    ch.expect_nothing()


@fact(143)
def test_fact_143_user_id_must_be_the_login(bench: Bench) -> None:
    ch = bench.channel()
    queue = bench.name()
    ch.declare_queue(queue)
    ch.fill(queue, b"m", properties=Properties(user_id="guest"))
    assert ch.must_get(queue).properties.user_id == "guest"
    ch.publish(key=queue, properties=Properties(user_id="somebody"))
    ch.expect_channel_close(
        406,
        "PRECONDITION_FAILED - user_id property set to 'somebody' but authenticated user was "
        "'guest'",
        method=Basic.Publish,
    )


@fact(144)
@pytest.mark.parametrize("mode", [1, 2])
def test_fact_144_delivery_mode_is_carried_as_given(bench: Bench, mode: int) -> None:
    ch = bench.channel()
    queue = bench.name()
    ch.declare_queue(queue, durable=True)
    ch.peer.send_raw(
        wire.publish(ch.number, "", queue)
        + wire.content(ch.number, struct.pack(">HB", 0x1000, mode), b"m")
    )
    ch.wait_ready(queue, 1)
    assert ch.must_get(queue).properties.delivery_mode == mode


@fact(145)
def test_fact_145_unroutable_and_mandatory_is_returned(bench: Bench) -> None:
    ch = bench.channel()
    properties = Properties(
        content_type="text/plain", headers={"h": "v"}, delivery_mode=2, message_id="id"
    )
    ch.publish(b"body", exchange="amq.direct", key="nobody", mandatory=True, properties=properties)
    returned = ch.expect_return()
    method = returned.method
    assert isinstance(method, Basic.Return)
    assert (method.reply_code, method.reply_text) == (312, "NO_ROUTE")
    assert (method.exchange, method.routing_key) == ("amq.direct", "nobody")
    assert returned.body == b"body"
    assert returned.properties.content_type == "text/plain"
    assert returned.headers == {"h": "v"}
    assert (returned.properties.delivery_mode, returned.properties.message_id) == (2, "id")


@fact(145)
def test_fact_145_empty_body_and_default_exchange(bench: Bench) -> None:
    ch = bench.channel()
    missing = bench.name("missing")
    ch.publish(b"", key=missing, mandatory=True)
    returned = ch.expect_return()
    assert returned.body == b""
    assert (returned.method["exchange"], returned.method["routing_key"]) == ("", missing)


@fact(145)
def test_fact_145_not_mandatory_is_dropped_and_acked(bench: Bench) -> None:
    ch = bench.channel()
    ch.publish(exchange="amq.direct", key="nobody")
    ch.expect_nothing()
    ch.confirm()
    ch.publish(exchange="amq.direct", key="nobody")
    ch.expect_confirms(1)
    ch.expect_nothing()


@fact(145)
def test_fact_145_mandatory_and_routed_is_not_returned(bench: Bench) -> None:
    ch = bench.channel()
    queue = bench.name()
    ch.declare_queue(queue)
    ch.publish(key=queue, mandatory=True)
    ch.expect_nothing(queue)
    ch.wait_ready(queue, 1)


@fact(145, 92)
def test_fact_145_alternate_exchange_with_a_queue_prevents_the_return(bench: Bench) -> None:
    ch = bench.channel()
    x, alternate, queue = bench.name("x"), bench.name("alt"), bench.name()
    ch.declare_exchange(alternate, "fanout")
    ch.declare_exchange(x, arguments={"alternate-exchange": alternate})
    ch.publish(b"1", exchange=x, key="k", mandatory=True)
    assert ch.expect_return().method["exchange"] == x
    ch.declare_queue(queue)
    ch.bind(queue, alternate)
    ch.publish(b"2", exchange=x, key="k", mandatory=True)
    ch.expect_nothing(queue)
    assert ch.get_bodies(queue) == [b"2"]


@fact(3)
def test_fact_003_return_comes_before_the_ack(bench: Bench) -> None:
    ch = bench.channel()
    ch.confirm()
    for number in range(1, 4):
        ch.publish(b"m", exchange="amq.direct", key=f"nobody{number}", mandatory=True)
    waiting = {1, 2, 3}
    returned = 0
    while waiting:
        item = ch.peer.next_item(ch.number)
        if isinstance(item, Basic.Ack):
            tag = item.delivery_tag or 0
            acked = {n for n in waiting if n == tag or (item.multiple and n <= tag)}
            assert acked
            assert max(acked) <= returned
            waiting -= acked
        else:
            assert item is not None
            returned += 1
    assert returned == 3


@fact(146)
def test_fact_146_a_full_queue_does_not_return(bench: Bench) -> None:
    ch = bench.channel()
    queue = bench.name()
    ch.declare_queue(queue, arguments={"x-max-length": 0, "x-overflow": "reject-publish"})
    ch.confirm()
    ch.publish(key=queue, mandatory=True)
    assert ch.expect(Basic.Nack).delivery_tag == 1
    ch.expect_nothing(queue)


@fact(141)
def test_fact_141_message_over_the_limit(ch: Channel) -> None:
    limit = 134217728
    ch.peer.send_raw(wire.publish(ch.number, "amq.direct", "k") + wire.header(ch.number, limit + 1))
    chunk = wire.body(ch.number, bytes(131064))
    sent = 0
    while sent + 131064 <= limit + 1:
        ch.peer.send_raw(chunk)
        sent += 131064
    ch.peer.send_raw(wire.body(ch.number, bytes(limit + 1 - sent)))
    ch.expect_channel_close(
        406,
        f"PRECONDITION_FAILED - message size {limit + 1} is larger than "
        f"configured max size {limit}",
        method=Basic.Publish,
    )


@fact(95, 139)
def test_fact_139_exchange_deleted_meanwhile(bench: Bench) -> None:
    ch = bench.channel()
    x = bench.name("x")
    ch.declare_exchange(x, "fanout")
    ch.publish(exchange=x)
    ch.call(Exchange.Delete(exchange=x), Exchange.DeleteOk)
    ch.publish(exchange=x)
    ch.expect_channel_close(404, f"NOT_FOUND - no exchange '{x}' in vhost '/'")
