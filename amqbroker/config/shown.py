"""A configuration as plain values, for people to look at: without what nobody may see."""

from __future__ import annotations

from typing import Final

import msgspec

from amqbroker.config.model import Amount, Config, Listener

HIDDEN: Final = "***"
SECRETS: Final = ("password", "password_hash", "key_password")


def shown(config: Config) -> dict[str, object]:
    """All settings as the file has them; passwords and their hashes are hidden."""
    tree = msgspec.to_builtins(config)
    assert isinstance(tree, dict), tree
    for name in ("listeners", "tls_listeners"):
        tree[name] = [_address(listener) for listener in getattr(config, name)]
    tree["memory"]["high_watermark"] = _amount(config.memory.high_watermark)
    tree["disk"]["free_limit"] = _amount(config.disk.free_limit)
    hidden = _without_secrets(tree)
    assert isinstance(hidden, dict)
    return hidden


def _address(listener: Listener) -> object:
    if not listener.mechanisms:
        return str(listener)
    return {"address": str(listener), "mechanisms": list(listener.mechanisms)}


def _amount(amount: Amount) -> int | float:
    return amount.bytes if amount.share is None else amount.share


def _without_secrets(value: object) -> object:
    if isinstance(value, dict):
        return {
            name: HIDDEN if name in SECRETS and item else _without_secrets(item)
            for name, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [_without_secrets(item) for item in value]
    return value
