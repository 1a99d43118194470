"""Made-up names, and how texts name resources."""

from __future__ import annotations

import re
from random import Random

from amqbroker.core.names import (
    exchange_resource,
    made_up_name,
    queue_resource,
    strip_line_ends,
)


def test_a_made_up_name_has_22_url_safe_characters_of_the_generator_given() -> None:
    names = [made_up_name("amq.gen", Random(seed)) for seed in range(200)]
    assert len(set(names)) == 200
    assert all(re.fullmatch(r"amq\.gen-[A-Za-z0-9_-]{22}", name) for name in names)
    assert made_up_name("amq.gen", Random(7)) == names[7]


def test_resources_in_words() -> None:
    assert queue_resource("q", "/") == "queue 'q' in vhost '/'"
    assert exchange_resource("", "v") == "exchange '' in vhost 'v'"


def test_line_ends_are_dropped_wherever_they_are() -> None:
    assert strip_line_ends("\r\na\nb\r") == "ab"
    assert strip_line_ends("\r\n") == ""
