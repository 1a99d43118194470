"""Lists, queues, connections and messages at an administrator's word, in a broker process."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import pytest
from pamqp import commands as amqp

from amqbroker.cli.client import Answer, ControlClient

from .process import BrokerProcess, broker_process

PERSISTENT = amqp.Basic.Properties(delivery_mode=2)


@pytest.fixture
def process(tmp_path: Path) -> Iterator[BrokerProcess]:
    with broker_process(tmp_path / "data", memory={"queue_bytes_max": "1MiB"}) as made:
        yield made


def ask(process: BrokerProcess, command: str, **arguments: object) -> Answer:
    """The result of a command."""
    with ControlClient(process.data_dir, 15) as client:
        return client.ask(command, arguments)


def rows(process: BrokerProcess, command: str, **arguments: object) -> list[list[object]]:
    """The rows of a list."""
    found: list[list[object]] = []
    with ControlClient(process.data_dir, 15) as client:
        answer = client.ask(command, arguments, found.extend)
    assert answer["result"]["rows"] == len(found)  # type: ignore[index]
    return found


def error_of(answer: Answer) -> tuple[object, object]:
    """Code and text."""
    error = answer["error"]
    assert isinstance(error, dict)
    return error["code"], error["text"]


def test_what_clients_made_is_listed(process: BrokerProcess) -> None:
    ch = process.channel()
    ch.declare_queue("q", durable=True)
    ch.bind("q", "amq.topic", "a.*")
    ch.consume("q")
    assert rows(process, "list_queues", columns=["name", "consumers"]) == [["q", 1]]
    assert ["amq.topic", "topic"] in rows(process, "list_exchanges")
    assert len(rows(process, "list_bindings")) == 2
    assert rows(process, "list_connections", columns=["user", "state"]) == [["guest", "running"]]
    assert rows(process, "list_channels", columns=["number"]) == [[1]]
    assert rows(process, "list_consumers", columns=["queue_name"]) == [["q"]]
    code, text = error_of(ask(process, "list_queues", columns=["size"]))
    assert code == "bad-argument"
    assert str(text).startswith("queues have no column 'size'")


def test_a_queue_that_was_deleted_stays_deleted(process: BrokerProcess, tmp_path: Path) -> None:
    ch = process.channel()
    ch.declare_queue("q", durable=True)
    ch.fill("q", b"1", b"2", properties=PERSISTENT)
    assert ask(process, "purge_queue", vhost="/", name="q")["result"] == {"messages": 2}
    ch.fill("q", b"3", properties=PERSISTENT)
    refusal = error_of(ask(process, "delete_queue", vhost="/", name="q", if_empty=True))
    assert refusal == ("refused", "queue 'q' in vhost '/' is not empty")
    assert ask(process, "delete_queue", vhost="/", name="q")["result"] == {"messages": 1}
    process.end()
    with broker_process(tmp_path / "data") as again:
        assert rows(again, "list_queues") == []


def test_a_connection_is_told_why_it_ends(process: BrokerProcess) -> None:
    peer = process.connect()
    ((pid,),) = rows(process, "list_connections", columns=["pid"])
    ask(process, "close_connection", connection=pid, reason="moving house")
    close = peer.expect(amqp.Connection.Close)
    assert close.reply_text == "CONNECTION_FORCED - moving house"
    other = process.connect()
    assert ask(process, "close_all_connections", reason="night")["result"] == {"connections": 1}
    assert other.expect(amqp.Connection.Close).reply_code == 320


def publish(process: BrokerProcess, key: str, body: bytes, **more: object) -> Answer:
    """Publish to the default exchange."""
    encoded = b64encode(body).decode()
    arguments = {"vhost": "/", "exchange": "", "routing_key": key, "body_base64": encoded}
    return ask(process, "publish", **arguments, **more)


def test_a_confirmed_publish_outlives_a_crash(process: BrokerProcess, tmp_path: Path) -> None:
    ch = process.channel()
    ch.declare_queue("q", durable=True)
    properties = {"delivery_mode": 2, "headers": {"n": 1}}
    answer = publish(process, "q", b"kept\xff", properties=properties, confirm=True)
    assert answer["result"] == {"routed": True, "confirmed": True}
    process.end()
    with broker_process(tmp_path / "data") as again:
        (row,) = rows(again, "peek", vhost="/", name="q")
        message = again.channel().must_get("q")
    assert row == ["", "q", True, 0, properties, 5, "base64", "a2VwdP8="]
    assert message.body == b"kept\xff"


def test_publishes_that_go_nowhere(process: BrokerProcess) -> None:
    assert publish(process, "nothing", b"m")["result"] == {"routed": False, "confirmed": False}
    assert error_of(publish(process, "q", b"m", properties={"color": "red"})) == (
        "bad-argument",
        "no such message property: color",
    )
    arguments = {"vhost": "/", "exchange": "", "routing_key": "q", "body_base64": "?"}
    assert error_of(ask(process, "publish", **arguments))[0] == "bad-argument"


def test_get_and_peek_reach_what_is_on_disk(process: BrokerProcess) -> None:
    ch = process.channel()
    ch.declare_queue("q", durable=True)
    bodies = [f"{number:06d}".encode() + b"x" * 2000 for number in range(3000)]
    ch.confirm()
    for body in bodies:
        ch.publish(body, key="q", properties=PERSISTENT)
    ch.expect_confirms(len(bodies))
    ((ready, on_disk),) = rows(
        process, "list_queues", columns=["messages_ready", "messages_paged_out"]
    )
    assert ready == 3000
    assert isinstance(on_disk, int)
    assert on_disk > 500
    seen = rows(process, "peek", vhost="/", name="q", count=3000, body_bytes_max=6)
    assert [row[-1] for row in seen] == [f"{number:06d}" for number in range(3000)]
    assert {row[2] for row in seen} == {False}
    for ack, redelivered, left in ((False, False, 3000), (True, True, 500)):
        got = rows(process, "get", vhost="/", name="q", count=2500, ack=ack, body_bytes_max=6)
        assert [row[-1] for row in got] == [f"{number:06d}" for number in range(2500)]
        assert {row[2] for row in got} == {redelivered}
        counts = rows(process, "list_queues", columns=["messages", "messages_unacknowledged"])
        assert counts == [[left, 0]]
    assert error_of(ask(process, "peek", vhost="/", name="q", count=0)) == (
        "bad-argument",
        "count is a number from 1 to 10,000",
    )


def test_a_long_list_keeps_nobody_waiting(process: BrokerProcess) -> None:
    ch = process.channel()
    for number in range(3000):
        ch.send(amqp.Queue.Declare(queue=f"q{number}", nowait=True))
    ch.declare_queue("last")
    columns = ["name", "messages", "consumers", "arguments", "state"]
    assert len(rows(process, "list_queues", columns=columns)) == 3001
    assert ch.queue_exists("last")
