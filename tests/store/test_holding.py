"""A disk with its deletes held back: nothing goes in a hold, all goes in its order afterwards."""

from __future__ import annotations

import pytest

from amqbroker.errors import DiskError
from amqbroker.store.folder import open_folder
from amqbroker.store.holding import HoldingDisk
from tests.store.fake_disk import FakeDisk
from tests.store.helpers import SEED, Store, bodies


@pytest.fixture
def fake() -> FakeDisk:
    fake = FakeDisk()
    fake.make_folder("queues")
    for name in ("journal-1", "journal-2", "queues/1-1.seg", "definitions"):
        fake.put(name, name.encode())
    return fake


def test_without_a_hold_it_is_the_disk_itself(fake: FakeDisk) -> None:
    disk = HoldingDisk(fake)
    assert disk.list_names("queues") == ["1-1.seg"]
    assert disk.read("journal-1") == b"journal-1"
    assert disk.read_at("journal-1", 2, 3) == b"urn"
    disk.open_append("journal-1").write([b"!"])
    disk.truncate("journal-1", 3)
    assert fake.content("journal-1") == b"jou"
    disk.rename("queues/1-1.seg", "queues/1-1.seg.damaged")
    disk.delete("journal-1")
    disk.create("journal-3").write([b"3"])
    disk.make_folder("more")
    disk.sync_folder()
    assert fake.names() == ["definitions", "journal-2", "journal-3", "queues/1-1.seg.damaged"]
    assert disk.free_bytes() == fake.free_bytes()


def test_in_a_hold_nothing_goes(fake: FakeDisk) -> None:
    disk = HoldingDisk(fake)
    disk.hold()
    before = fake.names()
    disk.delete("journal-1")
    disk.rename("queues/1-1.seg", "queues/1-1.seg.damaged")
    disk.delete("journal-2")
    assert fake.names() == before
    disk.release()
    assert fake.names() == ["definitions", "queues/1-1.seg.damaged"]
    disk.delete("definitions")
    assert fake.names() == ["queues/1-1.seg.damaged"]


def test_a_new_snapshot_replaces_the_old_one_in_a_hold(fake: FakeDisk) -> None:
    disk = HoldingDisk(fake)
    disk.hold()
    disk.create("definitions.new").write([b"new"])
    disk.rename("definitions.new", "definitions")
    assert fake.content("definitions") == b"new"


def test_a_name_that_waits_to_go_can_be_given_again(fake: FakeDisk) -> None:
    disk = HoldingDisk(fake)
    disk.hold()
    disk.create("queues/1-2.seg").write([b"half"])
    disk.delete("queues/1-2.seg")
    disk.create("queues/1-2.seg").write([b"whole"])
    disk.release()
    assert fake.content("queues/1-2.seg") == b"whole"


def test_what_cannot_go_is_tried_again_in_order(fake: FakeDisk) -> None:
    disk = HoldingDisk(fake)
    disk.hold()
    disk.delete("journal-1")
    disk.delete("journal-2")
    fake.fail_at_call = fake.calls + 4
    with pytest.raises(DiskError):
        disk.release()
    assert "journal-1" not in fake.names()
    assert "journal-2" in fake.names()
    fake.fail_at_call = 0
    disk.delete("definitions")
    assert fake.names() == ["queues/1-1.seg"]


@pytest.mark.parametrize("publishes_after", [0, 1, 5])
def test_a_crash_in_a_hold_is_a_crash(publishes_after: int) -> None:
    fake = FakeDisk()
    disk = HoldingDisk(fake)
    store = Store(fake, file_bytes_max=200)
    _, store.journal, store.files = open_folder(disk, SEED, 200)
    store.logs = {1: store.journal.open_queue(1)}
    old = [store.publish(b"%d" % number, 1)[0] for number in range(3)]
    store.commit()
    disk.hold()
    for number in range(6):
        store.settle(*old)
        old = store.publish(b"new %d" % number + bytes(300), 1)
        store.commit()
    held = len(fake.names())
    kept = [store.publish(b"kept %d" % number, 1)[0] for number in range(publishes_after)]
    store.commit()
    fake.crash()
    assert len(fake.names()) >= held, "files went in a hold"
    recovered = Store(fake).recovered
    expected = [entry.message.body for entry in old + kept]
    assert bodies(recovered) == {1: expected}
    assert recovered.problems == []
