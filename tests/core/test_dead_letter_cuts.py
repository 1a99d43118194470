"""Power cuts while messages die and go on: none is lost on its way, and only a crash doubles one.

The node and its disk are those of test_power_cuts.py. Messages die in every way, in queues whose
dead letters go to a roomy queue or to a narrow one that refuses what is too much. After each cut
every confirmed message that nobody acked must be in some queue; after a clean stop as often as
before.
"""

from __future__ import annotations

import os
from random import Random

import pytest
from pamqp.commands import Basic
from pamqp.common import FieldTable

from amqbroker.errors import DiskError
from tests.core.house import PERSISTENT, core, items
from tests.core.test_power_cuts import CutHouse
from tests.semantics.peer import Channel

# The night's run: AMQBROKER_POWER_CUTS=100000.
RUNS = int(os.environ.get("AMQBROKER_POWER_CUTS", "60"))
LIVES = 4
STEPS = 14


def _to(target: str, **others: int) -> FieldTable:
    arguments: FieldTable = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": target}
    arguments.update({"x-" + name.replace("_", "-"): value for name, value in others.items()})
    return arguments


# In the order in which they are emptied to be looked at: a message may only go to a later one.
QUEUES: dict[str, FieldTable] = {
    "first": _to("work"),
    "work": _to("dead", delivery_limit=2),
    "timed": _to("dead", message_ttl=200),
    "short": _to("dead", max_length=3),
    "tight": _to("narrow"),
    "narrow": {"x-max-length": 2, "x-overflow": "reject-publish"},
    "dead": {},
}


class Life:
    """What was done, and what may be found."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        # What is out for delivery must fit into the files that are kept.
        self.house = CutHouse(self.random, (600, 2_000))
        self.number = 0
        # How often each message is there; those that are not confirmed are in `maybe` as well.
        self.copies: dict[int, int] = {}
        self.maybe: set[int] = set()
        self.ch: Channel
        self.publisher: Channel
        self.confirmed = 0
        self.unconfirmed: list[int] = []
        self.held: list[tuple[str, int, int]] = []  # queue, number, tag

    def run(self) -> None:
        """Some lives, each with a look at its begin."""
        setup = self.house.channel()
        for name, arguments in QUEUES.items():
            setup.declare_queue(name, durable=True, arguments=arguments)
        clean = True
        for life in range(LIVES):
            self.begin(clean)
            disk = self.house.folder.disk
            clean = life == LIVES - 1 or self.random.random() < 0.15
            if not clean:
                disk.fail_at_call = disk.calls + self.random.randint(1, 60)
            try:
                for _ in range(STEPS):
                    self.step()
            except DiskError:
                assert not clean
                self.house.cut_power()
                continue
            disk.fail_at_call = 0
            if clean:
                self.hear()
                self.house.restart(clean=True)
            else:
                self.house.cut_power()
        self.begin(clean)

    def begin(self, clean: bool) -> None:
        """Connect, and compare."""
        house = self.house
        self.held = []
        found = self.look()
        confirmed = {number for number in self.copies if number not in self.maybe}
        assert confirmed <= set(found), confirmed - set(found)
        assert set(found) <= set(self.copies) | self.maybe
        if clean:
            assert found == self.copies
        self.copies = found
        self.maybe = set()
        self.ch = house.channel()
        self.publisher = house.channel()
        self.publisher.confirm()
        self.confirmed = 0
        self.unconfirmed = []

    def look(self) -> dict[int, int]:
        """How often each message is there. They stay, but may die of being looked at."""
        found: dict[int, int] = {}
        peek = self.house.channel()
        seen = -1
        while seen != sum(found.values()):
            seen = sum(found.values())
            for name in QUEUES:
                while (message := peek.get(name)) is not None:
                    number = int(message.body.split(b" ")[0])
                    found[number] = found.get(number, 0) + 1
            # The narrow queue has room now for what waits for it.
            self.house.advance(1.1)
        assert core(self.house.node).dead_letters.entries() == []
        peek.peer.drop()
        self.house.run()
        return found

    def step(self) -> None:
        """One thing that a client does, or time."""
        self.hear()
        action = self.random.choice(["publish"] * 5 + ["get"] * 5 + ["settle"] * 5 + ["wait"] * 2)
        if action == "publish":
            self.publish(self.random.randint(1, 8))
        elif action == "get":
            name = self.random.choice(list(QUEUES))
            for _ in range(self.random.randint(1, 6)):
                message = self.ch.get(name)
                if message is not None:
                    number = int(message.body.split(b" ")[0])
                    self.held.append((name, number, message.tag))
        elif action == "settle" and self.held:
            self.settle()
        elif action == "wait":
            self.house.advance(self.random.choice([0.1, 0.3, 1.2]))

    def publish(self, count: int) -> None:
        """Persistent messages, some with an expiration of their own."""
        for _ in range(count):
            name = self.random.choice(["first", "work", "timed", "short", "tight"])
            self.number += 1
            body = b"%d " % self.number + bytes(self.random.choice([1, 50, 400]))
            self.copies[self.number] = 1
            self.maybe.add(self.number)
            self.unconfirmed.append(self.number)
            properties = PERSISTENT
            if self.random.random() < 0.3:
                properties = Basic.Properties(delivery_mode=2, expiration="150")
            self.publisher.publish(body, key=name, properties=properties)
        self.hear()

    def hear(self) -> None:
        """Confirms, which come in order."""
        for item in items(self.publisher):
            assert isinstance(item, Basic.Ack), item
            while self.confirmed < (item.delivery_tag or 0):
                self.confirmed += 1
                number = self.unconfirmed.pop(0)
                # One that was acked meanwhile may still come back.
                if number in self.copies:
                    self.maybe.discard(number)

    def settle(self) -> None:
        """Ack, reject or give back some."""
        for _ in range(self.random.randint(1, len(self.held))):
            name, number, tag = self.held.pop(self.random.randrange(len(self.held)))
            how = self.random.choice(["ack", "nack", "reject", "reject", "reject"])
            if how == "nack":
                self.ch.nack(tag)
                continue
            if how == "ack" or "x-dead-letter-exchange" not in QUEUES[name]:
                self.copies[number] -= 1
                if self.copies[number] == 0:
                    del self.copies[number]
                    self.maybe.add(number)
            if how == "ack":
                self.ch.ack(tag)
            else:
                self.ch.reject(tag, requeue=False)


@pytest.mark.parametrize("seed", range(RUNS))
def test_power_cuts_while_messages_die(seed: int) -> None:
    Life(seed).run()
