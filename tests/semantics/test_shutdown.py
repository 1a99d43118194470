"""Closing connections, heartbeats and blocked publishers (facts 37 to 39 and 45 to 50)."""

from __future__ import annotations

from pamqp import heartbeat
from pamqp.commands import Channel as ChannelClass
from pamqp.commands import Connection, Queue

from . import wire
from .conftest import Bench
from .marks import fact


@fact(37)
def test_fact_037_close_requeues_and_deletes_before_close_ok(bench: Bench) -> None:
    ch, watcher = bench.channel(), bench.channel()
    queue, exclusive = bench.name(), bench.name()
    ch.declare_queue(queue)
    ch.declare_queue(exclusive, exclusive=True)
    ch.fill(queue, b"m")
    ch.must_get(queue)
    ch.peer.close()
    assert not watcher.queue_exists(exclusive)
    watcher.wait_ready(queue, 1)
    assert watcher.must_get(queue).redelivered


@fact(37)
def test_fact_037_an_exclusive_name_can_be_taken_again_at_once(bench: Bench) -> None:
    queue = bench.name()
    for _ in range(3):
        ch = bench.channel()
        ch.declare_queue(queue, exclusive=True)
        ch.peer.close()


@fact(38)
def test_fact_038_errors_end_the_channels_before_the_close_is_sent(bench: Bench) -> None:
    ch, watcher = bench.channel(), bench.channel()
    exclusive = bench.name()
    ch.declare_queue(exclusive, exclusive=True)
    ch.send(ChannelClass.Flow(False))
    close = ch.peer.expect(Connection.Close)
    assert close.reply_code == 540
    assert not watcher.queue_exists(exclusive)


@fact(38)
def test_fact_038_all_but_close_ok_is_ignored_then(bench: Bench) -> None:
    ch, watcher = bench.channel(), bench.channel()
    queue = bench.name()
    watcher.declare_queue(queue)
    ch.send(ChannelClass.Flow(False))
    assert ch.peer.expect(Connection.Close).reply_code == 540
    ch.publish(b"late", key=queue)
    ch.send(Queue.Delete(queue=queue))
    ch.peer.send(0, Connection.CloseOk())
    ch.peer.expect_dropped()
    watcher.sync(queue)
    watcher.wait_ready(queue, 0)


@fact(38)
def test_fact_038_a_client_that_never_answers_is_dropped(memory_bench: Bench) -> None:
    ch = memory_bench.channel()
    ch.send(ChannelClass.Flow(False))
    assert ch.peer.expect(Connection.Close).reply_code == 540
    memory_bench.advance(31)
    ch.peer.expect_dropped()


@fact(39)
def test_fact_039_close_while_closing_is_answered(bench: Bench) -> None:
    ch = bench.channel()
    ch.send(ChannelClass.Flow(False))
    assert ch.peer.expect(Connection.Close).reply_code == 540
    ch.peer.send(0, Connection.Close(200, "bye", 0, 0))
    ch.peer.expect(Connection.CloseOk)


@fact(45)
def test_fact_045_silence_is_filled_with_heartbeats(memory_bench: Bench) -> None:
    peer = memory_bench.connect(heartbeat=10)
    for _ in range(5):
        memory_bench.advance(10)
        peer.send(0, heartbeat.Heartbeat())
        assert not peer.waiting()
        assert peer.heartbeats
        assert set(peer.heartbeats) == {0}
        peer.heartbeats.clear()


@fact(45)
def test_fact_045_other_writes_take_their_place(memory_bench: Bench) -> None:
    peer = memory_bench.connect(heartbeat=10)
    ch = peer.open_channel()
    for _ in range(20):
        memory_bench.advance(2.0)
        ch.sync()
    assert peer.heartbeats == []


@fact(46, 47)
def test_fact_046_a_silent_peer_is_dropped_between_two_and_three_intervals(
    memory_bench: Bench,
) -> None:
    peer = memory_bench.connect(heartbeat=10)
    memory_bench.advance(19.5)
    assert not peer.waiting()
    assert not peer.transport.closed
    memory_bench.advance(11)
    peer.expect_dropped()


@fact(46)
def test_fact_046_any_bytes_are_a_sign_of_life(memory_bench: Bench) -> None:
    peer = memory_bench.connect(heartbeat=10)
    queue = memory_bench.name()
    ch = peer.open_channel()
    ch.declare_queue(queue)
    peer.send_raw(wire.publish(ch.number, "", queue) + wire.header(ch.number, 8))
    whole = wire.body(ch.number, b"a part a")
    for byte in whole:
        memory_bench.advance(9.0)
        peer.send_raw(bytes([byte]))
    ch.wait_ready(queue, 1)
    assert peer.is_alive()


@fact(47)
def test_fact_047_what_a_dead_peer_held_is_requeued(memory_bench: Bench) -> None:
    ch, watcher = memory_bench.connect(heartbeat=10).open_channel(), memory_bench.channel()
    queue = memory_bench.name()
    ch.declare_queue(queue)
    ch.fill(queue, b"m")
    ch.must_get(queue)
    memory_bench.advance(31)
    watcher.wait_ready(queue, 1)
    assert watcher.must_get(queue).redelivered


@fact(48)
def test_fact_048_heartbeat_on_another_channel(bench: Bench) -> None:
    peer = bench.connect()
    peer.send_raw(wire.frame(wire.HEARTBEAT, 1, b""))
    peer.expect_connection_close(505)


@fact(48)
def test_fact_048_heartbeat_with_a_payload(bench: Bench) -> None:
    peer = bench.connect()
    peer.send_raw(wire.frame(wire.HEARTBEAT, 0, b"x"))
    peer.expect_connection_close(501)
