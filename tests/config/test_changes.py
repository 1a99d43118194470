"""What differs between two configurations."""

from __future__ import annotations

import pytest

from amqbroker.config import Config, load
from amqbroker.config.changes import (
    NEEDS_RESTART,
    changed_settings,
    taken_over,
    with_log_level,
)
from amqbroker.config.load import environment_variables


def test_settings_that_differ_have_paths() -> None:
    before = load(options={"users": [{"name": "a", "password": "a"}]})
    after = load(
        options={
            "listeners": ["127.0.0.1:1"],
            "users": [{"name": "a", "password": "b"}],
            "limits": {"frame_max": 4096},
            "log": {"level": "debug"},
        }
    )
    expected = ["limits.frame_max", "listeners", "log.level", "users"]
    assert changed_settings(before, after) == expected
    assert changed_settings(before, before) == []


def test_what_needs_a_restart_stays_as_it_is() -> None:
    before = load(options={"data_dir": "/a", "store": {"settle_delay_ms": 1}})
    after = load(
        options={
            "data_dir": "/b",
            "listeners": ["127.0.0.1:1"],
            "store": {"settle_delay_ms": 2, "journal_pending_bytes_max": "1MiB"},
            "tls": {"mechanisms": ["EXTERNAL"], "ciphers": "x"},
        }
    )
    taken = taken_over(before, after)
    assert changed_settings(before, taken) == ["store.journal_pending_bytes_max", "tls.ciphers"]
    assert all(path in NEEDS_RESTART for path in changed_settings(taken, after))


def test_only_settings_that_there_are_need_a_restart() -> None:
    known = {".".join(path) for path in environment_variables().values()}
    assert set(NEEDS_RESTART) <= known


def test_another_level_of_the_log() -> None:
    assert with_log_level(Config(), "error").log.level == "error"
    with pytest.raises(ValueError, match="loud"):
        with_log_level(Config(), "loud")
