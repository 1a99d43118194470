"""Commands of `amqbroker ctl` that list what the broker has, in columns of one's choice."""

from __future__ import annotations

from typing import Final

import click

from amqbroker.cli.client import ask_rows, broker_options, suggestions
from amqbroker.cli.output import format_options, quiet_option, show_rows


def vhost_names(_context: click.Context, _option: click.Parameter, incomplete: str) -> list[str]:
    """Virtual hosts that begin like this, for a shell."""
    return suggestions("list_vhosts", "name", incomplete)


def queue_names(context: click.Context, _option: click.Parameter, incomplete: str) -> list[str]:
    """Queues of the virtual host that was given."""
    vhost = context.params.get("vhost") or "/"
    return suggestions("list_queues", "name", incomplete, vhost=vhost)


vhost_option = click.option(
    "-p",
    "--vhost",
    shell_complete=vhost_names,
    default="/",
    show_default=True,
    help="The virtual host.",
)


def _vhost_list(name: str, what: str) -> click.Command:
    """A command that lists things of one virtual host, or of all."""

    @click.command(name, help=f"List {what} of a virtual host, in columns of your choice.")
    @broker_options
    @format_options
    @quiet_option
    @vhost_option
    @click.option("--all-vhosts", is_flag=True, help="List those of all virtual hosts.")
    @click.argument("columns", metavar="[COLUMN]...", nargs=-1)
    def command(vhost: str, all_vhosts: bool, columns: tuple[str, ...]) -> None:
        show_rows(*ask_rows(name, columns=list(columns), vhost="" if all_vhosts else vhost))

    return command


def _node_list(name: str, what: str) -> click.Command:
    """A command that lists things of the whole broker, or of one virtual host."""

    @click.command(name, help=f"List {what}, in columns of your choice.")
    @broker_options
    @format_options
    @quiet_option
    @click.option(
        "-p", "--vhost", shell_complete=vhost_names, default="", help="Only this virtual host's."
    )
    @click.argument("columns", metavar="[COLUMN]...", nargs=-1)
    def command(vhost: str, columns: tuple[str, ...]) -> None:
        show_rows(*ask_rows(name, columns=list(columns), vhost=vhost))

    return command


LIST_COMMANDS: Final = (
    _vhost_list("list_queues", "the queues"),
    _vhost_list("list_exchanges", "the exchanges"),
    _vhost_list("list_bindings", "the bindings"),
    _vhost_list("list_consumers", "the consumers"),
    _node_list("list_connections", "connections"),
    _node_list("list_channels", "channels"),
    _node_list("list_users", "users"),
    _node_list("list_vhosts", "virtual hosts"),
    _vhost_list("list_permissions", "what users may do"),
    _vhost_list("list_topic_permissions", "what users may do with topics"),
    _node_list("list_user_limits", "the limits of users"),
    _node_list("list_vhost_limits", "the limits of virtual hosts"),
    _vhost_list("list_policies", "the policies"),
    _vhost_list("list_operator_policies", "the operator policies"),
    _vhost_list("list_parameters", "the runtime parameters"),
    _node_list("list_global_parameters", "global runtime parameters"),
)
