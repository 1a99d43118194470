"""Definitions on the command line, of a broker."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pika

from amqbroker.testing import Broker, broker
from tests.cli.commands import invoke


def test_out_of_one_broker_and_into_another(running: Broker, tmp_path: Path) -> None:
    with pika.BlockingConnection(pika.URLParameters(running.url)) as connection:
        connection.channel().queue_declare("q", durable=True)
        connection.channel().queue_bind("q", "amq.topic", "a.#")
    invoke(running, "add_user", "ann", "s3cret")
    invoke(running, "set_permissions", "ann", ".*", ".*", ".*")
    file = tmp_path / "definitions.json"
    result = invoke(running, "export_definitions", str(file))
    assert result.stdout == (f"{file}: 2 users, 1 vhost, 2 permissions, 1 queue, 1 binding\n")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    shown = json.loads(invoke(running, "export_definitions").stdout)
    assert shown == json.loads(file.read_text())
    assert shown["policies"] == []
    with broker(data_dir=str(tmp_path / "other")) as other:
        imported = invoke(other, "import_definitions", str(file))
        assert imported.exit_code == 0, imported.stderr
        assert imported.stdout == (
            "imported: 1 vhost, 2 users, 2 permissions, 1 queue, 1 binding\n"
        )
        url = f"amqp://ann:s3cret@{other.host}:{other.port}/"
        with pika.BlockingConnection(pika.URLParameters(url)) as connection:
            connection.channel().queue_declare("q", passive=True)
        again = invoke(other, "import_definitions", "--json", stdin=file.read_text())
        assert json.loads(again.stdout)["imported"]["users"] == 2


def test_what_is_not_honoured_is_on_standard_error(running: Broker) -> None:
    document = {"queues": [{"name": "s", "arguments": {"x-queue-type": "stream"}}]}
    result = invoke(running, "import_definitions", "-p", "/", stdin=json.dumps(document))
    assert (result.exit_code, result.stdout) == (0, "imported: nothing new\n")
    assert result.stderr == (
        "amqbroker: queues[0]: queue 's' in vhost '/' has the type 'stream', which is not known; "
        "left out, with its bindings\n"
    )


def test_mistakes_are_lines_and_65(running: Broker, tmp_path: Path) -> None:
    document = {"queues": [{"name": "q"}, 7]}
    result = invoke(running, "import_definitions", stdin=json.dumps(document))
    assert (result.exit_code, result.stderr) == (
        65,
        "amqbroker: queues[0].vhost: is missing\namqbroker: queues[1]: an object is needed\n",
    )
    assert invoke(running, "import_definitions", stdin="{").exit_code == 65
    assert invoke(running, "import_definitions", stdin="[]").exit_code == 65
    missing = invoke(running, "import_definitions", "/nowhere")
    assert (missing.exit_code, missing.stderr) == (
        64,
        "amqbroker: /nowhere: cannot be read: No such file or directory\n",
    )
    unwritable = invoke(running, "export_definitions", str(tmp_path / "a" / "b"))
    assert unwritable.exit_code == 64
