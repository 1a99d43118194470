"""Slow and broken disks: what waits for the disk, and what an alarm blocks (facts 35, 49 to
52, 150, 154, 157 and 159).
"""

from __future__ import annotations

import pytest
from pamqp.commands import Basic, Connection, Queue, Tx

from .conftest import Bench
from .marks import fact
from .peer import CAPABILITIES, Channel
from .transports import NodeTransport

PERSISTENT = Basic.Properties(delivery_mode=2)


def _on_a_slow_disk(bench: Bench) -> Channel:
    """A channel with the durable queue `durable` and the transient queue `transient`, and a disk
    that waits.
    """
    ch = bench.channel()
    ch.declare_queue("durable", durable=True)
    ch.declare_queue("transient")
    bench.node.disk_is_slow = True
    return ch


@fact(150)
def test_fact_150_persistent_messages_are_confirmed_when_stored(memory_bench: Bench) -> None:
    ch = _on_a_slow_disk(memory_bench)
    ch.confirm()
    ch.publish(b"1", key="durable", properties=PERSISTENT)
    assert not ch.peer.waiting()
    memory_bench.node.disk_is_slow = False
    ch.expect_confirms(1)


@fact(150)
def test_fact_150_others_do_not_wait_for_the_disk(memory_bench: Bench) -> None:
    ch = _on_a_slow_disk(memory_bench)
    ch.confirm()
    ch.publish(b"1", key="transient", properties=PERSISTENT)
    ch.publish(b"2", key="durable")
    ch.publish(b"3", key="nowhere", properties=PERSISTENT)
    ch.expect_confirms(3)


@fact(150, 165)
def test_fact_150_delivery_does_not_wait_for_the_disk(memory_bench: Bench) -> None:
    ch = _on_a_slow_disk(memory_bench)
    ch.consume("durable", "c")
    ch.confirm()
    ch.publish(b"1", key="durable", properties=PERSISTENT)
    ch.expect_delivery(b"1", "c")
    assert not ch.peer.waiting()
    memory_bench.node.disk_is_slow = False
    ch.expect_confirms(1)


@fact(149)
def test_fact_149_no_confirm_covers_a_message_that_waits(memory_bench: Bench) -> None:
    ch = _on_a_slow_disk(memory_bench)
    ch.confirm()
    ch.publish(b"1", key="transient")
    ch.publish(b"2", key="durable", properties=PERSISTENT)
    ch.publish(b"3", key="transient")
    confirmed: set[int] = set()
    for _, item in ch.peer.waiting():
        assert isinstance(item, Basic.Ack)
        tag = item.delivery_tag or 0
        confirmed |= set(range(1, tag + 1)) if item.multiple else {tag}
    assert 1 in confirmed
    assert 2 not in confirmed


@fact(157)
def test_fact_157_commit_ok_waits_for_the_disk(memory_bench: Bench) -> None:
    ch = _on_a_slow_disk(memory_bench)
    ch.call(Tx.Select(), Tx.SelectOk)
    ch.publish(b"1", key="durable", properties=PERSISTENT)
    ch.send(Tx.Commit())
    assert not ch.peer.waiting()
    memory_bench.node.disk_is_slow = False
    ch.expect(Tx.CommitOk)


@fact(159)
def test_fact_159_commands_during_a_commit(memory_bench: Bench) -> None:
    ch = _on_a_slow_disk(memory_bench)
    ch.call(Tx.Select(), Tx.SelectOk)
    ch.publish(b"1", key="durable", properties=PERSISTENT)
    ch.send(Tx.Commit())
    ch.send(Basic.Qos(prefetch_count=1))
    ch.peer.expect_connection_close(
        504, "CHANNEL_ERROR - unexpected command while processing 'tx.commit'"
    )


@fact(154)
def test_fact_154_what_the_disk_refused_is_nacked(memory_bench: Bench) -> None:
    ch = _on_a_slow_disk(memory_bench)
    ch.confirm()
    ch.publish(b"1", key="durable", properties=PERSISTENT)
    memory_bench.node.break_disk()
    assert ch.expect(Basic.Nack).delivery_tag == 1


@fact(154)
def test_fact_154_what_a_broken_disk_would_refuse_is_nacked(memory_bench: Bench) -> None:
    ch = memory_bench.channel()
    ch.declare_queue("durable", durable=True)
    ch.declare_queue("transient")
    ch.confirm()
    memory_bench.node.break_disk()
    ch.publish(b"1", key="durable", properties=PERSISTENT)
    assert ch.peer.expect(Connection.Blocked).reason == "low on disk"
    assert ch.expect(Basic.Nack).delivery_tag == 1
    other = memory_bench.channel()
    other.confirm()
    other.publish(b"2", key="transient")
    other.peer.expect(Connection.Blocked)
    assert other.expect(Basic.Ack).delivery_tag == 1


@fact(154)
def test_fact_154_nothing_durable_on_a_broken_disk(memory_bench: Bench) -> None:
    ch = _on_a_slow_disk(memory_bench)
    ch.send(Queue.Declare(queue="waits", durable=True))
    late = memory_bench.channel()
    memory_bench.node.break_disk()
    why = "INTERNAL_ERROR - the broker's disk failed: nothing can be made durable, see its log"
    ch.peer.expect_connection_close(541, why)
    late.declare_queue("transient too")
    late.send(Queue.Declare(queue="late", durable=True))
    late.peer.expect_connection_close(541, why)


@fact(51, 20)
def test_fact_051_capable_publishers_hear_of_an_alarm(memory_bench: Bench) -> None:
    ch = memory_bench.channel()
    ch.declare_queue("q")
    memory_bench.node.measured(disk_is_low=True)
    assert not ch.peer.waiting()
    ch.publish(key="q")
    assert ch.peer.expect(Connection.Blocked).reason == "low on disk"
    ch.publish(key="q")
    memory_bench.node.measured(disk_is_low=True, memory_is_low=True)
    assert not ch.peer.waiting()
    memory_bench.node.measured(memory_is_low=True)
    assert not ch.peer.waiting()
    memory_bench.node.measured()
    ch.peer.expect(Connection.Unblocked)
    assert not ch.peer.waiting()


@fact(51)
@pytest.mark.parametrize(
    ("memory", "disk", "reason"),
    [
        (True, False, "low on memory"),
        (False, True, "low on disk"),
        (True, True, "low on memory & disk"),
    ],
)
def test_fact_051_the_reason_names_what_is_low(
    memory_bench: Bench, memory: bool, disk: bool, reason: str
) -> None:
    ch = memory_bench.channel()
    memory_bench.node.measured(memory_is_low=memory, disk_is_low=disk)
    ch.publish(exchange="amq.fanout")
    assert ch.peer.expect(Connection.Blocked).reason == reason


@fact(51)
def test_fact_051_every_alarm_is_told_anew(memory_bench: Bench) -> None:
    ch = memory_bench.channel()
    for _ in range(2):
        memory_bench.node.measured(memory_is_low=True)
        ch.publish(exchange="amq.fanout")
        ch.peer.expect(Connection.Blocked)
        memory_bench.node.measured()
        ch.peer.expect(Connection.Unblocked)


@fact(51)
def test_fact_051_who_did_not_publish_hears_nothing(memory_bench: Bench) -> None:
    ch = memory_bench.channel()
    memory_bench.node.measured(memory_is_low=True)
    ch.sync()
    memory_bench.node.measured()
    assert not ch.peer.waiting()


@fact(51, 20)
def test_fact_051_others_do_not(memory_bench: Bench) -> None:
    capabilities = dict(CAPABILITIES)
    del capabilities["connection.blocked"]
    ch = memory_bench.connect(capabilities=capabilities).open_channel()
    memory_bench.node.measured(disk_is_low=True)
    ch.publish(exchange="amq.fanout")
    assert not ch.peer.waiting()
    memory_bench.node.measured()
    assert not ch.peer.waiting()


@fact(35, 51)
def test_fact_035_clients_connect_during_an_alarm(memory_bench: Bench) -> None:
    memory_bench.node.measured(memory_is_low=True)
    ch = memory_bench.channel()
    ch.declare_queue("q")
    assert not ch.peer.waiting()
    ch.publish(key="q")
    ch.peer.expect(Connection.Blocked)


@fact(52)
def test_fact_052_flow_control_is_silent(memory_bench: Bench) -> None:
    ch = _on_a_slow_disk(memory_bench)
    transport = ch.peer.transport
    assert isinstance(transport, NodeTransport)
    body = bytes(1_000_000)
    for _ in range(70):
        ch.publish(body, key="durable", properties=PERSISTENT)
    assert memory_bench.node.is_held_back(transport)
    assert not ch.peer.waiting()
    memory_bench.node.disk_is_slow = False
    assert not memory_bench.node.is_held_back(transport)
    assert not ch.peer.waiting()


@fact(50)
def test_fact_050_an_alarm_stops_publishers_only(memory_bench: Bench) -> None:
    publisher, consumer = memory_bench.channel(), memory_bench.channel()
    consumer.declare_queue("q")
    consumer.fill("q", b"1", b"2")
    memory_bench.node.measured(disk_is_low=True)
    publisher.publish(b"3", key="q")
    publisher.peer.expect(Connection.Blocked)
    publisher.publish(b"4", key="q")
    publisher.send(Basic.Qos(prefetch_count=1))
    assert not publisher.peer.waiting()
    consumer.consume("q", "c")
    consumer.expect_delivery(b"1")
    consumer.ack(1)
    assert b"4" not in [consumer.expect_delivery().body]


@fact(49)
def test_fact_049_heartbeats_of_a_blocked_connection(memory_bench: Bench) -> None:
    peer = memory_bench.connect(heartbeat=10)
    ch = peer.open_channel()
    memory_bench.node.measured(disk_is_low=True)
    ch.publish(exchange="amq.fanout")
    peer.expect(Connection.Blocked)
    memory_bench.advance(100)
    assert not peer.waiting()
    assert not peer.transport.closed
    assert len(peer.heartbeats) >= 9
    memory_bench.node.measured()
    peer.expect(Connection.Unblocked)
    memory_bench.advance(31)
    peer.expect_dropped()
