"""What the benchmarks share: a broker of their own, amqload, and figures from /proc.

The broker runs as a user runs it, `python -m amqbroker` in a process of its own. It is the
installed one; without any, the one of this repository.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType

from load import run_workloads

ROOT = Path(__file__).resolve().parents[1]
AMQLOAD_SOURCE = ROOT / "benchmarks" / "load" / "amqload.c"
START_S = 120.0
STOP_S = 30.0
READY = re.compile(r" ready on (\S+?):(\d+)[, ]")


class Installed:
    """Which amqbroker a Python has; `build` is compiled or interpreted."""

    def __init__(self, python: str = sys.executable) -> None:
        # It is run from other folders; a link, as in a virtual environment, is not followed.
        self.python = os.path.abspath(python) if os.sep in python else python
        self.environment = dict(os.environ)
        shown = self._ask_version()
        if not shown:
            self.environment["PYTHONPATH"] = str(ROOT)
            shown = self._ask_version()
        found = re.fullmatch(r"amqbroker (\S+) \((\w+)\)", shown)
        if found is None:
            sys.exit(f"{python} -m amqbroker --version says {shown!r}: is this version installed?")
        self.version, self.build = found.groups()

    def _ask_version(self) -> str:
        """What it calls itself; not from this folder, or the sources in it would come first."""
        done = subprocess.run(
            [self.python, "-m", "amqbroker", "--version"],
            cwd="/",
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        return done.stdout.strip() if done.returncode == 0 else ""

    def __str__(self) -> str:
        return f"amqbroker {self.version} ({self.build})"


class Broker:
    """One run of the broker on a port of its own, data in `folder`/data, its log in `folder`/log.

    Leaving the block ends the process, by its pid.
    """

    def __init__(self, installed: Installed, folder: Path, port: int = 0) -> None:
        self.log = folder / "log"
        self.port = port
        self.ready_at = 0.0
        with self.log.open("wb") as log:
            self.started_at = time.monotonic()
            self._process = subprocess.Popen(
                [
                    *(installed.python, "-m", "amqbroker"),
                    *("--bind", f"127.0.0.1:{port}", "--data-dir", str(folder / "data")),
                ],
                cwd="/",
                env=installed.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.pid = self._process.pid

    def look_ready(self) -> bool:
        """Whether the log says that it serves; from then on `port` is known."""
        found = READY.search(self.log.read_text())
        if found is not None:
            self.ready_at = time.monotonic()
            self.port = int(found[2])
            return True
        if self._process.poll() is not None or time.monotonic() > self.started_at + START_S:
            self.stop()
            sys.exit(f"the broker did not start:\n{self.log.read_text()}")
        return False

    def wait_ready(self) -> Broker:
        """Return when it serves."""
        while not self.look_ready():
            time.sleep(0.001)
        return self

    @property
    def address(self) -> str:
        """Where it listens."""
        return f"127.0.0.1:{self.port}"

    def rss_kib(self) -> int:
        """How much memory the process holds."""
        found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{self.pid}/status").read_text())
        return int(found[1]) if found else 0

    def open_sockets(self) -> int:
        """How many sockets the process has, its listener among them."""
        count = 0
        for name in os.listdir(f"/proc/{self.pid}/fd"):
            try:
                count += os.readlink(f"/proc/{self.pid}/fd/{name}").startswith("socket:")
            except FileNotFoundError:
                continue
        return count

    def stop(self) -> None:
        """End it as a service manager does."""
        self._process.terminate()
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def __enter__(self) -> Broker:
        return self.wait_ready()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


def build_amqload(folder: Path) -> Path:
    """Compile the load generator into `folder`."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        sys.exit("a C compiler is needed: the load generator is written in C")
    amqload = folder / "amqload"
    subprocess.run(
        [compiler, "-O2", "-std=gnu11", "-Wall", "-Wextra", "-o", amqload, AMQLOAD_SOURCE],
        check=True,
    )
    return amqload


def run_amqload(amqload: Path, address: str, *options: str) -> dict[str, float]:
    """One run of the load generator; ends the program if a message was lost."""
    done = subprocess.run(
        [str(amqload), "--uri", address, *options], capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"amqload {' '.join(options)}: {done.stdout or done.stderr}")
    found: dict[str, float] = json.loads(done.stdout)
    return found


def percentile(values: Iterable[float], share: float) -> float:
    """The value below which `share` of them are."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def median(values: Iterable[float]) -> float:
    """The middle one; of none, not a number."""
    found = list(values)
    return statistics.median(found) if found else float("nan")


def table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A markdown table, aligned so that it can be read as it is."""
    lines = [list(heads), *(list(row) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    lines.insert(1, ["-" * width for width in widths])
    return "\n".join("| " + " | ".join(map(str.ljust, line, widths)) + " |" for line in lines)


def parser_of(description: str | None) -> argparse.ArgumentParser:
    """An option parser with what all benchmarks that start a broker share."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--python",
        default=sys.executable,
        help="measure the broker that is installed for this Python (%(default)s)",
    )
    parser.add_argument("--json", action="store_true", help="print JSON, not a table")
    return parser


def machine_line() -> str:
    """The machine, in half a line."""
    found = run_workloads.machine()
    return f"{found['model'] or 'unknown processor'}, {found['processors']} cores"
