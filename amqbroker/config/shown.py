"""A configuration as plain values, for people to look at: without what nobody may see."""

from __future__ import annotations

from typing import Final

import msgspec

from amqbroker.config.model import Config, Listener

HIDDEN: Final = "***"
AMOUNT: Final = {"bytes", "share"}
SECRETS: Final = ("password", "password_hash", "key_password")


def shown(config: Config) -> dict[str, object]:
    """All settings as the file has them; passwords and their hashes are hidden."""
    tree = msgspec.to_builtins(config)
    assert isinstance(tree, dict), tree
    for name in ("listeners", "tls_listeners"):
        tree[name] = [_address(listener) for listener in getattr(config, name)]
    hidden = _plain(tree)
    assert isinstance(hidden, dict)
    return hidden


def _address(listener: Listener) -> object:
    if not listener.mechanisms:
        return str(listener)
    return {"address": str(listener), "mechanisms": list(listener.mechanisms)}


def _plain(value: object) -> object:
    if isinstance(value, dict):
        if value.keys() == AMOUNT:
            return value["bytes"] if value["share"] is None else value["share"]
        return {
            name: HIDDEN if name in SECRETS and item else _plain(item)
            for name, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
