"""What one durable queue writes to the journal: entries that are to be written, ranges that are
settled.

Nothing is encoded here; the journal asks for all of it when a batch is taken. See journal.py for
the states of an entry.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mypy_extensions import i64

from amqbroker.message import IN_SEGMENT, LET_GO, PENDING, SETTLED, WRITTEN, Entry
from amqbroker.store.backlog import Backlog
from amqbroker.store.counts import Counts
from amqbroker.store.ranges import merged

if TYPE_CHECKING:
    from amqbroker.store.journal import Journal

# What an entry costs in the queue to the disk besides its bytes.
ENTRY_OVERHEAD_BYTES: Final = 64

NONE: Final = -2  # no index, no file; its successor is none either


class QueueLog:
    """What one durable queue writes to the journal."""

    __slots__ = (
        "_appended",
        "_file",
        "_file_settled",
        "_first",
        "_is_closed",
        "_journal",
        "_last",
        "_ranges",
        "backlog",
        "counts",
        "is_dirty",
        "live",
        "next_index",
        "queue_id",
    )

    def __init__(
        self, journal: Journal, queue_id: i64, next_index: i64, live: dict[int, int]
    ) -> None:
        self.queue_id: i64 = queue_id
        self.next_index: i64 = next_index  # what the queue's next entry must at least have
        self.backlog = Backlog(queue_id, journal.segments)
        self.counts = Counts({})
        self._journal = journal
        self.live = live  # entries of this queue that live, by journal file
        self._appended: i64 = 0  # entries that wait for the next batch
        # Settled indexes that wait for the next batch: `_ranges`, then `_first` to `_last`.
        self._ranges: list[tuple[int, int]] = []
        self._first: i64 = NONE
        self._last: i64 = NONE
        # Settled entries of journal file `_file` that are not yet taken off its count.
        self._file: i64 = NONE
        self._file_settled: i64 = 0
        self.is_dirty = False
        self._is_closed = False

    def append(self, entry: Entry) -> i64:
        """Write this entry with the next batch; the position to wait for."""
        journal = self._journal
        if journal.broken:
            return journal.position
        assert not self._is_closed, "append to a deleted queue"
        entry.state = PENDING
        message = entry.message
        journal.appended.append(entry)
        journal.pending_bytes += len(message.header) + len(message.body) + ENTRY_OVERHEAD_BYTES
        self.next_index = entry.index + 1
        self._appended += 1
        if not self.is_dirty:
            self._make_dirty()
        return journal.position

    def settle(self, entry: Entry) -> None:
        """This entry is done with, and if it was written, its message is let go of. One that was
        never appended is no concern of the journal."""
        state = entry.state
        if state == WRITTEN:
            entry.state = SETTLED
            # The batch that wrote it may keep the entry for longer.
            entry.message = LET_GO
            if entry.index == self._last + 1:
                self._last += 1
            else:
                self._begin_range(entry.index)
            if entry.file != self._file:
                self._begin_file(entry.file)
            self._file_settled += 1
        elif state == PENDING:
            entry.state = SETTLED
            self._appended -= 1

    def returned(self, entry: Entry) -> None:
        """This entry was delivered and came back: a start shall know how often."""
        journal = self._journal
        if entry.state != WRITTEN or self._is_closed or journal.broken:
            return
        if self.counts.note(entry):
            journal.counted.append(self)
            journal.ranges += 1

    def settle_all(self, entries: list[Entry]) -> None:
        """All these entries are done with."""
        for entry in entries:
            self.settle(entry)

    def settle_ranges(self, ranges: list[tuple[int, int]]) -> None:
        """These are done with; all of them are in segments."""
        if self._is_closed or self._journal.broken:
            return
        for first, last in ranges:
            self._begin_range(first)
            self._last = last

    def stored(self, entries: list[Entry]) -> None:
        """These entries are in the next batch as part of a segment: the journal forgets them."""
        for entry in entries:
            state = entry.state
            if state == WRITTEN:
                if entry.file != self._file:
                    self._begin_file(entry.file)
                self._file_settled += 1
                entry.state = SETTLED
            elif state == PENDING:
                entry.state = SETTLED
                self._appended -= 1
        self._settle_count()

    def close(self) -> None:
        """The queue is deleted: none of its entries lives. Later settles of them do nothing."""
        journal = self._journal
        self._settle_count()
        for number, count in self.live.items():
            journal.files_by_number[number].live -= count
        self.live = {}
        self._ranges = []
        self._first = NONE
        self._last = NONE
        self._is_closed = True
        self.counts = Counts({})
        self.backlog.close()
        del journal.logs[self.queue_id]

    def _make_dirty(self) -> None:
        self.is_dirty = True
        self._journal.dirty.append(self)

    def _begin_range(self, index: i64) -> None:
        if self._is_closed or self._journal.broken:
            return
        if self._last != NONE:
            self._ranges.append((self._first, self._last))
        self._first = index
        self._last = index
        self._journal.ranges += 1
        if not self.is_dirty:
            self._make_dirty()

    def _begin_file(self, number: i64) -> None:
        self._settle_count()
        self._file = number

    def _settle_count(self) -> None:
        """Take what was settled in `_file` off the counts."""
        if self._file_settled and not self._is_closed and self._file != IN_SEGMENT:
            count = self._file_settled
            live = self.live[self._file] - count
            if live:
                self.live[self._file] = live
            else:
                del self.live[self._file]
            self._journal.files_by_number[self._file].live -= count
        self._file = NONE
        self._file_settled = 0

    def take_ranges(self) -> list[tuple[int, int]]:
        if self._last == NONE:
            return []
        ranges = self._ranges
        ranges.append((self._first, self._last))
        self._ranges = []
        self._first = NONE
        self._last = NONE
        self._settle_count()
        if len(ranges) > 1:
            ranges = merged(ranges)
        self.backlog.settle(ranges)
        return ranges

    def move(self, old: int, number: int) -> None:
        """One entry is in a younger journal file now."""
        live = self.live[old] - 1
        if live:
            self.live[old] = live
        else:
            del self.live[old]
        self.live[number] = self.live.get(number, 0) + 1

    def has_ranges(self) -> bool:
        """Whether settled indexes wait for a batch."""
        return self._last != NONE

    def put_back(self, number: i64) -> None:
        """One entry of those that were taken is not in this journal file, and waits again."""
        self._appended += 1
        live = self.live[number] - 1
        if live:
            self.live[number] = live
        else:
            del self.live[number]
        if not self.is_dirty:
            self._make_dirty()

    def take_appended(self, number: i64) -> i64:
        """The entries that waited are in this journal file now; how many live there."""
        count = self._appended
        self._appended = 0
        if count == 0 or self._is_closed:
            return 0
        self.live[number] = self.live.get(number, 0) + count
        return count
