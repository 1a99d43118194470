"""`amqbroker status` and `amqbroker backup`, against a broker and against what is none."""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pika
import pytest
from click.testing import CliRunner, Result

from amqbroker import __version__, cli
from amqbroker.cli import control
from amqbroker.cli.control import shown_duration, status_rows
from amqbroker.testing import Broker, broker


def invoke(*args: str) -> Result:
    return CliRunner().invoke(cli.main, list(args), prog_name="amqbroker")


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Broker]:
    with broker(data_dir=str(tmp_path / "data")) as amqp:
        yield amqp


def test_status_for_people(running: Broker) -> None:
    with pika.BlockingConnection(pika.URLParameters(running.url)) as connection:
        connection.channel().queue_declare("q")
        connection.channel().basic_publish("", "q", b"hello")
        result = invoke("status", "--data-dir", running.config.data_dir)
    assert result.exit_code == 0
    rows = dict(line.split(maxsplit=1) for line in result.stdout.splitlines())
    assert rows["version"] == f"amqbroker {__version__}, process {os.getpid()}"
    assert rows["data"] == f"folder    {running.config.data_dir}"
    assert rows["connections"] == "1"
    assert rows["queues"] == "1"
    assert rows["uptime"].endswith(" s")
    assert rows["memory"].endswith(" MiB resident")
    assert "alarm" not in rows


def test_status_for_programs(running: Broker) -> None:
    result = invoke("status", "--json", "--data-dir", running.config.data_dir)
    assert json.loads(result.stdout)["pid"] == os.getpid()


def test_alarms_and_backups_are_rows_of_their_own() -> None:
    answer: dict[str, object] = {"alarm": "low on disk", "backup_running": True}
    rows = dict(status_rows(answer))
    assert rows["alarm"] == "low on disk: publishers are blocked"
    assert rows["backup"] == "under way"
    assert rows["messages"] == "0: 0 ready, 0 unacked"
    assert rows["memory"] == "0 bytes for messages"


def test_durations() -> None:
    shown = [shown_duration(seconds) for seconds in (0, 59, 60, 3661, 86_400 + 7200)]
    assert shown == ["0 s", "59 s", "1 min 0 s", "1 h 1 min", "1 d 2 h"]


def test_a_backup_is_a_folder_to_start_on(running: Broker, tmp_path: Path) -> None:
    with pika.BlockingConnection(pika.URLParameters(running.url)) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        channel.queue_declare("q", durable=True)
        channel.basic_publish("", "q", b"kept", pika.BasicProperties(delivery_mode=2))
    copy = tmp_path / "copy"
    result = invoke("backup", "--data-dir", running.config.data_dir, str(copy))
    assert result.exit_code == 0
    assert result.stdout.startswith(f"{copy}: 1 file (0 hard links), ")
    again = invoke("backup", "--data-dir", running.config.data_dir, str(copy))
    assert again.exit_code == 1
    expected = f"amqbroker: {copy} is there already: a backup overwrites nothing\n"
    assert again.stderr == expected
    verified = invoke("journal", "verify", "--data-dir", str(copy))
    assert verified.exit_code == 0
    with (
        broker(data_dir=str(copy)) as restored,
        pika.BlockingConnection(pika.URLParameters(restored.url)) as connection,
    ):
        assert connection.channel().basic_get("q")[2] == b"kept"


def test_a_destination_is_meant_from_here(
    running: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = invoke("backup", "--json", "--data-dir", running.config.data_dir, "copy")
    assert json.loads(result.stdout)["destination"] == str(tmp_path / "copy")
    assert (tmp_path / "copy").is_dir()


@pytest.mark.parametrize("command", [("status",), ("backup", "copy")])
def test_without_a_broker_it_says_so(tmp_path: Path, command: tuple[str, ...]) -> None:
    result = invoke(*command, "--data-dir", str(tmp_path))
    assert result.exit_code == 1
    assert result.stderr == f"amqbroker: no broker runs on the data folder {tmp_path}\n"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(tmp_path / "control.sock"))
    result = invoke(*command, "--data-dir", str(tmp_path))
    assert result.stderr == f"amqbroker: no broker runs on the data folder {tmp_path}\n"


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
    assert result.exit_code == 1
    assert result.stderr.startswith(f"amqbroker: the broker on {tmp_path} went away")


def test_an_error_is_its_text(tmp_path: Path) -> None:
    error = {"version": 1, "id": 1, "error": {"code": "failed", "text": "no way"}}
    impostor = Impostor(tmp_path, json.dumps(error).encode() + b"\n")
    result = invoke("backup", "--data-dir", str(tmp_path), "/copy")
    impostor.close()
    assert (result.exit_code, result.stderr) == (1, "amqbroker: no way\n")
    assert json.loads(impostor.requests[0]) == {
        "version": 1,
        "id": 1,
        "command": "backup",
        "arguments": {"destination": "/copy"},
    }


def test_a_broker_that_is_silent_is_not_waited_for_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control, "ANSWER_TIMEOUT_S", 0.05)
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(tmp_path / "control.sock"))
        silent.listen()
        result = invoke("status", "--data-dir", str(tmp_path))
    assert result.exit_code == 1
    assert result.stderr == f"amqbroker: the broker on {tmp_path} does not answer: timed out\n"


def test_ctrl_c_cancels_the_backup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    class Client:
        def __init__(self, folder: Path, timeout_s: float | None) -> None:
            pass

        def __enter__(self) -> Client:
            return self

        def __exit__(self, *_error: object) -> None:
            pass

        def ask(self, command: str, _arguments: dict[str, str]) -> dict[str, object]:
            asked.append(command)
            if command == "backup":
                raise KeyboardInterrupt
            return {}

    monkeypatch.setattr(control, "ControlClient", Client)
    assert invoke("backup", "--data-dir", str(tmp_path), "copy").exit_code == 1
    assert asked == ["backup", "cancel-backup"]
