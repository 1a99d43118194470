"""Starts amqbroker for a run of the suite and ends it afterwards."""

from __future__ import annotations

import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from interop.catalog import SUITE

DEFAULT_COMMAND: Final = "{python} -m amqbroker serve --bind {bind} --data-dir {data}"

_START_S: Final = 30.0
_STOP_S: Final = 15.0
_POLL_S: Final = 0.1
_TAIL_LINES: Final = 40


class BrokerFailedError(Exception):
    """The broker did not start, or ended before its time; the text has the end of its log."""


class Broker:
    """A running broker."""

    def __init__(self, words: list[str], port: int, log: Path, data: Path) -> None:
        self._words = words
        self._port = port
        self._log = log
        self._data = data
        self._process = self._launch()

    def _launch(self) -> subprocess.Popen[bytes]:
        with self._log.open("ab") as output:
            return subprocess.Popen(
                self._words,
                cwd=SUITE.parent,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    @property
    def uri(self) -> str:
        return f"amqp://guest:guest@127.0.0.1:{self._port}/%2F"

    def check(self) -> None:
        """Raise if the broker has ended by itself."""
        if (code := self._process.poll()) is not None:
            raise BrokerFailedError(f"the broker ended with code {code}\n{self.log_tail()}")

    def log_tail(self) -> str:
        """The last lines that the broker has written."""
        lines = self._log.read_text(errors="replace").splitlines()
        return "\n".join(f"    {line}" for line in lines[-_TAIL_LINES:])

    def wait_ready(self) -> None:
        """Wait until the broker answers a protocol header."""
        deadline = time.monotonic() + _START_S
        while not answers(self._port):
            self.check()
            if time.monotonic() > deadline:
                raise BrokerFailedError(f"no answer within {_START_S:.0f} s\n{self.log_tail()}")
            time.sleep(_POLL_S)

    def control(self, *arguments: str) -> str:
        """Run an `amqbroker ctl` command on it and return what it printed."""
        done = subprocess.run(
            [
                *(sys.executable, "-m", "amqbroker", "ctl", "--data-dir", str(self._data)),
                *arguments,
            ],
            cwd=SUITE.parent,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=_START_S,
        )
        if done.returncode:
            raise BrokerFailedError(f"amqbroker ctl {' '.join(arguments)}\n{done.stdout}")
        return done.stdout

    def restart(self, *, kill: bool) -> None:
        """End the broker, by force if it is to be killed, and start it again as it was."""
        if kill:
            self._process.kill()
            self._process.wait()
        else:
            self.stop()
        self._process = self._launch()
        self.wait_ready()

    def stop(self) -> None:
        """End the broker in order, or by force if it does not listen."""
        if self._process.poll() is None:
            self._process.terminate()
        try:
            self._process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


@contextmanager
def started(command: str = DEFAULT_COMMAND) -> Iterator[Broker]:
    """A broker of its own on a free loopback port, its data in a temporary folder."""
    with TemporaryDirectory(prefix="amqbroker-interop-") as folder:
        port = _free_port()
        log = Path(folder, "broker.log")
        data = Path(folder, "data")
        words = [
            word.replace("{python}", sys.executable)
            .replace("{bind}", f"127.0.0.1:{port}")
            .replace("{data}", str(data))
            for word in shlex.split(command)
        ]
        broker = Broker(words, port, log, data)
        try:
            broker.wait_ready()
            yield broker
        finally:
            broker.stop()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def answers(port: int) -> bool:
    """Whether a broker offers connection.start there."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2) as sock:
            sock.sendall(b"AMQP\x00\x00\x09\x01")
            return sock.recv(1) == b"\x01"  # a method frame
    except OSError:
        return False
