#!/usr/bin/env python3
"""Measure a broker with a backlog, with idle connections, and through a crash.

    run_backlog.py rabbitmq=127.0.0.1:5673 --start 'node/start.sh' --runs 3

W9  backlog      publish a million persistent 100-byte messages with confirms to a durable queue
                 that nobody consumes; then drain it with auto-ack. Rates, processor time per
                 message, memory.
W10 connections  open a thousand connections with a channel each, one after another, and hold them.
                 On a broker started afresh, as memory per connection means little otherwise.
W11 restart      kill -9 the broker with that backlog on disk, start it, and take the time until the
                 first message can be got; then check that not one confirmed message is missing.

--start is a shell command that starts the broker, in the foreground or not. The broker's processes
are found by their listening port. THE BROKER IS KILLED: give this one a broker of its own.
"""

import argparse
import contextlib
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import time
from pathlib import Path

import run_workloads
from run_workloads import Endpoint, Noise, listeners, wait_for_calm

QUEUE = ["--durable", "--prefix", "backlog"]
BACKLOG = [*QUEUE, "--persistent", "--size", "100", "--confirms", "1000"]


def accepts(endpoint):
    try:
        socket.create_connection(
            (endpoint.address.rpartition(":")[0], endpoint.port), timeout=1
        ).close()
        return True
    except OSError:
        return False


def start(options):
    """Starts the broker; returns when it was told to, on the monotonic clock, in seconds."""
    begun = time.monotonic()
    options.started.append(
        subprocess.Popen(
            options.start,
            shell=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    )
    return begun


def wait_until(condition, seconds=300):
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            sys.exit(f"waited {seconds} seconds in vain")
        time.sleep(0.02)


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def kill(options):
    """kill -9 the processes that listen on the broker's port, and whatever they had started."""
    pids = listeners(options.endpoint.port)
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not any(alive(pid) for pid in pids), 60)
    for process in options.started:
        process.poll()
    return pids


def process_age(pid):
    """When a process started, on the monotonic clock, in seconds.

    On a machine that was never suspended.
    """
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[19]) / os.sysconf("SC_CLK_TCK")


def rss_mib(pids):
    kib = 0
    for pid in pids:
        try:
            lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        except OSError:
            continue
        kib += sum(int(line.split()[1]) for line in lines if line.startswith("VmRSS:"))
    return kib / 1024


def amqload(options, *extra):
    pids = listeners(options.endpoint.port)
    line = [
        str(options.amqload),
        "--uri",
        options.endpoint.address,
        "--user",
        options.user,
        "--pass",
        options.password,
        "--vhost",
        options.vhost,
        "--timeout",
        "120",
        "--drain-timeout",
        "30",
        *extra,
    ]
    if pids:
        line += ["--pid", ",".join(map(str, pids[:64]))]
    noise = Noise(pids)
    done = subprocess.run(line, capture_output=True, text=True)
    share = noise.share()
    try:
        result = json.loads(done.stdout)
    except ValueError:
        result = {"error": done.stderr.strip()}
    if done.returncode:
        sys.exit(
            f"{' '.join(line)}: exit status {done.returncode}: {result.get('error') or done.stdout}"
        )
    return result | {"noise": share, "command": line}


def calm(options):
    wait_for_calm(options.max_noise, options.patience)


def publish(options):
    calm(options)
    result = amqload(options, "--mode", "publish", *BACKLOG, "--count", str(options.count))
    if result["queued_after"] != options.count:
        sys.exit(f"the queue holds {result['queued_after']} messages, not {options.count}")
    return result


def drain(options):
    result = amqload(options, "--mode", "drain", *QUEUE, "--delete")
    if result["queues"][0]["gaps"] or result["consumed"] != options.count:
        sys.exit(f"messages are missing: {result}")
    return result


def backlog(options):
    published = publish(options)
    pids = listeners(options.endpoint.port)
    after = rss_mib(pids)
    time.sleep(5)
    settled = rss_mib(pids)
    calm(options)
    drained = drain(options)
    return {
        "publish_rate": published["publish_rate"],
        "publish_cpu_us": published["broker_cpu_us_per_message"],
        "confirm_p50_ms": published["confirm_latency_us"]["p50"] / 1e3,
        "confirm_p99_ms": published["confirm_latency_us"]["p99"] / 1e3,
        "blocked_seconds": published["blocked_seconds"],
        "rss_mib_after_publish": after,
        "rss_mib_5s_later": settled,
        "drain_rate": drained["consume_rate"],
        "drain_cpu_us": drained["broker_cpu_us_per_message"],
        "rss_mib_after_drain": rss_mib(pids),
        "publish_noise": published["noise"],
        "drain_noise": drained["noise"],
    }


def connections(options):
    kill(options)
    start(options)
    wait_until(lambda: accepts(options.endpoint))
    time.sleep(3)
    calm(options)
    result = amqload(
        options, "--mode", "idle", "--connections", str(options.connections), "--seconds", "10"
    )
    return {
        key: result[key]
        for key in (
            "open_seconds",
            "opens_per_second",
            "broker_cpu_ms_per_open",
            "rss_before_kib",
            "rss_open_kib",
            "rss_held_kib",
            "rss_open_kib_per_connection",
            "rss_held_kib_per_connection",
            "held_cpu_percent",
            "close_seconds",
            "noise",
        )
    }


def restart(options):
    published = publish(options)
    kill(options)
    wait_until(lambda: not accepts(options.endpoint), 10)
    time.sleep(1)
    calm(options)
    noise = Noise([])
    begun = start(options)
    probe = amqload(options, "--mode", "probe", *QUEUE)
    pids = listeners(options.endpoint.port)
    broker_begun = min(process_age(pid) for pid in pids) if pids else begun
    wall, busy, *_ = (b - a for a, b in zip(noise.before, noise.read(), strict=True))
    broker_cpu, rss = run_workloads.cpu_seconds(pids), rss_mib(pids)
    calm(options)
    drained = drain(options)
    message = probe["message_ns"] / 1e9
    return {
        "published": published["published"],
        "seconds_from_command": message - begun,
        "seconds_from_broker_process": message - broker_begun,
        "seconds_to_connect": probe["connected_ns"] / 1e9 - begun,
        "broker_cpu_seconds": broker_cpu,
        "noise": (busy - broker_cpu) / wall / os.cpu_count(),
        "rss_mib_after_restart": rss,
        "messages_recovered": drained["consumed"],
        "redelivered": drained["redelivered"],
        "drain_rate_after_restart": drained["consume_rate"],
    }


MEASURES = {"W9": backlog, "W10": connections, "W11": restart}


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("endpoint", type=Endpoint, metavar="[NAME=]HOST:PORT")
    parser.add_argument("--start", required=True, help="the shell command that starts the broker")
    parser.add_argument(
        "--workloads", default=",".join(MEASURES), help="a comma-separated choice of %(default)s"
    )
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument(
        "--count", type=int, default=1_000_000, help="messages in the backlog (%(default)s)"
    )
    parser.add_argument("--connections", type=int, default=1000)
    parser.add_argument("--max-noise", type=float, default=0.05)
    parser.add_argument(
        "--patience", type=float, default=60, help="seconds to wait for calm before each part"
    )
    parser.add_argument("--user", default="guest")
    parser.add_argument("--pass", dest="password", default="guest")
    parser.add_argument("--vhost", default="/")
    parser.add_argument("--amqload", type=Path, default=run_workloads.HERE / "amqload")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    options.started = []
    run_workloads.build(options.amqload)
    if not accepts(options.endpoint):
        start(options)
        wait_until(lambda: accepts(options.endpoint))
        time.sleep(3)

    results = {}
    for workload in options.workloads.split(","):
        runs = []
        for _ in range(options.runs):
            runs.append(MEASURES[workload](options))
            print(workload, json.dumps(runs[-1]), file=sys.stderr, flush=True)
        results[workload] = runs
    print("| workload | measure | median | min | max |\n|---|---|---|---|---|")
    for workload, runs in results.items():
        for key in runs[0]:
            values = [run[key] for run in runs]
            print(
                f"| {workload} | {key} | {statistics.median(values):,.2f} | "
                f"{min(values):,.2f} | {max(values):,.2f} |"
            )
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
