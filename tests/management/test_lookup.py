"""Virtual hosts that are asked for, and names that cannot be."""

from __future__ import annotations

import pytest

from amqbroker.management.errors import BAD_ARGUMENT, NOT_FOUND, ManagementError
from amqbroker.management.lookup import check_name, check_tags, find_vhost, is_text
from tests.core.house import make_broker


def test_a_virtual_host_is_found_by_name() -> None:
    broker = make_broker()
    assert find_vhost(broker, "/") is broker.vhosts["/"]
    with pytest.raises(ManagementError) as caught:
        find_vhost(broker, "nope")
    assert caught.value.code == NOT_FOUND
    assert caught.value.text == "Virtual host 'nope' does not exist"


@pytest.mark.parametrize("name", ["", "x" * 256, "é" * 128, "\ud800"])
def test_names_that_nothing_can_have(name: str) -> None:
    with pytest.raises(ManagementError) as caught:
        check_name("a policy", name)
    assert caught.value.code == BAD_ARGUMENT
    assert "a policy" in caught.value.text


def test_the_longest_name() -> None:
    check_name("a policy", "x" * 255)


def test_halves_of_characters_are_no_text() -> None:
    assert is_text("é")
    assert not is_text("\udfff")
    assert not is_text(b"a")


def test_tags_are_names() -> None:
    check_tags(["administrator", "monitoring"])
    with pytest.raises(ManagementError, match="a tag must have a name"):
        check_tags(["administrator", ""])
