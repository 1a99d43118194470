"""From a configuration to a serving broker, and back: through real sockets and signals."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pika
import pytest
from pika.exceptions import ConnectionClosedByBroker

from amqbroker.errors import DiskError
from amqbroker.server.startup import StartError
from amqbroker.testing import broker

from .process import broker_process


def test_every_listener_takes_clients() -> None:
    with broker(listeners=["127.0.0.1:0", "127.0.0.2:0"]) as running:
        pika.BlockingConnection(pika.URLParameters(running.url)).close()
        assert [str(listener) for listener in running.config.listeners] == [
            "127.0.0.1:0",
            "127.0.0.2:0",
        ]


def test_a_stop_tells_clients_320() -> None:
    with ThreadPoolExecutor(1) as thread:
        with broker() as running:
            connection = pika.BlockingConnection(pika.URLParameters(running.url))
            waiting = thread.submit(connection.process_data_events, 10)
        with pytest.raises(ConnectionClosedByBroker, match="CONNECTION_FORCED") as caught:
            waiting.result(10)
    assert caught.value.reply_code == 320


def test_a_data_folder_serves_one_broker(tmp_path: Path) -> None:
    folder = str(tmp_path)
    with (
        broker(data_dir=folder),
        pytest.raises(DiskError, match=f"{folder} is in use by process"),
        broker(data_dir=folder),
    ):
        pass


def test_a_start_that_fails_lets_the_data_folder_go(tmp_path: Path) -> None:
    with broker() as running:
        taken = f"127.0.0.1:{running.port}"
        with (
            pytest.raises(StartError, match=f"cannot listen on {taken}"),
            broker(data_dir=str(tmp_path), listeners=[taken]),
        ):
            pass
        with broker(data_dir=str(tmp_path)) as other:
            socket.create_connection((other.host, other.port)).close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_a_clean_stop(tmp_path: Path, number: signal.Signals) -> None:
    command = [sys.executable, "-m", "amqbroker", "--bind", "127.0.0.1:0"]
    with subprocess.Popen(
        [*command, "--data-dir", str(tmp_path)], stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        assert " ready on 127.0.0.1:" in process.stderr.readline()
        process.send_signal(number)
        assert process.stderr.read().rstrip().endswith("stopped")
        assert process.wait() == 0


def test_the_ready_line_says_where_and_after_how_long(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    with broker_process(tmp_path) as process:
        pattern = rf" ready on 127.0.0.1:{process.port} after [\d.]+ s, data in {tmp_path}$"
        assert re.search("INFO amqbroker amqbroker .*" + pattern, process.lines[0])
        record_property("start_s", f"{process.start_s:.2f}")


def test_every_file_that_the_system_allows_is_used(tmp_path: Path) -> None:
    with broker_process(tmp_path) as process:
        limits = Path(f"/proc/{process.pid}/limits").read_text()
        files = re.search(r"Max open files +(\d+) +(\d+)", limits)
        assert files is not None
        assert files[1] == files[2]


def test_what_a_crash_left_is_one_warning(tmp_path: Path) -> None:
    with broker_process(tmp_path) as process:
        ch = process.channel()
        ch.declare_queue("q", durable=True)
    journal = max(tmp_path.glob("journal-*"))
    journal.write_bytes(journal.read_bytes() + b"torn")
    with broker_process(tmp_path) as process:
        assert re.search(
            rf"WARNING amqbroker {journal.name}, .*: torn by a crash", process.lines[0]
        )
        assert process.channel().queue_exists("q")
    with broker_process(tmp_path) as process:
        assert not process.find_log("WARNING")
