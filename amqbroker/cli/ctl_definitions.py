"""Commands of `amqbroker ctl` for definitions: RabbitMQ's JSON, out of a broker and into one."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Final

import click

from amqbroker.cli.client import EXIT_DATA, EXIT_USAGE, Answer, ask_long, ask_rows, broker_options
from amqbroker.cli.common import fail, standard_input
from amqbroker.cli.ctl_lists import vhost_names
from amqbroker.cli.output import format_options, printable, quiet_option, say, wants_json

# RabbitMQ's files have these, also when they are empty.
SECTIONS: Final = (
    "users",
    "vhosts",
    "permissions",
    "topic_permissions",
    "parameters",
    "global_parameters",
    "policies",
    "queues",
    "exchanges",
    "bindings",
)
STANDARD: Final = "-"


@click.command("export_definitions")
@broker_options
@quiet_option
@click.argument("file", default=STANDARD)
def export_definitions(file: str) -> None:
    """Write users, virtual hosts, permissions, policies, queues, exchanges and bindings to a FILE
    that RabbitMQ and amqbroker can import; - or nothing is standard output.

    The hashes of passwords are in it: only its owner can read the file.
    """
    document: Answer = {}
    lists: dict[str, list[object]] = {name: [] for name in SECTIONS}
    _, rows = ask_rows("export_definitions")
    for section, item in rows:
        if section == "" and isinstance(item, dict):
            document.update(item)
        else:
            lists.setdefault(str(section), []).append(item)
    document.update(lists)
    text = printable(json.dumps(document, ensure_ascii=False, indent=1)) + "\n"
    if file == STANDARD:
        click.echo(text, nl=False)
        return
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(descriptor, "w", encoding="utf-8") as out:
            out.write(text)
    except OSError as error:
        fail(EXIT_USAGE, f"{file}: cannot be written: {error.strerror}")
    say(f"{file}: {_counted({name: len(items) for name, items in lists.items()}) or 'nothing'}")


@click.command("import_definitions")
@broker_options
@format_options
@quiet_option
@click.option(
    "-p",
    "--vhost",
    default="",
    shell_complete=vhost_names,
    help="The virtual host of what names none, as in RabbitMQ's files of one virtual host.",
)
@click.argument("file", default=STANDARD)
def import_definitions(vhost: str, file: str) -> None:
    """Import a FILE of definitions, of RabbitMQ or of amqbroker; - or nothing is standard input.

    The whole file is checked first: with a mistake in it nothing is changed, and the exit code is
    65. What cannot be honoured is named on standard error. Queues and exchanges that are there
    already stay as they are.
    """
    answer = ask_long("import_definitions", definitions=_read(file), vhost=vhost)
    if wants_json():
        click.echo(json.dumps(answer, ensure_ascii=False))
        return
    notes, imported = answer.get("notes"), answer.get("imported")
    for note in notes if isinstance(notes, list) else []:
        click.echo(f"amqbroker: {printable(str(note))}", err=True)
    counts = imported if isinstance(imported, dict) else {}
    say(f"imported: {_counted(counts) or 'nothing new'}")


def _counted(counts: dict[str, int]) -> str:
    from amqbroker.management.definitions_file import counted

    return counted(counts)


def _read(file: str) -> dict[str, object]:
    try:
        if file == STANDARD:
            text = standard_input("name a FILE").read()
        else:
            text = Path(file).read_text(encoding="utf-8")
        document = json.loads(text)
    except OSError as error:
        fail(EXIT_USAGE, f"{file}: cannot be read: {error.strerror}")
    except (ValueError, RecursionError) as error:
        fail(EXIT_DATA, f"{file}: no JSON: {error}")
    if not isinstance(document, dict):
        fail(EXIT_DATA, f"{file}: definitions are a JSON object with lists such as queues")
    return document


DEFINITION_COMMANDS: Final = (export_definitions, import_definitions)
