"""What commands print: tables for people, JSON, CSV and tabs for programs.

Values are shown as they are in JSON, so that `true` is `true` in every format; an argument table is
JSON within its cell. Errors and progress go to standard error.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from typing import Final, TypeVar

import click

FORMATS: Final = ("table", "json", "csv", "tsv")
# rabbitmqctl's name of a table for people, which all of ours are.
PRETTY_TABLE: Final = "pretty_table"

_FORMAT: Final = "amqbroker.format"
_QUIET: Final = "amqbroker.quiet"
_NO_HEADERS: Final = "amqbroker.no_headers"

Row = list[object]
Command = TypeVar("Command", bound=Callable[..., None])


def quiet_option(command: Command) -> Command:
    """-q, --quiet: say nothing about what went well."""
    return click.option(
        "-q",
        "--quiet",
        is_flag=True,
        expose_value=False,
        callback=_keeper(_QUIET),
        help="Print only what was asked for.",
    )(command)


def format_options(command: Command) -> Command:
    """How a list is printed."""
    command = click.option(
        "-s",
        "--silent",
        "--no-table-headers",
        is_flag=True,
        expose_value=False,
        callback=_keeper(_NO_HEADERS),
        help="Print no line with the names of the columns.",
    )(command)
    command = click.option(
        "--json",
        is_flag=True,
        expose_value=False,
        callback=_keep_json,
        help="Print JSON; the same as --formatter json.",
    )(command)
    return click.option(
        "--formatter",
        type=click.Choice((*FORMATS, PRETTY_TABLE)),
        expose_value=False,
        callback=_keep_format,
        help="Print a table, a JSON array of objects, CSV or columns between tabs.",
    )(command)


def _keeper(key: str) -> Callable[[click.Context, click.Parameter, object], None]:
    """Options count before and behind a command: they are kept for both."""

    def keep(context: click.Context, _option: click.Parameter, value: object) -> None:
        if value:
            context.meta[key] = value

    return keep


def _keep_format(context: click.Context, _option: click.Parameter, value: str | None) -> None:
    if value:
        context.meta[_FORMAT] = "table" if value == PRETTY_TABLE else value


def _keep_json(context: click.Context, _option: click.Parameter, value: bool) -> None:
    if value:
        context.meta[_FORMAT] = "json"


def say(text: str) -> None:
    """A line about what went well."""
    if not click.get_current_context().meta.get(_QUIET):
        click.echo(text)


def wants_json() -> bool:
    """Whether the output is to be JSON."""
    return bool(click.get_current_context().meta.get(_FORMAT) == "json")


def show_rows(columns: list[str], rows: list[Row]) -> None:
    """A list."""
    meta = click.get_current_context().meta
    text = formatted(columns, rows, meta.get(_FORMAT, "table"), not meta.get(_NO_HEADERS))
    if text:
        click.echo(text)


def formatted(columns: list[str], rows: list[Row], form: str, has_headers: bool = True) -> str:
    """A list as text, without the last line end."""
    if form == "json":
        objects = [dict(zip(columns, row, strict=True)) for row in rows]
        return printable(json.dumps(objects, ensure_ascii=False, indent=1))
    cells = [[shown(value) for value in row] for row in rows]
    if form == "table":
        return _table(columns, cells, has_headers)
    headers = [columns] if has_headers else []
    if form == "csv":
        out = io.StringIO()
        csv.writer(out, lineterminator="\n").writerows(headers + cells)
        return out.getvalue().removesuffix("\n")
    lines = [[cell.replace("\t", " ").replace("\n", " ") for cell in row] for row in cells]
    return "\n".join("\t".join(row) for row in headers + lines)


# A name that a client chose moves no cursor.
_CONTROL: Final = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160))}


def _table(columns: list[str], cells: list[list[str]], has_headers: bool) -> str:
    from tabulate import tabulate

    return tabulate(
        [[cell.translate(_CONTROL) for cell in row] for row in cells],
        headers=columns if has_headers else (),
        tablefmt="simple" if has_headers else "plain",
        disable_numparse=True,
        preserve_whitespace=True,
    )


def shown(value: object) -> str:
    """A value in a cell."""
    if isinstance(value, str):
        return printable(value)
    if value is None:
        return ""
    return printable(json.dumps(value, ensure_ascii=False))


def printable(text: str) -> str:
    """Text that can be written as UTF-8: names may have octets that are none."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
