"""`status`, `backup`, `ping` and `environment`: how a broker that runs is, and a copy of its data.

They are commands of `amqbroker ctl`; the first two are there without `ctl` as well.
"""

from __future__ import annotations

import json
from pathlib import Path

import click

from amqbroker.cli.client import Answer, ask, ask_long, broker_options
from amqbroker.cli.common import shown_count, shown_size
from amqbroker.cli.output import format_options, quiet_option, say, show_rows, wants_json


@click.command()
@broker_options
@format_options
def status() -> None:
    """Show how the running broker is: connections, queues, messages, memory."""
    answer = ask("status")
    if wants_json():
        click.echo(json.dumps(answer))
        return
    for label, text in status_rows(answer):
        click.echo(f"{label:<14} {text}")


@click.command()
@broker_options
@format_options
@click.argument("destination")
def backup(destination: str) -> None:
    """Write a consistent copy of the running broker's data folder to the new folder DESTINATION.

    The broker serves on meanwhile. All that it confirmed before is in the copy. On the same file
    system most files are hard links, so that it takes a moment and hardly any room. To restore,
    start a broker on the copy: amqbroker --data-dir DESTINATION.
    """
    absolute = Path(destination).absolute()
    answer = ask_long("backup", cancel_by="cancel-backup", destination=str(absolute))
    if wants_json():
        click.echo(json.dumps(answer))
        return
    files = shown_count(_number(answer, "files"), "file")
    size = shown_size(_number(answer, "bytes"))
    links = shown_count(_number(answer, "linked"), "hard link")
    click.echo(f"{absolute}: {files} ({links}), {size}, in {answer.get('seconds')} s")


@click.command()
@broker_options
@quiet_option
def ping() -> None:
    """Ask the broker whether it is there."""
    answer = ask("ping")
    say(f"amqbroker {answer.get('version')} answers")


@click.command()
@broker_options
@format_options
def environment() -> None:
    """Show the configuration that the broker runs with, without passwords."""
    answer = ask("environment")
    if wants_json():
        click.echo(json.dumps(answer, ensure_ascii=False, indent=1))
        return
    show_rows(["setting", "value"], settings_rows(answer))


@click.command("reload")
@broker_options
@format_options
@quiet_option
def reload_() -> None:
    """Let the broker read its configuration file and its certificates again, as SIGHUP does.

    With a mistake in the file nothing changes, and the exit code is 65. What needs a restart is
    named.
    """
    answer = ask("reload")
    if wants_json():
        click.echo(json.dumps(answer))
        return
    changed, restart = answer.get("changed"), answer.get("needs_restart")
    names = ", ".join(changed) if isinstance(changed, list) else ""
    say(f"reloaded: {names or 'nothing has changed'}")
    if isinstance(restart, list) and restart:
        click.echo(f"amqbroker: needs a restart: {', '.join(restart)}", err=True)


@click.command("set_log_level")
@broker_options
@quiet_option
@click.argument("level")
def set_log_level(level: str) -> None:
    """Log more or less: debug, info, warning or error, until the next start or reload."""
    ask("set_log_level", level=level)
    say(f"the log has {level} and what is worse")


def settings_rows(table: Answer, path: str = "") -> list[list[object]]:
    """Settings by their paths: `limits.frame_max`."""
    found: list[list[object]] = []
    for name, value in table.items():
        if isinstance(value, dict) and value and not path:
            found += settings_rows(value, f"{name}.")
        else:
            found.append([path + name, value])
    return found


def status_rows(answer: Answer) -> list[tuple[str, str]]:
    """The status for people."""
    ready, unacked = _number(answer, "messages_ready"), _number(answer, "messages_unacked")
    resident = answer.get("memory_resident_bytes")
    memory = f"{shown_size(_number(answer, 'memory_accounted_bytes'))} accounted for"
    parts = answer.get("memory")
    if isinstance(parts, dict):
        memory += f" ({shown_size(_number(parts, 'messages'))} for messages)"
    if isinstance(resident, int):
        memory += f", {shown_size(resident)} resident"
    rows = [
        ("version", f"amqbroker {answer.get('version')}, process {answer.get('pid')}"),
        ("data folder", str(answer.get("data_dir"))),
        ("uptime", shown_duration(_number(answer, "uptime_s"))),
        ("listeners", _listeners(answer.get("listeners"))),
        ("connections", f"{_number(answer, 'connections'):,}"),
        ("queues", f"{_number(answer, 'queues'):,}"),
        ("messages", f"{ready + unacked:,}: {ready:,} ready, {unacked:,} unacked"),
        ("memory", memory),
    ]
    if answer.get("alarm"):
        rows.append(("alarm", f"{answer['alarm']}: publishers are blocked"))
    if answer.get("backup_running"):
        rows.append(("backup", "under way"))
    return rows


def _listeners(found: object) -> str:
    """Addresses for people."""
    shown = []
    for each in found if isinstance(found, list) else []:
        host = f"[{each['host']}]" if ":" in each["host"] else each["host"]
        shown.append(f"{host}:{each['port']} ({each['protocol']})")
    return ", ".join(shown)


def shown_duration(seconds: int) -> str:
    """`2 d 3 h`, `3 h 4 min`, `4 min 5 s`, `5 s`."""
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = [(days, "d"), (hours, "h"), (minutes, "min"), (seconds, "s")]
    while len(parts) > 1 and parts[0][0] == 0:
        del parts[0]
    return " ".join(f"{amount} {unit}" for amount, unit in parts[:2])


def _number(answer: Answer, name: str) -> int:
    value = answer.get(name)
    return int(value) if isinstance(value, int | float) else 0
