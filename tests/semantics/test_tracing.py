"""The firehose (fact 242), which is switched on from outside of AMQP."""

from __future__ import annotations

from pamqp.commands import Basic

from tests.core.house import core

from .conftest import Bench
from .marks import fact
from .peer import Channel

TRACE = "amq.rabbitmq.trace"


def _traced(bench: Bench) -> tuple[Channel, Channel]:
    """A channel to be watched, and one that has all traces in its queue `traces`."""
    watcher = bench.channel()
    watcher.declare_queue("traces")
    watcher.bind("traces", TRACE, "#")
    core(bench.node.node).vhosts["/"].trace(True)
    ch = bench.channel()
    ch.declare_queue("q")
    return ch, watcher


@fact(242)
def test_fact_242_publishes_are_copied(memory_bench: Bench) -> None:
    ch, watcher = _traced(memory_bench)
    properties = Basic.Properties(
        content_type="text/plain",
        priority=3,
        headers={"mine": "x", "BCC": ["nobody"]},
        delivery_mode=2,
    )
    ch.publish(b"body", exchange="", key="q", properties=properties)
    trace = watcher.must_get("traces")
    assert (trace.body, trace.method.exchange) == (b"body", TRACE)  # type: ignore[attr-defined]
    assert trace.routing_key == "publish."
    headers = trace.properties.headers or {}
    assert headers["exchange_name"] == ""
    assert headers["routing_keys"] == ["q"]
    assert headers["routed_queues"] == ["q"]
    assert headers["properties"] == {
        "content_type": "text/plain",
        "headers": {"mine": "x"},
        "delivery_mode": 2,
        "priority": 3,
    }
    assert (headers["vhost"], headers["user"], headers["channel"]) == ("/", "guest", 1)
    assert headers["node"]
    assert headers["connection"]


@fact(242)
def test_fact_242_deliveries_are_copied(memory_bench: Bench) -> None:
    ch, watcher = _traced(memory_bench)
    ch.publish(b"1", exchange="amq.direct", key="nowhere")
    ch.publish(b"2", key="q")
    first = ch.must_get("q")
    ch.nack(first.tag)
    ch.consume("q", "c")
    ch.expect_delivery(b"2")
    traces = [watcher.must_get("traces") for _ in range(4)]
    assert [trace.routing_key for trace in traces] == [
        "publish.amq.direct",
        "publish.",
        "deliver.q",
        "deliver.q",
    ]
    marks = [(trace.properties.headers or {}).get("redelivered") for trace in traces]
    assert marks == [None, None, 0, 1]


@fact(242)
def test_fact_242_traces_are_not_traced(memory_bench: Bench) -> None:
    _, watcher = _traced(memory_bench)
    watcher.publish(b"m", key="q")
    watcher.consume("traces", "c", no_ack=True)
    watcher.expect_delivery(b"m")
    watcher.expect_nothing()


@fact(242)
def test_fact_242_it_ends_when_it_is_switched_off(memory_bench: Bench) -> None:
    ch, watcher = _traced(memory_bench)
    core(memory_bench.node.node).vhosts["/"].trace(False)
    ch.publish(b"m", key="q")
    ch.must_get("q")
    assert watcher.get("traces") is None
