"""Commands of the control socket for users, permissions, virtual hosts, policies and parameters.

They are RabbitMQ's (`rabbitmqctl`) by name. A command that changes something is answered when that
is durable, with a `note` if the configuration will undo it. The rules are in management/.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from typing import Final, final

import anyio.to_thread

from amqbroker.auth.passwords import SALT_SIZE, hash_password, verify
from amqbroker.core.broker import Broker
from amqbroker.management import parameters, policies, users, vhosts
from amqbroker.management.listing import Kind
from amqbroker.management.listing_rules import PERMISSIONS, RULE_KINDS, Item
from amqbroker.server.control import (
    ANY,
    BAD_ARGUMENT,
    NUMBER,
    OBJECT,
    TEXTS,
    Arguments,
    CommandError,
    Commands,
    Parameter,
    Result,
    Rows,
)
from amqbroker.server.runner import Runner

BAD_DATA: Final = "bad-data"

Change = Callable[[Broker, Arguments], int]
Note = Callable[[Broker, Arguments], str]

NAME: Final = Parameter("name")
VHOST: Final = Parameter("vhost")


def _no_note(_broker: Broker, _arguments: Arguments) -> str:
    return ""


def _user_note(broker: Broker, arguments: Arguments) -> str:
    return users.note(broker, arguments.text("name"))


def _vhost_note(broker: Broker, arguments: Arguments) -> str:
    return vhosts.note(broker, arguments.text("name"))


@final
class RuleOperations:
    """The commands of one broker."""

    def __init__(self, runner: Runner, commands: Commands) -> None:
        self._runner = runner
        self._commands = commands
        for kind in RULE_KINDS:
            commands.add(
                f"list_{kind.name}",
                partial(self._list, kind),
                Parameter("columns", TEXTS, []),
                Parameter("vhost", default=""),
            )
        commands.add("list_user_permissions", self.list_user_permissions, NAME)
        commands.add("list_user_topic_permissions", self.list_user_topic_permissions, NAME)
        commands.add("authenticate_user", self.authenticate_user, NAME, Parameter("password"))
        self._add_user_commands()
        self._add_permission_commands()
        self._add_vhost_commands()
        self._add_policy_commands()
        self._add_parameter_commands()

    async def _list(self, kind: Kind[Item], arguments: Arguments) -> Rows:
        columns = kind.chosen(arguments.texts("columns"))
        broker = self._runner.node.broker
        return Rows(columns, kind.rows(broker, columns, arguments.text("vhost")))

    async def list_user_permissions(self, arguments: Arguments) -> Rows:
        """Of one user, in all virtual hosts."""
        found = users.list_user_permissions(self._runner.node.broker, arguments.text("name"))
        return _rows(("vhost", *PERMISSIONS), found)

    async def list_user_topic_permissions(self, arguments: Arguments) -> Rows:
        """Of one user, in all virtual hosts."""
        found = users.list_user_topic_permissions(self._runner.node.broker, arguments.text("name"))
        return _rows(("vhost", "exchange", "write", "read"), found)

    def _add(
        self, name: str, change: Change, *parameters: Parameter, note: Note = _no_note
    ) -> None:
        """A command that changes something."""

        async def command(arguments: Arguments) -> Result:
            return await self._carry_out(change, arguments, note)

        self._commands.add(name, command, *parameters)

    async def _carry_out(self, change: Change, arguments: Arguments, note: Note) -> Result:
        position = self._runner.administer(lambda broker: change(broker, arguments))
        await self._runner.wait_durable(position)
        text = note(self._runner.node.broker, arguments)
        return {"note": text} if text else {}

    # Users.

    def _add_user_commands(self) -> None:
        tags = Parameter("tags", TEXTS)
        self._commands.add(
            "add_user",
            self.add_user,
            NAME,
            Parameter("password", default=""),
            Parameter("password_hash", default=""),
            Parameter("tags", TEXTS, []),
        )
        self._commands.add(
            "change_password",
            self.change_password,
            NAME,
            Parameter("password", default=""),
            Parameter("password_hash", default=""),
        )
        named: dict[str, Callable[[Broker, str], int]] = {
            "delete_user": users.delete_user,
            "clear_password": users.clear_password,
        }
        for name, change in named.items():
            self._add(name, _by_name(change), NAME, note=_user_note)
        self._add(
            "set_user_tags",
            lambda broker, given: users.set_user_tags(
                broker, given.text("name"), given.texts("tags")
            ),
            NAME,
            tags,
            note=_user_note,
        )
        self._add(
            "set_user_limits",
            lambda broker, given: users.set_user_limits(
                broker, given.text("name"), given.table("limits")
            ),
            NAME,
            Parameter("limits", OBJECT),
            note=_user_note,
        )
        self._add(
            "clear_user_limits",
            lambda broker, given: users.clear_user_limits(
                broker, given.text("name"), given.text("limit")
            ),
            NAME,
            Parameter("limit", default="all"),
            note=_user_note,
        )

    async def add_user(self, arguments: Arguments) -> Result:
        """A new user with a password, or with a hash of one."""
        stored = await self._hash(arguments)

        def add(broker: Broker, given: Arguments) -> int:
            return users.add_user(broker, given.text("name"), stored, given.texts("tags"))

        return await self._carry_out(add, arguments, _user_note)

    async def change_password(self, arguments: Arguments) -> Result:
        """Another password, or another hash of one."""
        stored = await self._hash(arguments)

        def change(broker: Broker, given: Arguments) -> int:
            return users.change_password(broker, given.text("name"), stored)

        return await self._carry_out(change, arguments, _user_note)

    async def _hash(self, arguments: Arguments) -> str:
        password, stored = arguments.text("password"), arguments.text("password_hash")
        if bool(password) == bool(stored):
            what = "a password that is not empty, or a hash of one, is needed"
            raise CommandError(BAD_ARGUMENT, what)
        if stored:
            return stored
        return await anyio.to_thread.run_sync(
            hash_password, password.encode("utf-8", "surrogateescape"), os.urandom(SALT_SIZE)
        )

    async def authenticate_user(self, arguments: Arguments) -> Result:
        """Whether this is the user's password."""
        name = arguments.text("name")
        stored = users.password_hash(self._runner.node.broker, name)
        password = arguments.text("password").encode("utf-8", "surrogateescape")
        if not await anyio.to_thread.run_sync(verify, stored, password):
            raise CommandError(BAD_DATA, f"user '{name}' - invalid credentials")
        return {}

    # What users may do.

    def _add_permission_commands(self) -> None:
        self._add(
            "set_permissions",
            lambda broker, given: users.set_permissions(
                broker,
                given.text("vhost"),
                given.text("name"),
                given.text("configure"),
                given.text("write"),
                given.text("read"),
            ),
            VHOST,
            NAME,
            *(Parameter(name) for name in PERMISSIONS),
            note=_user_note,
        )
        self._add(
            "clear_permissions",
            lambda broker, given: users.clear_permissions(
                broker, given.text("vhost"), given.text("name")
            ),
            VHOST,
            NAME,
            note=_user_note,
        )
        self._add(
            "set_topic_permissions",
            lambda broker, given: users.set_topic_permissions(
                broker,
                given.text("vhost"),
                given.text("name"),
                given.text("exchange"),
                given.text("write"),
                given.text("read"),
            ),
            VHOST,
            NAME,
            *(Parameter(name) for name in ("exchange", "write", "read")),
            note=_user_note,
        )
        self._add(
            "clear_topic_permissions",
            lambda broker, given: users.clear_topic_permissions(
                broker, given.text("vhost"), given.text("name"), _or_none(given, "exchange")
            ),
            VHOST,
            NAME,
            Parameter("exchange", ANY, None),
            note=_user_note,
        )

    # Virtual hosts.

    def _add_vhost_commands(self) -> None:
        self._add(
            "add_vhost",
            lambda broker, given: vhosts.add_vhost(
                broker,
                given.text("name"),
                _or_none(given, "description"),
                given.texts("tags") or None,
                _or_none(given, "default_queue_type"),
            ),
            NAME,
            Parameter("description", ANY, None),
            Parameter("tags", TEXTS, []),
            Parameter("default_queue_type", ANY, None),
            note=_vhost_note,
        )
        named: dict[str, Callable[[Broker, str], int]] = {
            "delete_vhost": vhosts.delete_vhost,
            "clear_vhost_limits": vhosts.clear_vhost_limits,
        }
        for name, change in named.items():
            self._add(name, _by_name(change), NAME, note=_vhost_note)
        self._add(
            "set_vhost_limits",
            lambda broker, given: vhosts.set_vhost_limits(
                broker, given.text("name"), given.table("limits")
            ),
            NAME,
            Parameter("limits", OBJECT),
            note=_vhost_note,
        )

    # Policies and parameters.

    def _add_policy_commands(self) -> None:
        setters = {
            "set_policy": policies.set_policy,
            "set_operator_policy": policies.set_operator_policy,
        }
        for name, setter in setters.items():
            self._add(
                name,
                partial(_set_policy, setter),
                VHOST,
                NAME,
                Parameter("pattern"),
                Parameter("definition", OBJECT),
                Parameter("priority", NUMBER, 0),
                Parameter("apply_to", default="all"),
            )
        clearers = {
            "clear_policy": policies.clear_policy,
            "clear_operator_policy": policies.clear_operator_policy,
        }
        for name, clearer in clearers.items():
            self._add(name, partial(_clear_policy, clearer), VHOST, NAME)

    def _add_parameter_commands(self) -> None:
        component = Parameter("component")
        self._add(
            "set_parameter",
            lambda broker, given: parameters.set_parameter(
                broker,
                given.text("vhost"),
                given.text("component"),
                given.text("name"),
                given["value"],
            ),
            VHOST,
            component,
            NAME,
            Parameter("value", ANY),
        )
        self._add(
            "clear_parameter",
            lambda broker, given: parameters.clear_parameter(
                broker, given.text("vhost"), given.text("component"), given.text("name")
            ),
            VHOST,
            component,
            NAME,
        )
        self._add(
            "set_global_parameter",
            lambda broker, given: parameters.set_global_parameter(
                broker, given.text("name"), given["value"]
            ),
            NAME,
            Parameter("value", ANY),
        )
        self._add("clear_global_parameter", _by_name(parameters.clear_global_parameter), NAME)


def _by_name(change: Callable[[Broker, str], int]) -> Change:
    return lambda broker, given: change(broker, given.text("name"))


def _set_policy(setter: Callable[..., int], broker: Broker, given: Arguments) -> int:
    return setter(
        broker,
        given.text("vhost"),
        given.text("name"),
        given.text("pattern"),
        given.table("definition"),
        given.number("priority"),
        given.text("apply_to"),
    )


def _clear_policy(
    clearer: Callable[[Broker, str, str], int], broker: Broker, given: Arguments
) -> int:
    return clearer(broker, given.text("vhost"), given.text("name"))


def _or_none(given: Arguments, name: str) -> str | None:
    """An argument that may be left out."""
    return None if given[name] is None else given.text(name)


def _rows(columns: tuple[str, ...], found: list[Item]) -> Rows:
    return Rows(list(columns), iter([[item[column] for column in columns] for item in found]))
