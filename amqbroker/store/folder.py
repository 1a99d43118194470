"""In which order the data folder is read, cut and written, so that a crash between any two steps
loses nothing that was promised.

A start reads everything, cuts the torn tail, syncs what is left of that file, begins a new one, and
then removes files that hold nothing. So no process appends to a file of another one, and the marker
of a clean stop counts once: a file follows it. A batch is written and synced before anybody hears
of it; a file's name is synced with its first batch; a snapshot replaces the one before under a
synced rename, and only then do the files go that it covers. Files go oldest first on the disk too:
a younger one has the settled ranges of an older one. When a file has its first synced batch, and at
a clean stop, the mark names it, so that it is missed if it goes by itself; and the first file that
stays, before older ones go. A batch for which there is no room is undone: files that it began go,
others are cut to what they were. Segments are written and synced before the journal names them, and
go after it has forgotten them; what nothing names is removed at a start.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Final, final

from amqbroker.errors import DiskError, DiskFullError
from amqbroker.store.disk import Disk, DiskFile
from amqbroker.store.journal import JOURNAL_FILE_BYTES, Batch, Journal
from amqbroker.store.mark import MARK_NAME, MARK_NEW_NAME, Mark
from amqbroker.store.records import (
    FILE_HEADER_BYTES,
    JOURNAL_MAGIC,
    SNAPSHOT_NAME,
    SNAPSHOT_NEW_NAME,
    file_header,
    journal_name,
    journal_number,
)
from amqbroker.store.recovery import Problem, Recovered, Recovery
from amqbroker.store.segment import cut_short
from amqbroker.store.segment_outbox import SegmentWrite
from amqbroker.store.segments import SEGMENT_SUFFIX, SEGMENTS_FOLDER

# Locked while a node runs; holds its process id.
LOCK_NAME: Final = "lock"
# Where a node that runs takes commands; one that was killed leaves it.
SOCKET_NAME: Final = "control.sock"
DAMAGED_SUFFIX: Final = ".damaged"
# Given up when the disk is full, so that there is room for what makes room. It is made only where
# it is a small part of what is free.
RESERVE_NAME: Final = "reserve"
RESERVE_BYTES: Final = 1024 * 1024
RESERVE_FREE_BYTES_MIN: Final = 8 * RESERVE_BYTES


@final
class JournalFiles:
    """The journal's files on a disk: what is open, and whether it may still be written to."""

    __slots__ = (
        "_damaged",
        "_disk",
        "_failure",
        "_file",
        "_has_deleted",
        "_has_reserve",
        "_keeps_reserve",
        "_marked",
        "_number",
        "_numbers",
        "_size",
        "_undo",
    )

    def __init__(
        self, disk: Disk, file: DiskFile, numbers: list[int], damaged: frozenset[str] = frozenset()
    ) -> None:
        """`numbers` are those of all files that hold anything, and last of the one that is open."""
        self._disk = disk
        self._numbers = numbers
        # Files in which a start found damage: somebody may want to look at them.
        self._damaged = damaged
        self._file = file
        self._number = numbers[-1]
        self._size = FILE_HEADER_BYTES
        self._failure = ""
        # A file has gone, and a crash may bring it back.
        self._has_deleted = False
        # How to undo what was done of a batch: files, and the size that they had; 0: none.
        self._undo: list[tuple[str, int]] = []
        # The last file of which the mark names a block.
        self._marked = 0
        self._keeps_reserve = False
        self._has_reserve = False

    def keep_reserve(self) -> None:
        """From now on keep a file of some size, to be given up when the disk is full: what makes
        room takes a little room itself."""
        self._keeps_reserve = True
        self._has_reserve = RESERVE_NAME in self._disk.list_names()
        self._make_reserve()

    def write(self, batch: Batch) -> None:
        """Write a batch, durably if it says so. After a DiskFullError nothing of it is there, and
        any batch may follow; another DiskError is for good: raised ever after."""
        if self._failure:
            raise DiskError(self._failure)
        number, size = self._number, self._size
        try:
            self._write(batch)
        except DiskFullError:
            try:
                self._undo_batch(number, size)
            except DiskError as error:
                self._failure = f"the journal failed before: {error}"
                raise DiskError(str(error)) from error
            raise
        except DiskError as error:
            self._failure = f"the journal failed before: {error}"
            raise
        self._undo.clear()
        if batch.sync and (batch.is_last or self._marked != self._number):
            # It is a help, and nothing depends on it; the next batch tries again.
            with suppress(DiskError):
                self._mark(batch)
        if self._keeps_reserve and not self._has_reserve:
            self._make_reserve()

    def close(self) -> None:
        """Give the open file back."""
        self._file.close()

    def _write(self, batch: Batch) -> None:
        disk = self._disk
        self._write_segments(batch.segments)
        if batch.starts_file:
            self._start_file(batch.file_number)
        assert batch.file_number == self._number, (batch.file_number, self._number)
        if batch.chunks:
            if not batch.starts_file:
                self._undo.append((journal_name(self._number), self._size))
            self._file.write(batch.chunks)
            self._size += sum(map(len, batch.chunks))
        if batch.sync or batch.deletable:
            self._file.sync()
        if batch.starts_file:
            self._sync_folder()
        if batch.snapshot is not None:
            self._write_snapshot(batch.snapshot)
        if batch.deletable:
            try:
                self._let_go(batch)
            except DiskFullError as error:
                # The snapshot covers the batch: it cannot be undone any more.
                raise DiskError(str(error)) from error
        # Nothing is lost if these fail: nothing names the files any more, and a start removes them.
        for name in batch.set_aside:
            with suppress(DiskError):
                disk.rename(name, name + DAMAGED_SUFFIX)
                disk.sync_folder(SEGMENTS_FOLDER)
        for name in batch.unlinks:
            with suppress(DiskError):
                disk.delete(name)
        for name, size in batch.cuts:
            with suppress(DiskError):
                disk.shorten(name, size)

    def _start_file(self, number: int) -> None:
        # Batches without a sync may still be on their way, and a torn end is only expected in the
        # last file.
        self._file.sync()
        file = self._disk.create(journal_name(number))
        self._undo.append((journal_name(number), 0))
        self._numbers.append(number)
        before = self._file
        self._file = file
        self._number = number
        self._size = 0
        before.close()

    def _let_go(self, batch: Batch) -> None:
        """Journal files go, and get another name if they are damaged. Nobody misses them."""
        disk = self._disk
        count = len(batch.deletable)
        assert batch.deletable == self._numbers[:count], (batch.deletable, self._numbers)
        del self._numbers[:count]
        try:
            self._mark(batch)
        except DiskError:
            # Without a mark nothing is missed.
            self._marked = 0
            if MARK_NAME in disk.list_names():
                disk.delete(MARK_NAME)
                self._sync_folder()
        for number in batch.deletable:
            if self._has_deleted:
                self._sync_folder()
            name = journal_name(number)
            if name in self._damaged:
                disk.rename(name, name + DAMAGED_SUFFIX)
            else:
                disk.delete(name)
            self._has_deleted = True

    def _write_segments(self, writes: list[SegmentWrite]) -> None:
        """All of them are on disk before the journal says so."""
        disk = self._disk
        creates = False
        for write in writes:
            is_new = write.offset == 0
            file = disk.create(write.name) if is_new else disk.open_append(write.name)
            self._undo.append((write.name, write.offset))
            try:
                file.write(write.chunks)
                if write.sync:
                    file.sync()
            finally:
                file.close()
            creates = creates or is_new
        if creates:
            disk.sync_folder(SEGMENTS_FOLDER)

    def _write_snapshot(self, snapshot: bytes) -> None:
        disk = self._disk
        file = disk.create(SNAPSHOT_NEW_NAME)
        self._undo.append((SNAPSHOT_NEW_NAME, 0))
        try:
            file.write([snapshot])
            file.sync()
        finally:
            file.close()
        disk.rename(SNAPSHOT_NEW_NAME, SNAPSHOT_NAME)
        self._undo.pop()
        self._sync_folder()

    def _mark(self, batch: Batch) -> None:
        """Remember that this file has this block, and which file is the first one: a start misses
        the first and the last file by nothing else."""
        oldest = self._numbers[0]
        if oldest == self._number and self._size <= FILE_HEADER_BYTES:
            oldest = 0  # a start that finds nothing in it removes it
        _write_mark(self._disk, Mark(batch.file_number, batch.sequence, oldest))
        self._marked = self._number

    def _sync_folder(self) -> None:
        self._disk.sync_folder()
        self._has_deleted = False

    # A full disk.

    def _undo_batch(self, number: int, size: int) -> None:
        """Go back to before the batch, whose journal file this was. The last write may be torn."""
        disk = self._disk
        undo = self._undo[::-1]
        self._undo = []
        if self._has_reserve:
            self._has_reserve = False
            disk.delete(RESERVE_NAME)
        if number != self._number:
            self._file.close()
        for name, before in undo:
            if before == 0:
                # A crash may bring the name back, but not what the file said: a journal file would
                # name messages in segments that were cut.
                disk.truncate(name, 0)
                disk.delete(name)
            else:
                disk.truncate(name, before)
        if number != self._number:
            self._file = disk.open_append(journal_name(number))
            self._numbers.pop()
            self._number = number
        self._size = size

    def _make_reserve(self) -> None:
        """If there is plenty of room."""
        disk = self._disk
        if self._has_reserve:
            return
        try:
            if disk.free_bytes() < RESERVE_FREE_BYTES_MIN:
                return
            file = disk.create(RESERVE_NAME)
            self._has_reserve = True
            try:
                file.write([bytes(RESERVE_BYTES)])
                file.sync()
            finally:
                file.close()
            disk.sync_folder()
        except DiskError:
            # It is a help, and nothing depends on it.
            return


def _write_mark(disk: Disk, mark: Mark) -> None:
    """Replace the mark. What it names is synced."""
    if MARK_NEW_NAME in disk.list_names():
        disk.delete(MARK_NEW_NAME)
    file = disk.create(MARK_NEW_NAME)
    try:
        file.write([mark.encode()])
        file.sync()
    finally:
        file.close()
    disk.rename(MARK_NEW_NAME, MARK_NAME)
    disk.sync_folder()


def read_folder(disk: Disk) -> Recovered:
    """What the folder holds; nothing is changed. Raises DiskError if a start must not go on."""
    names = disk.list_names()
    recovery = Recovery()
    if MARK_NAME in names:
        recovery.add_mark(disk.read(MARK_NAME))
    if SNAPSHOT_NAME in names:
        recovery.add_snapshot(disk.read(SNAPSHOT_NAME))
    numbers = _journal_numbers(names)
    for number in numbers:
        recovery.add_file(number, disk.read(journal_name(number)), number == numbers[-1])
    return recovery.finish()


def open_folder(
    disk: Disk, seed: bytes, file_bytes_max: int = JOURNAL_FILE_BYTES
) -> tuple[Recovered, Journal, JournalFiles]:
    """Recover, and make the folder ready for the first batch. `seed` is random.

    On a full disk the reserve goes for it.
    """
    try:
        return _open_folder(disk, seed, file_bytes_max)
    except DiskFullError:
        if RESERVE_NAME not in disk.list_names():
            raise
        disk.delete(RESERVE_NAME)
        return _open_folder(disk, seed, file_bytes_max)


def _open_folder(
    disk: Disk, seed: bytes, file_bytes_max: int
) -> tuple[Recovered, Journal, JournalFiles]:
    names = disk.list_names()
    recovered = read_folder(disk)
    number = max([recovered.marked_number, *_journal_numbers(names)]) + 1
    if SNAPSHOT_NEW_NAME in names:
        disk.delete(SNAPSHOT_NEW_NAME)
    _cut_torn_tail(disk, recovered)
    _sync_last(disk)
    disk.make_folder(SEGMENTS_FOLDER)
    _tidy_segments(disk, recovered)
    file = disk.create(journal_name(number))
    try:
        file.write([file_header(JOURNAL_MAGIC, number, seed)])
        file.sync()
        disk.sync_folder()
        numbers = [found.number for found in recovered.files if found.blocks]
        oldest = numbers[0] if numbers else 0
        with suppress(DiskFullError):
            _write_mark(disk, Mark(number, recovered.sequence, oldest))
            # The mark before may name one of these.
            _remove_empty(disk, recovered)
    except DiskError:
        file.close()
        raise
    journal = Journal(recovered, number, seed, file_bytes_max)
    damaged = frozenset(problem.file for problem in recovered.problems)
    return recovered, journal, JournalFiles(disk, file, [*numbers, number], damaged)


def _cut_torn_tail(disk: Disk, recovered: Recovered) -> None:
    """The last file ends with its last sound block; it is the only one that a crash may tear."""
    torn = recovered.torn_tail
    if torn is None:
        return
    if torn.offset == 0 and recovered.files[-1].size > FILE_HEADER_BYTES:
        # A crash tears the header of a file only together with its first batch. Where more than
        # that might be lost, a person can still look at it.
        disk.rename(torn.file, torn.file + DAMAGED_SUFFIX)
        disk.sync_folder()
    else:
        disk.truncate(torn.file, torn.offset)


def _sync_last(disk: Disk) -> None:
    """What was read must not be lost any more: a process that was killed may have left the end of
    its file to the system, and a settled message that is gone now must not come back later."""
    numbers = _journal_numbers(disk.list_names())
    if numbers:
        file = disk.open_append(journal_name(numbers[-1]))
        try:
            file.sync()
        finally:
            file.close()


def _tidy_segments(disk: Disk, recovered: Recovered) -> None:
    """Remove segments that nothing names: of transient messages, or of a write before a crash.

    If the journal is damaged, it may have named them: then they are kept aside. Those that are
    missing or too short are problems.
    """
    problems = recovered.problems
    is_damaged = bool(problems)
    named = {
        segment.name.removeprefix(SEGMENTS_FOLDER + "/"): segment
        for segments in recovered.segments.values()
        for segment in segments
    }
    for name, size in disk.sizes(SEGMENTS_FOLDER).items():
        found = named.pop(name, None)
        if found is not None:
            if size < found.size:
                problems.append(Problem(found.name, size, cut_short(found)))
            continue
        if not name.endswith(SEGMENT_SUFFIX):
            continue
        path = f"{SEGMENTS_FOLDER}/{name}"
        if is_damaged:
            disk.rename(path, path + DAMAGED_SUFFIX)
        else:
            disk.delete(path)
    for segment in named.values():
        what = f"missing, with {segment.live()} messages"
        problems.append(Problem(segment.name, 0, what))


def _remove_empty(disk: Disk, recovered: Recovered) -> None:
    """Remove files of starts that wrote nothing. What is only unreadable stays, and is reported."""
    names = disk.list_names()
    torn = recovered.torn_tail
    for file in recovered.files:
        name = journal_name(file.number)
        is_cut = torn is not None and torn.file == name
        if file.blocks == 0 and name in names and (is_cut or file.size <= FILE_HEADER_BYTES):
            disk.delete(name)


def _journal_numbers(names: list[str]) -> list[int]:
    return sorted(number for number in map(journal_number, names) if number is not None)
