"""A queue's ready messages against a sorted list."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from amqbroker.core.entry import QueueEntry
from amqbroker.core.ready import COMPACT_MIN, Ready
from tests.core.house import make_entry, make_queue

STEPS = st.lists(
    st.tuples(
        st.sampled_from(["append", "take", "take", "back", "back one", "all"]),
        st.integers(1, 6) | st.integers(400, 1500),
        st.randoms(use_true_random=False),
    ),
    max_size=25,
)


def _index(entry: QueueEntry) -> int:
    return entry.index


class Pair:
    """Ready, and a sorted list of what must be in it."""

    def __init__(self) -> None:
        self.ready = Ready()
        self.model: list[QueueEntry] = []
        self.out: list[QueueEntry] = []
        self.queue = make_queue()

    def append(self, count: int) -> None:
        """New messages."""
        for _ in range(count):
            entry = make_entry(self.queue, self.queue.line.next_index)
            self.queue.line.next_index += 1
            self.ready.append(entry)
            self.model.append(entry)

    def take(self, count: int) -> None:
        """The smallest index comes first."""
        for _ in range(min(count, len(self.model))):
            entry = self.ready.take()
            assert entry is self.model.pop(0)
            self.out.append(entry)

    def put_back(self, count: int, order: random.Random) -> None:
        """Some of what is out comes back, in any order."""
        order.shuffle(self.out)
        back, self.out = self.out[:count], self.out[count:]
        self.ready.put_back(back)
        self.model = sorted(self.model + back, key=_index)

    def take_all(self) -> None:
        """As purge does."""
        assert self.ready.take_all() == self.model
        self.model = []

    def check(self) -> None:
        """The same entries in the same order; what was taken is let go of soon."""
        assert self.ready.count == len(self.model)
        assert self.ready.entries() == self.model
        empty = sum(entry is None for entry in self.ready._entries)
        assert empty <= max(COMPACT_MIN, len(self.ready._entries) // 2)


@given(STEPS)
def test_it_agrees_with_a_sorted_list(steps: list[tuple[str, int, random.Random]]) -> None:
    pair = Pair()
    for action, count, order in steps:
        if action == "append":
            pair.append(count)
        elif action == "take":
            pair.take(count)
        elif action == "back":
            pair.put_back(count, order)
        elif action == "back one":
            pair.put_back(1, order)
        else:
            pair.take_all()
        pair.check()


def test_what_was_taken_is_not_held() -> None:
    """The message's memory goes with it, though the list is cut later only."""
    ready, queue = Ready(), make_queue()
    for index in range(10):
        ready.append(make_entry(queue, index))
    taken = [ready.take() for _ in range(9)]
    assert not any(entry in taken for entry in ready._entries)


def test_putting_nothing_back_changes_nothing() -> None:
    ready, queue = Ready(), make_queue()
    ready.append(make_entry(queue, 1))
    ready.put_back([])
    assert [entry.index for entry in ready.entries()] == [1]
