"""The edge: a real folder, its lock, real errors, and the writer's thread hop."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import anyio
import pytest

from amqbroker.errors import DiskError
from amqbroker.message import Entry
from amqbroker.store.files import (
    DataFolder,
    FolderLock,
    RealDisk,
    RealFile,
    folder_user,
    open_data_folder,
)
from amqbroker.store.records import JOURNAL_MAGIC, file_header, header_crc, journal_name
from tests.store.helpers import SEED, bodies, make_message, take, write


def publish(folder: DataFolder, *messages: bytes) -> None:
    """Append messages to queue 1 and write them as the runner does."""
    log = folder.journal.open_queue(1)
    for body in messages:
        log.append(Entry(make_message(body), 1, log.next_index))
    batch = take(folder.journal)
    anyio.run(write, folder.writer, batch)
    folder.journal.synced(batch.position)


def test_messages_are_there_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "made" / "data"
    folder = open_data_folder(path)
    assert folder.recovered.messages == {}
    publish(folder, b"a", bytes(300_000))
    folder.close()
    folder = open_data_folder(path)
    assert bodies(folder.recovered) == {1: [b"a", bytes(300_000)]}
    assert folder.recovered.problems == []
    folder.close()


def test_others_cannot_read_the_folder(tmp_path: Path) -> None:
    path = tmp_path / "data"
    folder = open_data_folder(path)
    assert path.stat().st_mode & 0o077 == 0
    assert (path / journal_name(1)).stat().st_mode & 0o077 == 0
    folder.close()


def test_every_start_has_a_seed_of_its_own(tmp_path: Path) -> None:
    for name in ("a", "b"):
        open_data_folder(tmp_path / name).close()
    headers = {(tmp_path / name / journal_name(1)).read_bytes() for name in ("a", "b")}
    assert len(headers) == 2


def test_names_that_look_like_ours_are_left_alone(tmp_path: Path) -> None:
    """Each of them stopped the start, or hid the segments."""
    open_data_folder(tmp_path).close()
    names = ["journal-0000000000001", "journal-" + "9" * 20]
    for name in names:
        (tmp_path / name).write_bytes(b"not ours")
    (tmp_path / "queues" / "9-9.seg").write_bytes(b"nothing names it")
    (tmp_path / "queues" / "nowhere").symlink_to(tmp_path / "missing")
    assert RealDisk(tmp_path).sizes("queues") == {"9-9.seg": 16}
    folder = open_data_folder(tmp_path)
    assert folder.recovered.problems == []
    folder.close()
    assert sorted(set(names) & set(os.listdir(tmp_path))) == sorted(names)
    assert os.listdir(tmp_path / "queues") == ["nowhere"]


def test_free_bytes(tmp_path: Path) -> None:
    folder = open_data_folder(tmp_path)
    assert anyio.run(folder.free_bytes) > 0
    folder.close()


HOLDER = """
import sys
from pathlib import Path
from amqbroker.store.files import FolderLock
lock = FolderLock(Path(sys.argv[1]))
print("locked", flush=True)
sys.stdin.read()
"""


def test_a_folder_in_use_names_the_process_that_has_it(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdin is not None
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"locked\n"
        text = f"the data folder {tmp_path} is in use by process {holder.pid}$"
        with pytest.raises(DiskError, match=text):
            open_data_folder(tmp_path)
        holder.stdin.close()
        holder.wait()
    open_data_folder(tmp_path).close()


def test_a_removed_lock_file_lets_nobody_in(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdin is not None
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"locked\n"
        (tmp_path / "lock").unlink()
        assert folder_user(tmp_path) == "unknown"
        with pytest.raises(DiskError, match=r"in use by a process whose file .*/lock was removed"):
            open_data_folder(tmp_path)
        holder.stdin.close()
        holder.wait()
    (tmp_path / "lock").unlink()
    assert folder_user(tmp_path) == ""
    open_data_folder(tmp_path).close()


def test_a_failed_start_gives_the_lock_back(tmp_path: Path) -> None:
    (tmp_path / "definitions").write_bytes(b"damaged")
    for _ in range(2):
        with pytest.raises(DiskError, match="definitions, offset 0: the file header is damaged"):
            open_data_folder(tmp_path)
    FolderLock(tmp_path).release()


@contextmanager
def ordinary_user() -> Iterator[None]:
    """The superuser may write anywhere, so be nobody."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_folder_that_cannot_be_written_is_named() -> None:
    with tempfile.TemporaryDirectory() as name:
        path = Path(name)
        path.chmod(0o555)
        with ordinary_user(), pytest.raises(DiskError) as raised:
            open_data_folder(path)
        path.chmod(0o755)
    assert str(raised.value) == f"cannot lock {path / 'lock'}: Permission denied"


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DiskError, match=f"cannot create {tmp_path}/file/data: Not a directory"):
        open_data_folder(tmp_path / "file" / "data")


def test_a_newer_format_is_refused(tmp_path: Path) -> None:
    header = file_header(JOURNAL_MAGIC, 1, SEED)
    newer = header[:8] + b"\0\0\0\x09" + header[12:28]
    newer += header_crc(newer + bytes(4)).to_bytes(4, "big")
    (tmp_path / journal_name(1)).write_bytes(newer)
    with pytest.raises(DiskError, match="format version 9, this program reads versions up to 3"):
        open_data_folder(tmp_path)
    assert (tmp_path / journal_name(1)).read_bytes() == newer


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """No file grows beyond this: the nearest to a full disk that a test can make."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_write_that_does_not_fit_fails_for_good(tmp_path: Path) -> None:
    folder = open_data_folder(tmp_path)
    publish(folder, b"fits")
    log = folder.journal.open_queue(2)
    log.append(Entry(make_message(bytes(5000)), 2, 0))
    batch = take(folder.journal)
    with (
        file_size_limit(2000),
        pytest.raises(DiskError, match=r"cannot write to .*: File too large"),
    ):
        anyio.run(write, folder.writer, batch)
    with pytest.raises(DiskError, match="the journal failed before: cannot write to"):
        anyio.run(write, folder.writer, batch)
    folder.close()
    assert (tmp_path / journal_name(1)).stat().st_size == 2000
    folder = open_data_folder(tmp_path)
    assert bodies(folder.recovered) == {1: [b"fits"]}
    assert folder.recovered.torn_tail is not None
    assert (tmp_path / journal_name(1)).stat().st_size == folder.recovered.torn_tail.offset
    folder.close()


def test_a_full_disk_is_named() -> None:
    path = Path("/dev/full")
    file = RealFile(os.open(path, os.O_WRONLY), path)
    with pytest.raises(DiskError, match=r"^cannot write to /dev/full: No space left on device$"):
        file.write([b"data"])
    file.close()


def test_files_that_are_all_taken_are_waited_for(tmp_path: Path) -> None:
    folder = open_data_folder(tmp_path)
    taken: list[int] = []
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))

    def close_all() -> None:
        for each in taken:
            os.close(each)

    give_back = threading.Timer(0.2, close_all)
    try:
        with suppress(OSError):
            while True:
                taken.append(os.dup(1))
        give_back.start()
        data = RealDisk(tmp_path).read_at(journal_name(1), 0, 8)
    finally:
        give_back.join()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        folder.close()
    assert data == JOURNAL_MAGIC


def test_a_folder_is_closed_once_its_batch_is_written(tmp_path: Path) -> None:
    """Nobody waits for the batch, not even an event loop."""
    folder = open_data_folder(tmp_path)
    log = folder.journal.open_queue(1)
    log.append(Entry(make_message(b"a"), 1, 0))

    async def begin() -> None:
        folder.writer.write(take(folder.journal), lambda error: None)

    anyio.run(begin)
    folder.close()
    folder = open_data_folder(tmp_path)
    assert bodies(folder.recovered) == {1: [b"a"]}
    folder.close()


def test_a_bug_in_the_journals_thread_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the thread goes on."""
    folder = open_data_folder(tmp_path)
    log = folder.journal.open_queue(1)
    log.append(Entry(make_message(b"a"), 1, 0))
    batch = take(folder.journal)

    async def write_twice() -> None:
        with monkeypatch.context() as patch:
            patch.setattr(folder.writer, "_files", None)
            with pytest.raises(AttributeError):
                await write(folder.writer, batch)
        await write(folder.writer, batch)

    anyio.run(write_twice)
    folder.close()
    folder = open_data_folder(tmp_path)
    assert bodies(folder.recovered) == {1: [b"a"]}
    folder.close()
