"""A configuration for people to look at."""

from __future__ import annotations

import json

from amqbroker.config import Config, load
from amqbroker.config.shown import shown

HASH = "kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR"


def test_it_can_be_loaded_again_but_for_the_passwords() -> None:
    config = load(options={"users": [{"name": "ann", "password": "s3cret", "tags": ["t"]}]})
    tree = shown(config)
    users = tree.pop("users")
    assert users == [
        {
            "name": "ann",
            "password": "***",
            "password_hash": None,
            "tags": ["t"],
            "permissions": {},
            "topic_permissions": {},
            "max_connections": 0,
            "max_channels": 0,
        }
    ]
    assert load(options=json.loads(json.dumps(tree))) == Config()


def test_no_secret_is_shown() -> None:
    config = load(
        options={
            "tls": {"key_password": "s3cret"},
            "users": [
                {"name": "ann", "password": "s3cret"},
                {"name": "bob", "password_hash": HASH},
            ],
            "listeners": [{"address": "[::1]:5672", "mechanisms": ["PLAIN"]}, "127.0.0.1:1"],
        }
    )
    text = json.dumps(shown(config))
    assert "s3cret" not in text
    assert HASH not in text
    assert shown(config)["listeners"] == [
        {"address": "[::1]:5672", "mechanisms": ["PLAIN"]},
        "127.0.0.1:1",
    ]
