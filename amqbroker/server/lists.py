"""Commands of the control socket that list: `list_queues`, `list_users` and their like."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

from amqbroker.management.listing import Kind
from amqbroker.server.control import TEXTS, Arguments, Commands, Parameter, Rows
from amqbroker.server.runner import Runner


def add_lists(commands: Commands, runner: Runner, kinds: Iterable[Kind[Any]]) -> None:
    """A command for each kind, with chosen columns, of one virtual host or of all."""
    for kind in kinds:
        commands.add(
            f"list_{kind.name}",
            partial(_list, runner, kind),
            Parameter("columns", TEXTS, []),
            Parameter("vhost", default=""),
        )


async def _list(runner: Runner, kind: Kind[Any], arguments: Arguments) -> Rows:
    columns = kind.chosen(arguments.texts("columns"))
    return Rows(columns, kind.rows(runner.node.broker, columns, arguments.text("vhost")))
