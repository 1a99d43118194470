"""A channel of the broker's own, on a node in memory."""

from __future__ import annotations

import pytest

from amqbroker.management.actions import make_message
from amqbroker.management.errors import ManagementError
from amqbroker.management.session import Session
from tests.core.house import PERSISTENT, House, core
from tests.core.test_paging import fill
from tests.core.test_paging_model import SmallHouse


def session_of(house: House) -> Session:
    """A new session."""
    return Session(core(house.node), house.vhost())


def test_publish_goes_where_a_clients_would_go() -> None:
    house = House()
    ch = house.channel()
    ch.declare_queue("q", durable=True)
    ch.declare_queue("copy")
    session = session_of(house)
    transient = make_message("", "q", {"headers": {"CC": ["copy"]}}, b"one")
    assert session.publish(transient) == (True, 0)
    routed, position = session.publish(make_message("", "q", {"delivery_mode": 2}, b"two"))
    assert routed
    assert position > 0
    session.close(ack=True)
    house.run()
    assert core(house.node).is_durable(position)
    assert ch.get_bodies("q") == [b"one", b"two"]
    assert ch.get_bodies("copy") == [b"one"]


def test_what_no_queue_wants_is_not_routed() -> None:
    house = House()
    session = session_of(house)
    assert session.publish(make_message("", "nothing", {}, b"m")) == (False, 0)
    with pytest.raises(ManagementError, match="no exchange 'x' in vhost '/'") as caught:
        session.publish(make_message("x", "", {}, b"m"))
    assert caught.value.code == "not-found"
    session.close(ack=True)


def test_a_full_queue_rejects_it() -> None:
    house = House()
    ch = house.channel()
    ch.declare_queue("q", arguments={"x-max-length": 1, "x-overflow": "reject-publish"})
    session = session_of(house)
    assert session.publish(make_message("", "q", {}, b"1")) == (True, 0)
    with pytest.raises(ManagementError, match="a queue is full and rejects the message"):
        session.publish(make_message("", "q", {}, b"2"))
    session.close(ack=True)
    house.run()
    assert ch.get_bodies("q") == [b"1"]


def test_nothing_is_published_while_publishers_are_blocked() -> None:
    house = House()
    house.break_disk()
    with pytest.raises(ManagementError, match="publishers are blocked: the broker is low on disk"):
        session_of(house).publish(make_message("", "q", {}, b"m"))


def test_get_takes_for_good_or_puts_back() -> None:
    house = House()
    ch = house.channel()
    ch.declare_queue("q")
    ch.fill("q", b"1", b"2", b"3")
    session = session_of(house)
    for _ in range(4):
        session.get("q")
    assert [entry.index for entry in session.taken()] == [0, 1, 2]
    session.close(ack=False)
    assert house.queue("q").ready_count() == 3
    assert ch.must_get("q").redelivered
    session = session_of(house)
    session.get("q")
    session.close(ack=True)
    house.run()
    assert (house.queue("q").ready_count(), house.queue("q").unacked_count) == (1, 1)


def test_get_waits_for_the_disk() -> None:
    house = SmallHouse()
    fill(house.channel(), b"1", b"2")
    session = session_of(house)
    session.get("q")
    assert session.is_waiting()
    house.run()
    assert not session.is_waiting()
    assert [entry.message.body for entry in session.taken()] == [b"1"]
    session.get("q")
    session.close(ack=True)  # while the second is under way
    house.run()
    assert house.queue("q").ready_count() == 1


def test_a_session_leaves_nothing_behind() -> None:
    house = House()
    broker = core(house.node)
    before = (broker.open_connections, house.vhost().connections, broker.timers.next_deadline())
    session = session_of(house)
    with pytest.raises(ManagementError, match="no queue 'q'"):
        session.get("q")
    session.close(ack=True)
    house.run()
    after = (broker.open_connections, house.vhost().connections, broker.timers.next_deadline())
    assert after == before
    assert broker.clients == {}


def test_outstanding_messages_of_a_session_are_written_like_any() -> None:
    house = House()
    ch = house.channel()
    ch.declare_queue("q", durable=True)
    ch.publish(b"kept", key="q", properties=PERSISTENT)
    ch.publish(b"gone", key="q", properties=PERSISTENT)
    session = session_of(house)
    session.get("q")
    session.close(ack=True)
    house.advance(1.0)
    house.restart(clean=False)
    assert house.channel().get_bodies("q") == [b"gone"]
