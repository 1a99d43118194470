"""What RabbitMQ's clusters do, on a node that is alone (facts 53, 134 and 190)."""

from __future__ import annotations

import pytest
from pamqp.commands import Basic, Connection

from .conftest import Bench
from .marks import fact
from .peer import CAPABILITIES

PERSISTENT = Basic.Properties(delivery_mode=2)


@fact(53)
def test_fact_053_an_alarm_holds_for_every_publisher(memory_bench: Bench) -> None:
    """The node is the cluster: whoever publishes hears of it."""
    capabilities = {**CAPABILITIES, "connection.blocked": True}
    peers = [memory_bench.connect(capabilities=capabilities) for _ in range(3)]
    channels = [peer.open_channel() for peer in peers]
    memory_bench.node.break_disk()
    for ch in channels:
        ch.publish(b"m", key="q")
        assert ch.peer.expect(Connection.Blocked).reason == "low on disk"


@fact(134)
@pytest.mark.parametrize("clean", [True, False], ids=["clean", "unclean"])
def test_fact_134_a_durable_queue_is_never_down(memory_bench: Bench, clean: bool) -> None:
    """Who can be asked for a queue has it: there is no other node that it could be missing on."""
    memory_bench.channel().declare_queue("q", durable=True)
    memory_bench.broker.restart(clean=clean)
    ch = memory_bench.channel()
    assert ch.declare_queue("q", passive=True).message_count == 0
    ch.declare_queue("q", durable=True)


@fact(190)
def test_fact_190_the_argument_for_failovers_is_accepted(bench: Bench) -> None:
    ch = bench.channel()
    queue = bench.name()
    ch.declare_queue(queue)
    ch.consume(queue, "c", arguments={"x-cancel-on-ha-failover": True})
    ch.publish(b"m", key=queue)
    ch.expect_delivery(b"m", "c")
