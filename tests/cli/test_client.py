"""Commands against brokers that are not there, do not answer, or refuse."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from amqbroker import cli
from amqbroker.cli import client
from amqbroker.cli.client import broker_options, data_dir


def invoke(*args: str) -> Result:
    return CliRunner().invoke(cli.main, list(args), prog_name="amqbroker")


@pytest.mark.parametrize(
    "command", [("status",), ("backup", "copy"), ("ctl", "status"), ("ctl", "list_queues")]
)
def test_without_a_broker_it_says_so(tmp_path: Path, command: tuple[str, ...]) -> None:
    result = invoke(*command, "--data-dir", str(tmp_path))
    assert result.exit_code == 69
    assert result.stderr == (
        f"amqbroker: no broker runs on the data folder {tmp_path}; "
        "--data-dir or --config names another one\n"
    )
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(tmp_path / "control.sock"))
    result = invoke(*command, "--data-dir", str(tmp_path))
    assert result.stderr == (
        f"amqbroker: no broker runs on the data folder {tmp_path}; "
        "--data-dir or --config names another one\n"
    )


class Impostor:
    """Listens where a broker would, takes one request, answers with this and hangs up."""

    def __init__(self, folder: Path, answer: bytes) -> None:
        self.requests: list[bytes] = []
        self._answer = answer
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(str(folder / "control.sock"))
        self._listening.listen()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        connection, _ = self._listening.accept()
        with connection:
            self.requests.append(connection.recv(4096))
            connection.sendall(self._answer)

    def close(self) -> None:
        """The end."""
        self._thread.join()
        self._listening.close()


@pytest.mark.parametrize("answer", [b"", b"nonsense\n", b"[]\n"])
def test_an_answer_that_makes_no_sense(tmp_path: Path, answer: bytes) -> None:
    impostor = Impostor(tmp_path, answer)
    result = invoke("status", "--data-dir", str(tmp_path))
    impostor.close()
    assert result.exit_code == 69
    assert result.stderr.startswith(f"amqbroker: the broker on {tmp_path} went away")


@pytest.mark.parametrize(
    ("code", "exit_code"),
    [
        ("bad-argument", 64),
        ("bad-data", 65),
        ("no-such-user", 67),
        ("refused", 69),
        ("not-found", 69),
        ("failed", 70),
    ],
)
def test_an_error_is_its_text(tmp_path: Path, code: str, exit_code: int) -> None:
    error = {"version": 1, "id": 1, "error": {"code": code, "text": "no way"}}
    impostor = Impostor(tmp_path, json.dumps(error).encode() + b"\n")
    result = invoke("backup", "--data-dir", str(tmp_path), "/copy")
    impostor.close()
    assert (result.exit_code, result.stderr) == (exit_code, "amqbroker: no way\n")
    assert json.loads(impostor.requests[0]) == {
        "version": 1,
        "id": 1,
        "command": "backup",
        "arguments": {"destination": "/copy"},
    }


def test_a_broker_that_is_silent_is_not_waited_for_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "ANSWER_TIMEOUT_S", 0.05)
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(tmp_path / "control.sock"))
        silent.listen()
        result = invoke("status", "--data-dir", str(tmp_path))
        shorter = invoke("status", "--data-dir", str(tmp_path), "-t", "0.02")
    what = f"amqbroker: the broker on {tmp_path} does not answer within"
    assert (result.exit_code, result.stderr) == (75, f"{what} 0.05 s\n")
    assert (shorter.exit_code, shorter.stderr) == (75, f"{what} 0.02 s\n")


def test_ctrl_c_cancels_the_backup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    class Client:
        def __init__(self, folder: Path, timeout_s: float | None) -> None:
            pass

        def __enter__(self) -> Client:
            return self

        def __exit__(self, *_error: object) -> None:
            pass

        def ask(
            self,
            command: str,
            _arguments: dict[str, str],
            _on_rows: Callable[[list[object]], None] | None = None,
        ) -> dict[str, object]:
            asked.append(command)
            if command == "backup":
                raise KeyboardInterrupt
            return {}

    monkeypatch.setattr(client, "ControlClient", Client)
    assert invoke("backup", "--data-dir", str(tmp_path), "copy").exit_code == 1
    assert asked == ["backup", "cancel-backup"]


def test_the_folder_may_be_named_before_or_behind_and_the_last_one_counts(tmp_path: Path) -> None:
    found: list[Path] = []

    @click.group()
    @broker_options
    def group() -> None:
        pass

    @group.command()
    @broker_options
    def command() -> None:
        found.append(data_dir())

    file = tmp_path / "config.yaml"
    file.write_text("data_dir: /c\n")
    for args in (["--data-dir", "/a", "command"], ["command", "--data-dir", "/a"]):
        CliRunner().invoke(group, args, catch_exceptions=False)
    CliRunner().invoke(group, ["--data-dir", "/a", "command", "--data-dir", "/b"])
    CliRunner().invoke(group, ["--config", str(file), "command"])
    assert found == [Path("/a"), Path("/a"), Path("/b"), Path("/c")]
