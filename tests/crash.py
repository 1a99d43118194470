"""Kills a loaded broker again and again, and counts what it had promised.

    python -m tests.crash --rounds 20 --seed 1

A round: start the broker on the data of the round before, publish with confirms to some queues and
consume one of them, kill it (SIGKILL) at a random moment, start it again and read every queue. Then

- every confirmed message that was not acked is there;
- nothing is there that nobody published, or that was acked in an earlier round;
- each queue is in the order of publishing, and has nothing twice.

A message whose confirm or ack was under way when the broker died may be there or not.
"""

from __future__ import annotations

import argparse
import random
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pika
from pika.exceptions import AMQPError

# The last one has a consumer.
QUEUES = ("first", "second", "consumed")
START_TIMEOUT_S = 15.0
LOAD_S = (0.1, 0.8)
LOST = (AMQPError, OSError)


class Ledger:
    """What was done to one queue, and what was seen in it."""

    def __init__(self) -> None:
        self.attempted = 0
        self.confirmed: set[int] = set()
        self.acked: set[int] = set()
        self.seen: list[int] = []
        self.attempted_before = 0

    def check(self, found: list[int]) -> list[str]:
        """What is wrong with the contents of the queue after a restart."""
        problems = []
        owed = self.confirmed - self.acked
        if missing := sorted(owed - set(found)):
            problems.append(f"{len(missing)} confirmed messages are lost, first {missing[0]}")
        known = {*self.seen, *range(self.attempted_before, self.attempted)}
        if alien := sorted(set(found) - known):
            problems.append(f"{len(alien)} messages come from nowhere, first {alien[0]}")
        if found != sorted(set(found)):
            problems.append("messages are out of order or there twice")
        return problems

    def next_round(self, found: list[int]) -> None:
        """Go on from what the queue has now."""
        self.seen = found
        self.confirmed = set(found)
        self.acked = set()
        self.attempted_before = self.attempted


@contextmanager
def serving(folder: Path) -> Iterator[tuple[subprocess.Popen[bytes], pika.URLParameters]]:
    """A broker process on this data folder; killed at the end if it still runs."""
    log = folder / "log"
    command = [sys.executable, "-m", "amqbroker", "--bind", "127.0.0.1:0"]
    with (
        log.open("wb") as stream,
        subprocess.Popen([*command, "--data-dir", str(folder / "data")], stderr=stream) as process,
    ):
        try:
            yield process, pika.URLParameters(f"amqp://guest:guest@{_address(process, log)}/")
        finally:
            process.kill()


def _address(process: subprocess.Popen[bytes], log: Path) -> str:
    """Where the broker listens, once it says so."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline and process.poll() is None:
        if match := re.search(r" ready on (\S+)", log.read_text()):
            return match[1]
        time.sleep(0.01)
    raise RuntimeError(f"the broker does not start:\n{log.read_text()}")


def publish(parameters: pika.URLParameters, queue: str, ledger: Ledger) -> None:
    """Publish numbers, each confirmed before the next, until the broker is gone."""
    with suppress(*LOST):
        channel = pika.BlockingConnection(parameters).channel()
        channel.queue_declare(queue, durable=True)
        channel.confirm_delivery()
        properties = pika.BasicProperties(delivery_mode=2)
        while True:
            number = ledger.attempted
            ledger.attempted += 1
            channel.basic_publish("", queue, str(number).encode(), properties)
            ledger.confirmed.add(number)


def consume(parameters: pika.URLParameters, queue: str, ledger: Ledger) -> None:
    """Ack what comes, until the broker is gone."""
    with suppress(*LOST):
        channel = pika.BlockingConnection(parameters).channel()
        channel.queue_declare(queue, durable=True)
        channel.basic_qos(prefetch_count=10)
        for method, _, body in channel.consume(queue):
            ledger.acked.add(int(body))
            channel.basic_ack(method.delivery_tag)


def contents(parameters: pika.URLParameters, queue: str) -> list[int]:
    """All that is ready in a queue; it is there again afterwards."""
    with pika.BlockingConnection(parameters) as connection:
        channel = connection.channel()
        count = channel.queue_declare(queue, durable=True).method.message_count
        return [int(channel.basic_get(queue)[2]) for _ in range(count)]


def crash(folder: Path, ledgers: dict[str, Ledger], load_s: float) -> None:
    """Load a broker for this long, then kill it."""
    with serving(folder) as (process, parameters):
        threads = [
            threading.Thread(target=publish, args=(parameters, queue, ledgers[queue]))
            for queue in QUEUES
        ]
        last = QUEUES[-1]
        threads.append(threading.Thread(target=consume, args=(parameters, last, ledgers[last])))
        for thread in threads:
            thread.start()
        time.sleep(load_s)
        process.send_signal(signal.SIGKILL)
        for thread in threads:
            thread.join()


def run(rounds: int, seed: int, folder: Path) -> Iterator[tuple[str, list[str]]]:
    """Each round's summary, and what was wrong."""
    choose = random.Random(seed)
    ledgers = {queue: Ledger() for queue in QUEUES}
    for number in range(1, rounds + 1):
        crash(folder, ledgers, choose.uniform(*LOAD_S))
        confirmed = sum(len(ledger.confirmed) for ledger in ledgers.values())
        problems = []
        with serving(folder) as (_, parameters):
            for queue, ledger in ledgers.items():
                found = contents(parameters, queue)
                problems += [f"{queue}: {problem}" for problem in ledger.check(found)]
                ledger.next_round(found)
        yield f"round {number}: {confirmed} confirmed messages", problems


def main() -> int:
    """Exit code 1 if a promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.crash", description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    broken = False
    with tempfile.TemporaryDirectory(prefix="amqbroker-crash-") as folder:
        for summary, problems in run(options.rounds, options.seed, Path(folder)):
            print(summary, *problems, sep="\n  ", flush=True)
            broken = broken or bool(problems)
    return int(broken)


if __name__ == "__main__":
    sys.exit(main())
