"""How often a message may come back, and how consumers are told."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from pamqp.commands import Basic
from pamqp.common import FieldTable

from .conftest import Bench
from .marks import differs_on_reference, fact
from .peer import Channel


def _limited(bench: Bench, limit: int | None) -> tuple[Channel, str]:
    ch = bench.channel()
    queue = bench.name()
    arguments: FieldTable = {"x-queue-type": "quorum"}
    if limit is not None:
        arguments["x-delivery-limit"] = limit
    ch.declare_queue(queue, durable=True, arguments=arguments)
    return ch, queue


@fact(221)
def test_fact_221_over_the_limit_a_message_is_dropped(bench: Bench) -> None:
    ch, queue = _limited(bench, 2)
    ch.fill(queue, b"1", b"2")
    counts = []
    for _ in range(3):
        message = ch.must_get(queue)
        assert message.body == b"1"
        counts.append(message.headers.get("x-delivery-count") or None)
        ch.nack(message.tag)
        ch.sync(queue)
    assert counts == [None, 1, 2]
    ch.wait_ready(queue, 1)
    assert ch.must_get(queue).body == b"2"


@fact(221)
def test_fact_221_no_limit_by_default(bench: Bench) -> None:
    ch, queue = _limited(bench, None)
    ch.fill(queue, b"1")
    for count in range(30):
        message = ch.must_get(queue)
        # The reference says 0 to a basic.get.
        assert (message.headers.get("x-delivery-count") or 0) == count
        assert message.redelivered == (count > 0)
        ch.nack(message.tag)
        ch.wait_ready(queue, 1)


@fact(221)
def test_fact_221_consumers_are_told_the_count(bench: Bench) -> None:
    ch, queue = _limited(bench, 5)
    ch.fill(queue, b"1", properties=Basic.Properties(headers={"mine": 1}))
    ch.consume(queue)
    ch.nack(ch.expect_delivery(b"1").tag)
    second = ch.expect_delivery(b"1")
    assert second.headers == {"mine": 1, "x-delivery-count": 1}
    assert second.redelivered


@fact(221)
@differs_on_reference("its classic queues have no delivery limit")
def test_fact_221_every_type_of_queue_has_it(bench: Bench) -> None:
    ch = bench.channel()
    queue = bench.name()
    ch.declare_queue(queue, arguments={"x-delivery-limit": 1})
    ch.fill(queue, b"1")
    ch.nack(ch.must_get(queue).tag)
    message = ch.must_get(queue)
    assert message.headers == {"x-delivery-count": 1}
    ch.nack(message.tag)
    ch.wait_ready(queue, 0)
    other = bench.name()
    ch.declare_queue(other)
    ch.fill(other, b"1")
    ch.nack(ch.must_get(other).tag)
    assert ch.must_get(other).headers == {}


@fact(178)
@pytest.mark.parametrize(
    "give_back",
    [
        lambda ch, tag: ch.nack(tag),
        lambda ch, tag: ch.nack(tag, multiple=True),
        lambda ch, tag: ch.reject(tag),
        lambda ch, tag: ch.call(Basic.Recover(requeue=True), Basic.RecoverOk),
    ],
    ids=["nack", "nack multiple", "reject", "recover"],
)
def test_fact_178_every_return_counts(
    bench: Bench, give_back: Callable[[Channel, int], object]
) -> None:
    ch, queue = _limited(bench, 5)
    ch.fill(queue, b"1")
    give_back(ch, ch.must_get(queue).tag)
    ch.wait_ready(queue, 1)
    assert ch.must_get(queue).headers == {"x-delivery-count": 1}


@fact(178)
def test_fact_178_a_lost_channel_counts(bench: Bench) -> None:
    ch, queue = _limited(bench, 5)
    ch.fill(queue, b"1")
    other = bench.channel()
    other.must_get(queue)
    other.close()
    ch.wait_ready(queue, 1)
    assert ch.must_get(queue).headers == {"x-delivery-count": 1}


@fact(221)
@pytest.mark.parametrize("clean", [True, False], ids=["clean", "unclean"])
def test_fact_221_a_restart_goes_on_counting(memory_bench: Bench, clean: bool) -> None:
    bench = memory_bench
    ch, queue = _limited(bench, 5)
    ch.fill(queue, b"1", b"2", properties=Basic.Properties(delivery_mode=2))
    for _ in range(2):
        ch.nack(ch.must_get(queue).tag)
    bench.advance(0.1)
    bench.broker.restart(clean=clean)
    ch = bench.channel()
    assert ch.must_get(queue).headers == {"x-delivery-count": 2}
    assert ch.must_get(queue).headers == {}
