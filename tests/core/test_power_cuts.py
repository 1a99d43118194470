"""A whole node on a disk that loses what was not synced: power cuts at random disk calls.

The node has next to no memory, small segments and small journal files, so that all that it does
with a disk happens between two cuts; now and then a backup holds what is there. After each cut, and
now and then after a clean stop, every confirmed message that was not acked must be there, in order
and once, and nothing that was never published, deleted or transient.
"""

from __future__ import annotations

import os
from random import Random

import pytest
from pamqp.commands import Basic, Queue

from amqbroker.core.memory import ReadRequest
from amqbroker.errors import DiskError
from amqbroker.store.folder import JournalFiles, open_folder
from amqbroker.store.holding import HoldingDisk
from amqbroker.store.journal import Batch, Journal
from amqbroker.store.recovery import Recovered
from tests.core.house import PERSISTENT, House, core, items
from tests.semantics.peer import Channel
from tests.store.fake_disk import FakeDisk
from tests.store.helpers import SEED

# The night's run: AMQBROKER_POWER_CUTS=100000.
RUNS = int(os.environ.get("AMQBROKER_POWER_CUTS", "60"))
LIVES = 4
STEPS = 14
QUEUES = ("a", "b")


class FolderDisk:
    """A fake disk in the place of a MemoryDisk."""

    def __init__(self, journal_bytes: int) -> None:
        self.disk = FakeDisk()
        self.holding = HoldingDisk(self.disk)
        self._journal_bytes = journal_bytes
        self._files: JournalFiles | None = None

    def open(self) -> tuple[Journal, Recovered]:
        """Start on what the disk has."""
        self.holding = HoldingDisk(self.disk)
        recovered, journal, self._files = open_folder(self.holding, SEED, self._journal_bytes)
        assert recovered.problems == []
        return journal, recovered

    def write(self, batch: Batch) -> None:
        """Carry out a batch."""
        assert self._files is not None
        self._files.write(batch)

    def read_at(self, name: str, offset: int, length: int) -> bytes:
        """A piece of a segment."""
        return self.disk.read_at(name, offset, length)


class CutHouse(House):
    """A node on a fake disk, with journal files of one of these sizes."""

    def __init__(
        self, random: Random, journal_bytes: tuple[int, ...] = (600, 2_000, 20_000)
    ) -> None:
        self._draws = random
        self.folder = FolderDisk(random.choice(journal_bytes))
        super().__init__()

    def __del__(self) -> None:
        # The garbage collector does not see entries: a hundred thousand houses would fill memory.
        self.node.let_go()

    def _start(self) -> None:
        self._disk = self.folder  # type: ignore[assignment]
        super()._start()
        memory = core(self.node).memory
        memory.bytes_max = self._draws.choice([0, 0, 3_000, 20_000])
        memory.read_bytes = self._draws.choice([1, 300])
        memory.outbox.messages_max = self._draws.choice([2, 5, 40])
        memory.back_min = 1
        memory.back_count_min = self._draws.choice([1, 2, 4])

    def _read(self, request: ReadRequest) -> None:
        """The power fails with the disk: nobody hears of the error."""
        data = self.folder.read_at(request.name, request.offset, request.length)
        self.node.messages_read(request, data, "", self.now)

    def cut_power(self) -> None:
        """Lose what the disk may lose, and start again."""
        draws = self._draws
        self.folder.disk.crash(
            kept_bytes=draws.choice([0, 7, 100, 1 << 20]),
            # File systems keep the order of changes to a folder; how many, nobody knows.
            kept_changes=(1 << draws.randint(0, 12)) - 1,
            zeros=draws.choice([0, 30]),
        )
        self.restart(clean=False)


class Life:
    """What was done, and what may be found."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.house = CutHouse(self.random)
        self.persistent = self.random.choice([0.2, 0.8])  # this share of the messages
        self.number = 0
        # Of each queue: number to whether it was confirmed; unacked and not purged only.
        self.wanted: dict[str, dict[int, bool]] = {name: {} for name in QUEUES}
        # What may come back: its settling was perhaps not written.
        self.maybe: dict[str, set[int]] = {name: set() for name in QUEUES}
        # Whether the queue must be there: None says that the answer never came.
        self.there: dict[str, bool | None] = dict.fromkeys(QUEUES, False)
        self.ch: Channel
        self.publisher: Channel
        self.confirmed = 0
        self.unconfirmed: list[tuple[str, int]] = []
        self.held: list[tuple[str, int, int]] = []  # queue, number, tag
        # Acked or purged, perhaps before they were confirmed.
        self.gone: set[int] = set()
        self.is_held = False

    def run(self) -> None:
        """Some lives, each with a check at its begin."""
        for life in range(LIVES):
            self.begin()
            disk = self.house.folder.disk
            cuts = life < LIVES - 1 and self.random.random() < 0.85
            if cuts:
                disk.fail_at_call = disk.calls + self.random.randint(1, 60)
            try:
                for _ in range(STEPS):
                    self.step()
            except DiskError:
                assert cuts
            disk.fail_at_call = 0
            self.end(cuts=cuts)
        self.begin()

    def end(self, *, cuts: bool) -> None:
        """The power fails, or the node stops."""
        if cuts:
            self.house.cut_power()
        else:
            self.house.restart(clean=True)

    def begin(self) -> None:
        """Connect, and compare."""
        house = self.house
        self.is_held = False
        self.ch = house.channel()
        self.publisher = house.channel()
        self.publisher.confirm()
        self.confirmed = 0
        self.unconfirmed = []
        self.held = []
        for name in QUEUES:
            durable = house.vhost().queues.get(name)
            if self.there[name] is not None:
                assert (durable is not None) == self.there[name], name
            self.there[name] = durable is not None
            if durable is None:
                self.wanted[name] = {}
                self.maybe[name] = set()
                continue
            self.compare(name, durable.line.ready.count)

    def compare(self, name: str, count: int) -> None:
        """All that is ready in a queue, which stays there."""
        wanted, maybe = self.wanted[name], self.maybe[name]
        found: list[int] = []
        peek = self.house.channel()
        while (message := peek.get(name)) is not None:
            found.append(int(message.body.split(b" ")[0]))
            assert message.method.message_count == count - len(found)  # type: ignore[attr-defined]
        assert len(found) == count
        assert found == sorted(set(found)), found
        confirmed = {number for number, sure in wanted.items() if sure}
        assert confirmed <= set(found), (name, confirmed - set(found))
        assert set(found) <= set(wanted) | maybe, (name, found, wanted, maybe)
        peek.peer.drop()
        self.house.run()
        self.wanted[name] = dict.fromkeys(found, True)
        self.maybe[name] = set()

    def step(self) -> None:
        """One thing that a client does."""
        random, house = self.random, self.house
        self.hear()
        if random.random() < 0.1:
            self.back_up()
        action = random.choice(
            ["publish"] * 6 + ["get"] * 4 + ["settle"] * 3 + ["purge", "delete", "declare", "wait"]
        )
        name = random.choice(QUEUES)
        if self.there[name] is not True and action != "wait":
            action = "declare"
        if action == "declare":
            self.there[name] = None
            self.ch.declare_queue(name, durable=True)
            self.there[name] = True
        elif action == "publish":
            self.publish(random.randint(1, 12))
        elif action == "get":
            for _ in range(random.randint(1, 6)):
                self.get(name)
        elif action == "settle" and self.held:
            self.settle()
        elif action in ("purge", "delete"):
            self.drop(name, action == "delete")
        elif action == "wait":
            house.advance(0.1)

    def back_up(self) -> None:
        """A backup begins or ends: between two batches."""
        holding = self.house.folder.holding
        if self.is_held:
            holding.release()
        else:
            holding.hold()
        self.is_held = not self.is_held

    def publish(self, count: int) -> None:
        """To one queue or both, persistent or not."""
        random = self.random
        for _ in range(count):
            names = [name for name in QUEUES if self.there[name]]
            name = random.choice(names)
            self.number += 1
            persistent = random.random() < self.persistent
            body = b"%d " % self.number + bytes(random.choice([1, 50, 400]))
            if persistent:
                self.maybe[name].add(self.number)
            self.unconfirmed.append((name, self.number))
            self.publisher.publish(body, key=name, properties=PERSISTENT if persistent else None)
        self.hear()

    def hear(self) -> None:
        """Confirms, which come in order."""
        for item in items(self.publisher):
            assert isinstance(item, Basic.Ack), item
            while self.confirmed < (item.delivery_tag or 0):
                self.confirmed += 1
                name, number = self.unconfirmed.pop(0)
                if number in self.maybe[name] and number not in self.gone:
                    self.maybe[name].discard(number)
                    self.wanted[name][number] = True

    def get(self, name: str) -> None:
        """One message, kept."""
        answer = self.ch.get(name)
        if answer is not None:
            number = int(answer.body.split(b" ")[0])
            self.held.append((name, number, answer.tag))

    def settle(self) -> None:
        """Ack, or give back, one or some."""
        random = self.random
        for _ in range(random.randint(1, len(self.held))):
            name, number, tag = self.held.pop(random.randrange(len(self.held)))
            if random.random() < 0.8:
                if self.wanted[name].pop(number, None):
                    self.maybe[name].add(number)
                self.gone.add(number)
                self.ch.ack(tag)
            else:
                self.ch.nack(tag)

    def drop(self, name: str, delete: bool) -> None:
        """Purge or delete a queue."""
        held = {number for queue, number, _ in self.held if queue == name}
        self.gone |= {number for queue, number in self.unconfirmed if queue == name} - held
        for number in list(self.wanted[name]):
            if delete or number not in held:
                del self.wanted[name][number]
                self.maybe[name].add(number)
        if delete:
            self.there[name] = None
            self.ch.call(Queue.Delete(queue=name), Queue.DeleteOk)
            self.there[name] = False
            self.wanted[name] = {}
            self.maybe[name] = set()
            self.held = [held_one for held_one in self.held if held_one[0] != name]
        else:
            self.ch.purge(name)


@pytest.mark.parametrize("seed", range(RUNS))
def test_power_cuts(seed: int) -> None:
    Life(seed).run()


@pytest.mark.parametrize("holds", [False, True], ids=["", "backup"])
@pytest.mark.parametrize("kept_changes", [0, 0b1, 0b1011010, (1 << 40) - 1])
@pytest.mark.parametrize("delete", [False, True], ids=["purge", "delete"])
def test_every_cut_while_a_long_queue_is_dropped(
    delete: bool, kept_changes: int, holds: bool
) -> None:
    cuts = 0
    while True:
        cuts += 1
        house, numbers = long_queue()
        disk = house.folder.disk
        ch = house.channel()
        if holds:
            house.folder.holding.hold()
        disk.fail_at_call = disk.calls + cuts
        try:
            if delete:
                ch.call(Queue.Delete(queue="a"), Queue.DeleteOk)
            else:
                ch.purge("a")
            house.advance(0.1)
            if holds:
                house.folder.holding.release()
            is_dropped = True
        except DiskError:
            is_dropped = False
        is_over = disk.calls < disk.fail_at_call
        disk.crash(kept_bytes=200, kept_changes=kept_changes)
        house.restart(clean=False)
        ch = house.channel()
        assert ch.get_bodies("b") == [b"kept"] * 5
        if "a" in house.vhost().queues:
            found = [int(body[:3]) for body in ch.get_bodies("a")]
            assert found == sorted(set(found))
            assert set(found) <= set(numbers)
            assert not (found and is_dropped)
        else:
            assert delete
        if is_over:
            break
    assert cuts > 12


def long_queue() -> tuple[CutHouse, list[int]]:
    """Queue "a" has these messages in many segments, some of which are settled in part; "b" a few
    in the journal."""
    house = CutHouse(Random(1), (2_000,))
    memory = core(house.node).memory
    memory.bytes_max = 0
    memory.outbox.messages_max = 3
    ch = house.channel()
    ch.confirm()
    for name in ("a", "b"):
        ch.declare_queue(name, durable=True)
    for number in range(40):
        ch.publish(b"%03d" % number + bytes(40), key="a", properties=PERSISTENT)
    ch.expect_confirms(40)
    tags = [ch.must_get("a").tag for _ in range(10)]
    for tag in tags[::2]:
        ch.ack(tag)
    for tag in tags[1::2]:
        ch.nack(tag)
    memory.bytes_max = 1 << 30
    for _ in range(5):
        ch.publish(b"kept", key="b", properties=PERSISTENT)
    ch.expect_confirms(45, first=41)
    assert len([name for name in house.folder.disk.names() if name.startswith("queues/")]) > 12
    return house, [*range(1, 10, 2), *range(10, 40)]
