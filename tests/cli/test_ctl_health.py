"""Whether a broker is well, waiting for one, and its end, on the command line."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pika
from click.testing import CliRunner, Result

from amqbroker import cli
from amqbroker.cli.ctl_lists import LIST_COMMANDS
from amqbroker.testing import Broker, broker


def invoke(folder: str, *args: str) -> Result:
    return CliRunner().invoke(cli.main, ["ctl", "--data-dir", folder, *args])


def test_a_start_is_waited_for(tmp_path: Path) -> None:
    folder = str(tmp_path / "data")
    late = invoke(folder, "await_startup", "--timeout", "0.1")
    assert late.exit_code == 75
    assert late.stderr == f"amqbroker: no broker serves on the data folder {folder} after 0.1 s\n"
    results: list[Result] = []
    waiting = threading.Thread(target=lambda: results.append(invoke(folder, "await_startup")))
    waiting.start()
    with broker(data_dir=folder):
        waiting.join()
        assert invoke(folder, "check_running").exit_code == 0
    assert (results[0].exit_code, results[0].stdout) == (0, "the broker serves\n")
    assert invoke(folder, "check_running").exit_code == 69


def test_listeners(running: Broker) -> None:
    folder = running.config.data_dir
    listed = invoke(folder, "listeners", "--json")
    assert json.loads(listed.stdout) == [
        {"interface": running.host, "port": running.port, "protocol": "amqp"}
    ]
    assert invoke(folder, "check_port_listener", str(running.port)).exit_code == 0
    other = 1 if running.port != 1 else 2
    wrong = invoke(folder, "check_port_listener", str(other))
    assert wrong.exit_code == 69
    assert wrong.stderr == (
        f"amqbroker: the broker does not listen on port {other}: on {running.port}\n"
    )
    assert invoke(folder, "check_port_listener", "x").exit_code == 64
    assert f"{running.host}:{running.port} (amqp)" in invoke(folder, "status").stdout


def test_alarms(tmp_path: Path) -> None:
    folder = str(tmp_path / "data")
    with broker(data_dir=folder):
        assert invoke(folder, "check_local_alarms").stdout == "no alarm\n"
    with broker(data_dir=folder, disk={"free_limit": 100.0}):
        low = invoke(folder, "check_local_alarms")
        while low.exit_code == 0:
            low = invoke(folder, "check_local_alarms")
        assert low.exit_code == 69
        assert low.stderr.endswith(": publishers are blocked\n")


def test_a_report_has_everything_but_passwords(tmp_path: Path) -> None:
    folder = str(tmp_path / "data")
    everything = {"configure": ".*", "write": ".*", "read": ".*"}
    user = {"name": "ann", "password": "s3cret", "permissions": {"/": everything}}
    with (
        broker(data_dir=folder, users=[user]) as running,
        pika.BlockingConnection(
            pika.URLParameters(f"amqp://ann:s3cret@{running.host}:{running.port}")
        ) as connection,
    ):
        connection.channel().queue_declare("orders")
        text = invoke(folder, "report").stdout
        document = json.loads(invoke(folder, "--json", "report").stdout)
    lists = [str(command.name) for command in LIST_COMMANDS]
    assert set(document) == {"status", "environment", *lists}
    assert document["list_queues"] == [{"name": "orders", "messages": 0}]
    for name in ("status", "environment", *lists):
        assert f"\n{name}\n" in f"\n{text}"
    assert "orders" in text
    assert "s3cret" not in text
    assert "s3cret" not in json.dumps(document)


def test_a_broker_is_stopped(tmp_path: Path) -> None:
    folder = str(tmp_path / "data")
    with broker(data_dir=folder):
        assert invoke(folder, "shutdown").stdout == "the broker has stopped\n"
        assert invoke(folder, "check_running").exit_code == 69
    with broker(data_dir=folder):
        assert invoke(folder, "shutdown", "--no-wait").stdout == "the broker stops\n"
    assert invoke(folder, "shutdown").exit_code == 69
