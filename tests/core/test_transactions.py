"""Transactions: what a commit leaves behind, and what a rollback and a lost channel undo."""

from __future__ import annotations

from pamqp.commands import Basic, Queue, Tx

from tests.core.house import PERSISTENT, House
from tests.semantics.peer import Channel


def _select(channel: Channel) -> None:
    channel.call(Tx.Select(), Tx.SelectOk)


def _commit(channel: Channel) -> None:
    channel.call(Tx.Commit(), Tx.CommitOk)


def test_a_commit_that_waits_for_nothing_is_over_at_once(house: House, ch: Channel) -> None:
    """Later commands that wait for the journal are not taken for the commit."""
    _select(ch)
    _commit(ch)
    house.disk_is_slow = True
    ch.send(Queue.Declare(queue="durable", durable=True))
    ch.send(Queue.Declare(queue="transient"))
    house.disk_is_slow = False
    ch.expect(Queue.DeclareOk)
    ch.expect(Queue.DeclareOk)


def test_a_command_during_a_commit_is_refused(house: House, ch: Channel) -> None:
    ch.declare_queue("q", durable=True)
    _select(ch)
    ch.publish(key="q", properties=PERSISTENT)
    house.disk_is_slow = True
    ch.send(Tx.Commit())
    ch.send(Basic.Qos(prefetch_count=1))
    ch.peer.expect_connection_close(
        504, "CHANNEL_ERROR - unexpected command while processing 'tx.commit'"
    )


def test_commands_after_a_commit_that_waited_are_carried_out(house: House, ch: Channel) -> None:
    ch.declare_queue("q", durable=True)
    _select(ch)
    ch.publish(key="q", properties=PERSISTENT)
    house.disk_is_slow = True
    ch.send(Tx.Commit())
    house.disk_is_slow = False
    ch.expect(Tx.CommitOk)
    ch.send(Queue.Declare(queue="p", durable=True))
    ch.send(Queue.Declare(queue="q", passive=True))
    ch.expect(Queue.DeclareOk)
    assert ch.expect(Queue.DeclareOk).message_count == 1


def test_a_publish_keeps_the_route_it_had(house: House, ch: Channel) -> None:
    """Routed to names when it came: a queue that has one at the commit gets it, bound or not."""
    names = ("gone", "again", "kept", "late")
    for queue in names[:3]:
        ch.declare_queue(queue)
        ch.bind(queue, "amq.fanout")
    _select(ch)
    ch.publish(b"m", exchange="amq.fanout")
    ch.delete_queue("gone")
    ch.delete_queue("again")
    for queue in ("again", "late"):
        ch.declare_queue(queue)
    ch.bind("late", "amq.fanout")
    _commit(ch)
    assert [ch.get_bodies(queue) for queue in names[1:]] == [[b"m"], [b"m"], []]


def test_the_limit_of_a_channel_counts_what_is_settled_but_not_committed(
    house: House, ch: Channel
) -> None:
    ch.declare_queue("q")
    for number in range(6):
        ch.publish(b"%d" % number, key="q")
    _select(ch)
    ch.qos(2, global_=True)
    ch.consume("q", "t")
    first, second = ch.expect_delivery(b"0"), ch.expect_delivery(b"1")
    ch.ack(first.tag)
    ch.nack(second.tag, requeue=False)
    ch.qos(2, global_=True)
    ch.expect_nothing("q")
    _commit(ch)
    ch.expect_delivery(b"2")
    ch.expect_delivery(b"3")
    ch.expect_nothing("q")


def test_a_rollback_makes_deliveries_outstanding_as_they_were(house: House, ch: Channel) -> None:
    ch.declare_queue("q")
    ch.fill("q", b"0", b"1", b"2")
    _select(ch)
    tags = [ch.must_get("q").tag for _ in range(3)]
    ch.ack(tags[1])
    ch.nack(tags[0])
    ch.call(Tx.Rollback(), Tx.RollbackOk)
    assert house.core_channel(ch).unacked.count == 3
    ch.ack(tags[2], multiple=True)
    _commit(ch)
    assert ch.get("q") is None


def test_a_channel_that_goes_forgets_its_transaction(house: House, ch: Channel) -> None:
    """Settled but not committed is not settled; published but not committed is nothing."""
    ch.declare_queue("q")
    ch.fill("q", b"0", b"1")
    other = ch.peer.open_channel()
    _select(other)
    other.ack(other.must_get("q").tag)
    other.publish(b"never", key="q")
    other.close()
    message = ch.must_get("q", no_ack=True)
    assert (message.body, message.redelivered) == (b"0", True)
    assert ch.get_bodies("q") == [b"1"]


def test_messages_that_are_requeued_at_the_commit_stand_before_those_published(
    house: House, ch: Channel
) -> None:
    ch.declare_queue("q")
    ch.fill("q", b"0")
    _select(ch)
    ch.publish(b"1", key="q")
    ch.reject(ch.must_get("q").tag)
    assert ch.get("q") is None
    _commit(ch)
    assert ch.get_bodies("q") == [b"0", b"1"]


def test_a_queue_that_was_made_again_hides_bcc_keys_as_the_one_before(
    house: House, ch: Channel
) -> None:
    ch.declare_queue("q")
    _select(ch)
    ch.publish(b"1", key="q", headers={"BCC": ["secret"], "other": "o"})
    ch.delete_queue("q")
    ch.declare_queue("q")
    _commit(ch)
    assert ch.must_get("q").headers == {"other": "o"}
