"""What outlives the broker (facts 37, 40, 144, 171 and 238 to 241)."""

from __future__ import annotations

import pytest
from pamqp.commands import Basic, Connection, Exchange

from .conftest import Bench
from .marks import fact
from .peer import Channel

PERSISTENT = Basic.Properties(delivery_mode=2)
STOPPED = "CONNECTION_FORCED - broker forced connection closure with reason 'shutdown'"

clean_or_not = pytest.mark.parametrize("clean", [True, False], ids=["clean", "unclean"])


def _store(ch: Channel, queue: str, *bodies: bytes) -> None:
    """Publish to a durable queue on a channel of its own, and wait for the confirms."""
    publisher = ch.peer.open_channel()
    publisher.confirm()
    for body in bodies:
        publisher.publish(body, key=queue, properties=PERSISTENT)
    publisher.expect_confirms(len(bodies))
    publisher.close()


@fact(238, 144)
@clean_or_not
def test_fact_238_durable_things_survive(memory_bench: Bench, clean: bool) -> None:
    ch = memory_bench.channel()
    ch.declare_exchange("x", "fanout", durable=True)
    ch.declare_exchange("y", "fanout", durable=True)
    ch.declare_exchange("transient", "fanout")
    ch.declare_queue("q", durable=True)
    ch.declare_queue("transient")
    ch.declare_queue("exclusive", exclusive=True, durable=True)
    ch.bind_exchange("y", "x")
    ch.bind("q", "y")
    ch.confirm()
    ch.publish(b"persistent", key="q", properties=PERSISTENT)
    ch.publish(b"transient", key="q", properties=Basic.Properties(delivery_mode=1))
    ch.publish(b"unset", key="q")
    ch.publish(b"lost", key="transient", properties=PERSISTENT)
    ch.expect_confirms(4)
    memory_bench.broker.restart(clean=clean)
    ch = memory_bench.channel()
    assert ch.get_bodies("q") == [b"persistent"]
    for gone in ("transient", "exclusive"):
        assert not ch.queue_exists(gone)
    assert not ch.exchange_exists("transient")
    ch.publish(b"bound", exchange="x")
    assert ch.get_bodies("q") == [b"bound"]
    ch.declare_exchange("x", "fanout", durable=True)
    ch.declare_queue("q", durable=True)


@fact(238, 100)
def test_fact_238_bindings_to_transient_queues_do_not(memory_bench: Bench) -> None:
    ch = memory_bench.channel()
    ch.declare_exchange("x", "fanout", durable=True)
    ch.declare_queue("transient")
    ch.bind("transient", "x")
    memory_bench.broker.restart(clean=False)
    ch = memory_bench.channel()
    ch.call(Exchange.Delete(exchange="x", if_unused=True), Exchange.DeleteOk)


@fact(238)
@clean_or_not
def test_fact_238_what_was_deleted_stays_deleted(memory_bench: Bench, clean: bool) -> None:
    ch = memory_bench.channel()
    for name in ("kept", "gone"):
        ch.declare_queue(name, durable=True)
        ch.declare_exchange(name, "fanout", durable=True)
        ch.bind("kept", name)
        _store(ch, name, b"1", b"2")
    ch.delete_queue("gone")
    ch.call(Exchange.Delete(exchange="gone"), Exchange.DeleteOk)
    ch.purge("kept")
    ch.unbind("kept", "kept")
    memory_bench.broker.restart(clean=clean)
    ch = memory_bench.channel()
    assert not ch.queue_exists("gone")
    assert not ch.exchange_exists("gone")
    ch.publish(exchange="kept")
    assert ch.get_bodies("kept") == []


@fact(239, 171)
@clean_or_not
def test_fact_239_unacked_messages_return(memory_bench: Bench, clean: bool) -> None:
    ch = memory_bench.channel()
    ch.declare_queue("q", durable=True)
    _store(ch, "q", b"1", b"2", b"3")
    ch.ack(ch.must_get("q").tag)
    ch.must_get("q")
    ch.sync("q")
    memory_bench.advance(1.0)  # acks may be written a little later
    memory_bench.broker.restart(clean=clean)
    ch = memory_bench.channel()
    ok = ch.declare_queue("q", passive=True)
    assert (ok.message_count, ok.consumer_count) == (2, 0)
    first = ch.must_get("q")
    assert (first.body, first.redelivered) == (b"2", True)
    assert ch.must_get("q").body == b"3"


@fact(171)
def test_fact_171_clean_stop_remembers_what_was_delivered(memory_bench: Bench) -> None:
    ch = memory_bench.channel()
    ch.declare_queue("q", durable=True)
    _store(ch, "q", b"1", b"2")
    ch.must_get("q")
    memory_bench.broker.restart(clean=True)
    ch = memory_bench.channel()
    assert [ch.must_get("q").redelivered for _ in range(2)] == [True, False]


@fact(240, 40)
def test_fact_240_clean_stop_says_why(memory_bench: Bench) -> None:
    peer, other = memory_bench.connect(), memory_bench.connect()
    memory_bench.node.restart(clean=True)
    for each in (peer, other):
        close = each.expect(Connection.Close)
        assert (close.reply_code, close.reply_text) == (320, STOPPED)
        assert (close.class_id, close.method_id) == (0, 0)


@fact(241)
@clean_or_not
def test_fact_241_order_is_kept(memory_bench: Bench, clean: bool) -> None:
    ch = memory_bench.channel()
    ch.declare_queue("q", durable=True)
    bodies = [b"%02d" % number for number in range(20)]
    _store(ch, "q", *bodies)
    tags = [ch.must_get("q").tag for _ in range(10)]
    ch.nack(tags[3])
    ch.ack(tags[5])
    ch.nack(tags[1])
    ch.sync("q")
    memory_bench.advance(1.0)  # acks may be written a little later
    memory_bench.broker.restart(clean=clean)
    ch = memory_bench.channel()
    assert ch.get_bodies("q") == bodies[:5] + bodies[6:]
