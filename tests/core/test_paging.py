"""A queue whose head is on disk, as its clients see it; and disks that fail or are slow."""

from __future__ import annotations

from pamqp.commands import Basic, Queue

from amqbroker.core.paging import DAMAGED_ATTEMPTS_MAX, READ_ATTEMPTS_MAX, RETRY_S
from amqbroker.store.journal import FILES_MAX
from amqbroker.store.records import FILE_HEADER_BYTES
from tests.core.house import PERSISTENT, House, core, items
from tests.core.test_paging_model import SmallHouse
from tests.semantics.messages import Message
from tests.semantics.peer import Channel


def fill(ch: Channel, *bodies: bytes, queue: str = "q", durable: bool = True) -> None:
    """Messages in a queue, all of them on disk."""
    ch.declare_queue(queue, durable=durable)
    for body in bodies:
        ch.publish(body, key=queue, properties=PERSISTENT)
    ch.sync(queue)


def segment_of(house: House, number: int = 1) -> str:
    """The name of a segment of queue "q"."""
    return f"queues/{house.queue('q').id}-{number}.seg"


def damage(house: House, offset: int, number: int = 1) -> None:
    """One bit of a segment."""
    segments = house._disk.segments
    data = bytearray(segments[segment_of(house, number)])
    data[offset] ^= 1
    segments[segment_of(house, number)] = bytes(data)


def test_a_get_waits_for_the_disk_and_what_came_after_it_waits_for_the_get() -> None:
    house = SmallHouse()
    ch = house.channel()
    fill(ch, b"1", b"2")
    assert house.queue("q").line.ready.on_disk == 2
    house.disk_is_slow = True
    ch.send(Basic.Get(queue="q"))
    ch.send(Queue.Declare(queue="q", passive=True))
    ch.send(Basic.Get(queue="q"))
    assert items(ch) == []
    house.disk_is_slow = False
    house.run()
    first, declared, second = items(ch)
    assert isinstance(first, Message)
    assert (first.body, first.tag) == (b"1", 1)
    assert isinstance(declared, Queue.DeclareOk)
    assert declared.message_count == 1
    assert isinstance(second, Message)
    assert second.method.message_count == 0  # type: ignore[attr-defined]


def test_what_waited_for_a_get_counts_no_more_once_it_is_carried_out() -> None:
    """Else the connection is not read any more after some thousands of commands."""
    house = SmallHouse()
    ch = house.channel()
    fill(ch, b"1", b"2")
    house.disk_is_slow = True
    ch.send(Basic.Get(queue="q"))
    ch.send(Queue.Declare(queue="q", passive=True))
    client = house.core_client(ch.peer)
    assert client.deferred_bytes > 0
    house.disk_is_slow = False
    house.run()
    assert len(items(ch)) == 2
    assert client.deferred_bytes == 0


def test_gets_of_two_channels_are_answered_in_order() -> None:
    house = SmallHouse()
    first, second = house.channel(), house.channel()
    fill(first, b"1", b"2")
    house.disk_is_slow = True
    first.send(Basic.Get(queue="q"))
    second.send(Basic.Get(queue="q"))
    house.disk_is_slow = False
    house.run()
    assert [item.body for ch in (first, second) for item in items(ch)] == [b"1", b"2"]  # type: ignore[union-attr]


def test_a_get_that_waits_when_its_queue_is_purged_finds_it_empty() -> None:
    house = SmallHouse()
    ch, other = house.channel(), house.channel()
    fill(ch, b"1", b"2")
    house.disk_is_slow = True
    ch.send(Basic.Get(queue="q"))
    house.disk_is_slow = True
    assert other.purge("q") == 2
    assert [type(item) for item in items(ch)] == [Basic.GetEmpty]
    house.disk_is_slow = False
    house.run()
    assert items(ch) == []
    fill(ch, b"3")
    assert ch.must_get("q").body == b"3"


def test_a_channel_that_waits_may_go() -> None:
    house = SmallHouse()
    ch, other = house.channel(), house.channel()
    fill(other, b"1")
    house.disk_is_slow = True
    ch.send(Basic.Get(queue="q"))
    ch.peer.drop()
    house.disk_is_slow = False
    house.run()
    assert other.must_get("q").body == b"1"


def test_counts_are_exact_whatever_is_on_disk() -> None:
    house = SmallHouse()
    ch = house.channel()
    fill(ch, *[b"%d" % number for number in range(20)])
    assert ch.declare_queue("q", passive=True).message_count == 20
    held = [ch.must_get("q").tag for _ in range(3)]
    assert ch.declare_queue("q", passive=True).message_count == 17
    assert ch.purge("q") == 17
    ch.nack(held[1])
    assert ch.declare_queue("q", passive=True).message_count == 1
    assert ch.must_get("q").body == b"1"
    assert ch.delete_queue("q") == 0
    assert house._disk.segments == {}


def test_requeued_messages_come_before_those_on_disk() -> None:
    house = SmallHouse()
    ch = house.channel()
    fill(ch, *[b"%d" % number for number in range(8)])
    tags = [ch.must_get("q").tag for _ in range(4)]
    fill(ch, b"8")
    ch.nack(tags[2])
    ch.nack(tags[0])
    ch.sync("q")
    assert ch.get_bodies("q") == [b"0", b"2", b"4", b"5", b"6", b"7", b"8"]


def test_queues_that_are_not_durable_page_too_and_leave_nothing() -> None:
    house = SmallHouse()
    ch = house.channel()
    bodies = [b"%d" % number for number in range(10)]
    fill(ch, *bodies, durable=False)
    assert house.queue("q").line.ready.on_disk == 10
    assert ch.get_bodies("q") == bodies
    house.run()
    assert house._disk.segments == {}


def test_a_damaged_block_is_reported_counted_and_never_served() -> None:
    house = SmallHouse()
    ch = house.channel()
    house.paused = True
    ch.send(Queue.Declare(queue="q", durable=True))
    for number in range(3):
        ch.publish(b"first %d" % number, key="q", properties=PERSISTENT)
    house.paused = False
    house.run()
    items(ch)
    fill(ch, b"second")
    name = segment_of(house)
    damage(house, FILE_HEADER_BYTES + 50)
    assert ch.get_bodies("q") == [b"second"]
    assert ch.declare_queue("q", passive=True).message_count == 0
    assert core(house.node).messages_lost == 3
    assert f"{name}, offset 32: a block of 3 messages is damaged" in house.log_lines
    assert any("3 messages of queue 'q' cannot be read" in line for line in house.log_lines)


def test_a_read_that_fails_is_tried_again_and_then_stepped_over() -> None:
    house = SmallHouse()
    ch = house.channel()
    fill(ch, b"1", b"2")
    house.disk_is_slow = True
    ch.send(Basic.Get(queue="q"))
    node = house.node
    for attempt in range(READ_ATTEMPTS_MAX):
        (request,) = node.take_reads()
        assert request.attempts == attempt + 1
        node.messages_read(request, None, "Input/output error", house.now)
        house.run()
        house.advance(RETRY_S)
    name = segment_of(house)
    first = f"{name}, offset 32: Input/output error; queue 'q' waits, and tries again for a minute"
    assert house.log_lines.count(first) == 1
    assert f"{name}, offset 32: Input/output error" in house.log_lines
    house.disk_is_slow = False
    house.run()
    (message,) = items(ch)
    assert isinstance(message, Message)
    assert message.body == b"2"
    assert core(house.node).messages_lost == 1
    assert house.queue("q").line.ready.count == 0


def test_the_rest_of_a_segment_that_cannot_be_read_is_given_up_sooner() -> None:
    house = SmallHouse()
    ch = house.channel()
    fill(ch, b"1", b"2", b"3")
    house.disk_is_slow = True
    ch.send(Basic.Get(queue="q"))
    node = house.node
    attempts = []
    while requests := node.take_reads():
        attempts.append(requests[0].attempts)
        node.messages_read(requests[0], None, "Input/output error", house.now)
        house.run()
        house.advance(RETRY_S)
    assert attempts[:READ_ATTEMPTS_MAX] == list(range(1, READ_ATTEMPTS_MAX + 1))
    assert set(attempts[READ_ATTEMPTS_MAX:]) == set(range(1, DAMAGED_ATTEMPTS_MAX + 1))
    assert core(house.node).messages_lost == 3


def test_a_read_that_fails_once_costs_nothing() -> None:
    house = SmallHouse()
    ch = house.channel()
    fill(ch, b"1")
    house.disk_is_slow = True
    ch.send(Basic.Get(queue="q"))
    (request,) = house.node.take_reads()
    house.node.messages_read(request, None, "Too many open files", house.now)
    house.disk_is_slow = False
    house.advance(RETRY_S)
    (message,) = items(ch)
    assert isinstance(message, Message)
    assert message.body == b"1"
    assert core(house.node).messages_lost == 0


def test_what_keeps_the_oldest_journal_file_is_moved(house: House, ch: Channel) -> None:
    """A message that waits, one that is out, and one that came back; in order afterwards."""
    journal = core(house.node).journal
    journal._file_bytes_max = 2000
    fill(ch, b"out", b"back", b"waits")
    ch.declare_queue("busy", durable=True)
    out, back = ch.must_get("q"), ch.must_get("q")
    ch.nack(back.tag)
    for _ in range(100):
        ch.publish(bytes(500), key="busy", properties=PERSISTENT)
        ch.must_get("busy", no_ack=True)
        house.advance(0.1)
    assert len(house._disk.files) <= FILES_MAX + 2
    assert min(house._disk.files) > 1
    house.restart(clean=False)
    ch = house.channel()
    assert ch.get_bodies("q") == [b"out", b"back", b"waits"]
    assert out.body == b"out"


def test_what_was_settled_meanwhile_is_not_moved(house: House, ch: Channel) -> None:
    journal = core(house.node).journal
    journal._file_bytes_max = 2000
    fill(ch, b"1", b"2")
    ch.declare_queue("busy", durable=True)
    message = ch.must_get("q")
    for number in range(100):
        ch.publish(bytes(500), key="busy", properties=PERSISTENT)
        ch.must_get("busy", no_ack=True)
        if number == 50:
            ch.ack(message.tag)
        house.advance(0.1)
    house.restart(clean=False)
    assert house.channel().get_bodies("q") == [b"2"]


def test_the_disk_rests_however_much_is_out_for_delivery(house: House, ch: Channel) -> None:
    """More than the files that are kept anyway: writing it once more would gain nothing."""
    journal = core(house.node).journal
    journal._file_bytes_max = 2000
    fill(ch, *[b"%500d" % number for number in range(100)])
    ch.consume("q")
    for number in range(100):
        ch.expect_delivery(b"%500d" % number)
    house.advance(1.0)
    position = journal.position
    for _ in range(20):
        house.advance(1.0)
    assert journal.position <= position + 1
    house.restart(clean=False)
    assert len(house.channel().get_bodies("q")) == 100


def test_a_long_tail_in_the_oldest_file_becomes_a_segment(house: House, ch: Channel) -> None:
    journal = core(house.node).journal
    journal._file_bytes_max = 20_000
    bodies = [b"%d" % number for number in range(300)]
    fill(ch, *bodies)
    ch.declare_queue("busy", durable=True)
    assert house._disk.segments == {}
    for _ in range(300):
        ch.publish(bytes(5000), key="busy", properties=PERSISTENT)
        ch.must_get("busy", no_ack=True)
    assert len(house._disk.segments) == 1
    assert house.queue("q").line.ready.on_disk == 300
    assert len(house._disk.files) <= FILES_MAX + 1
    assert ch.get_bodies("q") == bodies


def test_priorities_come_back_from_disk_in_their_order() -> None:
    """Each has segments of its own; a restart finds them again."""
    house = SmallHouse()
    ch = house.channel()
    ch.declare_queue("q", durable=True, arguments={"x-max-priority": 9})
    for number in range(20):
        properties = Basic.Properties(delivery_mode=2, priority=number % 4)
        ch.publish(b"%d" % number, key="q", properties=properties)
    ch.sync("q")
    assert [line.ready.on_disk for line in house.queue("q").lines()] == [5, 5, 5, 5]
    house.restart(clean=False)
    expected = [b"%d" % number for number in sorted(range(20), key=lambda each: -(each % 4))]
    assert house.channel().get_bodies("q") == expected
    house.advance(1.0)
    assert house._disk.segments == {}


def test_what_came_back_is_dropped_before_a_segment_behind_it() -> None:
    house = SmallHouse()
    ch = house.channel()
    ch.declare_queue("q", durable=True, arguments={"x-max-length": 6})

    def publish(*numbers: int) -> None:
        for number in numbers:
            ch.publish(b"%d" % number, key="q", properties=PERSISTENT)
        ch.sync("q")

    publish(0, 1, 2)
    publish(3, 4, 5)
    house.advance(0.1)
    publish(6, 7, 8)
    publish(9, 10)
    five = ch.must_get("q")
    house.advance(0.1)
    six = ch.must_get("q")
    assert (five.body, six.body) == (b"5", b"6")
    ch.nack(six.tag)
    ch.sync("q")
    publish(11, 12, 13)
    ch.nack(five.tag)
    ch.sync("q")
    publish(14)
    assert ch.get_bodies("q") == [b"%d" % number for number in range(9, 15)]
