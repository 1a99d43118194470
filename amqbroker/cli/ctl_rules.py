"""Commands of `amqbroker ctl` for users, permissions, virtual hosts, policies and parameters.

Each is what the control socket takes by the same name: the options and arguments of the command
line have the names of the request's arguments.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final

import click

from amqbroker.cli.client import ask, ask_rows, broker_options, suggestions
from amqbroker.cli.common import standard_input
from amqbroker.cli.ctl_lists import vhost_names, vhost_option
from amqbroker.cli.output import format_options, quiet_option, say, show_rows

# An option or an argument, as click has them.
Parameter = Callable[[Any], Any]


def _command(
    name: str, what: str, carry_out: Callable[..., None], *parameters: Parameter
) -> click.Command:
    """A command of these parameters, and those that all have."""
    for parameter in reversed((broker_options, quiet_option, *parameters)):
        carry_out = parameter(carry_out)
    return click.command(name, help=what)(carry_out)


def _rule(name: str, what: str, said: str, *parameters: Parameter) -> click.Command:
    """A command that changes something. `said` is told when it is done; it names parameters."""

    def carry_out(**given: object) -> None:
        note = ask(name, **given).get("note")
        say(said.format_map(given))
        if note:
            click.echo(f"amqbroker: {note}", err=True)

    return _command(name, what, carry_out, *parameters)


def _decoded(_context: click.Context, option: click.Parameter, text: str) -> object:
    """JSON on the command line."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise click.BadParameter(f"{text!r} is no JSON: {error}") from None


def _decoded_object(context: click.Context, option: click.Parameter, text: str) -> object:
    """A JSON object on the command line."""
    value = _decoded(context, option, text)
    if not isinstance(value, dict):
        raise click.BadParameter(f'{text!r} is no JSON object, such as {{"max-length": 10}}')
    return value


def _words(_context: click.Context, option: click.Parameter, given: tuple[str, ...]) -> list[str]:
    """Some words; an empty one is none, as in scripts that mean no words at all."""
    return [word for word in given if word]


def _split(_context: click.Context, option: click.Parameter, text: str | None) -> list[str] | None:
    """Words between commas; None if they were not given."""
    return None if text is None else [word.strip() for word in text.split(",") if word.strip()]


def user_names(_context: click.Context, _option: click.Parameter, incomplete: str) -> list[str]:
    """Users that begin like this, for a shell."""
    return suggestions("list_users", "user", incomplete)


NAME: Final = click.argument("name")
USER: Final = click.argument("name", metavar="USER", shell_complete=user_names)
VHOST: Final = click.argument("name", metavar="VHOST", shell_complete=vhost_names)
# The virtual host that is meant, where the request has it as its name.
NAMED_VHOST: Final = click.option(
    "-p",
    "--vhost",
    "name",
    shell_complete=vhost_names,
    default="/",
    show_default=True,
    help="The virtual host.",
)
TAGS: Final = click.argument("tags", metavar="[TAG]...", nargs=-1, callback=_words)
LIMITS: Final = click.argument("limits", callback=_decoded_object)
PATTERNS: Final = tuple(click.argument(each) for each in ("configure", "write", "read"))
VALUE: Final = click.argument("value", callback=_decoded)
EXCHANGE: Final = click.argument("exchange")


# Passwords.


def _password(given: str | None) -> str:
    """From the argument, from standard input, or asked for."""
    if given is not None:
        return given
    given_in = standard_input("give the password as an argument")
    if not given_in.isatty():
        return given_in.readline().rstrip("\r\n")
    asked = click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    return str(asked)


PASSWORD: Final = click.argument("password", required=False)
HASH: Final = click.option(
    "--pre-hashed-password",
    "password_hash",
    metavar="HASH",
    help="A hash instead: RabbitMQ's, as definitions have it, or $argon2id$...",
)


def _credentials(name: str, what: str, said: str) -> click.Command:
    """A command that gives a user a password, or a hash of one."""

    def carry_out(password: str | None, password_hash: str | None, **given: str) -> None:
        if password is not None and password_hash is not None:
            raise click.UsageError("either a password or --pre-hashed-password is needed, not both")
        if password_hash is None:
            note = ask(name, password=_password(password), **given).get("note")
        else:
            note = ask(name, password_hash=password_hash, **given).get("note")
        say(said.format_map(given))
        if note:
            click.echo(f"amqbroker: {note}", err=True)

    return _command(name, what, carry_out, HASH, USER, PASSWORD)


def _authenticate(name: str, password: str | None) -> None:
    ask("authenticate_user", name=name, password=_password(password))
    say(f"user '{name}' has this password")


def _hash_password(password: str | None) -> None:
    import os

    from amqbroker.auth.passwords import SALT_SIZE, hash_password

    given = _password(password)
    if not given:
        raise click.UsageError("a password that is not empty is needed")
    octets = given.encode("utf-8", "surrogateescape")
    click.echo(hash_password(octets, os.urandom(SALT_SIZE)))


PASSWORD_COMMANDS: Final = (
    _credentials(
        "add_user",
        "Add a user, who may enter no virtual host yet. Without PASSWORD it is read from standard "
        "input, or asked for.",
        "user '{name}' added; set_permissions lets the user in",
    ),
    _credentials(
        "change_password",
        "Give a user another password; it is read or asked for like add_user's.",
        "user '{name}' has another password",
    ),
    _command(
        "authenticate_user",
        "Check a user's password; exit code 65 if it is not right.",
        _authenticate,
        USER,
        PASSWORD,
    ),
    _command(
        "hash_password",
        "Print a hash of a password, for --pre-hashed-password, the configuration's password_hash "
        "or definitions. No broker is needed.",
        _hash_password,
        PASSWORD,
    ),
)

USER_COMMANDS: Final = (
    _rule(
        "clear_password",
        "Take a user's password away: no password lets the user in.",
        "user '{name}' has no password",
        USER,
    ),
    _rule(
        "delete_user",
        "Delete a user, and close the user's connections.",
        "user '{name}' deleted",
        USER,
    ),
    _rule(
        "set_user_tags",
        "Give a user these tags, and no others.",
        "user '{name}' has the tags {tags}",
        USER,
        TAGS,
    ),
    _rule(
        "set_user_limits",
        """Limit a user; LIMITS are JSON: '{"max-connections": 10, "max-channels": 100}'.""",
        "limits of user '{name}' set",
        USER,
        LIMITS,
    ),
    _rule(
        "clear_user_limits",
        "Take a limit off a user, or `all`.",
        "limits of user '{name}' cleared: {limit}",
        USER,
        click.argument("limit", default="all"),
    ),
    _rule(
        "set_permissions",
        "Let a user enter a virtual host; CONFIGURE, WRITE and READ are patterns of names.",
        "user '{name}' has permissions in vhost '{vhost}'",
        vhost_option,
        USER,
        *PATTERNS,
    ),
    _rule(
        "clear_permissions",
        "Keep a user out of a virtual host.",
        "user '{name}' has no permissions in vhost '{vhost}'",
        vhost_option,
        USER,
    ),
    _rule(
        "set_topic_permissions",
        "Restrict a user on a topic EXCHANGE; WRITE and READ are regular expressions on keys.",
        "user '{name}' has topic permissions on exchange '{exchange}' in vhost '{vhost}'",
        vhost_option,
        USER,
        EXCHANGE,
        *PATTERNS[1:],
    ),
    _rule(
        "clear_topic_permissions",
        "Take restrictions on an EXCHANGE off a user, or on all of a virtual host.",
        "user '{name}' is not restricted any more",
        vhost_option,
        USER,
        click.argument("exchange", required=False),
    ),
)


# Virtual hosts.

METADATA: Final = (
    click.option("--description", help="What it is for."),
    click.option("--tags", callback=_split, help="Tags, separated by commas."),
    click.option("--default-queue-type", help="classic or quorum."),
)

VHOST_COMMANDS: Final = (
    _rule(
        "add_vhost",
        "Add a virtual host, which nobody may enter yet.",
        "vhost '{name}' added",
        *METADATA,
        VHOST,
    ),
    _rule(
        "update_vhost_metadata",
        "Give a virtual host another description, other tags, another default queue type.",
        "vhost '{name}' changed",
        *METADATA,
        VHOST,
    ),
    _rule(
        "set_vhost_tags",
        "Give a virtual host these tags, and no others.",
        "vhost '{name}' has the tags {tags}",
        VHOST,
        TAGS,
    ),
    _rule(
        "delete_vhost",
        "Delete a virtual host with all that is in it, and close its connections.",
        "vhost '{name}' deleted",
        VHOST,
    ),
    _rule(
        "set_vhost_limits",
        "Limit a virtual host; LIMITS are JSON: "
        """'{"max-connections": 100, "max-queues": 1000}'.""",
        "limits of vhost '{name}' set",
        NAMED_VHOST,
        LIMITS,
    ),
    _rule(
        "clear_vhost_limits",
        "Take all limits off a virtual host.",
        "limits of vhost '{name}' cleared",
        NAMED_VHOST,
    ),
)


# Policies and parameters.


def _policy_commands(kind: str, what: str) -> tuple[click.Command, click.Command]:
    return (
        _rule(
            f"set_{kind}",
            f"Set {what}; PATTERN is a regular expression, DEFINITION JSON.",
            "policy '{name}' set in vhost '{vhost}'",
            vhost_option,
            click.option("--priority", default=0, show_default=True, help="The highest one holds."),
            click.option(
                "--apply-to",
                default="all",
                show_default=True,
                help="queues, classic_queues, quorum_queues, exchanges or all.",
            ),
            NAME,
            click.argument("pattern"),
            click.argument("definition", callback=_decoded_object),
        ),
        _rule(
            f"clear_{kind}",
            f"Remove {what.partition(',')[0]}.",
            "policy '{name}' removed from vhost '{vhost}'",
            vhost_option,
            NAME,
        ),
    )


COMPONENT: Final = click.argument("component")

PARAMETER_COMMANDS: Final = (
    _rule(
        "set_parameter",
        "Set a runtime parameter of a virtual host; VALUE is JSON.",
        "parameter '{name}' of {component} set in vhost '{vhost}'",
        vhost_option,
        COMPONENT,
        NAME,
        VALUE,
    ),
    _rule(
        "clear_parameter",
        "Remove a runtime parameter of a virtual host.",
        "parameter '{name}' of {component} removed from vhost '{vhost}'",
        vhost_option,
        COMPONENT,
        NAME,
    ),
    _rule(
        "set_global_parameter",
        "Set a global runtime parameter; VALUE is JSON.",
        "global parameter '{name}' set",
        NAME,
        VALUE,
    ),
    _rule(
        "clear_global_parameter",
        "Remove a global runtime parameter.",
        "global parameter '{name}' removed",
        NAME,
    ),
)


# Lists of one user.


def _user_list(command: str, what: str) -> click.Command:
    def list_it(name: str) -> None:
        show_rows(*ask_rows(command, name=name))

    return _command(command, f"List {what} of a user.", list_it, format_options, USER)


RULE_COMMANDS: Final = (
    *PASSWORD_COMMANDS,
    *USER_COMMANDS,
    *VHOST_COMMANDS,
    *_policy_commands("policy", "a policy"),
    *_policy_commands("operator_policy", "an operator policy, which only limits"),
    *PARAMETER_COMMANDS,
    _user_list("list_user_permissions", "the permissions"),
    _user_list("list_user_topic_permissions", "the topic permissions"),
)
