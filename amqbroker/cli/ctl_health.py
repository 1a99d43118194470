"""Commands of `amqbroker ctl` that ask whether a broker is well, wait for it, and stop it."""

from __future__ import annotations

import fcntl
import json
import time
from pathlib import Path
from typing import Final

import click

from amqbroker.cli.client import (
    EXIT_TIMEOUT,
    EXIT_UNAVAILABLE,
    EXIT_USAGE,
    Answer,
    ask,
    ask_rows,
    broker_options,
    data_dir,
    is_answering,
    timeout_or,
)
from amqbroker.cli.common import fail
from amqbroker.cli.control import settings_rows, status_rows
from amqbroker.cli.ctl_lists import LIST_COMMANDS
from amqbroker.cli.output import format_options, quiet_option, say, show_rows, wants_json

# How long a start or a stop is waited for if nobody says, and how often it is looked at.
WAIT_S: Final = 300.0
LOOK_S: Final = 0.05


@click.command("await_startup")
@broker_options
@quiet_option
def await_startup() -> None:
    """Wait until the broker serves; exit code 75 if it does not in time (--timeout, or 300 s)."""
    folder, wait_s = data_dir(), timeout_or(WAIT_S)
    end = time.monotonic() + wait_s
    while not is_answering(folder):
        if time.monotonic() >= end:
            fail(EXIT_TIMEOUT, f"no broker serves on the data folder {folder} after {wait_s:g} s")
        time.sleep(LOOK_S)
    say("the broker serves")


@click.command("check_running")
@broker_options
@quiet_option
def check_running() -> None:
    """Whether the broker serves; exit code 69 if it does not."""
    ask("ping")
    say("the broker serves")


@click.command("check_local_alarms")
@broker_options
@quiet_option
def check_local_alarms() -> None:
    """Whether publishers are blocked, as memory or disk is short; exit code 69 if they are."""
    alarm = ask("status").get("alarm")
    if alarm:
        fail(EXIT_UNAVAILABLE, f"{alarm}: publishers are blocked")
    say("no alarm")


@click.command("listeners")
@broker_options
@format_options
@quiet_option
def listeners() -> None:
    """List the addresses that the broker listens on."""
    show_rows(["interface", "port", "protocol"], _listeners())


@click.command("check_port_listener")
@broker_options
@quiet_option
@click.argument("port", type=click.IntRange(1, 65535))
def check_port_listener(port: int) -> None:
    """Whether the broker listens on a PORT; exit code 69 if it does not."""
    ports = [row[1] for row in _listeners()]
    if port not in ports:
        found = ", ".join(map(str, ports))
        fail(EXIT_UNAVAILABLE, f"the broker does not listen on port {port}: on {found}")
    say(f"the broker listens on port {port}")


def _listeners() -> list[list[object]]:
    found = ask("status").get("listeners")
    assert isinstance(found, list), found
    return [[each["host"], each["port"], each["protocol"]] for each in found]


@click.command("report")
@broker_options
@quiet_option
def report() -> None:
    """Print all that a question to the maintainers may need: status, configuration and all lists,
    without passwords; JSON with --json before the command."""
    status, environment = ask("status"), ask("environment")
    lists = {str(command.name): ask_rows(str(command.name)) for command in LIST_COMMANDS}
    if wants_json():
        tables = {
            name: [dict(zip(columns, row, strict=True)) for row in rows]
            for name, (columns, rows) in lists.items()
        }
        everything: Answer = {"status": status, "environment": environment, **tables}
        click.echo(json.dumps(everything, ensure_ascii=True, indent=1))
        return
    click.echo("status\n")
    for label, text in status_rows(status):
        click.echo(f"{label:<14} {text}")
    click.echo("\nenvironment\n")
    show_rows(["setting", "value"], settings_rows(environment))
    for name, (columns, rows) in lists.items():
        click.echo(f"\n{name}\n")
        show_rows(columns, rows)


@click.command("shutdown")
@broker_options
@quiet_option
@click.option("--wait/--no-wait", "wait", default=True, help="Wait until it has ended.")
def shutdown(wait: bool) -> None:
    """Stop the broker, as SIGTERM does, and wait until it has ended."""
    folder = data_dir()
    ask("shutdown")
    if wait:
        wait_s = timeout_or(WAIT_S)
        end = time.monotonic() + wait_s
        while _is_taken(folder):
            if time.monotonic() >= end:
                fail(EXIT_TIMEOUT, f"the broker has not ended after {wait_s:g} s")
            time.sleep(LOOK_S)
    say("the broker has stopped" if wait else "the broker stops")


def _is_taken(folder: Path) -> bool:
    """Whether a broker has the data folder for itself."""
    from amqbroker.store.folder import LOCK_NAME

    try:
        with open(folder / LOCK_NAME, "rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError as error:
        fail(EXIT_USAGE, f"{folder / LOCK_NAME}: {error.strerror}")
    return False


HEALTH_COMMANDS: Final = (
    await_startup,
    check_running,
    check_local_alarms,
    check_port_listener,
    listeners,
    report,
    shutdown,
)
