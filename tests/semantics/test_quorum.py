"""Quorum queues, of which there is one copy here (facts 228 to 230)."""

from __future__ import annotations

import pytest
from pamqp.commands import Basic, Queue
from pamqp.common import FieldTable

from .conftest import Bench
from .marks import differs_on_reference, fact
from .peer import Channel

QUORUM: FieldTable = {"x-queue-type": "quorum"}


def _declared(bench: Bench) -> tuple[Channel, str]:
    ch, queue = bench.channel(), bench.name()
    ch.declare_queue(queue, durable=True, arguments=QUORUM)
    return ch, queue


@fact(228)
@pytest.mark.parametrize(
    ("durable", "exclusive", "auto_delete", "property_name"),
    [
        (False, False, False, "non-durable"),
        (True, True, False, "exclusive-owner"),
        (False, True, False, "exclusive-owner"),
        (True, False, True, "auto-delete"),
        (False, True, True, "auto-delete"),
    ],
)
def test_fact_228_what_a_quorum_queue_cannot_be(
    bench: Bench, durable: bool, exclusive: bool, auto_delete: bool, property_name: str
) -> None:
    ch, queue = bench.channel(), bench.name()
    declare = Queue.Declare(
        queue=queue,
        durable=durable,
        exclusive=exclusive,
        auto_delete=auto_delete,
        arguments=QUORUM,
    )
    ch.fails(
        declare,
        406,
        f"PRECONDITION_FAILED - invalid property '{property_name}' for queue '{queue}' "
        "in vhost '/'",
    )


@fact(228)
def test_fact_228_a_quorum_queue_has_a_name(bench: Bench) -> None:
    bench.channel().fails(
        Queue.Declare(queue="", durable=True, arguments=QUORUM),
        406,
        "PRECONDITION_FAILED - Cannot declare a server-named queue for type rabbit_quorum_queue",
    )


@fact(228)
@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("x-dead-letter-strategy", "x", "invalid_dlx_strategy"),
        ("x-queue-leader-locator", "x", "invalid_queue_locator_arg"),
        ("x-quorum-initial-group-size", "x", '"expected integer, got longstr"'),
        ("x-single-active-consumer", "x", "{unacceptable_type,longstr}"),
    ],
)
def test_fact_228_arguments_of_quorum_queues(
    bench: Bench, name: str, value: str, reason: str
) -> None:
    ch, queue = bench.channel(), bench.name()
    ch.fails(
        Queue.Declare(queue=queue, durable=True, arguments={**QUORUM, name: value}),
        406,
        f"PRECONDITION_FAILED - invalid arg '{name}' for queue '{queue}' in vhost '/': {reason}",
    )


@fact(229)
@pytest.mark.parametrize("clean", [True, False], ids=["clean", "unclean"])
def test_fact_229_all_messages_of_a_quorum_queue_are_durable(
    memory_bench: Bench, clean: bool
) -> None:
    """The delivery mode that they were published with stays."""
    ch, queue = _declared(memory_bench)
    plain = memory_bench.name()
    ch.declare_queue(plain, durable=True)
    for mode in (1, 2):
        ch.publish(b"%d" % mode, key=queue, properties=Basic.Properties(delivery_mode=mode))
    ch.publish(b"transient", key=plain)
    ch.sync()
    memory_bench.broker.restart(clean=clean)
    ch = memory_bench.channel()
    found = [ch.must_get(queue) for _ in range(2)]
    assert [(each.body, each.properties.delivery_mode) for each in found] == [(b"1", 1), (b"2", 2)]
    assert ch.get(plain) is None


@fact(229)
def test_fact_229_a_confirm_waits_for_the_disk_whatever_the_delivery_mode(
    memory_bench: Bench,
) -> None:
    ch, queue = _declared(memory_bench)
    ch.confirm()
    memory_bench.node.disk_is_slow = True
    ch.publish(b"m", key=queue)
    ch.expect_nothing()
    memory_bench.node.disk_is_slow = False
    ch.expect_confirms(1)


@fact(230)
@differs_on_reference("3.10 serves returned messages in the order in which they came back")
def test_fact_230_returned_messages_go_back_to_their_place(bench: Bench) -> None:
    ch, queue = _declared(bench)
    ch.fill(queue, b"1", b"2", b"3")
    first, second = ch.must_get(queue), ch.must_get(queue)
    ch.nack(second.tag)
    ch.nack(first.tag)
    ch.wait_ready(queue, 3)
    assert ch.get_bodies(queue) == [b"1", b"2", b"3"]


@fact(192)
@differs_on_reference("405: its quorum queues cannot do it")
def test_fact_192_get_works_on_a_quorum_queue_with_single_active_consumer(bench: Bench) -> None:
    ch, queue = bench.channel(), bench.name()
    ch.declare_queue(queue, durable=True, arguments={**QUORUM, "x-single-active-consumer": True})
    ch.fill(queue, b"1")
    assert ch.must_get(queue).body == b"1"
