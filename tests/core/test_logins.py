"""Whose login is next."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amqbroker.core.logins import Logins, PasswordCheck, site_of
from tests.core.house import House
from tests.semantics.peer import Peer

ATTACKER, CLIENT = "192.0.2.1", "192.0.2.2"


def check(number: int) -> PasswordCheck:
    return PasswordCheck(number, None, b"")


def taken(logins: Logins) -> list[int]:
    found = []
    while (next_one := logins.take()) is not None:
        found.append(next_one.connection_id)
    return found


def test_addresses_take_turns() -> None:
    logins = Logins()
    for number in range(1000):
        logins.add(ATTACKER, "guest", check(number))
    logins.add(CLIENT, "ann", check(5000))
    logins.add(CLIENT, "ann", check(5001))
    assert taken(logins)[:5] == [0, 5000, 1, 5001, 2]
    assert logins.take() is None


def test_users_of_an_address_take_turns() -> None:
    logins = Logins()
    for number in range(1000):
        logins.add(ATTACKER, "guest", check(number))
    logins.add(ATTACKER, "ann", check(5000))
    assert taken(logins)[:3] == [0, 5000, 1]


@given(
    st.lists(st.tuples(st.sampled_from(["a", "b", "c"]), st.sampled_from(["x", "y"])), max_size=30)
)
def test_everybody_is_served_once_and_in_order(arrivals: list[tuple[str, str]]) -> None:
    logins = Logins()
    for number, (host, user) in enumerate(arrivals):
        logins.add(host, user, check(number))
    order = taken(logins)
    assert sorted(order) == list(range(len(arrivals)))
    for one in set(arrivals):
        mine = [number for number in order if arrivals[number] == one]
        assert mine == sorted(mine)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("192.0.2.1", "::ffff:192.0.2.1", True),
        ("2001:db8::1", "2001:db8::2:3:4:5", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("fe80::1%eth0", "fe80::2%eth0", True),
        ("", "", True),
        ("", "192.0.2.1", False),
    ],
)
def test_whom_an_address_belongs_to(one: str, other: str, same: bool) -> None:
    assert (site_of(one) == site_of(other)) is same


def test_a_login_whose_client_gave_up_costs_nothing(house: House) -> None:
    """Those that waited too long are dropped by the limit of the handshake."""
    house.paused = True
    peers = [Peer(house.transport()) for _ in range(3)]
    house.paused = False
    for peer in peers:
        peer.greet()
    house.paused = True
    for peer in peers:
        peer.log_in("guest", "wrong")
    house.hand_over()
    (first,) = house.node.take_password_checks(1)
    house.now += 11.0
    house.node.on_time(house.now)
    late = Peer(house.transport())
    assert house.node.take_password_checks(5) == []
    house.node.password_checked(first, False, house.now)
    house.paused = False
    late.handshake()
    assert late.is_alive()
