"""A broker as its users run it: a process of its own, which tests may limit, signal and kill.

The settings are those of the configuration file. The log is kept as lines, to be waited for: what a
broker does about a client is over when its line is there.
"""

from __future__ import annotations

import json
import os
import re
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.semantics.peer import Channel, Peer
from tests.semantics.transports import SocketTransport

WAIT_S = 10.0
# Python spends most of a start on imports, and may have to share the machine.
START_S = 15.0


def wait_until(what: Callable[[], bool], description: str, timeout_s: float = WAIT_S) -> None:
    """Look again and again until it is true."""
    deadline = time.monotonic() + timeout_s
    while not what():
        assert time.monotonic() < deadline, f"still not after {timeout_s} s: {description}"
        time.sleep(0.005)


class BrokerProcess:
    """One run of `amqbroker serve` on a free port. `failed`: it ended before it was ready."""

    def __init__(
        self,
        data_dir: Path,
        *,
        file_size_bytes_max: int | None = None,
        user: int | None = None,
        arguments: tuple[str, ...] = (),
        wait: bool = True,
        **settings: object,
    ) -> None:
        self.data_dir = data_dir
        self.host, self.port = "127.0.0.1", 0
        self.tls_port = 0
        self.lines: list[str] = []
        self.started_at = time.monotonic()
        self.start_s = 0.0
        self._news = threading.Condition()
        self._transports: list[SocketTransport] = []

        def limit() -> None:
            if file_size_bytes_max is not None:
                # Python ignores SIGXFSZ, so that a write beyond this fails with EFBIG.
                resource.setrlimit(resource.RLIMIT_FSIZE, (file_size_bytes_max,) * 2)

        settings.setdefault("listeners", ["127.0.0.1:0"])
        settings.setdefault("log", {"level": "debug"})
        self._process = subprocess.Popen(
            [sys.executable, "-m", "amqbroker", "--config", "/dev/stdin", *arguments],
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "AMQBROKER_DATA_DIR": str(data_dir)},
            preexec_fn=limit if file_size_bytes_max is not None else None,
            user=user,
            start_new_session=True,
        )
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(settings).encode())
        self._process.stdin.close()
        self._reader = threading.Thread(target=self._read_log, daemon=True)
        self._reader.start()
        self.failed = False
        if wait:
            self._await_ready()

    def _await_ready(self) -> None:
        ready = self._wait(lambda: self.find_log(r" ready on \S+"), START_S)
        self.failed = not ready
        if ready:
            self.start_s = time.monotonic() - self.started_at
            address = re.search(r" ready on (\S+?)[, ]", ready)
            assert address is not None
            self.host, _, port = address[1].rpartition(":")
            self.port = int(port)
            tls = re.search(r":(\d+) \(TLS\)", ready)
            self.tls_port = int(tls[1]) if tls is not None else 0

    @property
    def pid(self) -> int:
        """The process."""
        return self._process.pid

    # The log.

    def _read_log(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            with self._news:
                self.lines.append(line.decode().rstrip("\n"))
                self._news.notify_all()
        with self._news:
            self.lines.append("")
            self._news.notify_all()

    def _wait(self, find: Callable[[], str], timeout_s: float) -> str:
        """What `find` finds in the log; empty if it is not there in time, or never will be."""
        with self._news:
            self._news.wait_for(
                lambda: bool(find()) or (bool(self.lines) and not self.lines[-1]), timeout_s
            )
        return find()

    def find_log(self, pattern: str, start: int = 0) -> str:
        """The first line from `start` on that has this regular expression, or an empty one."""
        return next((line for line in self.lines[start:] if re.search(pattern, line)), "")

    def expect_log(self, pattern: str, start: int = 0, timeout_s: float = WAIT_S) -> str:
        """Wait for this line."""
        line = self._wait(lambda: self.find_log(pattern, start), timeout_s)
        assert line, f"no log line like {pattern!r} in:\n" + "\n".join(self.lines[start:])
        return line

    # Clients.

    def transport(self) -> SocketTransport:
        """A connected socket."""
        transport = SocketTransport(self.host.strip("[]"), self.port)
        self._transports.append(transport)
        return transport

    def drop_clients(self) -> None:
        """Close the sockets of all clients that were made here."""
        for transport in self._transports:
            transport.close()
        self._transports.clear()

    def raw(self) -> Peer:
        """A connected peer that has not sent a byte."""
        return Peer(self.transport())

    def connect(self, *, heartbeat: int = 0) -> Peer:
        """A peer with an open connection."""
        peer = self.raw()
        peer.handshake(heartbeat=heartbeat)
        return peer

    def channel(self) -> Channel:
        """An open channel on a connection of its own."""
        return self.connect().open_channel()

    # The process.

    def resident_bytes(self) -> int:
        """How much memory the process holds."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        match = re.search(r"VmRSS:\s+(\d+) kB", status)
        assert match is not None
        return int(match[1]) * 1024

    def open_sockets(self) -> int:
        """How many sockets the process has, its listeners among them."""
        count = 0
        for name in os.listdir(f"/proc/{self.pid}/fd"):
            try:
                count += os.readlink(f"/proc/{self.pid}/fd/{name}").startswith("socket:")
            except FileNotFoundError:
                continue
        return count

    def send_signal(self, number: int) -> None:
        """Send a signal."""
        self._process.send_signal(number)

    def wait(self, timeout_s: float = WAIT_S) -> int:
        """The exit code, negative for a signal; the log is whole then."""
        code = self._process.wait(timeout_s)
        self._reader.join(timeout_s)
        return code

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Ask it to stop, and wait."""
        self.send_signal(number)
        return self.wait()

    def end(self) -> None:
        """Make sure that it is gone."""
        self.drop_clients()
        self._process.kill()
        self.wait()
        assert self._process.stderr is not None
        self._process.stderr.close()


@contextmanager
def broker_process(data_dir: Path, **settings: object) -> Iterator[BrokerProcess]:
    """A broker that serves, or at least tried to; killed at the end if nobody stopped it."""
    process = BrokerProcess(data_dir, **settings)  # type: ignore[arg-type]
    try:
        yield process
    finally:
        process.end()
