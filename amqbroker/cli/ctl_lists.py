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


def _names(_context: click.Context, _option: click.Parameter, given: tuple[str, ...]) -> list[str]:
    """Columns, between spaces or commas."""
    return [name for word in given for name in word.replace(",", " ").split()]


columns_argument = click.argument("columns", metavar="[COLUMN]...", nargs=-1, callback=_names)


def _vhost_list(name: str, what: str) -> click.Command:
    """A command that lists things of one virtual host, or of all."""

    @click.command(name, help=f"List {what} of a virtual host, in columns of your choice.")
    @broker_options
    @format_options
    @quiet_option
    @vhost_option
    @click.option("--all-vhosts", is_flag=True, help="List those of all virtual hosts.")
    @columns_argument
    def command(vhost: str, all_vhosts: bool, columns: list[str]) -> None:
        show_rows(*ask_rows(name, columns=columns, vhost="" if all_vhosts else vhost))

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
    @click.option("--global", "everywhere", is_flag=True, help="All, which is the default.")
    @columns_argument
    def command(vhost: str, everywhere: bool, columns: list[str]) -> None:
        show_rows(*ask_rows(name, columns=columns, vhost="" if everywhere else vhost))

    return command


@click.command("list_user_limits")
@broker_options
@format_options
@quiet_option
@click.option("--user", default="", help="Only those of this user.")
@click.option("--global", "everywhere", is_flag=True, help="All, which is the default.")
def list_user_limits(user: str, everywhere: bool) -> None:
    """List the limits of users."""
    columns, rows = ask_rows("list_user_limits", user="" if everywhere else user)
    show_rows(columns, rows)


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
    list_user_limits,
    _node_list("list_vhost_limits", "the limits of virtual hosts"),
    _vhost_list("list_policies", "the policies"),
    _vhost_list("list_operator_policies", "the operator policies"),
    _vhost_list("list_parameters", "the runtime parameters"),
    _node_list("list_global_parameters", "global runtime parameters"),
)
