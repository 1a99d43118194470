"""Deliveries that are kept for too long: how a watch begins, ends, and what it costs."""

from __future__ import annotations

import pytest
from pamqp.commands import Basic, Tx
from pamqp.common import FieldTable

from amqbroker.core.channel import FORGIVEN_MAX
from amqbroker.core.policies import ALL, Policy
from amqbroker.core.policy_changes import clear_policy, set_policy
from tests.core.house import House, core
from tests.semantics.peer import Channel

TIMEOUT_MS = 8_000
# A timeout is at most an eighth late.
LATE_S = 9.1


def _policy(house: House, timeout_ms: int) -> None:
    policy = Policy("timeout", "", ALL, 0, {"consumer-timeout": timeout_ms})
    set_policy(core(house.node), house.vhost(), policy, False)


def _consume(ch: Channel, *bodies: bytes, **arguments: int) -> None:
    """Consumer `c` of the new queue `q`, with these messages outstanding."""
    ch.declare_queue("q")
    ch.fill("q", *bodies)
    ch.consume("q", "c", arguments={name.replace("_", "-"): arguments[name] for name in arguments})
    for body in bodies:
        ch.expect_delivery(body)


def test_only_what_is_too_old_goes_back(house: House, ch: Channel) -> None:
    """What came later is outstanding until its own time is over, though its consumer is gone."""
    _consume(ch, b"1", x_consumer_timeout=TIMEOUT_MS)
    house.advance(5.0)
    ch.publish(b"2", key="q")
    ch.expect_delivery(b"2")
    house.advance(4.0)
    assert ch.expect(Basic.Cancel).consumer_tag == "c"
    other = house.channel()
    assert other.get_bodies("q") == [b"1"]
    house.advance(5.0)
    assert other.get_bodies("q") == [b"2"]
    ch.expect_nothing()
    house.advance(10.0)
    assert house.core_channel(ch).ack_watches == []
    assert core(house.node).timers.next_deadline() is None


def test_a_consumer_that_answers_in_time_stays(house: House, ch: Channel) -> None:
    _consume(ch, x_consumer_timeout=TIMEOUT_MS)
    for number in range(1, 10):
        ch.publish(b"m", key="q")
        ch.expect_delivery(b"m")
        house.advance(7.9)
        ch.ack(number)
    ch.expect_nothing()
    assert house.queue("q").consumers.all


def test_no_ack_consumers_have_nothing_to_be_late_with(house: House, ch: Channel) -> None:
    ch.declare_queue("q", arguments={"x-consumer-timeout": TIMEOUT_MS})
    ch.consume("q", "c", no_ack=True)
    assert house.core_channel(ch).ack_watches == []


def test_without_a_timeout_nothing_is_watched(house: House, ch: Channel) -> None:
    _consume(ch, b"1")
    assert house.core_channel(ch).ack_watches == []
    assert core(house.node).timers.next_deadline() is None


def test_the_consumer_says_it_before_the_queue_and_the_policy(house: House, ch: Channel) -> None:
    """Of queue and policy the smaller one holds; of all, the consumer's own."""
    _policy(house, 3_000)
    ch.declare_queue("q", arguments={"x-consumer-timeout": 5_000})
    ch.fill("q", b"1", b"2")
    ch.qos(1)
    ch.consume("q", "patient", arguments={"x-consumer-timeout": 60_000})
    ch.expect_delivery(b"1")
    ch.consume("q", "plain")
    ch.expect_delivery(b"2")
    house.advance(3.5)
    assert ch.expect(Basic.Cancel).consumer_tag == "plain"
    house.advance(10.0)
    ch.ack(1)
    ch.expect_delivery(b"2")
    ch.expect_nothing()


def test_a_policy_that_comes_later_counts_from_then(house: House, ch: Channel) -> None:
    _consume(ch, b"1")
    house.advance(100.0)
    _policy(house, TIMEOUT_MS)
    house.advance(7.0)
    ch.expect_nothing()
    house.advance(2.1)
    ch.expect(Basic.Cancel)


def test_a_policy_that_goes_takes_the_timeout_along(house: House, ch: Channel) -> None:
    _policy(house, TIMEOUT_MS)
    _consume(ch, b"1")
    house.advance(7.0)
    clear_policy(core(house.node), house.vhost(), "timeout", False)
    house.advance(100.0)
    ch.expect_nothing()
    assert house.core_channel(ch).ack_watches == []


def test_a_shorter_policy_holds_from_now(house: House, ch: Channel) -> None:
    """What was noted before counts: a delivery is as old as it is."""
    _policy(house, 80_000)
    _consume(ch, b"1")
    house.advance(40.0)
    _policy(house, 8_000)
    house.advance(0.6)
    ch.expect(Basic.Cancel)


def test_the_configured_timeout_is_for_all_that_say_nothing(house: House, ch: Channel) -> None:
    core(house.node).consumer_timeout_ms = TIMEOUT_MS
    _consume(ch, b"1")
    house.advance(LATE_S)
    ch.expect(Basic.Cancel)


def test_what_was_got_goes_back_too(house: House, ch: Channel) -> None:
    """Nobody is cancelled, and the channel may get again."""
    ch.declare_queue("q", arguments={"x-consumer-timeout": TIMEOUT_MS})
    ch.fill("q", b"1", b"2")
    ch.must_get("q")
    house.advance(6.0)
    late = ch.must_get("q")
    house.advance(3.1)
    ch.expect_nothing()
    again = ch.must_get("q")
    assert (again.body, again.redelivered) == (b"1", True)
    ch.ack(late.tag)
    ch.ack(again.tag)
    house.advance(20.0)
    assert house.core_channel(ch).ack_watches == []


def test_late_answers_are_without_effect(house: House, ch: Channel) -> None:
    """Once for each delivery, of any kind; the channel lives on."""
    _consume(ch, b"1", b"2", b"3", x_consumer_timeout=TIMEOUT_MS)
    house.advance(LATE_S)
    ch.expect(Basic.Cancel)
    ch.ack(1)
    ch.reject(2, requeue=False)
    ch.nack(3, multiple=True)
    ch.expect_nothing()
    assert house.core_channel(ch).forgiven == {}
    assert house.channel().get_bodies("q") == [b"1", b"2", b"3"]
    ch.ack(1)
    ch.expect_channel_close(406, "PRECONDITION_FAILED - unknown delivery tag 1")


def test_a_late_multiple_answer_settles_what_is_below(house: House, ch: Channel) -> None:
    ch.declare_queue("other")
    ch.fill("other", b"o1", b"o2")
    first = ch.must_get("other")
    _consume(ch, b"1", x_consumer_timeout=TIMEOUT_MS)
    last = ch.must_get("other")
    house.advance(LATE_S)
    ch.expect(Basic.Cancel)
    ch.ack(last.tag - 1, multiple=True)
    ch.sync()
    assert [entry.delivery_tag for entry in house.core_channel(ch).unacked.entries()] == [last.tag]
    assert first.tag < last.tag - 1


def test_late_answers_in_a_transaction(house: House, ch: Channel) -> None:
    """An answer in time that waits for the commit is no answer too late."""
    _consume(ch, b"1", b"2", x_consumer_timeout=TIMEOUT_MS)
    ch.call(Tx.Select(), Tx.SelectOk)
    ch.ack(1)
    house.advance(LATE_S)
    ch.expect(Basic.Cancel)
    ch.ack(2)
    ch.call(Tx.Commit(), Tx.CommitOk)
    assert house.channel().get_bodies("q") == [b"2"]


def test_a_client_that_hears_no_cancels_loses_its_channel(house: House) -> None:
    """RabbitMQ 3.13's answer, and all that was outstanding goes back."""
    ch = house.connect(capabilities={}).open_channel()
    _consume(ch, b"1", x_consumer_timeout=TIMEOUT_MS)
    house.advance(5.0)
    ch.publish(b"2", key="q")
    ch.expect_delivery(b"2")
    house.advance(4.1)
    ch.expect_channel_close(
        406,
        "PRECONDITION_FAILED - delivery acknowledgement on channel 1 timed out. Timeout value "
        "used: 8000 ms. This timeout value can be configured, see consumers doc guide to learn "
        "more",
    )
    assert house.channel().get_bodies("q") == [b"1", b"2"]
    assert core(house.node).timers.next_deadline() is None


def test_the_log_says_who_was_late(house: House, ch: Channel) -> None:
    _consume(ch, b"1", x_consumer_timeout=TIMEOUT_MS)
    house.advance(LATE_S)
    lines = [line for line in house.log_lines if "did not acknowledge" in line]
    assert len(lines) == 1
    assert lines[0].endswith(
        "channel 1: consumer 'c' did not acknowledge within 8000 ms what it got from queue 'q'; "
        "back in the queue: 1"
    )


def test_an_auto_delete_queue_goes_with_its_late_consumer(house: House, ch: Channel) -> None:
    ch.declare_queue("q", auto_delete=True, arguments={"x-consumer-timeout": TIMEOUT_MS})
    ch.fill("q", b"1")
    ch.consume("q", "c")
    ch.expect_delivery(b"1")
    house.advance(LATE_S)
    ch.expect(Basic.Cancel)
    assert not ch.queue_exists("q")


def test_the_next_consumer_of_a_single_active_one_takes_over(house: House, ch: Channel) -> None:
    other = house.channel()
    arguments: FieldTable = {"x-consumer-timeout": TIMEOUT_MS, "x-single-active-consumer": True}
    ch.declare_queue("q", arguments=arguments)
    ch.fill("q", b"1")
    ch.consume("q", "stuck")
    ch.expect_delivery(b"1")
    other.consume("q", "next")
    house.advance(LATE_S)
    ch.expect(Basic.Cancel)
    other.expect_delivery(b"1")


@pytest.mark.parametrize("closing", ["channel", "connection"])
def test_a_closed_channel_is_not_watched(house: House, ch: Channel, closing: str) -> None:
    _consume(ch, b"1", x_consumer_timeout=TIMEOUT_MS)
    if closing == "channel":
        ch.close()
    else:
        ch.peer.drop()
    assert core(house.node).timers.next_deadline() is None


def test_a_deleted_queue_is_watched_no_more(house: House, ch: Channel) -> None:
    _consume(ch, b"1", x_consumer_timeout=TIMEOUT_MS)
    house.channel().delete_queue("q")
    ch.expect(Basic.Cancel)
    house.advance(LATE_S + 1)
    ch.ack(1)
    ch.expect_nothing()
    assert core(house.node).timers.next_deadline() is None


def test_forgiven_tags_are_bounded(house: House, ch: Channel) -> None:
    ch.declare_queue("q", arguments={"x-consumer-timeout": TIMEOUT_MS})
    ch.sync()
    channel = house.core_channel(ch)
    channel.forgiven = dict.fromkeys(range(1_000_000, 1_000_000 + FORGIVEN_MAX))
    ch.fill("q", b"1")
    ch.must_get("q")
    house.advance(LATE_S)
    assert len(channel.forgiven) == FORGIVEN_MAX
    assert 1 in channel.forgiven


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (0, "{value_zero,0}"),
        (-1, "{value_negative,-1}"),
        ("5", '"expected integer, got longstr"'),
        (315_360_000_001, "{value_too_large,315360000001}"),
    ],
)
def test_bad_timeouts(house: House, ch: Channel, value: int | str, reason: str) -> None:
    ch.declare_queue("q")
    ch.send(Basic.Consume(queue="q", arguments={"x-consumer-timeout": value}))
    ch.expect_channel_close(
        406,
        "PRECONDITION_FAILED - invalid arg 'x-consumer-timeout' for queue 'q' in vhost '/': "
        + reason,
    )
