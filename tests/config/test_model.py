"""Defaults, and the sample file that documents them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from msgspec import inspect

from amqbroker.config import Amount, Config, Listener, Vhost, load

SAMPLE = Path(__file__).parents[2] / "config" / "amqbroker.yaml"


def test_the_sample_is_the_defaults() -> None:
    assert load(SAMPLE.read_text(encoding="utf-8"), str(SAMPLE)) == Config()


def _keys(kind: inspect.Type) -> list[str]:
    if isinstance(kind, inspect.Metadata):
        return _keys(kind.type)
    if isinstance(kind, inspect.VarTupleType):
        return _keys(kind.item_type)
    if isinstance(kind, inspect.DictType):
        return _keys(kind.value_type)
    if isinstance(kind, inspect.StructType) and not issubclass(kind.cls, Listener | Amount):
        return [name for field in kind.fields for name in [field.name, *_keys(field.type)]]
    return []


@pytest.mark.parametrize("key", _keys(inspect.type_info(Config)))
def test_the_sample_shows_every_key(key: str) -> None:
    """Those of users and virtual hosts stand in comments: the default is to name none."""
    assert re.search(rf"^[ #-]*{key}:", SAMPLE.read_text(encoding="utf-8"), re.MULTILINE)


def test_the_example_of_users_and_vhosts_is_good() -> None:
    lines = SAMPLE.read_text(encoding="utf-8").splitlines()
    text = "\n".join(line[4:] for line in lines if line.startswith("#   "))
    text = text[text.index("vhosts:") :]
    config = load(text)
    (user,) = config.users
    (vhost,) = config.vhosts
    assert (user.name, vhost) == ("app", Vhost("/"))
    assert user.topic_permissions["/"]["amq.topic"].write == r"^{username}\."
    assert Config().loopback_users == ("guest",)


def test_the_tree_is_frozen() -> None:
    with pytest.raises(AttributeError):
        Config().limits.frame_max = 1  # type: ignore[misc]


@pytest.mark.parametrize(
    ("listener", "text"),
    [
        (Listener("127.0.0.1"), "127.0.0.1:5672"),
        (Listener("::1", 5673), "[::1]:5673"),
        (Listener("localhost", 0), "localhost:0"),
    ],
)
def test_a_listener_is_shown_as_it_is_written(listener: Listener, text: str) -> None:
    assert str(listener) == text
