"""Channels: opening, closing, flow, errors and what a channel remembers (facts 67 to 80)."""

from __future__ import annotations

from pamqp import commands

from . import wire
from .conftest import Bench
from .marks import differs_on_reference, fact
from .peer import Channel


@fact(67, 2)
def test_fact_067_first_method_on_a_channel_must_be_open(bench: Bench) -> None:
    peer = bench.connect()
    peer.send(9, commands.Basic.Qos(prefetch_count=1))
    peer.expect_connection_close(
        504, "CHANNEL_ERROR - expected 'channel.open'", method=commands.Basic.Qos
    )


@fact(68, 2)
def test_fact_068_second_open_ends_the_connection(bench: Bench) -> None:
    ch = bench.channel()
    ch.send(commands.Channel.Open())
    ch.peer.expect_connection_close(
        504, "CHANNEL_ERROR - second 'channel.open' seen", method=commands.Channel.Open
    )


@fact(69)
def test_fact_069_more_channels_than_negotiated(bench: Bench) -> None:
    peer = bench.connect(channel_max=2)
    peer.channel(1).open()
    peer.channel(2).open()
    peer.send(3, commands.Channel.Open())
    close = peer.expect_connection_close(
        530,
        "NOT_ALLOWED - number of channels opened (2) has reached the negotiated channel_max (2)",
    )
    assert (close.class_id, close.method_id) == (0, 0)


@fact(69)
def test_fact_069_a_closed_channel_makes_room(bench: Bench) -> None:
    peer = bench.connect(channel_max=2)
    peer.channel(1).open()
    peer.channel(2).open()
    peer.channel(1).close()
    peer.channel(1).open()


@fact(70)
def test_fact_070_close_requeues_removes_consumers_and_frees_the_number(bench: Bench) -> None:
    ch = bench.channel()
    queue = bench.name()
    ch.declare_queue(queue)
    ch.fill(queue, b"m")
    ch.consume(queue, "c")
    ch.expect_delivery(b"m")
    ch.close()
    ch.open()
    ch.wait_ready(queue, 1)
    assert ch.declare_queue(queue, passive=True).consumer_count == 0
    assert ch.must_get(queue).redelivered


@fact(71)
def test_fact_071_both_sides_close_at_once(bench: Bench) -> None:
    ch = bench.channel()
    ch.send(commands.Queue.Declare(queue="missing-" + bench.name(), passive=True))
    close = ch.expect(commands.Channel.Close)
    assert close.reply_code == 404
    ch.send(commands.Channel.Close(200, "bye", 0, 0))
    ch.expect(commands.Channel.CloseOk)
    ch.send(commands.Channel.CloseOk())
    ch.open()


@fact(72, 8)
def test_fact_072_channel_in_error_ignores_all_but_close_ok(bench: Bench) -> None:
    ch = bench.channel()
    queue = bench.name()
    other = ch.peer.open_channel()
    other.declare_queue(queue)
    other.fill(queue, b"m")
    ch.send(commands.Queue.Declare(queue=bench.name("missing"), passive=True))
    assert ch.expect(commands.Channel.Close).reply_code == 404
    ch.publish(b"late", key=queue)
    ch.ack(1)
    ch.send(commands.Basic.Get(queue=queue))
    ch.send(commands.Queue.Purge(queue=queue))
    ch.send(commands.Channel.CloseOk())
    ch.open()
    ch.expect_nothing(queue)
    assert ch.get_bodies(queue) == [b"m"]


@fact(72)
@differs_on_reference("RabbitMQ answers 504 to a late ack; ours lets late settlements pass")
def test_fact_072_late_ack_after_close_ok_is_ignored(bench: Bench) -> None:
    ch = bench.channel()
    ch.fails(commands.Queue.Purge(queue=bench.name("missing")), 404, reopen=False)
    ch.ack(1)
    ch.nack(1)
    ch.reject(1)
    ch.open()
    ch.expect_nothing()


@fact(73)
def test_fact_073_channel_error_discards_confirms(bench: Bench) -> None:
    ch = bench.channel()
    queue = bench.name()
    ch.declare_queue(queue)
    ch.confirm()
    ch.publish(exchange=bench.name("missing"))
    ch.publish(key=queue)
    ch.expect_channel_close(404)
    ch.open()
    ch.expect_nothing(queue)
    assert ch.get(queue) is None


@fact(74)
def test_fact_074_flow_on_is_answered(bench: Bench) -> None:
    ch = bench.channel()
    assert ch.call(commands.Channel.Flow(True), commands.Channel.FlowOk).active is True


@fact(74)
def test_fact_074_flow_off_is_not_implemented(bench: Bench) -> None:
    ch = bench.channel()
    ch.send(commands.Channel.Flow(False))
    ch.peer.expect_connection_close(
        540, "NOT_IMPLEMENTED - active=false", method=commands.Channel.Flow
    )


@fact(75)
def test_fact_075_access_request_gets_a_ticket(bench: Bench) -> None:
    transport = bench.raw()
    transport.handshake()
    transport.open_channel()
    realm = wire.short_string("/data") + b"\x1f"
    transport.send_raw(wire.method(1, 30, 10, realm))
    answer = b""
    while len(answer) < 14:
        more = transport.transport.receive(5.0)
        assert more, "no answer to access.request"
        answer += more
    assert answer == wire.method(1, 30, 11, b"\x00\x01")


@fact(76)
def test_fact_076_soft_errors_leave_the_connection_and_other_channels(bench: Bench) -> None:
    peer = bench.connect()
    healthy, broken = peer.open_channel(), peer.open_channel()
    queue = bench.name()
    healthy.declare_queue(queue)
    broken.fails(commands.Queue.Purge(queue=bench.name("missing")), 404, reopen=False)
    healthy.fill(queue, b"m")
    assert peer.is_alive()


@fact(76)
def test_fact_076_hard_errors_end_every_channel(bench: Bench) -> None:
    peer = bench.connect()
    one, two = peer.open_channel(), peer.open_channel()
    queue = bench.name()
    one.declare_queue(queue, exclusive=True)
    two.send(commands.Channel.Flow(False))
    peer.expect_connection_close(540)
    assert not bench.channel().queue_exists(queue)


@fact(78)
def test_fact_078_methods_may_follow_each_other_without_waiting(bench: Bench) -> None:
    ch = bench.channel()
    queue = bench.name()
    ch.send(commands.Queue.Declare(queue=queue))
    ch.send(commands.Basic.Qos(prefetch_count=1))
    ch.publish(b"m", key=queue)
    ch.send(commands.Basic.Consume(queue=queue, consumer_tag="c"))
    ch.expect(commands.Queue.DeclareOk)
    ch.expect(commands.Basic.QosOk)
    ch.expect(commands.Basic.ConsumeOk)
    ch.expect_delivery(b"m")


@fact(79)
def test_fact_079_empty_name_is_the_last_queue_declared_here(bench: Bench) -> None:
    ch = bench.channel()
    queue, exchange = bench.name(), bench.name("x")
    ch.declare_exchange(exchange)
    ch.declare_queue(bench.name())
    ch.declare_queue(queue)
    ch.bind("", exchange, "k")
    ch.publish(b"1", exchange=exchange, key="k")
    ch.wait_ready(queue, 1)
    assert ch.must_get("").body == b"1"
    ch.unbind("", exchange, "k")
    ch.fill(queue, b"2")
    assert ch.purge("") == 1
    tag = ch.consume("")
    ch.publish(b"3", key=queue)
    ch.expect_delivery(b"3", tag)
    ch.cancel(tag)
    ch.delete_queue("")
    assert not ch.queue_exists(queue)


@fact(79)
def test_fact_079_empty_queue_and_key_bind_by_the_queue_name(bench: Bench) -> None:
    ch = bench.channel()
    queue, exchange = bench.name(), bench.name("x")
    ch.declare_exchange(exchange)
    ch.declare_queue(queue)
    ch.bind("", exchange, "")
    ch.publish(b"m", exchange=exchange, key=queue)
    ch.wait_ready(queue, 1)
    ch.unbind("", exchange, "")
    ch.publish(b"m", exchange=exchange, key=queue)
    ch.sync(queue)
    ch.wait_ready(queue, 1)


@fact(79)
def test_fact_079_no_queue_declared_on_this_channel(ch: Channel) -> None:
    text = "NOT_FOUND - no previously declared queue"
    for question in (
        commands.Basic.Get(queue=""),
        commands.Basic.Consume(queue=""),
        commands.Queue.Delete(queue=""),
        commands.Queue.Purge(queue=""),
        commands.Queue.Bind(queue="", exchange="amq.direct", routing_key="k"),
        commands.Queue.Unbind(queue="", exchange="amq.direct", routing_key="k"),
    ):
        ch.fails(question, 404, text)


@fact(79)
def test_fact_079_passive_declare_of_the_empty_name_is_not_expanded(bench: Bench) -> None:
    ch = bench.channel()
    ch.declare_queue(bench.name())
    ch.fails(
        commands.Queue.Declare(queue="", passive=True), 404, "NOT_FOUND - no queue '' in vhost '/'"
    )


@fact(80)
def test_fact_080_nowait_has_no_answer(bench: Bench) -> None:
    ch = bench.channel()
    queue, exchange = bench.name(), bench.name("x")
    ch.send(commands.Exchange.Declare(exchange=exchange, exchange_type="fanout", nowait=True))
    ch.send(commands.Queue.Declare(queue=queue, nowait=True))
    ch.send(commands.Queue.Bind(queue=queue, exchange=exchange, routing_key="", nowait=True))
    ch.send(commands.Basic.Consume(queue=queue, consumer_tag="c", nowait=True))
    ch.send(commands.Confirm.Select(nowait=True))
    ch.publish(b"m", exchange=exchange)
    seen = {type(ch.peer.next_item(1)).__name__ for _ in range(2)}
    assert seen == {"Message", "Ack"}
    ch.send(commands.Basic.Cancel(consumer_tag="c", nowait=True))
    ch.send(commands.Queue.Purge(queue=queue, nowait=True))
    ch.send(commands.Queue.Delete(queue=queue, nowait=True))
    ch.send(commands.Exchange.Delete(exchange=exchange, nowait=True))
    ch.expect_nothing()
    assert not ch.queue_exists(queue)
    assert not ch.exchange_exists(exchange)


@fact(80)
def test_fact_080_nowait_still_reports_errors(bench: Bench) -> None:
    ch = bench.channel()
    queue = bench.name("missing")
    ch.fails(
        commands.Queue.Bind(queue=queue, exchange="amq.direct", routing_key="k", nowait=True),
        404,
        f"NOT_FOUND - no queue '{queue}' in vhost '/'",
    )
