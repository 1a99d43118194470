"""Outstanding deliveries against a dict, and what they may cost."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from amqbroker.core.entry import QueueEntry
from amqbroker.core.unacked import COMPACT_MIN, Unacked
from tests.core.house import make_entry, make_queue

# A step: how many are added first, what is done, and a number that picks a tag.
STEPS = st.lists(
    st.tuples(
        st.integers(0, 5) | st.integers(60, 200),
        st.sampled_from(
            ["take", "take", "until", "until", "below", "again", "all", "restore", "unknown"]
        ),
        st.floats(0, 1),
    ),
    min_size=1,
    max_size=30,
)


class Pair:
    """Unacked, and a dict of what must be in it."""

    def __init__(self) -> None:
        self.unacked = Unacked()
        self.model: dict[int, QueueEntry] = {}
        self.taken: list[QueueEntry] = []
        self.queue = make_queue()
        self.next_tag = 1

    def add(self, count: int) -> None:
        """Deliver; now and then a tag is left out, as a delivery without ack has one too."""
        for _ in range(count):
            self._add(make_entry(self.queue, self.next_tag, tag=self.next_tag))

    def _add(self, entry: QueueEntry) -> None:
        self.next_tag += 1 + self.next_tag % 3 // 2
        self.unacked.add(entry)
        self.model[entry.delivery_tag] = entry

    def pick(self, fraction: float) -> int:
        """A tag that is outstanding, if there is one."""
        tags = list(self.model) or [0]
        return tags[int(fraction * (len(tags) - 1))]

    def step(self, action: str, fraction: float) -> None:
        """Do one thing to both."""
        tag = self.pick(fraction)
        if action == "take":
            entry = self.unacked.take(tag)
            assert entry is self.model.get(tag)
            self._gone([entry] if entry is not None else [])
        elif action == "until":
            wanted = [entry for key, entry in self.model.items() if key <= tag]
            found = self.unacked.take_until(tag)
            assert found == (wanted or None)
            self._gone(wanted)
        elif action == "below":
            # Of a tag that need not be outstanding.
            wanted = [entry for key, entry in self.model.items() if key < tag + 1]
            assert self.unacked.take_below(tag + 1) == wanted
            self._gone(wanted)
        elif action == "all":
            assert self.unacked.take_all() == list(self.model.values())
            self._gone(list(self.model.values()))
        elif action == "again":
            # Requeued and delivered once more: the same entries under new tags.
            back, self.taken = self.taken, []
            for entry in back:
                entry.delivery_tag = self.next_tag
                self._add(entry)
        elif action == "restore":
            self.unacked.restore(self.taken)
            self.model |= {entry.delivery_tag: entry for entry in self.taken}
            self.model = dict(sorted(self.model.items()))
            self.taken = []
        else:
            for unknown in {0, -1, tag + 1, self.next_tag, *(e.delivery_tag for e in self.taken)}:
                if unknown not in self.model:
                    assert self.unacked.take(unknown) is None
                    assert self.unacked.take_until(unknown) is None

    def check(self) -> None:
        """Same content and right marks."""
        assert self.unacked.entries() == list(self.model.values())
        assert self.unacked.count == len(self.model)
        assert all(entry.outstanding for entry in self.model.values())
        assert not any(entry.outstanding for entry in self.taken)

    def _gone(self, entries: list[QueueEntry]) -> None:
        """Settled; the list that is left is not much longer than what is outstanding."""
        for entry in entries:
            del self.model[entry.delivery_tag]
        self.taken += entries
        if entries:
            assert len(self.unacked._entries) <= max(COMPACT_MIN, 2 * len(self.model))


@given(STEPS)
def test_it_agrees_with_a_dict(steps: list[tuple[int, str, float]]) -> None:
    pair = Pair()
    for count, action, fraction in steps:
        pair.add(count)
        pair.step(action, fraction)
        pair.check()


def test_one_delivery_that_is_never_settled_holds_back_no_other() -> None:
    """Its successors come and go, and the list stays short."""
    unacked, queue = Unacked(), make_queue()
    unacked.add(make_entry(queue, 0, tag=1))
    for tag in range(2, 10_000):
        unacked.add(make_entry(queue, tag, tag=tag))
        assert unacked.take(tag) is not None
    assert unacked.count == 1
    assert len(unacked._entries) <= 2 * COMPACT_MIN


def test_oldest_first_leaves_nothing_behind() -> None:
    """The usual way to settle: memory stays within twice of what is outstanding."""
    unacked, queue = Unacked(), make_queue()
    for tag in range(1, 5_000):
        unacked.add(make_entry(queue, tag, tag=tag))
        if tag > 100:
            assert unacked.take(tag - 100) is not None
        assert len(unacked._entries) <= 202
