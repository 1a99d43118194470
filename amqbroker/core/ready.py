"""The messages of one queue that wait for a consumer, in index order.

New messages are appended at the tail and taken at the head. A message that was taken and comes back
goes to its old place: returned entries are a list of their own that is sorted by index, largest
first, and served from its end. Those that came back since it was last looked at wait in a list
without order, so that many that come back one by one are sorted once.

A queue that keeps up has one list, whose head is taken and whose tail grows. When the middle of a
long queue went to disk it is `paged`, and in pieces, until all of that was read and taken:

    returned | front: read ahead from disk | on disk only | tail: the newest

`_entries` is the front and `_tail` the tail; they are the same list as long as it is not paged.
What is in the front was in the queue before it was paged, or is in a segment as well; it does not
go to disk.

Invariants: every index in `_entries` from `_head` on is smaller than `disk_next`, which is no
larger than any index on disk, and those are smaller than any in the tail. `_returned` has entries
that were taken, and those of the journal that a start found among segments. `count` is exact: it
has what is on disk as well.
"""

from __future__ import annotations

from typing import Final, cast, final

from mypy_extensions import i64

from amqbroker.core.entry import QueueEntry
from amqbroker.message import ENTRY_OVERHEAD_BYTES, PENDING, Entry

COMPACT_MIN: Final = 512
# So many returned entries are put to their places one by one.
INSERTS_MAX: Final = 4


@final
class Ready:
    """A FIFO that takes entries back at their place."""

    __slots__ = (
        "_entries",
        "_front_bytes",
        "_head",
        "_late",
        "_returned",
        "_returned_bytes",
        "_tail",
        "_tail_bytes",
        "body_bytes",
        "count",
        "disk_next",
        "on_disk",
        "paged",
    )

    def __init__(self) -> None:
        self._entries: list[QueueEntry | None] = []
        self._tail = self._entries
        self._head: i64 = 0
        self._returned: list[QueueEntry] = []
        self._late: list[QueueEntry] = []
        self._returned_bytes: i64 = 0
        # The cost of messages. Of one list that is front and tail, only the sum counts.
        self._front_bytes: i64 = 0
        self._tail_bytes: i64 = 0
        # Of all bodies that are in memory.
        self.body_bytes: i64 = 0
        self.count: i64 = 0
        self.paged = False
        self.on_disk: i64 = 0
        self.disk_next: i64 = 0

    def append(self, entry: QueueEntry) -> None:
        """`entry.index` is larger than every index before it."""
        self._tail.append(entry)
        message = entry.message
        self._tail_bytes += message.cost
        self.body_bytes += len(message.body)
        self.count += 1

    def take(self) -> QueueEntry:
        """Remove and return the entry with the smallest index.

        The caller knows that `count` is not 0, and if this is paged, that `is_loaded`.
        """
        self.count -= 1
        head = self._head
        if self._late:
            self._sort_late()
        if self._returned and self._returned_is_first():
            returned = self._returned.pop()
            self.body_bytes -= len(returned.message.body)
            self._returned_bytes -= returned.message.cost
            return returned
        entry = self._entries[head]
        assert entry is not None, head
        message = entry.message
        self._front_bytes -= message.cost
        self.body_bytes -= len(message.body)
        # The slot lets go of the message at once; the list itself is cut when half of it is empty.
        self._entries[head] = None
        head += 1
        size: i64 = len(self._entries)
        if head == size:
            head = 0
            if not self.paged:
                self._entries = []
                self._tail = self._entries
            elif self.on_disk > 0:
                self._entries = []
            else:
                self._end_paging()
        elif head >= COMPACT_MIN and head * 2 > size:
            del self._entries[:head]
            head = 0
        self._head = head
        return entry

    def head(self) -> QueueEntry:
        """The entry that `take` would remove, under the same conditions."""
        if self._late:
            self._sort_late()
        if self._returned and self._returned_is_first():
            return self._returned[-1]
        entry = self._entries[self._head]
        assert entry is not None, self._head
        return entry

    def is_loaded(self) -> bool:
        """Whether `take` can go on without the disk."""
        if not self.paged or self._head < len(self._entries):
            return True
        if self._late:
            self._sort_late()
        return bool(self._returned) and self._returned[-1].index < self.disk_next

    def _returned_is_first(self) -> bool:
        """Whether a returned entry is the first of all."""
        if self._head == len(self._entries):
            return True
        entry = self._entries[self._head]
        assert entry is not None, self._head
        return self._returned[-1].index < entry.index

    def put_back(self, entries: list[QueueEntry]) -> None:
        """Return entries that were taken before, in any order."""
        self.count += len(entries)
        for entry in entries:
            self.body_bytes += len(entry.message.body)
            self._returned_bytes += entry.message.cost
        self._late.extend(entries)

    def _sort_late(self) -> None:
        """All that came back goes to its place."""
        late = self._late
        self._late = []
        if len(late) <= INSERTS_MAX:
            for entry in late:
                self._returned.insert(self._place(entry.index), entry)
        else:
            self._returned.extend(late)
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

    # To disk and back.

    def tail_count(self) -> i64:
        """How many messages could go to disk."""
        if self.paged:
            return len(self._tail)
        return i64(len(self._entries)) - self._head

    def tail_cost(self) -> i64:
        """What would be gained by that, in bytes."""
        cost = self._tail_bytes if self.paged else self._front_bytes + self._tail_bytes
        return cost + self.tail_count() * ENTRY_OVERHEAD_BYTES

    def front_cost(self) -> i64:
        """What was read ahead, in bytes. Only if this is paged."""
        return self._front_bytes + (i64(len(self._entries)) - self._head) * ENTRY_OVERHEAD_BYTES

    def cut_tail(self, keep: i64, cost_max: i64, extra_max: i64) -> list[Entry]:
        """Remove the oldest of the tail to be put on disk, about this much; they still count.

        `extra_max` limits what would not be in the next batch anyway. Of a queue that is not paged
        yet the oldest `keep` stay, for its consumers. `tail_count` must be larger.
        """
        if not self.paged:
            self._split(keep)
        taken: list[Entry] = []
        size: i64 = 0
        cost: i64 = 0
        extra: i64 = 0
        for entry in self._tail:
            assert entry is not None
            one = entry.message.cost + ENTRY_OVERHEAD_BYTES
            if entry.state != PENDING:
                if extra >= extra_max:
                    break
                extra += one
            taken.append(entry)
            size += entry.message.cost
            cost += one
            self.body_bytes -= len(entry.message.body)
            if cost >= cost_max:
                break
        del self._tail[: len(taken)]
        self._tail_bytes -= size
        self.on_disk += len(taken)
        return taken

    def head_cost(self) -> i64:
        """What was read ahead or came back, in bytes."""
        count: i64 = len(self._returned) + len(self._late)
        cost = self._returned_bytes + count * ENTRY_OVERHEAD_BYTES
        return cost + self.front_cost() if self.paged else cost

    def cut_head(self) -> list[Entry]:
        """Remove what was read ahead and what came back, in index order, to be given back to the
        disk; `keep` or `load` must follow. They still count."""
        if self._late:
            self._sort_late()
        if not self.paged:
            self._split(0)
        taken: list[Entry] = [cast("Entry", entry) for entry in reversed(self._returned)]
        taken.extend([cast("Entry", entry) for entry in self._entries[self._head :]])
        if self._returned:
            taken.sort(key=index_of_entry)
        for cut in taken:
            self.body_bytes -= len(cut.message.body)
        self._returned = []
        self._returned_bytes = 0
        self._entries = []
        self._head = 0
        self._front_bytes = 0
        self.on_disk += len(taken)
        return taken

    def keep(self, entries: list[Entry], disk_next: i64) -> None:
        """These of what was cut cannot be on disk. What is there begins at `disk_next`."""
        self.on_disk -= len(entries)
        self.count -= len(entries)
        self.put_back([cast("QueueEntry", entry) for entry in entries])
        self.disk_next = disk_next
        if self.on_disk == 0:
            self._end_paging()

    def went_back(self, count: i64, disk_next: i64) -> None:
        """So many that were taken are ready again, and only on disk; what is there begins at
        `disk_next`. What was read ahead may come behind: it stands with what came back."""
        if not self.paged:
            self._split(0)
        for entry in self._entries[self._head :]:
            assert entry is not None
            self._late.append(entry)
        self._returned_bytes += self._front_bytes
        self._front_bytes = 0
        self._entries = []
        self._head = 0
        self.on_disk += count
        self.count += count
        self.disk_next = disk_next

    def indexes(self) -> list[int]:
        """The indexes of what came back, and the first one of what never went, before and behind
        what is on disk. All others that never went are larger."""
        found: list[int] = [entry.index for entry in self._returned]
        found.extend([entry.index for entry in self._late])
        if self._head < len(self._entries):
            entry = self._entries[self._head]
            assert entry is not None, self._head
            found.append(entry.index)
        if self.paged and self._tail:
            first = self._tail[0]
            assert first is not None
            found.append(first.index)
        return found

    def uncut(self, entries: list[Entry]) -> None:
        """These were cut last, and are not on disk."""
        size: i64 = 0
        for entry in entries:
            size += entry.message.cost
            self.body_bytes += len(entry.message.body)
        self._tail[:0] = [cast("QueueEntry", entry) for entry in entries]
        self._tail_bytes += size
        self.on_disk -= len(entries)
        if self.on_disk == 0 and self._head == len(self._entries):
            self._end_paging()

    def load(
        self,
        entries: list[QueueEntry | None],
        size: i64,
        body_bytes: i64,
        lost: i64,
        disk_next: i64,
    ) -> None:
        """These were read from disk, `lost` will never be; `size` is the cost of messages."""
        self._entries.extend(entries)
        self._front_bytes += size
        self.body_bytes += body_bytes
        self.on_disk -= i64(len(entries)) + lost
        self.count -= lost
        self.disk_next = disk_next
        if self.on_disk == 0 and self._head == len(self._entries):
            self._end_paging()

    def recover(self, on_disk: i64, disk_next: i64) -> None:
        """A start found so much in segments. What is appended from now on is behind it."""
        assert self.count == 0, self.count
        self.count = on_disk
        self.on_disk = on_disk
        self.disk_next = disk_next
        self._tail = []
        self.paged = True

    def _split(self, keep: i64) -> None:
        """The oldest become the front, the others the tail."""
        start = self._head + keep
        front = self._entries[self._head : start]
        size: i64 = 0
        for entry in front:
            assert entry is not None
            size += entry.message.cost
        del self._entries[:start]
        self._tail = self._entries
        self._tail_bytes += self._front_bytes - size
        self._entries = front
        self._front_bytes = size
        self._head = 0
        self.paged = True

    def _end_paging(self) -> None:
        """Nothing is on disk any more, and all that was read is taken: the tail is all there is."""
        self._entries = self._tail
        self._head = 0
        self.paged = False

    def take_all(self) -> list[QueueEntry]:
        """Remove everything, and return what is in memory, in index order."""
        everything = self.entries()
        self._entries = []
        self._tail = self._entries
        self._head = 0
        self._returned = []
        self._late = []
        self._returned_bytes = 0
        self._front_bytes = 0
        self._tail_bytes = 0
        self.body_bytes = 0
        self.count = 0
        self.on_disk = 0
        self.paged = False
        return everything

    def first(self, count: i64) -> list[QueueEntry]:
        """Of the first so many, and perhaps more, what is in memory; in index order, left where it
        is."""
        found: list[QueueEntry] = []
        if self._late:
            self._sort_late()
        if count < i64(len(self._returned)):
            found.extend(self._returned[len(self._returned) - count :])
        else:
            found.extend(self._returned)
        found.extend(_some_of(self._entries, self._head, count))
        if self.paged:
            found.extend(_some_of(self._tail, 0, count))
        found.sort(key=index_of)
        return found

    def entries(self) -> list[QueueEntry]:
        """Everything in memory, in index order, left where it is."""
        if self._late:
            self._sort_late()
        found = self._returned[::-1]
        for entry in self._entries[self._head :]:
            if entry is not None:
                found.append(entry)
        if self.paged:
            for entry in self._tail:
                if entry is not None:
                    found.append(entry)
        if self._returned:
            # Those that no segment has may stand among those that were read.
            found.sort(key=index_of)
        return found


def _some_of(entries: list[QueueEntry | None], start: i64, count: i64) -> list[QueueEntry]:
    found: list[QueueEntry] = []
    place = start
    while place < i64(len(entries)) and i64(len(found)) < count:
        entry = entries[place]
        if entry is not None:
            found.append(entry)
        place += 1
    return found


def index_of(entry: QueueEntry) -> int:
    """The sort key of entries."""
    return entry.index


def index_of_entry(entry: Entry) -> int:
    """The same for what goes to disk."""
    return entry.index
