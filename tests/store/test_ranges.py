"""Ranges against a set."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from amqbroker.store.ranges import Ranges, merged

PIECES = st.lists(
    st.tuples(st.integers(0, 40), st.integers(0, 6)).map(lambda p: (p[0], p[0] + p[1])), max_size=12
)


def members(ranges: list[tuple[int, int]]) -> list[int]:
    """Every index, in the order of the ranges."""
    return [index for first, last in ranges for index in range(first, last + 1)]


@given(PIECES, st.integers(-1, 50))
def test_it_is_a_set(pieces: list[tuple[int, int]], bound: int) -> None:
    ranges = Ranges()
    model: set[int] = set()
    for first, last in pieces:
        new = set(range(first, last + 1)) - model
        assert ranges.add(first, last) == len(new)
        model |= new
        assert ranges.total == len(model)
        items = ranges.items()
        assert members(items) == sorted(model)
        assert all(b[0] > a[1] + 1 for a, b in pairwise(items))
    for index in range(52):
        assert ranges.contains(index) == (index in model)
        assert ranges.covers(index, index + 2) == (model >= {index, index + 1, index + 2})
        assert ranges.touches(index, index + 2) == bool(model & {index, index + 1, index + 2})
    assert members(ranges.items_from(bound)) == sorted(i for i in model if i >= bound)
    ranges.cut(bound)
    assert members(ranges.items()) == sorted(i for i in model if i <= bound)
    assert ranges.total == len(members(ranges.items()))


@given(PIECES, st.integers(-1, 50))
def test_the_smallest_can_be_taken_out(pieces: list[tuple[int, int]], bound: int) -> None:
    ranges = Ranges()
    for first, last in pieces:
        ranges.add(first, last)
    before = members(ranges.items())
    assert ranges.take_until(bound) == sum(index <= bound for index in before)
    left = [index for index in before if index > bound]
    assert members(ranges.items()) == left
    assert ranges.total == len(left)
    if left:
        assert ranges.first() == left[0]


@given(PIECES.filter(bool))
def test_merged_ranges_are_disjoint_and_in_order(pieces: list[tuple[int, int]]) -> None:
    disjoint: list[tuple[int, int]] = []
    for first, last in pieces:
        if not set(range(first, last + 1)) & set(members(disjoint)):
            disjoint.append((first, last))
    result = merged(list(disjoint))
    assert members(result) == sorted(members(disjoint))
    assert all(b[0] > a[1] + 1 for a, b in pairwise(result))


@given(PIECES, PIECES)
def test_a_part_can_be_left_out(
    pieces: list[tuple[int, int]], others: list[tuple[int, int]]
) -> None:
    ranges = Ranges()
    part = Ranges()
    for first, last in pieces:
        ranges.add(first, last)
    for first, last in others:
        for index in range(first, last + 1):
            if ranges.contains(index):
                part.add(index, index)
    left = sorted(set(members(ranges.items())) - set(members(part.items())))
    assert members(ranges.without(part)) == left


@given(PIECES.filter(bool))
def test_merged_ranges_may_have_overlapped(pieces: list[tuple[int, int]]) -> None:
    expected = sorted(set(members(pieces)))
    assert members(merged(list(pieces))) == expected
