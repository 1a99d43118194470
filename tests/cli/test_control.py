"""`status`, `backup`, `ping` and `environment`, with a broker."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pika
import pytest
from click.testing import CliRunner, Result

from amqbroker import __version__, cli
from amqbroker.cli.control import shown_duration, status_rows
from amqbroker.testing import Broker, broker


def invoke(*args: str) -> Result:
    return CliRunner().invoke(cli.main, list(args), prog_name="amqbroker")


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
    assert rows["memory"] == "0 bytes accounted for"


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
    # The journal's file, and its mark.
    assert result.stdout.startswith(f"{copy}: 2 files (0 hard links), ")
    again = invoke("backup", "--data-dir", running.config.data_dir, str(copy))
    assert again.exit_code == 70
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


def test_a_ping_is_answered(running: Broker) -> None:
    result = invoke("ctl", "ping", "--data-dir", running.config.data_dir)
    assert result.stdout == f"amqbroker {__version__} answers\n"
    quiet = invoke("ctl", "-q", "ping", "--data-dir", running.config.data_dir)
    assert (quiet.exit_code, quiet.stdout) == (0, "")


def test_the_environment_is_the_configuration_without_passwords(running: Broker) -> None:
    result = invoke("ctl", "--data-dir", running.config.data_dir, "environment")
    rows = dict(line.split(maxsplit=1) for line in result.stdout.splitlines() if " " in line)
    assert rows["data_dir"] == running.config.data_dir
    assert rows["limits.frame_max"] == "131072"
    assert rows["users"] == "[]"
    shown = invoke("ctl", "--json", "--data-dir", running.config.data_dir, "environment")
    assert json.loads(shown.stdout)["limits"]["heartbeat_s"] == 60


@pytest.mark.parametrize("seconds", ["infinity", "1e300", "10000000"])
def test_a_very_long_timeout_is_one(running: Broker, seconds: str) -> None:
    result = invoke("ctl", "--data-dir", running.config.data_dir, "ping", "--timeout", seconds)
    assert (result.exit_code, result.stderr) == (0, "")
