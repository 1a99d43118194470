"""Commands of `amqbroker ctl` for queues, connections and messages."""

from __future__ import annotations

import json
from base64 import b64encode
from pathlib import Path
from typing import Final

import click

from amqbroker.cli.client import (
    EXIT_UNAVAILABLE,
    EXIT_USAGE,
    ask,
    ask_rows,
    broker_options,
)
from amqbroker.cli.common import fail, shown_count, standard_input
from amqbroker.cli.ctl_lists import queue_names, vhost_names, vhost_option
from amqbroker.cli.output import format_options, quiet_option, say, show_rows, wants_json

# A payload in a table is for a first look; JSON has more of it.
TABLE_BODY_BYTES: Final = 100
JSON_BODY_BYTES: Final = 1024 * 1024

NUMBERS: Final = ("delivery_mode", "priority", "timestamp")
# More than 64 bits have.
NUMBER_DIGITS_MAX: Final = 32


@click.command("purge_queue")
@broker_options
@quiet_option
@vhost_option
@click.argument("name", metavar="QUEUE", shell_complete=queue_names)
def purge_queue(vhost: str, name: str) -> None:
    """Drop all ready messages of a queue."""
    answer = ask("purge_queue", vhost=vhost, name=name)
    say(f"{_messages(answer.get('messages'))} dropped")


@click.command("delete_queue")
@broker_options
@quiet_option
@vhost_option
@click.option("-e", "--if-empty", is_flag=True, help="Only if it has no ready message.")
@click.option("-u", "--if-unused", is_flag=True, help="Only if it has no consumer.")
@click.argument("name", metavar="QUEUE", shell_complete=queue_names)
def delete_queue(vhost: str, if_empty: bool, if_unused: bool, name: str) -> None:
    """Delete a queue, with its messages and bindings."""
    answer = ask("delete_queue", vhost=vhost, name=name, if_empty=if_empty, if_unused=if_unused)
    say(f"queue deleted, with {_messages(answer.get('messages'))}")


def _messages(count: object) -> str:
    return shown_count(count if isinstance(count, int) else 0, "message")


@click.command("trace_on")
@broker_options
@quiet_option
@vhost_option
def trace_on(vhost: str) -> None:
    """Copy all messages of a virtual host to amq.rabbitmq.trace, until trace_off or a restart."""
    ask("trace_on", vhost=vhost)
    say(f"messages of virtual host '{vhost}' are copied to amq.rabbitmq.trace")


@click.command("trace_off")
@broker_options
@quiet_option
@vhost_option
def trace_off(vhost: str) -> None:
    """End what trace_on began."""
    ask("trace_off", vhost=vhost)
    say(f"messages of virtual host '{vhost}' are copied no more")


@click.command("close_connection")
@broker_options
@quiet_option
@click.argument("connection")
@click.argument("reason")
def close_connection(connection: str, reason: str) -> None:
    """Close a connection: CONNECTION is a pid or a name of list_connections. Its client is told
    the REASON."""
    ask("close_connection", connection=connection, reason=reason)
    say("connection closed")


@click.command("close_all_connections")
@broker_options
@quiet_option
@click.option(
    "-p", "--vhost", shell_complete=vhost_names, default="", help="Only those of this vhost."
)
@click.option("--user", default="", help="Only those of this user.")
@click.option("--global", "everywhere", is_flag=True, help="All, which is the default.")
@click.option("--limit", type=click.IntRange(min=0), default=0, help="At most so many; 0 is all.")
@click.argument("reason")
def close_all_connections(vhost: str, user: str, everywhere: bool, limit: int, reason: str) -> None:
    """Close all connections; their clients are told the REASON."""
    if everywhere and (vhost or user):
        raise click.UsageError("--global does not go with --vhost or --user")
    _close_all(reason, vhost, user, limit)


@click.command("close_all_user_connections")
@broker_options
@quiet_option
@click.argument("user")
@click.argument("reason")
def close_all_user_connections(user: str, reason: str) -> None:
    """Close all connections of a user; their clients are told the REASON."""
    _close_all(reason, "", user, 0)


def _close_all(reason: str, vhost: str, user: str, limit: int) -> None:
    answer = ask("close_all_connections", reason=reason, vhost=vhost, user=user, limit=limit)
    count = answer.get("connections")
    say(f"{shown_count(count if isinstance(count, int) else 0, 'connection')} closed")


# Messages.


def _split(_context: click.Context, option: click.Parameter, given: tuple[str, ...]) -> list[str]:
    for pair in given:
        if "=" not in pair:
            raise click.BadParameter(f"{pair!r} is not NAME=VALUE")
    return list(given)


@click.command()
@broker_options
@quiet_option
@vhost_option
@click.option("--exchange", default="", help="The exchange; without it, the default exchange.")
@click.option(
    "--file", "file", metavar="FILE", help="Take the body from a file; - is standard input."
)
@click.option(
    "--property",
    "properties",
    metavar="NAME=VALUE",
    multiple=True,
    callback=_split,
    help="A property such as content_type=text/plain, priority=5; may be given more than once.",
)
@click.option(
    "--header",
    "headers",
    metavar="NAME=VALUE",
    multiple=True,
    callback=_split,
    help="A header with a text; NAME:=VALUE has JSON. May be given more than once.",
)
@click.option("--persistent", is_flag=True, help="The same as --property delivery_mode=2.")
@click.option("--confirm", is_flag=True, help="Wait until it would outlive a crash.")
@click.argument("routing_key")
@click.argument("body", required=False)
def publish(
    vhost: str,
    exchange: str,
    file: str | None,
    properties: list[str],
    headers: list[str],
    persistent: bool,
    confirm: bool,
    routing_key: str,
    body: str | None,
) -> None:
    """Publish a message. Without --exchange the ROUTING_KEY is the name of a queue.

    The body is an argument, a file, or what comes on standard input. If no queue gets the message
    the exit code is 69.
    """
    made = _properties(properties, headers)
    if persistent:
        made["delivery_mode"] = 2
    answer = ask(
        "publish",
        vhost=vhost,
        exchange=exchange,
        routing_key=routing_key,
        properties=made,
        body_base64=b64encode(_body(body, file)).decode(),
        confirm=confirm,
    )
    if not answer.get("routed"):
        fail(EXIT_UNAVAILABLE, "no queue is bound for this message: it was dropped")
    say("published and confirmed" if answer.get("confirmed") else "published")


def _properties(properties: list[str], headers: list[str]) -> dict[str, object]:
    made: dict[str, object] = {}
    for pair in properties:
        name, _, value = pair.partition("=")
        # The broker says what is right for a number that is too long for any.
        number = (
            name in NUMBERS
            and value.isascii()
            and value.isdigit()
            and len(value) <= NUMBER_DIGITS_MAX
        )
        made[name] = int(value) if number else value
    table: dict[str, object] = {}
    for pair in headers:
        name, _, value = pair.partition("=")
        if name.endswith(":"):
            try:
                table[name[:-1]] = json.loads(value)
            except (ValueError, RecursionError):
                raise click.BadParameter(f"{value!r} is no JSON: in {pair!r}") from None
        else:
            table[name] = value
    if table:
        made["headers"] = table
    return made


def _body(body: str | None, file: str | None) -> bytes:
    if body is not None and file is not None:
        raise click.UsageError("either a body or --file is needed, not both")
    if body is not None:
        return body.encode("utf-8", "surrogateescape")
    if file is None or file == "-":
        return standard_input("give a body or --file").buffer.read()
    try:
        return Path(file).read_bytes()
    except OSError as error:
        fail(EXIT_USAGE, f"{file}: cannot be read: {error.strerror}")


@click.command()
@broker_options
@format_options
@quiet_option
@vhost_option
@click.option("--count", default=1, show_default=True, help="How many messages.")
@click.option("--ack/--requeue", default=False, help="Take them for good, or put them back.")
@click.argument("name", metavar="QUEUE", shell_complete=queue_names)
def get(vhost: str, count: int, ack: bool, name: str) -> None:
    """Get messages of a queue.

    With --requeue, the default, they go back to their places and are redelivered to whoever gets
    them next; peek leaves no trace.
    """
    show_rows(
        *ask_rows("get", vhost=vhost, name=name, count=count, ack=ack, body_bytes_max=_limit())
    )


@click.command()
@broker_options
@format_options
@quiet_option
@vhost_option
@click.option("--count", default=10, show_default=True, help="How many messages.")
@click.argument("name", metavar="QUEUE", shell_complete=queue_names)
def peek(vhost: str, count: int, name: str) -> None:
    """Show the first messages of a queue and leave them as they are."""
    show_rows(*ask_rows("peek", vhost=vhost, name=name, count=count, body_bytes_max=_limit()))


def _limit() -> int:
    return JSON_BODY_BYTES if wants_json() else TABLE_BODY_BYTES


QUEUE_COMMANDS: Final = (
    purge_queue,
    trace_on,
    trace_off,
    delete_queue,
    close_connection,
    close_all_connections,
    close_all_user_connections,
    publish,
    get,
    peek,
)
