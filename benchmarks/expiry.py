"""A backlog on disk whose messages expire: a restart before that, and the time it takes to go.

    python -m benchmarks.expiry --messages 10000000 --ttl 120
    python -m benchmarks.expiry --messages 10000000 --ttl 120 --read

Fills one durable queue with a message TTL, in seconds, then kills the broker and starts it again:
`restart` is as in `benchmarks.paging`. Then it is killed once more and started when everything has
expired: `expired` says how long it took until the queue was empty, without a consumer, and how long
a publish and a purge on another queue took meanwhile. With `--read` the queue has a dead-letter
exchange that does not exist, so that every message must be read; with `--dead-letter` all of them
go to a third queue.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import tempfile
import time
from pathlib import Path

from pamqp import commands, frame, header

from benchmarks.paging import Broker, Client, Publisher, disk_mib, restart, show

QUEUE, OTHER, DEAD = "expiring", "other", "dead"


def fill(broker: Broker, folder: Path, arguments: argparse.Namespace) -> None:
    """All messages."""
    client = broker.client()
    table: dict[str, object] = {"x-message-ttl": arguments.ttl * 1000}
    if arguments.read:
        table["x-dead-letter-exchange"] = "nowhere"
    if arguments.dead_letter:
        table["x-dead-letter-exchange"] = ""
        table["x-dead-letter-routing-key"] = DEAD
        client.call(commands.Queue.Declare(queue=DEAD, durable=True), commands.Queue.DeclareOk)
    declare = commands.Queue.Declare(queue=QUEUE, durable=True, arguments=table)  # type: ignore[arg-type]
    client.call(declare, commands.Queue.DeclareOk)
    client.call(commands.Queue.Declare(queue=OTHER, durable=True), commands.Queue.DeclareOk)
    start, processor = time.monotonic(), broker.processor_s()
    Publisher(client, arguments.body, True).publish(QUEUE, 0, arguments.messages)
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


def expired(broker: Broker, folder: Path, arguments: argparse.Namespace) -> Broker:
    """Started when all have expired, the queue becomes empty by itself."""
    broker.end(signal.SIGKILL)
    # Nobody is there to say when the last one has expired.
    time.sleep(arguments.ttl)
    again = Broker(folder, arguments.set)
    client = again.client()
    connected = time.monotonic() - again.started_at
    trips: list[float] = []
    memory_max = 0.0
    while ready(client, QUEUE) > 0:
        trips.append(round_trip(client))
        memory_max = max(memory_max, again.memory_mib())
        # So that asking is not what is measured.
        time.sleep(0.001)
    took = time.monotonic() - again.started_at
    trips.append(round_trip(client))
    # The files of what has gone are deleted a moment later.
    time.sleep(0.5)
    show(
        "expired",
        connected_s=round(connected, 3),
        empty_s=round(took, 3),
        dead_letters=ready(client, DEAD) if arguments.dead_letter else 0,
        processor_s=round(again.processor_s(), 2),
        trip_median_ms=round(sorted(trips)[len(trips) // 2] * 1000, 2),
        trip_max_ms=round(max(trips) * 1000, 2),
        memory_max_mib=round(max(memory_max, again.memory_mib()), 1),
        disk_mib=round(disk_mib(folder), 1),
    )
    client.close()
    return again


def main() -> None:
    """Run the steps."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--body", type=int, default=100, help="bytes, 8 at least")
    parser.add_argument("--ttl", type=int, default=60, help="seconds; longer than the filling")
    parser.add_argument("--read", action="store_true")
    parser.add_argument("--dead-letter", action="store_true")
    parser.add_argument("--folder", default=None, help="where the data folder is made")
    parser.add_argument("--set", action="append", default=[], help="a variable of the broker")
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(dir=arguments.folder))
    broker = Broker(folder, arguments.set)
    try:
        fill(broker, folder, arguments)
        broker = restart(broker, folder, QUEUE, arguments)
        broker = expired(broker, folder, arguments)
    finally:
        broker.end(signal.SIGKILL)
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
