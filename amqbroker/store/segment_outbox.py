"""What the backlogs of all queues leave for the journal's next batch: what is to be written to
segments, what the journal has to know of them, and files that are to go.

A disk takes time to let go of a large file, and somebody may wait for the batch that says so. So
files go piece by piece, with this batch and those that follow. Nothing names them any more: after a
crash a start removes what is left of them.
"""

from __future__ import annotations

from typing import Final, final

from mypy_extensions import i64

from amqbroker.store.batch import Batch
from amqbroker.store.records import SegmentPart
from amqbroker.store.segment import Segment
from amqbroker.store.segments import segment_name

# A segment is sealed when it has this much. It is the piece in which disk is given back.
SEGMENT_SIZE_MAX: Final = 16 * 1024 * 1024
SEGMENT_MESSAGES_MAX: Final = 65_536
# With a batch that somebody waits for so much goes, besides as much as it writes, of files that
# were to go before; with another one so much of all of them. A disk takes 0.2 ms for a MiB.
GOING_BYTES: Final = 512 * 1024
GOING_IDLE_BYTES: Final = 16 * 1024 * 1024
# What a file takes besides its bytes.
GOING_FILE_BYTES: Final = 256 * 1024


@final
class SegmentWrite:
    """Append these chunks to a segment, which is `offset` bytes long; 0: it is new."""

    __slots__ = ("chunks", "name", "offset", "sync")

    def __init__(self, name: str, offset: i64, chunks: list[bytes], sync: bool) -> None:
        self.name = name
        self.offset: i64 = offset
        self.chunks = chunks
        self.sync = sync


@final
class SegmentOutbox:
    """What the backlogs of all queues leave for the next batch."""

    __slots__ = (
        "_named",
        "appended",
        "messages_max",
        "parts",
        "refused",
        "seed",
        "set_aside",
        "size_max",
        "unlinks",
        "writes",
    )

    def __init__(self, seed: bytes) -> None:
        self.seed = seed
        self.size_max: i64 = SEGMENT_SIZE_MAX
        self.messages_max: i64 = SEGMENT_MESSAGES_MAX
        self.writes: list[SegmentWrite] = []
        self.appended: list[Segment] = []
        self.parts: list[SegmentPart] = []
        # Files that are to go, in order, and what is left of them.
        self.unlinks: dict[str, int] = {}
        # So many of them were to go before the last batch was taken.
        self._named: i64 = 0
        self.set_aside: list[str] = []
        # What the disk refused for want of room, by segment: until it is there, it is read from
        # here.
        self.refused: dict[str, list[SegmentWrite]] = {}

    def has_work(self) -> bool:
        """Whether a batch is wanted for it."""
        return bool(self.writes or self.parts or self.unlinks or self.set_aside)

    def unlink(self, segment: Segment) -> None:
        """This file is to go."""
        self.unlinks[segment.name] = segment.size
        self._forget(segment)

    def keep_aside(self, segment: Segment) -> None:
        """This file is to get another name."""
        self.set_aside.append(segment.name)
        self._forget(segment)

    def _forget(self, segment: Segment) -> None:
        """A start need not look for it, whatever it knows of what was settled."""
        if segment.count > 0:
            segment.forget()
            self.parts.append(segment.part(segment.last + 1))

    def waiting_bytes(self) -> int:
        """How much is to be written."""
        return sum(len(chunk) for write in self.writes for chunk in write.chunks)

    def hand_over(self, batch: Batch, is_awaited: bool) -> None:
        """All is the batch's, but most of the files that go: that takes time."""
        batch.segments = self.writes
        batch.set_aside = self.set_aside
        self.writes = []
        self.set_aside = []
        if self.unlinks:
            self._let_go(batch, is_awaited)

    def _let_go(self, batch: Batch, is_awaited: bool) -> None:
        left: i64 = GOING_BYTES if is_awaited else GOING_IDLE_BYTES
        for write in batch.segments:
            for chunk in write.chunks:
                left += len(chunk)
        count: i64 = self._named if is_awaited else len(self.unlinks)
        for name, size in list(self.unlinks.items())[:count]:
            if size > left:
                if left > 0:
                    # It gets shorter, so that it is soon gone.
                    self.unlinks[name] = size - left
                    batch.cuts.append((name, int(size - left)))
                break
            left -= size + GOING_FILE_BYTES
            batch.unlinks.append(name)
        for name in batch.unlinks:
            del self.unlinks[name]
        self._named = len(self.unlinks)

    def take_back(self, batch: Batch) -> None:
        """The batch was refused: its files come before those of since, and go at once."""
        self.writes = batch.segments + self.writes
        self.unlinks = {**dict.fromkeys(batch.unlinks, 0), **self.unlinks}
        self.set_aside = batch.set_aside + self.set_aside
        self.refused = {}
        for write in self.writes:
            self.refused.setdefault(write.name, []).append(write)

    def refused_from(self, name: str) -> i64:
        """The offset from which a segment is not on disk but here, or -1."""
        writes = self.refused.get(name)
        return -1 if writes is None else writes[0].offset

    def read_refused(self, name: str, offset: i64, length: i64) -> bytes | None:
        """A piece of what is here, if it is."""
        first = self.refused_from(name)
        if first < 0 or offset < first:
            return None
        chunks: list[bytes] = []
        for write in self.refused[name]:
            chunks.extend(write.chunks)
        start = offset - first
        return b"".join(chunks)[start : start + length]

    def awaiting(self) -> dict[str, bool]:
        """The segments that are not wholly on disk."""
        return {write.name: True for write in self.writes}

    def can_unlink(self) -> bool:
        """Whether a file is to go."""
        return bool(self.unlinks or self.set_aside)

    def hand_over_idle(self, batch: Batch) -> None:
        """Files that can go before anything is written. Others are pruned first."""
        awaiting = self.awaiting()
        batch.unlinks = [name for name in self.unlinks if name not in awaiting]
        batch.set_aside = [name for name in self.set_aside if name not in awaiting]
        self.unlinks = {name: left for name, left in self.unlinks.items() if name in awaiting}
        self.set_aside = [name for name in self.set_aside if name in awaiting]
        self._named = 0

    def prune(self) -> list[SegmentPart]:
        """Forget what waits to be written to segments that are to go; the parts that would have
        named it, whose messages are all done with."""
        doomed = dict.fromkeys([*self.unlinks, *self.set_aside], True)
        is_new: dict[str, bool] = {}
        for write in self.writes:
            if write.name in doomed:
                is_new.setdefault(write.name, write.offset == 0)
        if not is_new:
            return []
        pruned: list[SegmentPart] = []
        kept: list[SegmentPart] = []
        for part in self.parts:
            name = segment_name(part.queue_id, part.number)
            if name not in is_new:
                kept.append(part)
            elif part.added_from <= part.last:
                pruned.append(part)
            elif not is_new[name]:
                kept.append(part)
        self.parts = kept
        self.writes = [write for write in self.writes if write.name not in is_new]
        for name in is_new:
            self.refused.pop(name, None)
        return pruned
