"""A node on a disk that is full now and then: nothing that was confirmed is lost, nobody waits for
ever, and the order stays. The power may fail at any disk call in between.
"""

from __future__ import annotations

import os

import pytest
from pamqp.commands import Connection, Queue

from tests.core.house import PERSISTENT, House, core
from tests.core.test_power_cuts import QUEUES, CutHouse, FolderDisk, Life

# The night's run: AMQBROKER_FULL_DISKS=100000.
RUNS = int(os.environ.get("AMQBROKER_FULL_DISKS", "60"))
PLENTY = 1 << 40


class SmallHouse(House):
    """A node on a fake disk."""

    def __init__(self) -> None:
        self.folder = FolderDisk(64 * 1024)
        super().__init__()

    def _start(self) -> None:
        self._disk = self.folder  # type: ignore[assignment]
        super()._start()

    def leave_room(self, size: int) -> None:
        """The disk takes so much more."""
        leave_room(self.folder, size)


def leave_room(folder: FolderDisk, size: int) -> None:
    """The disk takes so much more."""
    folder.disk.capacity_bytes += size - folder.disk.free_bytes()


@pytest.fixture
def house() -> SmallHouse:
    return SmallHouse()


def test_publishers_wait_and_are_confirmed_when_there_is_room(house: SmallHouse) -> None:
    ch = house.channel()
    ch.declare_queue("q", durable=True)
    ch.confirm()
    house.leave_room(10)
    ch.publish(b"1", key="q", properties=PERSISTENT)
    ch.publish(b"2", key="q", properties=PERSISTENT)
    ch.peer.expect(Connection.Blocked)
    house.advance(30)
    assert not ch.peer.waiting()
    house.leave_room(PLENTY)
    house.advance(10)
    ch.peer.expect(Connection.Unblocked)
    ch.expect_confirms(2)
    assert not ch.peer.waiting()
    house.folder.disk.crash()
    house.restart(clean=False)
    assert house.channel().get_bodies("q") == [b"1", b"2"]


def test_what_the_log_says(house: SmallHouse) -> None:
    ch = house.channel()
    ch.declare_queue("q", durable=True)
    house.log_lines.clear()
    house.leave_room(10)
    ch.publish(b"1", key="q", properties=PERSISTENT)
    house.advance(10)
    house.leave_room(PLENTY)
    house.advance(10)
    assert [line.partition(":")[0] for line in house.log_lines] == [
        "the disk is full",
        "low on disk",
        "the disk has room again",
        "no longer low on disk",
    ]


def test_measured_room_is_used_at_once(house: SmallHouse) -> None:
    ch = house.channel()
    ch.declare_queue("q", durable=True)
    ch.confirm()
    house.leave_room(10)
    ch.publish(b"1", key="q", properties=PERSISTENT)
    house.leave_room(PLENTY)
    house.node.disk_measured(PLENTY, house.now)
    house.advance(1)
    ch.expect_confirms(1)


def test_consumers_go_on_and_make_room(house: SmallHouse) -> None:
    """The disk is full of what they take: journal files go as soon as all in them is acked."""
    publisher, consumer = house.channel(), house.channel()
    publisher.declare_queue("q", durable=True)
    publisher.confirm()
    body = bytes(10_000)
    house.leave_room(200_000)
    for number in range(30):
        publisher.publish(b"%03d" % number + body, key="q", properties=PERSISTENT)
    publisher.peer.expect(Connection.Blocked)
    bodies = consumer.get_bodies("q")
    assert 10 < len(bodies) < 30
    assert [body[:3] for body in bodies] == [b"%03d" % number for number in range(len(bodies))]
    house.advance(10)
    publisher.peer.expect(Connection.Unblocked)
    publisher.expect_confirms(30)


def test_a_queue_can_be_deleted_to_make_room(house: SmallHouse) -> None:
    publisher, other = house.channel(), house.channel()
    for name in ("q", "other"):
        publisher.declare_queue(name, durable=True)
    publisher.confirm()
    for _ in range(10):
        publisher.publish(bytes(10_000), key="other", properties=PERSISTENT)
    publisher.expect_confirms(10)
    house.leave_room(3_000)
    publisher.publish(bytes(10_000), key="q", properties=PERSISTENT)
    other.send(Queue.Delete(queue="other"))
    house.advance(10)
    publisher.expect_confirms(11, first=11)
    other.expect(Queue.DeleteOk)


def test_a_clean_stop_does_not_wait_for_room(house: SmallHouse) -> None:
    ch = house.channel()
    ch.declare_queue("q", durable=True)
    house.leave_room(10)
    ch.publish(b"1", key="q", properties=PERSISTENT)
    assert house.node.stop(house.now)
    house.run()
    assert house.node.journal_failure()
    house.leave_room(PLENTY)
    house.folder.disk.crash()
    house.restart(clean=False)
    assert house.channel().queue_exists("q")


# At random.


class FullLife(Life):
    """Some lives on a disk that is full now and then."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.house = CutHouse(self.random, (2_000, 6_000, 20_000))
        self.is_full = False
        self.steps_full = 0

    def end(self, *, cuts: bool) -> None:
        """Stop, or not, on a disk with room: the check needs some."""
        self.make_room()
        super().end(cuts=cuts)

    def step(self) -> None:
        """As in other lives; while the disk is full, nothing that waits for it."""
        random = self.random
        if random.random() < 0.25:
            if self.is_full:
                self.make_room()
                self.house.advance(10)
                assert not core(self.house.node).alarm
                self.hear()
                assert not self.unconfirmed
            else:
                self.is_full = True
                leave_room(self.house.folder, random.choice([0, 20, 100, 500, 2_000]))
        if not self.is_full:
            super().step()
            return
        self.steps_full += 1
        self.hear()
        action = random.choice(["publish"] * 4 + ["get"] * 6 + ["settle"] * 4 + ["purge", "wait"])
        name = random.choice([name for name in QUEUES if self.there[name]] or [""])
        if not name or action == "wait":
            self.house.advance(random.choice([0.1, 3, 7]))
        elif action == "publish":
            self.publish(random.randint(1, 12))
        elif action == "get":
            for _ in range(random.randint(1, 6)):
                self.get(name)
        elif action == "settle" and self.held:
            self.settle()
        elif action == "purge":
            self.drop(name, delete=False)

    def publish(self, count: int) -> None:
        """Not more than a few small journal files hold."""
        if sum(map(len, self.wanted.values())) + len(self.unconfirmed) < 20:
            super().publish(count)
        else:
            self.house.advance(0.1)

    def make_room(self) -> None:
        """As much as anybody wants."""
        self.is_full = False
        leave_room(self.house.folder, PLENTY)


@pytest.mark.parametrize("seed", range(RUNS))
def test_full_disks(seed: int) -> None:
    FullLife(seed).run()
