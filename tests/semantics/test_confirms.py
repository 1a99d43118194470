"""Publisher confirms and transactions (facts 147 to 160)."""

from __future__ import annotations

import pytest
from pamqp.commands import Basic, Confirm, Tx

from .conftest import Bench
from .marks import differs_on_reference, fact
from .peer import Channel

PERSISTENT = Basic.Properties(delivery_mode=2)


def _select(ch: Channel) -> None:
    ch.call(Tx.Select(), Tx.SelectOk)


def _commit(ch: Channel) -> None:
    ch.call(Tx.Commit(), Tx.CommitOk)


def _rollback(ch: Channel) -> None:
    ch.call(Tx.Rollback(), Tx.RollbackOk)


@fact(147)
def test_fact_147_confirm_select_twice(bench: Bench) -> None:
    ch = bench.channel()
    ch.confirm()
    ch.publish(exchange="amq.fanout")
    ch.expect_confirms(1)
    ch.confirm()
    ch.publish(exchange="amq.fanout")
    ch.expect_confirms(2, first=2)


@fact(147)
def test_fact_147_confirm_and_tx_exclude_each_other(bench: Bench) -> None:
    ch = bench.channel()
    ch.confirm()
    ch.fails(Tx.Select(), 406, "PRECONDITION_FAILED - cannot switch from confirm to tx mode")
    _select(ch)
    ch.fails(Confirm.Select(), 406, "PRECONDITION_FAILED - cannot switch from tx to confirm mode")


@fact(148)
def test_fact_148_sequence_starts_at_one_after_select(bench: Bench) -> None:
    ch = bench.channel()
    queue = bench.name()
    ch.declare_queue(queue)
    ch.publish(key=queue)
    ch.publish(key=queue)
    ch.confirm()
    ch.publish(key=queue)
    assert ch.expect(Basic.Ack).delivery_tag == 1
    other = ch.peer.open_channel()
    other.confirm()
    other.publish(key=queue)
    assert other.expect(Basic.Ack).delivery_tag == 1


@fact(149)
def test_fact_149_every_publish_is_confirmed_once(bench: Bench) -> None:
    ch = bench.channel()
    durable, transient = bench.name(), bench.name()
    ch.declare_queue(durable, durable=True)
    ch.declare_queue(transient)
    ch.confirm()
    for number in range(60):
        ch.publish(
            b"%d" % number,
            key=(durable, transient, "nowhere-" + durable)[number % 3],
            properties=PERSISTENT,
        )
    ch.expect_confirms(60)
    ch.expect_nothing()


@fact(149)
def test_fact_149_multiple_does_not_jump_over_a_nack(bench: Bench) -> None:
    ch = bench.channel()
    full, free = bench.name(), bench.name()
    ch.declare_queue(full, arguments={"x-max-length": 0, "x-overflow": "reject-publish"})
    ch.declare_queue(free)
    ch.confirm()
    for number in range(1, 31):
        ch.publish(key=full if number % 5 == 0 else free)
    open_tags = set(range(1, 31))
    nacked: set[int] = set()
    while open_tags:
        item = ch.peer.next_item(ch.number)
        assert isinstance(item, Basic.Ack | Basic.Nack)
        tag = item.delivery_tag or 0
        done = {n for n in open_tags if n == tag or (item.multiple and n <= tag)}
        if isinstance(item, Basic.Nack):
            nacked |= done
        open_tags -= done
    assert nacked == {5, 10, 15, 20, 25, 30}


@fact(150)
@pytest.mark.parametrize("durable", [False, True])
@pytest.mark.parametrize("mode", [1, 2])
def test_fact_150_confirmed_messages_are_in_the_queue(
    bench: Bench, durable: bool, mode: int
) -> None:
    ch = bench.channel()
    queue = bench.name()
    ch.declare_queue(queue, durable=durable)
    ch.confirm()
    ch.publish(b"m", key=queue, properties=Basic.Properties(delivery_mode=mode))
    ch.expect_confirms(1)
    assert ch.get_bodies(queue) == [b"m"]


@fact(150)
def test_fact_150_consumed_and_acked_is_confirmed(bench: Bench) -> None:
    ch = bench.channel()
    queue = bench.name()
    ch.declare_queue(queue, durable=True)
    ch.consume(queue, "c", no_ack=True)
    ch.confirm()
    ch.publish(b"m", key=queue, properties=PERSISTENT)
    seen = {type(ch.peer.next_item(ch.number)).__name__ for _ in range(2)}
    assert seen == {"Message", "Ack"}


@fact(151)
def test_fact_151_one_refusing_queue_makes_a_nack(bench: Bench) -> None:
    ch = bench.channel()
    x, full, free = bench.name("x"), bench.name(), bench.name()
    ch.declare_exchange(x, "fanout")
    ch.declare_queue(full, arguments={"x-max-length": 1, "x-overflow": "reject-publish"})
    ch.declare_queue(free)
    ch.fill(full, b"0")
    ch.bind(full, x)
    ch.bind(free, x)
    ch.confirm()
    ch.publish(b"1", exchange=x)
    assert ch.expect(Basic.Nack).delivery_tag == 1
    ch.expect_nothing(full)
    assert ch.get_bodies(free) == [b"1"]
    assert ch.get_bodies(full) == [b"0"]


@fact(153)
def test_fact_153_refusal_is_silent_without_confirms(bench: Bench) -> None:
    ch = bench.channel()
    queue = bench.name()
    ch.declare_queue(queue, arguments={"x-max-length": 0, "x-overflow": "reject-publish"})
    ch.publish(key=queue)
    ch.expect_nothing(queue)
    assert ch.get_bodies(queue) == []


@fact(154)
def test_fact_154_unroutable_is_acked_never_nacked(bench: Bench) -> None:
    ch = bench.channel()
    ch.confirm()
    ch.publish(key=bench.name("missing"), mandatory=True, properties=PERSISTENT)
    ch.expect_return()
    assert ch.expect(Basic.Ack).delivery_tag == 1


@fact(155)
def test_fact_155_tx_select_twice(bench: Bench) -> None:
    ch = bench.channel()
    queue = bench.name()
    ch.declare_queue(queue)
    _select(ch)
    ch.publish(b"m", key=queue)
    _select(ch)
    _commit(ch)
    ch.wait_ready(queue, 1)


@fact(155)
def test_fact_155_not_transactional(ch: Channel) -> None:
    text = "PRECONDITION_FAILED - channel is not transactional"
    ch.fails(Tx.Commit(), 406, text)
    ch.fails(Tx.Rollback(), 406, text)


@fact(156)
def test_fact_156_publishes_wait_for_the_commit(bench: Bench) -> None:
    ch = bench.channel()
    queue = bench.name()
    ch.declare_queue(queue)
    _select(ch)
    ch.publish(b"1", key=queue)
    ch.publish(b"2", key=queue)
    ch.sync(queue)
    ch.wait_ready(queue, 0)
    assert ch.get(queue) is None
    _commit(ch)
    ch.wait_ready(queue, 2)
    assert ch.get_bodies(queue) == [b"1", b"2"]


@fact(156)
def test_fact_156_acks_wait_for_the_commit(bench: Bench) -> None:
    ch = bench.channel()
    queue = bench.name()
    ch.declare_queue(queue)
    ch.fill(queue, b"1", b"2")
    _select(ch)
    ch.ack(ch.must_get(queue).tag)
    ch.reject(ch.must_get(queue).tag, requeue=True)
    ch.sync(queue)
    ch.wait_ready(queue, 0)
    _commit(ch)
    ch.wait_ready(queue, 1)
    ch.close()
    ch.open()
    ch.sync(queue)
    ch.wait_ready(queue, 1)
    assert ch.must_get(queue).body == b"2"


@fact(156)
def test_fact_156_missing_exchange_is_reported_at_once(bench: Bench) -> None:
    ch = bench.channel()
    _select(ch)
    ch.publish(exchange=bench.name("missing"))
    ch.expect_channel_close(404, method=Basic.Publish)


@fact(156)
def test_fact_156_routing_happens_at_publish(bench: Bench) -> None:
    ch = bench.channel()
    x, queue = bench.name("x"), bench.name()
    ch.declare_exchange(x, "fanout")
    ch.declare_queue(queue)
    _select(ch)
    ch.publish(b"before", exchange=x)
    ch.bind(queue, x)
    ch.publish(b"after", exchange=x)
    _commit(ch)
    ch.wait_ready(queue, 1)
    assert ch.get_bodies(queue) == [b"after"]


@fact(156)
def test_fact_156_unknown_tag_is_reported_at_once(bench: Bench) -> None:
    ch = bench.channel()
    _select(ch)
    ch.ack(5)
    ch.expect_channel_close(406, "PRECONDITION_FAILED - unknown delivery tag 5", method=Basic.Ack)


@fact(157)
def test_fact_157_returns_come_at_the_commit(bench: Bench) -> None:
    ch = bench.channel()
    _select(ch)
    ch.publish(b"m", exchange="amq.direct", key="nobody", mandatory=True)
    ch.expect_nothing()
    ch.send(Tx.Commit())
    assert ch.expect_return().body == b"m"
    ch.expect(Tx.CommitOk)


@fact(157)
def test_fact_157_a_queue_that_has_gone_gets_nothing(bench: Bench) -> None:
    ch = bench.channel()
    queue = bench.name()
    _select(ch)
    for is_there_again in (False, True):
        ch.declare_queue(queue)
        ch.bind(queue, "amq.direct", queue)
        ch.publish(b"m", exchange="amq.direct", key=queue, mandatory=True)
        ch.sync()
        ch.delete_queue(queue)
        if is_there_again:
            ch.declare_queue(queue)
        ch.send(Tx.Commit())
        if not is_there_again:
            assert ch.expect_return().body == b"m"
        ch.expect(Tx.CommitOk)
    assert ch.must_get(queue).body == b"m"


@fact(157)
def test_fact_157_persistent_publishes_and_acks_commit_together(bench: Bench) -> None:
    ch = bench.channel()
    source, target = bench.name(), bench.name()
    ch.declare_queue(source, durable=True)
    ch.declare_queue(target, durable=True)
    ch.fill(source, b"1", b"2", properties=PERSISTENT)
    _select(ch)
    for _ in range(2):
        message = ch.must_get(source)
        ch.publish(message.body, key=target, properties=PERSISTENT)
        ch.ack(message.tag)
    _commit(ch)
    ch.close()
    ch.open()
    assert ch.get_bodies(target) == [b"1", b"2"]
    assert ch.get_bodies(source) == []


@fact(158)
def test_fact_158_refused_publish_fails_the_commit(bench: Bench) -> None:
    ch = bench.channel()
    full, free = bench.name(), bench.name()
    ch.declare_queue(full, arguments={"x-max-length": 0, "x-overflow": "reject-publish"})
    ch.declare_queue(free)
    _select(ch)
    ch.publish(b"1", key=free)
    ch.publish(b"2", key=full)
    ch.send(Tx.Commit())
    ch.expect_channel_close(406, "PRECONDITION_FAILED - partial tx completion")
    ch.open()
    assert ch.get_bodies(free) == [b"1"]


@fact(159)
@differs_on_reference("whether the commit is still pending is a race there")
def test_fact_159_next_commands_find_the_commit_done(bench: Bench) -> None:
    ch = bench.channel()
    queue = bench.name()
    ch.declare_queue(queue, durable=True)
    _select(ch)
    ch.publish(b"m", key=queue, properties=PERSISTENT)
    ch.send(Tx.Commit())
    ch.expect(Tx.CommitOk)
    assert ch.get_bodies(queue) == [b"m"]


@fact(160)
def test_fact_160_rollback_drops_publishes_and_forgets_acks(bench: Bench) -> None:
    ch = bench.channel()
    queue = bench.name()
    ch.declare_queue(queue)
    ch.fill(queue, b"1")
    _select(ch)
    message = ch.must_get(queue)
    ch.publish(b"2", key=queue)
    ch.ack(message.tag)
    _rollback(ch)
    ch.expect_nothing(queue)
    ch.wait_ready(queue, 0)
    ch.ack(message.tag)
    _commit(ch)
    ch.close()
    ch.open()
    ch.sync(queue)
    ch.wait_ready(queue, 0)


@fact(160)
def test_fact_160_a_closed_channel_rolls_back(bench: Bench) -> None:
    ch = bench.channel()
    queue = bench.name()
    ch.declare_queue(queue)
    ch.fill(queue, b"1")
    _select(ch)
    ch.ack(ch.must_get(queue).tag)
    ch.publish(b"2", key=queue)
    ch.close()
    ch.open()
    ch.wait_ready(queue, 1)
    assert ch.get_bodies(queue) == [b"1"]


@fact(152)
def test_fact_152_a_queue_that_is_deleted_has_done_its_part(bench: Bench) -> None:
    """What was published to it is confirmed all the same, and nothing of it is left."""
    ch = bench.channel()
    queue = bench.name()
    ch.declare_queue(queue, durable=True)
    other = ch.peer.open_channel()
    ch.confirm()
    for _ in range(3):
        ch.publish(b"m", key=queue, properties=PERSISTENT)
    other.delete_queue(queue)
    ch.expect_confirms(3)
