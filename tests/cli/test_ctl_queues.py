"""Queues, connections and messages on the command line, of a broker."""

from __future__ import annotations

import json
from pathlib import Path

import pika
import pytest

from amqbroker.testing import Broker
from tests.cli.commands import invoke


@pytest.fixture
def running(running: Broker) -> Broker:
    """With a queue."""
    with pika.BlockingConnection(pika.URLParameters(running.url)) as connection:
        connection.channel().queue_declare("q", durable=True)
    return running


def messages(running: Broker, command: str, *args: str) -> list[dict[str, object]]:
    result = invoke(running, command, "q", "--json", *args)
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    assert isinstance(found, list)
    return found


def test_publish_peek_and_get(running: Broker, tmp_path: Path) -> None:
    assert invoke(running, "publish", "q", "one", "--persistent", "--confirm").stdout == (
        "published and confirmed\n"
    )
    assert invoke(running, "publish", "q", stdin=b"two\n").stdout == "published\n"
    file = tmp_path / "body"
    file.write_bytes(b"\x00\xff")
    options = ["--property", "app_id=me", "--property", "priority=7"]
    options += ["--header", "name=7", "--header", "number:=7"]
    assert invoke(running, "-q", "publish", "q", "--file", str(file), *options).stdout == ""
    first, second, third = messages(running, "peek")
    assert (first["payload"], first["properties"]) == ("one", {"delivery_mode": 2})
    assert (second["payload"], second["redelivered"]) == ("two\n", False)
    assert (third["payload"], third["payload_encoding"]) == ("AP8=", "base64")
    assert third["properties"] == {
        "app_id": "me",
        "priority": 7,
        "headers": {"name": "7", "number": 7},
    }
    assert [message["payload"] for message in messages(running, "get")] == ["one"]
    (again,) = messages(running, "get", "--ack")
    assert (again["payload"], again["redelivered"]) == ("one", True)
    assert len(messages(running, "get", "--count", "5", "--ack")) == 2
    assert messages(running, "peek") == []


def test_a_message_that_nobody_gets_is_an_error(running: Broker) -> None:
    result = invoke(running, "publish", "nothing", "m")
    assert result.exit_code == 69
    assert result.stderr == "amqbroker: no queue is bound for this message: it was dropped\n"
    result = invoke(running, "publish", "--exchange", "x", "k", "m")
    assert (result.exit_code, result.stderr) == (69, "amqbroker: no exchange 'x' in vhost '/'\n")
    result = invoke(running, "publish", "q", "m", "--property", "priority=high")
    assert result.exit_code == 64
    result = invoke(running, "publish", "q", "--file", "/nowhere")
    assert (result.exit_code, result.stderr) == (
        64,
        "amqbroker: /nowhere: cannot be read: No such file or directory\n",
    )


def test_a_table_has_the_beginning_of_a_body(running: Broker) -> None:
    invoke(running, "publish", "q", "x" * 5000)
    result = invoke(running, "peek", "q")
    assert "x" * 100 in result.stdout
    assert "x" * 101 not in result.stdout
    assert " 5000 " in result.stdout


def test_purge_and_delete(running: Broker) -> None:
    invoke(running, "publish", "q", "m")
    refusal = invoke(running, "delete_queue", "q", "--if-empty")
    assert refusal.exit_code == 69
    assert refusal.stderr == "amqbroker: queue 'q' in vhost '/' is not empty\n"
    assert invoke(running, "purge_queue", "q").stdout == "1 message dropped\n"
    assert invoke(running, "delete_queue", "q", "-e", "-u").stdout == (
        "queue deleted, with 0 messages\n"
    )
    assert invoke(running, "purge_queue", "q").exit_code == 69


def test_connections_are_closed(running: Broker) -> None:
    first = pika.BlockingConnection(pika.URLParameters(running.url))
    pid = invoke(running, "list_connections", "-s", "pid").stdout.strip()
    assert invoke(running, "close_connection", pid, "because").stdout == "connection closed\n"
    with pytest.raises(pika.exceptions.ConnectionClosedByBroker, match="because"):
        first.sleep(5)
    second = pika.BlockingConnection(pika.URLParameters(running.url))
    assert invoke(running, "close_all_user_connections", "guest", "night").stdout == (
        "1 connection closed\n"
    )
    with pytest.raises(pika.exceptions.ConnectionClosedByBroker, match="night"):
        second.sleep(5)
    assert invoke(running, "close_all_connections", "-p", "/", "x").stdout == (
        "0 connections closed\n"
    )
    assert invoke(running, "close_connection", pid, "because").exit_code == 69


def test_a_number_of_very_many_digits_is_refused(running: Broker) -> None:
    result = invoke(running, "publish", "q", "m", "--property", "timestamp=" + "9" * 5000)
    assert result.exit_code == 64
    assert "the property timestamp is a whole number from 0 to" in result.stderr
