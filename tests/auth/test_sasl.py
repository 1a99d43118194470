"""SASL responses: PLAIN and AMQPLAIN as clients send them, and everything else refused."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from amqbroker.auth.sasl import (
    AMQPLAIN,
    PLAIN,
    offered_to,
    read_amqplain,
    read_plain,
    read_response,
)
from amqbroker.errors import SYNTAX_ERROR, ConnectionException


def no_table(octets: bytes) -> Mapping[str, object]:
    raise AssertionError(f"PLAIN has no table: {octets!r}")


@pytest.mark.parametrize(
    ("response", "user", "password"),
    [
        (b"\x00guest\x00secret", "guest", b"secret"),
        (b"\x00guest\x00", "guest", b""),
        (b"\x00\x00", "", b""),
        ("\x00\u00e9\x00\u00e9".encode(), "\u00e9", "\u00e9".encode()),
        (b"\x00guest\x00\xff\xfe", "guest", b"\xff\xfe"),
        (b"\x00\xff\x00p", "\ufffd", b"p"),
    ],
)
def test_plain(response: bytes, user: str, password: bytes) -> None:
    found = read_response(PLAIN, response, no_table)
    assert (found.user, found.password) == (user, password)


@pytest.mark.parametrize(
    "response",
    [
        b"",
        b"\x00",
        b"guest\x00secret",
        b"\x00guest",
        b"admin\x00guest\x00p",
        b"\x00guest\x00a\x00b",
    ],
)
def test_malformed_plain_is_502(response: bytes) -> None:
    with pytest.raises(ConnectionException) as caught:
        read_plain(response)
    assert caught.value.code == SYNTAX_ERROR


def test_amqplain_is_a_table_without_its_size() -> None:
    seen = []

    def decode(octets: bytes) -> Mapping[str, object]:
        seen.append(octets)
        return {"LOGIN": "guest", "PASSWORD": "secret", "more": 1}

    found = read_response(AMQPLAIN, b"entries", decode)
    assert seen == [b"\x00\x00\x00\x07entries"]
    assert (found.user, found.password) == ("guest", b"secret")


def test_amqplain_with_octets() -> None:
    found = read_amqplain({"LOGIN": b"\xff", "PASSWORD": b"\xfe"})
    assert (found.user, found.password) == ("\ufffd", b"\xfe")


@pytest.mark.parametrize(
    "table",
    [
        {},
        {"LOGIN": "a"},
        {"PASSWORD": "a"},
        {"LOGIN": 1, "PASSWORD": "a"},
        {"LOGIN": "a", "PASSWORD": None},
    ],
)
def test_amqplain_without_its_two_strings_is_502(table: dict[str, object]) -> None:
    with pytest.raises(ConnectionException, match="missing LOGIN or PASSWORD"):
        read_amqplain(table)


def test_external_is_offered_to_those_with_a_certificate() -> None:
    mechanisms = ("EXTERNAL", "PLAIN")
    assert offered_to(mechanisms, True) == ["EXTERNAL", "PLAIN"]
    assert offered_to(mechanisms, False) == ["PLAIN"]
