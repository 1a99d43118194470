"""Dead letters that come from disk first: which, in which order, and what becomes of damage."""

from __future__ import annotations

from pamqp.common import FieldTable

from tests.core.house import PERSISTENT, House, core
from tests.core.test_unloading import press
from tests.semantics.peer import Channel

COUNT = 600


def rejected(house: House, ch: Channel, arguments: FieldTable | None = None) -> list[int]:
    """The tags of messages that are out for delivery, and only on disk."""
    ch.declare_queue("dead", durable=True)
    dies: FieldTable = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "dead"}
    ch.declare_queue("q", durable=True, arguments={**dies, **(arguments or {})})
    for number in range(COUNT):
        ch.publish(b"%d " % number + bytes(1000), key="q", properties=PERSISTENT)
    tags = [ch.must_get("q").tag for _ in range(COUNT)]
    press(house)
    assert core(house.node).memory.unloaded == COUNT
    return tags


def numbers(ch: Channel, name: str = "dead") -> list[int]:
    """What is in a queue."""
    return [int(body.split(b" ")[0]) for body in ch.get_bodies(name)]


def test_what_is_rejected_is_read_and_sent_on(house: House, ch: Channel) -> None:
    tags = rejected(house, ch)
    ch.nack(tags[-1], multiple=True, requeue=False)
    house.advance(0.1)
    message = ch.must_get("dead")
    deaths = message.headers["x-death"]
    assert isinstance(deaths, list)
    assert isinstance(deaths[0], dict)
    assert (deaths[0]["reason"], deaths[0]["queue"]) == ("rejected", "q")
    assert numbers(ch) == list(range(1, COUNT))
    house.advance(0.1)
    house.restart(clean=False)
    assert house.queue("q").ready_count() == 0


def test_dead_letters_keep_the_order_of_their_rejects(house: House, ch: Channel) -> None:
    tags = rejected(house, ch)
    core(house.node).memory.bytes_max = 1 << 30
    ch.publish(b"1000 ", key="q", properties=PERSISTENT)
    fresh = ch.must_get("q").tag
    house.paused = True
    for tag in (tags[500], fresh, tags[3]):
        ch.reject(tag, requeue=False)
    house.paused = False
    house.run()
    assert numbers(ch) == [500, 1000, 3]


def test_more_than_a_delivery_limit_allows(house: House, ch: Channel) -> None:
    tags = rejected(house, ch, {"x-queue-type": "quorum", "x-delivery-limit": 0})
    ch.nack(tags[4], multiple=True)
    assert numbers(ch) == [0, 1, 2, 3, 4]


def test_until_they_are_sent_on_a_crash_brings_them_back(house: House, ch: Channel) -> None:
    tags = rejected(house, ch)
    house.paused = True
    ch.nack(tags[-1], multiple=True, requeue=False)
    house.hand_over()
    house.node.settle(house.now)
    assert house.queue("q").reloading is not None
    house.paused = False
    house.restart(clean=False)
    assert house.queue("q").ready_count() == COUNT


def test_a_queue_that_is_deleted_gives_them_up(house: House, ch: Channel) -> None:
    tags = rejected(house, ch)
    house.paused = True
    ch.nack(tags[-1], multiple=True, requeue=False)
    house.hand_over()
    house.paused = False
    ch.delete_queue("q")
    house.advance(0.1)
    assert core(house.node).memory.unloaded == 0
    assert core(house.node).memory.bytes == 0


def test_what_is_damaged_is_said_and_left_out(house: House, ch: Channel) -> None:
    tags = rejected(house, ch)
    (name,) = house._disk.segments
    data = bytearray(house._disk.segments[name])
    place = data.index(b"100 " + bytes(1000))
    data[place] ^= 1
    house._disk.segments[name] = bytes(data)
    ch.nack(tags[-1], multiple=True, requeue=False)
    house.advance(0.1)
    found = numbers(ch)
    assert 0 < COUNT - len(found) < 50
    assert 100 not in found
    assert core(house.node).messages_lost == COUNT - len(found)
