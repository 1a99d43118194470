"""Every call to the system fails once, or from then on: DiskErrors only, nothing lost or left open.

What the system is asked for is that of a start, of batches with segments, snapshots and new files,
and of a clean stop.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from amqbroker.errors import DiskError, DiskFullError
from amqbroker.message import IN_SEGMENT, WRITTEN, Entry
from amqbroker.store import files as files_module
from amqbroker.store.files import DataFolder, RealDisk, open_data_folder
from amqbroker.store.inspect import stored_messages
from amqbroker.store.segments import SegmentWriter
from tests.store.helpers import make_message

FAILING = ("open", "writev", "write", "ftruncate", "replace", "listdir", "pread", "statvfs")
SYNCS = ("fsync", "fdatasync")


class System:
    """The module os, but for a call that fails, and syncs, which nobody needs here."""

    def __init__(self, number: int, at: int, *, for_good: bool) -> None:
        self._number = number
        self._at = at
        self._for_good = for_good
        self._calls = 0
        self.has_failed = False

    def __getattr__(self, name: str) -> Any:
        found = getattr(os, name)
        if name in SYNCS:
            return self.failing(lambda descriptor: None)
        if name == "close":
            return self._close
        return self.failing(found) if name in FAILING else found

    def _close(self, descriptor: int) -> None:
        """A descriptor is gone even if this fails."""
        os.close(descriptor)
        self.failing(lambda: None)()

    def failing(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """This one, unless it is its turn to fail."""

        def wrapped(*arguments: Any, **options: Any) -> Any:
            self._calls += 1
            if self._calls == self._at or (self._for_good and self._calls > self._at):
                self.has_failed = True
                raise OSError(self._number, os.strerror(self._number))
            return call(*arguments, **options)

        return wrapped


class Run:
    """Three starts with a few batches each."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.confirmed: set[bytes] = set()
        self.settled: set[bytes] = set()

    def all(self) -> None:
        """All of it. Raises DiskError."""
        for start in range(3):
            folder = open_data_folder(self.path, 300)
            try:
                self.start(folder, start)
            finally:
                folder.close()

    def start(self, folder: DataFolder, start: int) -> None:
        """From one start to the next."""
        log = folder.journal.open_queue(1)
        waiting = list(folder.recovered.messages.get(1, []))
        for step in range(5):
            body = b"%d.%d " % (start, step) + bytes(60)
            entry = Entry(make_message(body), 1, log.next_index)
            log.append(entry)
            if self.write(folder):
                self.confirmed.add(body)
            waiting.append(entry)
            moved = [each for each in waiting if each.state == WRITTEN and each.file != IN_SEGMENT]
            if step == 2:
                log.backlog.append(SegmentWriter(), moved[:3])
                log.stored(moved[:3])
                self.write(folder)
            elif step == 3:
                self.settled.add(body)
                log.settle(entry)
        if start == 1:
            folder.journal.stop([])
            self.write(folder)

    @staticmethod
    def write(folder: DataFolder) -> bool:
        """The next batch, twice if there was no room for it at first."""
        journal = folder.journal
        for _ in range(2):
            batch = journal.take_batch()
            if batch is None:
                return True
            try:
                folder._files.write(batch)
            except DiskFullError as error:
                journal.refused(str(error))
                journal.retry(tries_all=True)
            else:
                journal.synced(batch.position)
                return True
        return False

    def check(self) -> None:
        """All that was confirmed is there, once."""
        folder = open_data_folder(self.path, 300)
        assert [str(problem) for problem in folder.recovered.problems] == []
        stored = stored_messages(RealDisk(self.path), folder.recovered, 1)
        found = [message.message.body for message in stored]
        folder.close()
        assert len(found) == len(set(found))
        assert self.confirmed - self.settled <= set(found)


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("number", "for_good"),
    [(errno.EIO, False), (errno.EIO, True), (errno.ENOSPC, False), (errno.EROFS, True)],
    ids=["EIO", "EIO for good", "ENOSPC", "EROFS for good"],
)
def test_every_call_may_fail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, for_good: bool
) -> None:
    calls = 0
    while True:
        calls += 1
        run = Run(tmp_path / str(calls))
        system = System(number, calls, for_good=for_good)
        opened = len(os.listdir("/proc/self/fd"))
        with monkeypatch.context() as patch:
            patch.setattr(files_module, "os", system)
            patch.setattr(Path, "unlink", system.failing(Path.unlink))
            patch.setattr(Path, "read_bytes", system.failing(Path.read_bytes))
            with suppress(DiskError):
                run.all()
        assert len(os.listdir("/proc/self/fd")) == opened, calls
        run.check()
        if not system.has_failed:
            break
    assert calls > 100
