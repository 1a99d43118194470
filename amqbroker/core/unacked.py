"""The outstanding deliveries of one channel, in order of their delivery tags.

Tags only grow, so the list is sorted by construction: settling the oldest is a step of the head,
settling any other is a binary search that leaves a hole. Holes at the head are passed over, and the
list is compacted when holes are more than half of it, so that one delivery that is never settled
does not keep the memory of all that came after it.

Invariant: `count` entries from `_head` on have `outstanding` set; `_entries[_head]`, if there is
one, is outstanding.
"""

from __future__ import annotations

from typing import Final, final

from mypy_extensions import i64

from amqbroker.core.entry import QueueEntry
from amqbroker.message import Message

COMPACT_MIN: Final = 64
NO_MESSAGE: Final = Message(0, b"", 0, b"", b"", False)


@final
class Unacked:
    """What one channel has delivered and not settled."""

    __slots__ = ("_entries", "_head", "_loaded", "count")

    def __init__(self) -> None:
        self._entries: list[QueueEntry] = []
        self._head: i64 = 0
        # All before this place is only on disk, or settled.
        self._loaded: i64 = 0
        self.count: i64 = 0

    def add(self, entry: QueueEntry) -> None:
        """`entry.delivery_tag` is larger than every tag before it."""
        entry.outstanding = True
        self._entries.append(entry)
        self.count += 1

    def take(self, delivery_tag: i64) -> QueueEntry | None:
        """Remove and return the delivery with this tag; None if it is not outstanding."""
        position = self._find(delivery_tag)
        if position < 0:
            return None
        entry = self._entries[position]
        entry.outstanding = False
        self.count -= 1
        if position == self._head:
            self._head += 1
        else:
            self._entries[position] = make_hole(entry)
        self._tidy()
        return entry

    def take_until(self, delivery_tag: i64) -> list[QueueEntry] | None:
        """Remove and return every delivery up to and with this tag, oldest first; None if the tag
        is not outstanding."""
        position = self._find(delivery_tag)
        if position < 0:
            return None
        return self._take_range(position + 1)

    def take_below(self, delivery_tag: i64) -> list[QueueEntry]:
        """Remove and return every delivery before this tag, which is not outstanding itself."""
        end = self._head
        while end < len(self._entries) and self._entries[end].delivery_tag < delivery_tag:
            end += 1
        return self._take_range(end)

    def take_all(self) -> list[QueueEntry]:
        """Remove and return everything, oldest first."""
        return self._take_range(i64(len(self._entries)))

    def entries(self) -> list[QueueEntry]:
        """What is outstanding, oldest first."""
        return [entry for entry in self._entries[self._head :] if entry.outstanding]

    def loaded(self) -> list[QueueEntry]:
        """What is outstanding and has its message in memory, oldest first. What went to disk since
        the last call is passed over once."""
        place = max(self._loaded, self._head)
        size: i64 = len(self._entries)
        while place < size:
            entry = self._entries[place]
            if entry.outstanding and not entry.message.is_absent():
                break
            place += 1
        self._loaded = place
        return [
            entry
            for entry in self._entries[place:]
            if entry.outstanding and not entry.message.is_absent()
        ]

    def restore(self, entries: list[QueueEntry]) -> None:
        """Put back what was taken: a transaction was rolled back."""
        merged = self.entries() + entries
        merged.sort(key=delivery_tag_of)
        for entry in entries:
            entry.outstanding = True
        self._entries = merged
        self._head = 0
        self._loaded = 0
        self.count = len(merged)

    def _take_range(self, end: i64) -> list[QueueEntry]:
        taken: list[QueueEntry] = []
        position = self._head
        while position < end:
            entry = self._entries[position]
            if entry.outstanding:
                entry.outstanding = False
                taken.append(entry)
            position += 1
        self._head = end
        self.count -= len(taken)
        self._tidy()
        return taken

    def _find(self, delivery_tag: i64) -> i64:
        """Where the outstanding delivery with this tag stands, or -1."""
        low = self._head
        high: i64 = i64(len(self._entries)) - 1
        if low > high:
            return -1
        if self._entries[low].delivery_tag == delivery_tag:
            return low
        while low <= high:
            middle: i64 = (low + high) // 2
            found = self._entries[middle].delivery_tag
            if found == delivery_tag:
                return middle if self._entries[middle].outstanding else -1
            if found < delivery_tag:
                low = middle + 1
            else:
                high = middle - 1
        return -1

    def _tidy(self) -> None:
        """Pass over holes at the head, and drop them when they are more than half of the list."""
        size: i64 = len(self._entries)
        if self.count == 0:
            if size > 0:
                self._entries = []
                self._head = 0
                self._loaded = 0
            return
        while not self._entries[self._head].outstanding:
            self._head += 1
        if size > COMPACT_MIN and self.count * 2 < size:
            self._entries = self.entries()
            self._head = 0
            self._loaded = 0


def make_hole(taken: QueueEntry) -> QueueEntry:
    """What stays at the place of a delivery that was taken."""
    hole = QueueEntry(NO_MESSAGE, taken.line, taken.index)
    hole.delivery_tag = taken.delivery_tag
    return hole


def delivery_tag_of(entry: QueueEntry) -> int:
    """The sort key of deliveries."""
    return entry.delivery_tag


def forget_limited(entries: list[QueueEntry]) -> i64:
    """How many of these the channel's limit counted; `Channel.release` is owed for them."""
    counted: i64 = 0
    for entry in entries:
        if entry.limited:
            entry.limited = False
            counted += 1
    return counted
