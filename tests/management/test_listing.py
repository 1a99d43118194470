"""Lists in columns, of a node in memory."""

from __future__ import annotations

import pytest
from pamqp.commands import Queue, Tx

from amqbroker.management.errors import ManagementError
from amqbroker.management.listing import (
    BINDINGS,
    CHANNELS,
    CONNECTIONS,
    CONSUMERS,
    EXCHANGES,
    QUEUES,
)
from tests.core.house import PERSISTENT, House, core
from tests.core.test_paging import fill
from tests.core.test_paging_model import SmallHouse

KINDS = (QUEUES, EXCHANGES, BINDINGS, CONNECTIONS, CHANNELS, CONSUMERS)


def rows(house: House, kind: object, *columns: str, vhost: str = "/") -> list[list[object]]:
    """A whole list."""
    return list(kind.rows(core(house.node), list(columns), vhost))  # type: ignore[attr-defined]


def test_queues_and_their_messages() -> None:
    house = House()
    ch = house.channel()
    ch.declare_queue("a", durable=True, arguments={"x-queue-type": "quorum"})
    ch.declare_queue("b", exclusive=True)
    ch.fill("a", b"1", b"2", b"3")
    ch.must_get("a")
    assert rows(house, QUEUES) == [["a", 3], ["b", 0]]
    assert rows(house, QUEUES, "messages_unacknowledged", "messages_ready", "type") == [
        [1, 2, "quorum"],
        [0, 0, "classic"],
    ]
    pid = f"<{house.core_client(ch.peer).id}>"
    assert rows(house, QUEUES, "name", "durable", "exclusive", "owner_pid") == [
        ["a", True, False, ""],
        ["b", False, True, pid],
    ]
    assert rows(house, QUEUES, "arguments")[0] == [{"x-queue-type": "quorum"}]


def test_what_is_on_disk_is_counted() -> None:
    house = SmallHouse()
    ch = house.channel()
    fill(ch, b"1", b"2")
    columns = ("messages", "messages_ram", "messages_paged_out")
    assert rows(house, QUEUES, *columns) == [[2, 0, 2]]


def test_a_virtual_host_or_all_of_them() -> None:
    house = House()
    house.channel().declare_queue("here")
    house.connect("stranger", "other").open_channel().declare_queue("there")
    assert rows(house, QUEUES, "name") == [["here"]]
    assert rows(house, QUEUES, "name", "vhost", vhost="") == [["here", "/"], ["there", "other"]]
    assert len(rows(house, CONNECTIONS, "user", vhost="other")) == 1
    assert len(rows(house, CONNECTIONS, "user", vhost="")) == 2
    with pytest.raises(ManagementError, match="Virtual host 'nowhere' does not exist"):
        rows(house, QUEUES, vhost="nowhere")


def test_exchanges_and_bindings() -> None:
    house = House()
    ch = house.channel()
    ch.declare_exchange("x", "topic", durable=True)
    ch.declare_queue("q")
    ch.bind("q", "x", "a.#")
    ch.bind_exchange("x", "amq.fanout")
    assert ["x", "topic"] in rows(house, EXCHANGES)
    assert ["", "direct"] in rows(house, EXCHANGES)
    assert rows(house, BINDINGS) == [
        ["", "exchange", "q", "queue", "q", {}],
        ["amq.fanout", "exchange", "x", "exchange", "", {}],
        ["x", "exchange", "q", "queue", "a.#", {}],
    ]


def test_connections_and_channels() -> None:
    house = House()
    ch = house.channel()
    other = ch.peer.open_channel()
    house.transport()  # has not sent a byte yet
    client = house.core_client(ch.peer)
    assert rows(house, CONNECTIONS, vhost="") == [
        ["guest", "127.0.0.1", 40001, "running"],
        ["", "127.0.0.1", 40002, "starting"],
    ]
    (row,) = rows(house, CONNECTIONS, "pid", "name", "channels", "frame_max", "auth_mechanism")
    assert row == [f"<{client.id}>", client.name, 2, 131_072, "PLAIN"]
    ch.confirm()
    ch.declare_queue("q", durable=True)
    house.disk_is_slow = True
    ch.publish(b"m", key="q", properties=PERSISTENT)
    other.send(Tx.Select())
    other.publish(b"m", key="q")
    columns = ("number", "confirm", "transactional", "messages_unconfirmed", "messages_uncommitted")
    assert rows(house, CHANNELS, *columns) == [[1, True, False, 1, 0], [2, False, True, 0, 1]]
    assert rows(house, CHANNELS, "pid", "connection")[1] == [f"<{client.id}.2>", f"<{client.id}>"]


def test_consumers_and_who_is_served() -> None:
    house = House()
    ch = house.channel()
    ch.declare_queue("q", arguments={"x-single-active-consumer": True})
    ch.qos(5)
    first, second = ch.consume("q"), ch.consume("q", no_ack=True)
    pid = f"<{house.core_client(ch.peer).id}.1>"
    assert rows(house, CONSUMERS) == [
        ["q", pid, first, True, 5, True, {}],
        ["q", pid, second, False, 5, False, {}],
    ]
    assert rows(house, QUEUES, "consumers", "single_active_consumer_tag") == [[2, first]]
    ch.declare_queue("r")
    tag = ch.consume("r", exclusive=True)
    found = rows(house, QUEUES, "exclusive_consumer_tag", "exclusive_consumer_pid")
    assert found == [["", ""], [tag, pid]]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_every_column_has_a_value(kind: object) -> None:
    house = House()
    ch = house.channel()
    ch.declare_queue("q")
    ch.bind("q", "amq.direct", "k")
    ch.consume("q")
    columns = list(kind.columns)  # type: ignore[attr-defined]
    (row, *_) = rows(house, kind, *columns)
    assert len(row) == len(columns)
    assert None not in row


def test_an_unknown_column_is_refused_before_anything_is_listed() -> None:
    house = House()
    with pytest.raises(ManagementError) as caught:
        QUEUES.rows(core(house.node), ["nam"], "/")
    assert caught.value.code == "bad-argument"
    assert caught.value.text.startswith(
        "queues have no column 'nam' (did you mean name?): they have name, vhost, type,"
    )


def test_what_goes_while_a_list_is_under_way_is_left_out() -> None:
    house = House()
    ch = house.channel()
    for name in ("a", "b", "c"):
        ch.declare_queue(name)
    found = QUEUES.rows(core(house.node), ["name"], "/")
    assert next(found) == ["a"]
    ch.call(Queue.Delete(queue="b"), Queue.DeleteOk)
    assert list(found) == [["c"]]
