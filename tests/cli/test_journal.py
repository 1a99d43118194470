"""`amqbroker journal`: folders of real brokers, whole and damaged, as text and as JSON."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pika
import pytest
from click.testing import CliRunner, Result

from amqbroker import cli
from amqbroker.core import definitions
from amqbroker.store.files import FolderLock, open_data_folder
from amqbroker.testing import broker
from amqbroker.wire.tables import encode_table


def invoke(*args: str) -> Result:
    return CliRunner().invoke(cli.main, ["journal", *args], prog_name="amqbroker")


def objects(result: Result) -> list[dict[str, object]]:
    """The JSON lines."""
    return [json.loads(line) for line in result.stdout.splitlines()]


def of_kind(result: Result, kind: str) -> list[dict[str, object]]:
    """The JSON lines of one kind."""
    return [found for found in objects(result) if found["kind"] == kind]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A stopped broker's folder, with messages in the journal and in a segment."""
    path = tmp_path_factory.mktemp("made")
    with (
        broker(data_dir=str(path), memory={"queue_bytes_max": 1_048_576}) as amqp,
        pika.BlockingConnection(pika.URLParameters(amqp.url)) as connection,
    ):
        channel = connection.channel()
        channel.confirm_delivery()
        channel.exchange_declare("logs", "topic", durable=True)
        for queue in ("tasks", "empty", "big"):
            channel.queue_declare(queue, durable=True)
        channel.queue_bind("tasks", "logs", "a.#")
        persistent = pika.BasicProperties(delivery_mode=2, content_type="text/plain")
        for body in (b"hello", "h\u00e9llo\n".encode(), b"\xff\x00"):
            channel.basic_publish("logs", "a.b", body, persistent)
        for number in range(30):
            body = b"%d" % number + bytes(100_000)
            channel.basic_publish("", "big", body, pika.BasicProperties(delivery_mode=2))
        channel.basic_get("tasks")
    return path


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """A copy to be damaged."""
    return shutil.copytree(made, tmp_path / "data")


def test_a_sound_folder(folder: Path) -> None:
    result = invoke("verify", "--data-dir", str(folder))
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0] == f"{folder}: format version 3, stopped cleanly"
    assert lines[-1] == "Sound."
    assert "Definitions: 3 durable queues, 1 exchange, 1 binding" in lines
    assert "  queue 'tasks' in vhost '/': 3 messages" in lines
    assert "  queue 'empty' in vhost '/': 0 messages" in lines
    (big,) = (line for line in lines if "'big'" in line)
    assert big.startswith("  queue 'big' in vhost '/': 30 messages: ")
    assert " in the journal" in big


def test_a_sound_folder_as_json(folder: Path) -> None:
    result = invoke("verify", "--json", "--data-dir", str(folder))
    assert result.exit_code == 0
    (summary,) = of_kind(result, "summary")
    assert summary == {
        "kind": "summary",
        "sound": True,
        "problems": 0,
        "notes": 0,
        "queues": 3,
        "messages": 33,
    }
    assert of_kind(result, "folder")[0]["stop"] == "clean"
    queues = {queue["name"]: queue for queue in of_kind(result, "queue")}
    assert queues["tasks"]["messages"] == 3
    segments = of_kind(result, "segment")
    assert sum(segment["messages"] for segment in segments) == queues["big"]["in_segments"]  # type: ignore[misc]
    assert queues["big"]["in_segments"] != 0


@pytest.mark.parametrize("pattern", ["journal-*", "queues/*.seg"])
@pytest.mark.parametrize("where", [0, 1 / 3, 2 / 3])
def test_a_flipped_bit_is_broken(folder: Path, pattern: str, where: float) -> None:
    file = sorted(folder.glob(pattern))[0]
    content = bytearray(file.read_bytes())
    place = int(len(content) * where)
    content[place] ^= 1
    file.write_bytes(content)
    text = invoke("verify", "--data-dir", str(folder))
    assert text.exit_code == 1
    name = str(file.relative_to(folder))
    assert f"\nBroken\n  {name}, offset " in text.stdout
    assert " broken place" in text.stdout.splitlines()[-1]
    as_json = invoke("verify", "--json", "--data-dir", str(folder))
    assert as_json.exit_code == 1
    problem = of_kind(as_json, "problem")[0]
    assert problem["file"] == name
    assert 0 <= int(str(problem["offset"])) <= place
    assert of_kind(as_json, "summary")[0]["sound"] is False
    # What is sound can be read all the same.
    dumped = invoke("dump", "--data-dir", str(folder))
    assert dumped.exception is None or isinstance(dumped.exception, SystemExit)
    assert "queue: vhost '/', name 'tasks'" in dumped.stdout or dumped.exit_code == 1


def test_a_torn_end_is_a_note(folder: Path) -> None:
    last = sorted(folder.glob("journal-*"))[-1]
    last.write_bytes(last.read_bytes()[:-3])
    # With the mark of the clean stop it is no crash.
    assert invoke("verify", "--data-dir", str(folder)).exit_code == 1
    (folder / "journal.last").unlink()
    result = invoke("verify", "--data-dir", str(folder))
    assert result.exit_code == 0
    assert "Left by a crash" in result.stdout
    assert "not stopped cleanly" in result.stdout
    assert result.stdout.splitlines()[-1] == "Sound."


def test_a_folder_that_would_not_start(folder: Path) -> None:
    (folder / "definitions").write_bytes(b"AMQBDEFS")
    result = invoke("verify", "--data-dir", str(folder))
    assert result.exit_code == 1
    assert "it cannot be told how it was stopped" in result.stdout
    assert "\nThe node would not start: definitions, offset 0: " in result.stdout
    as_json = invoke("verify", "--json", "--data-dir", str(folder))
    assert str(of_kind(as_json, "refusal")[0]["what"]).startswith("definitions, offset 0: ")
    dumped = invoke("dump", "--data-dir", str(folder))
    assert dumped.exit_code == 1
    assert dumped.stderr.startswith("amqbroker: definitions, offset 0: ")


def test_dump_prints_definitions_and_messages(folder: Path) -> None:
    result = invoke("dump", "--data-dir", str(folder), "--bodies")
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[2].startswith("exchange: vhost '/', name 'logs', type 'topic'")
    assert any(line.startswith("queue: vhost '/', name 'tasks'") for line in lines)
    assert any(line.startswith("vhost: name '/', ") for line in lines)
    (user,) = (line for line in lines if line.startswith("user: "))
    assert user.startswith("user: name 'guest', ")
    assert "password_hash 'rabbit_password_hashing_sha256'" in user
    (binding,) = (line for line in lines if line.startswith("binding: "))
    assert "source 'logs', destination_type 'queue', destination 'tasks'" in binding
    at = lines.index("Messages of queue 'tasks' in vhost '/'")
    assert lines[at + 1].startswith("  0  journal-0000")
    assert lines[at + 1].endswith("exchange 'logs', routing key 'a.b', 5 bytes, redelivered")
    assert "content_type 'text/plain'" in lines[at + 2]
    assert lines[at + 3] == "    hello"
    assert lines[at + 6] == "    h\u00e9llo\\n"
    assert lines[at + 9] == "    \\xff\\x00"
    assert not lines[at + 4].endswith("redelivered")


def test_dump_of_one_queue_as_json(folder: Path) -> None:
    result = invoke("dump", "--data-dir", str(folder), "--json", "--queue", "tasks", "--bodies")
    messages = objects(result)
    assert [message["kind"] for message in messages] == ["message"] * 3
    assert [message.get("body") for message in messages] == ["hello", "h\u00e9llo\n", None]
    assert messages[2]["body_base64"] == "/wA="
    assert messages[0]["properties"] == {"delivery_mode": 2, "content_type": "text/plain"}
    assert [message["redelivered"] for message in messages] == [True, False, False]
    assert [message["expires_at"] for message in messages] == [None] * 3
    without = invoke("dump", "--data-dir", str(folder), "--json", "--queue", "tasks")
    assert "body" not in objects(without)[0]
    assert objects(without)[0]["body_bytes"] == 5


def test_dump_reads_segments_in_order(folder: Path) -> None:
    result = invoke("dump", "--data-dir", str(folder), "--json", "--queue", "big", "--bodies")
    messages = objects(result)
    assert [str(message["body"]).rstrip("\0") for message in messages] == [
        str(number) for number in range(30)
    ]
    assert any(str(message["file"]).startswith("queues/") for message in messages)


def test_dump_without_a_segment_prints_the_rest(folder: Path) -> None:
    (segment, *_) = sorted((folder / "queues").iterdir())
    segment.unlink()
    result = invoke("dump", "--data-dir", str(folder), "--json", "--queue", "big")
    assert result.exit_code == 1
    assert 0 < len(objects(result)) < 30
    assert f"queues/{segment.name}, offset 0: cannot read" in result.stderr


def test_dump_of_a_queue_or_vhost_that_is_not_there(folder: Path) -> None:
    result = invoke("dump", "--data-dir", str(folder), "--queue", "none")
    assert result.exit_code == 2
    assert result.stderr == f"amqbroker: {folder} has no durable queue 'none'\n"
    other = invoke("dump", "--data-dir", str(folder), "--vhost", "other")
    assert (other.exit_code, other.output) == (0, "")


@pytest.mark.parametrize("command", ["verify", "dump"])
def test_a_folder_in_use_is_refused(folder: Path, command: str) -> None:
    lock = FolderLock(folder)
    holder = (folder / "lock").read_text().strip()
    result = invoke(command, "--data-dir", str(folder))
    assert result.exit_code == 2
    assert result.stderr.startswith(
        f"amqbroker: the data folder {folder} is in use by process {holder}: "
    )
    assert invoke(command, "--data-dir", str(folder), "--force").exit_code == 0
    lock.release()
    assert invoke(command, "--data-dir", str(folder)).exit_code == 0


def test_a_folder_that_is_taken_meanwhile_tells_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    users = ["", "4711"]
    monkeypatch.setattr("amqbroker.store.files.folder_user", lambda path: users.pop(0))
    result = invoke("verify", "--data-dir", str(folder))
    assert result.exit_code == 2
    assert "process 4711 started" in result.stderr


def test_nothing_is_changed(folder: Path) -> None:
    def state() -> dict[str, tuple[int, int]]:
        return {
            str(file): (file.stat().st_mtime_ns, file.stat().st_size) for file in folder.rglob("*")
        }

    before = state()
    invoke("verify", "--data-dir", str(folder))
    invoke("dump", "--data-dir", str(folder))
    assert state() == before


def test_wrong_options(tmp_path: Path) -> None:
    missing = invoke("verify", "--data-dir", str(tmp_path / "none"))
    assert missing.exit_code == 2
    assert missing.stderr == f"amqbroker: there is no folder {tmp_path / 'none'}\n"
    assert invoke("verify", "--nonsense").exit_code == 2
    long = invoke("verify", "--data-dir", str(tmp_path / ("x" * 300)))
    assert long.exit_code == 1
    assert long.stderr.startswith(f"amqbroker: cannot look at {tmp_path}/xxx")
    assert long.stderr.endswith(": File name too long\n")


def test_an_empty_folder_is_sound(tmp_path: Path) -> None:
    result = invoke("verify", "--data-dir", str(tmp_path))
    assert (result.exit_code, result.stdout.splitlines()[-1]) == (0, "Sound.")
    assert invoke("dump", "--data-dir", str(tmp_path)).output == ""


def test_names_that_are_no_utf8(tmp_path: Path) -> None:
    """Of files and of queues, on a terminal that takes UTF-8 only."""
    folder = open_data_folder(tmp_path)
    journal = folder.journal
    name = b"\xfe"
    value = encode_table({"id": 1, "auto_delete": False, "arguments": {}})
    journal.define(definitions.queue_key("/", name.decode(errors="surrogateescape")), value)
    batch = journal.take_batch()
    assert batch is not None
    folder._files.write(batch)
    folder.close()
    (tmp_path / os.fsdecode(b"\xff")).touch()
    for options in ([], ["--json"]):
        for command in ("verify", "dump"):
            result = invoke(command, "--data-dir", str(tmp_path), *options)
            assert result.exit_code == 0, result.output
            assert "\ufffd" in result.output


def test_the_folder_is_found_as_serve_finds_it(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "a.yaml"
    config.write_text(f"data_dir: {folder}\n")
    result = invoke("verify", "--config", str(config))
    assert result.stdout.startswith(f"{folder}: ")
    monkeypatch.setenv("AMQBROKER_DATA_DIR", str(folder))
    assert invoke("verify").stdout.startswith(f"{folder}: ")


@pytest.mark.parametrize("command", ["verify", "dump"])
@pytest.mark.parametrize(
    ("key", "value"),
    [
        (definitions.queue_key("/", "q"), b"no table"),
        (definitions.queue_key("/", "q"), encode_table({"arguments": {}})),
        (definitions.queue_key("/", "q")[:3], encode_table({})),
        (definitions.BINDING_KIND + b"\x01/", b""),
    ],
)
def test_a_definition_that_makes_no_sense_is_named(
    tmp_path: Path, command: str, key: bytes, value: bytes
) -> None:
    folder = open_data_folder(tmp_path)
    folder.journal.define(key, value)
    batch = folder.journal.take_batch()
    assert batch is not None
    folder._files.write(batch)
    folder.close()
    result = invoke(command, "--data-dir", str(tmp_path))
    assert result.exit_code == 1
    assert f"the definition {key!r} makes no sense" in result.output
