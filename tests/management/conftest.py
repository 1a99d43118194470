"""A broker in memory that lives in its data folder: its configuration names nobody."""

from __future__ import annotations

import pytest

from amqbroker.auth.passwords import rabbit_hash
from amqbroker.auth.permissions import EVERYTHING
from amqbroker.config import Config
from amqbroker.core.broker import Broker
from amqbroker.management import users
from tests.core.house import House, core


class Plain(House):
    """A node without configuration: `guest` and `/` are made by its first start."""

    @staticmethod
    def _config() -> Config:
        return Config()

    @property
    def broker(self) -> Broker:
        """What management functions take; it is another one after a restart."""
        return core(self.node)

    def add(self, name: str, *, vhost: str = "/", allowed: str = EVERYTHING) -> None:
        """A user with the password `<name>-pw`, who may do what is allowed in a virtual host."""
        users.add_user(self.broker, name, hash_of(f"{name}-pw"))
        users.set_permissions(self.broker, vhost, name, allowed, allowed, allowed)
        self.run()

    def crash(self) -> None:
        """A power cut, once what was promised is on disk."""
        self.run()
        self.restart(clean=False)


def hash_of(password: str) -> str:
    """A hash that is made at once."""
    return rabbit_hash(password.encode(), b"salt")


@pytest.fixture
def house() -> Plain:
    """A fresh node."""
    return Plain()
