"""What a batch took from the journal, so that it can be put back.

A disk that is full has not taken a batch; it is the journal's again, as if it had never left. What
was settled meanwhile need not be written any more.
"""

from __future__ import annotations

from typing import final

from mypy_extensions import i64

from amqbroker.message import Entry
from amqbroker.store.batch import Batch
from amqbroker.store.queue_log import QueueLog
from amqbroker.store.records import SegmentPart
from amqbroker.store.segment import Segment


@final
class JournalFile:
    """A journal file on disk, and how many entries in it live."""

    __slots__ = ("live", "number")

    def __init__(self, number: i64) -> None:
        self.number: i64 = number
        self.live: i64 = 0


@final
class Rewritten:
    """An entry that was written once more, and the file that it was in."""

    __slots__ = ("entry", "file")

    def __init__(self, entry: Entry, file: i64) -> None:
        self.entry = entry
        self.file: i64 = file


@final
class Taken:
    """One batch that is with the edge. `sequence`, `covered` and `file_bytes` are those before it.

    A batch that `relieves` has only what makes room: nothing that was waited for is durable by it.
    """

    __slots__ = (
        "appended",
        "batch",
        "counts",
        "covered",
        "defined",
        "file_bytes",
        "files",
        "parts",
        "pending_bytes",
        "ranges",
        "relieves",
        "rewritten",
        "segments",
        "sequence",
        "stops",
    )

    def __init__(self, relieves: bool, sequence: i64, covered: i64, file_bytes: i64) -> None:
        self.relieves = relieves
        self.sequence: i64 = sequence
        self.covered: i64 = covered
        self.file_bytes: i64 = file_bytes
        self.pending_bytes: i64 = 0
        self.stops = False
        self.batch: Batch | None = None
        self.appended: list[Entry] = []
        self.defined: list[tuple[bytes, bytes | None]] = []
        self.rewritten: list[Rewritten] = []
        self.parts: list[SegmentPart] = []
        self.counts: list[tuple[QueueLog, list[tuple[int, int]]]] = []
        self.ranges: list[tuple[i64, list[tuple[int, int]]]] = []
        self.segments: list[Segment] = []
        # Journal files that the batch deletes.
        self.files: list[JournalFile] = []
