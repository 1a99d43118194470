"""Lists on the command line, of a broker."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pika
import pytest

from amqbroker.cli import ctl_lists
from amqbroker.cli.ctl import ctl
from amqbroker.testing import Broker, broker
from tests.cli.commands import invoke


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Broker]:
    vhosts = [{"name": "/"}, {"name": "other"}]
    with broker(data_dir=str(tmp_path / "data"), vhosts=vhosts) as amqp:
        yield amqp


def test_columns_of_ones_choice(running: Broker) -> None:
    with pika.BlockingConnection(pika.URLParameters(running.url)) as connection:
        channel = connection.channel()
        channel.queue_declare("q", durable=True)
        channel.basic_publish("", "q", b"hello")
        channel.basic_consume("q", lambda *_: None, consumer_tag="tag")
        result = invoke(running, "list_queues", "name", "consumers", "durable")
        assert result.stdout.split() == [
            *("name", "consumers", "durable"),
            *("------", "-----------", "---------"),
            *("q", "1", "true"),
        ]
        assert invoke(running, "-s", "list_queues", "name").stdout == "q\n"
        commas = invoke(running, "-s", "list_queues", "name,", "consumers,durable")
        assert commas.stdout.split() == ["q", "1", "true"]
        pretty = invoke(running, "list_queues", "--formatter", "pretty_table", "name")
        assert pretty.stdout == "name\n------\nq\n"
        assert invoke(running, "list_queues", "-p", "other", "-s").stdout == ""
        everywhere = invoke(running, "list_queues", "--all-vhosts", "--json", "vhost", "name")
        assert json.loads(everywhere.stdout) == [{"vhost": "/", "name": "q"}]
        for name, column, value in (
            ("list_consumers", "consumer_tag", "tag"),
            ("list_connections", "user", "guest"),
            ("list_channels", "vhost", "/"),
        ):
            assert invoke(running, name, "-s", column).stdout == f"{value}\n"
        csv = invoke(running, "list_exchanges", "--formatter", "csv", "name", "internal")
        assert "amq.rabbitmq.trace,true" in csv.stdout.splitlines()
        assert invoke(running, "list_bindings", "--formatter", "tsv", "-s", "routing_key").stdout


def test_a_mistake_is_named(running: Broker) -> None:
    result = invoke(running, "list_queues", "nam")
    assert result.exit_code == 64
    assert result.stderr.startswith("amqbroker: queues have no column 'nam' (did you mean name?)")
    result = invoke(running, "list_queues", "-p", "nowhere")
    assert (result.exit_code, result.stderr) == (
        69,
        "amqbroker: Virtual host 'nowhere' does not exist\n",
    )


def test_a_shell_completes_the_names_of_queues(running: Broker) -> None:
    with pika.BlockingConnection(pika.URLParameters(running.url)) as connection:
        for name in ("orders", "invoices", "orders.dead"):
            connection.channel().queue_declare(name)
    command = ctl.commands["purge_queue"]
    context = click.Context(command, parent=click.Context(ctl))
    context.meta["amqbroker.data_dir"] = running.config.data_dir
    with context:
        assert ctl_lists.queue_names(context, command.params[0], "ord") == ["orders", "orders.dead"]
        context.meta["amqbroker.data_dir"] = "/nowhere"
        assert ctl_lists.queue_names(context, command.params[0], "ord") == []


def test_a_character_that_the_terminal_does_not_have_is_a_question_mark(running: Broker) -> None:
    assert invoke(running, "add_vhost", "\u65e5\xf6").exit_code == 0
    command = [sys.executable, "-m", "amqbroker", "ctl", "--data-dir", running.config.data_dir]
    environment = {**os.environ, "PYTHONIOENCODING": "latin-1"}
    ended = subprocess.run(
        [*command, "-s", "list_vhosts"], capture_output=True, env=environment, check=False
    )
    assert (ended.returncode, ended.stderr) == (0, b"")
    assert ended.stdout.split() == [b"/", b"other", b"?\xf6"]
