"""Limits as administrators write them."""

from __future__ import annotations

import pytest

from amqbroker.management.errors import BAD_ARGUMENT, ManagementError
from amqbroker.management.limits import checked_limits, shown_limits

KNOWN = ("max-connections", "max-channels")


def test_any_number_below_zero_is_no_limit() -> None:
    limits = {"max-connections": -7, "max-channels": 0}
    assert checked_limits("user-limits", limits, KNOWN) == {
        "max-connections": -1,
        "max-channels": 0,
    }


def test_what_is_no_limit_is_not_shown() -> None:
    assert shown_limits({"max-connections": -1, "max-channels": 0}) == {"max-channels": 0}


@pytest.mark.parametrize(
    ("limits", "text"),
    [
        (
            {"max-foo": 3},
            "Unrecognised terms ['max-foo'] in user-limits: max-connections and max-channels are "
            "known",
        ),
        ({"max-channels": "3"}, "max-channels should be a number, actually was '3'"),
        ({"max-channels": True}, "max-channels should be a number, actually was True"),
        ({"max-channels": 3.5}, "max-channels should be a number, actually was 3.5"),
        ({"max-channels": 2**31}, "max-channels is at most 2147483647, not 2147483648"),
    ],
)
def test_what_is_no_limit_at_all_is_refused(limits: dict[str, object], text: str) -> None:
    with pytest.raises(ManagementError) as caught:
        checked_limits("user-limits", limits, KNOWN)
    assert (caught.value.code, caught.value.text) == (BAD_ARGUMENT, text)
