"""Queues larger than memory: the cost of a backlog while it grows, at a restart, while it drains.

    python -m benchmarks.paging --messages 10000000
    python -m benchmarks.paging --messages 10000000 --queues 1000
    python -m benchmarks.paging --messages 5000000 --body 1024 --transient
    python -m benchmarks.paging --beside --messages 5000000
    python -m benchmarks.paging --drop --messages 10000000
    python -m benchmarks.paging --unacked --messages 5000000

With `--set AMQBROKER_MEMORY_HIGH_WATERMARK=512MiB` and the like the broker has other limits.

Starts a broker of its own on a free port of the loopback, with a data folder that it removes. The
publisher waits for the confirms of each part, the consumer checks that every message comes once and
in order. One line of JSON a step: rates in messages a second, memory and disk in MiB.

`restart`: the broker is killed with SIGKILL while everything waits; the time is that from the start
of the process to the first delivery. `beside`: a queue keeps a backlog while messages pass through
another one; the figure is the disk's use at its highest. `drop`: how long purge and delete take of
a queue with ten messages, and with many. `unacked`: a consumer without a limit gets everything and
acks nothing; then its connection ends, and another consumer gets it all in order.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from pamqp import commands, frame, header
from pamqp.base import Frame

HEADER = b"AMQP\0\0\x09\x01"
PART = 500_000
CHUNK = 512
# A queue so short stays in memory.
MEMORY_MESSAGES = 25_000
MEMORY_BYTES = 14_000_000
MEMORY_ROUNDS = 40
MIB = 1024 * 1024


class Client:
    """A connection with one channel, written by hand so that it is not what is measured."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=120)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._data = b""
        self.socket.sendall(HEADER)
        self.expect(commands.Connection.Start)
        self.send(0, commands.Connection.StartOk({}, "PLAIN", "\0guest\0guest", "en_US"))
        tune = self.expect(commands.Connection.Tune)
        assert isinstance(tune, commands.Connection.Tune)
        self.send(0, commands.Connection.TuneOk(tune.channel_max, tune.frame_max, 0))
        self.send(0, commands.Connection.Open("/"))
        self.expect(commands.Connection.OpenOk)
        self.send(1, commands.Channel.Open())
        self.expect(commands.Channel.OpenOk)

    def send(self, channel: int, method: Frame) -> None:
        """One method."""
        self.socket.sendall(frame.marshal(method, channel))

    def call(self, method: Frame, answer: type[Frame]) -> Frame:
        """One method and its answer."""
        self.send(1, method)
        return self.expect(answer)

    def expect(self, kind: type[Frame]) -> Frame:
        """The next method, which must be of this kind."""
        while True:
            if self._data:
                used, _, method = frame.unmarshal(self._data)
                if used:
                    self._data = self._data[used:]
                    assert isinstance(method, kind), method
                    return method
            more = self.socket.recv(65536)
            assert more, "the broker closed the connection"
            self._data += more

    def close(self) -> None:
        """Without ceremony."""
        self.socket.close()


def free_port() -> int:
    """Not one of those that clients get, or a client that waits for it connects to itself."""
    while True:
        port = random.randrange(20_000, 30_000)
        try:
            socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            continue
        return port


class Broker:
    """A broker process on a data folder."""

    def __init__(self, folder: Path, settings: list[str]) -> None:
        self.port = free_port()
        environment = dict(os.environ)
        for setting in settings:
            name, _, value = setting.partition("=")
            environment[name] = value
        command = [sys.executable, "-m", "amqbroker", "serve"]
        command += ["--data-dir", str(folder), "--bind", f"127.0.0.1:{self.port}"]
        self.started_at = time.monotonic()
        self.process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)

    def client(self) -> Client:
        """A connection, as soon as there can be one."""
        while True:
            try:
                return Client(self.port)
            except ConnectionRefusedError:
                assert self.process.poll() is None, "the broker ended"
                time.sleep(0.002)

    def memory_mib(self) -> float:
        """What is resident."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("VmRSS"))
        return int(line.split()[1]) / 1024

    def processor_s(self) -> float:
        """Processor time of all threads so far."""
        spent = 0
        for path in Path(f"/proc/{self.process.pid}/task").glob("*/schedstat"):
            spent += int(path.read_text().split()[0])
        return spent / 1e9

    def end(self, number: int) -> None:
        """With this signal."""
        self.process.send_signal(number)
        self.process.wait()


class Publisher:
    """Publishes numbered messages of one size, of so many priorities in turns."""

    def __init__(
        self, client: Client, body_bytes: int, persistent: bool, priorities: int = 1
    ) -> None:
        self.client = client
        self.body_bytes = body_bytes
        self._contents: list[bytes] = []
        for priority in range(priorities):
            properties = commands.Basic.Properties(
                delivery_mode=2 if persistent else 1,
                priority=priority if priorities > 1 else None,
            )
            content = header.ContentHeader(0, body_bytes, properties)
            self._contents.append(frame.marshal(content, 1))
        client.call(commands.Confirm.Select(), commands.Confirm.SelectOk)
        self._seq = 0

    def publish(self, queue: str, first: int, count: int) -> None:
        """So many, the first with this number; returns when all are confirmed."""
        method = frame.marshal(commands.Basic.Publish(exchange="", routing_key=queue), 1)
        body = struct.pack(">BHI", 3, 1, self.body_bytes) + bytes(self.body_bytes) + b"\xce"
        messages = [method + content + body for content in self._contents]
        message = messages[0]
        number_at = len(method) + len(self._contents[0]) + 7
        chunk_of_all = b"".join([messages[place % len(messages)] for place in range(CHUNK)])
        done = 0
        while done < count:
            size = min(CHUNK, count - done)
            chunk = bytearray(chunk_of_all[: len(message) * size])
            for place in range(size):
                struct.pack_into(
                    ">Q", chunk, place * len(message) + number_at, first + done + place
                )
            self.client.socket.sendall(chunk)
            done += size
            self._read_acks(False)
        self._seq += count
        self._confirmed_to(self._seq)

    _acked = 0
    _left = b""

    def _read_acks(self, wait: bool) -> None:
        connection = self.client.socket
        connection.setblocking(wait)
        try:
            data = self._left + connection.recv(1 << 16)
        except BlockingIOError:
            data = self._left
        finally:
            connection.setblocking(True)
        whole = len(data) // 21 * 21
        if whole:
            tag, multiple = struct.unpack_from(">QB", data, whole - 21 + 11)
            assert data[whole - 14 : whole - 10] == b"\0\x3c\0\x50", "not an ack"
            assert multiple in (0, 1)
            self._acked = tag
        self._left = data[whole:]

    def _confirmed_to(self, seq: int) -> None:
        while self._acked < seq:
            self._read_acks(True)


class Consumer:
    """Takes numbered messages of one queue, in order."""

    def __init__(
        self, client: Client, queue: str, body_bytes: int, no_ack: bool, acks: bool = True
    ) -> None:
        self.client = client
        self._acks = acks and not no_ack
        method = commands.Basic.Consume(queue=queue, consumer_tag="c", no_ack=no_ack)
        client.call(method, commands.Basic.ConsumeOk)
        self._data = client._data
        client._data = b""
        deliver = commands.Basic.Deliver("c", 1, False, "", queue)
        properties = commands.Basic.Properties(delivery_mode=1)
        content = header.ContentHeader(0, body_bytes, properties)
        before = len(frame.marshal(deliver, 1)) + len(frame.marshal(content, 1)) + 7
        self._size = before + body_bytes + 1
        self._record = struct.Struct(f">{before}xQ{self._size - before - 8}x")
        self._acked = 0
        self._next = 0
        self.count = 0

    def take_until(self, end: int) -> None:
        """Up to and without this number, and perhaps some more."""
        number = self._next
        connection = self.client.socket
        while number < end:
            more = connection.recv(1 << 20)
            assert more, "the broker closed the connection"
            data = self._data + more if self._data else more
            whole = len(data) // self._size * self._size
            for (found,) in self._record.iter_unpack(memoryview(data)[:whole]):
                assert found == number, f"message {found} where {number} was due"
                number += 1
            self._data = data[whole:]
            self.count += whole // self._size
            self._next = number
            if self._acks and (self.count - self._acked >= 1000 or number >= end):
                self._acked = self.count
                connection.sendall(frame.marshal(commands.Basic.Ack(self.count, True), 1))


def show(step: str, **figures: object) -> None:
    """One line."""
    print(json.dumps({"benchmark": "paging", "step": step, **figures}), flush=True)


def disk_mib(folder: Path) -> float:
    """What the files of the folder have."""
    sizes = 0
    for path in folder.rglob("*"):
        try:
            sizes += path.stat().st_size
        except FileNotFoundError:
            continue
    return sizes / MIB


def publish_all(
    broker: Broker, folder: Path, names: list[str], arguments: argparse.Namespace
) -> None:
    """The same number of messages into each queue, in turns, and how that goes."""
    client = broker.client()
    for name in names:
        client.call(
            commands.Queue.Declare(queue=name, durable=not arguments.transient),
            commands.Queue.DeclareOk,
        )
    publisher = Publisher(client, arguments.body, not arguments.transient)
    each = arguments.messages // len(names)
    step = PART if len(names) == 1 else max(1, PART // len(names))
    done = 0
    while done < each:
        size = min(step, each - done)
        start, processor = time.monotonic(), broker.processor_s()
        for name in names:
            publisher.publish(name, done, size)
        took = time.monotonic() - start
        count = size * len(names)
        done += size
        show(
            "publish",
            waiting=done * len(names),
            rate=round(count / took),
            processor_us=round((broker.processor_s() - processor) / count * 1e6, 2),
            memory_mib=round(broker.memory_mib(), 1),
            disk_mib=round(disk_mib(folder), 1),
        )
    client.close()


def drain(broker: Broker, folder: Path, names: list[str], arguments: argparse.Namespace) -> None:
    """Take it all, a queue after the other."""
    each = arguments.messages // len(names)
    start, processor = time.monotonic(), broker.processor_s()
    memory_max = 0.0
    for name in names:
        client = broker.client()
        consumer = Consumer(client, name, arguments.body, arguments.no_ack)
        done = 0
        while done < each:
            done = min(done + PART, each)
            consumer.take_until(done)
            memory_max = max(memory_max, broker.memory_mib())
        ok = client.call(commands.Queue.Declare(queue=name, passive=True), commands.Queue.DeclareOk)
        assert isinstance(ok, commands.Queue.DeclareOk)
        assert ok.message_count == 0
        client.close()
    took = time.monotonic() - start
    count = each * len(names)
    time.sleep(0.5)
    show(
        "drain",
        messages=count,
        rate=round(count / took),
        processor_us=round((broker.processor_s() - processor) / count * 1e6, 2),
        memory_max_mib=round(memory_max, 1),
        disk_mib=round(disk_mib(folder), 1),
        segments=len(list(folder.glob("queues/*"))),
    )


def drain_memory(broker: Broker, arguments: argparse.Namespace) -> None:
    """Take messages that are in memory: a short queue is filled and emptied, many times."""
    client = broker.client()
    name = "memory"
    client.call(
        commands.Queue.Declare(queue=name, durable=not arguments.transient),
        commands.Queue.DeclareOk,
    )
    publisher = Publisher(client, arguments.body, not arguments.transient)
    count = min(MEMORY_MESSAGES, MEMORY_BYTES // (arguments.body + 400))
    took = spent = 0.0
    for _ in range(MEMORY_ROUNDS):
        publisher.publish(name, 0, count)
        start, processor = time.monotonic(), broker.processor_s()
        consumer = Consumer(broker.client(), name, arguments.body, arguments.no_ack)
        consumer.take_until(count)
        took += time.monotonic() - start
        ok = client.call(commands.Queue.Declare(queue=name, passive=True), commands.Queue.DeclareOk)
        assert isinstance(ok, commands.Queue.DeclareOk)
        spent += broker.processor_s() - processor
        consumer.client.close()
    client.close()
    show(
        "drain from memory",
        messages=count * MEMORY_ROUNDS,
        rate=round(count * MEMORY_ROUNDS / took),
        processor_us=round(spent / (count * MEMORY_ROUNDS) * 1e6, 2),
    )


def restart(broker: Broker, folder: Path, name: str, arguments: argparse.Namespace) -> Broker:
    """Kill it, start it, and wait for a delivery."""
    broker.end(signal.SIGKILL)
    again = Broker(folder, arguments.set)
    client = again.client()
    connected = time.monotonic() - again.started_at
    client.send(1, commands.Basic.Qos(prefetch_count=1))
    client.expect(commands.Basic.QosOk)
    consumer = Consumer(client, name, arguments.body, False, acks=False)
    consumer.take_until(1)
    show(
        "restart",
        connected_s=round(connected, 3),
        first_delivery_s=round(time.monotonic() - again.started_at, 3),
        processor_s=round(again.processor_s(), 3),
        memory_mib=round(again.memory_mib(), 1),
    )
    client.close()
    return again


def beside(broker: Broker, folder: Path, arguments: argparse.Namespace) -> None:
    """A backlog that waits, and messages that pass through another queue."""
    client = broker.client()
    for name in ("old", "busy"):
        client.call(commands.Queue.Declare(queue=name, durable=True), commands.Queue.DeclareOk)
    publisher = Publisher(client, arguments.body, True)
    publisher.publish("old", 0, arguments.backlog)
    time.sleep(0.5)
    before = disk_mib(folder)
    consumer = Consumer(broker.client(), "busy", arguments.body, False)
    highest = 0.0
    done = 0
    start = time.monotonic()
    while done < arguments.messages:
        publisher.publish("busy", done, CHUNK)
        done += CHUNK
        consumer.take_until(done)
        if done % (CHUNK * 50) == 0:
            highest = max(highest, disk_mib(folder))
    show(
        "beside",
        messages=done,
        rate=round(done / (time.monotonic() - start)),
        backlog_mib=round(arguments.backlog * arguments.body / MIB, 1),
        disk_before_mib=round(before, 1),
        disk_highest_mib=round(highest, 1),
    )
    old = Consumer(broker.client(), "old", arguments.body, False)
    old.take_until(arguments.backlog)


def drop(broker: Broker, arguments: argparse.Namespace) -> None:
    """Purge and delete, of few and of many messages."""
    client = broker.client()
    publisher = Publisher(broker.client(), arguments.body, not arguments.transient)
    for count in (10, arguments.messages):
        took: list[int] = []
        for method, answer in (
            (commands.Queue.Purge(queue="q"), commands.Queue.PurgeOk),
            (commands.Queue.Delete(queue="q"), commands.Queue.DeleteOk),
        ):
            declare = commands.Queue.Declare(queue="q", durable=not arguments.transient)
            client.call(declare, commands.Queue.DeclareOk)
            publisher.publish("q", 0, count)
            start = time.perf_counter()
            ok = client.call(method, answer)
            took.append(round((time.perf_counter() - start) * 1e6))
            assert isinstance(ok, commands.Queue.PurgeOk | commands.Queue.DeleteOk)
            assert ok.message_count == count
        show("drop", messages=count, purge_us=took[0], delete_us=took[1])


def unacked(broker: Broker, folder: Path, arguments: argparse.Namespace) -> None:
    """A consumer that acks nothing."""
    publish_all(broker, folder, ["q"], arguments)
    client = broker.client()
    consumer = Consumer(client, "q", arguments.body, False, acks=False)
    memory_max = 0.0
    start, processor = time.monotonic(), broker.processor_s()
    done = 0
    while done < arguments.messages:
        done = min(done + PART, arguments.messages)
        consumer.take_until(done)
        memory_max = max(memory_max, broker.memory_mib())
    took = time.monotonic() - start
    show(
        "unacked",
        messages=arguments.messages,
        rate=round(arguments.messages / took),
        processor_us=round((broker.processor_s() - processor) / arguments.messages * 1e6, 2),
        memory_max_mib=round(memory_max, 1),
        memory_mib=round(broker.memory_mib(), 1),
    )
    client.close()
    drain(broker, folder, ["q"], arguments)


def main() -> None:
    """Run the steps."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--queues", type=int, default=1)
    parser.add_argument("--body", type=int, default=100, help="bytes, 8 at least")
    parser.add_argument("--transient", action="store_true")
    parser.add_argument("--no-ack", action="store_true")
    parser.add_argument("--no-drain", action="store_true")
    parser.add_argument("--beside", action="store_true")
    parser.add_argument("--drop", action="store_true")
    parser.add_argument("--unacked", action="store_true")
    parser.add_argument("--backlog", type=int, default=20_000, help="messages of the old queue")
    parser.add_argument("--folder", default=None, help="where the data folder is made")
    parser.add_argument("--set", action="append", default=[], help="a variable of the broker")
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(dir=arguments.folder))
    broker = Broker(folder, arguments.set)
    try:
        if arguments.beside:
            beside(broker, folder, arguments)
            return
        if arguments.drop:
            drop(broker, arguments)
            return
        if arguments.unacked:
            unacked(broker, folder, arguments)
            return
        drain_memory(broker, arguments)
        names = [f"q{number:05d}" for number in range(arguments.queues)]
        publish_all(broker, folder, names, arguments)
        if not arguments.transient:
            broker = restart(broker, folder, names[-1], arguments)
        if not arguments.no_drain:
            drain(broker, folder, names, arguments)
    finally:
        broker.end(signal.SIGKILL)
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
