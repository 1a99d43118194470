"""There are no streams: who asks for one is told so (facts 231 to 233)."""

from __future__ import annotations

from pamqp.commands import Basic, Queue

from .conftest import Bench
from .marks import differs_on_reference, fact


@fact(231)
@differs_on_reference("RabbitMQ has streams")
def test_fact_231_a_stream_is_refused(bench: Bench) -> None:
    ch = bench.channel()
    queue = bench.name()
    ch.fails(
        Queue.Declare(queue=queue, durable=True, arguments={"x-queue-type": "stream"}),
        406,
        f"PRECONDITION_FAILED - invalid arg 'x-queue-type' for queue '{queue}' in vhost '/': "
        "\"unsupported queue type 'stream'\"",
    )
    assert not ch.queue_exists(queue)


@fact(232)
def test_fact_232_an_offset_is_refused_where_there_is_no_stream(bench: Bench) -> None:
    ch = bench.channel()
    queue = bench.name()
    ch.declare_queue(queue)
    ch.fails(
        Basic.Consume(queue=queue, arguments={"x-stream-offset": "first"}),
        406,
        f"PRECONDITION_FAILED - invalid arg 'x-stream-offset' for queue '{queue}' in vhost '/' "
        "of queue type rabbit_classic_queue",
    )


@fact(233)
def test_fact_233_retention_is_refused_where_there_is_no_stream(bench: Bench) -> None:
    ch = bench.channel()
    for argument, value in (("x-max-age", "1h"), ("x-stream-max-segment-size-bytes", 1_000_000)):
        ch.fails(Queue.Declare(queue=bench.name(), arguments={argument: value}), 406)


@fact(232)
def test_fact_232_settling_removes_a_message(bench: Bench) -> None:
    ch = bench.channel()
    queue = bench.name()
    ch.declare_queue(queue)
    ch.fill(queue, b"m")
    ch.must_get(queue, no_ack=True)
    ch.send(Basic.Get(queue=queue))
    ch.expect(Basic.GetEmpty)
