"""The edge: a consistent copy of a data folder that is being written to.

A folder is consistent between two batches of the journal, for a start must be able to go on from
there after a crash. At such a moment names and sizes are noted and deletes are held back
(holding.py); the copying itself has time. Files that are never written to again become hard links,
or copies where there can be none; of those that grow, the bytes that were there are copied.

The copy is made as `<destination>.partial` and gets its name when all of it is on disk, so that
what has the name is whole. Each step is one call, to be made in a worker thread.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Final, final

from amqbroker.errors import DiskError
from amqbroker.store.folder import DAMAGED_SUFFIX
from amqbroker.store.mark import MARK_NAME
from amqbroker.store.records import SNAPSHOT_NAME, journal_number
from amqbroker.store.segments import SEGMENT_SUFFIX, SEGMENTS_FOLDER

PARTIAL_SUFFIX: Final = ".partial"
# What one step copies at most: a cancelled backup ends that soon.
STEP_BYTES: Final = 8 * 1024 * 1024


@final
class GrowingFiles:
    """What the node knows of its segments: which may still grow, and which are of no use elsewhere.

    `transient_queues` are the ids of queues that no restart brings back.
    """

    __slots__ = ("segments", "transient_queues")

    def __init__(self, segments: set[str], transient_queues: set[int]) -> None:
        self.segments = segments
        self.transient_queues = transient_queues


@final
class _Planned:
    __slots__ = ("grows", "name", "size")

    def __init__(self, name: str, size: int, grows: bool) -> None:
        self.name = name
        self.size = size
        self.grows = grows


@final
class Backup:
    """One backup: `begin`, `look` between two batches, `copy_some` until it is false, `finish`.

    After any error: `discard`. All of them raise DiskError.
    """

    __slots__ = (
        "_can_link",
        "_copied",
        "_made_partial",
        "_partial",
        "_plan",
        "_replaced",
        "_source",
        "bytes",
        "destination",
        "files",
        "linked",
    )

    def __init__(self, source: Path, destination: Path) -> None:
        self.destination = destination
        self.files = 0
        self.linked = 0
        self.bytes = 0
        self._source = source
        self._partial = destination.with_name(destination.name + PARTIAL_SUFFIX)
        self._made_partial = False
        self._can_link = True
        # Small files that are replaced as a whole, by name.
        self._replaced: dict[str, bytes] = {}
        self._plan: list[_Planned] = []
        # Of the first planned file.
        self._copied = 0

    def begin(self) -> None:
        """Make the folder."""
        destination, partial = self.destination, self._partial
        if not destination.is_absolute():
            raise DiskError(f"the backup's folder must be an absolute path, not {destination}")
        source = self._source.resolve()
        # Links may go round in circles, which is an error of the system a little later.
        resolved = Path(os.path.realpath(destination))
        if source in (resolved, *resolved.parents):
            raise DiskError(f"the backup's folder {destination} lies in the data folder {source}")
        for path in (destination, partial):
            if os.path.lexists(path):
                raise DiskError(f"{path} is there already: a backup overwrites nothing")
        try:
            partial.mkdir(mode=0o700)
            self._made_partial = True
            (partial / SEGMENTS_FOLDER).mkdir(mode=0o700)
        except OSError as error:
            raise _disk_error("create", partial, error) from error

    def look(self, growing: GrowingFiles) -> None:
        """Note what is there. No batch may be under way, and nothing may go from here on."""
        try:
            numbers = {
                number: name for name in os.listdir(self._source) if (number := _number(name))
            }
            last = max(numbers, default=0)
            for number in sorted(numbers):
                self._add(numbers[number], number == last)
            for name in sorted(os.listdir(self._source / SEGMENTS_FOLDER)):
                segment = f"{SEGMENTS_FOLDER}/{name}"
                queue_id = name.partition("-")[0]
                if name.endswith(SEGMENT_SUFFIX) and not (
                    queue_id.isdigit() and int(queue_id) in growing.transient_queues
                ):
                    self._add(segment, segment in growing.segments)
            for name in (SNAPSHOT_NAME, MARK_NAME):
                path = self._source / name
                if path.exists():
                    self._replaced[name] = path.read_bytes()
        except OSError as error:
            raise _disk_error("read", self._source, error) from error

    def copy_some(self) -> bool:
        """Link or copy a piece; False if nothing is left."""
        if not self._plan:
            return False
        planned = self._plan[0]
        source, copy = self._source / planned.name, self._partial / planned.name
        try:
            if planned.grows or not self._link(source, copy):
                done = self._copy_piece(source, copy, planned.size)
            else:
                self.linked += 1
                done = True
        except OSError as error:
            raise _disk_error("write", copy, error) from error
        if done:
            self.files += 1
            self.bytes += planned.size
            self._copied = 0
            del self._plan[0]
        return True

    def finish(self) -> None:
        """Write the snapshot and the mark, make all of it durable, and give it its name."""
        partial = self._partial
        try:
            for name, data in self._replaced.items():
                _write_synced(partial / name, data)
                self.files += 1
                self.bytes += len(data)
            _sync_folder(partial / SEGMENTS_FOLDER)
            _sync_folder(partial)
            if os.path.lexists(self.destination):
                raise DiskError(f"{self.destination} is there now: a backup overwrites nothing")
            os.rename(partial, self.destination)
            self._made_partial = False
            _sync_folder(self.destination.parent)
        except OSError as error:
            raise _disk_error("write", self.destination, error) from error

    def discard(self) -> None:
        """Leave nothing behind."""
        if self._made_partial:
            shutil.rmtree(self._partial, ignore_errors=True)
            self._made_partial = False

    def _add(self, name: str, grows: bool) -> None:
        size = os.stat(self._source / name).st_size
        self._plan.append(_Planned(name, size, grows))

    def _link(self, source: Path, copy: Path) -> bool:
        if not self._can_link:
            return False
        try:
            os.link(source, copy)
        except FileExistsError:
            raise
        except OSError:
            # Another file system, one without links, or too many of them: the copy will tell if
            # something else is wrong.
            self._can_link = False
        return self._can_link

    def _copy_piece(self, source: Path, copy: Path, size: int) -> bool:
        """Go on with the copy of a file; True if it is whole and on disk."""
        length = min(STEP_BYTES, size - self._copied)
        flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | (0 if self._copied else os.O_EXCL)
        from_file = os.open(source, os.O_RDONLY | os.O_CLOEXEC)
        try:
            to_file = os.open(copy, flags, 0o600)
            try:
                self._copy_bytes(from_file, to_file, self._copied + length, source)
                if self._copied == size:
                    os.fsync(to_file)
                    return True
            finally:
                os.close(to_file)
        finally:
            os.close(from_file)
        return False

    def _copy_bytes(self, from_file: int, to_file: int, end: int, source: Path) -> None:
        while self._copied < end:
            data = os.pread(from_file, min(1024 * 1024, end - self._copied), self._copied)
            if not data:
                raise DiskError(f"{source} has become shorter, at {self._copied} bytes")
            written = os.pwrite(to_file, data, self._copied)
            self._copied += written


def _number(name: str) -> int:
    """The number of a journal file, 0 for other names."""
    return 0 if name.endswith(DAMAGED_SUFFIX) else journal_number(name) or 0


def _write_synced(path: Path, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(descriptor)


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _disk_error(doing: str, path: Path, error: OSError) -> DiskError:
    reason = os.strerror(error.errno) if error.errno else str(error)
    return DiskError(f"cannot {doing} {error.filename or path}: {reason}")
