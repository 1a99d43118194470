"""Dead letters on their way: in slices, without recursion, and never gone from both queues."""

from __future__ import annotations

import pytest
from pamqp.common import FieldTable

from amqbroker.core import discard as subject
from amqbroker.message import SETTLED, WRITTEN
from tests.core.house import PERSISTENT, House, core
from tests.semantics.peer import Channel


def to(key: str | None, exchange: str = "") -> FieldTable:
    """Arguments of a queue that dead-letters."""
    arguments: FieldTable = {"x-dead-letter-exchange": exchange}
    if key is not None:
        arguments["x-dead-letter-routing-key"] = key
    return arguments


def warnings(house: House) -> list[str]:
    """What the log says of dead letters."""
    return [line for line in house.log_lines if "dead letters" in line]


def reject_all(ch: Channel, queue: str, count: int) -> None:
    """Reject the first messages of a queue, all at once."""
    tag = 0
    for _ in range(count):
        tag = ch.must_get(queue).tag
    ch.nack(tag, multiple=True, requeue=False)


def test_a_long_chain(house: House, ch: Channel) -> None:
    """By delivery limits of 0."""
    length = 100
    for number in range(length):
        arguments = {**to(f"q{number + 1}"), "x-delivery-limit": 0}
        ch.declare_queue(f"q{number}", arguments=arguments)
    ch.declare_queue(f"q{length}")
    ch.fill("q0", b"m")
    # One dead letter after the other, each of its own queue.
    for number in range(length):
        ch.nack(ch.must_get(f"q{number}").tag)
    message = ch.must_get(f"q{length}")
    deaths = message.headers["x-death"]
    assert isinstance(deaths, list)
    assert len(deaths) == length


def test_a_fanout_of_a_thousand_queues(house: House, ch: Channel) -> None:
    ch.declare_exchange("dlx", "fanout")
    for number in range(1000):
        ch.declare_queue(f"q{number}")
        ch.bind(f"q{number}", "dlx")
    ch.declare_queue("q", arguments=to(None, "dlx"))
    ch.fill("q", b"1", b"2")
    reject_all(ch, "q", 2)
    for number in range(1000):
        entries = house.queue(f"q{number}").line.ready.entries()
        assert [entry.message.body for entry in entries] == [b"1", b"2"]


def test_a_turn_sends_on_a_slice(house: House, ch: Channel) -> None:
    ch.declare_queue("dead")
    ch.declare_queue("q", arguments=to("dead"))
    count = subject.DEAD_LETTERS_A_TURN + 10
    ch.fill("q", *[b"%d" % number for number in range(count)])
    tag = 0
    for _ in range(count):
        tag = ch.must_get("q").tag
    house.paused = True
    ch.nack(tag, multiple=True, requeue=False)
    house.hand_over()
    house.node.settle(house.now)
    assert house.queue("dead").ready_count() == subject.DEAD_LETTERS_A_TURN
    assert house.node.has_work()
    house.node.settle(house.now)
    assert house.queue("dead").ready_count() == count
    house.paused = False
    bodies = ch.get_bodies("dead")
    assert bodies == [b"%d" % number for number in range(count)]


def test_what_is_said_is_said_once(house: House, ch: Channel) -> None:
    ch.declare_queue("q", arguments=to(None, "gone"))
    ch.fill("q", b"1", b"2", b"3")
    reject_all(ch, "q", 2)
    reject_all(ch, "q", 1)
    assert warnings(house) == [
        "dead letters of queue 'q' in vhost '/' are dropped: "
        "there is no exchange 'gone' in vhost '/'"
    ]


def test_a_cycle_is_said_once(house: House, ch: Channel) -> None:
    for name, other in (("a", "b"), ("b", "a")):
        ch.declare_queue(name, arguments={**to(other), "x-delivery-limit": 0})
    for _ in range(2):
        ch.fill("a", b"m")
        ch.nack(ch.must_get("a").tag)
        ch.nack(ch.must_get("b").tag)
        assert house.queue("a").ready_count() == 0
    assert warnings(house) == [
        "dead letters are dropped in vhost '/', as they go in a cycle without anyone rejecting "
        "them. The queues, the last one first: a, b, a"
    ]


def test_a_queue_that_is_deleted_meanwhile_still_sends_on(house: House, ch: Channel) -> None:
    ch.declare_queue("dead")
    ch.declare_queue("q", durable=True, arguments=to("dead"))
    ch.fill("q", b"1", properties=PERSISTENT)
    tag = ch.must_get("q").tag
    house.paused = True
    ch.nack(tag, requeue=False)
    house.hand_over()
    broker = core(house.node)
    broker.delete_queue(house.vhost(), house.queue("q"))
    house.paused = False
    house.run()
    assert ch.get_bodies("dead") == [b"1"]
    assert broker.memory_bytes == 0


def test_an_entry_leaves_once_its_letter_is_on_disk(house: House, ch: Channel) -> None:
    ch.declare_queue("dead", durable=True)
    ch.declare_queue("q", durable=True, arguments=to("dead"))
    ch.fill("q", b"1", properties=PERSISTENT)
    entry = house.queue("q").line.ready.entries()[0]
    tag = ch.must_get("q").tag
    house.paused = True
    ch.nack(tag, requeue=False)
    house.settle()
    broker = core(house.node)
    assert entry.state == WRITTEN
    assert broker.dead_letters.entries() == [entry]
    house.paused = False
    house.run()
    assert entry.state == SETTLED
    assert broker.dead_letters.entries() == []


@pytest.mark.parametrize("clean", [True, False])
def test_dead_letters_outlive_a_restart(house: House, ch: Channel, clean: bool) -> None:
    ch.declare_queue("dead", durable=True)
    ch.declare_queue("q", durable=True, arguments=to("dead"))
    ch.fill("q", b"1", b"2", properties=PERSISTENT)
    reject_all(ch, "q", 1)
    house.advance(0.1)
    house.restart(clean=clean)
    ch = house.channel()
    message = ch.must_get("dead", no_ack=True)
    assert message.body == b"1"
    assert message.headers["x-first-death-reason"] == "rejected"
    assert ch.get_bodies("dead") == []
    assert ch.get_bodies("q") == [b"2"]


def test_a_dead_letter_of_a_restart_goes_on_with_its_history(house: House, ch: Channel) -> None:
    ch.declare_queue("q", durable=True, arguments=to("q"))
    ch.fill("q", b"1", properties=PERSISTENT)
    reject_all(ch, "q", 1)
    house.restart(clean=True)
    ch = house.channel()
    reject_all(ch, "q", 1)
    deaths = ch.must_get("q").headers["x-death"]
    assert isinstance(deaths, list)
    assert deaths[0]["count"] == 2  # type: ignore[index,call-overload]
