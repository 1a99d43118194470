"""Runs one client as a program of its own and reads its results."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Final

from interop.catalog import SUITE, Client
from interop.checklist import FAIL, NOT_APPLICABLE, OK, Result, parse_line

_NEEDS_S: Final = 30.0
_BUILD_S: Final = 300.0
_GRACE_S: Final = 5.0
_TAIL_LINES: Final = 20


@dataclass(slots=True)
class Outcome:
    """What came of one client: its results, or why it was skipped."""

    client: Client
    results: dict[str, Result] = field(default_factory=dict)
    skipped: str = ""
    seconds: float = 0.0
    output: list[str] = field(default_factory=list)

    @property
    def failures(self) -> list[Result]:
        return [result for result in self.results.values() if result.outcome == FAIL]

    def count(self, outcome: str) -> int:
        return sum(result.outcome == outcome for result in self.results.values())

    def summary(self) -> str:
        """The outcome in a few words."""
        if self.skipped:
            return f"skipped: {self.skipped}"
        parts = [f"{self.count(OK)} ok"]
        parts += [
            f"{self.count(kind)} {kind}" for kind in (FAIL, NOT_APPLICABLE) if self.count(kind)
        ]
        return f"{', '.join(parts)} in {self.seconds:.1f} s"


def run(client: Client, uri: str, prefix: str) -> Outcome:
    """Build and run the client; a client that is not installed is skipped."""
    outcome = Outcome(client)
    code, _ = _execute(["sh", "-c", client.needs], client, _NEEDS_S)
    if code != 0:
        outcome.skipped = f"not installed; to install it: {client.install}"
        return outcome
    if client.build:
        code, lines = _execute(client.build, client, _BUILD_S)
        if code != 0:
            outcome.output = lines[-_TAIL_LINES:]
            _add(
                outcome,
                Result("build", FAIL, f"{' '.join(client.build)} ended with {_ending(code)}"),
            )
            return outcome
    started = time.monotonic()
    command = [*client.command, "--uri", uri, "--prefix", prefix]
    code, lines = _execute(command, client, client.timeout_s)
    outcome.seconds = time.monotonic() - started
    _collect(outcome, code, lines)
    return outcome


def _collect(outcome: Outcome, code: int | None, lines: list[str]) -> None:
    for line in lines:
        result = parse_line(line)
        if result is None:
            outcome.output.append(line)
        elif result.check in outcome.client.checks:
            _add(outcome, result)
        else:
            _add(
                outcome,
                Result(result.check, FAIL, "the client reported a check that it does not have"),
            )
    ending = _ending(code)
    for check in outcome.client.checks:
        if check not in outcome.results:
            _add(outcome, Result(check, FAIL, f"no result, the client ended with {ending}"))
    if code != 0 and not outcome.failures:
        _add(
            outcome, Result("exit", FAIL, f"every check passed, yet the client ended with {ending}")
        )
    outcome.output = outcome.output[-_TAIL_LINES:]


def _add(outcome: Outcome, result: Result) -> None:
    """Keep a check's first failure, else its last result."""
    known = outcome.results.get(result.check)
    if known is None or known.outcome != FAIL:
        outcome.results[result.check] = result


def _ending(code: int | None) -> str:
    return "a time-out" if code is None else f"exit code {code}"


def _execute(
    command: list[str] | tuple[str, ...], client: Client, limit_s: float
) -> tuple[int | None, list[str]]:
    """Exit code, None after a time-out, and all lines of standard output and error."""
    with TemporaryFile() as log:
        try:
            process = subprocess.Popen(
                command,
                cwd=client.folder,
                env=_environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # so that its children end with it
            )
        except OSError as error:
            return 127, [str(error)]
        code = _wait(process, limit_s)
        return code, _lines(log)


def _wait(process: subprocess.Popen[bytes], limit_s: float) -> int | None:
    try:
        return process.wait(limit_s)
    except subprocess.TimeoutExpired:
        for signal_number in (signal.SIGTERM, signal.SIGKILL):
            os.killpg(process.pid, signal_number)
            try:
                process.wait(_GRACE_S)
                break
            except subprocess.TimeoutExpired:
                continue
        return None
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)
        raise


def _lines(log: IO[bytes]) -> list[str]:
    log.seek(0)
    return log.read().decode(errors="replace").splitlines()


def _environment() -> dict[str, str]:
    """Ours, with the suite importable from any folder."""
    root = str(Path(SUITE).parent)
    path = os.environ.get("PYTHONPATH")
    return {
        **os.environ,
        "PYTHONPATH": f"{root}{os.pathsep}{path}" if path else root,
        "PYTHONUNBUFFERED": "1",
    }
