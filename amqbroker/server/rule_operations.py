"""Commands of the control socket for users, permissions, virtual hosts, policies and parameters.

They are RabbitMQ's (`rabbitmqctl`) by name. A command that changes something is answered when that
is durable, with a `note` if the configuration will undo it. The rules are in management/.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Final, final

import anyio.to_thread

from amqbroker.auth.passwords import SALT_SIZE, hash_password, verify
from amqbroker.core.broker import Broker
from amqbroker.management import parameters, policies, users, vhosts
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
from amqbroker.server.lists import add_lists
from amqbroker.server.runner import Runner

BAD_DATA: Final = "bad-data"

# A function of management/: it takes the broker, and then the command's parameters in their order.
Change = Callable[..., int]
Note = Callable[[Broker, str], str]

NAME: Final = Parameter("name")
VHOST: Final = Parameter("vhost")
LIMITS: Final = Parameter("limits", OBJECT)


def _no_note(_broker: Broker, _name: str) -> str:
    return ""


def _without_effect(_broker: Broker, name: str) -> str:
    return f"'{name}' is kept and has no effect here"


@final
class RuleOperations:
    """The commands of one broker."""

    def __init__(self, runner: Runner, commands: Commands) -> None:
        self._runner = runner
        self._commands = commands
        add_lists(commands, runner, RULE_KINDS)
        commands.add("list_user_permissions", self.list_user_permissions, NAME)
        commands.add("list_user_topic_permissions", self.list_user_topic_permissions, NAME)
        commands.add("list_user_limits", self.list_user_limits, Parameter("user", default=""))
        commands.add("authenticate_user", self.authenticate_user, NAME, Parameter("password"))
        self._add_user_commands()
        self._add_permission_commands()
        self._add_vhost_commands()
        self._add_policy_commands()
        self._add_parameter_commands()

    async def list_user_permissions(self, arguments: Arguments) -> Rows:
        """Of one user, in all virtual hosts."""
        found = users.list_user_permissions(self._runner.node.broker, arguments.text("name"))
        return _rows(("vhost", *PERMISSIONS), found)

    async def list_user_topic_permissions(self, arguments: Arguments) -> Rows:
        """Of one user, in all virtual hosts."""
        found = users.list_user_topic_permissions(self._runner.node.broker, arguments.text("name"))
        return _rows(("vhost", "exchange", "write", "read"), found)

    async def list_user_limits(self, arguments: Arguments) -> Rows:
        """Of one user, or of all who have any."""
        name = arguments.text("user") or None
        found = users.list_user_limits(self._runner.node.broker, name)
        return _rows(("user", "limits"), found)

    def _add(
        self, name: str, change: Change, *parameters: Parameter, note: Note = _no_note
    ) -> None:
        """A command that changes something."""

        async def command(arguments: Arguments) -> Result:
            given = [arguments[parameter.name] for parameter in parameters]
            return await self._carry_out(lambda broker: change(broker, *given), arguments, note)

        self._commands.add(name, command, *parameters)

    async def _carry_out(
        self, change: Callable[[Broker], int], arguments: Arguments, note: Note = _no_note
    ) -> Result:
        await self._runner.wait_durable(self._runner.administer(change))
        text = note(self._runner.node.broker, arguments.text("name"))
        return {"note": text} if text else {}

    # Users.

    def _add_user_commands(self) -> None:
        password = (Parameter("password", default=""), Parameter("password_hash", default=""))
        tags = Parameter("tags", TEXTS, [])
        self._commands.add("add_user", self.add_user, NAME, *password, tags)
        self._commands.add("change_password", self.change_password, NAME, *password)
        self._add("delete_user", users.delete_user, NAME, note=users.note)
        self._add("clear_password", users.clear_password, NAME, note=users.note)
        tags = Parameter("tags", TEXTS)
        self._add("set_user_tags", users.set_user_tags, NAME, tags, note=users.note)
        self._add("set_user_limits", users.set_user_limits, NAME, LIMITS, note=users.note)
        limit = Parameter("limit", default="all")
        self._add("clear_user_limits", users.clear_user_limits, NAME, limit, note=users.note)

    async def add_user(self, arguments: Arguments) -> Result:
        """A new user with a password, or with a hash of one."""
        stored = await self._hash(arguments)
        name, tags = arguments.text("name"), arguments.texts("tags")
        return await self._carry_out(
            lambda broker: users.add_user(broker, name, stored, tags), arguments, users.note
        )

    async def change_password(self, arguments: Arguments) -> Result:
        """Another password, or another hash of one."""
        stored = await self._hash(arguments)
        name = arguments.text("name")
        return await self._carry_out(
            lambda broker: users.change_password(broker, name, stored), arguments, users.note
        )

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
        allowed = [Parameter(name) for name in PERMISSIONS]
        exchange = Parameter("exchange")
        topics = (Parameter("write"), Parameter("read"))
        user = (VHOST, NAME)
        self._add("set_permissions", users.set_permissions, *user, *allowed, note=users.note)
        self._add("clear_permissions", users.clear_permissions, *user, note=users.note)
        self._add(
            "set_topic_permissions",
            users.set_topic_permissions,
            *user,
            exchange,
            *topics,
            note=users.note,
        )
        self._add(
            "clear_topic_permissions",
            users.clear_topic_permissions,
            *user,
            Parameter("exchange", default=None),
            note=users.note,
        )

    # Virtual hosts.

    def _add_vhost_commands(self) -> None:
        metadata = (
            Parameter("description", default=None),
            Parameter("tags", TEXTS, None),
            Parameter("default_queue_type", default=None),
        )
        self._add("add_vhost", vhosts.add_vhost, NAME, *metadata, note=vhosts.note)
        self._add("update_vhost_metadata", vhosts.update_vhost, NAME, *metadata, note=vhosts.note)
        tags = Parameter("tags", TEXTS)
        self._add("set_vhost_tags", vhosts.set_vhost_tags, NAME, tags, note=vhosts.note)
        self._add("delete_vhost", vhosts.delete_vhost, NAME, note=vhosts.note)
        self._add("clear_vhost_limits", vhosts.clear_vhost_limits, NAME, note=vhosts.note)
        self._add("set_vhost_limits", vhosts.set_vhost_limits, NAME, LIMITS, note=vhosts.note)

    # Policies and parameters.

    def _add_policy_commands(self) -> None:
        policy = (
            *(VHOST, NAME, Parameter("pattern"), Parameter("definition", OBJECT)),
            *(Parameter("priority", NUMBER, 0), Parameter("apply_to", default="all")),
        )
        self._add("set_policy", policies.set_policy, *policy)
        self._add("set_operator_policy", policies.set_operator_policy, *policy)
        self._add("clear_policy", policies.clear_policy, VHOST, NAME)
        self._add("clear_operator_policy", policies.clear_operator_policy, VHOST, NAME)

    def _add_parameter_commands(self) -> None:
        parameter = (VHOST, Parameter("component"), NAME)
        value = Parameter("value", ANY)
        self._add(
            "set_parameter", parameters.set_parameter, *parameter, value, note=_without_effect
        )
        self._add("clear_parameter", parameters.clear_parameter, *parameter)
        self._add("set_global_parameter", parameters.set_global_parameter, NAME, value)
        self._add("clear_global_parameter", parameters.clear_global_parameter, NAME)


def _rows(columns: tuple[str, ...], found: list[Item]) -> Rows:
    return Rows(list(columns), iter([[item[column] for column in columns] for item in found]))
