"""Definitions into and out of a broker process, at the start and while it serves."""

from __future__ import annotations

import json
import re
import threading
from pathlib import Path

import pytest

from amqbroker.server.definitions import (
    LINES_MAX,
    DefinitionsError,
    import_file,
    read_definitions,
    shortened,
)
from tests.core.house import House, core

from .process import BrokerProcess, broker_process
from .test_operations import ask, error_of, rows

# The password is test12: the example of RabbitMQ's documentation.
ANN = {
    "name": "ann",
    "password_hash": "kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR",
    "hashing_algorithm": "rabbit_password_hashing_sha256",
    "tags": [],
}
ALL = {"configure": ".*", "write": ".*", "read": ".*"}
DOCUMENT: dict[str, object] = {
    "users": [ANN],
    "vhosts": [{"name": "v"}],
    "permissions": [{"user": "ann", "vhost": "v", **ALL}],
    "queues": [{"name": "q", "vhost": "v", "arguments": {"x-what": 1}}],
}


def exported(process: BrokerProcess) -> dict[str, list[object]]:
    """The lists of an export."""
    found: dict[str, list[object]] = {}
    for section, item in rows(process, "export_definitions"):
        found.setdefault(str(section), []).append(item)
    return found


def test_what_was_imported_outlives_a_crash_and_can_be_exported(tmp_path: Path) -> None:
    with broker_process(tmp_path / "data") as process:
        answer = ask(process, "import_definitions", definitions=DOCUMENT)
        note = "queues[0]: argument x-what of queue 'q' in vhost 'v' is kept and has no effect"
        assert answer["result"] == {
            "imported": {"vhosts": 1, "users": 1, "permissions": 1, "queues": 1},
            "notes": [note],
        }
        process.expect_log(f"WARNING .* definitions: {re.escape(note)}")
        process.expect_log("definitions imported: 1 vhost, 1 user, 1 permission, 1 queue")
        process.end()
    with broker_process(tmp_path / "data") as again:
        peer = again.raw()
        peer.handshake("ann", "test12", "v")
        assert peer.open_channel().queue_exists("q")
        found = exported(again)
        assert found[""][0]["product_name"] == "amqbroker"  # type: ignore[index]
        assert ANN | {"limits": {}} in found["users"]


def test_a_document_with_mistakes_changes_nothing(tmp_path: Path) -> None:
    with broker_process(tmp_path / "data") as process:
        queues = [
            {"name": f"q{number}", "vhost": "/", "arguments": {"x-max-length": -1}}
            for number in range(200)
        ]
        document = {**DOCUMENT, "queues": queues}
        code, text = error_of(ask(process, "import_definitions", definitions=document))
        assert code == "bad-data"
        lines = str(text).splitlines()
        assert lines[0] == "queues[0].arguments.x-max-length: {value_negative,-1}"
        assert lines[-1] == "and 100 more"
        assert rows(process, "list_vhosts") == [["/"]]
        assert rows(process, "list_queues", vhost="/") == []


def test_every_start_imports_the_file_that_the_configuration_names(tmp_path: Path) -> None:
    file = tmp_path / "definitions.json"
    file.write_text(json.dumps(DOCUMENT))
    for _ in range(2):
        with broker_process(tmp_path / "data", definitions={"file": str(file)}) as process:
            process.raw().handshake("ann", "test12", "v")
            assert process.stop() == 0
    file.write_text('{"queues": [{}]}')
    with broker_process(tmp_path / "data", definitions={"file": str(file)}) as process:
        assert process.failed
        assert process.wait() == 1
        process.expect_log(f"{file}: queues\\[0\\].name: is missing")


def test_clients_are_served_while_much_is_imported(tmp_path: Path) -> None:
    queues = [{"name": f"q{number}", "vhost": "/"} for number in range(20_000)]
    with broker_process(tmp_path / "data") as process:
        ch = process.channel()
        answers: list[object] = []
        thread = threading.Thread(
            target=lambda: answers.append(
                ask(process, "import_definitions", definitions={"queues": queues})
            )
        )
        thread.start()
        round_trips = 0
        while thread.is_alive():
            ch.declare_queue("ping")
            round_trips += 1
        thread.join()
        assert round_trips > 10
        assert answers == [
            {
                "version": 1,
                "id": 1,
                "result": {"imported": {"queues": 20_000}, "notes": []},
            }
        ]
        assert len(exported(process)["queues"]) == 20_000


@pytest.mark.parametrize(
    ("text", "what"), [(None, "cannot be read: No such file"), ("{", "no JSON: "), ("[]", "object")]
)
def test_a_file_that_is_no_definitions(tmp_path: Path, text: str | None, what: str) -> None:
    file = tmp_path / "file"
    if text is not None:
        file.write_text(text)
    with pytest.raises(DefinitionsError, match=f"{file}: .*{what}"):
        import_file(core(House().node), str(file))


def test_what_is_read_is_what_was_written(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text('{"é": 1}', encoding="utf-8")
    assert read_definitions(str(file)) == {"é": 1}
    lines = [str(number) for number in range(LINES_MAX + 5)]
    assert shortened(lines)[-2:] == ["99", "and 5 more"]
    assert shortened(lines[:LINES_MAX]) == lines[:LINES_MAX]
