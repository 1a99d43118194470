"""The group `amqbroker ctl` itself."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from amqbroker import cli
from amqbroker.cli.ctl import ctl


def invoke(*args: str) -> Result:
    return CliRunner().invoke(cli.main, ["ctl", *args], prog_name="amqbroker")


@pytest.mark.parametrize(
    ("args", "text"),
    [
        (("--colour",), "No such option '--colour'"),
        (("list_quues",), "No such command 'list_quues'"),
        (("purge_queue",), "Missing argument 'QUEUE'"),
        (("list_queues", "--formatter", "xml"), "Invalid value for '--formatter'"),
        (("publish", "q", "m", "--header", "x"), "'x' is not NAME=VALUE"),
        (("publish", "q", "m", "--header", "x:=y"), "'y' is no JSON"),
        (("publish", "q", "m", "--header", "x:=" + "[" * 100_000), "is no JSON"),
        (("ping", "--timeout", "nan"), "nan is no number of seconds"),
        (("publish", "q", "m", "--file", "f"), "either a body or --file is needed"),
        (("close_all_connections", "--global", "--user", "u", "why"), "--global does not go with"),
    ],
)
def test_wrong_use_is_64_and_says_what_is_right(
    tmp_path: Path, args: tuple[str, ...], text: str
) -> None:
    result = invoke(*args)
    assert result.exit_code == 64
    assert text in result.stderr.replace("\n", " ")


@pytest.mark.parametrize(
    ("command", "text"),
    [
        (("add_user", "ann"), "standard input is closed: give the password as an argument"),
        (("publish", "q"), "standard input is closed: give a body or --file"),
        (("import_definitions",), "standard input is closed: name a FILE"),
    ],
)
def test_a_closed_standard_input_is_named(command: tuple[str, ...], text: str) -> None:
    program = ["sh", "-c", 'exec "$@" <&-', "sh", sys.executable, "-m", "amqbroker", "ctl"]
    ended = subprocess.run([*program, *command], capture_output=True, text=True, check=False)
    assert ended.returncode == 64
    assert text in ended.stderr


def test_hyphens_do_as_well(tmp_path: Path) -> None:
    assert "list_queues" in invoke("list_queues", "--help").output
    assert invoke("list-queues", "--help").exit_code == 0
    result = invoke("list-queues", "--data-dir", str(tmp_path))
    assert result.stderr == (
        f"amqbroker: no broker runs on the data folder {tmp_path}; "
        "--data-dir or --config names another one\n"
    )


def test_help_has_a_command_too() -> None:
    assert invoke("help", "list_queues").output == invoke("list_queues", "--help").output
    assert invoke("help").output == invoke("--help").output
    assert invoke("help", "nonsense").exit_code == 64


def test_every_command_says_what_it_does() -> None:
    for name, command in ctl.commands.items():
        assert command.help, name
        assert "-" not in name


ROOT = Path(__file__).parents[2]
# What rabbitmqctl has not.
OWN = ("backup", "get", "peek", "publish", "reload")
# What is in rabbitmq-diagnostics there.
DIAGNOSTICS = ("check_local_alarms", "check_port_listener", "check_running", "listeners")


def table() -> list[str]:
    """The table of docs/CTL.md as it should be."""
    rows = ["| amqbroker ctl | rabbitmqctl | what |", "|---|---|---|"]
    for name, command in sorted(ctl.commands.items()):
        words = [f"`{name}`"]
        words += [
            parameter.make_metavar(click.Context(command))
            for parameter in command.params
            if isinstance(parameter, click.Argument)
        ]
        same = "" if name in OWN else f"`{name}`"
        if name in DIAGNOSTICS:
            same = f"`rabbitmq-diagnostics {name}`"
        what = command.get_short_help_str(300).replace("|", "\\|")
        rows.append(f"| {' '.join(words)} | {same} | {what} |".replace("|  |", "| |"))
    return rows


def test_the_page_has_every_command() -> None:
    page = (ROOT / "docs" / "CTL.md").read_text(encoding="utf-8")
    found = [line for line in page.splitlines() if line.startswith("|")]
    assert found == table(), "\n".join(table())
