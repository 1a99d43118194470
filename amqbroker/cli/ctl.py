"""`amqbroker ctl`: the commands of RabbitMQ's `rabbitmqctl`, for a broker that runs.

Commands, their arguments and the columns of lists have rabbitmqctl's names; hyphens do as well as
underscores. docs/CTL.md has the list. The commands themselves are in the modules beside this one.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import click

from amqbroker.cli.client import EXIT_USAGE, broker_options
from amqbroker.cli.control import (
    backup,
    environment,
    ping,
    reload_,
    set_log_level,
    status,
)
from amqbroker.cli.ctl_definitions import DEFINITION_COMMANDS
from amqbroker.cli.ctl_health import HEALTH_COMMANDS
from amqbroker.cli.ctl_lists import LIST_COMMANDS
from amqbroker.cli.ctl_queues import QUEUE_COMMANDS
from amqbroker.cli.ctl_rules import RULE_COMMANDS
from amqbroker.cli.output import format_options, quiet_option

_EXAMPLES: Final = """
\b
Examples:
  amqbroker ctl list_queues name messages consumers
  amqbroker ctl list_queues -p orders --json
  amqbroker ctl peek invoices --count 3
  amqbroker ctl close_all_connections "moving house" --user worker
  amqbroker ctl --data-dir /srv/amqbroker status
"""


class CtlGroup(click.Group):
    """A group whose commands are found with hyphens too, and whose wrong uses end with 64."""

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: Any,
    ) -> click.Context:
        """Parse the group's own options."""
        with _usage_code():
            return super().make_context(info_name, args, parent, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        """Parse and carry out the command."""
        with _usage_code():
            return super().invoke(ctx)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """`list-queues` is `list_queues`."""
        return super().get_command(ctx, cmd_name.replace("-", "_"))

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """`help list_queues` is `list_queues --help`."""
        if args[:1] == ["help"]:
            args = [*args[1:2], "--help"]
        return super().parse_args(ctx, args)


@contextmanager
def _usage_code() -> Iterator[None]:
    try:
        yield
    except click.UsageError as error:
        error.show()
        raise click.exceptions.Exit(EXIT_USAGE) from None


@click.group(cls=CtlGroup, epilog=_EXAMPLES)
@broker_options
@format_options
@quiet_option
def ctl() -> None:
    """Look into a running broker and change it, with the commands of rabbitmqctl.

    The broker is found by its data folder, as amqbroker status finds it. Options may stand before
    or behind a command. Exit codes: 0 done, 64 wrong use, 65 wrong data, 67 no such user, 69 no
    broker, or it refuses, 70 it went wrong, 75 it took too long.
    """


for _command in (
    status,
    backup,
    ping,
    environment,
    reload_,
    set_log_level,
    *HEALTH_COMMANDS,
    *LIST_COMMANDS,
    *QUEUE_COMMANDS,
    *RULE_COMMANDS,
    *DEFINITION_COMMANDS,
):
    ctl.add_command(_command)
