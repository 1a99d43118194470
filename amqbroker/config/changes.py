"""What differs between two configurations, and which of it a running broker can take over."""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import Struct

from amqbroker.config.model import Config

# What is made or opened once, at the start.
NEEDS_RESTART: Final = (
    "data_dir",
    "definitions.file",
    "listeners",
    "store.journal_file_size_bytes",
    "store.settle_delay_ms",
    "tls.mechanisms",
    "tls_listeners",
)


def changed_settings(before: Config, after: Config) -> list[str]:
    """The paths of all settings that differ, in order: `limits.frame_max`, `users`."""
    found: list[str] = []
    for name in Config.__struct_fields__:
        old, new = getattr(before, name), getattr(after, name)
        if isinstance(old, Struct):
            found += [
                f"{name}.{key}"
                for key in old.__struct_fields__
                if getattr(old, key) != getattr(new, key)
            ]
        elif old != new:
            found.append(name)
    return sorted(found)


def taken_over(before: Config, after: Config) -> Config:
    """The new configuration, but with what needs a restart as it was."""
    taken = after
    for path in NEEDS_RESTART:
        section, _, key = path.partition(".")
        old = getattr(before, section)
        if key:
            new = getattr(taken, section)
            old = msgspec.structs.replace(new, **{key: getattr(old, key)})
        taken = msgspec.structs.replace(taken, **{section: old})
    return taken


def with_log_level(config: Config, level: str) -> Config:
    """The same, with another level of the log. ValueError if there is none of this name."""
    log = msgspec.convert({"level": level, "format": config.log.format}, type(config.log))
    return msgspec.structs.replace(config, log=log)
