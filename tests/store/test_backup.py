"""Backups of a folder: links, copies of what grows, and nothing half done."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest

from amqbroker.errors import DiskError
from amqbroker.message import Entry
from amqbroker.store import backup as backup_module
from amqbroker.store.backup import Backup, GrowingFiles
from amqbroker.store.files import DataFolder, RealDisk, open_data_folder
from amqbroker.store.inspect import inspect_folder, stored_messages
from amqbroker.store.queue_log import QueueLog
from amqbroker.store.records import journal_name
from amqbroker.store.segments import SegmentWriter, segment_name
from tests.store.helpers import make_message, take, write


class Folder:
    """A data folder with one durable queue, and another that is not."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.data: DataFolder = open_data_folder(path, 2000)
        self.log: QueueLog = self.data.journal.open_queue(1)

    def publish(self, *messages: bytes) -> list[Entry]:
        """Messages, durably."""
        entries = []
        for body in messages:
            entry = Entry(make_message(body), 1, self.log.next_index)
            self.log.append(entry)
            entries.append(entry)
        anyio.run(self.write)
        return entries

    def page_out(self, entries: list[Entry]) -> None:
        """Into the open segment."""
        self.log.backlog.append(SegmentWriter(), entries)
        self.log.stored(entries)
        anyio.run(self.write)

    async def write(self) -> None:
        """The next batch."""
        batch = take(self.data.journal)
        await write(self.data.writer, batch)
        self.data.journal.synced(batch.position)

    def growing(self) -> GrowingFiles:
        """As the node tells it."""
        return GrowingFiles(set(self.log.backlog.growing()), {9})

    def back_up(self, destination: Path) -> Backup:
        """A whole backup."""
        return anyio.run(self.data.backup, destination, self.growing)


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """Two sealed journal files, a sealed segment and an open one, a snapshot, and a stray."""
    made = Folder(tmp_path / "data")
    made.page_out(made.publish(*[b"%d" % number + bytes(500) for number in range(6)]))
    made.log.backlog.seal()
    made.page_out(made.publish(*[b"%d" % number + bytes(500) for number in range(6, 9)]))
    made.publish(b"9" + bytes(2000))
    made.publish(b"last")
    (made.path / "queues" / "9-1.seg").write_bytes(b"of a queue that is not durable")
    return made


def numbers(path: Path) -> list[bytes]:
    """What the queue of a copy holds, the first byte of each body."""
    report = inspect_folder(RealDisk(path))
    assert [str(problem) for problem in report.problems + report.notes] == []
    copy = open_data_folder(path)
    assert copy.recovered.problems == []
    disk = RealDisk(path)
    found = [stored.message.body[:1] for stored in stored_messages(disk, copy.recovered, 1)]
    copy.close()
    return found


EXPECTED = [b"0", b"1", b"2", b"3", b"4", b"5", b"6", b"7", b"8", b"9", b"l"]


def test_a_copy_holds_all(folder: Folder, tmp_path: Path) -> None:
    result = folder.back_up(tmp_path / "copy")
    names = sorted(os.listdir(tmp_path / "copy") + os.listdir(tmp_path / "copy" / "queues"))
    assert not (tmp_path / "copy" / "queues" / "9-1.seg").exists()
    assert "lock" not in names
    assert result.files == len(names) - 1
    assert numbers(tmp_path / "copy") == EXPECTED


def test_what_is_sealed_is_linked_and_what_grows_is_copied(folder: Folder, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    result = folder.back_up(copy)
    journals = sorted(name for name in os.listdir(copy) if name.startswith("journal-"))
    linked = {
        name
        for name in (*journals, segment_name(1, 1), segment_name(1, 2), "definitions")
        if (copy / name).exists() and (copy / name).samefile(folder.path / name)
    }
    assert linked == {*journals[:-1], segment_name(1, 1)}
    assert result.linked == len(linked)
    # The broker goes on; the copy does not change.
    before = {name: (copy / name).read_bytes() for name in (*journals, segment_name(1, 2))}
    folder.page_out(folder.publish(b"after"))
    assert {name: (copy / name).read_bytes() for name in before} == before


def fail_with(number: int) -> Callable[..., None]:
    def fail(*_arguments: object, **_options: object) -> None:
        raise OSError(number, os.strerror(number), "the disk")

    return fail


@pytest.mark.parametrize("number", [errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP])
def test_without_links_all_is_copied(
    folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    monkeypatch.setattr(os, "link", fail_with(number))
    monkeypatch.setattr(backup_module, "STEP_BYTES", 700)
    assert folder.back_up(tmp_path / "copy").linked == 0
    assert numbers(tmp_path / "copy") == EXPECTED


@pytest.mark.parametrize("call", ["link", "open", "pwrite", "fsync", "rename", "stat"])
def test_a_backup_that_fails_leaves_nothing(
    folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    before = sorted(os.listdir(tmp_path))
    with monkeypatch.context() as patch:
        if call == "link":
            patch.setattr(os, "link", fail_with(errno.EEXIST))
        else:
            patch.setattr(os, call, fail_with(errno.EIO))
        if call in ("stat", "open"):
            # The removal needs these as well.
            patch.setattr(shutil, "rmtree", remove_tree)
        with pytest.raises(DiskError, match=r"File exists|Input/output error"):
            folder.back_up(tmp_path / "copy")
    assert sorted(os.listdir(tmp_path)) == before
    assert folder.back_up(tmp_path / "copy").files > 0


def remove_tree(path: Path, ignore_errors: bool) -> None:
    """Without os.open and os.stat."""
    for name in os.listdir(path / "queues"):
        (path / "queues" / name).unlink()
    (path / "queues").rmdir()
    for name in os.listdir(path):
        (path / name).unlink()
    path.rmdir()


def test_all_is_on_disk_before_a_copy_has_its_name(
    folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A power cut leaves a whole copy, or one that is called partial."""
    synced: set[int] = set()
    seen: list[str] = []
    fsync, rename = os.fsync, os.rename

    def note(descriptor: int) -> None:
        synced.add(os.fstat(descriptor).st_ino)
        fsync(descriptor)

    def check(old: Path, new: Path) -> None:
        for path in [old, *old.rglob("*")]:
            # What is linked is of files that nobody writes to any more, synced when they were.
            if path.is_dir() or path.stat().st_nlink == 1:
                assert path.stat().st_ino in synced, path
            seen.append(path.name)
        rename(old, new)
        synced.clear()

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", note)
        patch.setattr(os, "rename", check)
        folder.back_up(tmp_path / "copy")
    assert {"copy.partial", "queues", "definitions"} <= set(seen)
    assert tmp_path.stat().st_ino in synced
    assert numbers(tmp_path / "copy") == EXPECTED


def test_nothing_is_overwritten(folder: Folder, tmp_path: Path) -> None:
    for name in ("copy", "copy.partial"):
        there = tmp_path / name
        there.mkdir()
        with pytest.raises(DiskError, match=f"{there} is there already"):
            folder.back_up(tmp_path / "copy")
        assert there.is_dir()
        there.rmdir()
    folder.back_up(tmp_path / "copy")
    with pytest.raises(DiskError, match="is there already"):
        folder.back_up(tmp_path / "copy")


def test_a_copy_does_not_lie_in_what_it_copies(folder: Folder) -> None:
    with pytest.raises(DiskError, match="lies in the data folder"):
        folder.back_up(folder.path / "copy")
    with pytest.raises(DiskError, match="absolute path"):
        folder.back_up(Path("copy"))
    with pytest.raises(DiskError, match="No such file or directory"):
        folder.back_up(folder.path.parent / "missing" / "copy")
    (folder.path.parent / "circle").symlink_to("circle")
    with pytest.raises(DiskError, match="Too many levels of symbolic links"):
        folder.back_up(folder.path.parent / "circle" / "copy")


def test_files_that_go_during_a_backup_are_in_it(folder: Folder, tmp_path: Path) -> None:
    """Everything is settled while the backup copies: the copy has it all, the folder nothing."""
    names = sorted(os.listdir(folder.path / "queues"))

    async def run() -> None:
        backup = Backup(folder.path, tmp_path / "copy")
        backup.begin()
        async with folder.data.writer.between_batches():
            folder.data._disk.hold()
            backup.look(folder.growing())
        folder.log.close()
        await folder.write()
        assert sorted(os.listdir(folder.path / "queues")) == names
        while backup.copy_some():
            pass
        async with folder.data.writer.between_batches():
            folder.data._disk.release()
        backup.finish()

    anyio.run(run)
    assert os.listdir(folder.path / "queues") == ["9-1.seg"]
    assert numbers(tmp_path / "copy") == EXPECTED


def test_a_segment_that_goes_afterwards_is_whole_in_the_copy(tmp_path: Path) -> None:
    """Large segments get shorter before they go, and a link has the same bytes."""
    folder = Folder(tmp_path / "data")
    folder.page_out(folder.publish(b"0" + bytes(9 << 20), b"1" + bytes(9 << 20)))
    folder.log.backlog.seal()
    folder.publish(b"l")
    assert folder.back_up(tmp_path / "copy").linked == 1
    folder.log.close()
    while folder.data.journal.due(1):
        anyio.run(folder.write)
    assert os.listdir(folder.path / "queues") == []
    assert numbers(tmp_path / "copy") == [b"0", b"1", b"l"]


def test_no_batch_is_written_while_names_are_noted(folder: Folder) -> None:
    async def run() -> None:
        entry = Entry(make_message(b"x"), 1, folder.log.next_index)
        folder.log.append(entry)
        batch = take(folder.data.journal)
        path = folder.path / journal_name(batch.file_number)
        async with anyio.create_task_group() as tasks, folder.data.writer.between_batches():
            size = path.stat().st_size if path.exists() else -1
            tasks.start_soon(write, folder.data.writer, batch)
            await anyio.wait_all_tasks_blocked()
            assert (path.stat().st_size if path.exists() else -1) == size
        assert path.stat().st_size > size

    anyio.run(run)


def test_a_cancelled_backup_leaves_nothing_and_lets_files_go(
    folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = sorted(os.listdir(tmp_path))

    async def run() -> None:
        with anyio.CancelScope() as scope:
            copy_some = Backup.copy_some

            def cancel(backup: Backup) -> bool:
                anyio.from_thread.run_sync(scope.cancel)
                return copy_some(backup)

            monkeypatch.setattr(Backup, "copy_some", cancel)
            await folder.data.backup(tmp_path / "copy", folder.growing)
        assert scope.cancelled_caught
        folder.log.close()
        await folder.write()

    anyio.run(run)
    assert sorted(os.listdir(tmp_path)) == before
    assert os.listdir(folder.path / "queues") == ["9-1.seg"]


def test_one_backup_at_a_time(folder: Folder, tmp_path: Path) -> None:
    async def run() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(folder.data.backup, tmp_path / "one", folder.growing)
            await anyio.lowlevel.checkpoint()
            with pytest.raises(DiskError, match="another backup is under way"):
                await folder.data.backup(tmp_path / "two", folder.growing)

    anyio.run(run)
    assert numbers(tmp_path / "one") == EXPECTED
    assert not (tmp_path / "two").exists()
