"""The warning of the password that everybody knows."""

from __future__ import annotations

from random import Random

import pytest

from amqbroker.config import load
from amqbroker.node import Node
from amqbroker.server.guest import warn_of_guest
from amqbroker.store.journal import Journal


@pytest.mark.parametrize(
    ("settings", "warning"),
    [
        ({}, ""),
        ({"listeners": ["localhost:0", "[::1]:0", "127.0.0.2:0"]}, ""),
        (
            {"listeners": ["127.0.0.1:0", "0.0.0.0:5672"]},
            "the broker listens on 0.0.0.0:5672, and user 'guest' still has the password 'guest': "
            "it may log in from this host only (loopback_users), but so may everybody who has an "
            "account here. Give it another one (amqbroker ctl change_password guest), or delete it "
            "(amqbroker ctl delete_user guest)",
        ),
        (
            {"listeners": ["[::]:5672"], "loopback_users": []},
            "the broker listens on [::]:5672, and user 'guest' still has the password 'guest': it "
            "may log in from anywhere: whoever can reach the broker may do everything with it. "
            "Give it another one (amqbroker ctl change_password guest), or delete it (amqbroker "
            "ctl delete_user guest)",
        ),
        ({"listeners": ["0.0.0.0:5672"], "users": [{"name": "guest", "password": "other"}]}, ""),
        ({"listeners": ["0.0.0.0:5672"], "users": [{"name": "ann", "password": "guest"}]}, ""),
    ],
)
def test_an_open_broker_warns_of_the_password_that_everybody_knows(
    settings: dict[str, object], warning: str, caplog: pytest.LogCaptureFixture
) -> None:
    node = Node(load(options=settings), Journal(), None, Random(1), 0.0, 0.0)
    warn_of_guest(node.broker)
    assert caplog.messages == ([warning] if warning else [])
