"""Declaring, deleting, binding and unbinding exchanges (facts 81 to 100)."""

from __future__ import annotations

import pytest
from pamqp import commands
from pamqp.commands import Exchange, Queue

from . import wire
from .conftest import Bench
from .marks import differs_on_reference, fact
from .peer import Channel

ON_DEFAULT = "ACCESS_REFUSED - operation not permitted on the default exchange"


@fact(81)
@pytest.mark.parametrize(
    ("exchange", "kind"),
    [
        ("amq.direct", "direct"),
        ("amq.fanout", "fanout"),
        ("amq.topic", "topic"),
        ("amq.headers", "headers"),
        ("amq.match", "headers"),
    ],
)
def test_fact_081_exchanges_that_are_always_there(ch: Channel, exchange: str, kind: str) -> None:
    ch.declare_exchange(exchange, kind, durable=True)


@fact(81, 89)
def test_fact_081_trace_exchange_is_internal(ch: Channel) -> None:
    ch.declare_exchange("amq.rabbitmq.trace", "topic", durable=True, internal=True)
    ch.publish(exchange="amq.rabbitmq.trace")
    ch.expect_channel_close(
        403,
        "ACCESS_REFUSED - cannot publish to internal exchange 'amq.rabbitmq.trace' in vhost '/'",
    )


@fact(82)
def test_fact_082_every_queue_is_bound_to_the_default_exchange(bench: Bench) -> None:
    ch = bench.channel()
    queue = bench.name()
    ch.declare_queue(queue)
    ch.fill(queue, b"m")
    assert ch.must_get(queue).body == b"m"


@fact(82)
def test_fact_082_default_exchange_cannot_be_changed(bench: Bench) -> None:
    ch = bench.channel()
    queue = bench.name()
    ch.declare_queue(queue)
    for question in (
        Exchange.Declare(exchange="", exchange_type="direct", durable=True),
        Exchange.Declare(exchange="", exchange_type="direct", passive=True),
        Exchange.Delete(exchange=""),
        Queue.Bind(queue=queue, exchange="", routing_key="k"),
        Queue.Unbind(queue=queue, exchange="", routing_key=queue),
        Exchange.Bind(destination="amq.fanout", source="", routing_key="k"),
        Exchange.Bind(destination="", source="amq.fanout", routing_key="k"),
        Exchange.Unbind(destination="amq.fanout", source="", routing_key="k"),
    ):
        ch.fails(question, 403, ON_DEFAULT)


@fact(83)
def test_fact_083_prefix_of_new_exchanges_is_reserved(ch: Channel) -> None:
    ch.fails(
        Exchange.Declare(exchange="amq.mine", exchange_type="direct"),
        403,
        "ACCESS_REFUSED - exchange name 'amq.mine' contains reserved prefix 'amq.*'",
    )
    ch.declare_exchange("amq.topic", "topic", durable=True)


@fact(84)
@pytest.mark.parametrize("exchange", ["amq.direct", "amq.nothing"])
def test_fact_084_system_exchanges_cannot_be_deleted(ch: Channel, exchange: str) -> None:
    ch.fails(
        Exchange.Delete(exchange=exchange),
        403,
        f"ACCESS_REFUSED - deletion of system exchange '{exchange}' in vhost '/' not allowed",
    )


@fact(85)
@differs_on_reference("3.10 ends the connection with 503")
def test_fact_085_unknown_exchange_type(bench: Bench) -> None:
    ch = bench.channel()
    ch.fails(
        Exchange.Declare(exchange=bench.name(), exchange_type="x-nothing"),
        406,
        "PRECONDITION_FAILED - unknown exchange type 'x-nothing'",
    )


def _mismatch(exchange: str, what: str, received: str, current: str) -> str:
    return (
        f"PRECONDITION_FAILED - inequivalent arg '{what}' for exchange '{exchange}' in vhost '/': "
        f"received '{received}' but current is '{current}'"
    )


@fact(86)
def test_fact_086_redeclaring_with_other_properties(bench: Bench) -> None:
    ch = bench.channel()
    x = bench.name("x")
    ch.declare_exchange(x, "direct", durable=True)
    ch.declare_exchange(x, "direct", durable=True)
    declare = Exchange.Declare
    ch.fails(
        declare(exchange=x, exchange_type="fanout", durable=False),
        406,
        _mismatch(x, "type", "fanout", "direct"),
    )
    ch.fails(
        declare(exchange=x, exchange_type="direct", durable=False, auto_delete=True),
        406,
        _mismatch(x, "durable", "false", "true"),
    )
    ch.fails(
        declare(exchange=x, exchange_type="direct", durable=True, auto_delete=True, internal=True),
        406,
        _mismatch(x, "auto_delete", "true", "false"),
    )
    ch.fails(
        declare(
            exchange=x,
            exchange_type="direct",
            durable=True,
            internal=True,
            arguments={"alternate-exchange": "amq.fanout"},
        ),
        406,
        _mismatch(x, "internal", "true", "false"),
    )


@fact(87)
def test_fact_087_only_known_arguments_are_compared(bench: Bench) -> None:
    ch = bench.channel()
    x = bench.name("x")
    ch.declare_exchange(x, arguments={"alternate-exchange": "amq.fanout", "x-anything": 1})
    ch.declare_exchange(x, arguments={"alternate-exchange": "amq.fanout", "x-other": "text"})
    ch.fails(
        Exchange.Declare(exchange=x, exchange_type="direct"),
        406,
        f"PRECONDITION_FAILED - inequivalent arg 'alternate-exchange' for exchange '{x}' in vhost "
        "'/': received none but current is the value 'amq.fanout' of type 'longstr'",
    )


@fact(88, 7)
def test_fact_088_passive_declare_checks_existence_only(bench: Bench) -> None:
    ch = bench.channel()
    x, missing = bench.name("x"), bench.name("missing")
    ch.declare_exchange(x, "topic")
    ch.call(
        Exchange.Declare(exchange=x, exchange_type="fanout", durable=True, passive=True),
        Exchange.DeclareOk,
    )
    ch.call(
        Exchange.Declare(exchange=x, exchange_type="x-no-such-type", passive=True),
        Exchange.DeclareOk,
    )
    ch.fails(
        Exchange.Declare(exchange=missing, exchange_type="topic", passive=True),
        404,
        f"NOT_FOUND - no exchange '{missing}' in vhost '/'",
    )


@fact(89)
def test_fact_089_internal_exchange_takes_messages_from_exchanges_only(bench: Bench) -> None:
    ch = bench.channel()
    outer, inner, queue = bench.name("outer"), bench.name("inner"), bench.name()
    ch.declare_exchange(outer, "fanout")
    ch.declare_exchange(inner, "fanout", internal=True)
    ch.declare_queue(queue)
    ch.bind(queue, inner)
    ch.bind_exchange(inner, outer)
    ch.publish(b"m", exchange=outer)
    ch.wait_ready(queue, 1)
    ch.publish(b"m", exchange=inner)
    ch.expect_channel_close(
        403,
        f"ACCESS_REFUSED - cannot publish to internal exchange '{inner}' in vhost '/'",
        method=commands.Basic.Publish,
    )


@fact(90)
def test_fact_090_if_unused_looks_at_bindings_as_source(bench: Bench) -> None:
    ch = bench.channel()
    source, destination, queue = bench.name("s"), bench.name("d"), bench.name()
    ch.declare_exchange(source)
    ch.declare_exchange(destination)
    ch.declare_queue(queue)
    ch.bind_exchange(destination, source, "k")
    ch.fails(
        Exchange.Delete(exchange=source, if_unused=True),
        406,
        f"PRECONDITION_FAILED - exchange '{source}' in vhost '/' in use",
    )
    ch.call(Exchange.Delete(exchange=destination, if_unused=True), Exchange.DeleteOk)
    ch.call(Exchange.Delete(exchange=source, if_unused=True), Exchange.DeleteOk)


@fact(91)
def test_fact_091_auto_delete_exchange_goes_with_its_last_binding(bench: Bench) -> None:
    ch = bench.channel()
    x, queue = bench.name("x"), bench.name()
    ch.declare_exchange(x, auto_delete=True)
    ch.declare_queue(queue)
    assert ch.exchange_exists(x)
    ch.bind(queue, x, "1")
    ch.bind(queue, x, "2")
    ch.unbind(queue, x, "1")
    assert ch.exchange_exists(x)
    ch.unbind(queue, x, "2")
    assert not ch.exchange_exists(x)


@fact(91)
def test_fact_091_auto_delete_exchange_goes_with_its_last_queue(bench: Bench) -> None:
    ch = bench.channel()
    x, queue = bench.name("x"), bench.name()
    ch.declare_exchange(x, "fanout", auto_delete=True)
    ch.declare_queue(queue)
    ch.bind(queue, x)
    ch.delete_queue(queue)
    assert not ch.exchange_exists(x)


@fact(91)
def test_fact_091_bindings_as_destination_do_not_count(bench: Bench) -> None:
    ch = bench.channel()
    x, source = bench.name("x"), bench.name("s")
    ch.declare_exchange(x, auto_delete=True)
    ch.declare_exchange(source)
    ch.bind_exchange(x, source, "k")
    ch.call(Exchange.Unbind(destination=x, source=source, routing_key="k"), Exchange.UnbindOk)
    assert ch.exchange_exists(x)


@fact(91)
def test_fact_091_auto_delete_goes_up_a_chain_of_exchanges(bench: Bench) -> None:
    ch = bench.channel()
    first, second, queue = bench.name("a"), bench.name("b"), bench.name()
    ch.declare_exchange(first, "fanout", auto_delete=True)
    ch.declare_exchange(second, "fanout", auto_delete=True)
    ch.declare_queue(queue)
    ch.bind_exchange(second, first)
    ch.bind(queue, second)
    ch.delete_queue(queue)
    assert not ch.exchange_exists(second)
    assert not ch.exchange_exists(first)


@fact(93)
def test_fact_093_alternate_exchange_must_be_a_string(bench: Bench) -> None:
    ch = bench.channel()
    x = bench.name("x")
    arguments = wire.table({"alternate-exchange": wire.int32(5)})
    head = b"\0\0" + wire.short_string(x) + wire.short_string("direct") + b"\0"
    ch.peer.send_raw(wire.method(ch.number, 40, 10, head + arguments))
    ch.expect_channel_close(
        406,
        "PRECONDITION_FAILED - invalid type 'signedint' for arg 'alternate-exchange' in exchange "
        f"'{x}' in vhost '/'",
        method=Exchange.Declare,
    )


@fact(95, 7)
def test_fact_095_binding_names_the_first_missing_end(bench: Bench) -> None:
    ch = bench.channel()
    queue, x = bench.name(), bench.name("x")
    no_queue, no_x = bench.name("noq"), bench.name("nox")
    ch.declare_queue(queue)
    ch.declare_exchange(x)
    missing_x = f"NOT_FOUND - no exchange '{no_x}' in vhost '/'"
    bind, ebind = Queue.Bind, Exchange.Bind
    ch.fails(bind(queue=queue, exchange=no_x, routing_key="k"), 404, missing_x)
    ch.fails(
        bind(queue=no_queue, exchange=x, routing_key="k"),
        404,
        f"NOT_FOUND - no queue '{no_queue}' in vhost '/'",
    )
    ch.fails(bind(queue=no_queue, exchange=no_x, routing_key="k"), 404, missing_x)
    ch.fails(ebind(destination=x, source=no_x, routing_key="k"), 404, missing_x)
    ch.fails(ebind(destination=no_x, source=x, routing_key="k"), 404, missing_x)


@fact(96)
def test_fact_096_binding_twice_is_one_binding(bench: Bench) -> None:
    ch = bench.channel()
    queue, x = bench.name(), bench.name("x")
    ch.declare_queue(queue)
    ch.declare_exchange(x)
    ch.bind(queue, x, "k", {"a": "1", "b": "2"})
    ch.bind(queue, x, "k", {"b": "2", "a": "1"})
    ch.publish(exchange=x, key="k")
    ch.wait_ready(queue, 1)
    ch.unbind(queue, x, "k", {"b": "2", "a": "1"})
    ch.publish(exchange=x, key="k")
    ch.sync(queue)
    ch.wait_ready(queue, 1)


@fact(96)
def test_fact_096_arguments_are_part_of_the_binding(bench: Bench) -> None:
    ch = bench.channel()
    queue, x = bench.name(), bench.name("x")
    ch.declare_queue(queue)
    ch.declare_exchange(x)
    ch.bind(queue, x, "k", {"a": "1"})
    ch.bind(queue, x, "k", {"a": "2"})
    ch.unbind(queue, x, "k", {"a": "1"})
    ch.publish(exchange=x, key="k")
    ch.wait_ready(queue, 1)
    ch.unbind(queue, x, "k", {"a": "2"})
    ch.publish(exchange=x, key="k")
    ch.sync(queue)
    ch.wait_ready(queue, 1)


@fact(97, 7)
def test_fact_097_unbinding_what_is_not_there_succeeds(bench: Bench) -> None:
    ch = bench.channel()
    queue, x = bench.name(), bench.name("x")
    ch.declare_queue(queue)
    ch.declare_exchange(x)
    ch.unbind(queue, x, "never")
    ch.unbind(bench.name("noq"), x, "k")
    ch.unbind(queue, bench.name("nox"), "k")
    ch.call(
        Exchange.Unbind(destination=x, source=bench.name("nox"), routing_key="k"),
        Exchange.UnbindOk,
    )


@fact(97)
def test_fact_097_unbinding_from_a_queue_of_another_connection(bench: Bench) -> None:
    """Whose the queue is counts once there is something to unbind."""
    own, other = bench.channel(), bench.channel()
    queue, x = bench.name(), bench.name("x")
    own.declare_queue(queue, exclusive=True)
    own.declare_exchange(x)
    other.unbind(queue, x, "k")
    own.bind(queue, x, "k")
    other.fails(Queue.Unbind(queue=queue, exchange=x, routing_key="k"), 405)
    own.unbind(queue, x, "k")


@fact(97, 7)
def test_fact_097_deleting_a_missing_exchange_succeeds(bench: Bench) -> None:
    ch = bench.channel()
    ch.call(Exchange.Delete(exchange=bench.name("missing")), Exchange.DeleteOk)
    ch.call(Exchange.Delete(exchange=bench.name("missing"), if_unused=True), Exchange.DeleteOk)


@fact(99)
def test_fact_099_binding_a_locked_queue(bench: Bench) -> None:
    owner, ch = bench.channel(), bench.channel()
    queue = bench.name()
    owner.declare_queue(queue, exclusive=True)
    owner.bind(queue, "amq.direct", "k")
    close = ch.fails(Queue.Bind(queue=queue, exchange="amq.direct", routing_key="k"), 405)
    assert f"locked queue '{queue}' in vhost '/'" in close.reply_text


@fact(100)
def test_fact_100_binding_of_a_transient_queue_goes_with_the_queue(bench: Bench) -> None:
    ch = bench.channel()
    queue, x = bench.name(), bench.name("x")
    ch.declare_exchange(x, "fanout", durable=True)
    ch.declare_queue(queue)
    ch.bind(queue, x)
    ch.delete_queue(queue)
    ch.declare_queue(queue)
    ch.publish(exchange=x)
    ch.sync(queue)
    ch.wait_ready(queue, 0)
    ch.call(Exchange.Delete(exchange=x, if_unused=True), Exchange.DeleteOk)
