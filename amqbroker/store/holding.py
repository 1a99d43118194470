"""A disk that can be told to keep what is there, while somebody copies it.

Between `hold` and `release` no file goes and none gets another name, except that a new snapshot or
mark replaces the one before, which is small enough to be read at the beginning of the hold. What
waits is done in its order afterwards, since journal files must go oldest first. Files of the hold
only grow, so their bytes of its beginning stay as they were.

A crash in between leaves files that nothing needs; a start removes them, or reads the old journal
files without harm.
"""

from __future__ import annotations

from typing import final

from amqbroker.store.disk import Disk, DiskFile
from amqbroker.store.mark import MARK_NAME
from amqbroker.store.records import SNAPSHOT_NAME


@final
class HoldingDisk:
    """Another disk, with its deletes held back at times."""

    __slots__ = ("_disk", "_is_held", "_waiting")

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self._is_held = False
        # Names and what they become; empty for a file that goes.
        self._waiting: list[tuple[str, str]] = []

    def hold(self) -> None:
        """From now on no file goes."""
        self._is_held = True

    def release(self) -> None:
        """Let go what was to go since. After a DiskError the next delete tries the rest again."""
        self._is_held = False
        self._catch_up()

    def list_names(self, folder: str = "") -> list[str]:
        """The names in the folder, or in a folder in it, in order."""
        return self._disk.list_names(folder)

    def sizes(self, folder: str) -> dict[str, int]:
        """The files of a folder in the folder, by name, in order."""
        return self._disk.sizes(folder)

    def read(self, name: str) -> bytes:
        """A whole file."""
        return self._disk.read(name)

    def make_folder(self, folder: str) -> None:
        """A folder in the folder, if it is missing."""
        self._disk.make_folder(folder)

    def read_at(self, name: str, offset: int, length: int) -> bytes:
        """A piece of a file; less than asked for where the file ends."""
        return self._disk.read_at(name, offset, length)

    def create(self, name: str) -> DiskFile:
        """A new, empty file; the name must be free, or of one that waits to go."""
        if (name, "") in self._waiting:
            self._waiting.remove((name, ""))
            self._disk.delete(name)
        return self._disk.create(name)

    def open_append(self, name: str) -> DiskFile:
        """A file that is there, to be written at its end."""
        return self._disk.open_append(name)

    def truncate(self, name: str, size: int) -> None:
        """Cut a file to this size and sync it."""
        self._disk.truncate(name, size)

    def shorten(self, name: str, size: int) -> None:
        """Cut a file that nobody needs, but none that may be copied."""
        if not self._is_held:
            self._disk.shorten(name, size)

    def rename(self, old: str, new: str) -> None:
        """Rename a file over another; one that is set aside keeps its name for now."""
        if self._is_held and new not in (SNAPSHOT_NAME, MARK_NAME):
            self._waiting.append((old, new))
        else:
            self._disk.rename(old, new)

    def delete(self, name: str) -> None:
        """Remove a file, at the end of the hold if there is one."""
        if self._is_held:
            self._waiting.append((name, ""))
            return
        self._catch_up()
        self._disk.delete(name)

    def sync_folder(self, folder: str = "") -> None:
        """Return once all creates, renames and deletes in the folder are on the disk."""
        self._disk.sync_folder(folder)

    def free_bytes(self) -> int:
        """How much the disk still takes."""
        return self._disk.free_bytes()

    def _catch_up(self) -> None:
        while self._waiting:
            name, new_name = self._waiting[0]
            folder, _, short_name = name.rpartition("/")
            if short_name not in self._disk.list_names(folder):
                pass  # its batch was refused: it never came, or went before
            elif new_name:
                self._disk.rename(name, new_name)
            else:
                self._disk.delete(name)
            del self._waiting[0]
            # A crash must not undo one of these and keep a later one.
            self._disk.sync_folder(folder)
