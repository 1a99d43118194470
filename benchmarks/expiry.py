"""A backlog on disk under rules: what it costs to hold, a restart, and the time it takes to go.

    python -m benchmarks.expiry --messages 10000000 --ttl 120
    python -m benchmarks.expiry --messages 10000000 --ttl 120 --priorities 10 --max-length 10000000
    python -m benchmarks.expiry --messages 10000000 --ttl 120 --dead-letter
    python -m benchmarks.expiry --messages 10000000 --ttl 0 --policy '{"max-length": 10}'

Fills one durable queue, in which messages live for `--ttl` seconds (0: for ever), have
`--priorities` in turns, and of which there are at most `--max-length`; then kills the broker and
starts it again. `restart`: the time from the start of the process to the first delivery.

`expired`: it is killed once more and started when everything has expired; how long it took until
the queue was empty, without a consumer, and how long a publish and a purge on another queue took
meanwhile. With `--policy` the queue gets this policy instead: `policy` says how long it took until
no more than its max-length was left. With `--read` the queue has a dead-letter exchange that does
not exist, so that every message must be read; with `--dead-letter` all of them go to a third queue.
"""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from pamqp import commands, frame, header

from benchmarks.paging import Broker, Client, Publisher, disk_mib, show

QUEUE, OTHER, DEAD = "expiring", "other", "dead"


def arguments_of(arguments: argparse.Namespace) -> dict[str, object]:
    """What the queue is declared with."""
    table: dict[str, object] = {}
    if arguments.ttl:
        table["x-message-ttl"] = arguments.ttl * 1000
    if arguments.priorities:
        table["x-max-priority"] = arguments.priorities - 1
    if arguments.max_length:
        table["x-max-length"] = arguments.max_length
    if arguments.read:
        table["x-dead-letter-exchange"] = "nowhere"
    if arguments.dead_letter:
        table["x-dead-letter-exchange"] = ""
        table["x-dead-letter-routing-key"] = DEAD
    return table


def fill(broker: Broker, folder: Path, arguments: argparse.Namespace) -> None:
    """All messages."""
    client = broker.client()
    table = arguments_of(arguments)
    declare = commands.Queue.Declare(queue=QUEUE, durable=True, arguments=table)  # type: ignore[arg-type]
    client.call(declare, commands.Queue.DeclareOk)
    for name in (OTHER, DEAD):
        client.call(commands.Queue.Declare(queue=name, durable=True), commands.Queue.DeclareOk)
    publisher = Publisher(client, arguments.body, True, max(arguments.priorities, 1))
    start, processor = time.monotonic(), broker.processor_s()
    publisher.publish(QUEUE, 0, arguments.messages)
    took = time.monotonic() - start
    show(
        "publish",
        messages=arguments.messages,
        rate=round(arguments.messages / took),
        processor_us=round((broker.processor_s() - processor) / arguments.messages * 1e6, 2),
        memory_mib=round(broker.memory_mib(), 1),
        disk_mib=round(disk_mib(folder), 1),
    )
    client.close()


def ready(client: Client, queue: str) -> int:
    """How many messages wait."""
    ok = client.call(commands.Queue.Declare(queue=queue, passive=True), commands.Queue.DeclareOk)
    assert isinstance(ok, commands.Queue.DeclareOk)
    return ok.message_count or 0


def round_trip(client: Client) -> float:
    """Seconds for one message into the other queue and out of it."""
    start = time.monotonic()
    content = header.ContentHeader(0, 1, commands.Basic.Properties())
    client.send(1, commands.Basic.Publish(exchange="", routing_key=OTHER))
    client.socket.sendall(frame.marshal(content, 1) + b"\3\0\1\0\0\0\1x\xce")
    client.call(commands.Queue.Purge(queue=OTHER), commands.Queue.PurgeOk)
    return time.monotonic() - start


def first_delivery(broker: Broker, folder: Path, arguments: argparse.Namespace) -> Broker:
    """Kill it, start it, and wait for a delivery."""
    broker.end(signal.SIGKILL)
    again = Broker(folder, arguments.set)
    client = again.client()
    connected = time.monotonic() - again.started_at
    client.call(commands.Basic.Qos(prefetch_count=1), commands.Basic.QosOk)
    client.call(commands.Basic.Consume(queue=QUEUE), commands.Basic.ConsumeOk)
    client.expect(commands.Basic.Deliver)
    show(
        "restart",
        connected_s=round(connected, 3),
        first_delivery_s=round(time.monotonic() - again.started_at, 3),
        processor_s=round(again.processor_s(), 3),
        memory_mib=round(again.memory_mib(), 1),
    )
    client.close()
    return again


def watch(
    step: str, broker: Broker, folder: Path, left: int, arguments: argparse.Namespace
) -> None:
    """Until so many messages are left and no more dead letters are on their way: how that goes."""
    start, processor = time.monotonic(), broker.processor_s()
    client = broker.client()
    trips: list[float] = []
    memory_max = 0.0
    expected = arguments.messages - left if arguments.dead_letter else 0
    while ready(client, QUEUE) > left or ready(client, DEAD) < expected:
        trips.append(round_trip(client))
        memory_max = max(memory_max, broker.memory_mib())
        # So that asking is not what is measured.
        time.sleep(0.001)
    took = time.monotonic() - start
    trips.append(round_trip(client))
    # The files of what has gone are deleted a moment later.
    time.sleep(0.5)
    show(
        step,
        left=ready(client, QUEUE),
        took_s=round(took, 3),
        dead_letters=ready(client, DEAD),
        processor_s=round(broker.processor_s() - processor, 2),
        trip_median_ms=round(sorted(trips)[len(trips) // 2] * 1000, 2),
        trip_p99_ms=round(sorted(trips)[len(trips) * 99 // 100] * 1000, 2),
        trip_max_ms=round(max(trips) * 1000, 2),
        memory_max_mib=round(max(memory_max, broker.memory_mib()), 1),
        disk_mib=round(disk_mib(folder), 1),
    )
    client.close()


def expired(broker: Broker, folder: Path, arguments: argparse.Namespace) -> Broker:
    """Started when all have expired, the queue becomes empty by itself."""
    broker.end(signal.SIGKILL)
    # Nobody is there to say when the last one has expired.
    time.sleep(arguments.ttl)
    again = Broker(folder, arguments.set)
    watch("expired", again, folder, 0, arguments)
    return again


def limited(broker: Broker, folder: Path, arguments: argparse.Namespace) -> None:
    """A policy leaves so many at most."""
    command = [sys.executable, "-m", "amqbroker", "ctl", "--data-dir", str(folder)]
    command += ["set_policy", "bench", QUEUE, arguments.policy]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    left = json.loads(arguments.policy).get("max-length", arguments.messages)
    watch("policy", broker, folder, left, arguments)


def main() -> None:
    """Run the steps."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--body", type=int, default=100, help="bytes, 8 at least")
    parser.add_argument("--ttl", type=int, default=60, help="seconds; longer than the filling")
    parser.add_argument("--priorities", type=int, default=0, help="how many there are")
    parser.add_argument("--max-length", type=int, default=0)
    parser.add_argument("--policy", default="", help="a definition, instead of the expiry")
    parser.add_argument("--read", action="store_true")
    parser.add_argument("--dead-letter", action="store_true")
    parser.add_argument("--folder", default=None, help="where the data folder is made")
    parser.add_argument("--set", action="append", default=[], help="a variable of the broker")
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(dir=arguments.folder))
    broker = Broker(folder, arguments.set)
    try:
        fill(broker, folder, arguments)
        broker = first_delivery(broker, folder, arguments)
        if arguments.policy:
            limited(broker, folder, arguments)
        elif arguments.ttl:
            broker = expired(broker, folder, arguments)
    finally:
        broker.end(signal.SIGKILL)
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
