"""A disk in memory that keeps what a real one must keep, and loses the rest in a crash.

Each file knows how much of it was synced, and the folder which creates, renames and deletes were.
`crash` goes back to that: of the bytes behind the last sync it keeps as many as it is told to, and
of the folder's changes those that it is told to. Any call can be made to fail, and the disk can be
full.
"""

from __future__ import annotations

from amqbroker.errors import DiskError, DiskFullError


class _Inode:
    def __init__(self) -> None:
        self.data = bytearray()
        self.synced_size = 0


class FakeFile:
    """A file of a FakeDisk that is open for appending."""

    def __init__(self, disk: FakeDisk, name: str, inode: _Inode) -> None:
        self._disk = disk
        self._name = name
        self._inode: _Inode | None = inode

    def write(self, chunks: list[bytes]) -> None:
        """Append as much as the disk takes."""
        inode = self._open()
        data = b"".join(chunks)
        try:
            self._disk.count_call(f"write to {self._name}")
        except DiskError:
            inode.data += data[: len(data) // 2]
            raise
        room = self._disk.free_bytes()
        inode.data += data[:room]
        if len(data) > room:
            raise DiskFullError(f"cannot write to {self._name}: No space left on device")

    def sync(self) -> None:
        """What was written survives a crash."""
        inode = self._open()
        self._disk.count_call(f"sync {self._name}")
        inode.synced_size = len(inode.data)

    def close(self) -> None:
        """Give the file back."""
        self._inode = None

    def _open(self) -> _Inode:
        assert self._inode is not None, f"{self._name} is closed"
        return self._inode


class FakeDisk:
    """A data folder in memory."""

    def __init__(self, capacity_bytes: int = 1 << 40) -> None:
        self.capacity_bytes = capacity_bytes
        self.calls = 0
        self.fail_at_call = 0  # 0: none fails. After the one that fails all others fail as well.
        self._names: dict[str, _Inode] = {}
        self._synced_names: dict[str, _Inode] = {}
        self._folders: set[str] = {""}
        self._synced_folders: set[str] = {""}
        # Since the last sync: names that went, and one that came.
        self._changes: list[tuple[str | None, str | None, _Inode]] = []

    def list_names(self, folder: str = "") -> list[str]:
        """The names, in order."""
        self.count_call("list the folder")
        return sorted(
            name.rpartition("/")[2] for name in self._names if name.rpartition("/")[0] == folder
        )

    def sizes(self, folder: str) -> dict[str, int]:
        """The files of a folder, by name, in order."""
        names = self.list_names(folder)
        return {name: len(self._names[f"{folder}/{name}"].data) for name in names}

    def make_folder(self, folder: str) -> None:
        """A folder in the folder."""
        self.count_call(f"create {folder}")
        self._folders.add(folder)

    def read_at(self, name: str, offset: int, length: int) -> bytes:
        """A piece of a file."""
        self.count_call(f"read {name}")
        return bytes(self._inode(name, "read").data[offset : offset + length])

    def open_append(self, name: str) -> FakeFile:
        """A file that is there."""
        self.count_call(f"open {name}")
        return FakeFile(self, name, self._inode(name, "open"))

    def read(self, name: str) -> bytes:
        """A whole file."""
        self.count_call(f"read {name}")
        return bytes(self._inode(name, "read").data)

    def create(self, name: str) -> FakeFile:
        """A new, empty file."""
        self.count_call(f"create {name}")
        if name.rpartition("/")[0] not in self._folders:
            raise DiskError(f"cannot create {name}: No such file or directory")
        if name in self._names:
            raise DiskError(f"cannot create {name}: File exists")
        inode = _Inode()
        self._names[name] = inode
        self._changes.append((None, name, inode))
        return FakeFile(self, name, inode)

    def truncate(self, name: str, size: int) -> None:
        """Cut a file to this size and sync it."""
        self.count_call(f"cut {name}")
        inode = self._inode(name, "cut")
        del inode.data[size:]
        inode.synced_size = len(inode.data)

    def shorten(self, name: str, size: int) -> None:
        """Cut a file that nobody needs."""
        self.count_call(f"cut {name}")
        inode = self._inode(name, "cut")
        del inode.data[size:]
        inode.synced_size = min(inode.synced_size, size)

    def rename(self, old: str, new: str) -> None:
        """Rename a file over another."""
        self.count_call(f"rename {old}")
        inode = self._inode(old, "rename")
        del self._names[old]
        self._names[new] = inode
        self._changes.append((old, new, inode))

    def delete(self, name: str) -> None:
        """Remove a file."""
        self.count_call(f"delete {name}")
        inode = self._inode(name, "delete")
        del self._names[name]
        self._changes.append((name, None, inode))

    def sync_folder(self, folder: str = "") -> None:
        """The names in this folder survive a crash."""
        self.count_call("sync the folder")
        for names in (self._synced_names, self._names):
            for name in [name for name in names if name.rpartition("/")[0] == folder]:
                if names is self._names:
                    self._synced_names[name] = names[name]
                else:
                    del names[name]
        self._changes = [
            change
            for change in self._changes
            if (change[0] or change[1] or "").rpartition("/")[0] != folder
        ]
        if not folder:
            self._synced_folders = set(self._folders)

    def free_bytes(self) -> int:
        """How much fits."""
        return self.capacity_bytes - sum(len(inode.data) for inode in self._names.values())

    def count_call(self, doing: str) -> None:
        """Count a call; raise if it is to fail."""
        self.calls += 1
        if self.fail_at_call and self.calls >= self.fail_at_call:
            raise DiskError(f"cannot {doing}: Input/output error")

    def crash(self, kept_bytes: int = 0, kept_changes: int = 0, zeros: int = 0) -> None:
        """Lose what was not synced, but for so many bytes of each file and changes of the folder.

        Bit n of `kept_changes` says whether the n-th change is kept.
        With `zeros` a file that lost bytes ends with so many zero bytes instead, as after a size
        change that reached the disk before the data.
        """
        names = self._synced_names
        for number, (gone, come, changed) in enumerate(self._changes):
            if kept_changes >> number & 1:
                if gone is not None:
                    names.pop(gone, None)
                if come is not None:
                    names[come] = changed
        self._folders = set(self._synced_folders)
        names = {name: i for name, i in names.items() if name.rpartition("/")[0] in self._folders}
        for inode in names.values():
            kept = min(len(inode.data), inode.synced_size + kept_bytes)
            lost = len(inode.data) - kept
            del inode.data[kept:]
            inode.data += bytes(min(lost, zeros))
            inode.synced_size = len(inode.data)
        self._names = dict(names)
        self._synced_names = dict(names)
        self._changes = []
        self.fail_at_call = 0

    def content(self, name: str) -> bytes:
        """A file as it is, without counting a call."""
        return bytes(self._names[name].data)

    def put(self, name: str, data: bytes) -> None:
        """Replace or add a synced file, without counting a call."""
        inode = _Inode()
        inode.data += data
        inode.synced_size = len(data)
        self._names[name] = inode
        self._synced_names[name] = inode

    def names(self) -> list[str]:
        """The names, without counting a call."""
        return sorted(self._names)

    def _inode(self, name: str, doing: str) -> _Inode:
        if name not in self._names:
            raise DiskError(f"cannot {doing} {name}: No such file or directory")
        return self._names[name]
