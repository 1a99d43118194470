"""Names of users, virtual hosts, exchanges and tags."""

from __future__ import annotations

import pytest

from amqbroker.management.errors import BAD_ARGUMENT, ManagementError
from amqbroker.management.names import check_name, check_tags


@pytest.mark.parametrize("name", ["a", "ä" * 127, "x" * 255, "with space", "/"])
def test_what_can_be_a_name(name: str) -> None:
    check_name("user", name)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("", "the name of a user cannot be empty"),
        ("x" * 256, "the name of a user has at most 255 bytes, not 256"),
        ("ä" * 128, "the name of a user has at most 255 bytes, not 256"),
        ("\udc80", "the name of a user must be UTF-8"),
    ],
)
def test_what_cannot(name: str, text: str) -> None:
    with pytest.raises(ManagementError) as caught:
        check_name("user", name)
    assert (caught.value.code, caught.value.text) == (BAD_ARGUMENT, text)


def test_the_default_exchange_has_the_empty_name() -> None:
    check_name("exchange", "", may_be_empty=True)


def test_tags_are_names() -> None:
    check_tags(["administrator", "monitoring"])
    with pytest.raises(ManagementError, match="the name of a tag cannot be empty"):
        check_tags(["administrator", ""])
