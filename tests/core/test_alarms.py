"""When an alarm begins and ends, and what publishers and consumers notice."""

from __future__ import annotations

import pytest
from pamqp.commands import Basic, Connection

from amqbroker.core.alarms import Alarms

from .house import House

GIB = 1 << 30


@pytest.fixture
def alarms() -> Alarms:
    made = Alarms()
    made.memory_watermark = 1000
    made.disk_free_limit = 1000
    return made


@pytest.mark.parametrize(
    ("used", "reason"), [(0, ""), (1000, ""), (1001, "low on memory"), (GIB, "low on memory")]
)
def test_memory_beyond_the_watermark_is_low(alarms: Alarms, used: int, reason: str) -> None:
    alarms.measure_memory(used, used)
    assert alarms.reason() == reason


def test_memory_has_to_fall_a_little_below_the_watermark(alarms: Alarms) -> None:
    alarms.measure_memory(1001, 500)
    alarms.measure_memory(951, 500)
    assert alarms.reason()
    alarms.measure_memory(950, 500)
    assert not alarms.reason()
    alarms.measure_memory(1000, 500)
    assert not alarms.reason()


@pytest.mark.parametrize(("free", "reason"), [(GIB, ""), (1000, ""), (999, "low on disk")])
def test_less_disk_than_the_limit_is_low(alarms: Alarms, free: int, reason: str) -> None:
    alarms.measure_disk(free)
    assert alarms.reason() == reason


def test_the_disk_has_to_take_a_little_more_than_the_limit(alarms: Alarms) -> None:
    alarms.measure_disk(999)
    alarms.measure_disk(1099)
    assert alarms.reason()
    alarms.measure_disk(1100)
    assert not alarms.reason()
    alarms.measure_disk(1000)
    assert not alarms.reason()


def test_memory_that_only_an_allocator_keeps_is_not_low(alarms: Alarms) -> None:
    alarms.measure_memory(1100, 900)
    assert alarms.reason()
    # All of that is drained, and little of it could be given back.
    alarms.measure_memory(1050, 100)
    assert not alarms.reason()
    # New messages take what is free.
    alarms.measure_memory(1050, 700)
    assert not alarms.reason()


def test_memory_that_was_given_back_hides_nothing_later(alarms: Alarms) -> None:
    alarms.measure_memory(100_000, 99_900)
    # Drained, and given back but for 100.
    alarms.measure_memory(200, 100)
    assert not alarms.reason()
    alarms.measure_memory(1_100, 100)
    assert not alarms.reason()
    # A leak.
    alarms.measure_memory(1_101, 100)
    assert alarms.reason()


def test_new_messages_take_what_is_kept_first(alarms: Alarms) -> None:
    alarms.measure_memory(900, 900)
    alarms.measure_memory(900, 100)
    alarms.measure_memory(900, 700)
    assert not alarms.reason()
    # Of 800 that were kept 600 are taken.
    alarms.measure_memory(1_200, 700)
    assert not alarms.reason()
    alarms.measure_memory(1_201, 700)
    assert alarms.reason()


def test_memory_that_no_account_ever_knew_is_low(alarms: Alarms) -> None:
    alarms.measure_memory(1001, 100)
    assert alarms.reason()
    alarms.measure_memory(900, 100)
    assert not alarms.reason()
    # What was drained explains a part of it.
    alarms.measure_memory(900, 600)
    alarms.measure_memory(1500, 100)
    assert not alarms.reason()
    alarms.measure_memory(1501, 100)
    assert alarms.reason()


def test_memory_that_is_accounted_for_is_low_wherever_it_is(alarms: Alarms) -> None:
    alarms.measure_memory(100, 1001)
    assert alarms.reason()


def test_both_are_named(alarms: Alarms) -> None:
    alarms.measure_disk(1)
    alarms.measure_memory(GIB, GIB)
    assert alarms.reason() == "low on memory & disk"


def test_without_limits_nothing_is_low() -> None:
    alarms = Alarms()
    alarms.measure_memory(GIB, GIB)
    alarms.measure_disk(0)
    assert alarms.reason() == ""


def test_a_watermark_of_nothing_blocks_at_once() -> None:
    alarms = Alarms()
    alarms.memory_watermark = 0
    alarms.measure_memory(1, GIB)
    assert alarms.reason() == "low on memory"


# In a node.


def test_the_log_says_once_what_is_low_and_that_it_is_over(house: House) -> None:
    house.node.limit_memory(1000 * 10**6, GIB)
    house.node.serving(600 * 10**6)
    house.node.limit_disk(50 * 10**6)
    for used in (900, 1100, 1200, 980, 100, 200):
        house.node.memory_measured(used * 10**6, house.now)
        house.node.disk_measured(10**9, house.now)
        house.run()
    assert house.log_lines == [
        "low on memory: publishers are blocked (memory in use: 1,100.0 MB of 1,000.0 MB; "
        "disk free: 1,000.0 MB, limit 50.0 MB)",
        "no longer low on memory: publishers go on (memory in use: 100.0 MB of 1,000.0 MB; "
        "disk free: 1,000.0 MB, limit 50.0 MB)",
    ]


def test_a_blocked_publisher_goes_on_where_it_stopped(house: House) -> None:
    peer = house.connect()
    ch = peer.open_channel()
    ch.declare_queue("q")
    ch.confirm()
    house.node.limit_disk(100)
    house.node.disk_measured(99, house.now)
    for number in range(3):
        ch.publish(b"%d" % number, key="q")
    peer.expect(Connection.Blocked)
    assert ch.expect(Basic.Ack).delivery_tag == 1
    house.node.disk_measured(110, house.now)
    house.run()
    peer.expect(Connection.Unblocked)
    ch.expect_confirms(3, first=2)


def test_a_connection_that_is_being_closed_hears_nothing(house: House) -> None:
    peer = house.connect()
    ch = peer.open_channel()
    house.node.limit_disk(100)
    house.node.disk_measured(99, house.now)
    ch.publish(exchange="amq.fanout")
    peer.expect(Connection.Blocked)
    house.node.shut_down("shutdown", house.now)
    house.node.disk_measured(110, house.now)
    house.run()
    peer.expect(Connection.Close)
    assert not peer.waiting()
