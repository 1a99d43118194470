"""The commands of the control socket, on a node of its own and on a broker process under load."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from random import Random

import anyio
import pytest
from pamqp import commands as amqp

from amqbroker import __version__
from amqbroker.cli.client import ControlClient
from amqbroker.config import Config
from amqbroker.node import Node
from amqbroker.server.admin import Admin
from amqbroker.server.control import CommandError, Result
from amqbroker.store.backup import Backup
from amqbroker.store.files import DataFolder, RealDisk, open_data_folder
from amqbroker.store.inspect import inspect_folder
from amqbroker.testing import broker

from .process import BrokerProcess, broker_process, wait_until

PAGE = Path(__file__).parents[2] / "docs" / "formats" / "control.md"
LISTENERS: list[Result] = [{"host": "127.0.0.1", "port": 5672, "protocol": "amqp"}]
PERSISTENT = amqp.Basic.Properties(delivery_mode=2)


class House:
    """A node without connections, and its commands."""

    def __init__(self, path: Path) -> None:
        self.folder: DataFolder = open_data_folder(path)
        self.node = Node(Config(), self.folder.journal, self.folder.recovered, Random(1), 0.0)
        self.stopped: list[bool] = []
        self.admin = Admin(
            self.node, self.folder, path, lambda: LISTENERS, lambda: self.stopped.append(True)
        )

    async def run(self, name: str, **arguments: object) -> Result:
        """Carry out a command."""
        result = await self.admin.commands.run(name, arguments)
        assert isinstance(result, dict)
        return result

    def ask(self, name: str, **arguments: object) -> Result:
        """Carry out a command, from outside."""

        async def run() -> Result:
            return await self.run(name, **arguments)

        return anyio.run(run)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    made = House(tmp_path / "data")
    yield made
    made.folder.close()


def test_ping_says_who_answers(house: House) -> None:
    assert house.ask("ping") == {
        "product": "amqbroker",
        "version": __version__,
        "protocol": 1,
        "commands": ["backup", "cancel-backup", "environment", "ping", "shutdown", "status"],
    }


def test_the_page_has_every_command(tmp_path: Path) -> None:
    with broker(data_dir=str(tmp_path / "data")), ControlClient(tmp_path / "data") as client:
        answer = client.ask("ping", {})["result"]
    assert isinstance(answer, dict)
    table = PAGE.read_text().partition("## Commands")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (`[^|]*) \|", table, re.MULTILINE)
    assert sorted(re.findall(r"`([^`]+)`", " ".join(rows))) == answer["commands"]


def test_status_of_an_idle_node(house: House, tmp_path: Path) -> None:
    answer = house.ask("status")
    assert answer["version"] == __version__
    assert answer["pid"] == os.getpid()
    assert answer["data_dir"] == str(tmp_path / "data")
    for name in ("connections", "queues", "messages_ready", "messages_unacked"):
        assert answer[name] == 0
    assert answer["vhosts"] == 1
    assert answer["listeners"] == LISTENERS
    assert (answer["alarm"], answer["backup_running"]) == ("", False)


def test_a_stop_is_begun(house: House) -> None:
    assert (house.ask("shutdown"), house.stopped) == ({}, [True])


def error_of(house: House, name: str, **arguments: object) -> tuple[str, str]:
    """The error that must be the answer."""
    with pytest.raises(CommandError) as caught:
        house.ask(name, **arguments)
    return caught.value.code, caught.value.text


def test_a_broken_journal_is_not_backed_up(house: House, tmp_path: Path) -> None:
    house.node.journal_failed("cannot sync it")
    code, text = error_of(house, "backup", destination=str(tmp_path / "copy"))
    assert code == "refused"
    assert text.endswith(": cannot sync it")
    assert not (tmp_path / "copy").exists()


def test_a_backup_that_cannot_be_written_says_why(house: House, tmp_path: Path) -> None:
    code, text = error_of(house, "backup", destination=str(tmp_path / "a" / "b"))
    assert code == "failed"
    assert text == f"cannot create {tmp_path}/a/b.partial: No such file or directory"


def test_a_backup_can_be_cancelled(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert house.ask("cancel-backup") == {"cancelled": False}
    go_on = threading.Event()

    def copy_some(backup: Backup) -> bool:
        return go_on.wait(10)

    monkeypatch.setattr(Backup, "copy_some", copy_some)
    errors: list[CommandError] = []

    async def back_up() -> None:
        try:
            await house.run("backup", destination=str(tmp_path / "copy"))
        except CommandError as error:
            errors.append(error)

    async def run() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(back_up)
            while not (await house.run("status"))["backup_running"]:
                await anyio.lowlevel.checkpoint()
            with pytest.raises(CommandError, match="another backup is under way"):
                await house.run("backup", destination=str(tmp_path / "other"))
            assert await house.run("cancel-backup") == {"cancelled": True}
            go_on.set()

    anyio.run(run)
    assert [error.code for error in errors] == ["cancelled"]
    assert os.listdir(tmp_path) == ["data"]


# A broker that serves.


def ask(process: BrokerProcess, command: str, **arguments: str) -> Result:
    """The result of a command."""
    with ControlClient(process.data_dir, 15) as client:
        result = client.ask(command, arguments)["result"]
    assert isinstance(result, dict)
    return result


def test_status_counts_what_a_broker_has(tmp_path: Path) -> None:
    with broker_process(tmp_path) as process:
        ch = process.channel()
        ch.declare_queue("a")
        ch.declare_queue("b", durable=True)
        ch.fill("a", *[bytes(1000)] * 5)
        ch.must_get("a")
        answer = ask(process, "status")
        assert answer["pid"] == process.pid
        assert (answer["connections"], answer["queues"]) == (1, 2)
        assert (answer["messages_ready"], answer["messages_unacked"]) == (4, 1)
        accounted = answer["memory_accounted_bytes"]
        assert isinstance(accounted, int)
        parts = answer["memory"]
        assert isinstance(parts, dict)
        assert sum(parts.values()) == accounted
        assert 5000 < parts["messages"] < 20_000
        assert parts["connections"] > 0
        assert parts["queues"] > 0
        process.drop_clients()
        wait_until(lambda: ask(process, "status")["connections"] == 0, "the client is gone")


class Load:
    """Publishes numbered messages, and keeps a second queue busy so that journal files go."""

    def __init__(self, process: BrokerProcess) -> None:
        self.confirmed = 0
        self._stop = threading.Event()
        self._channel = process.channel()
        self._channel.declare_queue("kept", durable=True)
        self._channel.declare_queue("busy", durable=True)
        self._channel.confirm()
        self._busy = process.channel()
        self._busy.consume("busy", no_ack=True)
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        published = tag = 0
        while not self._stop.is_set():
            first = tag + 1
            for _ in range(20):
                body = b"%08d" % published + bytes(500)
                self._channel.publish(body, key="kept", properties=PERSISTENT)
                self._channel.publish(bytes(1000), key="busy", properties=PERSISTENT)
                published += 1
                tag += 2
            self._channel.expect_confirms(tag, first=first)
            self.confirmed = published

    def end(self) -> int:
        """How many were published, all of them confirmed."""
        self._stop.set()
        self._thread.join(15)
        return self.confirmed


def numbers(path: Path) -> list[int]:
    """What a broker on this folder has, in its order. The folder is sound before."""
    report = inspect_folder(RealDisk(path))
    assert [str(problem) for problem in report.problems] == []
    with broker_process(path) as process:
        return [int(body[:8]) for body in process.channel().get_bodies("kept")]


def test_a_backup_under_load_has_all_that_was_confirmed_before(tmp_path: Path) -> None:
    settings = {
        "store": {"journal_file_size_bytes": 65_536},
        "memory": {"queue_bytes_max": 1_048_576},
    }
    with broker_process(tmp_path / "data", **settings) as process:
        load = Load(process)
        backups: list[tuple[Path, int, int]] = []
        for number in range(3):
            goal = 400 * (number + 1)
            wait_until(lambda goal=goal: load.confirmed >= goal, "there is a load")  # type: ignore[misc]
            before = load.confirmed
            copy = tmp_path / f"copy {number}"
            result = ask(process, "backup", destination=str(copy))
            assert result["destination"] == str(copy)
            backups.append((copy, before, load.confirmed))
        published = load.end()
        # It still confirms, delivers, and gives disk back.
        names = os.listdir(process.data_dir)
        assert sum(name.startswith("journal-") for name in names) < 12
        assert process.stop() == 0
        assert not process.find_log("ERROR|Traceback|WARNING.*control")
    assert sorted(os.listdir(tmp_path)) == ["copy 0", "copy 1", "copy 2", "data"]
    for copy, before, after in backups:
        found = numbers(copy)
        assert found == list(range(len(found)))
        assert before <= len(found) <= after + 20
    assert numbers(tmp_path / "data") == list(range(published))


def test_a_broker_that_stops_ends_a_backup_and_leaves_nothing_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def copy_for_ever(backup: Backup) -> bool:
        return True

    monkeypatch.setattr(Backup, "copy_some", copy_for_ever)
    answers: list[bytes] = []

    def back_up() -> None:
        with ControlClient(tmp_path / "data", 15) as client:
            try:
                client.ask("backup", {"destination": str(tmp_path / "copy")})
            except ValueError as error:
                answers.append(str(error).encode())

    thread = threading.Thread(target=back_up)
    with broker(data_dir=str(tmp_path / "data")):
        thread.start()
        partial = tmp_path / "copy.partial" / "queues"
        wait_until(partial.exists, "the backup is under way")
    thread.join(15)
    assert len(answers) == 1, "the connection was not closed without an answer"
    assert os.listdir(tmp_path) == ["data"]
    assert "control.sock" not in os.listdir(tmp_path / "data")
