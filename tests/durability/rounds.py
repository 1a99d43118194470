"""The rounds: load, end, start, check. The broker of one check bears the load of the next round."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path
from random import Random
from typing import NamedTuple

from pamqp import commands

from tests.server.process import BrokerProcess

from .client import Client, Delivery, Lost, ack_frame, publish_frames
from .ledger import NUMBERS_A_PUBLISHER, Found, QueueLedger, read_body
from .load import FANOUT, Committer, Consumer, Definer, Loader, Publisher, delete, name_of

# Two that are only filled and two that are consumed; the fanout exchange feeds half of each.
QUEUES = ("filled", "filled-by-fanout", "consumed", "consumed-by-fanout")
CONSUMED = QUEUES[2:]
ROUTES = {
    "filled": ("filled",),
    "consumed": ("consumed",),
    FANOUT: ("filled-by-fanout", "consumed-by-fanout"),
}
PUBLISHERS = (Publisher, Publisher, Publisher, Committer)
TRANSIENT_QUEUE = "transient"

LOAD_S = (0.02, 0.5)
# Acks are written within 50 ms; the rest is for a machine that has other work.
ACK_S = 0.2
# While Python imports, and while the broker recovers.
START_KILL_S = (0.05, 0.5)
CLEAN_STOP_CHANCE = 0.1
START_KILL_CHANCE = 0.15
# Small files make the journal roll, snapshot and delete all the time.
JOURNAL_FILE_BYTES = (65_536, 65_536, 1_048_576, 67_108_864)
BACKLOG_MAX = 2_000


class Report(NamedTuple):
    """One round."""

    number: int
    ending: str
    sent: int
    confirmed: int
    acked: int
    found: int
    start_s: float
    problems: list[str]

    def __str__(self) -> str:
        return (
            f"round {self.number}: {self.ending}, {self.sent} sent, {self.confirmed} confirmed, "
            f"{self.acked} acked, {self.found} found, started in {self.start_s:.2f} s"
        )


class Rounds:
    """All that goes on from round to round. Raises Lost if the broker does not serve a check."""

    def __init__(self, folder: Path, seed: int) -> None:
        self._folder = folder
        self._random = Random(seed)
        self._ledgers = {name: QueueLedger(name) for name in QUEUES}
        self._numbers = [count(each * NUMBERS_A_PUBLISHER) for each in range(len(PUBLISHERS))]
        self._defined: set[int] = set()
        self._definition_numbers = count()
        self._broker = self._start()
        client = Client(self._broker.port)
        client.call(
            commands.Exchange.Declare(exchange=FANOUT, exchange_type="fanout", durable=True),
            commands.Exchange.DeclareOk,
        )
        for queue in QUEUES:
            client.call(commands.Queue.Declare(queue=queue, durable=True), commands.Queue.DeclareOk)
        for queue in ROUTES[FANOUT]:
            client.call(commands.Queue.Bind(queue=queue, exchange=FANOUT), commands.Queue.BindOk)
        client.close()

    def run(self, rounds: int) -> Iterator[Report]:
        """Run this many."""
        for number in range(1, rounds + 1):
            yield self._round(number)

    def end(self) -> None:
        """End the broker."""
        self._broker.end()

    def _start(self) -> BrokerProcess:
        broker = BrokerProcess(
            self._folder,
            log={"level": "info"},
            store={"journal_file_size_bytes": self._random.choice(JOURNAL_FILE_BYTES)},
        )
        if broker.failed:
            broker.end()
            raise Lost("the broker does not start:\n" + "\n".join(broker.lines))
        return broker

    def _round(self, number: int) -> Report:
        random, port = self._random, self._broker.port
        loaders = self._loaders(port)
        ending = "stopped" if random.random() < CLEAN_STOP_CHANCE else "killed"
        load_s = random.uniform(*LOAD_S)
        with suppress(Lost):
            client = Client(port)
            client.call(commands.Queue.Declare(queue=TRANSIENT_QUEUE), commands.Queue.DeclareOk)
            client.close()
        for loader in loaders:
            loader.start()
        time.sleep(load_s)
        ended_at = time.monotonic()
        self._broker.send_signal(signal.SIGTERM if ending == "stopped" else signal.SIGKILL)
        for loader in loaders:
            loader.join()
        problems = [loader.fault for loader in loaders if loader.fault]
        code = self._broker.wait()
        if ending == "stopped" and code != 0:
            problems.append(f"exit code {code} after SIGTERM")
        self._broker.end()
        if random.random() < START_KILL_CHANCE:
            ending += ", killed while it started"
            self._kill_a_start()
        self._broker = self._start()
        publishers = [loader for loader in loaders if isinstance(loader, Publisher)]
        consumers = [loader for loader in loaders if isinstance(loader, Consumer)]
        self._enter(publishers, consumers)
        acks_until = ended_at if ending.startswith("stopped") else ended_at - ACK_S
        found = self._check_queues(acks_until, problems)
        self._check_definitions(loaders, problems)
        return Report(
            number,
            ending,
            sum(len(publisher.sent) for publisher in publishers),
            sum(sent.confirmed for publisher in publishers for sent in publisher.sent),
            sum(len(consumer.acks_sent) for consumer in consumers),
            found,
            self._broker.start_s,
            problems,
        )

    def _kill_a_start(self) -> None:
        broker = BrokerProcess(self._folder, wait=False)
        time.sleep(self._random.uniform(*START_KILL_S))
        broker.end()

    def _loaders(self, port: int) -> list[Loader]:
        random = self._random
        loaders: list[Loader] = [
            kind(port, random.getrandbits(32), numbers, ROUTES)
            for kind, numbers in zip(PUBLISHERS, self._numbers, strict=True)
        ]
        for queue in CONSUMED:
            known = set(self._ledgers[queue].messages)
            loaders.append(Consumer(port, random.getrandbits(32), queue, known))
        seed = random.getrandbits(32)
        loaders.append(Definer(port, seed, self._definition_numbers, self._defined))
        return loaders

    def _enter(self, publishers: list[Publisher], consumers: list[Consumer]) -> None:
        """Write what was sent and heard into the ledgers."""
        for publisher in publishers:
            for sent in publisher.sent:
                for queue in sent.queues:
                    self._ledgers[queue].published(sent.number, sent.persistent, sent.confirmed)
        for queue, consumer in zip(CONSUMED, consumers, strict=True):
            ledger = self._ledgers[queue]
            ledger.delivered(consumer.delivered)
            ledger.acked(consumer.acks_sent)
            for at, numbers in consumer.settled:
                ledger.settled(numbers, at)

    def _check_queues(self, acks_until: float, problems: list[str]) -> int:
        total = 0
        for queue, ledger in self._ledgers.items():
            client = Client(self._broker.port)
            try:
                found, last_tag = read_queue(client, queue)
                problems += ledger.check(found, acks_until)
                ledger.keep(found)
                total += len(found)
                # All, half, or none of what was read is acked; the rest goes back with the close.
                share = self._random.choice((0, 0.5, 1)) if len(found) < BACKLOG_MAX else 1
                if acked := int(share * len(found)):
                    client.send(ack_frame(last_tag - len(found) + acked, True))
                    client.call(commands.Basic.Qos(), commands.Basic.QosOk)
                    numbers = [each.number for each in found[:acked]]
                    ledger.acked(set(numbers))
                    ledger.settled(numbers, time.monotonic())
            except ValueError as error:
                problems.append(f"{queue}: {error}")
            finally:
                client.close()
        return total

    def _check_definitions(self, loaders: list[Loader], problems: list[str]) -> None:
        definer = next(loader for loader in loaders if isinstance(loader, Definer))
        port = self._broker.port
        client = Client(port)
        client.call(commands.Confirm.Select(), commands.Confirm.SelectOk)
        for number in sorted(definer.there):
            name = name_of(number)
            try:
                client.send(publish_frames(name, "", False, b""))
                ok = client.call(
                    commands.Queue.Declare(queue=name, passive=True), commands.Queue.DeclareOk
                )
                if ok.message_count != 1:
                    problems.append(f"queue {name} is not bound any more")
                client.call(commands.Queue.Purge(queue=name), commands.Queue.PurgeOk)
            except Lost as error:
                problems.append(f"definition {name}: {error}")
                client.close()
                client = Client(port)
        client.close()
        gone = sorted(definer.gone)
        for number in self._random.sample(gone, min(len(gone), 3)):
            if exists(port, commands.Queue.Declare(queue=name_of(number), passive=True)):
                problems.append(f"queue {name_of(number)} was deleted and is back")
            if exists(port, commands.Exchange.Declare(exchange=name_of(number), passive=True)):
                problems.append(f"exchange {name_of(number)} was deleted and is back")
        if exists(port, commands.Queue.Declare(queue=TRANSIENT_QUEUE, passive=True)):
            problems.append("the queue that is not durable outlived the broker")
        self._forget_definitions(definer.there)

    def _forget_definitions(self, there: set[int]) -> None:
        """Keep few of them, so that each round is as quick as the first."""
        client = Client(self._broker.port)
        for number in sorted(there)[10:]:
            delete(client, number)
            there.discard(number)
        client.close()


def read_queue(client: Client, queue: str) -> tuple[list[Found], int]:
    """All that is ready in a queue, not acked, and the last delivery tag.

    Raises ValueError for a changed body.
    """
    ok = client.call(commands.Queue.Declare(queue=queue, passive=True), commands.Queue.DeclareOk)
    wanted = ok.message_count or 0
    found: list[Found] = []
    last_tag = 0
    if wanted:
        client.call(commands.Basic.Consume(queue=queue), commands.Basic.ConsumeOk)
    while len(found) < wanted:
        for event in client.receive():
            if isinstance(event, Delivery):
                found.append(Found(read_body(event.body), event.redelivered))
                last_tag = event.tag
    return found, last_tag


def exists(port: int, passive: commands.Queue.Declare | commands.Exchange.Declare) -> bool:
    """Whether there is such a thing."""
    client = Client(port)
    try:
        if isinstance(passive, commands.Queue.Declare):
            client.call(passive, commands.Queue.DeclareOk)
        else:
            client.call(passive, commands.Exchange.DeclareOk)
    except Lost:
        return False
    finally:
        client.close()
    return True
