"""A set of indexes, kept as ranges that touch neither each other.

What is settled in a queue is mostly one range that grows at its end; acks out of order make more of
them for a while.

Invariants: `_firsts` and `_lasts` have one length and are sorted; between two ranges at least one
index is missing; `total` is how many indexes are in the set.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import final

from mypy_extensions import i64


@final
class Ranges:
    """Indexes in order, first and last of each range included."""

    __slots__ = ("_firsts", "_lasts", "total")

    def __init__(self) -> None:
        self._firsts: list[int] = []
        self._lasts: list[int] = []
        self.total: i64 = 0

    def add(self, first: i64, last: i64) -> i64:
        """Put these indexes in; how many were not there before."""
        before = self.total
        firsts = self._firsts
        lasts = self._lasts
        if not lasts or first > lasts[-1] + 1:
            firsts.append(first)
            lasts.append(last)
            self.total += last - first + 1
        elif first == lasts[-1] + 1:
            lasts[-1] = last
            self.total += last - first + 1
        else:
            self._merge(first, last)
        return self.total - before

    def contains(self, index: i64) -> bool:
        """Whether this index is in the set."""
        place = bisect_right(self._firsts, index) - 1
        return place >= 0 and self._lasts[place] >= index

    def covers(self, first: i64, last: i64) -> bool:
        """Whether all of these indexes are in the set."""
        place = bisect_right(self._firsts, first) - 1
        return place >= 0 and self._lasts[place] >= last

    def touches(self, first: i64, last: i64) -> bool:
        """Whether any of these indexes is in the set."""
        place = bisect_left(self._lasts, first)
        return place < len(self._firsts) and self._firsts[place] <= last

    def items(self) -> list[tuple[int, int]]:
        """All ranges, in order."""
        return list(zip(self._firsts, self._lasts, strict=True))

    def first(self) -> i64:
        """The smallest index; there is one."""
        return self._firsts[0]

    def take_until(self, last: i64) -> i64:
        """Take out every index up to this one; how many there were."""
        before = self.total
        done = bisect_right(self._lasts, last)
        for place in range(done):
            self.total -= self._lasts[place] - self._firsts[place] + 1
        del self._firsts[:done]
        del self._lasts[:done]
        if self._firsts and self._firsts[0] <= last:
            self.total -= last - self._firsts[0] + 1
            self._firsts[0] = last + 1
        return before - self.total

    def cut(self, last: i64) -> None:
        """Take out every index behind this one."""
        while self._firsts and self._firsts[-1] > last:
            self.total -= self._lasts.pop() - self._firsts.pop() + 1
        if self._lasts and self._lasts[-1] > last:
            self.total -= self._lasts[-1] - last
            self._lasts[-1] = last

    def without(self, other: Ranges) -> list[tuple[int, int]]:
        """The ranges of what is in this set and not in the other one, which is a part of it."""
        found: list[tuple[int, int]] = []
        place = 0
        cuts = other.items()
        for first, last in self.items():
            start = first
            while place < len(cuts) and cuts[place][0] <= last:
                if cuts[place][0] > start:
                    found.append((start, cuts[place][0] - 1))
                start = cuts[place][1] + 1
                place += 1
            if start <= last:
                found.append((start, last))
        return found

    def items_from(self, first: i64) -> list[tuple[int, int]]:
        """The ranges from this index on."""
        return [
            (max(low, int(first)), high)
            for low, high in zip(self._firsts, self._lasts, strict=True)
            if high >= first
        ]

    def _merge(self, first: i64, last: i64) -> None:
        """Join the new range with all that it touches."""
        start = bisect_left(self._lasts, first - 1)
        end = bisect_right(self._firsts, last + 1)
        merged_first: int = first
        merged_last: int = last
        for place in range(start, end):
            merged_first = min(merged_first, self._firsts[place])
            merged_last = max(merged_last, self._lasts[place])
            self.total -= self._lasts[place] - self._firsts[place] + 1
        self._firsts[start:end] = [merged_first]
        self._lasts[start:end] = [merged_last]
        self.total += merged_last - merged_first + 1


def merged(ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Ranges in order, those that touch or overlap joined."""
    ranges.sort()
    result: list[tuple[int, int]] = []
    first, last = ranges[0]
    for next_first, next_last in ranges:
        if next_first > last + 1:
            result.append((first, last))
            first = next_first
            last = next_last
        else:
            last = max(last, next_last)
    result.append((first, last))
    return result


def split(
    ranges: list[tuple[int, int]], at: int
) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """The indexes before this one, and the others; ranges are in order."""
    before: list[tuple[int, int]] = []
    others: list[tuple[int, int]] = []
    for first, last in ranges:
        if last < at:
            before.append((first, last))
        elif first >= at:
            others.append((first, last))
        else:
            before.append((first, at - 1))
            others.append((at, last))
    return before, others
