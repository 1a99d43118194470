"""Read-ahead windows and messages that came back, under pressure."""

from __future__ import annotations

from pamqp.common import FieldTable

from amqbroker.core.memory import SMALL_READ_BYTES
from tests.core.house import PERSISTENT, House, core
from tests.semantics.peer import Channel

BODY = bytes(1000)
COUNT = 300


def fill(house: House, ch: Channel, name: str, *, durable: bool = True) -> list[bytes]:
    """Messages in a queue, all of them on disk."""
    ch.declare_queue(name, durable=durable)
    bodies = [b"%d " % number + BODY for number in range(COUNT)]
    for body in bodies:
        ch.publish(body, key=name, properties=PERSISTENT)
    memory = core(house.node).memory
    memory.spill(house.queue(name).line, 0)
    house.advance(0.1)
    assert house.queue(name).line.ready.on_disk == COUNT
    assert memory.bytes == 0
    return bodies


def fetch(ch: Channel, count: int = 2 * COUNT, **arguments: str) -> tuple[list[bytes], list[int]]:
    """Messages of a new queue that were all fetched: bodies and tags."""
    named: FieldTable = {"x-" + key.replace("_", "-"): arguments[key] for key in arguments}
    ch.declare_queue("q", durable=True, arguments=named)
    bodies = [b"%d " % number + BODY for number in range(count)]
    for body in bodies:
        ch.publish(body, key="q", properties=PERSISTENT)
    return bodies, [ch.must_get("q").tag for _ in bodies]


def press(house: House, bytes_max: int = 0) -> None:
    """There is no memory for messages any more."""
    core(house.node).memory.bytes_max = bytes_max
    house.run()
    house.queue("q").wake()
    house.advance(0.1)


def test_busy_consumers_have_small_windows(house: House, ch: Channel) -> None:
    fill(house, ch, "q")
    ch.qos(1)
    ch.consume("q")
    assert 0 < core(house.node).memory.bytes < 8 * SMALL_READ_BYTES
    assert house.queue("q").line.ready.on_disk > COUNT // 2


def test_windows_of_busy_consumers_are_given_back(house: House, ch: Channel) -> None:
    bodies = fill(house, ch, "q")
    ch.qos(1)
    ch.consume("q")
    tag = ch.expect_delivery().tag
    memory = core(house.node).memory
    memory.back_min = 1000
    assert memory.bytes > 20_000
    press(house)
    # What is out for delivery stays.
    assert memory.bytes < 2000
    found = [bodies[0]]
    while len(found) < COUNT:
        ch.ack(tag)
        message = ch.expect_delivery()
        found.append(message.body)
        tag = message.tag
    assert found == bodies
    ch.ack(tag)
    house.advance(0.1)
    assert house._disk.segments == {}


def test_what_comes_back_from_segments_goes_there_again(house: House, ch: Channel) -> None:
    bodies = fill(house, ch, "q")
    tags = [ch.must_get("q").tag for _ in range(COUNT)]
    ch.nack(tags[-1], multiple=True)
    memory = core(house.node).memory
    assert memory.bytes > COUNT * 1000
    written = sum(map(len, house._disk.segments.values()))
    press(house)
    assert memory.bytes == 0
    assert sum(map(len, house._disk.segments.values())) == written
    assert house.queue("q").ready_count() == COUNT
    message = ch.must_get("q")
    assert (message.body, message.redelivered) == (bodies[0], True)
    assert ch.get_bodies("q") == bodies[1:]


def test_what_comes_back_and_was_never_on_disk_goes_there(house: House, ch: Channel) -> None:
    bodies, tags = fetch(ch)
    ch.nack(tags[-1], multiple=True)
    press(house)
    assert core(house.node).memory.bytes == 0
    house.restart(clean=False)
    assert house.channel().get_bodies("q") == bodies


def test_what_is_out_lies_in_no_segment(house: House, ch: Channel) -> None:
    bodies, tags = fetch(ch)
    ch.qos(1)
    ch.consume("q")
    for place, tag in enumerate(tags):
        if place != COUNT:
            ch.nack(tag)
    assert ch.expect_delivery().body == bodies[0]
    press(house)
    # That one, and the one that was never given back.
    assert house.queue("q").line.ready.on_disk == 2 * COUNT - 2
    assert len(house._disk.segments) == 2
    house.restart(clean=False)
    assert house.channel().get_bodies("q") == bodies


def test_what_is_out_by_basic_get_is_in_no_segment_of_others(house: House, ch: Channel) -> None:
    bodies, tags = fetch(ch, 2 * COUNT + 1)
    for place, tag in enumerate(tags):
        if place != COUNT:
            ch.nack(tag)
    press(house)
    assert house.queue("q").line.ready.on_disk == 2 * COUNT
    house.restart(clean=False)
    assert house.channel().get_bodies("q") == bodies


def test_what_was_settled_in_between_a_moment_ago_does_no_harm(house: House, ch: Channel) -> None:
    ch.declare_queue("q", durable=True)
    bodies = [b"%d " % number + BODY for number in range(2 * COUNT)]
    for body in bodies:
        ch.publish(body, key="q", properties=PERSISTENT)
    house.advance(1)
    tags = [ch.must_get("q").tag for _ in bodies]
    house.paused = True
    core(house.node).memory.bytes_max = 0
    for place, tag in enumerate(tags):
        if place % 3 == 1:
            ch.ack(tag)
        else:
            ch.nack(tag)
    house.paused = False
    house.run()
    house.advance(1)
    assert house.queue("q").line.ready.on_disk == COUNT * 4 // 3
    left = [body for place, body in enumerate(bodies) if place % 3 != 1]
    house.restart(clean=False)
    again = house.channel()
    assert house.queue("q").ready_count() == len(left)
    assert again.get_bodies("q") == left


def test_a_purge_drops_what_was_given_back(house: House, ch: Channel) -> None:
    fill(house, ch, "q")
    tags = [ch.must_get("q").tag for _ in range(10)]
    for tag in tags[:5]:
        ch.nack(tag)
    press(house)
    assert ch.purge("q") == COUNT - 5
    house.advance(0.1)
    house.restart(clean=False)
    assert house.queue("q").ready_count() == 5


def test_what_was_settled_just_now_is_no_message_of_a_segment(house: House, ch: Channel) -> None:
    """Its record follows that of the segment: it would count as one of the segment's messages,
    which would go with the last but one of them."""
    bodies, tags = fetch(ch)
    core(house.node).memory.bytes_max = 0
    house.paused = True
    for place, tag in enumerate(tags):
        if place == COUNT:
            ch.ack(tag)
        else:
            ch.nack(tag)
    house.paused = False
    house.advance(0.1)
    assert house.queue("q").line.ready.on_disk == 2 * COUNT - 1
    del bodies[COUNT]
    for body in bodies[:-1]:
        message = ch.must_get("q")
        assert message.body == body
        ch.ack(message.tag)
    house.advance(0.1)
    house.restart(clean=False)
    assert house.channel().get_bodies("q") == bodies[-1:]


def test_what_is_dying_lies_in_no_segment(house: House, ch: Channel) -> None:
    ch.declare_queue(
        "full", durable=True, arguments={"x-max-length": 1, "x-overflow": "reject-publish"}
    )
    ch.publish(b"first", key="full", properties=PERSISTENT)
    bodies, tags = fetch(ch, dead_letter_exchange="", dead_letter_routing_key="full")
    for place, tag in enumerate(tags):
        ch.nack(tag, requeue=place != COUNT)
    press(house)
    assert house.queue("q").line.ready.on_disk == 2 * COUNT - 1
    house.restart(clean=False)
    assert house.channel().get_bodies("q") == bodies


def test_a_count_of_deliveries_goes_along(house: House, ch: Channel) -> None:
    ch.declare_queue("q", durable=True, arguments={"x-delivery-limit": 9})
    bodies = [b"%d " % number + BODY for number in range(3 * COUNT)]
    for body in bodies:
        ch.publish(body, key="q", properties=PERSISTENT)
    tags = [ch.must_get("q").tag for _ in range(2 * COUNT)]
    core(house.node).memory.spill(house.queue("q").line, 0)
    ch.nack(tags[COUNT])
    house.advance(0.1)
    house.restart(clean=False)
    assert house.queue("q").line.ready.on_disk == COUNT
    press(house)
    assert house.queue("q").line.ready.on_disk == 3 * COUNT
    house.restart(clean=False)
    assert house.channel().get_bodies("q") == bodies
