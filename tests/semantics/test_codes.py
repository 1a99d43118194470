"""Reply codes: which close the channel and which the connection (fact 76 and the table)."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from pamqp import base
from pamqp.commands import Basic, Channel, Connection, Exchange, Queue

from . import wire
from .conftest import Bench
from .marks import differs_on_reference, fact

SOFT: list[tuple[int, str, Callable[[str], base.Frame]]] = [
    (403, "ACCESS_REFUSED", lambda _: Exchange.Delete(exchange="amq.direct")),
    (404, "NOT_FOUND", lambda name: Queue.Purge(queue=name)),
    (406, "PRECONDITION_FAILED", lambda _: Basic.Ack(delivery_tag=1)),
]

HARD: list[tuple[int, str, bytes]] = [
    (501, "FRAME_ERROR", wire.frame(wire.METHOD, 1, b"\0\x14\0\x14\x01", b"\0")),
    (503, "COMMAND_INVALID", wire.method(1, 50, 11, wire.short_string("q") + bytes(8))),
    (504, "CHANNEL_ERROR", wire.method(1, 20, 10, b"\0")),
    (505, "UNEXPECTED_FRAME", wire.body(1, b"m")),
    (540, "NOT_IMPLEMENTED", wire.method(1, 20, 20, b"\0")),
]


@fact(76)
@pytest.mark.parametrize(("code", "name", "make"), SOFT)
def test_fact_076_soft_codes_close_the_channel(
    bench: Bench, code: int, name: str, make: Callable[[str], base.Frame]
) -> None:
    ch = bench.channel()
    ch.send(make(bench.name("missing")))
    close = ch.expect(Channel.Close)
    assert close.reply_code == code
    assert close.reply_text.startswith(f"{name} - ")
    ch.send(Channel.CloseOk())
    assert ch.peer.is_alive()


@fact(76)
def test_fact_076_resource_locked_closes_the_channel(bench: Bench) -> None:
    owner, ch = bench.channel(), bench.channel()
    queue = bench.name()
    owner.declare_queue(queue, exclusive=True)
    close = ch.fails(Queue.Purge(queue=queue), 405)
    assert close.reply_text.startswith("RESOURCE_LOCKED - ")
    assert ch.peer.is_alive()


@fact(76, 44)
@pytest.mark.parametrize(("code", "name", "data"), HARD)
def test_fact_076_hard_codes_close_the_connection(
    bench: Bench, code: int, name: str, data: bytes
) -> None:
    ch = bench.channel()
    ch.peer.send_raw(data)
    close = ch.peer.expect(Connection.Close)
    assert close.reply_code == code
    assert close.reply_text.startswith(f"{name} - ")


@fact(76)
def test_fact_076_not_allowed_closes_the_connection(bench: Bench) -> None:
    ch = bench.connect(channel_max=1).open_channel()
    ch.peer.send(2, Channel.Open())
    close = ch.peer.expect(Connection.Close)
    assert close.reply_code == 530
    assert close.reply_text.startswith("NOT_ALLOWED - ")


def test_table_normal_close_is_200_and_answered(bench: Bench) -> None:
    ch = bench.channel()
    ch.call(Channel.Close(200, "", 0, 0), Channel.CloseOk)
    ch.peer.close()


def test_table_no_route_is_312(bench: Bench) -> None:
    ch = bench.channel()
    ch.publish(key=bench.name("missing"), mandatory=True)
    assert ch.expect_return().method["reply_code"] == 312


@differs_on_reference("there a malformed method ends the connection with 541 or in silence")
def test_table_malformed_method_fields_are_502(bench: Bench) -> None:
    ch = bench.channel()
    ch.peer.send_raw(wire.method(ch.number, 50, 10, b"\0\0\xffshort"))
    close = ch.peer.expect(Connection.Close)
    assert close.reply_code == 502
    assert close.reply_text.startswith("SYNTAX_ERROR - ")


def test_table_exchange_unbind_ok_is_method_51(bench: Bench) -> None:
    ch = bench.channel()
    source, destination = bench.name("s"), bench.name("d")
    ch.declare_exchange(source)
    ch.declare_exchange(destination)
    ch.bind_exchange(destination, source, "k")
    ok = ch.call(
        Exchange.Unbind(destination=destination, source=source, routing_key="k"),
        Exchange.UnbindOk,
    )
    assert ok.index == 40 << 16 | 51
