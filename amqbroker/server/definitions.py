"""Definitions out of a broker and into one: by the control socket, and from a file at the start.

Both go a few milliseconds at a time, so that clients are served meanwhile; an import that breaks
off with the process leaves what it had made, and can be made again. Only the JSON of a request is
read in one piece, in a tenth of a second for fifty thousand queues: a thread would not help, as
Python's reader keeps all others waiting too.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Final, final

import anyio.lowlevel

from amqbroker import __version__
from amqbroker.config import Config
from amqbroker.core import log
from amqbroker.core.broker import Broker
from amqbroker.management.definitions_file import counted, head, items
from amqbroker.management.definitions_import import DefinitionsImport
from amqbroker.node import Node
from amqbroker.server.control import (
    FAILED,
    OBJECT,
    SLICE_S,
    Arguments,
    CommandError,
    Commands,
    Parameter,
    Result,
    Rows,
)
from amqbroker.server.rule_operations import BAD_DATA
from amqbroker.server.runner import Runner
from amqbroker.store.journal import Journal

# Of many mistakes or notes, how many are lines of an error or of the log.
LINES_MAX: Final = 100
# The section of the fields that are no lists.
HEAD: Final = ""


class DefinitionsError(Exception):
    """A file of definitions cannot be used; every reason is a line."""


@final
class Definitions:
    """The commands of one broker."""

    def __init__(self, runner: Runner, commands: Commands) -> None:
        self._runner = runner
        commands.add("export_definitions", self.export)
        commands.add(
            "import_definitions",
            self.import_,
            Parameter("definitions", OBJECT),
            Parameter("vhost", default=""),
        )

    async def export(self, _arguments: Arguments) -> Rows:
        """Rows of a section and an entry of it; the first one has the fields that are no lists."""
        broker = self._runner.node.broker

        def rows() -> Iterator[list[object]]:
            yield [HEAD, head(broker, __version__)]
            for section, item in items(broker):
                yield [section, item]

        return Rows(["section", "item"], rows())

    async def import_(self, arguments: Arguments) -> Result:
        """Check everything, then make everything."""
        broker = self._runner.node.broker
        work = DefinitionsImport(broker, arguments.table("definitions"), arguments.text("vhost"))
        checks = work.check()
        while _has_more(checks):
            await anyio.lowlevel.checkpoint()
        if work.problems:
            raise CommandError(BAD_DATA, "\n".join(shortened(work.problems)))
        steps = _Steps(work.apply())
        while self._runner.administer(lambda _broker: _has_more(steps)):
            await anyio.lowlevel.checkpoint()
        self._runner.administer(lambda broker: report(broker, work))
        await self._runner.wait_durable(steps.position)
        if work.failures:
            raise CommandError(FAILED, "\n".join(shortened(work.failures)))
        return {"imported": work.counts, "notes": work.notes}


@final
class _Steps:
    """The steps of an import, with the journal position to wait for."""

    def __init__(self, positions: Iterator[int]) -> None:
        self.position = 0
        self._positions = positions

    def __iter__(self) -> _Steps:
        return self

    def __next__(self) -> None:
        self.position = max(self.position, next(self._positions))


def _has_more(work: Iterator[None]) -> bool:
    """Go on with this for a moment; False if it is done."""
    end = time.monotonic() + SLICE_S
    return any(time.monotonic() >= end for _ in work)


def import_file(broker: Broker, file: str) -> None:
    """Import a file before the broker serves. Raises DefinitionsError."""
    work = DefinitionsImport(broker, read_definitions(file))
    for _ in work.check():
        pass
    if not work.problems:
        for _ in work.apply():
            pass
    wrong = work.problems + work.failures
    if wrong:
        raise DefinitionsError("\n".join(f"{file}: {line}" for line in shortened(wrong)))
    report(broker, work)


def check_file(config: Config) -> tuple[list[str], list[str]]:
    """What is wrong with the file of definitions that a configuration names, and what would not be
    honoured. It is looked at as by the first start of a data folder."""
    file = config.definitions.file
    try:
        document = read_definitions(file)
    except DefinitionsError as error:
        return [str(error)], []
    node = Node(config, Journal(), None, Random(0), 0.0)
    work = DefinitionsImport(node.broker, document)
    for _ in work.check():
        pass
    return (
        [f"{file}: {line}" for line in shortened(work.problems)],
        [f"{file}: {line}" for line in shortened(work.notes)],
    )


def read_definitions(file: str) -> object:
    """The document in a file. Raises DefinitionsError."""
    try:
        document: object = json.loads(Path(file).read_text(encoding="utf-8"))
    except OSError as error:
        raise DefinitionsError(f"{file}: cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise DefinitionsError(f"{file}: no JSON: {error}") from None
    return document


def report(broker: Broker, work: DefinitionsImport) -> None:
    """What was imported, and what was not honoured, for the log."""
    broker.log(log.INFO, f"definitions imported: {counted(work.counts) or 'nothing new'}")
    for note in shortened(work.notes):
        broker.log(log.WARNING, f"definitions: {note}")


def shortened(lines: list[str]) -> list[str]:
    """The first of many lines, and how many more there are."""
    if len(lines) <= LINES_MAX:
        return lines
    return [*lines[:LINES_MAX], f"and {len(lines) - LINES_MAX} more"]
