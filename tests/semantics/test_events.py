"""What happens, as messages of the event exchange (fact 243).

The exchange is a plug-in of RabbitMQ's, which a broker over the network need not have.
"""

from __future__ import annotations

from collections.abc import Mapping

from pamqp.commands import Basic, Exchange

from tests.core.house import core

from .conftest import Bench
from .marks import fact
from .messages import Message
from .peer import Channel

EVENTS = "amq.rabbitmq.event"


def _listener(bench: Bench, key: str) -> Channel:
    """A channel with a queue `events` of what happens from now on."""
    ch = bench.channel()
    ch.declare_queue("events")
    ch.bind("events", EVENTS, key)
    return ch


def _events(ch: Channel) -> list[tuple[str, Mapping[str, object]]]:
    """The events that came, by name, with their facts."""
    found: list[tuple[str, Mapping[str, object]]] = []
    while (message := ch.get("events", no_ack=True)) is not None:
        found.append((message.routing_key, message.headers))
    return found


def _names(ch: Channel) -> list[str]:
    return [name for name, _ in _events(ch)]


@fact(243)
def test_fact_243_an_event_is_all_headers(memory_bench: Bench) -> None:
    ch = _listener(memory_bench, "queue.*")
    ch.declare_queue("q", auto_delete=True, arguments={"x-max-length": 5})
    event = ch.must_get("events", no_ack=True)
    assert isinstance(event, Message)
    assert event.body == b""
    assert event.method.exchange == EVENTS  # type: ignore[attr-defined]
    assert event.routing_key == "queue.created"
    assert event.properties.delivery_mode == 2
    headers = dict(event.headers)
    assert headers.pop("timestamp_in_ms")
    assert headers == {
        "name": "q",
        "vhost": "/",
        "durable": False,
        "auto_delete": True,
        "exclusive": False,
        "arguments": {"x-max-length": 5},
    }
    ch.delete_queue("q")
    ((name, facts),) = _events(ch)
    assert (name, facts["name"]) == ("queue.deleted", "q")


@fact(243)
def test_fact_243_exchanges_and_bindings(memory_bench: Bench) -> None:
    ch = _listener(memory_bench, "#")
    _events(ch)
    ch.declare_exchange("x", "fanout", auto_delete=True)
    ch.declare_queue("q")
    ch.bind("q", "x", "key")
    ch.delete_queue("q")
    assert _names(ch) == [
        "exchange.created",
        "queue.created",
        "binding.created",
        "binding.deleted",
        "exchange.deleted",
        "queue.deleted",
    ]


@fact(243)
def test_fact_243_connections_channels_and_consumers(memory_bench: Bench) -> None:
    ch = _listener(memory_bench, "#")
    _events(ch)
    peer = memory_bench.connect()
    other = peer.open_channel()
    other.consume("events", "tag")
    other.cancel("tag")
    other.close()
    peer.close()
    memory_bench.connect().drop()
    events = _events(ch)
    assert [name for name, _ in events] == [
        "user.authentication.success",
        "connection.created",
        "channel.created",
        "consumer.created",
        "consumer.deleted",
        "channel.closed",
        "connection.closed",
        "user.authentication.success",
        "connection.created",
        "connection.closed",
    ]
    facts = dict(events)
    assert facts["consumer.created"]["consumer_tag"] == "tag"
    assert facts["channel.created"]["number"] == 1
    assert facts["connection.created"]["user"] == "guest"


@fact(243)
def test_fact_243_a_login_that_fails(memory_bench: Bench) -> None:
    ch = _listener(memory_bench, "user.authentication.failure")
    peer = memory_bench.raw()
    peer.greet()
    peer.log_in("guest", "wrong")
    ((_, facts),) = _events(ch)
    assert facts["name"] == "guest"
    assert "invalid credentials" in str(facts["error"])


@fact(243)
def test_fact_243_alarms(memory_bench: Bench) -> None:
    ch = _listener(memory_bench, "alarm.*")
    memory_bench.node.measured(memory_is_low=True)
    memory_bench.node.measured(memory_is_low=False)
    assert [(name, facts["reason"]) for name, facts in _events(ch)] == [
        ("alarm.set", "low on memory"),
        ("alarm.cleared", "low on memory"),
    ]


@fact(243)
def test_fact_243_the_exchange_is_the_broker_s_own(memory_bench: Bench) -> None:
    """Nobody publishes to it, and nobody deletes it."""
    ch = memory_bench.channel()
    ch.publish(exchange=EVENTS, key="queue.created")
    ch.expect_channel_close(403, method=Basic.Publish)
    ch.open()
    ch.fails(Exchange.Delete(exchange=EVENTS), 403)
    assert EVENTS in core(memory_bench.node.node).vhosts["/"].exchanges
