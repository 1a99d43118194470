"""How often messages of one queue were delivered and came back, for queues with a delivery limit.

A message that is written carries its count. One that comes back later has a new one, which the next
batch records as an index and a count; nobody waits for that, as for a settled range: a crash may
forget the last few. While the message is in a journal file its count is in that file or in a
younger one, and those go later. A message in a segment may outlive them all: its count is kept
here, and is written with each snapshot.
"""

from __future__ import annotations

from typing import final

from mypy_extensions import i64

from amqbroker.message import IN_SEGMENT, Entry
from amqbroker.store.backlog import Backlog


@final
class Counts:
    """The counts of one queue's log. `in_segments` has those of messages in segments."""

    __slots__ = ("_fresh", "in_segments")

    def __init__(self, in_segments: dict[int, int]) -> None:
        self._fresh: dict[int, int] = {}
        self.in_segments = in_segments

    def note(self, entry: Entry) -> bool:
        """A written entry came back; True if it is the first one for the next batch."""
        is_first = not self._fresh
        self._fresh[entry.index] = entry.deliveries
        if entry.file == IN_SEGMENT:
            self.in_segments[entry.index] = entry.deliveries
        return is_first

    def take(self) -> list[tuple[int, int]]:
        """What the next batch records: indexes and counts."""
        fresh = list(self._fresh.items())
        self._fresh = {}
        return fresh

    def put_back(self, taken: list[tuple[int, int]]) -> bool:
        """What was taken is not recorded; True if nothing else waits for the next batch."""
        is_first = not self._fresh
        for index, count in taken:
            self._fresh.setdefault(index, count)
        return is_first

    def kept(self, backlog: Backlog) -> list[tuple[int, int]]:
        """What a snapshot has to say; what is settled, or in no segment any more, is forgotten."""
        self.in_segments = {
            index: count for index, count in self.in_segments.items() if backlog.has(index)
        }
        return list(self.in_segments.items())

    def of(self, index: i64, written: i64) -> i64:
        """The count of a message that comes from a segment where it has this one."""
        return max(written, self.in_segments.get(index, 0))
