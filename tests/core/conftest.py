"""A broker in memory with its clock and disk in the test's hands, for the tests of the core."""

from __future__ import annotations

import pytest

from tests.core.house import House
from tests.semantics.peer import Channel


@pytest.fixture
def house() -> House:
    """A fresh node."""
    return House()


@pytest.fixture
def ch(house: House) -> Channel:
    """An open channel on a connection of its own."""
    return house.channel()
