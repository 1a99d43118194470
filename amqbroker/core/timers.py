"""Deadlines of the whole node in one heap.

Time is an argument everywhere: nothing here reads a clock. A timer that is not wanted any more is
marked and dropped when its time comes.
"""

from __future__ import annotations

import heapq
from typing import Final, final

COMPACT_MIN: Final = 64


class TimerTarget:
    """Who can be woken by a timer. `kind` says which of its timers it was."""

    def on_timer(self, kind: int, now: float) -> None:
        """The deadline passed."""
        raise NotImplementedError


@final
class Timer:
    """One deadline. Ordered by time, then by age, so that equal deadlines fire in the order they
    were set."""

    __slots__ = ("cancelled", "deadline", "kind", "sequence", "target")

    def __init__(self, deadline: float, sequence: int, target: TimerTarget, kind: int) -> None:
        self.deadline = deadline
        self.sequence = sequence
        self.target = target
        self.kind = kind
        self.cancelled = False

    def __lt__(self, other: Timer) -> bool:
        if self.deadline != other.deadline:
            return self.deadline < other.deadline
        return self.sequence < other.sequence


@final
class Timers:
    """All deadlines."""

    __slots__ = ("_cancelled", "_heap", "_sequence")

    def __init__(self) -> None:
        self._heap: list[Timer] = []
        self._sequence = 0
        # How many timers in the heap are cancelled, or a few more.
        self._cancelled = 0

    def set(self, deadline: float, target: TimerTarget, kind: int) -> Timer:
        """Wake `target` at `deadline`, unless the result is given to `cancel`."""
        self._sequence += 1
        timer = Timer(deadline, self._sequence, target, kind)
        heapq.heappush(self._heap, timer)
        return timer

    def cancel(self, timer: Timer) -> None:
        """Take a deadline back."""
        timer.cancelled = True
        self._cancelled += 1
        if self._cancelled > COMPACT_MIN and self._cancelled * 2 > len(self._heap):
            self._heap = [each for each in self._heap if not each.cancelled]
            heapq.heapify(self._heap)
            self._cancelled = 0

    def next_deadline(self) -> float | None:
        """When `fire` has something to do; None if there is no timer."""
        while self._heap and self._heap[0].cancelled:
            heapq.heappop(self._heap)
        return self._heap[0].deadline if self._heap else None

    def fire(self, now: float) -> None:
        """Wake everyone whose deadline has passed."""
        while self._heap and self._heap[0].deadline <= now:
            timer = heapq.heappop(self._heap)
            if not timer.cancelled:
                timer.target.on_timer(timer.kind, now)
