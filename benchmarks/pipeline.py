"""What each step in the life of a message costs, without sockets: microseconds a message.

    python benchmarks/pipeline.py                  the build that is installed
    python benchmarks/pipeline.py --interpreted    the same sources without compiled modules

A node in memory with a publisher, a consumer and a journal that has no disk. Publishes come in
reads of 500; each step is timed apart, and its figure is the best of several rounds. "parse" is a
parser on its own given the same bytes, and "route and enqueue" what handing them to the node takes
beyond that. "deliver" is the turn that writes deliveries (and confirms) into output buffers,
"output" the handing over of those to the socket. "ack" parses and settles. "journal" encodes the
batch with its CRC, and takes note that it is durable.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from random import Random

if find_spec("amqbroker") is None:
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from _broker import machine_line, table
from _client import OPEN_STEPS, PROTOCOL_HEADER, method, publish
from pamqp import commands

import amqbroker
from amqbroker import errors
from amqbroker.config import Config
from amqbroker.node import Node, PeerInfo
from amqbroker.server.startup import GC_THRESHOLDS, keep_freed_memory
from amqbroker.store.journal import Journal
from amqbroker.wire.parser import Parser

READ_MESSAGES = 500
SIZES = (100, 1024)
PUBLISHER, CONSUMER = 1, 2
FRAME_MAX, MESSAGE_MAX = 131_072, 1 << 27
# What is timed; the table shows "receive" without what "parse" takes, as "route and enqueue".
TIMED = ("parse", "receive", "deliver", "output", "ack", "journal")
STEPS = ("parse", "route and enqueue", "deliver", "output", "ack", "journal", "all")

# Name, acks, persistent with confirms.
KINDS = (
    ("transient, auto-ack", 0, False),
    ("transient, ack each", 1, False),
    ("transient, ack every 50", 50, False),
    ("persistent, confirms, ack each", 1, True),
    ("persistent, confirms, ack every 50", 50, True),
)


class Case:
    """A node with a publisher and, if wanted, a consumer of one queue."""

    def __init__(self, size: int, ack_every: int, durable: bool, *, consume: bool = True) -> None:
        self.now = 0.0
        self.journal = Journal()
        self.node = Node(Config(), self.journal, None, Random(1), self.now)
        for connection in (PUBLISHER, CONSUMER):
            self.connect(connection)
        self.send(PUBLISHER, commands.Queue.Declare(0, "bench", durable=durable))
        if durable:
            self.send(PUBLISHER, commands.Confirm.Select())
        if consume:
            start = commands.Basic.Consume(0, "bench", "c", no_ack=ack_every == 0, nowait=True)
            self.send(CONSUMER, start)
        self.reads = publish("", "bench", bytes(size), persistent=durable) * READ_MESSAGES
        self.ack_every = ack_every
        self.parser = Parser(FRAME_MAX, MESSAGE_MAX)
        self.size = size
        self.delivered = self.output_bytes = 0

    def connect(self, connection: int) -> None:
        """A connection with channel 1 open."""
        peer = PeerInfo("127.0.0.1", 40_000 + connection, "127.0.0.1", 5672)
        self.node.client_connected(connection, peer, self.now)
        self.node.client_received(connection, PROTOCOL_HEADER, self.now)
        for channel, value, _ in OPEN_STEPS:
            self.node.client_received(connection, method(channel, value), self.now)
            for check in self.node.take_password_checks(1):
                self.node.password_checked(check, True, self.now)
        self.turn(connection)

    def send(self, connection: int, value: object) -> None:
        """A method on channel 1, and the turn that answers it."""
        self.node.client_received(connection, method(1, value), self.now)
        self.turn(connection)

    def turn(self, connection: int) -> None:
        """Settle, write the journal and drop the output."""
        self.node.settle(self.now)
        self.write_journal()
        self.node.settle(self.now)
        self.node.outputs()
        self.node.take_output(connection)

    def write_journal(self) -> None:
        """A disk that is never slow."""
        batch = self.node.take_batch(self.now)
        if batch is not None:
            self.node.journal_synced(batch.position)

    def acks(self) -> bytes:
        """The frames that settle the next read's messages."""
        first, self.delivered = self.delivered + 1, self.delivered + READ_MESSAGES
        tags = range(first + self.ack_every - 1, self.delivered + 1, self.ack_every)
        multiple = int(self.ack_every > 1)
        return b"".join(
            struct.pack(">BHIHHQBB", 1, 1, 13, 60, 80, tag, multiple, 0xCE) for tag in tags
        )

    def run(self, reads: int) -> dict[str, float]:
        """Microseconds a message, by step."""
        spent = dict.fromkeys(TIMED, 0.0)
        clock = time.perf_counter
        node = self.node
        for _ in range(reads):
            acks = self.acks() if self.ack_every else b""
            # The settled ranges of the read before are due.
            self.now += 1.0
            started = clock()
            commands_found = self.parser.receive(self.reads)
            parsed = clock()
            assert len(commands_found) == READ_MESSAGES
            del commands_found
            resumed = clock()
            node.client_received(PUBLISHER, self.reads, self.now)
            received = clock()
            spent["parse"] += parsed - started
            spent["receive"] += received - resumed
            self.deliver(spent)
            started = clock()
            self.write_journal()
            written = clock()
            spent["journal"] += written - started
            # Confirms.
            self.deliver(spent)
            if acks:
                started = clock()
                node.client_received(CONSUMER, acks, self.now)
                spent["ack"] += clock() - started
                self.deliver(spent)
        assert self.output_bytes > reads * READ_MESSAGES * self.size, "not all was delivered"
        self.output_bytes = 0
        return {step: seconds / (reads * READ_MESSAGES) * 1e6 for step, seconds in spent.items()}

    def deliver(self, spent: dict[str, float]) -> None:
        """Turns until there is nothing left to do."""
        clock = time.perf_counter
        node = self.node
        while True:
            started = clock()
            node.settle(self.now)
            settled = clock()
            pieces = [piece for each in node.outputs() for piece in node.take_output(each)]
            spent["output"] += clock() - settled
            spent["deliver"] += settled - started
            self.output_bytes += sum(map(len, pieces))
            if not node.has_work():
                return


def build() -> str:
    """Whether the modules under test are compiled."""
    return "interpreted" if (errors.__file__ or "").endswith(".py") else "compiled"


def measure(reads: int, rounds: int) -> dict[str, dict[int, dict[str, float]]]:
    """The best round of every case, by kind and size of message."""
    found: dict[str, dict[int, dict[str, float]]] = {}
    for kind, ack_every, durable in KINDS:
        found[kind] = {}
        for size in SIZES:
            case = Case(size, ack_every, durable)
            case.run(1)
            tries = [case.run(reads) for _ in range(rounds)]
            best = {step: min(each[step] for each in tries) for step in TIMED}
            beyond = best["receive"] - best["parse"]
            whole = sum(best.values()) - best["parse"]
            steps = best | {"route and enqueue": beyond, "all": whole}
            found[kind][size] = {step: steps[step] for step in STEPS}
    return found


def run_interpreted(arguments: list[str]) -> int:
    """This program again, with a copy of the package that has no compiled modules."""
    package = Path(amqbroker.__file__).parent
    with tempfile.TemporaryDirectory(prefix="amqbroker-bench-") as folder:
        ignored = shutil.ignore_patterns("*.so", "*.pyd", "__pycache__")
        shutil.copytree(package, Path(folder, package.name), ignore=ignored)
        path = os.pathsep.join(filter(None, (folder, os.environ.get("PYTHONPATH", ""))))
        again = [sys.executable, __file__, *(a for a in arguments if a != "--interpreted")]
        return subprocess.run(again, env=os.environ | {"PYTHONPATH": path}, check=False).returncode


def main() -> int:
    """Print a table, or JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--interpreted", action="store_true", help="without compiled modules")
    parser.add_argument("--reads", type=int, default=40, help="reads of 500 messages a round")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", action="store_true", help="print JSON, not a table")
    options = parser.parse_args()
    if options.interpreted and build() == "compiled":
        return run_interpreted(sys.argv[1:])
    # As the server does, or it is Python's and glibc's defaults that are measured.
    gc.set_threshold(*GC_THRESHOLDS)
    keep_freed_memory()
    found = measure(options.reads, options.rounds)
    if options.json:
        print(json.dumps({"build": build(), "step_us": found}))
        return 0
    print(f"µs a message, {build()}, on {machine_line()}\n")
    heads = ["100 B / 1 KiB", *STEPS]
    rows = [
        [kind, *(" / ".join(f"{by_size[size][step]:.2f}" for size in SIZES) for step in heads[1:])]
        for kind, by_size in found.items()
    ]
    print(table(heads, rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
