"""What is known of one segment: how much of it counts, is settled, was read, and is to be read once
more. backlog.py keeps those of a queue in order, segments.py has the bytes.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import final

from mypy_extensions import i64

from amqbroker.message import IN_SEGMENT, WRITTEN, Entry
from amqbroker.store.ranges import Ranges
from amqbroker.store.records import FILE_HEADER_BYTES, SegmentPart
from amqbroker.store.segments import KEPT, SegmentWriter, segment_crc, segment_name


@final
class Segment:
    """One segment. `count` messages of it outlive a restart, unless they are in `settled`.

    `size` bytes count, of which `readable` are on disk; behind the first `kept_size` is nothing
    that outlives a restart. `unread` messages were not read since the start, with bodies of
    `unread_bytes`. `handed` of those that outlive a restart are in memory or were settled since
    then; `settled_before` were settled when the segment was recovered. `body_bytes` have the
    `count` bodies.

    What was never read begins at index `read_to` and at `offset`; before that, only what is in
    `again` is unread; `again_transient` has those of them that do not outlive a restart. `out`
    transient messages are out for delivery and nowhere else.

    Nothing in it expires before `expires_from`, which is 0 if none of it ever does; all of it has
    expired at `expires_until`, which is 0 if some of it never does.
    """

    __slots__ = (
        "_mark_indexes",
        "_mark_offsets",
        "again",
        "again_transient",
        "body_bytes",
        "count",
        "crc",
        "expires_from",
        "expires_until",
        "first",
        "handed",
        "is_damaged",
        "kept_size",
        "last",
        "messages",
        "name",
        "number",
        "offset",
        "out",
        "queue_id",
        "read_to",
        "readable",
        "recovered",
        "searching",
        "seed",
        "settled",
        "settled_before",
        "size",
        "unread",
        "unread_bytes",
    )

    def __init__(self, queue_id: i64, number: i64, seed: bytes, first: i64) -> None:
        self.queue_id: i64 = queue_id
        self.number: i64 = number
        self.name = segment_name(queue_id, number)
        self.seed = seed
        self.crc = segment_crc(queue_id, seed)
        self.first: i64 = first
        self.last: i64 = first
        self.count: i64 = 0
        self.messages: i64 = 0
        self.settled = Ranges()
        self.settled_before: i64 = 0
        self.size: i64 = 0
        self.kept_size: i64 = 0
        self.readable: i64 = 0
        self.unread: i64 = 0
        self.unread_bytes: i64 = 0
        self.body_bytes: i64 = 0
        self.expires_from: i64 = 0
        self.expires_until: i64 = 0
        self.handed: i64 = 0
        self.read_to: i64 = first
        self.offset: i64 = FILE_HEADER_BYTES
        self.searching = False
        self.again = Ranges()
        self.again_transient = Ranges()
        self.out: i64 = 0
        # Where pieces began that were read.
        self._mark_indexes: list[int] = []
        self._mark_offsets: list[int] = []
        self.recovered = False
        self.is_damaged = False

    def live(self) -> i64:
        """How many messages of it a crash would bring back."""
        return self.count - self.settled.total

    def part(self, added_from: i64) -> SegmentPart:
        """What the journal has to know of it."""
        return SegmentPart(
            self.queue_id,
            self.number,
            self.seed,
            self.first,
            self.last,
            added_from,
            self.count,
            min(self.kept_size, self.size),
            self.body_bytes,
            self.expires_from,
            self.expires_until,
        )

    def grow(self, writer: SegmentWriter, messages: i64) -> None:
        """So many messages were appended."""
        if self.messages == 0:
            self.expires_until = writer.expires_until
        elif writer.expires_until == 0:
            self.expires_until = 0
        elif self.expires_until != 0:
            self.expires_until = max(self.expires_until, writer.expires_until)
        if self.expires_from == 0 or 0 < writer.expires_from < self.expires_from:
            self.expires_from = writer.expires_from
        self.size += writer.size
        if writer.kept > 0:
            self.kept_size = self.size
        self.count += writer.kept
        self.body_bytes += writer.kept_body_bytes
        self.messages += messages
        self.unread += messages
        self.unread_bytes += writer.body_bytes

    def punch(self, holes: list[tuple[int, int]]) -> None:
        """Of a new segment: these indexes between its messages are done with. They count as settled
        ones of it, so that it does no harm if the journal says so once more."""
        messages = self.count
        for first, last in holes:
            self.settled.add(first, last)
        self.count += self.settled.total
        self.handed += self.settled.total
        self.body_bytes = self.body_bytes * self.count // messages

    def hand_out(self, writer: SegmentWriter) -> None:
        """What was just written, and is all there is, counts as read: its messages are out for
        delivery."""
        self._mark_indexes = writer.block_firsts
        self._mark_offsets = [offset + FILE_HEADER_BYTES for offset in writer.block_offsets]
        self.handed += writer.kept
        self.read_to = self.last + 1
        self.offset = self.size
        self.unread = 0
        self.unread_bytes = 0

    def has_unread(self, index: i64, flags: i64) -> bool:
        """Whether its message with this index and these flags is ready and not in memory."""
        if index < self.read_to:
            return self.again.contains(index)
        return not self.recovered or (flags & KEPT != 0 and not self.settled.contains(index))

    def was_read(self, index: i64) -> bool:
        """Whether this index lies in what was read."""
        return self.first <= index < self.read_to

    def can_read_again(self) -> bool:
        """Whether all that was read from it, or is out for delivery, is on disk."""
        return self.offset <= self.readable

    def mark(self) -> None:
        """A piece is read from where nothing was read before."""
        self._mark_indexes.append(self.read_to)
        self._mark_offsets.append(self.offset)

    def offset_of(self, index: i64) -> i64:
        """Where to begin in order to read this index once more."""
        return self._mark_offsets[bisect_right(self._mark_indexes, index) - 1]

    def give_back(self, entry: Entry) -> bool:
        """This entry, which is ready, is to be read once more; False if that cannot be."""
        index = entry.index
        is_kept = entry.state == WRITTEN
        if entry.file != IN_SEGMENT or not self.first <= index < self.read_to:
            return False
        self.again.add(index, index)
        self.unread += 1
        self.unread_bytes += entry.message.body_bytes()
        if is_kept:
            self.handed -= 1
        else:
            self.again_transient.add(index, index)
        return True

    def take_again(self, last: i64, kept: i64) -> i64:
        """What was given back was read once more up to this index, and so many of it outlive a
        restart; how many were to be read. What is missing does not count any more."""
        wanted = self.again.take_until(last)
        self.count -= wanted - self.again_transient.take_until(last) - kept
        return wanted

    def keep_again(self) -> list[tuple[int, int]]:
        """What was given back is not read once more; the indexes of what would outlive a restart,
        which count until they are settled."""
        kept = self.again.without(self.again_transient)
        if kept:
            self.handed += self.again.total - self.again_transient.total
        self.unread -= self.again.total
        self.again = Ranges()
        self.again_transient = Ranges()
        return kept

    def cut(self, last: i64, size: i64) -> None:
        """What lies behind this index and offset, and was not read, does not count any more."""
        settled_since = self.settled.total - self.settled_before
        self.settled.cut(last)
        self.settled_before = self.settled.total - settled_since
        count = self.settled_before + self.handed
        if self.count > 0:
            self.body_bytes = self.body_bytes * count // self.count
        self.count = count
        self.last = last
        self.size = size
        self.readable = size
        self.unread = 0
        self.unread_bytes = 0

    def forget(self) -> None:
        """Nothing of it counts any more."""
        self.count = 0
        self.body_bytes = 0
        self.settled = Ranges()
        self.settled_before = 0
        self.unread = 0
        self.unread_bytes = 0


def cut_short(segment: Segment) -> str:
    """What is wrong where the file of a segment ends too early."""
    return f"the file ends here, and {segment.size} bytes of it count"


def holes_between(entries: list[Entry]) -> list[tuple[int, int]]:
    """The indexes between these entries that are none of theirs."""
    holes: list[tuple[int, int]] = []
    expected = entries[0].index
    for entry in entries:
        if entry.index > expected:
            holes.append((expected, entry.index - 1))
        expected = entry.index + 1
    return holes
