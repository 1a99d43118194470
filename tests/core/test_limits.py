"""Length limits, where the clients' view (tests/semantics) does not reach: disk, restarts, rules
that change."""

from __future__ import annotations

import pytest
from pamqp.commands import Basic

from amqbroker.core.queue import DROPS_A_TURN
from amqbroker.core.rules import Rules
from amqbroker.exchanges.base import Table
from tests.core.house import PERSISTENT, House, core
from tests.core.test_expiry import count_reads, lives, ready
from tests.core.test_paging_model import SmallHouse
from tests.semantics import wire
from tests.semantics.peer import Channel


def on_disk(count: int, arguments: Table | None = None, size: int = 1) -> tuple[House, Channel]:
    """A queue with durable messages, three a segment."""
    house = SmallHouse()
    ch = house.channel()
    ch.declare_queue("q", durable=True, arguments=arguments)  # type: ignore[arg-type]
    ch.fill("q", *[b"%0*d" % (size, number) for number in range(count)], properties=PERSISTENT)
    return house, ch


def set_rules(house: House, rules: Rules) -> None:
    """Other rules for the queue."""
    house.queue("q").set_rules(rules)
    house.run()


def test_the_bytes_of_a_queue_are_those_of_its_bodies_wherever_they_are() -> None:
    house, ch = on_disk(10, size=4)
    queue = house.queue("q")
    assert queue.line.ready.on_disk > 0
    assert queue.ready_bytes() == 40
    out = [ch.must_get("q").tag for _ in range(3)]
    assert queue.ready_bytes() == 28
    ch.nack(out[1])
    ch.ack(out[0])
    ch.sync("q")
    assert queue.ready_bytes() == 32
    house.advance(0.1)
    house.restart(clean=False)
    assert house.queue("q").ready_bytes() == 36
    ch = house.channel()
    assert len(ch.get_bodies("q")) == 9
    assert house.queue("q").ready_bytes() == 0


def test_a_purged_queue_has_no_bytes() -> None:
    house, ch = on_disk(10)
    ch.must_get("q")
    ch.purge("q")
    assert house.queue("q").ready_bytes() == 0


@pytest.mark.parametrize("limit", ["x-max-length", "x-max-length-bytes"])
def test_a_lowered_limit_drops_at_once(house: House, ch: Channel, limit: str) -> None:
    ch.declare_queue("q")
    ch.fill("q", b"1", b"2", b"3", b"4")
    set_rules(house, Rules({limit: 2}))
    assert ready(ch) == 2
    set_rules(house, Rules({limit: 10}))
    ch.fill("q", b"5")
    assert ch.get_bodies("q") == [b"3", b"4", b"5"]


def test_a_lowered_limit_does_not_refuse_what_is_there(house: House, ch: Channel) -> None:
    ch.declare_queue("q")
    ch.fill("q", b"1", b"2", b"3")
    set_rules(house, Rules({"x-max-length": 1, "x-overflow": "reject-publish"}))
    ch.confirm()
    ch.publish(b"4", key="q")
    assert ch.expect(Basic.Nack).delivery_tag == 1
    assert ch.get_bodies("q") == [b"1", b"2", b"3"]


@pytest.mark.parametrize("limit", ["x-max-length", "x-max-length-bytes"])
def test_whole_segments_that_are_too_much_go_unread(limit: str) -> None:
    house, ch = on_disk(10)
    reads = count_reads(house)
    set_rules(house, Rules({limit: 2}))
    assert ready(ch) == 2
    assert len({name for name in reads if not name.endswith("-3.seg")}) == 0
    assert ch.get_bodies("q") == [b"8", b"9"]


def test_empty_bodies_are_not_dropped_with_their_segment() -> None:
    house = SmallHouse()
    ch = house.channel()
    ch.declare_queue("q", durable=True)
    ch.fill("q", *[b""] * 7, properties=PERSISTENT)
    set_rules(house, Rules({"x-max-length": 6, "x-max-length-bytes": 0}))
    assert ready(ch) == 6


def test_with_a_dead_letter_exchange_what_is_too_much_is_read() -> None:
    house, ch = on_disk(10)
    reads = count_reads(house)
    set_rules(house, Rules({"x-max-length": 2, "x-dead-letter-exchange": "amq.fanout"}))
    assert ready(ch) == 2
    assert len(set(reads)) >= 3


def test_a_queue_that_is_on_disk_keeps_its_limit() -> None:
    house, ch = on_disk(0, {"x-max-length": 5})
    for number in range(50):
        ch.publish(b"%d" % number, key="q", properties=PERSISTENT)
    assert ready(ch) == 5
    assert ch.get_bodies("q") == [b"45", b"46", b"47", b"48", b"49"]
    house.advance(0.2)
    assert house._disk.segments == {}


def outrun() -> tuple[House, Channel, list[int]]:
    """A full queue on disk, and the tags of what its consumer has of it, who is at its limit; dead
    letters go to the queue "dead"."""
    dead = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "dead"}
    house, ch = on_disk(0, {"x-max-length": 5, **dead})
    ch.declare_queue("dead")
    ch.qos(4)
    ch.consume("q")
    for number in range(9):
        ch.publish(b"%d" % number, key="q", properties=PERSISTENT)
    tags = [ch.expect_delivery(b"%d" % number).tag for number in range(4)]
    house.advance(0.1)
    assert (core(house.node).memory.unloaded, ready(ch)) == (4, 5)
    return house, ch, tags


def test_what_comes_back_too_much_goes_before_anybody_gets_anything() -> None:
    """Though it must be read first."""
    _, ch, tags = outrun()
    ch.nack(tags[-1], multiple=True)
    for number in range(4, 8):
        ch.expect_delivery(b"%d" % number)
    ch.sync("q")
    assert ch.get_bodies("dead") == [b"0", b"1", b"2", b"3"]
    assert ch.get_bodies("q") == [b"8"]


def test_what_comes_while_it_is_read_does_not_add_to_it() -> None:
    house, ch, tags = outrun()
    house.paused = True
    ch.nack(tags[-1], multiple=True)
    for body in (b"a", b"b"):
        ch.publish(body, key="q", properties=PERSISTENT)
    house.hand_over()
    assert house.queue("q").ready_count() == 11
    house.paused = False
    for number in range(4, 8):
        ch.expect_delivery(b"%d" % number)
    ch.sync("q")
    assert ch.get_bodies("dead") == [b"0", b"1", b"2", b"3"]
    assert ch.get_bodies("q") == [b"8", b"a", b"b"]


def test_what_comes_while_the_head_is_read_is_offered_to_who_has_room() -> None:
    """A time to live of 0 is "now or never", and there is room now."""
    house, ch = on_disk(3)
    assert house.queue("q").line.ready.on_disk == 3
    house.paused = True
    ch.send(Basic.Consume(queue="q", consumer_tag="c"))
    ch.publish(b"n", key="q", properties=lives(0))
    house.paused = False
    ch.expect(Basic.ConsumeOk)
    for body in (b"0", b"1", b"2", b"n"):
        ch.expect_delivery(body)


def test_what_was_purged_meanwhile_is_not_too_much() -> None:
    house, ch, tags = outrun()
    house.disk_is_slow = True
    ch.nack(tags[-1], multiple=True)
    house.queue("q").purge()
    house.paused = True
    for number in range(6):
        ch.publish(b"n%d" % number, key="q", properties=PERSISTENT)
    house.paused = False
    house.disk_is_slow = False
    for number in range(4):
        ch.expect_delivery(b"n%d" % number)
    ch.sync("q")
    assert ch.get_bodies("dead") == []
    assert ch.get_bodies("q") == [b"n4", b"n5"]


def test_more_than_a_turns_share_comes_back_and_is_too_much(ch: Channel) -> None:
    count = DROPS_A_TURN + 10
    ch.declare_queue("q", arguments={"x-max-length": 5})
    ch.consume("q")
    for number in range(count):
        ch.publish(b"%d" % number, key="q")
    tags = [ch.expect_delivery().tag for _ in range(count)]
    ch.nack(tags[-1], multiple=True)
    for number in range(count - 5, count):
        ch.expect_delivery(b"%d" % number)
    ch.expect_nothing("q")


def test_a_limit_survives_a_restart() -> None:
    house, _ = on_disk(5, {"x-max-length-bytes": 5})
    house.advance(0.1)
    house.restart(clean=False)
    ch = house.channel()
    ch.publish(b"ab", key="q", properties=PERSISTENT)
    assert ready(ch) == 4
    assert ch.get_bodies("q") == [b"2", b"3", b"4", b"ab"]


def test_no_turn_drops_more_than_its_share(house: House, ch: Channel) -> None:
    ch.declare_queue("q")
    count = 2 * DROPS_A_TURN + 5
    ch.fill("q", *[b"m"] * count)
    queue = house.queue("q")
    queue.set_rules(Rules({"x-max-length": 1}))
    house.node.settle(house.now)
    assert queue.ready_count() == count - DROPS_A_TURN
    house.run()
    assert queue.ready_count() == 1


def test_what_has_expired_does_not_keep_others_out(house: House, ch: Channel) -> None:
    ch.declare_queue("q", arguments={"x-max-length": 1, "x-overflow": "reject-publish"})
    ch.fill("q", b"1", properties=lives(100))
    ch.confirm()
    house.now += 1.0
    ch.publish(b"2", key="q")
    ch.expect_confirms(1)
    assert ch.get_bodies("q") == [b"2"]


@pytest.mark.parametrize("limit", [{"x-max-length": 1}, {"x-max-length-bytes": 3}])
def test_what_does_not_live_on_is_in_nobodys_way(ch: Channel, limit: dict[str, int]) -> None:
    """Of several that come at once, none of which lives."""
    ch.declare_queue("dead")
    dead = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "dead"}
    ch.declare_queue("q", arguments={**dead, **limit})
    for body in (b"1", b"22", b"333"):
        ch.publish(body, key="q", properties=Basic.Properties(expiration="0"))
    ch.sync("q")
    deaths = [ch.must_get("dead").headers["x-first-death-reason"] for _ in range(3)]
    assert deaths == ["expired"] * 3


def test_what_has_expired_behind_what_is_pushed_out(house: House, ch: Channel) -> None:
    """It is in nobody's way either, and dies as what it is, however many come at once."""
    ch.declare_queue("dead")
    target = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "dead"}
    ch.declare_queue("q", arguments={**target, "x-max-length": 3})
    ch.fill("q", b"1")
    short = Basic.Properties(expiration="0")
    for body in (b"2", b"3"):
        ch.publish(body, key="q", properties=short)
    ch.sync("q")
    burst = [
        wire.publish(ch.number, "", "q") + wire.content(ch.number, bytes(2), body)
        for body in (b"4", b"5", b"6")
    ]
    ch.peer.send_raw(b"".join(burst))
    assert ch.get_bodies("q") == [b"4", b"5", b"6"]
    dead = [ch.must_get("dead") for _ in range(3)]
    assert [(each.body, each.headers["x-first-death-reason"]) for each in dead] == [
        (b"1", "maxlen"),
        (b"2", "expired"),
        (b"3", "expired"),
    ]


def test_a_refused_message_leaves_nothing_behind(house: House, ch: Channel) -> None:
    arguments: Table = {
        "x-max-length": 0,
        "x-overflow": "reject-publish-dlx",
        "x-dead-letter-exchange": "amq.fanout",
    }
    ch.declare_queue("q", durable=True, arguments=arguments)  # type: ignore[arg-type]
    ch.confirm()
    ch.publish(b"1", key="q", properties=PERSISTENT)
    assert ch.expect(Basic.Nack).delivery_tag == 1
    house.advance(0.1)
    assert core(house.node).memory_bytes == 0
    house.restart(clean=False)
    assert ready(house.channel()) == 0


def test_an_overflow_while_the_queue_is_served_is_not_its_own_cause(
    house: House, ch: Channel
) -> None:
    """Somebody who looks at a queue that is at it is told to come back."""
    ch.declare_queue("q", arguments={"x-max-length": 1})
    queue = house.queue("q")
    queue.serving = True
    assert not queue.catch_up()
    queue.serving = False
    assert queue.catch_up()
