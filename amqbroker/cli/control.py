"""`amqbroker status` and `amqbroker backup`: commands for a broker that runs.

They find it by its data folder, and talk to it through the control socket there.
"""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Final, final

import click

from amqbroker.cli.common import (
    EXIT_FAILED,
    fail,
    find_data_dir,
    folder_options,
    json_option,
    shown_count,
    shown_size,
)

# How long a broker has for a look at itself; it may be in the middle of a long turn.
ANSWER_TIMEOUT_S: Final = 30.0

Answer = dict[str, object]


@click.command()
@folder_options
@json_option
def status(config_file: str | None, data_dir: str | None, as_json: bool) -> None:
    """Show how the running broker is: connections, queues, messages, memory."""
    path = find_data_dir(config_file, data_dir)
    answer = _ask(path, "status", timeout_s=ANSWER_TIMEOUT_S)
    if as_json:
        click.echo(json.dumps(answer))
        return
    for label, text in status_rows(answer):
        click.echo(f"{label:<14} {text}")


@click.command()
@folder_options
@json_option
@click.argument("destination")
def backup(config_file: str | None, data_dir: str | None, as_json: bool, destination: str) -> None:
    """Write a consistent copy of the running broker's data folder to the new folder DESTINATION.

    The broker serves on meanwhile. All that it confirmed before is in the copy. On the same file
    system most files are hard links, so that it takes a moment and hardly any room. To restore,
    start a broker on the copy: amqbroker --data-dir DESTINATION.
    """
    path = find_data_dir(config_file, data_dir)
    absolute = Path(destination).absolute()
    answer = _ask(path, "backup", {"destination": str(absolute)}, cancel_by="cancel-backup")
    if as_json:
        click.echo(json.dumps(answer))
        return
    files = shown_count(_number(answer, "files"), "file")
    size = shown_size(_number(answer, "bytes"))
    links = shown_count(_number(answer, "linked"), "hard link")
    click.echo(f"{absolute}: {files} ({links}), {size}, in {answer.get('seconds')} s")


def status_rows(answer: Answer) -> list[tuple[str, str]]:
    """The status for people."""
    ready, unacked = _number(answer, "messages_ready"), _number(answer, "messages_unacked")
    resident = answer.get("memory_resident_bytes")
    memory = f"{shown_size(_number(answer, 'memory_accounted_bytes'))} for messages"
    if isinstance(resident, int):
        memory += f", {shown_size(resident)} resident"
    rows = [
        ("version", f"amqbroker {answer.get('version')}, process {answer.get('pid')}"),
        ("data folder", str(answer.get("data_dir"))),
        ("uptime", shown_duration(_number(answer, "uptime_s"))),
        ("connections", f"{_number(answer, 'connections'):,}"),
        ("queues", f"{_number(answer, 'queues'):,}"),
        ("messages", f"{ready + unacked:,}: {ready:,} ready, {unacked:,} unacked"),
        ("memory", memory),
    ]
    if answer.get("alarm"):
        rows.append(("alarm", f"{answer['alarm']}: publishers are blocked"))
    if answer.get("backup_running"):
        rows.append(("backup", "under way"))
    return rows


def shown_duration(seconds: int) -> str:
    """`2 d 3 h`, `3 h 4 min`, `4 min 5 s`, `5 s`."""
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = [(days, "d"), (hours, "h"), (minutes, "min"), (seconds, "s")]
    while len(parts) > 1 and parts[0][0] == 0:
        del parts[0]
    return " ".join(f"{amount} {unit}" for amount, unit in parts[:2])


def _number(answer: Answer, name: str) -> int:
    value = answer.get(name)
    return int(value) if isinstance(value, int | float) else 0


def _ask(
    path: Path,
    command: str,
    arguments: dict[str, str] | None = None,
    timeout_s: float | None = None,
    cancel_by: str = "",
) -> Answer:
    """The result of one command; ends the program with a line if there is none."""
    try:
        with ControlClient(path, timeout_s) as client:
            try:
                answer = client.ask(command, arguments or {})
            except KeyboardInterrupt:
                if cancel_by:
                    with ControlClient(path, ANSWER_TIMEOUT_S) as other:
                        other.ask(cancel_by, {})
                raise
    except (FileNotFoundError, ConnectionRefusedError):
        fail(EXIT_FAILED, f"no broker runs on the data folder {path}")
    except OSError as error:
        fail(EXIT_FAILED, f"the broker on {path} does not answer: {error.strerror or error}")
    except ValueError:
        fail(EXIT_FAILED, f"the broker on {path} went away, or its answer makes no sense")
    refusal = answer.get("error")
    if isinstance(refusal, dict):
        fail(EXIT_FAILED, str(refusal.get("text")))
    result = answer.get("result")
    return result if isinstance(result, dict) else {}


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

    def ask(self, command: str, arguments: dict[str, str]) -> Answer:
        """The whole answer to a command. Raises OSError, or ValueError if it is none."""
        from amqbroker.server.control import CONTROL_VERSION

        request = {
            "version": CONTROL_VERSION,
            "id": self._next_id,
            "command": command,
            "arguments": arguments,
        }
        self._next_id += 1
        self._socket.sendall(json.dumps(request).encode() + b"\n")
        answer = json.loads(self._lines.readline())
        if not isinstance(answer, dict):
            raise ValueError(answer)
        return answer

    def close(self) -> None:
        """Hang up."""
        self._lines.close()
        self._socket.close()
