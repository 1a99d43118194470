"""Permission patterns as RabbitMQ matches them."""

from __future__ import annotations

import pytest

from amqbroker.auth.permissions import (
    CONFIGURE,
    EXCHANGE,
    QUEUE,
    READ,
    WRITE,
    NamePattern,
    Permissions,
    checked_name,
    refused,
)


@pytest.mark.parametrize(
    ("pattern", "name", "matches"),
    [
        (".*", "anything\nat all", True),
        (".*", "", True),
        ("", "a", False),
        ("", "", False),
        ("^a$", "a", True),
        ("^a$", "ab", False),
        ("b", "abc", True),
        ("^(logs|amq\\.gen)", "amq.gen-1", True),
        ("^(logs|amq\\.gen)", "my.logs", False),
    ],
)
def test_patterns(pattern: str, name: str, matches: bool) -> None:
    assert NamePattern(pattern).matches(name) is matches


def test_a_bad_pattern_is_the_operators_mistake() -> None:
    with pytest.raises(ValueError, match=r"bad permission pattern '\('"):
        NamePattern("(")


def test_each_permission_has_its_own_pattern() -> None:
    permissions = Permissions("^c", "^w", "^r")
    table = {
        (permission, name): permissions.allow(permission, name)
        for permission in (CONFIGURE, WRITE, READ)
        for name in ("c", "w", "r")
    }
    assert [pair for pair, allowed in table.items() if allowed] == [
        (CONFIGURE, "c"),
        (WRITE, "w"),
        (READ, "r"),
    ]


def test_the_default_exchange_has_a_name_here() -> None:
    assert checked_name(EXCHANGE, "") == "amq.default"
    assert checked_name(EXCHANGE, "x") == "x"
    assert checked_name(QUEUE, "") == ""


def test_the_text_of_a_refusal_is_rabbitmqs() -> None:
    assert refused(WRITE, EXCHANGE, "", "/", "u").reply_text == (
        "ACCESS_REFUSED - write access to exchange 'amq.default' in vhost '/' refused for user 'u'"
    )
    assert refused(CONFIGURE, QUEUE, "q", "v", "u").reply_text == (
        "ACCESS_REFUSED - configure access to queue 'q' in vhost 'v' refused for user 'u'"
    )
