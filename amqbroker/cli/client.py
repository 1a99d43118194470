"""How the command line talks to a broker that runs: it finds it by its data folder, and asks
through the control socket there.

Exit codes are those of RabbitMQ's tools, which are those of sysexits.h:

    0   it was done
    64  wrong use: an option, an argument, a name that does not exist as a column ...
    65  wrong data: a password that is not right, definitions that cannot be imported
    67  there is no such user
    69  no broker answers; or it refuses: there is no such thing, not now, not here
    70  it was tried, and went wrong
    75  it took too long
"""

from __future__ import annotations

import json
import math
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, NoReturn, TypeVar, final

import click

from amqbroker.cli.common import fail, find_data_dir

EXIT_USAGE: Final = 64
EXIT_DATA: Final = 65
EXIT_NO_USER: Final = 67
EXIT_UNAVAILABLE: Final = 69
EXIT_SOFTWARE: Final = 70
EXIT_TIMEOUT: Final = 75

# By the code of an error; any other is EXIT_UNAVAILABLE.
EXIT_CODES: Final[dict[object, int]] = {
    "bad-argument": EXIT_USAGE,
    "bad-request": EXIT_USAGE,
    "unknown-command": EXIT_USAGE,
    "bad-data": EXIT_DATA,
    "no-such-user": EXIT_NO_USER,
    "failed": EXIT_SOFTWARE,
}

# How long a broker has for a look at itself; it may be in the middle of a long turn.
ANSWER_TIMEOUT_S: Final = 30.0
# Suggestions of a shell are not worth waiting for.
COMPLETION_TIMEOUT_S: Final = 1.0
# What a socket takes is 2^31 ms; `--timeout infinity` is as good as that.
TIMEOUT_MAX_S: Final = 2_000_000.0

_DATA_DIR: Final = "amqbroker.data_dir"
_CONFIG: Final = "amqbroker.config"
_TIMEOUT: Final = "amqbroker.timeout"

KEPT: Final = {"data_dir": _DATA_DIR, "config_file": _CONFIG, "timeout": _TIMEOUT}

Answer = dict[str, object]
Row = list[object]
Seconds = TypeVar("Seconds", float, float | None)
Command = TypeVar("Command", bound=Callable[..., None])


def broker_options(command: Command) -> Command:
    """--data-dir and --config, which say which broker is meant, and --timeout; before or behind a
    command."""

    def keep(context: click.Context, option: click.Parameter, value: object) -> None:
        if isinstance(value, float):
            if math.isnan(value):
                raise click.BadParameter("nan is no number of seconds")
            value = min(value, TIMEOUT_MAX_S)
        if value is not None:
            context.meta[KEPT[str(option.name)]] = value

    command = click.option(
        "-t",
        "--timeout",
        metavar="SECONDS",
        type=click.FloatRange(min=0, min_open=True),
        expose_value=False,
        callback=keep,
        help="How long the broker has for an answer (30), a start or a stop (300).",
    )(command)

    command = click.option(
        "--data-dir",
        metavar="DIR",
        expose_value=False,
        callback=keep,
        help="The broker's data folder; as for serve if it is left out.",
    )(command)
    return click.option(
        "--config",
        "config_file",
        metavar="FILE",
        expose_value=False,
        callback=keep,
        help="Take the data folder from this YAML file.",
    )(command)


def data_dir() -> Path:
    """The data folder of the broker that is meant."""
    meta = click.get_current_context().meta
    return find_data_dir(meta.get(_CONFIG), meta.get(_DATA_DIR))


def timeout_or(default: Seconds) -> Seconds | float:
    """The seconds of --timeout, or else these."""
    given: float | None = click.get_current_context().meta.get(_TIMEOUT)
    return default if given is None else given


def ask(command: str, **arguments: object) -> Answer:
    """The result of one command; ends the program with a line if there is none."""
    return _ask(command, arguments, ANSWER_TIMEOUT_S)


def ask_rows(command: str, **arguments: object) -> tuple[list[str], list[Row]]:
    """The columns and the rows of a command that lists."""
    rows: list[Row] = []
    result = _ask(command, arguments, ANSWER_TIMEOUT_S, rows.extend)
    columns = result.get("columns")
    return (columns if isinstance(columns, list) else []), rows


def ask_long(command: str, cancel_by: str = "", **arguments: object) -> Answer:
    """The result of a command that takes its time; Ctrl-C cancels it by another one."""
    path = data_dir()
    try:
        return _ask(command, arguments, None)
    except KeyboardInterrupt:
        if cancel_by:
            with ControlClient(path, ANSWER_TIMEOUT_S) as other:
                other.ask(cancel_by, {})
        raise


def _ask(
    command: str,
    arguments: Answer,
    timeout_s: float | None,
    on_rows: Callable[[list[Row]], None] | None = None,
) -> Answer:
    path = data_dir()
    timeout_s = timeout_or(timeout_s)
    try:
        with ControlClient(path, timeout_s) as client:
            answer = client.ask(command, arguments, on_rows)
    except (FileNotFoundError, ConnectionRefusedError):
        fail(
            EXIT_UNAVAILABLE,
            f"no broker runs on the data folder {path}; --data-dir or --config names another one",
        )
    except PermissionError:
        fail(
            EXIT_UNAVAILABLE,
            f"only the user whom the broker on {path} runs as may ask it: run this as that user",
        )
    except TimeoutError:
        fail(EXIT_TIMEOUT, f"the broker on {path} does not answer within {timeout_s:g} s")
    except OSError as error:
        reason = error.strerror or error
        fail(EXIT_UNAVAILABLE, f"the broker on {path} does not answer: {reason}")
    except ValueError:
        fail(EXIT_UNAVAILABLE, f"the broker on {path} went away, or its answer makes no sense")
    refusal = answer.get("error")
    if isinstance(refusal, dict):
        _fail_as_refused(refusal)
    result = answer.get("result")
    return result if isinstance(result, dict) else {}


def _fail_as_refused(refusal: dict[str, object]) -> NoReturn:
    code = EXIT_CODES.get(refusal.get("code"), EXIT_UNAVAILABLE)
    fail(code, *(line for line in str(refusal.get("text")).splitlines() if line))


def is_answering(folder: Path) -> bool:
    """Whether a broker on this data folder answers at all."""
    try:
        with ControlClient(folder, ANSWER_TIMEOUT_S) as client:
            return "result" in client.ask("ping", {})
    except (OSError, ValueError):
        return False


def suggestions(command: str, column: str, incomplete: str, **arguments: object) -> list[str]:
    """Names of a list that begin like this, for a shell's completion; none without a broker."""
    rows: list[Row] = []
    try:
        with ControlClient(data_dir(), COMPLETION_TIMEOUT_S) as client:
            client.ask(command, {"columns": [column], **arguments}, rows.extend)
    except (OSError, ValueError):
        return []
    return [str(row[0]) for row in rows if str(row[0]).startswith(incomplete)]


@final
class ControlClient:
    """A connection to the control socket of the broker on a data folder."""

    def __init__(self, folder: Path, timeout_s: float | None = None) -> None:
        """Connect. Raises OSError."""
        from amqbroker.server.control import socket_address

        self._next_id = 1
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(timeout_s)
        try:
            with socket_address(folder) as address:
                self._socket.connect(address)
        except OSError:
            self._socket.close()
            raise
        self._lines = self._socket.makefile("rb")

    def __enter__(self) -> ControlClient:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def ask(
        self,
        command: str,
        arguments: Mapping[str, object],
        on_rows: Callable[[list[Row]], None] | None = None,
    ) -> Answer:
        """The whole answer to a command; rows that come ahead of it go to `on_rows`. Raises
        OSError, or ValueError if it is no answer."""
        from amqbroker.server.control import CONTROL_VERSION

        request = {
            "version": CONTROL_VERSION,
            "id": self._next_id,
            "command": command,
            "arguments": arguments,
        }
        self._next_id += 1
        self._socket.sendall(json.dumps(request).encode() + b"\n")
        while True:
            answer = json.loads(self._lines.readline())
            if not isinstance(answer, dict):
                raise ValueError(answer)
            rows = answer.get("rows")
            if not isinstance(rows, list):
                return answer
            if on_rows is not None:
                on_rows(rows)

    def close(self) -> None:
        """Hang up."""
        self._lines.close()
        self._socket.close()
