"""Reads the data folder of a stopped node for people: what is there, and what is broken.

A start reads as little as it can; this reads every byte. It goes on behind damage, names it by file
and offset, and changes nothing. What the queues hold is what a start would find, since the same
`Recovery` folds it.

Two kinds of places:

    problem   bytes that were promised to be there and are not as they were written
    note      what a crash may leave, and the next start puts in order: a block that was cut short
              at the very end, half a snapshot, a segment that nothing names

A damaged block at the end of the last file is a problem unless it is cut short or ends with zeros:
a crash leaves one of these two, a bad disk neither.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, final

from librt.strings import read_i64_be
from mypy_extensions import i64

from amqbroker.errors import DiskError
from amqbroker.message import Entry, Message
from amqbroker.store.disk import Disk
from amqbroker.store.folder import DAMAGED_SUFFIX, LOCK_NAME, RESERVE_NAME, SOCKET_NAME
from amqbroker.store.mark import MARK_NAME, MARK_NEW_NAME
from amqbroker.store.records import (
    BLOCK_HEADER_BYTES,
    FILE_HEADER_BYTES,
    JOURNAL_MAGIC,
    MAGIC_BYTES,
    SNAPSHOT_MAGIC,
    SNAPSHOT_NAME,
    SNAPSHOT_NEW_NAME,
    BlockReader,
    FileHeader,
    RecordError,
    RecordVisitor,
    SegmentPart,
    guess_header_crc,
    header_crc,
    journal_name,
    journal_number,
    read_file_header,
    read_records,
)
from amqbroker.store.recovery import Problem, Recovered, Recovery
from amqbroker.store.segment import Segment, cut_short
from amqbroker.store.segments import (
    KEPT,
    REDELIVERED,
    SEGMENT_MAGIC,
    SEGMENT_SUFFIX,
    SEGMENTS_FOLDER,
    SegmentReader,
    segment_header,
)

# So many zeros at the end of a file are a write whose data never came: the least that disks write.
SECTOR_BYTES: Final = 512
NOT_KNOWN: Final = -1
# Files of a folder that hold no messages.
OWN_NAMES: Final = (SNAPSHOT_NAME, MARK_NAME, SEGMENTS_FOLDER, SOCKET_NAME, RESERVE_NAME)


@final
class FileReport:
    """One journal file, or the snapshot. Counts are of what is sound in it."""

    __slots__ = (
        "blocks",
        "first_sequence",
        "last_sequence",
        "messages",
        "name",
        "number",
        "records",
        "size",
    )

    def __init__(self, name: str, number: int, size: int) -> None:
        self.name = name
        # The number in the header; a snapshot covers the blocks up to it.
        self.number = number
        self.size = size
        self.blocks = 0
        self.first_sequence = 0
        self.last_sequence = 0
        self.records = 0
        # Message records: one for each queue that a message is in.
        self.messages = 0


@final
class SegmentReport:
    """One segment. `live` of its messages are neither settled nor only for this run of the node.

    `named`: the journal counts on it, from index `first` to `last` in its first `counted` bytes.
    """

    __slots__ = (
        "counted",
        "first",
        "last",
        "live",
        "name",
        "named",
        "queue_id",
        "readable",
        "settled",
        "size",
    )

    def __init__(self, name: str, size: int) -> None:
        self.name = name
        self.size = size
        self.named = False
        self.queue_id = 0
        self.first = 0
        self.last = 0
        self.counted = 0
        self.live = 0
        # Of these, messages that can be read.
        self.readable = 0
        self.settled: list[tuple[int, int]] = []


@final
class QueueReport:
    """What a start would find of one durable queue."""

    __slots__ = ("in_journal", "in_segments", "next_index", "queue_id", "segments")

    def __init__(self, queue_id: int, next_index: int) -> None:
        self.queue_id = queue_id
        self.next_index = next_index
        self.in_journal = 0
        self.in_segments = 0
        self.segments = 0

    def messages(self) -> int:
        """How many messages wait."""
        return self.in_journal + self.in_segments


@final
class FolderReport:
    """All that was found. `recovered` is None if a start would refuse; `refusal` says why."""

    __slots__ = (
        "files",
        "notes",
        "others",
        "problems",
        "queues",
        "recovered",
        "refusal",
        "segments",
    )

    def __init__(self) -> None:
        self.files: list[FileReport] = []
        self.segments: list[SegmentReport] = []
        self.queues: list[QueueReport] = []
        self.others: list[str] = []
        self.problems: list[Problem] = []
        self.notes: list[Problem] = []
        self.recovered: Recovered | None = None
        self.refusal = ""


@final
class StoredMessage:
    """A message that waits on disk, and where."""

    __slots__ = ("deliveries", "expires_at", "file", "index", "message", "redelivered")

    def __init__(
        self,
        index: i64,
        file: str,
        message: Message,
        expires_at: i64,
        deliveries: i64,
        redelivered: bool,
    ) -> None:
        self.index: i64 = index
        self.file = file
        self.message = message
        self.expires_at: i64 = expires_at
        self.deliveries: i64 = deliveries
        self.redelivered = redelivered


@final
class _Counter(RecordVisitor):
    """Counts the records of one file."""

    __slots__ = ("has_end", "messages", "records")

    def __init__(self) -> None:
        self.records = 0
        self.messages = 0
        self.has_end = False

    def on_message(self, queue_id: i64, index: i64, record_at: i64, message_at: i64) -> None:
        """A message in a queue."""
        self.records += 1
        self.messages += 1

    def on_settled(self, queue_id: i64, first: i64, last: i64) -> None:
        """A range."""
        self.records += 1

    def on_redelivered(self, queue_id: i64, first: i64, last: i64) -> None:
        """A range."""
        self.records += 1

    def on_deliveries(self, queue_id: i64, index: i64, deliveries: i64) -> None:
        """A count."""
        self.records += 1

    def on_define(self, key: bytes, value: bytes) -> None:
        """A definition."""
        self.records += 1

    def on_undefine(self, key: bytes) -> None:
        """A definition that is gone."""
        self.records += 1

    def on_stopped(self) -> None:
        """A clean stop."""
        self.records += 1

    def on_next_index(self, queue_id: i64, index: i64) -> None:
        """A queue that the snapshot knows."""
        self.records += 1

    def on_next_queue(self, queue_id: i64) -> None:
        """The snapshot's free queue id."""
        self.records += 1

    def on_end(self) -> None:
        """The snapshot is complete."""
        self.records += 1
        self.has_end = True

    def on_segment(self, part: SegmentPart) -> None:
        """What counts of a segment."""
        self.records += 1


@final
class _Inspection:
    """One walk through a folder."""

    __slots__ = ("_disk", "_recovery", "_sequence", "_snapshot_sequence", "report")

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self._recovery = Recovery()
        # Of the last sound block so far.
        self._sequence = NOT_KNOWN
        self._snapshot_sequence = 0
        self.report = FolderReport()

    def run(self) -> None:
        """Look at every file."""
        names = self._disk.list_names()
        numbers = sorted(number for number in map(journal_number, names) if number is not None)
        known = {journal_name(number) for number in numbers}
        if SNAPSHOT_NAME in names:
            self._snapshot(SNAPSHOT_NAME)
        if MARK_NAME in names:
            self._mark()
        for number in numbers:
            self._journal_file(number, number == numbers[-1])
        for name in names:
            if name == SNAPSHOT_NEW_NAME:
                self._note(name, 0, "half a snapshot: the next start removes it")
                self._snapshot(name)
            elif name == MARK_NEW_NAME:
                self._note(
                    name, 0, "half a mark of the last journal file: the next start removes it"
                )
            elif name == LOCK_NAME:
                self._lock_file()
            elif name.endswith(DAMAGED_SUFFIX):
                self._note(name, 0, "damaged, and kept aside by a start")
            elif name not in OWN_NAMES and name not in known:
                self.report.others.append(name)
        if not self.report.refusal:
            recovered = self.report.recovered = self._recovery.finish()
            self.report.problems += [
                each for each in recovered.problems if each.file in (SNAPSHOT_NAME, MARK_NAME)
            ]
            self._count_queues(recovered)
        self._segments(bool(self.report.problems or self.report.refusal))

    # The snapshot and the journal.

    def _snapshot(self, name: str) -> None:
        data = self._read(name)
        if data is None:
            return
        counts = name == SNAPSHOT_NAME
        found = self.report.problems if counts else self.report.notes
        file = FileReport(name, 0, len(data))
        self.report.files.append(file)
        header = self._header(name, data, SNAPSHOT_MAGIC, found)
        if header is None:
            found.append(Problem(name, 0, "the file header is damaged or incomplete"))
            file.number = NOT_KNOWN
        else:
            file.number = header.number
            counter = _Counter()
            reader = BlockReader(data, header.crc)
            self._blocks(file, data, reader, counter, found)
            if reader.tail >= 0:
                found.append(Problem(name, reader.tail, reader.tail_what))
            elif not counter.has_end:
                found.append(Problem(name, len(data), "the end is missing"))
        if counts:
            self._snapshot_sequence = file.number
            try:
                self._recovery.add_snapshot(data)
            except DiskError as error:
                self.report.refusal = str(error)

    def _mark(self) -> None:
        data = self._read(MARK_NAME)
        if data is None:
            return
        try:
            self._recovery.add_mark(data)
        except DiskError as error:
            self.report.refusal = self.report.refusal or str(error)

    def _journal_file(self, number: int, is_last: bool) -> None:
        name = journal_name(number)
        data = self._read(name)
        if data is None:
            self.report.refusal = self.report.refusal or f"{name} cannot be read"
            return
        file = FileReport(name, number, len(data))
        self.report.files.append(file)
        if not data:
            self._note(name, 0, "empty: a start was cut short")
            return
        problems = self.report.problems
        header = self._header(name, data, JOURNAL_MAGIC, problems)
        crc: int | None = None
        if header is not None:
            crc = header.crc
            if header.number != number:
                what = f"the header says that this is {journal_name(header.number)}"
                problems.append(Problem(name, MAGIC_BYTES + 4, what))
        else:
            crc = guess_header_crc(data, JOURNAL_MAGIC, number)
            if crc is not None:
                what = "the file header is damaged; the blocks behind it are not"
                problems.append(Problem(name, 0, what))
            else:
                self._tail(name, 0, "the file header is damaged or incomplete", data, is_last)
        if crc is not None:
            counter = _Counter()
            reader = BlockReader(data, crc)
            self._blocks(file, data, reader, counter, problems)
            if reader.tail >= 0:
                self._tail(name, reader.tail, reader.tail_what, data, is_last)
        if not self.report.refusal:
            try:
                self._recovery.add_file(number, data, is_last)
            except DiskError as error:
                self.report.refusal = str(error)

    def _header(
        self, name: str, data: bytes, magic: bytes, found: list[Problem]
    ) -> FileHeader | None:
        """The header, also of a newer format, which is a problem of its own."""
        try:
            return read_file_header(name, data, magic)
        except DiskError as error:
            found.append(Problem(name, MAGIC_BYTES, str(error)))
        # What is known of that format can still be checked.
        return FileHeader(read_i64_be(data, MAGIC_BYTES + 4), header_crc(data))

    def _blocks(
        self,
        file: FileReport,
        data: bytes,
        reader: BlockReader,
        counter: _Counter,
        found: list[Problem],
    ) -> None:
        noted = 0
        is_journal = journal_number(file.name) is not None
        while reader.next():
            while noted < len(reader.damage):
                found.append(Problem(file.name, *reader.damage[noted]))
                noted += 1
            sequence: int = reader.sequence
            if is_journal:
                self._follow(file, sequence, reader.start - BLOCK_HEADER_BYTES)
            elif sequence != file.last_sequence + 1:
                what = f"blocks {file.last_sequence + 1} to {sequence - 1} are missing"
                found.append(Problem(file.name, reader.start - BLOCK_HEADER_BYTES, what))
            if file.blocks == 0:
                file.first_sequence = sequence
            file.blocks += 1
            file.last_sequence = sequence
            try:
                read_records(data, reader.start, reader.end, counter)
            except RecordError as error:
                found.append(Problem(file.name, error.offset, error.what))
        file.records = counter.records
        file.messages = counter.messages

    def _follow(self, file: FileReport, sequence: int, offset: i64) -> None:
        """Blocks are counted without gaps; the first file may begin before the snapshot's end."""
        what = ""
        if self._sequence == NOT_KNOWN:
            if NOT_KNOWN < self._snapshot_sequence < sequence - 1:
                what = (
                    f"blocks up to {sequence - 1} are missing: the definitions cover those up to"
                    f" {self._snapshot_sequence} only"
                )
        elif sequence <= self._sequence:
            what = f"block {sequence} comes after block {self._sequence}"
        elif sequence > self._sequence + 1:
            what = f"blocks {self._sequence + 1} to {sequence - 1} are missing before this one"
        if what:
            self.report.problems.append(Problem(file.name, offset, what))
        self._sequence = max(self._sequence, sequence)

    def _tail(self, name: str, offset: i64, what: str, data: bytes, is_last: bool) -> None:
        """Bytes behind the last sound block: a crash tears the end of the last file only."""
        if not is_last:
            self.report.problems.append(Problem(name, offset, what))
            return
        what = f"{what}; the next start cuts off the last {len(data) - offset} bytes"
        cut_short = len(data) - offset < BLOCK_HEADER_BYTES or "incomplete" in what
        if offset == 0:
            cut_short = len(data) < FILE_HEADER_BYTES
        end = data[max(offset, len(data) - SECTOR_BYTES) :]
        if cut_short or not end.strip(b"\0"):
            self._note(name, offset, f"torn by a crash: {what}")
        else:
            self.report.problems.append(Problem(name, offset, what))

    # Segments.

    def _segments(self, journal_is_damaged: bool) -> None:
        named: dict[str, Segment] = {}
        recovered = self.report.recovered
        if recovered is not None:
            for segments in recovered.segments.values():
                named.update({segment.name: segment for segment in segments})
        try:
            names = self._disk.list_names(SEGMENTS_FOLDER)
        except DiskError as error:
            self.report.problems.append(Problem(SEGMENTS_FOLDER, 0, str(error)))
            return
        for short_name in names:
            name = f"{SEGMENTS_FOLDER}/{short_name}"
            segment = named.pop(name, None)
            if segment is not None:
                self._named_segment(segment)
            elif name.endswith(SEGMENT_SUFFIX):
                self._stray_segment(name, journal_is_damaged)
            elif name.endswith(DAMAGED_SUFFIX):
                self._note(name, 0, "damaged, and kept aside")
            else:
                self.report.others.append(name)
        for name, segment in named.items():
            self._problem(name, 0, f"missing, with {segment.live()} messages")

    def _named_segment(self, segment: Segment) -> None:
        """A segment that the journal counts on."""
        name = segment.name
        data = self._read(name)
        if data is None:
            return
        report = SegmentReport(name, len(data))
        report.named = True
        report.queue_id = segment.queue_id
        report.first = segment.first
        report.last = segment.last
        report.counted = segment.size
        report.live = segment.live()
        report.settled = segment.settled.items()
        self.report.segments.append(report)
        header = segment_header(segment.queue_id, segment.seed)
        for offset in range(FILE_HEADER_BYTES):
            if data[offset : offset + 1] != header[offset : offset + 1]:
                self._problem(name, offset, "the file header is damaged")
                break
        if len(data) < segment.size:
            self._problem(name, len(data), cut_short(segment))
        reader = SegmentReader(
            data[FILE_HEADER_BYTES:], FILE_HEADER_BYTES, len(data), segment.crc, False
        )
        damaged = False
        for offset, what in self._segment_blocks(reader, segment, report):
            if offset < segment.size:
                damaged = True
                self._problem(name, offset, what)
            else:
                self._note(name, offset, f"{what}, behind what counts")
        if report.readable != report.live and not damaged and len(data) >= segment.size:
            what = f"{report.live} messages count, and {report.readable} can be read"
            self._problem(name, FILE_HEADER_BYTES, what)

    def _stray_segment(self, name: str, journal_is_damaged: bool) -> None:
        """A segment that nothing names. If the journal is sound, it was not promised to anybody."""
        data = self._read(name)
        if data is None:
            return
        report = SegmentReport(name, len(data))
        self.report.segments.append(report)
        found = self.report.problems if journal_is_damaged else self.report.notes
        what = (
            "the next start keeps it aside" if journal_is_damaged else "the next start removes it"
        )
        self._note(name, 0, f"the journal does not name it: {what}")
        header = self._header(name, data, SEGMENT_MAGIC, found)
        if header is None:
            found.append(Problem(name, 0, "the file header is damaged or incomplete"))
            return
        report.queue_id = header.number
        reader = SegmentReader(
            data[FILE_HEADER_BYTES:], FILE_HEADER_BYTES, len(data), header.crc, False
        )
        for offset, what in self._segment_blocks(reader, None, report):
            found.append(Problem(name, offset, what))

    def _segment_blocks(
        self, reader: SegmentReader, segment: Segment | None, report: SegmentReport
    ) -> list[tuple[int, str]]:
        """Read all blocks, count what counts, and say what is wrong."""
        found: list[tuple[int, str]] = []
        index: i64 = -1
        while reader.next_block():
            end = reader.offset
            records = 0
            try:
                while reader.next_record() is not None:
                    records += 1
                    if reader.index <= index:
                        found.append((end, f"in the block before: index {reader.index} twice"))
                    index = reader.index
                    if segment is None or _is_live(segment, reader):
                        report.readable += 1
            except (AssertionError, IndexError, ValueError):
                found.append((end, "in the block before: a record that cannot be read"))
            else:
                if records != reader.count:
                    what = f"in the block before: {records} records instead of {reader.count}"
                    found.append((end, what))
        return [*reader.problems, *found]

    # The rest.

    def _lock_file(self) -> None:
        data = self._read(LOCK_NAME)
        if data is not None and not (data.strip().isdigit() or not data):
            self._note(LOCK_NAME, 0, "does not hold a process id; nothing depends on it")

    def _count_queues(self, recovered: Recovered) -> None:
        for queue_id in sorted(recovered.next_index):
            queue = QueueReport(queue_id, recovered.next_index[queue_id])
            queue.in_journal = len(recovered.messages.get(queue_id, []))
            segments = recovered.segments.get(queue_id, [])
            queue.segments = len(segments)
            queue.in_segments = sum(segment.live() for segment in segments)
            self.report.queues.append(queue)

    def _read(self, name: str) -> bytes | None:
        try:
            return self._disk.read(name)
        except DiskError as error:
            self._problem(name, 0, str(error))
            return None

    def _problem(self, name: str, offset: int, what: str) -> None:
        self.report.problems.append(Problem(name, offset, what))

    def _note(self, name: str, offset: int, what: str) -> None:
        self.report.notes.append(Problem(name, offset, what))


def _is_live(segment: Segment, reader: SegmentReader) -> bool:
    return (
        reader.flags & KEPT != 0
        and segment.first <= reader.index <= segment.last
        and not segment.settled.contains(reader.index)
    )


def inspect_folder(disk: Disk) -> FolderReport:
    """Read all of a folder. Raises DiskError only if the folder itself cannot be listed."""
    inspection = _Inspection(disk)
    inspection.run()
    return inspection.report


def stored_messages(disk: Disk, recovered: Recovered, queue_id: int) -> Iterator[StoredMessage]:
    """The messages of a queue in index order, those that can be read. What is wrong with its
    segments is added to the problems."""
    entries = recovered.messages.get(queue_id, [])
    redelivered = recovered.redelivered.get(queue_id)
    counts = recovered.deliveries.get(queue_id, {})
    at = 0
    for segment in recovered.segments.get(queue_id, []):
        data = _counted_bytes(disk, segment, recovered.problems)
        end = FILE_HEADER_BYTES + len(data)
        reader = SegmentReader(data, FILE_HEADER_BYTES, end, segment.crc, False)
        while reader.next_block():
            while True:
                message = reader.next_record()
                if message is None:
                    break
                if not _is_live(segment, reader):
                    continue
                while at < len(entries) and entries[at].index < reader.index:
                    yield _in_journal(entries[at])
                    at += 1
                yield StoredMessage(
                    reader.index,
                    segment.name,
                    message,
                    reader.expires_at,
                    max(reader.deliveries, counts.get(reader.index, 0)),
                    reader.flags & REDELIVERED != 0
                    or (redelivered is not None and redelivered.contains(reader.index)),
                )
        for offset, what in reader.problems:
            recovered.problems.append(Problem(segment.name, offset, what))
    for entry in entries[at:]:
        yield _in_journal(entry)


def _counted_bytes(disk: Disk, segment: Segment, problems: list[Problem]) -> bytes:
    """What counts of a segment, behind its header, and is there."""
    try:
        data = disk.read(segment.name)
    except DiskError as error:
        problems.append(Problem(segment.name, 0, str(error)))
        return b""
    if len(data) < segment.size:
        problems.append(Problem(segment.name, len(data), cut_short(segment)))
    return data[FILE_HEADER_BYTES : segment.size]


def _in_journal(entry: Entry) -> StoredMessage:
    return StoredMessage(
        entry.index,
        journal_name(entry.file),
        entry.message,
        entry.expires_at,
        entry.deliveries,
        entry.redelivered,
    )
