#!/usr/bin/env python3
"""Check that amqload notices what it should notice.

A proxy between amqload and a healthy broker spoils some of the published messages: it drops,
repeats, swaps or corrupts them. amqload must report just that and exit with status 2. Other checks
make it lose messages by way of a queue's length limit, and make the broker refuse it.

usage: check_amqload.py [--amqload PATH] [HOST:PORT]
"""

import argparse
import json
import socket
import struct
import subprocess
import sys
import threading
from pathlib import Path

FRAME_METHOD, FRAME_HEADER, FRAME_BODY = 1, 2, 3
BASIC_PUBLISH = struct.pack(">HH", 60, 40)
COUNT = 20_000
EVERY = 1000  # the proxy spoils one message in so many


class Proxy:
    """Forwards connections to a broker, passing each published message through `spoil`.

    `spoil(index, message, held)` returns the list of messages to send on instead; `held` is
    a list that it may use to keep messages back.
    """

    def __init__(self, broker, spoil):
        self.broker, self.spoil = broker, spoil
        self.server = socket.create_server(("127.0.0.1", 0))
        self.port = self.server.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                client, _ = self.server.accept()
            except OSError:
                return
            broker = socket.create_connection(self.broker)
            threading.Thread(target=self.forward, args=(client, broker), daemon=True).start()
            threading.Thread(target=self.backward, args=(client, broker), daemon=True).start()

    def backward(self, client, broker):
        try:
            while data := broker.recv(1 << 16):
                client.sendall(data)
            client.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def forward(self, client, broker):
        reader = client.makefile("rb", buffering=1 << 16)
        broker.sendall(reader.read(8))
        message, left, index, held = b"", None, 0, []
        while True:
            head = reader.read(7)
            if len(head) < 7:
                broker.close()
                return
            kind, _, size = struct.unpack(">BHI", head)
            payload = reader.read(size + 1)
            frame = head + payload
            if kind == FRAME_METHOD and payload[:4] == BASIC_PUBLISH:
                message, left = frame, None
                continue
            if kind == FRAME_HEADER:
                message += frame
                left = struct.unpack_from(">Q", payload, 4)[0]
                continue
            if kind == FRAME_BODY:
                message += frame
                left -= size
                if left == 0:
                    broker.sendall(b"".join(self.spoil(index, message, held)))
                    index += 1
                continue
            broker.sendall(frame)

    def close(self):
        self.server.close()


def intact(index, message, held):
    return [message]


def drop(index, message, held):
    return [] if index % EVERY == 7 else [message]


def repeat(index, message, held):
    return [message, message] if index % EVERY == 7 else [message]


def swap(index, message, held):
    if index % EVERY == 7:
        held.append(message)
        return []
    if held:
        return [message, held.pop()]
    return [message]


def corrupt(index, message, held):
    if index % EVERY == 7:
        message = message[:-3] + bytes([message[-3] ^ 1]) + message[-2:]
    return [message]


def run(amqload, port, *options):
    result = subprocess.run(
        [amqload, "--uri", f"127.0.0.1:{port}", "--drain-timeout", "2", *options],
        capture_output=True,
        text=True,
        timeout=120,
    )
    return result.returncode, json.loads(result.stdout)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("broker", nargs="?", default="127.0.0.1:5672")
    parser.add_argument("--amqload", default=str(Path(__file__).with_name("amqload")))
    options = parser.parse_args()
    host, _, port = options.broker.rpartition(":")
    broker = (host, int(port))
    failures = 0

    def check(name, status, found, want_status, **wanted):
        nonlocal failures
        got = {key: found.get(key) for key in wanted}
        good = status == want_status and got == wanted
        failures += not good
        print(
            f"{'ok  ' if good else 'FAIL'} {name}: exit {status} (want {want_status}) {got}",
            "" if good else wanted,
        )

    n = COUNT // EVERY
    clean = {"lost": 0, "duplicated": 0, "out_of_order": 0, "corrupt": 0}
    for spoil, want_status, wanted in [
        (intact, 0, clean),
        (drop, 2, clean | {"lost": n}),
        (repeat, 2, clean | {"duplicated": n, "out_of_order": n}),
        (swap, 2, clean | {"out_of_order": n}),
        (corrupt, 2, clean | {"corrupt": n}),
    ]:
        proxy = Proxy(broker, spoil)
        status, found = run(
            options.amqload, proxy.port, "--count", str(COUNT), "--verify", "--size", "200"
        )
        proxy.close()
        check(spoil.__name__, status, found, want_status, **wanted)

    def load(*more):
        return run(options.amqload, broker[1], *more)

    status, found = load(
        "--count",
        "20000",
        "--mode",
        "publish",
        "--confirms",
        "100",
        "--queue-arg",
        "x-max-length=50",
    )
    check("length limit, published", status, found, 0, confirmed=20000, queued_after=50)
    status, found = load("--mode", "drain", "--delete")
    check("length limit, drained", status, found, 0, consumed=50)
    check("length limit, the newest stay", 0, found["queues"][0], 0, gaps=20000 - 50, received=50)

    status, found = load("--count", "1000", "--exchange", "nonsense")
    check(
        "refused exchange type",
        status,
        {"refused": "closed the" in found.get("error", "")},
        1,
        refused=True,
    )
    status, found = load("--count", "1000", "--pass", "wrong")
    check("refused login", status, {"refused": "403" in found.get("error", "")}, 1, refused=True)
    status, found = run(options.amqload, 1, "--count", "1000")
    check("no broker", status, {"refused": "refused" in found.get("error", "")}, 1, refused=True)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
