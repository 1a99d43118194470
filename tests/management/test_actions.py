"""What an administrator does to queues, connections and messages of a node in memory."""

from __future__ import annotations

import pytest
from pamqp.commands import Connection

from amqbroker.management import actions
from amqbroker.management.errors import ManagementError
from tests.core.house import House, core, make_message


def refused(action: object, *arguments: object) -> tuple[str, str]:
    """Code and text of the error that must come."""
    with pytest.raises(ManagementError) as caught:
        action(*arguments)  # type: ignore[operator]
    return caught.value.code, caught.value.text


def test_purge() -> None:
    house = House()
    ch = house.channel()
    ch.declare_queue("q")
    ch.fill("q", b"1", b"2", b"3")
    ch.must_get("q")
    assert actions.purge_queue(core(house.node), "/", "q") == 2
    assert house.queue("q").ready_count() == 0
    assert house.queue("q").unacked_count == 1
    code, text = refused(actions.purge_queue, core(house.node), "/", "nothing")
    assert (code, text) == ("not-found", "there is no queue 'nothing' in vhost '/'")
    assert refused(actions.purge_queue, core(house.node), "x", "q")[0] == "not-found"


def test_delete_and_its_conditions() -> None:
    house = House()
    ch = house.channel()
    broker = core(house.node)
    ch.declare_queue("q", durable=True)
    ch.fill("q", b"1", b"2")
    code, text = refused(actions.delete_queue, broker, "/", "q", True)
    assert (code, text) == ("refused", "queue 'q' in vhost '/' is not empty")
    tag = ch.consume("q")
    code, text = refused(actions.delete_queue, broker, "/", "q", False, True)
    assert (code, text) == ("refused", "queue 'q' in vhost '/' has consumers")
    ch.cancel(tag)
    messages, position = actions.delete_queue(broker, "/", "q", False, True)
    assert messages == 0  # both are outstanding
    assert position > 0
    assert "q" not in house.vhost().queues


def test_a_connection_is_closed_with_a_reason() -> None:
    house = House()
    first, second = house.connect(), house.connect()
    client = house.core_client(first)
    broker = core(house.node)
    actions.close_connection(broker, f"<{client.id}>", "maintenance")
    house.run()
    close = first.expect(Connection.Close)
    assert (close.reply_code, close.reply_text) == (320, "CONNECTION_FORCED - maintenance")
    assert second.is_alive()
    actions.close_connection(broker, house.core_client(second).name, "too")
    house.run()
    assert second.expect(Connection.Close).reply_code == 320
    code, text = refused(actions.close_connection, broker, "<7>", "x")
    assert code == "not-found"
    assert text.startswith("there is no connection '<7>': ")


def test_so_many_connections_are_closed() -> None:
    house = House()
    peers = [house.connect() for _ in range(3)]
    broker = core(house.node)
    assert actions.close_connections(broker, "bye", limit=2) == 2
    house.run()
    for peer in peers[:2]:
        peer.expect(Connection.Close)
    assert peers[2].is_alive()
    assert actions.close_connections(broker, "bye", limit=2) == 1
    assert refused(actions.close_connections, broker, "bye", "", "", -1)[0] == "bad-argument"


def test_many_connections_are_closed_at_once() -> None:
    house = House()
    guest, stranger = house.connect(), house.connect("stranger", "other")
    alice = house.connect("alice")
    broker = core(house.node)
    assert actions.close_connections(broker, "bye", vhost="other") == 1
    assert actions.close_connections(broker, "bye", user="alice") == 1
    assert actions.close_connections(broker, "bye", vhost="other") == 0
    house.run()
    stranger.expect(Connection.Close)
    alice.expect(Connection.Close)
    assert guest.is_alive()
    assert actions.close_connections(broker, "bye") == 1
    assert refused(actions.close_connections, broker, "x", "nowhere")[0] == "not-found"
    assert refused(actions.close_connections, broker, "x", "", "nobody")[0] == "no-such-user"


@pytest.mark.parametrize(
    ("properties", "text"),
    [
        ({"color": "red"}, "no such message property: color"),
        ({"content_type": 7}, "the message property content_type cannot be a int"),
        ({"app_id": "x" * 256}, "is longer than 255 bytes"),
        ({"priority": 256}, "the property priority is a whole number from 0 to 255"),
        ({"priority": True}, "the property priority is a whole number"),
        ({"timestamp": -1}, "the property timestamp is a whole number"),
        ({"headers": {"a": 2**63}}, "headers.a: no 64-bit number"),
        ({"headers": 1}, "the message property headers cannot be a int"),
    ],
)
def test_a_message_that_no_client_could_send(properties: dict[str, object], text: str) -> None:
    code, found = refused(actions.make_message, "", "q", properties, b"")
    assert code == "bad-argument"
    assert text in found


def test_names_that_are_too_long() -> None:
    assert refused(actions.make_message, "x" * 256, "q", {}, b"") == (
        "bad-argument",
        "the exchange is longer than 255 bytes",
    )


def test_messages_are_shown_as_they_are() -> None:
    properties: dict[str, object] = {"delivery_mode": 2, "headers": {"a": [1, "b"]}}
    made = actions.make_message("x", "k", properties, b"text")
    assert made.persistent
    row = actions.shown_message(made, True, 2, 100)
    assert row == ["x", "k", True, 2, properties, 4, "string", "text"]
    binary = actions.shown_message(make_message(b"\xff\x00"), False, 0, 100)
    assert binary[5:] == [2, "base64", "/wA="]


def test_hidden_keys_are_not_shown() -> None:
    made = actions.make_message("x", "k", {"headers": {"BCC": ["a"], "b": 1}}, b"")
    assert actions.shown_message(made, False, 0, 1)[4] == {"headers": {"b": 1}}


def test_a_long_body_is_cut_between_characters() -> None:
    row = actions.shown_message(make_message("aéé".encode()), False, 0, 4)
    assert row[5:] == [5, "string", "aé"]
    assert actions.shown_message(make_message(b"a"), False, 0, 0)[5:] == [1, "string", ""]


def test_the_columns_are_those_of_a_message() -> None:
    row = actions.shown_message(make_message(), False, 0, 1)
    assert len(row) == len(actions.MESSAGE_COLUMNS)
