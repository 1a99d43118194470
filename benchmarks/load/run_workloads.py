#!/usr/bin/env python3
"""Run named workloads with amqload against one broker, or against two side by side.

    run_workloads.py rabbitmq=127.0.0.1:5673
    run_workloads.py rabbitmq=127.0.0.1:5673 ours=127.0.0.1:5672 --runs 5 --json results.json

With two endpoints the runs alternate A B A B, and every pair yields a ratio B/A, so that a machine
that slows down or speeds up for a while does not favour either.

Others may use the machine too, so each run is judged by its noise: the share of the machine's
processor time that went to anything but the broker and the load generator. A pair with too much
noise is run again, a few times at most; the quietest pairs are the ones reported, with the noise
they had. (Both brokers should be idle while the other is measured: what an idle one uses counts as
noise.)

The brokers' processes are found by their listening ports, to measure processor time per message,
which depends far less on what else the machine does than rates do.

amqload is looked for beside this script, and built from amqload.c if need be.
"""

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
DURABLE_1K = ["--durable", "--persistent", "--size", "1024", "--prefetch", "250"]

# name: (what it is, amqload options, the measure to compare, whether more is better)
WORKLOADS = {
    "W1": ("transient 100 B, auto-ack", [], "consume_rate", True),
    "W2": (
        "transient 100 B, ack multi:100, prefetch 500",
        ["--ack", "multi:100", "--prefetch", "500"],
        "consume_rate",
        True,
    ),
    "W3": (
        "durable 1 KiB, confirms 500, ack multi:50",
        [*DURABLE_1K, "--confirms", "500", "--ack", "multi:50"],
        "consume_rate",
        True,
    ),
    "W4": (
        "durable 1 KiB, confirms 100, ack each",
        [*DURABLE_1K, "--confirms", "100", "--ack", "each"],
        "consume_rate",
        True,
    ),
    "W5": (
        "fanout to 10 queues, 100 B, auto-ack",
        ["--exchange", "fanout", "--queues", "10", "--consumers", "10"],
        "consume_rate",
        True,
    ),
    "W6": (
        "10 producers, queues, consumers; durable 1 KiB, confirms 500, ack multi:50",
        [
            *DURABLE_1K,
            "--confirms",
            "500",
            "--ack",
            "multi:50",
            "--producers",
            "10",
            "--queues",
            "10",
            "--consumers",
            "10",
        ],
        "consume_rate",
        True,
    ),
    "W7": (
        "latency at 1000/s, durable 1 KiB, confirms 500, ack each",
        [*DURABLE_1K, "--confirms", "500", "--ack", "each", "--rate", "1000"],
        "latency_us.p50",
        False,
    ),
    "W8": ("transient 64 KiB, auto-ack", ["--size", "65536"], "consume_MBps", True),
}
SHOWN = [
    "publish_rate",
    "consume_rate",
    "consume_MBps",
    "latency_us.p50",
    "latency_us.p95",
    "latency_us.p99",
    "confirm_latency_us.p50",
    "confirm_latency_us.p99",
    "broker_cpu_us_per_message",
    "broker_busy",
    "client_busy",
    "broker_rss_kib",
    "noise",
]


# ---------------------------------------------------------------- /proc


def listeners(port):
    """The processes that listen on a TCP port, and their descendants."""
    inodes = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            lines = Path(table).read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            if fields[3] == "0A" and int(fields[1].rpartition(":")[2], 16) == port:
                inodes.add(f"socket:[{fields[9]}]")
    found, parents = set(), {}
    for process in Path("/proc").iterdir():
        if not process.name.isdigit():
            continue
        pid = int(process.name)
        try:
            parents[pid] = int((process / "stat").read_text().rpartition(")")[2].split()[1])
            if any(os.readlink(fd) in inodes for fd in (process / "fd").iterdir()):
                found.add(pid)
        except OSError:
            continue
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return sorted(found)


def busy_seconds():
    """Processor seconds the machine has spent on anything, or lost to other machines on its host.

    Interrupts count, as the kernel (with tick accounting, the usual) charges them to the processes
    they interrupt too: without them the noise would come out too low by what the network stack
    uses, some 2 to 9 %.
    """
    fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()
    user, nice, system, irq, softirq, steal = (int(fields[i]) for i in (1, 2, 3, 6, 7, 8))
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def cpu_seconds(pids):
    ticks = 0
    for pid in pids:
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def children_cpu_seconds():
    use = resource.getrusage(resource.RUSAGE_CHILDREN)
    return use.ru_utime + use.ru_stime


class Noise:
    """What share of the machine went to others than the given processes and our children."""

    def __init__(self, pids):
        self.pids = pids
        self.before = self.read()

    def read(self):
        return time.monotonic(), busy_seconds(), cpu_seconds(self.pids), children_cpu_seconds()

    def share(self):
        wall, busy, broker, children = (
            after - before for before, after in zip(self.before, self.read(), strict=True)
        )
        return (busy - broker - children) / (
            wall * os.cpu_count()
        )  # not clamped: well below 0 is a fault


def wait_for_calm(limit, patience):
    """Waits until the machine has been quiet for a second, at most `patience` seconds.

    Returns the seconds waited.
    """
    start = time.monotonic()
    while (waited := time.monotonic() - start) < patience:
        noise = Noise([])
        time.sleep(1)
        if noise.share() <= limit:
            break
    return waited


# ---------------------------------------------------------------- runs


class Endpoint:
    def __init__(self, text):
        self.name, equals, self.address = text.rpartition("=")
        if not equals:
            self.name = self.address
        host, colon, port = self.address.rpartition(":")
        if not (host and colon and port.isdigit()):
            raise argparse.ArgumentTypeError(f"not [NAME=]HOST:PORT: {text}")
        self.port = int(port)


def build(amqload):
    source = HERE / "amqload.c"
    if not amqload.exists() or (
        source.exists() and source.stat().st_mtime > amqload.stat().st_mtime
    ):
        subprocess.run(
            ["gcc", "-O2", "-std=gnu11", "-Wall", "-Wextra", "-o", amqload, source], check=True
        )


def command(options, endpoint, workload):
    extra = WORKLOADS[workload][1]
    return [
        str(options.amqload),
        "--uri",
        endpoint.address,
        "--user",
        options.user,
        "--pass",
        options.password,
        "--vhost",
        options.vhost,
        "--seconds",
        f"{options.seconds:g}",
        "--warmup",
        f"{options.warmup:g}",
        *extra,
    ]


def run_once(options, endpoint, workload):
    pids = listeners(endpoint.port)
    line = command(options, endpoint, workload)
    if pids:
        line += ["--pid", ",".join(map(str, pids[:64]))]
    noise = Noise(pids)
    done = subprocess.run(line, capture_output=True, text=True)
    share = noise.share()
    try:
        result = json.loads(done.stdout)
    except ValueError:
        result = {"error": done.stderr.strip() or f"exit status {done.returncode}"}
    if done.returncode and "error" not in result:
        result["error"] = ", ".join(
            f"{result[key]} {key}"
            for key in ("lost", "duplicated", "out_of_order", "corrupt", "confirm_errors")
            if result[key]
        )
    result["exit_status"] = done.returncode
    result["noise"] = share
    return result


def measure(options, workload):
    """The quietest pairs (or single runs, with one endpoint) out of all that were tried.

    In the order they were run.
    """
    pairs = []
    budget = options.patience
    while len(pairs) < options.runs + options.retries:
        quiet = sum(max(run["noise"] for run in pair) <= options.max_noise for pair in pairs)
        if quiet >= options.runs:
            break
        pair = []
        for endpoint in options.endpoints:
            budget -= wait_for_calm(options.max_noise, max(0, min(budget, 60)))
            run = run_once(options, endpoint, workload)
            pair.append(run)
            main = get(run, WORKLOADS[workload][2])
            print(
                f"  {workload} {endpoint.name}: {run.get('error') or f'{main:,.1f}'}  "
                f"cpu/msg {run.get('broker_cpu_us_per_message', 0):.1f} us  "
                f"noise {run['noise']:.0%}",
                file=sys.stderr,
                flush=True,
            )
        pairs.append(pair)
    kept = sorted(
        sorted(range(len(pairs)), key=lambda i: max(run["noise"] for run in pairs[i]))[
            : options.runs
        ]
    )
    return [pairs[i] for i in kept]


# ---------------------------------------------------------------- results


def get(run, path):
    value = run
    for key in path.split("."):
        value = value.get(key) if isinstance(value, dict) else None
    return value


def summary(runs, path):
    values = [value for run in runs if (value := get(run, path)) is not None]
    if not values:
        return None
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def ratios(pairs, path):
    return [get(b, path) / get(a, path) for a, b in pairs if get(a, path) and get(b, path)]


def summarize(options, workload, pairs):
    title, _extra, main, more_is_better = WORKLOADS[workload]
    result = {"title": title, "main": main, "more_is_better": more_is_better, "endpoints": {}}
    for i, endpoint in enumerate(options.endpoints):
        runs = [pair[i] for pair in pairs]
        result["endpoints"][endpoint.name] = {
            "command": command(options, endpoint, workload),
            "errors": [run["error"] for run in runs if "error" in run],
            "summary": {path: found for path in SHOWN if (found := summary(runs, path))},
            "runs": runs,
        }
    if len(options.endpoints) == 2:
        result["ratios"] = {
            path: ratios(pairs, path)
            for path in {main, "broker_cpu_us_per_message", "latency_us.p99"}
        }
    return result


def spread(found, form):
    if not found:
        return "-"
    return f"{found['median']:{form}} ({found['min']:{form}}-{found['max']:{form}})"


def table(results, names):
    lines = [
        "| workload | broker | publish msg/s | deliver msg/s | MB/s | p50 ms | p99 ms | "
        "CPU us/msg | broker cores | client cores | noise |",
        "|" + "---|" * 11,
    ]
    for workload, result in results.items():
        for name in names:
            found = result["endpoints"][name]
            s = found["summary"].get
            ms = [
                spread(one and {k: v / 1e3 for k, v in one.items()}, ".2f")
                for one in (s("latency_us.p50"), s("latency_us.p99"))
            ]
            errors = f" **{found['errors'][0]}**" if found["errors"] else ""
            lines.append(
                "| "
                + " | ".join(
                    [
                        f"{workload} {result['title']}",
                        name + errors,
                        spread(s("publish_rate"), ",.0f"),
                        spread(s("consume_rate"), ",.0f"),
                        spread(s("consume_MBps"), ",.1f"),
                        *ms,
                        spread(s("broker_cpu_us_per_message"), ".1f"),
                        spread(s("broker_busy"), ".2f"),
                        spread(s("client_busy"), ".2f"),
                        spread(s("noise"), ".0%"),
                    ]
                )
                + " |"
            )
    return "\n".join(lines)


def ratio_table(results, a, b):
    lines = [
        f"{b} / {a}, pair by pair:",
        "",
        "| workload | measure | median | pairs | CPU per message, median | pairs |",
        "|" + "---|" * 6,
    ]
    for workload, result in results.items():
        main = result["ratios"][result["main"]]
        cpu = result["ratios"]["broker_cpu_us_per_message"]
        better = "more" if result["more_is_better"] else "less"
        lines.append(
            "| "
            + " | ".join(
                [
                    workload,
                    f"{result['main']} ({better} is better)",
                    *(
                        text
                        for values in (main, cpu)
                        for text in (
                            f"{statistics.median(values):.2f}" if values else "-",
                            " ".join(f"{v:.2f}" for v in values),
                        )
                    ),
                ]
            )
            + " |"
        )
    return "\n".join(lines)


def parse_options():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("endpoints", nargs="+", type=Endpoint, metavar="[NAME=]HOST:PORT")
    add_options(parser)
    parser.add_argument("--user", default="guest")
    parser.add_argument("--pass", dest="password", default="guest")
    parser.add_argument("--vhost", default="/")
    parser.add_argument("--amqload", type=Path, default=HERE / "amqload")
    parser.add_argument("--json", type=Path, help="write all results to this file")
    options = parser.parse_args()
    if len(options.endpoints) > 2:
        parser.error("one endpoint, or two to compare")
    if len({endpoint.name for endpoint in options.endpoints}) < len(options.endpoints):
        parser.error("the endpoints need different names")
    if unknown := set(options.workloads.split(",")) - set(WORKLOADS):
        parser.error(f"no such workload: {', '.join(sorted(unknown))}")
    return options


def add_options(parser):
    """The options that say what is run, and how often."""
    parser.add_argument(
        "--workloads", default=",".join(WORKLOADS), help="a comma-separated choice of %(default)s"
    )
    parser.add_argument(
        "--runs", type=int, default=3, help="runs (pairs of runs) of each workload (%(default)s)"
    )
    parser.add_argument(
        "--seconds", type=float, default=8, help="measured time of each run (%(default)s)"
    )
    parser.add_argument(
        "--warmup", type=float, default=2, help="time before it that does not count (%(default)s)"
    )
    parser.add_argument(
        "--max-noise",
        type=float,
        default=0.05,
        help="share of the machine others may use (%(default)s)",
    )
    parser.add_argument(
        "--retries",
        type=int,
        default=4,
        help="extra runs of a workload, for noisy ones (%(default)s)",
    )
    parser.add_argument(
        "--patience",
        type=float,
        default=120,
        help="seconds to wait for calm, per workload (%(default)s)",
    )


def machine():
    """Where the figures come from."""
    model = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    return {
        "when": time.strftime("%Y-%m-%d %H:%M:%S %z"),
        "system": platform.platform(),
        "processors": os.cpu_count(),
        "model": model[0] if model else "",
    }


def main():
    options = parse_options()
    names = [endpoint.name for endpoint in options.endpoints]
    build(options.amqload)
    results = {}
    for workload in options.workloads.split(","):
        print(f"{workload}: {WORKLOADS[workload][0]}", file=sys.stderr, flush=True)
        results[workload] = summarize(options, workload, measure(options, workload))
    print(table(results, names))
    if len(names) == 2:
        print("\n" + ratio_table(results, *names))
    if options.json:
        how = {key: getattr(options, key) for key in ("runs", "seconds", "warmup", "max_noise")}
        found = machine() | how | {"workloads": results}
        options.json.write_text(json.dumps(found, indent=1) + "\n")
    failed = any(
        found["errors"] for result in results.values() for found in result["endpoints"].values()
    )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
