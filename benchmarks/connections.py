"""Ten thousand connections at once: memory, how fast they open, and whether the others notice.

    python benchmarks/connections.py
    python benchmarks/connections.py --connections 1000 --json

Starts the installed broker, and has amqload open connections with a channel each and hold them.
Before, and while all are open, a client publishes one message after another, each when the one
before was confirmed: transient ones, and persistent ones, which wait for the disk. "CPU" is the
broker's processor time. Each end of each connection is an open file: `ulimit -n` must allow some
more than the number of connections.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from _broker import Broker, Installed, build_amqload, machine_line, parser_of, percentile, table
from _client import Client, publish
from load.run_workloads import cpu_seconds
from pamqp import commands

SPARE_FILES = 100
OPEN_S_MAX = 300.0
SIZE = 1024


def raise_file_limit(connections: int) -> None:
    """For the broker and amqload, which inherit it; ends the program if it cannot be done."""
    wanted = connections + SPARE_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < wanted:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, wanted))
        except (ValueError, PermissionError):
            sys.exit(f"at most {hard} files may be open: try --connections {hard - SPARE_FILES}")
    elif soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def time_confirms(port: int, count: int) -> dict[str, float]:
    """Milliseconds from a publish to its confirm, for a client that waits for each."""
    found: dict[str, float] = {}
    client = Client(port)
    client.call(commands.Confirm.Select())
    for kind, persistent in (("transient", False), ("persistent", True)):
        queue = f"connections-{kind}"
        client.call(commands.Queue.Declare(0, queue, durable=persistent))
        frames = publish("", queue, bytes(SIZE), persistent=persistent)
        client.time_confirms(frames, max(1, count // 10))
        taken = client.time_confirms(frames, count)
        found[f"{kind}_p50_ms"] = percentile(taken, 0.5) * 1e3
        found[f"{kind}_p99_ms"] = percentile(taken, 0.99) * 1e3
        client.call(commands.Queue.Delete(0, queue))
    client.close()
    return found


def hold_connections(
    broker: Broker, amqload: Path, before: int, connections: int, probes: int, hold_s: float
) -> dict[str, float]:
    """Open all, probe while they are open, and close them. `before` were the sockets that the
    broker had without any."""
    line = [str(amqload), "--uri", broker.address, "--mode", "idle", "--pid", str(broker.pid)]
    line += ["--connections", str(connections), "--seconds", f"{hold_s:g}"]
    with subprocess.Popen(line, stdout=subprocess.PIPE, text=True) as load:
        deadline = time.monotonic() + OPEN_S_MAX
        while broker.open_sockets() < before + connections:
            if load.poll() is not None or time.monotonic() > deadline:
                sys.exit(f"the connections did not open: {load.communicate()[0]}")
            time.sleep(0.2)
        # amqload has its figures of the opening before anybody else asks for something.
        time.sleep(0.2)
        probe = time_confirms(broker.port, probes)
        if broker.open_sockets() < before + connections:
            sys.exit(f"connections were closed during the measurement: more than --hold {hold_s:g}")
        cpu_before, started = cpu_seconds([broker.pid]), time.monotonic()
        time.sleep(min(1.0, hold_s / 4))
        idle = (cpu_seconds([broker.pid]) - cpu_before) / (time.monotonic() - started)
        printed = load.communicate(timeout=OPEN_S_MAX)[0]
    found: dict[str, float] = json.loads(printed)
    if load.returncode:
        sys.exit(f"amqload: {printed}")
    opened = ("opens_per_second", "broker_cpu_ms_per_open", "rss_open_kib_per_connection")
    return {
        **{key: found[key] for key in opened},
        "rss_before_mib": found["rss_before_kib"] / 1024,
        "rss_open_mib": found["rss_open_kib"] / 1024,
        "idle_cpu_percent": idle * 100,
        **{f"held_{key}": value for key, value in probe.items()},
    }


def main() -> int:
    """Measure and report."""
    parser = parser_of(__doc__)
    parser.add_argument("--connections", type=int, default=10_000)
    parser.add_argument("--probes", type=int, default=2000, help="confirmed publishes of each kind")
    parser.add_argument("--hold", type=float, default=20.0, help="seconds to hold the connections")
    options = parser.parse_args()
    raise_file_limit(options.connections)
    installed = Installed(options.python)
    with tempfile.TemporaryDirectory(prefix="amqbroker-bench-") as name:
        folder = Path(name)
        amqload = build_amqload(folder)
        with Broker(installed, folder) as broker:
            before = broker.open_sockets()
            alone = time_confirms(broker.port, options.probes)
            found = {f"alone_{key}": value for key, value in alone.items()} | hold_connections(
                broker, amqload, before, options.connections, options.probes, options.hold
            )
    if options.json:
        print(json.dumps({"broker": str(installed), "connections": options.connections} | found))
        return 0
    print(f"{installed} on {machine_line()}, {options.connections:,} connections\n")
    memory = f"{found['rss_before_mib']:.0f}, {found['rss_open_mib']:.0f}"
    rows = [
        ["opened a second", f"{found['opens_per_second']:,.0f}"],
        ["CPU of an open, ms", f"{found['broker_cpu_ms_per_open']:.3f}"],
        ["resident memory a connection, KiB", f"{found['rss_open_kib_per_connection']:.1f}"],
        ["resident memory before, all open, MiB", memory],
        ["CPU with all idle, %", f"{found['idle_cpu_percent']:.1f}"],
    ]
    for kind in ("transient", "persistent"):
        for moment, prefix in (("alone", "alone"), ("all open", "held")):
            p50, p99 = (found[f"{prefix}_{kind}_{which}_ms"] for which in ("p50", "p99"))
            label = f"{kind} publish to confirm, {moment}: p50, p99, ms"
            rows.append([label, f"{p50:.3f}, {p99:.3f}"])
    print(table(["", "figure"], rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
