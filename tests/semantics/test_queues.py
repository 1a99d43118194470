"""Declaring, deleting and purging queues, and how long they live (facts 109 to 131)."""

from __future__ import annotations

import re

import pytest
from pamqp.commands import Basic, Queue
from pamqp.common import FieldTable

from . import wire
from .conftest import Bench
from .marks import differs_on_reference, fact
from .peer import Channel

LOCKED = (
    "RESOURCE_LOCKED - cannot obtain exclusive access to locked queue '{}' in vhost '/'. It could "
    "be originally declared on another connection or the exclusive property value does not match "
    "that of the original declaration."
)


def _mismatch(queue: str, what: str, received: str, current: str) -> str:
    return (
        f"PRECONDITION_FAILED - inequivalent arg '{what}' for queue '{queue}' in vhost '/': "
        f"received {received} but current is {current}"
    )


@fact(109)
def test_fact_109_server_names(bench: Bench) -> None:
    ch = bench.channel()
    first = ch.declare_queue(exclusive=True).queue
    second = ch.declare_queue(exclusive=True).queue
    assert first != second
    for name in (first, second):
        assert name is not None
        assert re.fullmatch(r"amq\.gen-[A-Za-z0-9_-]{22}", name)


@fact(110)
def test_fact_110_prefix_of_queue_names_is_reserved(ch: Channel) -> None:
    ch.fails(
        Queue.Declare(queue="amq.mine"),
        403,
        "ACCESS_REFUSED - queue name 'amq.mine' contains reserved prefix 'amq.*'",
    )


@fact(110)
def test_fact_110_even_a_server_named_queue_cannot_be_redeclared(bench: Bench) -> None:
    ch = bench.channel()
    name = ch.declare_queue(exclusive=True).queue or ""
    assert ch.declare_queue(name, passive=True).queue == name
    ch.fails(
        Queue.Declare(queue=name, exclusive=True),
        403,
        f"ACCESS_REFUSED - queue name '{name}' contains reserved prefix 'amq.*'",
    )


@fact(111)
def test_fact_111_declare_ok_counts_ready_messages_and_consumers(bench: Bench) -> None:
    ch = bench.channel()
    queue = bench.name()
    ok = ch.declare_queue(queue)
    assert (ok.queue, ok.message_count, ok.consumer_count) == (queue, 0, 0)
    ch.fill(queue, b"1", b"2", b"3")
    ch.must_get(queue)
    ch.qos(1)
    ch.consume(queue)
    ch.expect_delivery()
    ok = ch.declare_queue(queue)
    assert (ok.message_count, ok.consumer_count) == (1, 1)


@fact(112)
def test_fact_112_exclusive_queues_match_with_either_durable_flag(bench: Bench) -> None:
    ch = bench.channel()
    queue = bench.name()
    ch.declare_queue(queue, exclusive=True, durable=True)
    ch.declare_queue(queue, exclusive=True, durable=False)
    ch.declare_queue(queue, exclusive=True, durable=True)


@fact(113, 116)
def test_fact_113_first_difference_is_reported(bench: Bench) -> None:
    ch = bench.channel()
    queue = bench.name()
    ch.declare_queue(queue, durable=True, arguments={"x-expires": 60000})
    ch.fails(
        Queue.Declare(queue=queue, exclusive=True, auto_delete=True),
        405,
        LOCKED.format(queue),
    )
    ch.fails(
        Queue.Declare(queue=queue, auto_delete=True),
        406,
        _mismatch(queue, "durable", "'false'", "'true'"),
    )
    ch.fails(
        Queue.Declare(queue=queue, durable=True, auto_delete=True),
        406,
        _mismatch(queue, "auto_delete", "'true'", "'false'"),
    )
    arguments: FieldTable = {"x-max-length": 1, "x-message-ttl": 1}
    close = ch.fails(Queue.Declare(queue=queue, durable=True, arguments=arguments), 406)
    assert "inequivalent arg 'x-expires'" in close.reply_text
    arguments["x-expires"] = 60000
    close = ch.fails(Queue.Declare(queue=queue, durable=True, arguments=arguments), 406)
    assert "inequivalent arg 'x-message-ttl'" in close.reply_text


@fact(114)
def test_fact_114_exclusive_queue_of_another_connection(bench: Bench) -> None:
    owner, ch = bench.channel(), bench.channel()
    queue = bench.name()
    owner.declare_queue(queue, exclusive=True)
    ch.fails(Queue.Declare(queue=queue, exclusive=True), 405, LOCKED.format(queue))
    ch.fails(Queue.Declare(queue=queue), 405, LOCKED.format(queue))


@fact(114)
def test_fact_114_exclusive_flag_differs(bench: Bench) -> None:
    ch = bench.channel()
    queue, exclusive = bench.name(), bench.name()
    ch.declare_queue(queue)
    ch.declare_queue(exclusive, exclusive=True)
    ch.fails(Queue.Declare(queue=queue, exclusive=True), 405, LOCKED.format(queue))
    ch.fails(Queue.Declare(queue=exclusive), 405, LOCKED.format(exclusive))


@fact(115)
def test_fact_115_all_uses_of_a_locked_queue_but_publishing(bench: Bench) -> None:
    owner, ch = bench.channel(), bench.channel()
    queue = bench.name()
    owner.declare_queue(queue, exclusive=True)
    for question in (
        Queue.Declare(queue=queue, passive=True),
        Queue.Bind(queue=queue, exchange="amq.direct", routing_key="k"),
        Queue.Purge(queue=queue),
        Queue.Delete(queue=queue),
        Basic.Get(queue=queue),
        Basic.Consume(queue=queue),
    ):
        ch.fails(question, 405, LOCKED.format(queue))
    ch.confirm()
    ch.publish(b"m", key=queue)
    ch.expect_confirms(1)
    assert owner.must_get(queue).body == b"m"


@fact(116)
def test_fact_116_flags_differ(bench: Bench) -> None:
    ch = bench.channel()
    transient, auto_delete = bench.name(), bench.name()
    ch.declare_queue(transient)
    ch.declare_queue(auto_delete, auto_delete=True)
    ch.fails(
        Queue.Declare(queue=transient, durable=True),
        406,
        _mismatch(transient, "durable", "'true'", "'false'"),
    )
    ch.fails(
        Queue.Declare(queue=auto_delete),
        406,
        _mismatch(auto_delete, "auto_delete", "'false'", "'true'"),
    )


@fact(117)
def test_fact_117_argument_on_one_side_only(bench: Bench) -> None:
    ch = bench.channel()
    without, having = bench.name(), bench.name()
    ch.declare_queue(without)
    ch.peer.send_raw(wire.queue_declare(ch.number, without, {"x-message-ttl": wire.int32(10)}))
    ch.expect_channel_close(
        406,
        _mismatch(without, "x-message-ttl", "the value '10' of type 'signedint'", "none"),
        method=Queue.Declare,
    )
    ch.open()
    ch.peer.send_raw(wire.queue_declare(ch.number, having, {"x-message-ttl": wire.int32(10)}))
    ch.expect(Queue.DeclareOk)
    ch.fails(
        Queue.Declare(queue=having),
        406,
        _mismatch(having, "x-message-ttl", "none", "the value '10' of type 'signedint'"),
    )


@fact(117)
@differs_on_reference("RabbitMQ names the width that the integer had on the wire")
def test_fact_117_texts_name_the_width_that_an_integer_needs(bench: Bench) -> None:
    ch = bench.channel()
    queue = bench.name()
    ch.declare_queue(queue)
    ch.peer.send_raw(wire.queue_declare(ch.number, queue, {"x-message-ttl": wire.int64(10)}))
    ch.expect_channel_close(
        406, _mismatch(queue, "x-message-ttl", "the value '10' of type 'signedint'", "none")
    )


@fact(117)
def test_fact_117_argument_values_differ(bench: Bench) -> None:
    ch = bench.channel()
    queue = bench.name()
    ch.declare_queue(queue, arguments={"x-message-ttl": 10, "x-dead-letter-exchange": "a"})
    ch.fails(
        Queue.Declare(queue=queue, arguments={"x-message-ttl": 20, "x-dead-letter-exchange": "a"}),
        406,
        _mismatch(queue, "x-message-ttl", "'20'", "'10'"),
    )
    ch.fails(
        Queue.Declare(queue=queue, arguments={"x-message-ttl": 10, "x-dead-letter-exchange": "b"}),
        406,
        _mismatch(queue, "x-dead-letter-exchange", "'b'", "'a'"),
    )


@fact(117)
def test_fact_117_width_of_integers_is_no_difference(bench: Bench) -> None:
    ch = bench.channel()
    queue = bench.name()
    for value in (wire.int8(100), wire.int32(100), wire.int64(100), wire.int8(100)):
        ch.peer.send_raw(wire.queue_declare(ch.number, queue, {"x-message-ttl": value}))
        ch.expect(Queue.DeclareOk)


@fact(118)
def test_fact_118_unknown_arguments_are_ignored(bench: Bench) -> None:
    ch = bench.channel()
    queue = bench.name()
    ch.declare_queue(queue, arguments={"x-what-is-this": 1, "plain": "text"})
    ch.declare_queue(queue, arguments={"x-what-is-this": 2})
    ch.declare_queue(queue)


@fact(119)
def test_fact_119_classic_is_the_default_type(bench: Bench) -> None:
    ch = bench.channel()
    queue, classic = bench.name(), bench.name()
    ch.declare_queue(queue, durable=True)
    ch.declare_queue(queue, durable=True, arguments={"x-queue-type": "classic"})
    ch.declare_queue(classic, durable=True, arguments={"x-queue-type": "classic"})
    ch.declare_queue(classic, durable=True)
    close = ch.fails(
        Queue.Declare(queue=queue, durable=True, arguments={"x-queue-type": "quorum"}), 406
    )
    assert "inequivalent arg 'x-queue-type'" in close.reply_text


NO_DLX = "routing_key_but_no_dlx_defined"
BAD_ARGUMENTS: list[tuple[dict[str, wire.Typed], str, str]] = [
    ({"x-expires": wire.int32(0)}, "x-expires", "{value_zero,0}"),
    ({"x-expires": wire.int32(-1)}, "x-expires", "{value_negative,-1}"),
    (
        {"x-expires": wire.int64(315360000001)},
        "x-expires",
        "{value_too_large,315360000001}",
    ),
    ({"x-message-ttl": wire.int32(-1)}, "x-message-ttl", "{value_negative,-1}"),
    ({"x-max-length": wire.int32(-1)}, "x-max-length", "{value_negative,-1}"),
    ({"x-max-length-bytes": wire.int32(-5)}, "x-max-length-bytes", "{value_negative,-5}"),
    ({"x-max-priority": wire.int32(256)}, "x-max-priority", "{max_value_exceeded,256}"),
    ({"x-max-priority": wire.int32(-1)}, "x-max-priority", "{value_negative,-1}"),
    ({"x-overflow": wire.text("spill")}, "x-overflow", "invalid_overflow"),
    (
        {"x-queue-mode": wire.text("eager")},
        "x-queue-mode",
        "\"unsupported queue mode 'eager'\"",
    ),
    ({"x-queue-version": wire.int32(3)}, "x-queue-version", "\"unsupported queue version '3'\""),
    (
        # Of several mistakes the one that RabbitMQ looks for first.
        {"x-max-length": wire.int32(-1), "x-expires": wire.int32(0)},
        "x-expires",
        "{value_zero,0}",
    ),
    (
        {"x-dead-letter-routing-key": wire.text("k")},
        "x-dead-letter-routing-key",
        NO_DLX,
    ),
]


@fact(120, 121)
@pytest.mark.parametrize(("arguments", "name", "reason"), BAD_ARGUMENTS)
def test_fact_120_bad_argument_values(
    bench: Bench, arguments: dict[str, wire.Typed], name: str, reason: str
) -> None:
    ch = bench.channel()
    queue = bench.name()
    ch.peer.send_raw(wire.queue_declare(ch.number, queue, arguments))
    ch.expect_channel_close(
        406,
        f"PRECONDITION_FAILED - invalid arg '{name}' for queue '{queue}' in vhost '/': {reason}",
        method=Queue.Declare,
    )


@fact(120)
@pytest.mark.parametrize(
    "name", ["x-expires", "x-message-ttl", "x-max-length", "x-max-length-bytes", "x-max-priority"]
)
def test_fact_120_wrong_type_of_a_number(bench: Bench, name: str) -> None:
    ch = bench.channel()
    queue = bench.name()
    ch.fails(
        Queue.Declare(queue=queue, arguments={name: "10"}),
        406,
        f"PRECONDITION_FAILED - invalid arg '{name}' for queue '{queue}' in vhost '/': "
        '"expected integer, got longstr"',
    )


@fact(120)
@pytest.mark.parametrize("name", ["x-dead-letter-routing-key", "x-overflow"])
def test_fact_120_wrong_type_of_a_string(bench: Bench, name: str) -> None:
    ch = bench.channel()
    queue = bench.name()
    ch.peer.send_raw(wire.queue_declare(ch.number, queue, {name: wire.int32(5)}))
    close = ch.expect_channel_close(406, method=Queue.Declare)
    start = f"PRECONDITION_FAILED - invalid arg '{name}' for queue '{queue}' in vhost '/': "
    assert close.reply_text.startswith(start), close.reply_text


@fact(121)
@pytest.mark.parametrize(
    "arguments",
    [
        {"x-expires": 60000},
        {"x-expires": 315360000000},
        {"x-message-ttl": 0},
        {"x-max-length": 0},
        {"x-max-length-bytes": 0},
        {"x-max-priority": 0},
        {"x-max-priority": 255},
        {"x-overflow": "drop-head"},
        {"x-overflow": "reject-publish"},
        {"x-overflow": "reject-publish-dlx"},
        {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "k"},
    ],
)
def test_fact_121_values_at_the_edge_are_accepted(
    bench: Bench, arguments: dict[str, str | int]
) -> None:
    ch = bench.channel()
    ch.declare_queue(bench.name(), arguments=dict(arguments))


@fact(122)
def test_fact_122_dead_letter_exchange_must_be_a_string(bench: Bench) -> None:
    ch = bench.channel()
    queue = bench.name()
    arguments = {"x-dead-letter-exchange": wire.int32(5)}
    ch.peer.send_raw(wire.queue_declare(ch.number, queue, arguments))
    ch.expect_channel_close(
        406,
        "PRECONDITION_FAILED - invalid type 'signedint' for arg 'x-dead-letter-exchange' in "
        f"queue '{queue}' in vhost '/'",
        method=Queue.Declare,
    )


@fact(122)
def test_fact_122_dead_letter_exchange_may_be_missing_or_the_default(bench: Bench) -> None:
    ch = bench.channel()
    ch.declare_queue(bench.name(), arguments={"x-dead-letter-exchange": bench.name("nox")})
    ch.declare_queue(bench.name(), arguments={"x-dead-letter-exchange": ""})


@fact(123)
@pytest.mark.parametrize("mode", ["lazy", "default"])
def test_fact_123_queue_mode_is_accepted(bench: Bench, mode: str) -> None:
    ch = bench.channel()
    queue = bench.name()
    ch.declare_queue(queue, durable=True, arguments={"x-queue-mode": mode})
    ch.fill(queue, b"m")
    assert ch.get_bodies(queue) == [b"m"]


@fact(124, 7)
def test_fact_124_passive_declare_checks_existence_only(bench: Bench) -> None:
    ch = bench.channel()
    queue, missing = bench.name(), bench.name("missing")
    ch.declare_queue(queue, durable=True)
    ch.fill(queue, b"m")
    ok = ch.declare_queue(
        queue,
        passive=True,
        auto_delete=True,
        exclusive=False,
        arguments={"x-message-ttl": "nonsense"},
    )
    assert (ok.queue, ok.message_count, ok.consumer_count) == (queue, 1, 0)
    ch.fails(
        Queue.Declare(queue=missing, passive=True),
        404,
        f"NOT_FOUND - no queue '{missing}' in vhost '/'",
    )


@fact(126)
def test_fact_126_delete_if_unused(bench: Bench) -> None:
    ch, consumer = bench.channel(), bench.channel()
    queue = bench.name()
    ch.declare_queue(queue)
    consumer.consume(queue, "c")
    ch.fails(
        Queue.Delete(queue=queue, if_unused=True),
        406,
        f"PRECONDITION_FAILED - queue '{queue}' in vhost '/' in use",
    )
    consumer.cancel("c")
    ch.call(Queue.Delete(queue=queue, if_unused=True), Queue.DeleteOk)


@fact(126)
def test_fact_126_delete_if_empty(bench: Bench) -> None:
    ch = bench.channel()
    queue = bench.name()
    ch.declare_queue(queue)
    ch.fill(queue, b"1", b"2")
    not_empty = f"PRECONDITION_FAILED - queue '{queue}' in vhost '/' not empty"
    ch.fails(Queue.Delete(queue=queue, if_empty=True), 406, not_empty)
    consumer = bench.channel()
    consumer.qos(1)
    consumer.consume(queue)
    consumer.expect_delivery(b"1")
    ch.fails(Queue.Delete(queue=queue, if_empty=True, if_unused=True), 406, not_empty)


@fact(126)
def test_fact_126_unacked_messages_do_not_keep_a_queue(bench: Bench) -> None:
    ch = bench.channel()
    queue = bench.name()
    ch.declare_queue(queue)
    ch.fill(queue, b"m")
    ch.must_get(queue)
    ok = ch.call(Queue.Delete(queue=queue, if_empty=True, if_unused=True), Queue.DeleteOk)
    assert ok.message_count == 0


@fact(126, 7)
def test_fact_126_deleting_a_missing_queue_succeeds(bench: Bench) -> None:
    ch = bench.channel()
    assert ch.delete_queue(bench.name("missing")) == 0
    ok = ch.call(
        Queue.Delete(queue=bench.name("missing"), if_empty=True, if_unused=True), Queue.DeleteOk
    )
    assert ok.message_count == 0


@fact(127)
def test_fact_127_delete_counts_ready_messages(bench: Bench) -> None:
    ch = bench.channel()
    queue, dead = bench.name(), bench.name("dead")
    ch.declare_queue(dead)
    ch.declare_queue(
        queue, arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead}
    )
    ch.fill(queue, b"1", b"2", b"3")
    ch.must_get(queue)
    assert ch.delete_queue(queue) == 2
    ch.wait_ready(dead, 0)


@fact(128, 7)
def test_fact_128_purge_takes_ready_messages_only(bench: Bench) -> None:
    ch = bench.channel()
    queue, dead, missing = bench.name(), bench.name("dead"), bench.name("missing")
    ch.declare_queue(dead)
    ch.declare_queue(
        queue, arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead}
    )
    ch.fill(queue, b"1", b"2", b"3")
    kept = ch.must_get(queue)
    assert ch.purge(queue) == 2
    assert ch.purge(queue) == 0
    ch.nack(kept.tag)
    ch.wait_ready(queue, 1)
    assert ch.get_bodies(queue) == [b"1"]
    ch.wait_ready(dead, 0)
    ch.fails(Queue.Purge(queue=missing), 404, f"NOT_FOUND - no queue '{missing}' in vhost '/'")


@fact(129)
def test_fact_129_auto_delete_queue_goes_with_its_last_consumer(bench: Bench) -> None:
    ch = bench.channel()
    queue = bench.name()
    ch.declare_queue(queue, auto_delete=True)
    ch.fill(queue, b"1", b"2")
    assert ch.must_get(queue, no_ack=True).body == b"1"
    assert ch.queue_exists(queue)
    ch.consume(queue, "a")
    ch.expect_delivery(b"2")
    ch.consume(queue, "b")
    ch.cancel("a")
    assert ch.queue_exists(queue)
    ch.cancel("b")
    ch.wait_gone(ch.queue_exists, queue)


@fact(129)
def test_fact_129_auto_delete_on_channel_close(bench: Bench) -> None:
    ch = bench.channel()
    queue = bench.name()
    ch.declare_queue(queue, auto_delete=True)
    ch.consume(queue)
    ch.close()
    assert not ch.peer.open_channel().queue_exists(queue)


@fact(129)
def test_fact_129_auto_delete_on_connection_loss(bench: Bench) -> None:
    watcher, ch = bench.channel(), bench.channel()
    queue = bench.name()
    ch.declare_queue(queue, auto_delete=True)
    ch.consume(queue)
    ch.peer.drop()
    watcher.wait_gone(watcher.queue_exists, queue)


@fact(129)
def test_fact_129_never_consumed_is_never_deleted(bench: Bench) -> None:
    watcher, ch = bench.channel(), bench.channel()
    queue = bench.name()
    ch.declare_queue(queue, auto_delete=True)
    ch.fill(queue, b"m")
    ch.must_get(queue)
    ch.peer.close()
    watcher.wait_ready(queue, 1)


@fact(130)
def test_fact_130_exclusive_queue_serves_all_channels_and_goes_with_its_connection(
    bench: Bench,
) -> None:
    peer, watcher = bench.connect(), bench.channel()
    one, two = peer.open_channel(), peer.open_channel()
    queue = bench.name()
    one.declare_queue(queue, exclusive=True)
    two.fill(queue, b"m")
    two.declare_queue(queue, exclusive=True)
    one.close()
    assert two.must_get(queue).body == b"m"
    peer.close()
    assert not watcher.queue_exists(queue)


@fact(130)
def test_fact_130_exclusive_queue_goes_when_the_connection_is_lost(bench: Bench) -> None:
    owner = bench.channel()
    queue = bench.name()
    owner.declare_queue(queue, exclusive=True)
    owner.bind(queue, "amq.fanout")
    owner.peer.drop()
    if not bench.in_memory:
        return  # asking too early is a 405, so only the exact clock can tell
    assert not bench.channel().queue_exists(queue)


@fact(131)
def test_fact_131_expiry_of_an_unused_queue(memory_bench: Bench) -> None:
    ch = memory_bench.channel()
    ch.declare_queue("q", arguments={"x-expires": 10000})
    memory_bench.advance(9)
    ch.fill("q", b"m")
    memory_bench.advance(0.5)
    ch.publish(b"m", key="q")
    memory_bench.advance(9.4)
    assert ch.declare_queue("q", passive=True).message_count == 2
    memory_bench.advance(9.9)
    assert ch.must_get("q").body == b"m"
    memory_bench.advance(9.9)
    ch.declare_queue("q", arguments={"x-expires": 10000})
    memory_bench.advance(10.1)
    assert not ch.queue_exists("q")


@fact(131)
def test_fact_131_publishing_is_no_use(memory_bench: Bench) -> None:
    ch = memory_bench.channel()
    ch.declare_queue("q", arguments={"x-expires": 10000})
    memory_bench.advance(6)
    ch.publish(b"m", key="q")
    memory_bench.advance(6)
    assert not ch.queue_exists("q")


@fact(131)
def test_fact_131_a_consumer_is_use(memory_bench: Bench) -> None:
    ch = memory_bench.channel()
    ch.declare_queue("q", arguments={"x-expires": 10000})
    tag = ch.consume("q")
    memory_bench.advance(30)
    ch.cancel(tag)
    memory_bench.advance(9)
    assert ch.queue_exists("q")
    memory_bench.advance(11)
    assert not ch.queue_exists("q")


@fact(133, 10)
@pytest.mark.parametrize("auto_delete", [False, True])
def test_fact_133_transient_queues_may_be_shared(bench: Bench, auto_delete: bool) -> None:
    ch, other = bench.channel(), bench.channel()
    queue = bench.name()
    ch.declare_queue(queue, auto_delete=auto_delete)
    other.declare_queue(queue, auto_delete=auto_delete)
    other.fill(queue, b"m")
    ch.consume(queue)
    ch.expect_delivery(b"m")
