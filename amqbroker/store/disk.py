"""All that the store asks of the operating system: one data folder, its files and its folders.

`files.RealDisk` is the real one. Names are relative to the folder. Every method may raise DiskError
and nothing else: DiskFullError if there is no room for what is created, written or renamed. After a
failed write or sync the end of that file is unknown.
"""

from __future__ import annotations

from typing import Protocol


class DiskFile(Protocol):
    """A file that is open for appending."""

    def write(self, chunks: list[bytes]) -> None:
        """Append all chunks; until `sync` returns a crash may lose any part of their end."""

    def sync(self) -> None:
        """Return once all that was written is on the disk."""

    def close(self) -> None:
        """Give the file back; this syncs nothing."""


class Disk(Protocol):
    """A data folder."""

    def list_names(self, folder: str = "") -> list[str]:
        """The names in the folder, or in a folder in it, in order. One that is missing is empty."""

    def sizes(self, folder: str) -> dict[str, int]:
        """The files of a folder in the folder, by name, in order. One that is missing is empty."""

    def read(self, name: str) -> bytes:
        """A whole file."""

    def make_folder(self, folder: str) -> None:
        """A folder in the folder, if it is missing. A crash may lose it until `sync_folder`."""

    def read_at(self, name: str, offset: int, length: int) -> bytes:
        """A piece of a file; less than asked for where the file ends."""

    def create(self, name: str) -> DiskFile:
        """A new, empty file; the name must be free. A crash may lose it until `sync_folder`."""

    def open_append(self, name: str) -> DiskFile:
        """A file that is there, to be written at its end."""

    def truncate(self, name: str, size: int) -> None:
        """Cut a file to this size and sync it."""

    def shorten(self, name: str, size: int) -> None:
        """Cut a file that nobody needs; a crash may undo it, and it may not be done at all."""

    def rename(self, old: str, new: str) -> None:
        """Rename a file over another. A crash may undo it until `sync_folder`."""

    def delete(self, name: str) -> None:
        """Remove a file. A crash may undo it until `sync_folder`."""

    def sync_folder(self, folder: str = "") -> None:
        """Return once all creates, renames and deletes in the folder are on the disk."""

    def free_bytes(self) -> int:
        """How much the disk still takes."""
