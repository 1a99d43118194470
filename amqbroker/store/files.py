"""The edge: the data folder on a real disk, its lock, and the one thread hop a batch.

The functions that touch files are synchronous: batches are written in a thread of their own, reads
go through aiofiles, and a start runs them as they are, since nothing else runs then. Every error of
the operating system becomes a DiskError that names the file and the reason.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from queue import SimpleQueue
from threading import Lock, Thread
from typing import Final, final

import aiofiles.os
import anyio
from anyio import to_thread

from amqbroker.errors import DiskError, DiskFullError
from amqbroker.store.backup import Backup, GrowingFiles
from amqbroker.store.folder import LOCK_NAME, JournalFiles, open_folder
from amqbroker.store.holding import HoldingDisk
from amqbroker.store.journal import JOURNAL_FILE_BYTES, Batch, Journal
from amqbroker.store.records import SEED_BYTES
from amqbroker.store.recovery import Recovered

# writev takes so many chunks at once on every system we know.
CHUNKS_PER_WRITE_MAX: Final = 1024


# A write that fails so can be tried again; a sync that fails cannot.
NO_ROOM: Final = (errno.ENOSPC, errno.EDQUOT)
# Many connections at once may take the last files, for as long as it takes to refuse them.
NO_FILES: Final = (errno.EMFILE, errno.ENFILE)
OPEN_ATTEMPTS: Final = 50
OPEN_RETRY_S: Final = 0.1


@contextmanager
def _os_errors(path: Path, doing: str, *, is_write: bool = False) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        kind = DiskFullError if is_write and error.errno in NO_ROOM else DiskError
        raise kind(f"cannot {doing} {path}: {reason}") from error


@final
class RealFile:
    """A file that is open for appending."""

    __slots__ = ("_descriptor", "_path")

    def __init__(self, descriptor: int, path: Path) -> None:
        self._descriptor = descriptor
        self._path = path

    def write(self, chunks: list[bytes]) -> None:
        """Append all chunks."""
        with _os_errors(self._path, "write to", is_write=True):
            for start in range(0, len(chunks), CHUNKS_PER_WRITE_MAX):
                _write_all(self._descriptor, chunks[start : start + CHUNKS_PER_WRITE_MAX])

    def sync(self) -> None:
        """Return once all that was written is on the disk."""
        with _os_errors(self._path, "sync"):
            os.fdatasync(self._descriptor)

    def close(self) -> None:
        """Give the file back."""
        if self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            # Some file systems tell only now that a write went wrong.
            with _os_errors(self._path, "close"):
                os.close(descriptor)


def _open(path: Path, flags: int) -> int:
    """A descriptor, as soon as there is one."""
    for _ in range(OPEN_ATTEMPTS):
        try:
            return os.open(path, flags | os.O_CLOEXEC, 0o600)
        except OSError as error:
            if error.errno not in NO_FILES:
                raise
        time.sleep(OPEN_RETRY_S)
    return os.open(path, flags | os.O_CLOEXEC, 0o600)


def _write_all(descriptor: int, chunks: list[bytes]) -> None:
    written = os.writev(descriptor, chunks)
    rest = sum(map(len, chunks)) - written
    if rest == 0:
        return
    # A full disk or a size limit cut the write short: the next call says which.
    view = memoryview(b"".join(chunks))[written:]
    while view:
        view = view[os.write(descriptor, view) :]


def _read_all(descriptor: int, offset: int, length: int) -> bytes:
    data = os.pread(descriptor, length, offset)
    while len(data) < length:
        more = os.pread(descriptor, length - len(data), offset + len(data))
        if not more:
            break
        data += more
    return data


@final
class RealDisk:
    """A data folder of the operating system."""

    __slots__ = ("_folder",)

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def list_names(self, folder: str = "") -> list[str]:
        """The names in the folder, or in a folder in it, in order."""
        path = self._folder / folder
        with _os_errors(path, "list"):
            try:
                return sorted(os.listdir(path))
            except FileNotFoundError:
                if folder:
                    return []
                raise

    def sizes(self, folder: str) -> dict[str, int]:
        """The files of a folder in the folder, by name, in order."""
        path = self._folder / folder
        with _os_errors(path, "list"):
            found: dict[str, int] = {}
            for name in self.list_names(folder):
                # A link may lead nowhere.
                with suppress(FileNotFoundError):
                    found[name] = (path / name).stat().st_size
            return found

    def read(self, name: str) -> bytes:
        """A whole file."""
        path = self._folder / name
        with _os_errors(path, "read"):
            return path.read_bytes()

    def make_folder(self, folder: str) -> None:
        """A folder in the folder, if it is missing."""
        path = self._folder / folder
        with _os_errors(path, "create", is_write=True):
            path.mkdir(mode=0o700, exist_ok=True)

    def read_at(self, name: str, offset: int, length: int) -> bytes:
        """A piece of a file; less than asked for where the file ends."""
        path = self._folder / name
        with _os_errors(path, "read"):
            descriptor = _open(path, os.O_RDONLY)
            try:
                return _read_all(descriptor, offset, length)
            finally:
                os.close(descriptor)

    def create(self, name: str) -> RealFile:
        """A new, empty file; the name must be free."""
        path = self._folder / name
        with _os_errors(path, "create", is_write=True):
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND
            return RealFile(_open(path, flags), path)

    def open_append(self, name: str) -> RealFile:
        """A file that is there, to be written at its end."""
        path = self._folder / name
        with _os_errors(path, "open"):
            return RealFile(_open(path, os.O_WRONLY | os.O_APPEND), path)

    def truncate(self, name: str, size: int) -> None:
        """Cut a file to this size and sync it."""
        path = self._folder / name
        with _os_errors(path, "cut"):
            descriptor = _open(path, os.O_WRONLY)
            try:
                os.ftruncate(descriptor, size)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    def shorten(self, name: str, size: int) -> None:
        """Cut a file that nobody needs; a backup may have it too, and need it whole."""
        path = self._folder / name
        with _os_errors(path, "cut"):
            if path.stat().st_nlink == 1:
                os.truncate(path, size)

    def rename(self, old: str, new: str) -> None:
        """Give a file the name of another, which is replaced."""
        path = self._folder / old
        with _os_errors(path, "rename", is_write=True):
            os.replace(path, self._folder / new)

    def delete(self, name: str) -> None:
        """Remove a file."""
        path = self._folder / name
        with _os_errors(path, "delete"):
            path.unlink()

    def sync_folder(self, folder: str = "") -> None:
        """Return once all creates, renames and deletes in the folder are on the disk."""
        path = self._folder / folder
        with _os_errors(path, "sync"):
            descriptor = _open(path, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    def free_bytes(self) -> int:
        """How much the disk still takes."""
        with _os_errors(self._folder, "look at"):
            status = os.statvfs(self._folder)
            return status.f_bavail * status.f_frsize


@final
class FolderLock:
    """Keeps other processes out of a data folder for as long as this one holds it, or lives.

    The folder itself is locked too, where that can be done: people remove lock files.
    """

    __slots__ = ("_descriptor", "_folder_descriptor")

    def __init__(self, folder: Path) -> None:
        """Take the lock. The DiskError names the process that has it."""
        self._descriptor = -1
        self._folder_descriptor = -1
        path = folder / LOCK_NAME
        try:
            with _os_errors(path, "lock"):
                self._lock(folder, path)
        except DiskError:
            self.release()
            raise

    def _lock(self, folder: Path, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(self._descriptor, 32).decode(errors="replace").strip()
            raise DiskError(
                f"the data folder {folder} is in use by process {holder or 'unknown'}"
            ) from None
        self._folder_descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        if not _lock_folder(self._folder_descriptor, fcntl.LOCK_EX):
            raise DiskError(
                f"the data folder {folder} is in use by a process whose file {path} was removed"
            )
        # For people only: a full disk need not have room for it.
        with suppress(OSError):
            os.ftruncate(self._descriptor, 0)
            os.write(self._descriptor, f"{os.getpid()}\n".encode())

    def release(self) -> None:
        """Let others in."""
        for descriptor in (self._descriptor, self._folder_descriptor):
            if descriptor >= 0:
                # Nothing was written that anybody depends on.
                with suppress(OSError):
                    os.close(descriptor)
        self._descriptor = -1
        self._folder_descriptor = -1


def _lock_folder(descriptor: int, kind: int) -> bool:
    """False if another process has it. Network file systems may have no locks for folders."""
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def folder_user(folder: Path) -> str:
    """The process that has a data folder open, empty if there is none. Nothing is changed."""
    path = folder / LOCK_NAME
    with _os_errors(path, "look at"):
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return _folder_user_without_file(folder)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return os.read(descriptor, 32).decode(errors="replace").strip() or "unknown"
        finally:
            os.close(descriptor)
    return ""


def _folder_user_without_file(folder: Path) -> str:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return "" if _lock_folder(descriptor, fcntl.LOCK_SH) else "unknown"
    finally:
        os.close(descriptor)


# What is called once a batch is written, with what kept it from that.
Done = Callable[[Exception | None], object]
_Ordered = tuple[Batch, asyncio.AbstractEventLoop, Done]


@final
class JournalWriter:
    """Writes batches, one at a time, in a thread of its own.

    A hop there and one back is all that a batch costs besides its write: the futures of a thread
    pool, and a task that waits for them, cost as much as the messages in a small one.
    """

    __slots__ = ("_batches", "_files", "_thread", "_turn")

    def __init__(self, files: JournalFiles) -> None:
        self._files = files
        self._batches: SimpleQueue[_Ordered | None] = SimpleQueue()
        # Held while a batch is written.
        self._turn = Lock()
        self._thread: Thread | None = None

    def write(self, batch: Batch, done: Done) -> None:
        """Begin to write a batch.

        `done` is called on the running event loop once the batch is written, and durable if it says
        so, or with the DiskError that kept it from that.
        """
        self._batches.put((batch, asyncio.get_running_loop(), done))
        if self._thread is None:
            self._thread = Thread(target=self._run, name="journal", daemon=True)
            self._thread.start()

    @asynccontextmanager
    async def between_batches(self) -> AsyncIterator[None]:
        """`async with` this no batch is written."""
        await to_thread.run_sync(self._turn.acquire)
        try:
            yield
        finally:
            self._turn.release()

    def close(self) -> None:
        """Return once what was begun is written."""
        if self._thread is not None:
            self._batches.put(None)
            self._thread.join()
            self._thread = None

    def _run(self) -> None:
        while (item := self._batches.get()) is not None:
            batch, loop, done = item
            failure: Exception | None = None
            try:
                with self._turn:
                    self._files.write(batch)
            except Exception as error:
                # A bug must not end the thread in silence: who waits for the batch is told.
                failure = error
            # A loop that was closed meanwhile wants to know nothing.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(done, failure)


@final
class DataFolder:
    """An open data folder: what it held, the journal that goes on, and its writer."""

    __slots__ = (
        "_disk",
        "_files",
        "_free_bytes",
        "_is_backed_up",
        "_lock",
        "_path",
        "_read_at",
        "journal",
        "recovered",
        "writer",
    )

    def __init__(
        self,
        path: Path,
        lock: FolderLock,
        disk: HoldingDisk,
        files: JournalFiles,
        recovered: Recovered,
        journal: Journal,
    ) -> None:
        self._path = path
        self._is_backed_up = False
        self.recovered = recovered
        self.journal = journal
        self.writer = JournalWriter(files)
        self._lock = lock
        self._disk = disk
        self._files = files
        self._free_bytes = aiofiles.os.wrap(disk.free_bytes)
        self._read_at = aiofiles.os.wrap(disk.read_at)

    async def read_at(self, name: str, offset: int, length: int) -> bytes:
        """A piece of a segment, read in a worker thread; DiskError if it cannot be read."""
        data: bytes = await self._read_at(name, offset, length)
        return data

    async def free_bytes(self) -> int:
        """How much the disk still takes, for the disk alarm."""
        free: int = await self._free_bytes()
        return free

    async def backup(self, destination: Path, growing: Callable[[], GrowingFiles]) -> Backup:
        """Write a consistent copy to a new folder; what it took.

        `growing` is asked between two batches. Everything that was durable before this call is in
        the copy. Raises DiskError; then, or if it is cancelled, nothing is left of the copy.
        """
        if self._is_backed_up:
            raise DiskError("another backup is under way")
        self._is_backed_up = True
        backup = Backup(self._path, destination)
        try:
            await to_thread.run_sync(backup.begin)
            try:
                await self._copy_held(backup, growing)
                await to_thread.run_sync(backup.finish)
            except BaseException:
                with anyio.CancelScope(shield=True):
                    await to_thread.run_sync(backup.discard)
                raise
        finally:
            self._is_backed_up = False
        return backup

    async def _copy_held(self, backup: Backup, growing: Callable[[], GrowingFiles]) -> None:
        between_batches = self.writer.between_batches
        try:
            async with between_batches():
                self._disk.hold()
                await to_thread.run_sync(backup.look, growing())
            while await to_thread.run_sync(backup.copy_some):
                pass
        finally:
            with anyio.CancelScope(shield=True):
                async with between_batches():
                    # What cannot be deleted now is tried again with the next batch.
                    with suppress(DiskError):
                        await to_thread.run_sync(self._disk.release)

    def close(self) -> None:
        """Give everything back, once a batch that is being written is on the disk."""
        self.writer.close()
        try:
            self._files.close()
        finally:
            self._lock.release()


def open_data_folder(path: Path, file_bytes_max: int = JOURNAL_FILE_BYTES) -> DataFolder:
    """Lock the folder, which is made if it is missing, and recover what it holds.

    DiskError if another process has it, it cannot be written, its format is newer than ours, or
    what it holds is damaged so that a start would make it worse.
    """
    with _os_errors(path, "create"):
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = FolderLock(path)
    try:
        disk = HoldingDisk(RealDisk(path))
        recovered, journal, files = open_folder(disk, os.urandom(SEED_BYTES), file_bytes_max)
        try:
            files.keep_reserve()
        except DiskError:
            files.close()
            raise
    except DiskError:
        lock.release()
        raise
    return DataFolder(path, lock, disk, files, recovered, journal)
