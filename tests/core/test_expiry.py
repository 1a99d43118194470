"""Time to live, where the clients' view (tests/semantics) does not reach: timers, disk, starts."""

from __future__ import annotations

from pamqp.commands import Basic, Queue, Tx

from amqbroker.core.discard import DEAD_LETTERS_A_TURN, DISCARDED_MAX
from amqbroker.core.queue import DROPS_A_TURN
from amqbroker.core.rules import Rules
from tests.core.house import PERSISTENT, House, core, items
from tests.core.test_paging_model import SmallHouse
from tests.semantics.peer import Channel

LIVES_FOREVER = PERSISTENT


def lives(ms: int) -> Basic.Properties:
    """A durable message with this expiration."""
    return Basic.Properties(delivery_mode=2, expiration=str(ms))


def timers(house: House) -> int:
    """How many deadlines are set that nobody took back."""
    return sum(not timer.cancelled for timer in core(house.node).timers._heap)


def ready(ch: Channel, queue: str = "q") -> int:
    return ch.declare_queue(queue, passive=True).message_count or 0


def test_a_queue_has_one_timer_at_most_and_none_without_a_deadline(
    house: House, ch: Channel
) -> None:
    before = timers(house)
    ch.declare_queue("q")
    ch.fill("q", b"1")
    ch.fill("q", b"2", properties=lives(1000))
    assert timers(house) == before
    ch.must_get("q", no_ack=True)
    ch.sync("q")
    assert timers(house) == before + 1
    ch.fill("q", b"3", properties=lives(500))
    assert timers(house) == before + 1
    house.advance(1.1)
    assert ready(ch) == 0
    assert timers(house) == before


def test_an_earlier_deadline_moves_the_timer(house: House, ch: Channel) -> None:
    before = timers(house)
    ch.declare_queue("q")
    ch.fill("q", b"1", properties=lives(500))
    first = ch.must_get("q")
    ch.fill("q", b"2", properties=lives(60_000))
    house.advance(0.1)
    ch.nack(first.tag)
    ch.sync("q")
    assert timers(house) == before + 1
    house.advance(0.5)
    assert ready(ch) == 1


def test_a_deleted_queue_leaves_no_timer(house: House, ch: Channel) -> None:
    before = timers(house)
    ch.declare_queue("q")
    ch.fill("q", b"1", properties=lives(60_000))
    assert timers(house) == before + 1
    ch.delete_queue("q")
    assert timers(house) == before


def test_no_turn_drops_more_than_its_share(house: House, ch: Channel) -> None:
    ch.declare_queue("q")
    count = 2 * DROPS_A_TURN + 5
    ch.fill("q", *[b"m"] * count, properties=lives(100))
    queue = house.queue("q")
    house.now += 1.0
    house.node.on_time(house.now)
    house.node.settle(house.now)
    assert queue.ready_count() == count - DROPS_A_TURN
    assert house.node.has_work()
    house.run()
    assert queue.ready_count() == 0


def test_a_get_waits_until_all_that_has_expired_is_gone(house: House, ch: Channel) -> None:
    ch.declare_queue("q")
    ch.fill("q", *[b"old"] * (DROPS_A_TURN + 5), properties=lives(100))
    ch.fill("q", b"new")
    house.now += 1.0
    house.paused = True
    ch.send(Basic.Get(queue="q", no_ack=True))
    ch.send(Queue.Declare(queue="q", passive=True))
    house.paused = False
    house.run()
    message, declared = items(ch)
    assert message.body == b"new"  # type: ignore[union-attr]
    assert declared.message_count == 0  # type: ignore[union-attr]


def test_no_more_is_dropped_than_is_dead_lettered(house: House, ch: Channel) -> None:
    """And a queue that has nothing to drop goes on meanwhile."""
    turn = core(house.node).turn
    dead = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "dead"}
    for queue in ("q", "alive"):
        ch.declare_queue(queue, arguments=dead)  # type: ignore[arg-type]
    ch.declare_queue("dead")
    count = 2 * DISCARDED_MAX
    ch.fill("q", *[b"m"] * count, properties=lives(100))
    ch.fill("alive", b"m", properties=lives(60_000))
    house.now += 1.0
    house.node.on_time(house.now)
    turns = 0
    most = 0
    while house.queue("q").ready_count() > 0:
        house.node.settle(house.now)
        most = max(most, turn.discarded)
        turns += 1
        if turn.discarded >= DISCARDED_MAX - DEAD_LETTERS_A_TURN:
            assert house.queue("alive").catch_up()
    assert most <= DISCARDED_MAX
    assert turns >= count // DROPS_A_TURN
    house.run()
    assert turn.discarded == 0
    assert ready(ch, "dead") == count


def test_what_expired_while_the_broker_was_down_is_gone(house: House, ch: Channel) -> None:
    ch.declare_queue("q", durable=True)
    ch.fill("q", b"1", properties=lives(500))
    ch.fill("q", b"2", properties=lives(5000))
    house.advance(0.1)
    house.restart(clean=False)
    ch = house.channel()
    assert ready(ch) == 1
    house.advance(3.0)
    house.restart(clean=True)
    house.advance(2.0)
    assert ready(house.channel()) == 0
    house.advance(0.1)
    house.restart(clean=False)
    assert ready(house.channel()) == 0


def test_a_lower_time_to_live_is_for_later_messages(house: House, ch: Channel) -> None:
    ch.declare_queue("q")
    ch.fill("q", b"1")
    house.queue("q").set_rules(Rules({"x-message-ttl": 100}))
    ch.fill("q", b"2")
    house.advance(1.0)
    assert ready(ch) == 2
    assert ch.get_bodies("q") == [b"1"]
    house.queue("q").set_rules(Rules({}))
    ch.fill("q", b"3")
    house.advance(1.0)
    assert ch.get_bodies("q") == [b"3"]


# Queues that are on disk.


def on_disk(*lifetimes: int) -> tuple[SmallHouse, Channel]:
    """A queue with durable messages, three a segment, 0 for one that lives forever."""
    house = SmallHouse()
    ch = house.channel()
    ch.declare_queue("q", durable=True)
    for number, lifetime in enumerate(lifetimes):
        properties = lives(lifetime) if lifetime else LIVES_FOREVER
        ch.fill("q", b"%d" % number, properties=properties)
    assert house.queue("q").line.ready.on_disk == len(lifetimes)
    return house, ch


def count_reads(house: House) -> list[str]:
    """The segments that are read from now on, piece by piece."""
    reads: list[str] = []
    read_at = house._disk.read_at

    def counting(name: str, offset: int, length: int) -> bytes:
        reads.append(name)
        return read_at(name, offset, length)

    house._disk.read_at = counting  # type: ignore[method-assign]
    return reads


def test_a_head_on_disk_expires_without_a_consumer() -> None:
    house, ch = on_disk(500, 0, 500)
    house.advance(1.0)
    assert ready(ch) == 2
    assert ch.get_bodies("q") == [b"1"]


def test_nothing_is_read_before_the_first_deadline_of_a_segment() -> None:
    house, _ = on_disk(500, 600, 0)
    reads = count_reads(house)
    house.advance(0.4)
    assert reads == []
    house.advance(0.15)
    assert reads
    assert house.queue("q").ready_count() == 2


def test_queues_whose_messages_do_not_expire_are_not_read_for_it() -> None:
    house, _ = on_disk(0, 0, 0, 500)
    reads = count_reads(house)
    house.advance(10.0)
    assert reads == []
    assert house.queue("q").ready_count() == 4


def test_segments_of_which_all_has_expired_go_unread() -> None:
    house, ch = on_disk(*[500] * 7, 5000)
    reads = count_reads(house)
    house.advance(1.0)
    assert not [name for name in reads if not name.endswith("-3.seg")]
    assert ready(ch) == 1
    assert len(house._disk.segments) == 1
    house.advance(5.0)
    assert ready(ch) == 0
    house.advance(0.2)
    assert house._disk.segments == {}


def test_with_a_dead_letter_exchange_all_segments_are_read() -> None:
    house, ch = on_disk(*[500] * 6)
    house.queue("q").set_rules(Rules({"x-dead-letter-exchange": "amq.fanout"}))
    reads = count_reads(house)
    house.advance(1.0)
    assert ready(ch) == 0
    assert len(set(reads)) == 2


def test_segments_of_a_stopped_broker_expire() -> None:
    house, _ = on_disk(*[500] * 7, 0)
    house.restart(clean=False)
    reads = count_reads(house)
    assert ready(house.channel()) == 1
    assert not [name for name in reads if not name.endswith("-3.seg")]


def test_after_a_start_a_head_on_disk_has_its_timer() -> None:
    house, _ = on_disk(3000, 3000, 0)
    house.restart(clean=True)
    ch = house.channel()
    assert ready(ch) == 3
    house.advance(3.0)
    assert ready(ch) == 1


def test_expiry_goes_on_when_a_read_failed() -> None:
    house, ch = on_disk(500, 0)
    house.disk_is_slow = True
    house.advance(1.0)
    (request,) = house.node.take_reads()
    house.node.messages_read(request, None, "Too many open files", house.now)
    house.disk_is_slow = False
    house.advance(5.0)
    assert ready(ch) == 1


def test_what_came_back_expires_before_what_is_on_disk() -> None:
    house, ch = on_disk(2000, 0, 0)
    first = ch.must_get("q")
    house.advance(1.0)
    ch.nack(first.tag)
    ch.sync("q")
    assert ready(ch) == 3
    house.advance(1.1)
    assert ready(ch) == 2


def test_reading_for_expiry_stops_at_a_head_that_lives() -> None:
    """A window of the head is read, not the queue."""
    house, _ = on_disk(*[0, 500, 0] * 20)
    reads = count_reads(house)
    house.advance(10.0)
    assert len(set(reads)) == 1
    assert house.queue("q").ready_count() == 60


def test_a_get_uncovers_what_has_expired(house: House, ch: Channel) -> None:
    """And what will: nothing else may happen to the queue."""
    ch.declare_queue("q")
    ch.fill("q", b"1", b"2")
    ch.publish(b"late", key="q", properties=Basic.Properties(expiration="0"))
    ch.publish(b"later", key="q", properties=Basic.Properties(expiration="100"))
    house.advance(0.001)
    ch.must_get("q")
    ch.must_get("q")
    assert house.queue("q").ready_count() == 1
    house.advance(0.2)
    assert house.queue("q").ready_count() == 0


def has_rules(house: House) -> bool:
    """Whether the queue looks for messages that have expired."""
    return house.queue("q").has_rules


def test_a_queue_looks_for_expiry_only_while_something_may_expire(
    house: House, ch: Channel
) -> None:
    ch.declare_queue("q")
    ch.fill("q", b"1", properties=lives(1000))
    ch.fill("q", b"2")
    assert has_rules(house)
    tag = ch.must_get("q").tag
    assert has_rules(house)
    assert ch.must_get("q", no_ack=True).body == b"2"
    house.advance(0.1)
    assert not has_rules(house)
    # What comes back may still expire.
    ch.nack(tag)
    assert has_rules(house)
    house.advance(1.0)
    assert ready(ch) == 0
    assert not has_rules(house)


def test_a_commit_that_comes_late_expires_all_the_same(house: House, ch: Channel) -> None:
    ch.declare_queue("q")
    publisher = house.channel()
    publisher.call(Tx.Select(), Tx.SelectOk)
    publisher.publish(b"1", key="q", properties=lives(1000))
    ch.fill("q", b"2", properties=lives(1000))
    assert ch.get_bodies("q") == [b"2"]
    house.advance(0.1)
    publisher.call(Tx.Commit(), Tx.CommitOk)
    assert ready(ch) == 1
    house.advance(1.1)
    assert ready(ch) == 0
