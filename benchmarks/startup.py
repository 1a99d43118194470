"""How long a start takes: to the line that says "ready", and to the first client that is answered.

    python benchmarks/startup.py
    python benchmarks/startup.py --messages 1000000 --runs 3

Starts the installed broker again and again, on an empty folder and on one that holds durable
messages, and takes the time from exec. A client that knocks every millisecond is answered when the
first byte of connection.start has come. "killed" means that the broker before was ended by SIGKILL,
so that the start is a recovery after a crash.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import sys
import tempfile
import time
from pathlib import Path

from _broker import (
    Broker,
    Installed,
    build_amqload,
    machine_line,
    median,
    parser_of,
    run_amqload,
    table,
)
from _client import PROTOCOL_HEADER, Client

KNOCK_S = 0.001
QUEUE_PREFIX = "startup"
# As amqload names its first durable queue.
QUEUE = f"{QUEUE_PREFIX}-d-0"


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def is_answered(port: int) -> bool:
    """Whether a client gets a first byte."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=10.0) as client:
            client.sendall(PROTOCOL_HEADER)
            return client.recv(1) == b"\x01"
    except OSError:
        return False


def start_once(installed: Installed, folder: Path, expected: int, end: int) -> tuple[float, float]:
    """Seconds to the ready line and to the first answer; then check, and end the broker."""
    broker = Broker(installed, folder, free_port())
    ready = answered = 0.0
    try:
        while not (ready and answered):
            if not ready and broker.look_ready():
                ready = broker.ready_at - broker.started_at
            if not answered and is_answered(broker.port):
                answered = time.monotonic() - broker.started_at
            time.sleep(KNOCK_S)
        if expected:
            client = Client(broker.port)
            depth = client.queue_depth(QUEUE)
            client.close()
            if depth != expected:
                sys.exit(f"the queue holds {depth} messages after a start, not {expected}")
        os.kill(broker.pid, end)
    finally:
        broker.stop()
    return ready, answered


def fill(installed: Installed, folder: Path, messages: int, size: int) -> None:
    """Leave durable messages in a folder."""
    options = ["--mode", "publish", "--durable", "--persistent", "--prefix", QUEUE_PREFIX]
    options += ["--confirms", "1000", "--size", str(size), "--count", str(messages)]
    amqload = build_amqload(folder)
    with Broker(installed, folder) as broker:
        run_amqload(amqload, broker.address, *options)


def measure(
    installed: Installed, folder: Path, runs: int, expected: int, end: int
) -> dict[str, float]:
    """Medians of several starts; one more comes first, to bring files into memory."""
    taken = []
    for _ in range(runs + 1 if runs > 1 else 1):
        if not expected:
            shutil.rmtree(folder / "data", ignore_errors=True)
        taken.append(start_once(installed, folder, expected, end))
    return {
        "ready_s": median(ready for ready, _ in taken[-runs:]),
        "answered_s": median(answered for _, answered in taken[-runs:]),
    }


def main() -> int:
    """Measure and report."""
    parser = parser_of(__doc__)
    parser.add_argument("--runs", type=int, default=10, help="starts of each kind (%(default)s)")
    parser.add_argument("--messages", type=int, default=100_000, help="in the folder (%(default)s)")
    parser.add_argument("--size", type=int, default=100, help="bytes of a message (%(default)s)")
    options = parser.parse_args()
    installed = Installed(options.python)
    found: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory(prefix="amqbroker-bench-") as name:
        folder = Path(name)
        found["empty folder"] = measure(installed, folder, options.runs, 0, signal.SIGTERM)
        fill(installed, folder, options.messages, options.size)
        for how, end in (("", signal.SIGTERM), (", killed", signal.SIGKILL)):
            kind = f"{options.messages:,} messages of {options.size} bytes{how}"
            found[kind] = measure(installed, folder, options.runs, options.messages, end)
    if options.json:
        print(json.dumps({"broker": str(installed), "starts": found}))
        return 0
    print(f"{installed} on {machine_line()}, medians of {options.runs} starts\n")
    rows = [
        [kind, f"{each['ready_s']:.3f}", f"{each['answered_s']:.3f}"]
        for kind, each in found.items()
    ]
    print(table(["", "ready line, s", "first client answered, s"], rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
