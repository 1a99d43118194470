"""Commands of `amqbroker ctl` for users, permissions, virtual hosts, policies and parameters."""

from __future__ import annotations

import json
import sys
from typing import Final

import click

from amqbroker.cli.client import ask, ask_rows, broker_options, suggestions
from amqbroker.cli.ctl_lists import vhost_names, vhost_option
from amqbroker.cli.output import format_options, quiet_option, say, show_rows


def user_names(_context: click.Context, _option: click.Parameter, incomplete: str) -> list[str]:
    """Users that begin like this, for a shell."""
    return suggestions("list_users", "user", incomplete)


user_argument = click.argument("user", shell_complete=user_names)


def _decoded(_context: click.Context, option: click.Parameter, text: str) -> object:
    """JSON on the command line."""
    try:
        return json.loads(text)
    except ValueError as error:
        raise click.BadParameter(f"{text!r} is no JSON: {error}") from None


def _decoded_object(context: click.Context, option: click.Parameter, text: str) -> object:
    """A JSON object on the command line."""
    value = _decoded(context, option, text)
    if not isinstance(value, dict):
        raise click.BadParameter(f'{text!r} is no JSON object, such as {{"max-length": 10}}')
    return value


def _done(what: str, command: str, **arguments: object) -> None:
    """Carry out a change, and say so."""
    note = ask(command, **arguments).get("note")
    say(what)
    if note:
        click.echo(f"amqbroker: {note}", err=True)


def _password(given: str | None) -> str:
    """From the argument, from standard input, or asked for."""
    if given is not None:
        return given
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\r\n")
    asked = click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    return str(asked)


# Users.

password_argument = click.argument("password", required=False)
hash_option = click.option(
    "--pre-hashed-password",
    "password_hash",
    metavar="HASH",
    help="A hash instead: RabbitMQ's, as definitions have it, or $argon2id$...",
)


def _credentials(password: str | None, password_hash: str | None) -> dict[str, object]:
    if password_hash is not None:
        if password is not None:
            raise click.UsageError("either a password or --pre-hashed-password is needed, not both")
        return {"password_hash": password_hash}
    return {"password": _password(password)}


@click.command("add_user")
@broker_options
@quiet_option
@hash_option
@user_argument
@password_argument
def add_user(user: str, password: str | None, password_hash: str | None) -> None:
    """Add a user, who may enter no virtual host yet. Without PASSWORD it is read from standard
    input, or asked for."""
    given = _credentials(password, password_hash)
    _done(f"user '{user}' added; set_permissions lets the user in", "add_user", name=user, **given)


@click.command("change_password")
@broker_options
@quiet_option
@hash_option
@user_argument
@password_argument
def change_password(user: str, password: str | None, password_hash: str | None) -> None:
    """Give a user another password; it is read or asked for like add_user's."""
    given = _credentials(password, password_hash)
    _done(f"user '{user}' has another password", "change_password", name=user, **given)


@click.command("authenticate_user")
@broker_options
@quiet_option
@user_argument
@password_argument
def authenticate_user(user: str, password: str | None) -> None:
    """Check a user's password; exit code 65 if it is not right."""
    ask("authenticate_user", name=user, password=_password(password))
    say(f"user '{user}' has this password")


@click.command("clear_password")
@broker_options
@quiet_option
@user_argument
def clear_password(user: str) -> None:
    """Take a user's password away: no password lets the user in."""
    _done(f"user '{user}' has no password", "clear_password", name=user)


@click.command("delete_user")
@broker_options
@quiet_option
@user_argument
def delete_user(user: str) -> None:
    """Delete a user, and close the user's connections."""
    _done(f"user '{user}' deleted", "delete_user", name=user)


@click.command("set_user_tags")
@broker_options
@quiet_option
@user_argument
@click.argument("tags", metavar="[TAG]...", nargs=-1)
def set_user_tags(user: str, tags: tuple[str, ...]) -> None:
    """Give a user these tags, and no others."""
    _done(f"user '{user}' has the tags {list(tags)}", "set_user_tags", name=user, tags=list(tags))


@click.command("set_user_limits")
@broker_options
@quiet_option
@user_argument
@click.argument("limits", callback=_decoded_object)
def set_user_limits(user: str, limits: dict[str, object]) -> None:
    """Limit a user; LIMITS are JSON: '{"max-connections": 10, "max-channels": 100}'."""
    _done(f"user '{user}' has other limits", "set_user_limits", name=user, limits=limits)


@click.command("clear_user_limits")
@broker_options
@quiet_option
@user_argument
@click.argument("limit", default="all")
def clear_user_limits(user: str, limit: str) -> None:
    """Take a limit off a user, or `all`."""
    _done(f"user '{user}' has fewer limits", "clear_user_limits", name=user, limit=limit)


# What users may do.


@click.command("set_permissions")
@broker_options
@quiet_option
@vhost_option
@user_argument
@click.argument("configure")
@click.argument("write")
@click.argument("read")
def set_permissions(vhost: str, user: str, configure: str, write: str, read: str) -> None:
    """Let a user enter a virtual host; CONFIGURE, WRITE and READ are patterns of names."""
    _done(
        f"user '{user}' has permissions in vhost '{vhost}'",
        "set_permissions",
        vhost=vhost,
        name=user,
        configure=configure,
        write=write,
        read=read,
    )


@click.command("clear_permissions")
@broker_options
@quiet_option
@vhost_option
@user_argument
def clear_permissions(vhost: str, user: str) -> None:
    """Keep a user out of a virtual host."""
    what = f"user '{user}' has no permissions in vhost '{vhost}'"
    _done(what, "clear_permissions", vhost=vhost, name=user)


@click.command("set_topic_permissions")
@broker_options
@quiet_option
@vhost_option
@user_argument
@click.argument("exchange")
@click.argument("write")
@click.argument("read")
def set_topic_permissions(vhost: str, user: str, exchange: str, write: str, read: str) -> None:
    """Restrict a user on a topic EXCHANGE; WRITE and READ are regular expressions on keys."""
    _done(
        f"user '{user}' has topic permissions on exchange '{exchange}' in vhost '{vhost}'",
        "set_topic_permissions",
        vhost=vhost,
        name=user,
        exchange=exchange,
        write=write,
        read=read,
    )


@click.command("clear_topic_permissions")
@broker_options
@quiet_option
@vhost_option
@user_argument
@click.argument("exchange", required=False)
def clear_topic_permissions(vhost: str, user: str, exchange: str | None) -> None:
    """Take restrictions on an EXCHANGE off a user, or on all of a virtual host."""
    what = f"user '{user}' is not restricted any more"
    _done(what, "clear_topic_permissions", vhost=vhost, name=user, exchange=exchange)


# Virtual hosts.

vhost_argument = click.argument("vhost", shell_complete=vhost_names)


@click.command("add_vhost")
@broker_options
@quiet_option
@click.option("--description", help="What it is for.")
@click.option("--tags", default="", help="Tags, separated by commas.")
@click.option("--default-queue-type", help="classic or quorum.")
@click.argument("vhost")
def add_vhost(
    description: str | None, tags: str, default_queue_type: str | None, vhost: str
) -> None:
    """Add a virtual host, which nobody may enter yet."""
    _done(
        f"vhost '{vhost}' added",
        "add_vhost",
        name=vhost,
        description=description,
        tags=[tag.strip() for tag in tags.split(",") if tag.strip()],
        default_queue_type=default_queue_type,
    )


@click.command("delete_vhost")
@broker_options
@quiet_option
@vhost_argument
def delete_vhost(vhost: str) -> None:
    """Delete a virtual host with all that is in it, and close its connections."""
    _done(f"vhost '{vhost}' deleted", "delete_vhost", name=vhost)


@click.command("set_vhost_limits")
@broker_options
@quiet_option
@vhost_option
@click.argument("limits", callback=_decoded_object)
def set_vhost_limits(vhost: str, limits: dict[str, object]) -> None:
    """Limit a virtual host; LIMITS are JSON: '{"max-connections": 100, "max-queues": 1000}'."""
    _done(f"vhost '{vhost}' has other limits", "set_vhost_limits", name=vhost, limits=limits)


@click.command("clear_vhost_limits")
@broker_options
@quiet_option
@vhost_option
def clear_vhost_limits(vhost: str) -> None:
    """Take all limits off a virtual host."""
    _done(f"vhost '{vhost}' has no limits", "clear_vhost_limits", name=vhost)


# Policies and parameters.


def _set_policy(command: str, what: str) -> click.Command:
    @click.command(command, help=f"Set {what}; PATTERN is a regular expression, DEFINITION JSON.")
    @broker_options
    @quiet_option
    @vhost_option
    @click.option("--priority", default=0, show_default=True, help="The highest one holds.")
    @click.option(
        "--apply-to",
        default="all",
        show_default=True,
        help="queues, classic_queues, quorum_queues, exchanges or all.",
    )
    @click.argument("name")
    @click.argument("pattern")
    @click.argument("definition", callback=_decoded_object)
    def set_it(
        vhost: str,
        priority: int,
        apply_to: str,
        name: str,
        pattern: str,
        definition: dict[str, object],
    ) -> None:
        _done(
            f"policy '{name}' set in vhost '{vhost}'",
            command,
            vhost=vhost,
            name=name,
            pattern=pattern,
            definition=definition,
            priority=priority,
            apply_to=apply_to,
        )

    return set_it


def _clear_policy(command: str, what: str) -> click.Command:
    @click.command(command, help=f"Remove {what}.")
    @broker_options
    @quiet_option
    @vhost_option
    @click.argument("name")
    def clear_it(vhost: str, name: str) -> None:
        _done(f"policy '{name}' removed from vhost '{vhost}'", command, vhost=vhost, name=name)

    return clear_it


@click.command("set_parameter")
@broker_options
@quiet_option
@vhost_option
@click.argument("component")
@click.argument("name")
@click.argument("value", callback=_decoded)
def set_parameter(vhost: str, component: str, name: str, value: object) -> None:
    """Set a runtime parameter of a virtual host; VALUE is JSON."""
    _done(
        f"parameter '{name}' of {component} set in vhost '{vhost}'",
        "set_parameter",
        vhost=vhost,
        component=component,
        name=name,
        value=value,
    )


@click.command("clear_parameter")
@broker_options
@quiet_option
@vhost_option
@click.argument("component")
@click.argument("name")
def clear_parameter(vhost: str, component: str, name: str) -> None:
    """Remove a runtime parameter of a virtual host."""
    what = f"parameter '{name}' of {component} removed from vhost '{vhost}'"
    _done(what, "clear_parameter", vhost=vhost, component=component, name=name)


@click.command("set_global_parameter")
@broker_options
@quiet_option
@click.argument("name")
@click.argument("value", callback=_decoded)
def set_global_parameter(name: str, value: object) -> None:
    """Set a global runtime parameter; VALUE is JSON."""
    _done(f"global parameter '{name}' set", "set_global_parameter", name=name, value=value)


@click.command("clear_global_parameter")
@broker_options
@quiet_option
@click.argument("name")
def clear_global_parameter(name: str) -> None:
    """Remove a global runtime parameter."""
    _done(f"global parameter '{name}' removed", "clear_global_parameter", name=name)


# Lists of one user.


def _user_list(command: str, what: str) -> click.Command:
    @click.command(command, help=f"List {what} of a user.")
    @broker_options
    @format_options
    @quiet_option
    @user_argument
    def list_it(user: str) -> None:
        show_rows(*ask_rows(command, name=user))

    return list_it


RULE_COMMANDS: Final = (
    add_user,
    change_password,
    authenticate_user,
    clear_password,
    delete_user,
    set_user_tags,
    set_user_limits,
    clear_user_limits,
    set_permissions,
    clear_permissions,
    set_topic_permissions,
    clear_topic_permissions,
    add_vhost,
    delete_vhost,
    set_vhost_limits,
    clear_vhost_limits,
    _set_policy("set_policy", "a policy"),
    _clear_policy("clear_policy", "a policy"),
    _set_policy("set_operator_policy", "an operator policy, which only limits"),
    _clear_policy("clear_operator_policy", "an operator policy"),
    set_parameter,
    clear_parameter,
    set_global_parameter,
    clear_global_parameter,
    _user_list("list_user_permissions", "the permissions"),
    _user_list("list_user_topic_permissions", "the topic permissions"),
)
