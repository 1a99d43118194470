"""The messages of one queue that wait for a consumer, in index order.

New messages are appended at the tail and taken at the head. A message that was taken and comes back
goes to its old place: whatever was taken had a smaller index than all that was left, so returned
entries stand before the tail, in a short list of their own that is sorted by index, largest first,
and served from its end.

Invariant: every index in `_returned` is smaller than every index from `_head` on, and both are in
order.
"""

from __future__ import annotations

from typing import Final, final

from mypy_extensions import i64

from amqbroker.core.entry import QueueEntry

COMPACT_MIN: Final = 512


@final
class Ready:
    """A FIFO that takes entries back at their place."""

    __slots__ = ("_entries", "_head", "_returned", "count")

    def __init__(self) -> None:
        self._entries: list[QueueEntry | None] = []
        self._head: i64 = 0
        self._returned: list[QueueEntry] = []
        self.count: i64 = 0

    def append(self, entry: QueueEntry) -> None:
        """`entry.index` is larger than every index before it."""
        self._entries.append(entry)
        self.count += 1

    def take(self) -> QueueEntry:
        """Remove and return the entry with the smallest index.

        The caller knows that `count` is not 0.
        """
        self.count -= 1
        if self._returned:
            return self._returned.pop()
        head = self._head
        entry = self._entries[head]
        assert entry is not None, head
        # The slot lets go of the message at once; the list itself is cut when half of it is empty.
        self._entries[head] = None
        head += 1
        size: i64 = len(self._entries)
        if head == size:
            self._entries = []
            head = 0
        elif head >= COMPACT_MIN and head * 2 > size:
            del self._entries[:head]
            head = 0
        self._head = head
        return entry

    def put_back(self, entries: list[QueueEntry]) -> None:
        """Return entries that were taken before, in any order."""
        self.count += len(entries)
        if len(entries) == 1:
            self._returned.insert(self._place(entries[0].index), entries[0])
        else:
            self._returned.extend(entries)
            self._returned.sort(key=index_of, reverse=True)

    def _place(self, index: i64) -> i64:
        """Where in the returned entries this index belongs."""
        low: i64 = 0
        high: i64 = len(self._returned)
        while low < high:
            middle: i64 = (low + high) // 2
            if self._returned[middle].index > index:
                low = middle + 1
            else:
                high = middle
        return low

    def take_all(self) -> list[QueueEntry]:
        """Remove and return everything, in index order."""
        everything = self.entries()
        self._entries = []
        self._head = 0
        self._returned = []
        self.count = 0
        return everything

    def entries(self) -> list[QueueEntry]:
        """Everything, in index order, left where it is."""
        found = self._returned[::-1]
        for entry in self._entries[self._head :]:
            if entry is not None:
                found.append(entry)
        return found


def index_of(entry: QueueEntry) -> int:
    """The sort key of entries."""
    return entry.index
