"""Dead letters on their way: in slices, without recursion, and never gone from both queues."""

from __future__ import annotations

import pytest
from pamqp.common import FieldTable, FieldValue

from amqbroker.core.discard import DEAD_LETTERS_A_TURN, DISCARDED_MAX, HELD_BYTES_MAX, HELD_MAX
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
    count = DEAD_LETTERS_A_TURN + 10
    ch.fill("q", *[b"%d" % number for number in range(count)])
    tag = 0
    for _ in range(count):
        tag = ch.must_get("q").tag
    house.paused = True
    ch.nack(tag, multiple=True, requeue=False)
    house.hand_over()
    house.node.settle(house.now)
    assert house.queue("dead").ready_count() == DEAD_LETTERS_A_TURN
    assert house.node.has_work()
    house.node.settle(house.now)
    assert house.queue("dead").ready_count() == count
    house.paused = False
    bodies = ch.get_bodies("dead")
    assert bodies == [b"%d" % number for number in range(count)]


def test_a_letter_to_many_queues_counts_as_many(house: House, ch: Channel) -> None:
    ch.declare_exchange("dlx", "fanout")
    for number in range(4):
        ch.declare_queue(f"q{number}")
        ch.bind(f"q{number}", "dlx")
    ch.declare_queue("q", arguments=to(None, "dlx"))
    ch.fill("q", *[b"m"] * DEAD_LETTERS_A_TURN)
    tag = 0
    for _ in range(DEAD_LETTERS_A_TURN):
        tag = ch.must_get("q").tag
    house.paused = True
    ch.nack(tag, multiple=True, requeue=False)
    house.hand_over()
    house.node.settle(house.now)
    assert house.queue("q3").ready_count() == DEAD_LETTERS_A_TURN // 4
    house.paused = False
    house.run()
    assert house.queue("q3").ready_count() == DEAD_LETTERS_A_TURN


@pytest.mark.parametrize("limit", ["letters", "bytes"])
def test_letters_wait_for_a_slow_disk(house: House, ch: Channel, limit: str) -> None:
    """What has died is not piled up in memory while the disk is busy, and nobody asks for turns in
    which nothing could be done."""
    ch.declare_queue("dead", durable=True)
    ch.declare_queue("q", durable=True, arguments={**to("dead"), "x-message-ttl": 100})
    count = 4 * DISCARDED_MAX
    size = 1 if limit == "letters" else 100
    ch.fill("q", *[b"%0*d" % (size, number) for number in range(count)], properties=PERSISTENT)
    broker = core(house.node)
    if limit == "letters":
        broker.dead_letters.unsynced_max = 1000
    house.paused = True
    house.now += 1.0
    house.node.on_time(house.now)
    # No batch is taken: the disk does nothing.
    house.settle()
    sent = house.queue("dead").ready_count()
    assert 1000 <= sent < count // 2
    assert broker.dead_letters.waits_for_disk()
    assert broker.turn.discarded <= DISCARDED_MAX
    assert house.queue("q").ready_count() == count - sent - broker.turn.discarded
    house.paused = False
    house.run()
    assert ch.get_bodies("dead") == [b"%0*d" % (size, number) for number in range(count)]
    assert house.queue("q").ready_count() == 0
    assert broker.dead_letters.entries() == []


def test_a_consumer_cannot_reject_without_end(house: House, ch: Channel) -> None:
    ch.declare_queue("dead", durable=True)
    ch.declare_queue("q", durable=True, arguments=to("dead"))
    ch.fill("q", *[b"%d" % number for number in range(100)], properties=PERSISTENT)
    broker = core(house.node)
    broker.dead_letters.unsynced_max = 0
    broker.turn.dying_max = 10
    consumer = house.channel()
    consumer.qos(1)
    consumer.consume("q")
    for number in range(10):
        consumer.nack(consumer.expect_delivery(b"%d" % number).tag, requeue=False)
    consumer.expect_nothing()
    # A get still finds what is there.
    assert ch.must_get("q").body == b"10"
    broker.dead_letters.unsynced_max = 100
    house.run()
    consumer.expect_delivery(b"11")


def test_queues_discard_in_turns(house: House, ch: Channel) -> None:
    """One that has much to discard does not keep another one from it."""
    ch.declare_queue("dead")
    for name in ("a", "b"):
        ch.declare_queue(name, arguments={**to("dead"), "x-message-ttl": 100})
        ch.fill(name, *[b"m"] * 4 * DISCARDED_MAX)
    house.now += 1.0
    house.node.on_time(house.now)
    for _ in range(10):
        house.node.settle(house.now)
    left = [int(house.queue(name).ready_count()) for name in ("a", "b")]
    assert abs(left[0] - left[1]) <= DISCARDED_MAX
    assert max(left) < 4 * DISCARDED_MAX


def test_what_new_messages_push_out_goes_at_once(house: House, ch: Channel) -> None:
    """However much is discarded; but then publishers wait until dead letters have caught up."""
    ch.declare_queue("dead")
    ch.declare_queue("q", arguments={**to("dead"), "x-max-length": 1})
    count = DISCARDED_MAX + DEAD_LETTERS_A_TURN + 1
    house.paused = True
    for number in range(count):
        ch.publish(b"%d" % number, key="q")
    house.hand_over()
    house.node.settle(house.now)
    client = house.core_client(ch.peer)
    assert house.queue("q").ready_count() == 1
    assert client.must_pause()
    house.node.settle(house.now)
    assert not client.must_pause()
    house.paused = False
    house.run()
    assert house.queue("dead").ready_count() == count - 1


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


# Full queues.


def narrow(house: House, ch: Channel, **others: FieldValue) -> None:
    """A queue whose dead letters go to one that is full with a single message."""
    ch.declare_queue(
        "dead", durable=True, arguments={"x-max-length": 1, "x-overflow": "reject-publish"}
    )
    arguments = to("dead")
    arguments.update({"x-" + name.replace("_", "-"): value for name, value in others.items()})
    ch.declare_queue("q", durable=True, arguments=arguments)
    ch.fill("dead", b"first", properties=PERSISTENT)


def test_a_letter_goes_on_as_soon_as_its_queue_has_room(house: House, ch: Channel) -> None:
    """A consumer that takes one message after the other gets them all, without a timer."""
    narrow(house, ch)
    ch.fill("q", *[b"%d" % number for number in range(5)], properties=PERSISTENT)
    reject_all(ch, "q", 5)
    assert len(core(house.node).dead_letters.entries()) == 5
    consumer = house.channel()
    consumer.qos(1)
    consumer.consume("dead", "t")
    for body in (b"first", b"0", b"1", b"2", b"3", b"4"):
        consumer.ack(consumer.expect_delivery(body).tag)
    assert core(house.node).dead_letters.entries() == []
    assert core(house.node).memory_bytes == 0
    assert len(warnings(house)) == 1


@pytest.mark.parametrize("clean", [True, False])
def test_what_is_refused_is_in_its_old_queue_after_a_restart(
    house: House, ch: Channel, clean: bool
) -> None:
    narrow(house, ch)
    ch.fill("q", b"1", b"2", properties=PERSISTENT)
    reject_all(ch, "q", 2)
    house.advance(5)
    house.restart(clean=clean)
    ch = house.channel()
    for body in (b"1", b"2"):
        message = ch.must_get("q")
        assert message.body == body
        assert message.redelivered
    assert ch.get_bodies("dead") == [b"first"]


def holds_back(house: House) -> bool:
    """Whether the queue has too much on its hands."""
    return house.queue("q").holds_back


@pytest.mark.parametrize(("count", "size"), [(3, HELD_BYTES_MAX), (HELD_MAX, 4_000)])
def test_with_too_much_refused_a_queue_holds_back(
    house: House, ch: Channel, count: int, size: int
) -> None:
    dead_letters = core(house.node).dead_letters
    dead_letters.held_max, dead_letters.held_bytes_max = count, size
    narrow(house, ch, message_ttl=5_000)
    ch.fill("q", *[bytes(1000)] * 3, b"4", b"5", properties=PERSISTENT)
    reject_all(ch, "q", 3)
    queue = house.queue("q")
    assert holds_back(house)
    # Neither consumers nor time take anything from it.
    assert ch.get("q") is None
    consumer = house.channel()
    consumer.consume("q")
    house.advance(6)
    consumer.expect_nothing()
    assert queue.ready_count() == 2
    # With room for one of them it goes on: the others expire, and wait in their turn.
    assert ch.must_get("dead", no_ack=True).body == b"first"
    house.advance(1.1)
    assert queue.ready_count() == 0
    assert len(ch.get_bodies("dead")) == 5
    assert not holds_back(house)
    assert (queue.held, queue.held_bytes) == (0, 0)
    assert core(house.node).memory_bytes == 0


def test_a_full_queue_that_is_deleted_lets_go(house: House, ch: Channel) -> None:
    narrow(house, ch)
    ch.fill("q", b"1", b"2", properties=PERSISTENT)
    reject_all(ch, "q", 2)
    ch.delete_queue("dead")
    house.advance(1.1)
    broker = core(house.node)
    assert broker.dead_letters.entries() == []
    assert house.node.next_deadline() is None
    assert broker.memory_bytes == 0


def test_a_letter_for_two_full_queues_leaves_with_the_last(house: House, ch: Channel) -> None:
    ch.declare_exchange("dlx", "fanout")
    for name in ("a", "b", "c"):
        full: FieldTable = {"x-max-length": 1, "x-overflow": "reject-publish"}
        ch.declare_queue(name, durable=True, arguments={} if name == "c" else full)
        ch.bind(name, "dlx")
    for name in ("a", "b"):
        ch.fill(name, b"first")
    ch.declare_queue("q", durable=True, arguments=to(None, "dlx"))
    ch.fill("q", b"1", properties=PERSISTENT)
    entry = house.queue("q").line.ready.entries()[0]
    reject_all(ch, "q", 1)
    assert ch.get_bodies("c") == [b"1"]
    for name in ("a", "b"):
        assert entry.state == WRITTEN
        assert ch.get_bodies(name) == [b"first", b"1"]
    assert entry.state == SETTLED


def test_a_letter_that_is_turned_away_twice(house: House, ch: Channel) -> None:
    """Full queues that send on what they refuse: the old queue keeps it until it is somewhere."""
    for name, target in (("a", "b"), ("b", "dead")):
        arguments = {**to(target), "x-max-length": 1, "x-overflow": "reject-publish-dlx"}
        ch.declare_queue(name, durable=True, arguments=arguments)
        ch.fill(name, b"first")
    ch.declare_queue("dead", durable=True)
    ch.declare_queue("q", durable=True, arguments=to("a"))
    ch.fill("q", b"1", properties=PERSISTENT)
    entry = house.queue("q").line.ready.entries()[0]
    tag = ch.must_get("q").tag
    house.paused = True
    ch.reject(tag, requeue=False)
    house.settle()
    assert entry.state == WRITTEN
    house.paused = False
    house.run()
    assert entry.state == SETTLED
    deaths = ch.must_get("dead").headers["x-death"]
    assert isinstance(deaths, list)
    assert [death["queue"] for death in deaths] == ["b", "a", "q"]  # type: ignore[index,call-overload]


def test_a_chain_of_a_thousand_queues(house: House, ch: Channel) -> None:
    """Each is too short for its message: more dead letters than one turn sends on, and no stack."""
    length = 1000
    for number in range(length):
        ch.declare_queue(f"q{number}", arguments={**to(f"q{number + 1}"), "x-max-length": 0})
    ch.declare_queue(f"q{length}")
    ch.publish(b"m", key="q0")
    message = ch.must_get(f"q{length}")
    deaths = message.headers["x-death"]
    assert isinstance(deaths, list)
    assert len(deaths) == length


def test_rejecting_what_was_in_a_queue_that_is_gone_does_nothing(house: House, ch: Channel) -> None:
    ch.declare_queue("dead")
    ch.declare_queue("q", arguments=to("dead"))
    ch.fill("q", b"1")
    tag = ch.must_get("q").tag
    ch.delete_queue("q")
    ch.reject(tag, requeue=False)
    house.run()
    assert ch.get_bodies("dead") == []
    assert core(house.node).memory_bytes == 0
