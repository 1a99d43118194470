"""The hash that decides where keys live: fixed for ever, and well spread."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amqbroker.exchanges.hashing import MASK, hash_text, mix


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", 0),
        ("a", 1459942458),
        ("user-42", 2154796062),
        ("größe", 2062532853),
        ("\udcff", 9649493),
    ],
)
def test_it_never_changes(text: str, value: int) -> None:
    """Another value would move the keys of everybody who updates, and mix up their order."""
    assert hash_text(text) == value


@given(st.text(st.characters(min_codepoint=0, max_codepoint=0x10FFFF)))
def test_any_text_has_one_of_32_bits(text: str) -> None:
    assert 0 <= hash_text(text) <= MASK


@given(st.integers(0, MASK), st.integers(0, MASK))
def test_mix_is_a_permutation(one: int, other: int) -> None:
    assert (mix(one) == mix(other)) == (one == other)


@pytest.mark.parametrize(
    "make",
    [
        str,
        lambda number: f"key{number}",
        lambda number: f"{number:08x}-0000",
        lambda number: f"user.{number}.created",
        lambda number: "x" * number,
    ],
    ids=["number", "suffix", "hex", "middle", "length"],
)
@pytest.mark.parametrize("parts", [2, 3, 16])
def test_keys_that_are_much_alike_are_spread(make: Callable[[int], str], parts: int) -> None:
    counts = Counter(hash_text(make(number)) % parts for number in range(4000))
    expected = 4000 / parts
    surprise = sum((counts[part] - expected) ** 2 / expected for part in range(parts))
    # Chi square: a fair hash stays below with more than 99.9 %.
    assert surprise < {2: 10.9, 3: 13.9, 16: 37.7}[parts]
