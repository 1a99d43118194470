"""`amqbroker journal verify` and `journal dump`: the data folder of a stopped node, for people.

Both only read. A folder in use is refused, for its files change while they are read; --force reads
it all the same, and may see damage where none is.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from amqbroker.cli.common import (
    EXIT_FAILED,
    EXIT_USAGE,
    fail,
    find_data_dir,
    folder_options,
    json_option,
    print_json,
    shown_count,
    shown_size,
)
from amqbroker.cli.output import printable

if TYPE_CHECKING:
    from amqbroker.store.inspect import FolderReport, QueueReport, StoredMessage
    from amqbroker.store.recovery import Recovered

FORCE_HELP = "Read the folder even if a node uses it: what is being written looks damaged."


@click.group("journal")
def journal_commands() -> None:
    """Look into the data folder of a stopped node."""


@journal_commands.command()
@folder_options
@json_option
@click.option("--force", is_flag=True, help=FORCE_HELP)
def verify(config_file: str | None, data_dir: str | None, as_json: bool, force: bool) -> None:
    """Read every byte of a data folder, and tell what is there and what is broken.

    Nothing is changed. The exit code is 0 if the folder is sound, and 1 if something is broken.
    What a crash may leave and the next start puts in order is noted, and does not count as broken.
    """
    from amqbroker.store.files import RealDisk
    from amqbroker.store.inspect import inspect_folder

    path = find_data_dir(config_file, data_dir)
    with _stopped(path, force):
        report = inspect_folder(RealDisk(path))
        if as_json:
            _report_as_json(path, report)
        else:
            _report_as_text(path, report)
    if report.problems or report.refusal:
        raise SystemExit(EXIT_FAILED)


@journal_commands.command()
@folder_options
@json_option
@click.option("--queue", metavar="NAME", help="Only the messages of this queue.")
@click.option("--vhost", metavar="NAME", help="Only what is in this virtual host.")
@click.option("--bodies", is_flag=True, help="Print the bodies as well.")
@click.option("--force", is_flag=True, help=FORCE_HELP)
def dump(
    config_file: str | None,
    data_dir: str | None,
    as_json: bool,
    queue: str | None,
    vhost: str | None,
    bodies: bool,
    force: bool,
) -> None:
    """Print the definitions and messages that the next start would find.

    Messages that are settled are left out. What is broken is told by `journal verify`.
    """
    from amqbroker.store.files import RealDisk
    from amqbroker.store.folder import read_folder
    from amqbroker.store.inspect import stored_messages

    path = find_data_dir(config_file, data_dir)
    printer = _Printer(as_json, bodies)
    with _stopped(path, force):
        disk = RealDisk(path)
        recovered = read_folder(disk)
        names = queue_names(recovered)
        wanted = [
            queue_id
            for queue_id, (its_vhost, name) in sorted(names.items())
            if queue in (None, name) and vhost in (None, its_vhost)
        ]
        if queue is not None and not wanted:
            fail(EXIT_USAGE, f"{path} has no durable queue '{queue}'")
        if queue is None:
            for definition in definitions_of(recovered):
                if vhost is None or definition.get("vhost") == vhost:
                    printer.definition(definition)
        for queue_id in wanted:
            printer.begin_queue(*names[queue_id])
            for message in stored_messages(disk, recovered, queue_id):
                printer.message(message)
    if recovered.problems:
        lines = [*map(str, recovered.problems), "what is broken is left out: see `journal verify`"]
        fail(EXIT_FAILED, *lines)


def _echo(text: str) -> None:
    """A line of text. Names of files and queues may have octets that are no UTF-8."""
    click.echo(printable(text))


@contextmanager
def _stopped(path: Path, force: bool) -> Iterator[None]:
    """Refuse a folder in use, before and after it was read; turn errors of the disk into a line."""
    from amqbroker.errors import DiskError
    from amqbroker.store.files import folder_user

    try:
        is_folder = path.is_dir()
    except OSError as error:
        fail(EXIT_FAILED, f"cannot look at {path}: {error.strerror}")
    if not is_folder:
        fail(EXIT_USAGE, f"there is no folder {path}")
    try:
        user = "" if force else folder_user(path)
        if user:
            hint = "stop it, or read all the same with --force"
            fail(EXIT_USAGE, f"the data folder {path} is in use by process {user}: {hint}")
        yield
        user = "" if force else folder_user(path)
        if user:
            fail(EXIT_USAGE, f"process {user} started on {path} meanwhile: nothing can be told")
    except DiskError as error:
        fail(EXIT_FAILED, str(error))


# What definitions mean.


def queue_names(recovered: Recovered) -> dict[int, tuple[str, str]]:
    """Virtual host and name of each durable queue, by its id."""
    return {
        int(str(definition["id"])): (str(definition["vhost"]), str(definition["name"]))
        for definition in definitions_of(recovered)
        if definition["what"] == "queue"
    }


def definitions_of(recovered: Recovered) -> list[dict[str, object]]:
    """Virtual hosts, users, exchanges, queues and bindings as plain values, in this order. Of a
    password's hash only the kind is shown. DiskError for one that makes no sense."""
    from amqbroker.core import definitions as core
    from amqbroker.errors import DiskError

    order = {
        core.VHOST_KIND: "vhost",
        core.USER_KIND: "user",
        core.EXCHANGE_KIND: "exchange",
        core.QUEUE_KIND: "queue",
        core.BINDING_KIND: "binding",
    }
    found: list[dict[str, object]] = []
    for key, value in recovered.definitions.items():
        what = order.get(key[:1], "")
        if what:
            try:
                found.append({"what": what, **_definition(what, key, value)})
            except Exception as error:
                # Sound by its CRC, yet of any shape: readers of keys and tables raise all sorts.
                raise DiskError(f"the definition {key!r} makes no sense: {error!r}") from error
    places = list(order.values())
    found.sort(key=lambda definition: places.index(str(definition["what"])))
    return found


def _definition(what: str, key: bytes, value: bytes) -> dict[str, object]:
    from amqbroker.auth.passwords import hashing_algorithm
    from amqbroker.core import definitions as core
    from amqbroker.wire.tables import decode_table

    reader = core.KeyReader(key)
    if what == "binding":
        vhost = reader.name()
        source, binding = core.read_binding(reader)
        destination = binding.destination
        return {
            "vhost": vhost,
            "source": source,
            "destination_type": "queue" if destination.kind == 0 else "exchange",
            "destination": destination.name,
            "binding_key": binding.key,
            "arguments": binding.arguments,
        }
    fields: dict[str, object] = dict(decode_table(value, 0))
    if what in ("vhost", "user"):
        stored = fields.get("password_hash")
        if isinstance(stored, str):
            fields["password_hash"] = hashing_algorithm(stored)
        return {"name": reader.name(), **fields}
    vhost, name = reader.name(), reader.name()
    if what == "queue":
        fields["id"] = int(str(fields["id"]))
    return {"vhost": vhost, "name": name, **fields}


# verify


def _queue_fields(queue: QueueReport, names: dict[int, tuple[str, str]]) -> dict[str, object]:
    vhost, name = names.get(queue.queue_id, (None, None))
    return {
        "id": queue.queue_id,
        "vhost": vhost,
        "name": name,
        "messages": queue.messages(),
        "in_journal": queue.in_journal,
        "in_segments": queue.in_segments,
        "segments": queue.segments,
        "next_index": queue.next_index,
    }


def _stop_of(report: FolderReport) -> str:
    if report.recovered is None:
        return "unknown"
    return "clean" if report.recovered.clean or not report.files else "unclean"


def _report_as_json(path: Path, report: FolderReport) -> None:
    from amqbroker.store.records import FORMAT_VERSION

    names = queue_names(report.recovered) if report.recovered is not None else {}
    print_json("folder", path=str(path), format_version=FORMAT_VERSION, stop=_stop_of(report))
    for file in report.files:
        print_json(
            "file",
            file=file.name,
            size=file.size,
            number=file.number,
            blocks=file.blocks,
            first_block=file.first_sequence,
            last_block=file.last_sequence,
            records=file.records,
            messages=file.messages,
        )
    for segment in report.segments:
        print_json(
            "segment",
            file=segment.name,
            size=segment.size,
            named=segment.named,
            queue=segment.queue_id,
            first=segment.first,
            last=segment.last,
            counted_bytes=segment.counted,
            messages=segment.live,
            readable=segment.readable,
            settled=segment.settled,
        )
    for queue in report.queues:
        print_json("queue", **_queue_fields(queue, names))
    for name in report.others:
        print_json("other", file=name)
    for kind, places in (("note", report.notes), ("problem", report.problems)):
        for place in places:
            print_json(kind, file=place.file, offset=place.offset, what=place.what)
    if report.refusal:
        print_json("refusal", what=report.refusal)
    print_json(
        "summary",
        sound=not (report.problems or report.refusal),
        problems=len(report.problems),
        notes=len(report.notes),
        queues=len(names),
        messages=sum(queue.messages() for queue in report.queues if queue.queue_id in names),
    )


def _report_as_text(path: Path, report: FolderReport) -> None:
    from amqbroker.store.records import FORMAT_VERSION, SNAPSHOT_NAME, SNAPSHOT_NEW_NAME

    stop = {
        "clean": "stopped cleanly",
        "unclean": "not stopped cleanly",
        "unknown": "it cannot be told how it was stopped",
    }[_stop_of(report)]
    _echo(f"{path}: format version {FORMAT_VERSION}, {stop}")
    if report.files:
        _echo("\nFiles")
    for file in report.files:
        blocks = f"blocks {file.first_sequence} to {file.last_sequence}" if file.blocks else "empty"
        if file.name in (SNAPSHOT_NAME, SNAPSHOT_NEW_NAME):
            blocks = f"covers blocks up to {file.number}"
        records = f"{shown_count(file.records, 'record')}, {shown_count(file.messages, 'message')}"
        _echo(f"  {file.name:<22} {shown_size(file.size):>11}  {blocks}, {records}")
    _segments_as_text(report)
    _queues_as_text(report)
    if report.others:
        _echo("\nOther files, left alone: " + ", ".join(report.others))
    for title, places in (("Left by a crash", report.notes), ("Broken", report.problems)):
        if places:
            _echo(f"\n{title}")
        for place in places:
            _echo(f"  {place}")
    if report.refusal:
        _echo(f"\nThe node would not start: {report.refusal}")
    if report.problems or report.refusal:
        _echo(f"\n{shown_count(len(report.problems), 'broken place')}.")
    else:
        _echo("\nSound.")


def _segments_as_text(report: FolderReport) -> None:
    if report.segments:
        _echo("\nSegments")
    for segment in report.segments:
        text = f"  {segment.name:<22} {shown_size(segment.size):>11}  "
        if segment.named:
            settled = shown_count(len(segment.settled), "settled range")
            messages = shown_count(segment.live, "message")
            text += f"index {segment.first} to {segment.last}, {messages}, {settled}"
        else:
            text += "counts for nothing"
        _echo(text)


def _queues_as_text(report: FolderReport) -> None:
    if report.recovered is None:
        return
    names = queue_names(report.recovered)
    others = ("exchange", "binding")
    counts = dict.fromkeys(others, 0)
    for definition in definitions_of(report.recovered):
        if definition["what"] in counts:
            counts[str(definition["what"])] += 1
    _echo(
        f"\nDefinitions: {shown_count(len(names), 'durable queue')}, "
        + ", ".join(shown_count(counts[what], what) for what in others)
    )
    by_id = {queue.queue_id: queue for queue in report.queues}
    for queue_id, (vhost, name) in sorted(names.items(), key=lambda item: item[1]):
        queue = by_id.get(queue_id)
        text = "0 messages"
        if queue is not None and queue.messages():
            text = shown_count(queue.messages(), "message")
            if queue.segments:
                text += f": {queue.in_segments:,} in {shown_count(queue.segments, 'segment')}"
                text += f", {queue.in_journal:,} in the journal"
        _echo(f"  queue '{name}' in vhost '{vhost}': {text}")
    dropped = sum(queue.messages() for queue in report.queues if queue.queue_id not in names)
    if dropped:
        _echo(f"  deleted queues: {shown_count(dropped, 'message')}, gone with the next start")


# dump


class _Printer:
    """Prints definitions and messages, as text or as JSON."""

    def __init__(self, as_json: bool, bodies: bool) -> None:
        self._as_json = as_json
        self._bodies = bodies
        self._vhost = ""
        self._queue = ""

    def definition(self, definition: dict[str, object]) -> None:
        """One exchange, queue or binding."""
        fields = dict(definition)
        what = str(fields.pop("what"))
        if self._as_json:
            print_json(what, **fields)
            return
        shown = ", ".join(f"{key} {value!r}" for key, value in fields.items())
        _echo(f"{what}: {shown}")

    def begin_queue(self, vhost: str, queue: str) -> None:
        """The messages that follow are in this queue."""
        self._vhost = vhost
        self._queue = queue
        if not self._as_json:
            _echo(f"\nMessages of queue '{queue}' in vhost '{vhost}'")

    def message(self, stored: StoredMessage) -> None:
        """One message."""
        message = stored.message
        exchange, key = address_of(message.address)
        if self._as_json:
            fields: dict[str, object] = {
                "vhost": self._vhost,
                "queue": self._queue,
                "index": stored.index,
                "file": stored.file,
                "exchange": exchange,
                "routing_key": key,
                "properties": properties_of(message.header),
                "redelivered": stored.redelivered,
                "deliveries": stored.deliveries,
                "expires_at": expiry_of(stored),
                "body_bytes": len(message.body),
            }
            if self._bodies:
                fields |= body_fields(message.body)
            print_json("message", **fields)
            return
        text = f"  {stored.index}  {stored.file}  exchange '{exchange}', routing key '{key}'"
        text += f", {shown_count(len(message.body), 'byte')}"
        if stored.redelivered:
            text += ", redelivered"
        if stored.expires_at:
            text += f", expires at {expiry_of(stored)}"
        _echo(text)
        properties = properties_of(message.header)
        if properties:
            _echo("    " + ", ".join(f"{name} {value!r}" for name, value in properties.items()))
        if self._bodies:
            _echo("    " + shown_body(message.body))


def address_of(address: bytes) -> tuple[str, str]:
    """Exchange and routing key of two short strings."""
    length = address[0]
    exchange, key = address[1 : 1 + length], address[2 + length :]
    return exchange.decode(errors="replace"), key.decode(errors="replace")


def properties_of(header: bytes) -> dict[str, object]:
    """The properties of a content header; none if they make no sense."""
    from amqbroker.errors import AmqpError
    from amqbroker.wire.properties import decode_properties

    try:
        return dict(decode_properties(header))
    except (AmqpError, IndexError, ValueError):
        return {}


def expiry_of(stored: StoredMessage) -> str | None:
    """When the message expires."""
    if not stored.expires_at:
        return None
    return datetime.fromtimestamp(stored.expires_at / 1000, UTC).isoformat()


def body_fields(body: bytes) -> dict[str, object]:
    """A body for JSON: text if it is UTF-8."""
    try:
        return {"body": body.decode()}
    except UnicodeDecodeError:
        return {"body_base64": base64.b64encode(body).decode()}


def shown_body(body: bytes) -> str:
    """A body on one line: text, with escapes for what cannot be shown."""
    text = body.decode(errors="backslashreplace")
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )
