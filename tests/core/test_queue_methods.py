"""queue.*: a refused method changes nothing, and replies wait for the journal."""

from __future__ import annotations

import pytest
from pamqp import base
from pamqp.commands import Basic, Queue

from amqbroker.config import Config, Vhost
from tests.core.house import House, assert_each_waits_for_the_disk, core, items
from tests.semantics.peer import Channel


@pytest.mark.parametrize(
    "method",
    [
        Queue.Declare(queue="q", durable=True),
        Queue.Declare(queue="q", auto_delete=True),
        Queue.Declare(queue="q", arguments={"x-max-length": 4}),
        Queue.Delete(queue="q", if_empty=True),
        Queue.Delete(queue="q", if_unused=True),
    ],
    ids=lambda method: str(dict(method)),
)
def test_a_refused_method_leaves_the_queue_as_it_is(
    house: House, ch: Channel, method: base.Frame
) -> None:
    ch.declare_queue("q", arguments={"x-max-length": 5})
    ch.fill("q", b"m")
    other = house.channel()
    other.qos(1)
    ch.bind("q", "amq.fanout")
    blocked = house.channel()
    blocked.qos(1)
    blocked.consume("q")
    blocked.expect_delivery(b"m")
    ch.fill("q", b"n")
    before = house.queue("q")
    ch.fails(method, 406)
    assert house.queue("q") is before
    assert (before.line.ready.count, before.durable, before.auto_delete) == (1, False, False)
    assert before.arguments == {"x-max-length": 5}


@pytest.mark.parametrize(
    "arguments",
    [
        {"x-expires": 0},
        {"x-queue-type": "quorum"},
        {"x-dead-letter-exchange": 5},
        {"x-dead-letter-routing-key": "k"},
    ],
)
def test_a_refused_declaration_makes_no_queue(
    house: House, ch: Channel, arguments: dict[str, object]
) -> None:
    before = core(house.node).next_queue_id
    method = Queue.Declare(queue="q", arguments=arguments)  # type: ignore[arg-type]
    ch.fails(method, 406)
    assert not ch.queue_exists("q")
    assert core(house.node).next_queue_id == before


def test_declare_ok_waits_until_the_queue_outlives_a_crash(house: House, ch: Channel) -> None:
    house.disk_is_slow = True
    ch.send(Queue.Declare(queue="q", durable=True))
    assert items(ch) == []
    house.disk_is_slow = False
    ch.expect(Queue.DeclareOk)
    house.restart(clean=False)
    assert house.channel().queue_exists("q")


def test_every_durable_change_waits(house: House, ch: Channel) -> None:
    ch.declare_queue("q", durable=True)
    changes: list[tuple[base.Frame, type[base.Frame]]] = [
        (Queue.Bind(queue="q", exchange="amq.fanout"), Queue.BindOk),
        (Queue.Unbind(queue="q", exchange="amq.fanout"), Queue.UnbindOk),
        (Queue.Delete(queue="q"), Queue.DeleteOk),
    ]
    assert_each_waits_for_the_disk(house, ch, changes)


def test_what_is_not_durable_does_not_wait(house: House, ch: Channel) -> None:
    house.disk_is_slow = True
    ch.declare_queue("q")
    ch.bind("q", "amq.fanout")
    ch.bind("q", "amq.fanout")
    ch.unbind("q", "amq.fanout")
    ch.delete_queue("q")


def test_nowait_says_nothing_and_does_it_all_the_same(house: House, ch: Channel) -> None:
    ch.send(Queue.Declare(queue="q", nowait=True))
    ch.send(Queue.Bind(queue="q", exchange="amq.fanout", nowait=True))
    ch.publish(b"m", exchange="amq.fanout")
    ch.send(Queue.Purge(queue="q", nowait=True))
    ch.expect_nothing()
    assert house.queue("q").line.ready.count == 0
    ch.send(Queue.Delete(queue="q", nowait=True))
    ch.expect_nothing()
    assert not ch.queue_exists("q")


def test_made_up_names_differ(ch: Channel) -> None:
    names = {ch.declare_queue("").queue for _ in range(50)}
    assert len(names) == 50


def test_a_limit_of_queues_counts_those_that_are_there(house: House) -> None:
    house.vhost().max_queues = 2
    ch = house.channel()
    ch.declare_queue("a")
    ch.declare_queue("b")
    ch.fails(
        Queue.Declare(queue="c"),
        406,
        "PRECONDITION_FAILED - cannot declare queue 'c': queue limit in vhost '/' (2) is reached",
    )
    ch.declare_queue("a")
    ch.delete_queue("b")
    ch.declare_queue("c")
    assert Config(vhosts=(Vhost("/", max_queues=2),)).vhosts[0].max_queues == 2


def test_deleting_a_queue_takes_its_bindings_from_every_exchange(house: House, ch: Channel) -> None:
    ch.declare_queue("q")
    ch.declare_exchange("x", "direct", auto_delete=True)
    for exchange in ("x", "amq.direct", "amq.topic"):
        ch.bind("q", exchange, "k")
    ch.delete_queue("q")
    exchanges = house.vhost().exchanges
    assert "x" not in exchanges
    assert not any(exchange.has_bindings() for exchange in exchanges.values())


def test_counts_are_those_of_now(ch: Channel) -> None:
    ch.declare_queue("q")
    ch.fill("q", b"0", b"1", b"2")
    ch.must_get("q")
    ch.qos(1)
    ch.send(Basic.Consume(queue="q", consumer_tag="t"))
    ch.expect(Basic.ConsumeOk)
    ch.expect_delivery(b"1")
    ok = ch.declare_queue("q")
    assert (ok.message_count, ok.consumer_count) == (1, 1)
