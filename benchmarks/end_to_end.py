"""What a message costs the broker through real sockets, and what it takes to arrive.

    python benchmarks/end_to_end.py                                     all workloads
    python benchmarks/end_to_end.py --workloads W1,W7 --runs 5
    python benchmarks/end_to_end.py --beside rabbitmq=127.0.0.1:5673    in turns with another broker

Starts the installed broker on a free port, afresh for each workload, and loads it with amqload,
which is built for the occasion and checks that no message is lost, repeated or out of order. A row
holds medians. "CPU" is the broker's processor time, user and system, for each message delivered (a
fanout to ten queues delivers ten): it is the figure to compare, as rates and latencies depend on
what else the machine does. "noise" is the share of the machine that others used meanwhile; noisy
runs are repeated a few times. At full speed latency is the length of the queue; W7 is the workload
that measures it.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from _broker import Broker, Installed, build_amqload, machine_line, median, parser_of, table
from load import run_workloads
from load.run_workloads import WORKLOADS, Endpoint

# Column, path in amqload's result, what to multiply with, format.
COLUMNS = (
    ("CPU µs/msg", "broker_cpu_us_per_message", 1.0, ".2f"),
    ("published/s", "publish_rate", 1.0, ",.0f"),
    ("delivered/s", "consume_rate", 1.0, ",.0f"),
    ("p50 ms", "latency_us.p50", 1e-3, ".3f"),
    ("p99 ms", "latency_us.p99", 1e-3, ".3f"),
    ("confirm p50 ms", "confirm_latency_us.p50", 1e-3, ".3f"),
    ("confirm p99 ms", "confirm_latency_us.p99", 1e-3, ".3f"),
    ("RSS MiB", "broker_rss_kib", 1 / 1024, ".0f"),
    ("noise %", "noise", 100.0, ".0f"),
)

Result = dict[str, Any]


def parse_options(arguments: list[str]) -> argparse.Namespace:
    """The command line."""
    parser = parser_of(__doc__)
    run_workloads.add_options(parser)
    parser.set_defaults(seconds=5.0, warmup=1.0, retries=2, patience=30.0)
    parser.add_argument(
        "--beside",
        action="append",
        default=[],
        type=Endpoint,
        metavar="NAME=HOST:PORT",
        help="another broker that runs already, to be measured in turns (may be repeated)",
    )
    parser.add_argument("--user", default="guest", help="login for all brokers (%(default)s)")
    parser.add_argument("--pass", dest="password", default="guest")
    parser.add_argument("--vhost", default="/")
    options = parser.parse_args(arguments)
    if unknown := set(options.workloads.split(",")) - set(WORKLOADS):
        parser.error(f"no such workload: {', '.join(sorted(unknown))}")
    return options


def measure(
    options: argparse.Namespace, installed: Installed, folder: Path, workload: str
) -> dict[str, list[Result]]:
    """The runs of one workload, by broker."""
    home = folder / workload
    home.mkdir()
    with Broker(installed, home) as broker:
        own = Endpoint(f"amqbroker={broker.address}")
        options.endpoints = [own, *options.beside]
        print(f"{workload}: {WORKLOADS[workload][0]}", file=sys.stderr, flush=True)
        rounds = run_workloads.measure(options, workload)
    return {
        endpoint.name: [each[number] for each in rounds]
        for number, endpoint in enumerate(options.endpoints)
    }


def row(workload: str, broker: str, runs: list[Result]) -> list[str]:
    """One line of the table."""
    cells = [workload, broker]
    for _, path, scale, form in COLUMNS:
        values = [value for run in runs if (value := run_workloads.get(run, path)) is not None]
        cells.append(f"{median(values) * scale:{form}}" if values else "-")
    return cells


def main(arguments: list[str] | None = None) -> int:
    """Measure and report; 1 if a broker lost a message or refused something."""
    options = parse_options(sys.argv[1:] if arguments is None else arguments)
    installed = Installed(options.python)
    results: dict[str, dict[str, list[Result]]] = {}
    with tempfile.TemporaryDirectory(prefix="amqbroker-bench-") as name:
        folder = Path(name)
        options.amqload = build_amqload(folder)
        for workload in options.workloads.split(","):
            results[workload] = measure(options, installed, folder, workload)
    errors = [
        f"{workload}, {broker}: {run['error']}"
        for workload, brokers in results.items()
        for broker, runs in brokers.items()
        for run in runs
        if "error" in run
    ]
    if options.json:
        how = {"broker": str(installed), "runs": options.runs, "seconds": options.seconds}
        print(json.dumps(run_workloads.machine() | how | {"workloads": results}, indent=1))
    else:
        print(f"{installed} on {machine_line()}; medians of {options.runs} runs\n")
        heads = ["", "broker", *(column[0] for column in COLUMNS)]
        rows = [row(w, b, runs) for w, brokers in results.items() for b, runs in brokers.items()]
        print(table(heads, rows) + "\n")
        for workload in results:
            print(f"{workload}: {WORKLOADS[workload][0]}")
    for error in errors:
        print(f"FAILED: {error}", file=sys.stderr)
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
