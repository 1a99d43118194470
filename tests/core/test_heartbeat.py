"""Heartbeats by the clock: when one goes out, and when the peer is given up."""

from __future__ import annotations

import pytest
from pamqp.commands import Basic, Connection
from pamqp.heartbeat import Heartbeat

from tests.core.house import House
from tests.semantics.peer import Peer


def _silent(house: House, interval_s: int) -> Peer:
    """A peer that is connected and says nothing more."""
    return house.connect(heartbeat=interval_s)


def _heartbeats(peer: Peer) -> int:
    peer.waiting()
    return len(peer.heartbeats)


def test_one_goes_out_each_half_interval_of_silence(house: House) -> None:
    peer = _silent(house, 10)
    house.advance(4.9)
    assert _heartbeats(peer) == 0
    house.advance(0.2)
    assert _heartbeats(peer) == 1
    house.advance(10.0)
    assert _heartbeats(peer) == 3


def test_what_the_broker_sends_counts(house: House) -> None:
    """While it has something else to say there is no heartbeat."""
    peer = _silent(house, 10)
    channel = peer.open_channel()
    for _ in range(5):
        house.advance(4.0)
        channel.qos(1)
    assert _heartbeats(peer) == 0
    house.advance(5.1)
    assert _heartbeats(peer) == 1


@pytest.mark.parametrize("offset", [0.0, 0.1, 5.0, 9.9])
def test_a_silent_peer_is_found_after_two_to_three_intervals(house: House, offset: float) -> None:
    peer = _silent(house, 10)
    house.advance(offset)
    peer.send(0, Heartbeat())
    house.advance(19.9)
    assert not peer.transport.closed
    house.advance(10.2)
    peer.expect_dropped()
    assert any("missed heartbeats from client, timeout: 10s" in line for line in house.log_lines)


def test_any_bytes_count(house: House) -> None:
    peer = _silent(house, 10)
    for _ in range(10):
        house.advance(15.0)
        peer.send_raw(b"\x08")
        peer.send_raw(b"\0\0\0\0\0\0\xce")
    assert not peer.transport.closed


def test_one_silent_interval_is_forgiven_each_time(house: House) -> None:
    """Two looks in vain must follow each other."""
    peer = _silent(house, 10)
    for _ in range(6):
        house.advance(19.0)
        peer.send(0, Heartbeat())
        house.advance(0.5)
    assert not peer.transport.closed


def test_without_heartbeats_nobody_is_given_up(house: House) -> None:
    peer = _silent(house, 0)
    house.advance(100_000.0)
    assert _heartbeats(peer) == 0
    assert not peer.transport.closed


def test_a_connection_that_is_not_read_is_not_blamed_for_silence(house: House) -> None:
    """An alarm stops the reading: heartbeats that came stay in the socket."""
    peer = _silent(house, 10)
    channel = peer.open_channel()
    house.break_disk()
    channel.publish(b"m", key="q")
    house.advance(100.0)
    assert not peer.transport.closed
    assert _heartbeats(peer) >= 19


def test_a_closed_connection_has_no_heartbeats(house: House) -> None:
    """Closing: the broker waits for close-ok, at most for the interval."""
    peer = _silent(house, 4)
    channel = peer.open_channel()
    channel.send(Basic.Qos(prefetch_size=1))
    peer.expect(Connection.Close)
    house.advance(3.9)
    assert _heartbeats(peer) == 0
    assert not peer.transport.closed
    house.advance(0.2)
    peer.expect_dropped()
    assert house.node.next_deadline() is None
