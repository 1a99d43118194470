"""What the broker accounts for in memory, beside what the process really has.

    python benchmarks/memory.py
    python benchmarks/memory.py --scale 0.1 --json
    python benchmarks/memory.py --only messages

Starts the installed broker for each situation, brings it there, and asks for its status: the
account, resident memory, and how far they are apart. Then everything goes, and it asks again after
the broker has had time to give memory back; messages are half there before, and they go in three
ways: consumed, purged, and with their queues. With one kind of thing only in a broker, the growth
of resident memory divided by their number is what one costs: amqbroker/core/account.py has these.
"""

from __future__ import annotations

import contextlib
import json
import resource
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from _broker import Broker, Installed, machine_line, parser_of, table
from _client import OPEN_STEPS, PROTOCOL_HEADER, Client, method, publish
from pamqp import commands

# Longer than the broker waits before it asks its C library for memory.
SETTLE_S = 13.0
MIB = 1024 * 1024
MESSAGE_QUEUES = 100
COUNT_MIN = 1000


class Situation:
    """A broker, and what clients did to it."""

    def __init__(self, installed: Installed, broker: Broker, folder: Path) -> None:
        self.broker = broker
        self._installed = installed
        self._folder = folder
        self.client = Client(broker.port)
        self.sockets: list[socket.socket] = []

    def status(self) -> dict[str, object]:
        """What `amqbroker status` says."""
        done = subprocess.run(
            [
                *(self._installed.python, "-m", "amqbroker", "status", "--json"),
                *("--data-dir", str(self._folder / "data")),
            ],
            cwd="/",
            env=self._installed.environment,
            capture_output=True,
            text=True,
            check=True,
        )
        found: dict[str, object] = json.loads(done.stdout)
        return found

    def messages(self, count: int, size: int) -> None:
        """So many messages, each of this size, in queues that are too short to go to disk."""
        self.queues(MESSAGE_QUEUES)
        part = count // MESSAGE_QUEUES
        for number in range(MESSAGE_QUEUES):
            frames = publish("", f"queue-{number:06d}", bytes(size), persistent=False)
            self.client._socket.sendall(frames * part)
        self.client.call(commands.Queue.Declare(0, "queue-000000", passive=True))

    def consumed(self) -> None:
        """All messages are delivered."""
        with socket.create_connection(("127.0.0.1", self.broker.port), timeout=60) as consumer:
            self._open(consumer)
            for number in range(MESSAGE_QUEUES):
                name = f"queue-{number:06d}"
                consume = commands.Basic.Consume(0, name, no_ack=True, nowait=True)
                consumer.sendall(method(1, consume))
            while int(str(self.status()["messages_ready"])) > 0:
                # What lies in the socket, and as much as comes within the time of a status.
                consumer.setblocking(False)
                with contextlib.suppress(BlockingIOError):
                    while consumer.recv(1 << 20):
                        pass
                consumer.setblocking(True)

    def purged(self) -> None:
        """All messages are dropped."""
        for number in range(MESSAGE_QUEUES):
            self.client.call(commands.Queue.Purge(0, f"queue-{number:06d}"))

    def queues(self, count: int, *, durable: bool = False) -> None:
        """So many queues."""
        for number in range(count):
            name = f"queue-{number:06d}"
            self.client._socket.sendall(
                method(1, commands.Queue.Declare(0, name, durable=durable, nowait=True))
            )
        self.client.call(commands.Queue.Declare(0, name, passive=True))

    def bindings(self, count: int) -> None:
        """So many bindings of one queue."""
        self.client.call(commands.Queue.Declare(0, "bound"))
        for number in range(count):
            key = f"key.{number:06d}"
            bind = commands.Queue.Bind(0, "bound", "amq.topic", key, nowait=True)
            self.client._socket.sendall(method(1, bind))
        self.client.call(commands.Queue.Declare(0, "bound", passive=True))

    def connections(self, count: int) -> None:
        """So many connections, each with a channel."""
        for _ in range(count):
            one = socket.create_connection(("127.0.0.1", self.broker.port), timeout=60)
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.sockets.append(one)
            self._open(one)

    def _open(self, one: socket.socket) -> None:
        one.sendall(PROTOCOL_HEADER)
        one.recv(4096)
        for channel, value, _answer in OPEN_STEPS:
            one.sendall(method(channel, value))
            if not isinstance(value, commands.Connection.TuneOk):
                one.recv(4096)

    def channels(self, count: int) -> None:
        """So many channels, ten on each connection, each with a consumer."""
        self.client.call(commands.Queue.Declare(0, "consumed"))
        self.connections(count // 10)
        for one in self.sockets:
            for number in range(1, 11):
                if number > 1:
                    one.sendall(method(number, commands.Channel.Open()))
                    one.recv(4096)
                one.sendall(method(number, commands.Basic.Consume(0, "consumed")))
                one.recv(4096)

    def empty(self) -> None:
        """Everything goes."""
        for one in self.sockets:
            one.close()
        self.sockets = []
        for name in ("bound", "consumed"):
            self.client.call(commands.Queue.Delete(0, name))
        count = int(str(self.status()["queues"]))
        for number in range(count):
            name = f"queue-{number:06d}"
            self.client._socket.sendall(method(1, commands.Queue.Delete(0, name, nowait=True)))
        if count:
            self.client.call(commands.Queue.Delete(0, "bound"))


# Its name, what is done, and whether the broker then has time to give memory back.
Step = tuple[str, Callable[[Situation], None], bool]


def measure(
    installed: Installed, what: str, steps: list[Step], settle_s: float
) -> list[dict[str, object]]:
    """One situation, step by step, and what is left of it."""
    found: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory(prefix="amqbroker-bench-") as name:
        folder = Path(name)
        installed.environment["AMQBROKER_MEMORY_QUEUE_BYTES_MAX"] = "8GiB"
        with Broker(installed, folder) as broker:
            situation = Situation(installed, broker, folder)
            before = situation.status()
            for step, act, settles in [*steps, (", all gone", Situation.empty, True)]:
                act(situation)
                if settles:
                    # The broker gives memory back when it measures, once a second.
                    time.sleep(settle_s)
                status = situation.status()
                status["what"] = what + step
                status["grown"] = int(str(status["memory_resident_bytes"])) - int(
                    str(before["memory_resident_bytes"])
                )
                found.append(status)
                print(f"  {status}", file=sys.stderr)
    return found


def situations(scale: float) -> list[tuple[str, list[Step]]]:
    """What is measured, by name, each a share of its full size."""

    def many(count: int) -> int:
        return max(COUNT_MIN, int(count * scale))

    def come_and_go(count: int, size: int) -> list[Step]:
        return [
            (", half of them", lambda s: s.messages(count // 2, size), False),
            ("", lambda s: s.messages(count - count // 2, size), False),
            (", consumed", Situation.consumed, True),
            (", there again", lambda s: s.messages(count, size), False),
            (", purged", Situation.purged, True),
        ]

    def all_at_once(fill: Callable[[Situation], None]) -> list[Step]:
        return [("", fill, False)]

    return [
        (f"{many(1_000_000):,} messages of 100 B", come_and_go(many(1_000_000), 100)),
        (f"{many(100_000):,} messages of 4 KiB", come_and_go(many(100_000), 4096)),
        (f"{many(10_000):,} connections", all_at_once(lambda s: s.connections(many(10_000)))),
        (
            f"{many(10_000):,} channels with consumers",
            all_at_once(lambda s: s.channels(many(10_000))),
        ),
        (f"{many(20_000):,} queues", all_at_once(lambda s: s.queues(many(20_000)))),
        (
            f"{many(20_000):,} durable queues",
            all_at_once(lambda s: s.queues(many(20_000), durable=True)),
        ),
        (f"{many(20_000):,} bindings", all_at_once(lambda s: s.bindings(many(20_000)))),
    ]


def report(found: list[dict[str, object]]) -> str:
    """What was measured, as a table."""
    rows = []
    for each in found:
        accounted = int(str(each["memory_accounted_bytes"]))
        resident = int(str(each["memory_resident_bytes"]))
        parts = each["memory"]
        assert isinstance(parts, dict)
        rows.append(
            (
                str(each["what"]),
                f"{accounted / MIB:,.1f}",
                f"{int(parts['unused']) / MIB:,.1f}",
                f"{resident / MIB:,.1f}",
                f"{(accounted / resident - 1) * 100:+.0f} %",
                f"{int(str(each['grown'])) / MIB:,.1f}",
            )
        )
    return table(
        ("situation", "accounted, MiB", "of it unused", "resident, MiB", "apart", "grown, MiB"),
        rows,
    )


def main() -> int:
    """Measure and report."""
    parser = parser_of(__doc__)
    parser.add_argument("--scale", type=float, default=1.0, help="a share of everything")
    parser.add_argument("--only", default="", help="situations whose names have this")
    parser.add_argument("--settle", type=float, default=SETTLE_S, help="seconds after draining")
    options = parser.parse_args()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, hard), hard))
    installed = Installed(options.python)
    found: list[dict[str, object]] = []
    for what, steps in situations(options.scale):
        if options.only in what:
            print(what, file=sys.stderr)
            found.extend(measure(installed, what, steps, options.settle))
    if options.json:
        print(json.dumps({"broker": str(installed), "situations": found}))
        return 0
    print(f"{installed} on {machine_line()}\n")
    print(report(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
