"""RabbitMQ beside amqbroker: brokers that run already, differences that are listed, walks.

Two amqbrokers stand in for the two: they agree, but for what the tests set differently.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from amqbroker.testing import broker
from interop.beside import __main__ as beside
from interop.beside import definitions, walks

NAMES = ("acknowledging.multiple", "queues.exclusive_goes_with_its_connection")


@pytest.fixture(scope="module")
def uris(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str, str]]:
    """Two brokers with all definitions, and one without."""
    path = tmp_path_factory.mktemp("beside") / "definitions.json"
    path.write_text(json.dumps(definitions.definitions()))
    known = {"definitions": {"file": str(path)}}
    with broker(**known) as one, broker(**known) as two, broker() as bare:
        yield one.url, two.url, bare.url


def run(*arguments: str) -> int:
    """The command, as from a shell."""
    return beside.main(arguments)


def test_two_that_run_already(
    uris: tuple[str, str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    code = run("--rabbitmq", uris[0], "--ours", uris[1], "--only", *NAMES, "permissions.bind")
    assert code == 0, capsys.readouterr().out
    assert " scenarios and 0 walks in " in capsys.readouterr().out


def test_a_listed_difference_that_is_none_fails(
    uris: tuple[str, str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    listed = "combinations.single_active_after_a_cancel"
    assert run("--rabbitmq", uris[0], "--ours", uris[1], "--only", listed) == 1
    assert f"{listed} is listed, yet differs no more" in capsys.readouterr().out


def test_walks(uris: tuple[str, str, str], capsys: pytest.CaptureFixture[str]) -> None:
    code = run("--rabbitmq", uris[0], "--ours", uris[2], "--walks", "3", "--seed", "5")
    assert code == 0, capsys.readouterr().out
    assert "0 scenarios and 3 walks in " in capsys.readouterr().out


def test_a_broker_without_the_definitions_is_told_apart(
    uris: tuple[str, str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--rabbitmq", uris[2], "--ours", uris[1], "--only", *NAMES) == 1
    text = capsys.readouterr().err
    assert "RabbitMQ: reader, writer, " in text
    assert "rabbitmqctl import_definitions FILE" in text


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("guest:guest", "guest:wrong", "guest cannot log in with this password"),
        ("guest:guest", "nobody:nobody", "nobody cannot log in with this password"),
        ("/#", "/none", "guest may not enter virtual host none"),
        ("amqp:", "http:", "not an amqp:// URI"),
    ],
)
def test_what_is_wrong_with_a_uri_is_said(
    uris: tuple[str, str, str],
    capsys: pytest.CaptureFixture[str],
    old: str,
    new: str,
    complaint: str,
) -> None:
    uri = f"{uris[0]}#".replace(old, new).rstrip("#")
    assert run("--rabbitmq", uri, "--ours", uris[1], "--only", *NAMES) == 1
    assert complaint in capsys.readouterr().err


def test_nobody_there(uris: tuple[str, str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--rabbitmq", "amqp://127.0.0.1:1/", "--ours", uris[1], "--only", *NAMES) == 1
    assert "RabbitMQ: no answer from amqp://127.0.0.1:1/" in capsys.readouterr().err


def test_definitions_can_be_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--definitions") == 0
    assert json.loads(capsys.readouterr().out) == definitions.definitions()


def test_a_walk_is_the_same_each_time() -> None:
    assert walks.steps_of(7) == walks.steps_of(7)
    assert walks.steps_of(7) != walks.steps_of(8)


def test_a_walk_is_shortened_to_what_it_needs() -> None:
    steps = walks.steps_of(3)
    needed = [steps[4], steps[20], steps[21]]
    assert walks.shorten(steps, lambda tried: all(step in tried for step in needed)) == needed
