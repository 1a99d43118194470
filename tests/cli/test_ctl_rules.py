"""Users, virtual hosts, policies and parameters on the command line, of a broker."""

from __future__ import annotations

import json
from pathlib import Path

import click
import pika
import pytest

from amqbroker.cli.ctl import ctl
from amqbroker.cli.ctl_rules import user_names
from amqbroker.testing import Broker, broker
from tests.cli.commands import invoke


def table(running: Broker, command: str, *args: str) -> list[dict[str, object]]:
    """A list."""
    result = invoke(running, "--json", command, *args)
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    assert isinstance(found, list)
    return found


def test_a_user_is_added_and_logs_in(running: Broker) -> None:
    assert invoke(running, "add_vhost", "v", "--tags", "a, b").stdout == "vhost 'v' added\n"
    added = invoke(running, "add_user", "ann", "s3cret")
    assert added.stdout == "user 'ann' added; set_permissions lets the user in\n"
    assert invoke(running, "-q", "set_permissions", "-p", "v", "ann", ".*", ".*", "").stdout == ""
    host = f"amqp://ann:s3cret@{running.host}:{running.port}/v"
    with pika.BlockingConnection(pika.URLParameters(host)) as connection:
        connection.channel().queue_declare("q")
    assert table(running, "list_user_permissions", "ann") == [
        {"vhost": "v", "configure": ".*", "write": ".*", "read": ""}
    ]
    assert table(running, "list_permissions", "-p", "v")[0]["user"] == "ann"
    assert table(running, "list_vhosts", "name", "tags")[1] == {"name": "v", "tags": ["a", "b"]}


def test_passwords_come_from_standard_input_too(running: Broker) -> None:
    assert invoke(running, "add_user", "ann", stdin="one two\n").exit_code == 0
    assert invoke(running, "authenticate_user", "ann", stdin="one two\n").exit_code == 0
    wrong = invoke(running, "authenticate_user", "ann", "one")
    assert (wrong.exit_code, wrong.stderr) == (
        65,
        "amqbroker: user 'ann' - invalid credentials\n",
    )
    assert invoke(running, "change_password", "ann", stdin="three").exit_code == 0
    assert invoke(running, "authenticate_user", "ann", "three").exit_code == 0
    stored = "kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR"
    assert invoke(running, "change_password", "ann", "--pre-hashed-password", stored).exit_code == 0
    assert invoke(running, "authenticate_user", "ann", "test12").exit_code == 0
    both = invoke(running, "change_password", "ann", "x", "--pre-hashed-password", stored)
    assert both.exit_code == 64
    assert invoke(running, "add_user", "bob", stdin="").exit_code == 64


def test_unknown_users_have_an_exit_code_of_their_own(running: Broker) -> None:
    for command in (
        ("delete_user", "ann"),
        ("clear_password", "ann"),
        ("set_user_tags", "ann", "x"),
        ("set_permissions", "ann", "", "", ""),
        ("list_user_permissions", "ann"),
        ("list_user_topic_permissions", "ann"),
        ("close_all_user_connections", "ann", "x"),
    ):
        result = invoke(running, *command)
        assert (result.exit_code, result.stderr) == (
            67,
            'amqbroker: User "ann" does not exist\n',
        ), command


def test_limits_tags_and_topics(running: Broker) -> None:
    for command in (
        ("add_user", "ann", "x"),
        ("set_user_tags", "ann", "monitoring", "policymaker"),
        ("set_user_limits", "ann", '{"max-connections": 5}'),
        ("set_topic_permissions", "ann", "amq.topic", "^a", "^b"),
        ("set_vhost_limits", '{"max-queues": 3}'),
    ):
        assert invoke(running, *command).exit_code == 0, command
    assert {"user": "ann", "tags": ["monitoring", "policymaker"]} in table(running, "list_users")
    assert table(running, "list_user_limits") == [{"user": "ann", "limits": {"max-connections": 5}}]
    assert table(running, "list_topic_permissions")[0]["exchange"] == "amq.topic"
    assert table(running, "list_vhost_limits") == [{"vhost": "/", "limits": {"max-queues": 3}}]
    for undo in (
        ("clear_topic_permissions", "ann", "amq.topic"),
        ("clear_user_limits", "ann", "max-connections"),
        ("clear_vhost_limits",),
        ("clear_permissions", "guest"),
        ("clear_password", "ann"),
        ("delete_user", "ann"),
        ("delete_vhost", "/"),
    ):
        assert invoke(running, *undo).exit_code == 0, undo
    assert table(running, "list_vhosts") == []
    assert table(running, "list_user_limits") == []


def test_policies_and_parameters(running: Broker) -> None:
    policy = ("p", "^q", '{"max-length": 5}', "--priority", "2", "--apply-to", "queues")
    assert invoke(running, "set_policy", *policy).stdout == "policy 'p' set in vhost '/'\n"
    invoke(running, "set_operator_policy", "o", "^q", '{"max-length": 3}')
    with pika.BlockingConnection(pika.URLParameters(running.url)) as connection:
        connection.channel().queue_declare("q")
    assert table(
        running, "list_queues", "policy", "operator_policy", "effective_policy_definition"
    ) == [{"policy": "p", "operator_policy": "o", "effective_policy_definition": {"max-length": 3}}]
    assert table(running, "list_policies") == [
        {
            "vhost": "/",
            "name": "p",
            "pattern": "^q",
            "apply-to": "queues",
            "definition": {"max-length": 5},
            "priority": 2,
        }
    ]
    assert len(table(running, "list_operator_policies")) == 1
    assert invoke(running, "set_parameter", "shovel", "s", '{"a": 1}').exit_code == 0
    assert invoke(running, "set_global_parameter", "g", "7").exit_code == 0
    assert table(running, "list_parameters")[0]["value"] == {"a": 1}
    assert {"name": "g", "value": 7} in table(running, "list_global_parameters")
    for command in (
        ("clear_policy", "p"),
        ("clear_operator_policy", "o"),
        ("clear_parameter", "shovel", "s"),
        ("clear_global_parameter", "g"),
    ):
        assert invoke(running, *command).exit_code == 0
        assert invoke(running, *command).exit_code == 69


@pytest.mark.parametrize(
    ("command", "text"),
    [
        (("set_policy", "p", "^q", "{"), "'{' is no JSON"),
        (("set_policy", "p", "^q", "[]"), "'[]' is no JSON object"),
        (("set_policy", "p", "(", '{"max-length": 1}'), "pattern should be regular expression"),
        (("set_policy", "p", "", '{"max-lenght": 1}'), "max-lenght"),
        (("set_user_limits", "guest", '{"max-queues": 1}'), "max-connections and max-channels"),
        (("set_permissions", "guest", "(", "", ""), "bad permission pattern"),
        (("set_parameter", "nothing", "n", "1"), "component nothing not found"),
    ],
)
def test_wrong_values_are_64_and_named(
    running: Broker, command: tuple[str, ...], text: str
) -> None:
    result = invoke(running, *command)
    assert result.exit_code == 64
    assert text in result.stderr


def test_a_change_that_does_not_last_is_said_on_standard_error(tmp_path: Path) -> None:
    users = [{"name": "ann", "password": "a"}]
    with broker(data_dir=str(tmp_path / "data"), users=users) as running:
        result = invoke(running, "set_user_tags", "ann", "x")
    assert result.stdout == "user 'ann' has the tags ['x']\n"
    assert result.stderr.startswith("amqbroker: user 'ann' is named in the configuration")


def test_a_shell_completes_the_names_of_users(running: Broker) -> None:
    invoke(running, "add_user", "ann", "x")
    command = ctl.commands["delete_user"]
    context = click.Context(command, parent=click.Context(ctl))
    context.meta["amqbroker.data_dir"] = running.config.data_dir
    with context:
        assert user_names(context, command.params[0], "a") == ["ann"]


def test_the_metadata_of_virtual_hosts(running: Broker) -> None:
    assert invoke(running, "add_vhost", "v", "--description", "d", "--tags", "a,b").exit_code == 0
    assert invoke(running, "set_vhost_tags", "v", "c", "d").stdout == (
        "vhost 'v' has the tags ['c', 'd']\n"
    )
    changed = ("update_vhost_metadata", "v", "--default-queue-type", "quorum")
    assert invoke(running, *changed).exit_code == 0
    columns = ("name", "description", "tags", "default_queue_type")
    assert table(running, "list_vhosts", *columns)[1] == {
        "name": "v",
        "description": "d",
        "tags": ["c", "d"],
        "default_queue_type": "quorum",
    }
    assert invoke(running, "set_vhost_tags", "v", "").exit_code == 0
    assert invoke(running, "update_vhost_metadata", "v", "--description", "").exit_code == 0
    row = table(running, "list_vhosts", *columns)[1]
    assert (row["tags"], row["description"]) == ([], "")
    for command in (("set_vhost_tags", "w", "x"), ("update_vhost_metadata", "w", "--tags", "x")):
        result = invoke(running, *command)
        assert (result.exit_code, result.stderr) == (
            69,
            "amqbroker: Virtual host 'w' does not exist\n",
        )


def test_limits_of_one_user_or_of_all(running: Broker) -> None:
    for name in ("ann", "bob"):
        invoke(running, "add_user", name, "x")
    invoke(running, "set_user_limits", "ann", '{"max-connections": 5}')
    ann = {"user": "ann", "limits": {"max-connections": 5}}
    assert table(running, "list_user_limits") == [ann]
    assert table(running, "list_user_limits", "--global") == [ann]
    assert table(running, "list_user_limits", "--user", "ann") == [ann]
    assert table(running, "list_user_limits", "--user", "bob") == [{"user": "bob", "limits": {}}]
    assert invoke(running, "list_user_limits", "--user", "carl").exit_code == 67


def test_a_hash_of_a_password_is_one(running: Broker) -> None:
    stored = invoke(running, "hash_password", "s3cret").stdout.strip()
    assert stored.startswith("$argon2id$")
    assert invoke(running, "add_user", "ann", "--pre-hashed-password", stored).exit_code == 0
    assert invoke(running, "authenticate_user", "ann", "s3cret").exit_code == 0
    assert invoke(running, "hash_password", "").exit_code == 64


def test_a_parameter_without_effect_is_said_to_be_one(running: Broker) -> None:
    result = invoke(running, "set_parameter", "shovel", "s", '{"a": 1}')
    assert result.stdout == "parameter 's' of shovel set in vhost '/'\n"
    assert result.stderr == "amqbroker: 's' is kept and has no effect here\n"


def test_names_with_braces_are_names(running: Broker) -> None:
    assert invoke(running, "add_user", "{tags}", "x").stdout.startswith("user '{tags}' added")
