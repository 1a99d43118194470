"""A look at queues in memory and on disk that changes nothing."""

from __future__ import annotations

from amqbroker.management.peeking import Peek
from tests.core.house import PERSISTENT, House
from tests.core.test_paging import damage, fill, segment_of
from tests.core.test_paging_model import SmallHouse


def look(house: House, count: int = 100, queue: str = "q") -> Peek:
    """A whole look."""
    peek = Peek(house.queue(queue), count)
    while (piece := peek.next_piece()) is not None:
        peek.piece_read(house._disk.read_at(piece.name, piece.offset, piece.length))
    return peek


def bodies(peek: Peek) -> list[bytes]:
    return [seen.message.body for seen in peek.messages()]


def test_messages_in_memory_in_their_order() -> None:
    house = House()
    ch = house.channel()
    ch.declare_queue("q")
    for body in (b"1", b"2", b"3", b"4"):
        ch.publish(body, key="q")
    ch.nack(ch.must_get("q").tag, requeue=True)
    ch.must_get("q")
    ch.nack(ch.must_get("q").tag, requeue=True)
    seen = look(house).messages()
    assert [(each.message.body, each.redelivered) for each in seen] == [
        (b"2", True),
        (b"3", False),
        (b"4", False),
    ]
    assert [each.deliveries for each in seen] == [1, 0, 0]
    assert bodies(look(house, 2)) == [b"2", b"3"]
    assert house.queue("q").ready_count() == 3
    assert ch.get_bodies("q") == [b"2", b"3", b"4"]


def test_messages_on_disk_and_around_them() -> None:
    house = SmallHouse()
    ch = house.channel()
    fill(ch, *[b"%d" % number for number in range(40)])
    ready = house.queue("q").line.ready
    assert ready.on_disk > 30
    ch.nack(ch.must_get("q").tag, requeue=True)
    before = (ready.count, ready.on_disk, house.queue("q").unacked_count)
    seen = look(house).messages()
    assert [each.message.body for each in seen] == [b"%d" % number for number in range(40)]
    assert [each.redelivered for each in seen] == [True] + [False] * 39
    assert bodies(look(house, 7)) == [b"%d" % number for number in range(7)]
    assert (ready.count, ready.on_disk, house.queue("q").unacked_count) == before
    assert ch.get_bodies("q") == [b"%d" % number for number in range(40)]


def test_after_a_restart_settled_messages_are_not_shown() -> None:
    house = SmallHouse()
    ch = house.channel()
    fill(ch, *[b"%d" % number for number in range(20)])
    taken = [ch.must_get("q") for _ in range(6)]
    for message in taken[1:5]:
        ch.ack(message.tag)
    ch.sync("q")
    house.restart(clean=True)
    expected = [b"0"] + [b"%d" % number for number in range(5, 20)]
    seen = look(house).messages()
    assert [each.message.body for each in seen] == expected
    assert [each.redelivered for each in seen] == [True, True] + [False] * 14
    assert house.channel().get_bodies("q") == expected


def test_priorities_are_served_and_shown_first() -> None:
    house = House()
    ch = house.channel()
    ch.declare_queue("q", arguments={"x-max-priority": 5})
    for priority in (0, 3, 1, 3):
        properties = type(PERSISTENT)(priority=priority)
        ch.publish(b"%d" % priority, key="q", properties=properties)
    assert bodies(look(house)) == [b"3", b"3", b"1", b"0"]
    assert bodies(look(house, 3)) == [b"3", b"3", b"1"]


def test_what_is_being_written_is_waited_for() -> None:
    house = SmallHouse()
    ch = house.channel()
    ch.declare_queue("q", durable=True)
    house.disk_is_slow = True
    ch.publish(b"1", key="q", properties=PERSISTENT)
    house.run()
    queue = house.queue("q")
    house.disk_is_slow = False
    house.run()
    assert queue.line.ready.on_disk == 1
    house.disk_is_slow = True
    ch.publish(b"2", key="q", properties=PERSISTENT)
    house.run()
    peek = Peek(queue, 10)
    while (piece := peek.next_piece()) is not None:
        peek.piece_read(house._disk.read_at(piece.name, piece.offset, piece.length))
    if peek.is_in_flight():
        house.disk_is_slow = False
        house.run()
        while (piece := peek.next_piece()) is not None:
            peek.piece_read(house._disk.read_at(piece.name, piece.offset, piece.length))
    assert bodies(peek) == [b"1", b"2"]


def test_damage_is_named_and_stepped_over() -> None:
    house = SmallHouse()
    ch = house.channel()
    fill(ch, b"1")
    fill(ch, b"2", b"3")
    damage(house, 70)
    peek = look(house)
    assert len(peek.problems()) == 1
    assert peek.problems()[0].startswith(segment_of(house))
