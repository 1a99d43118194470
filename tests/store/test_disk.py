"""One contract, two disks: the real one, and the fake that the other tests trust."""

from __future__ import annotations

from pathlib import Path

import pytest

from amqbroker.errors import DiskError
from amqbroker.store.disk import Disk
from amqbroker.store.files import RealDisk
from tests.store.fake_disk import FakeDisk


@pytest.fixture(params=["real", "fake"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Disk:
    """An empty folder."""
    return RealDisk(tmp_path) if request.param == "real" else FakeDisk()


def fill(disk: Disk, name: str, data: bytes) -> None:
    file = disk.create(name)
    file.write([data])
    file.sync()
    file.close()


def test_an_empty_folder_lists_nothing(disk: Disk) -> None:
    assert disk.list_names() == []


def test_names_are_listed_in_order(disk: Disk) -> None:
    for name in ("b", "c", "a"):
        fill(disk, name, b"")
    assert disk.list_names() == ["a", "b", "c"]


def test_the_files_of_a_folder_have_sizes(disk: Disk) -> None:
    assert disk.sizes("queues") == {}
    disk.make_folder("queues")
    fill(disk, "queues/b", b"one")
    fill(disk, "queues/a", b"")
    assert list(disk.sizes("queues").items()) == [("a", 0), ("b", 3)]


def test_chunks_are_appended_in_order(disk: Disk) -> None:
    file = disk.create("a")
    file.write([b"one", b"", b"two"])
    file.write([b"three"])
    file.sync()
    file.close()
    assert disk.read("a") == b"onetwothree"


def test_more_chunks_than_one_system_call_takes(disk: Disk) -> None:
    chunks = [b"%d," % number for number in range(5000)]
    file = disk.create("a")
    file.write(chunks)
    file.close()
    assert disk.read("a") == b"".join(chunks)


def test_a_name_is_created_once(disk: Disk) -> None:
    fill(disk, "a", b"one")
    with pytest.raises(DiskError, match=r"cannot create .*a: File exists"):
        disk.create("a")
    assert disk.read("a") == b"one"


def test_truncate_cuts_the_end(disk: Disk) -> None:
    fill(disk, "a", b"onetwo")
    disk.truncate("a", 3)
    assert disk.read("a") == b"one"


def test_rename_replaces(disk: Disk) -> None:
    fill(disk, "a", b"one")
    fill(disk, "b", b"two")
    disk.rename("b", "a")
    disk.sync_folder()
    assert disk.list_names() == ["a"]
    assert disk.read("a") == b"two"


def test_a_deleted_file_is_gone(disk: Disk) -> None:
    fill(disk, "a", b"one")
    disk.delete("a")
    disk.sync_folder()
    assert disk.list_names() == []


def test_a_missing_file_is_named(disk: Disk) -> None:
    with pytest.raises(DiskError, match=r"cannot read .*a: No such file or directory"):
        disk.read("a")
    with pytest.raises(DiskError, match=r"cannot cut .*a: No such file or directory"):
        disk.truncate("a", 0)
    with pytest.raises(DiskError, match=r"cannot rename .*a: No such file or directory"):
        disk.rename("a", "b")
    with pytest.raises(DiskError, match=r"cannot delete .*a: No such file or directory"):
        disk.delete("a")


def test_close_may_be_called_twice(disk: Disk) -> None:
    file = disk.create("a")
    file.close()
    file.close()


def test_free_bytes(disk: Disk) -> None:
    assert disk.free_bytes() > 0


def test_fake_crash_loses_what_was_not_synced() -> None:
    disk = FakeDisk()
    file = disk.create("a")
    file.write([b"synced"])
    file.sync()
    disk.sync_folder()
    file.write([b"lost"])
    fill(disk, "b", b"its name was not synced")
    disk.crash()
    assert disk.names() == ["a"]
    assert disk.content("a") == b"synced"


def test_fake_crash_tears_the_end_and_keeps_some_changes() -> None:
    disk = FakeDisk()
    file = disk.create("a")
    file.write([b"lost"])
    disk.create("b")
    disk.crash(kept_bytes=2, kept_changes=1, zeros=1)
    assert disk.names() == ["a"]
    assert disk.content("a") == b"lo\0"


def test_fake_fills_up() -> None:
    disk = FakeDisk(capacity_bytes=5)
    file = disk.create("a")
    with pytest.raises(DiskError, match="cannot write to a: No space left on device"):
        file.write([b"1234567"])
    assert disk.content("a") == b"12345"


def test_fake_fails_at_a_call_and_ever_after() -> None:
    disk = FakeDisk()
    disk.fail_at_call = 2
    disk.list_names()
    for _ in range(2):
        with pytest.raises(DiskError, match="cannot list the folder: Input/output error"):
            disk.list_names()
