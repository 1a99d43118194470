"""Dead letters: reasons, routing, how safely they travel, the x-death header, and cycles."""

from __future__ import annotations

from datetime import datetime

import pytest
from pamqp.commands import Basic
from pamqp.common import FieldTable, FieldValue

from .conftest import Bench
from .marks import differs_on_reference, fact
from .messages import Message
from .peer import Channel


def _deaths(message: Message) -> list[FieldTable]:
    """The x-death header."""
    deaths = message.headers["x-death"]
    assert isinstance(deaths, list)
    found: list[FieldTable] = []
    for death in deaths:
        assert isinstance(death, dict)
        found.append(death)
    return found


def _death(message: Message) -> FieldTable:
    """The only entry of x-death."""
    deaths = _deaths(message)
    assert len(deaths) == 1, deaths
    return deaths[0]


def _pair(bench: Bench, **arguments: FieldValue) -> tuple[Channel, str, str]:
    """A queue whose dead letters go to a second one; arguments with _ for -."""
    ch = bench.channel()
    queue, dead = bench.name(), bench.name("dead")
    ch.declare_queue(dead)
    table: FieldTable = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead}
    for name, value in arguments.items():
        table["x-" + name.replace("_", "-")] = value
    ch.declare_queue(queue, durable=table.get("x-queue-type") == "quorum", arguments=table)
    return ch, queue, dead


def _reject(ch: Channel, queue: str, body: bytes | None = None) -> None:
    """Reject the first message of a queue."""
    message = ch.must_get(queue)
    assert body is None or message.body == body
    ch.reject(message.tag, requeue=False)


def _wait_get(ch: Channel, queue: str) -> Message:
    """The one message that a queue has or will have."""
    ch.wait_ready(queue, 1)
    return ch.must_get(queue, no_ack=True)


# Reasons and routing.


@fact(209, 177)
@pytest.mark.parametrize("how", ["reject", "nack"])
def test_fact_209_rejected(bench: Bench, how: str) -> None:
    ch, queue, dead = _pair(bench)
    ch.fill(queue, b"1")
    tag = ch.must_get(queue).tag
    if how == "reject":
        ch.reject(tag, requeue=False)
    else:
        ch.nack(tag, requeue=False)
    assert _death(_wait_get(ch, dead))["reason"] == "rejected"


@fact(209, 221)
def test_fact_209_delivery_limit(bench: Bench) -> None:
    ch, queue, dead = _pair(bench, queue_type="quorum", delivery_limit=0)
    ch.fill(queue, b"1")
    ch.nack(ch.must_get(queue).tag)
    assert _death(_wait_get(ch, dead))["reason"] == "delivery_limit"


@fact(209, 213)
def test_fact_209_expired(bench: Bench) -> None:
    ch, queue, dead = _pair(bench)
    ch.fill(queue, b"1", properties=Basic.Properties(expiration="100"))
    bench.let_pass(0.3)
    message = _wait_get(ch, dead)
    assert _death(message)["reason"] == "expired"
    assert _death(message)["original-expiration"] == "100"
    assert message.properties.expiration is None


@fact(209)
def test_fact_209_expired_by_the_queues_time(bench: Bench) -> None:
    ch, queue, dead = _pair(bench, message_ttl=100)
    ch.publish(b"1", key=queue)
    bench.let_pass(0.3)
    message = _wait_get(ch, dead)
    assert _death(message)["reason"] == "expired"
    assert "original-expiration" not in _death(message)


@fact(209)
@pytest.mark.parametrize("limit", ["max_length", "max_length_bytes"])
def test_fact_209_maxlen(bench: Bench, limit: str) -> None:
    ch, queue, dead = _pair(bench, **{limit: 1})
    ch.fill(queue, b"1")
    ch.publish(b"2", key=queue)
    message = _wait_get(ch, dead)
    assert message.body == b"1"
    assert _death(message)["reason"] == "maxlen"
    assert ch.get_bodies(queue) == [b"2"]


@fact(210)
def test_fact_210_exchange_is_looked_up_late(bench: Bench) -> None:
    ch = bench.channel()
    queue, dead, exchange = bench.name(), bench.name("dead"), bench.name("dlx")
    ch.declare_queue(queue, arguments={"x-dead-letter-exchange": exchange})
    ch.declare_queue(dead)
    ch.fill(queue, b"1", b"2")
    _reject(ch, queue, b"1")
    ch.sync(queue)
    ch.declare_exchange(exchange, "fanout")
    ch.bind(dead, exchange)
    _reject(ch, queue, b"2")
    assert _wait_get(ch, dead).body == b"2"


@fact(211)
def test_fact_211_own_keys_are_kept(bench: Bench) -> None:
    ch = bench.channel()
    exchange, source = bench.name("dlx"), bench.name("x")
    queue, first, second = bench.name(), bench.name("first"), bench.name("second")
    ch.declare_exchange(exchange, "direct")
    ch.declare_exchange(source, "fanout")
    ch.declare_queue(queue, arguments={"x-dead-letter-exchange": exchange})
    ch.bind(queue, source)
    for name, key in ((first, "k"), (second, "copy")):
        ch.declare_queue(name)
        ch.bind(name, exchange, key)
    ch.publish(b"1", exchange=source, key="k", headers={"CC": ["copy"]})
    ch.wait_ready(queue, 1)
    _reject(ch, queue)
    for name in (first, second):
        message = _wait_get(ch, name)
        assert message.method.exchange == exchange  # type: ignore[attr-defined]
        assert message.routing_key == "k"
        assert _death(message)["routing-keys"] == ["k", "copy"]


@fact(211)
def test_fact_211_hidden_keys_are_kept(bench: Bench) -> None:
    """BCC keys lead dead letters from one queue to the next, and nobody sees them."""
    ch = bench.channel()
    source, between, last = bench.name("x"), bench.name("between"), bench.name("last")
    queue, other = bench.name(), bench.name("other")
    for exchange, kind in ((source, "fanout"), (between, "fanout"), (last, "direct")):
        ch.declare_exchange(exchange, kind)
    ch.declare_queue(queue, arguments={"x-dead-letter-exchange": between})
    ch.declare_queue(other, arguments={"x-dead-letter-exchange": last})
    ch.bind(queue, source)
    ch.bind(other, between)
    keys = [bench.name(key) for key in ("k", "copy", "hidden")]
    for key in keys:
        ch.declare_queue(key)
        ch.bind(key, last, key)
    headers: FieldTable = {"BCC": [keys[2]], "CC": [keys[1]], "mine": "BCC"}
    ch.publish(b"1", exchange=source, key=keys[0], headers=headers)
    for name in (queue, other):
        ch.wait_ready(name, 1)
        message = ch.must_get(name)
        assert "BCC" not in message.headers
        assert message.headers["mine"] == "BCC"
        ch.reject(message.tag, requeue=False)
    for name in keys:
        message = _wait_get(ch, name)
        assert "BCC" not in message.headers
        assert message.headers["CC"] == [keys[1]]
        assert [death["routing-keys"] for death in _deaths(message)] == [keys[:2]] * 2


@fact(211)
def test_fact_211_a_configured_key_replaces_all(bench: Bench) -> None:
    ch, queue, dead = _pair(bench)
    copy = bench.name("copy")
    ch.declare_queue(copy)
    ch.publish(b"1", key=queue, headers={"CC": [copy]})
    ch.wait_ready(queue, 1)
    ch.wait_ready(copy, 1)
    _reject(ch, queue)
    message = _wait_get(ch, dead)
    assert message.routing_key == dead
    assert _death(message)["routing-keys"] == [queue, copy]
    ch.wait_ready(copy, 1)


# How safely they travel.


def _full(bench: Bench, **arguments: FieldValue) -> tuple[Channel, str, str]:
    """A queue whose dead letters go to one that has room for a single message, and has it."""
    ch, queue, dead = _pair(bench, **arguments)
    ch.delete_queue(dead)
    ch.declare_queue(dead, arguments={"x-max-length": 1, "x-overflow": "reject-publish"})
    ch.fill(dead, b"first")
    return ch, queue, dead


@fact(212)
@differs_on_reference("its classic queues drop what is refused")
def test_fact_212_a_refused_dead_letter_waits_for_room(bench: Bench) -> None:
    ch, queue, dead = _full(bench)
    ch.fill(queue, b"1", b"2")
    _reject(ch, queue, b"1")
    _reject(ch, queue, b"2")
    ch.wait_ready(queue, 0)
    for body in (b"first", b"1", b"2"):
        ch.wait_ready(dead, 1)
        assert ch.must_get(dead, no_ack=True).body == body
        bench.let_pass(1.1)
    ch.wait_ready(dead, 0)


@fact(212)
@pytest.mark.parametrize("reason", ["maxlen", "at-most-once"])
def test_fact_212_what_may_be_dropped_is(bench: Bench, reason: str) -> None:
    """What a length limit dropped is not kept, or it would be no limit."""
    if reason == "maxlen":
        ch, queue, dead = _full(bench, max_length=1)
        ch.fill(queue, b"1")
        ch.publish(b"2", key=queue)
        ch.sync(queue)
    else:
        ch, queue, dead = _full(
            bench, queue_type="quorum", dead_letter_strategy="at-most-once", overflow="drop-head"
        )
        ch.fill(queue, b"1")
        _reject(ch, queue)
    bench.let_pass(0.2)
    assert ch.must_get(dead, no_ack=True).body == b"first"
    bench.let_pass(1.1)
    ch.wait_ready(dead, 0)


@fact(212)
def test_fact_212_a_full_queue_may_send_it_on(bench: Bench) -> None:
    """With overflow reject-publish-dlx: the letter dies of maxlen there."""
    ch, queue, full = _full(bench)
    last = bench.name("last")
    ch.delete_queue(full)
    ch.declare_queue(last)
    ch.declare_queue(
        full,
        arguments={
            "x-max-length": 1,
            "x-overflow": "reject-publish-dlx",
            "x-dead-letter-exchange": "",
            "x-dead-letter-routing-key": last,
        },
    )
    ch.fill(full, b"first")
    ch.fill(queue, b"1")
    _reject(ch, queue)
    message = _wait_get(ch, last)
    assert message.body == b"1"
    deaths = [(death["queue"], death["reason"]) for death in _deaths(message)]
    assert deaths == [(full, "maxlen"), (queue, "rejected")]


@fact(213)
def test_fact_213_expiration_is_taken_off(bench: Bench) -> None:
    ch, queue, dead = _pair(bench)
    properties = Basic.Properties(
        content_type="text/plain",
        headers={"mine": "kept"},
        delivery_mode=2,
        priority=7,
        correlation_id="c",
        expiration="60000",
        message_id="m",
        timestamp=datetime.fromisoformat("2020-01-02T03:04:05+00:00"),
        message_type="t",
        app_id="a",
    )
    ch.fill(queue, b"body", properties=properties)
    _reject(ch, queue)
    message = _wait_get(ch, dead)
    assert message.body == b"body"
    assert message.properties.expiration is None
    assert _death(message)["original-expiration"] == "60000"
    assert message.headers["mine"] == "kept"
    for name in ("content_type", "delivery_mode", "priority", "correlation_id", "message_id"):
        assert getattr(message.properties, name) == getattr(properties, name)
    for name in ("timestamp", "message_type", "app_id"):
        assert getattr(message.properties, name) == getattr(properties, name)


@fact(220)
def test_fact_220_unroutable_dead_letters_are_dropped(bench: Bench) -> None:
    ch = bench.channel()
    queue, exchange = bench.name(), bench.name("dlx")
    ch.declare_exchange(exchange, "direct")
    ch.declare_queue(queue, arguments={"x-dead-letter-exchange": exchange})
    ch.publish(b"1", key=queue, mandatory=True)
    ch.wait_ready(queue, 1)
    _reject(ch, queue)
    ch.expect_nothing(queue)
    ch.wait_ready(queue, 0)


@fact(220)
def test_fact_220_alternate_exchange(bench: Bench) -> None:
    ch = bench.channel()
    queue, dead = bench.name(), bench.name("dead")
    exchange, alternate = bench.name("dlx"), bench.name("ae")
    ch.declare_exchange(exchange, "direct", arguments={"alternate-exchange": alternate})
    ch.declare_exchange(alternate, "fanout")
    ch.declare_queue(queue, arguments={"x-dead-letter-exchange": exchange})
    ch.declare_queue(dead)
    ch.bind(dead, alternate)
    ch.fill(queue, b"1")
    _reject(ch, queue)
    assert _wait_get(ch, dead).body == b"1"


@fact(220)
def test_fact_220_headers_exchange(bench: Bench) -> None:
    ch = bench.channel()
    queue, dead, other = bench.name(), bench.name("dead"), bench.name("other")
    ch.declare_queue(queue, arguments={"x-dead-letter-exchange": "amq.headers"})
    for name, value in ((dead, "yes"), (other, "no")):
        ch.declare_queue(name)
        ch.bind(name, "amq.headers", arguments={"x-match": "all", "k-" + queue: value})
    ch.fill(queue, b"1", properties=Basic.Properties(headers={"k-" + queue: "yes"}))
    _reject(ch, queue)
    assert _wait_get(ch, dead).body == b"1"
    ch.wait_ready(other, 0)


# The x-death header.


@fact(214)
def test_fact_214_x_death(bench: Bench) -> None:
    ch = bench.channel()
    queue, dead = bench.name(), bench.name("dead")
    ch.declare_queue(dead)
    ch.declare_queue(
        queue, arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead}
    )
    ch.bind(queue, "amq.topic", queue + ".*")
    ch.publish(b"1", exchange="amq.topic", key=queue + ".a")
    ch.wait_ready(queue, 1)
    _reject(ch, queue)
    death = _death(_wait_get(ch, dead))
    time = death.pop("time")
    assert isinstance(time, datetime)
    assert time.year >= 2023
    assert death == {
        "count": 1,
        "reason": "rejected",
        "queue": queue,
        "exchange": "amq.topic",
        "routing-keys": [queue + ".a"],
    }


@fact(214)
def test_fact_214_newest_first(bench: Bench) -> None:
    ch, second, dead = _pair(bench)
    first = bench.name("first")
    ch.declare_queue(
        first, arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": second}
    )
    ch.fill(first, b"1")
    _reject(ch, first)
    ch.wait_ready(second, 1)
    _reject(ch, second)
    deaths = _deaths(_wait_get(ch, dead))
    assert [(death["queue"], death["count"]) for death in deaths] == [(second, 1), (first, 1)]
    assert deaths[0]["routing-keys"] == [second]


@fact(215, 218)
def test_fact_215_a_second_death_counts_and_comes_first(bench: Bench) -> None:
    """A message that goes round between two queues, rejected in each."""
    ch = bench.channel()
    left, right = bench.name("left"), bench.name("right")
    for name, other in ((left, right), (right, left)):
        ch.declare_queue(
            name, arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": other}
        )
    ch.fill(left, b"1")
    seen = []
    for name in (left, right, left, right, left):
        _reject(ch, name)
        other = right if name == left else left
        ch.wait_ready(other, 1)
        message = ch.must_get(other)
        deaths = _deaths(message)
        seen.append([(death["queue"], death["count"]) for death in deaths])
        assert deaths[-1]["time"] <= deaths[0]["time"]  # type: ignore[operator]
        ch.nack(message.tag)
        ch.wait_ready(other, 1)
    assert seen == [
        [(left, 1)],
        [(right, 1), (left, 1)],
        [(left, 2), (right, 1)],
        [(right, 2), (left, 2)],
        [(left, 3), (right, 2)],
    ]


@fact(215)
def test_fact_215_time_is_that_of_the_first_death(memory_bench: Bench) -> None:
    bench = memory_bench
    ch = bench.channel()
    queue = bench.name()
    ch.declare_queue(
        queue, arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": queue}
    )
    ch.fill(queue, b"1")
    _reject(ch, queue)
    bench.advance(100)
    first = ch.must_get(queue)
    ch.reject(first.tag, requeue=False)
    second = ch.must_get(queue)
    assert _death(first)["time"] == _death(second)["time"]
    assert _death(second)["count"] == 2


def _died_twice(bench: Bench, exchange: str) -> tuple[str, str, FieldTable]:
    """Rejected in one queue, over the limit in the next: the queues, and the message's headers.

    The first death leads to the second queue by this exchange.
    """
    ch, second, dead = _pair(bench, queue_type="quorum", delivery_limit=0)
    first = bench.name("first")
    arguments: FieldTable = {"x-dead-letter-exchange": exchange}
    if exchange:
        ch.bind(second, exchange)
    else:
        arguments["x-dead-letter-routing-key"] = second
    ch.declare_queue(first, arguments=arguments)
    ch.fill(first, b"1")
    _reject(ch, first)
    ch.wait_ready(second, 1)
    ch.nack(ch.must_get(second).tag)
    return first, second, _wait_get(ch, dead).headers


@fact(216)
def test_fact_216_first_death(bench: Bench) -> None:
    first, _, headers = _died_twice(bench, "")
    assert headers["x-first-death-reason"] == "rejected"
    assert headers["x-first-death-queue"] == first
    assert headers["x-first-death-exchange"] == ""


@fact(216)
@differs_on_reference("x-last-death headers came with 3.13")
def test_fact_216_last_death(bench: Bench) -> None:
    _, second, headers = _died_twice(bench, "amq.fanout")
    assert headers["x-last-death-reason"] == "delivery_limit"
    assert headers["x-last-death-queue"] == second
    assert headers["x-last-death-exchange"] == "amq.fanout"


@fact(217)
@differs_on_reference("before 4.0 the history of publishers is believed")
def test_fact_217_histories_of_publishers_are_ignored(bench: Bench) -> None:
    """A client that publishes a dead letter again, with all its headers."""
    ch, queue, dead = _pair(bench)
    ch.fill(queue, b"1")
    _reject(ch, queue)
    got = _wait_get(ch, dead)
    ch.fill(queue, b"2", properties=got.properties)
    again = ch.must_get(queue)
    assert again.headers == got.headers
    ch.reject(again.tag, requeue=False)
    assert _death(_wait_get(ch, dead))["count"] == 1


@fact(217)
@pytest.mark.parametrize("value", ["text", 5, [], [1, "a"], [{"queue": 1}], {"queue": "q"}])
def test_fact_217_any_x_death_of_a_publisher_is_borne(bench: Bench, value: FieldValue) -> None:
    if bench.broker.is_reference and not isinstance(value, list):
        pytest.skip("the reference's queue crashes")
    if bench.broker.is_reference and value:
        pytest.skip("the reference's queue crashes")
    ch, queue, dead = _pair(bench)
    headers: FieldTable = {"x-death": value, "x-first-death-reason": 1, "other": "kept"}
    ch.fill(queue, b"1", properties=Basic.Properties(headers=headers))
    message = ch.must_get(queue)
    assert message.headers == headers
    ch.reject(message.tag, requeue=False)
    dead_letter = _wait_get(ch, dead)
    assert _death(dead_letter)["count"] == 1
    assert dead_letter.headers["other"] == "kept"


# Cycles.


@fact(218)
def test_fact_218_automatic_cycles_are_cut(bench: Bench) -> None:
    """Two queues that pass a message on by their delivery limits: the second time it is dropped."""
    ch = bench.channel()
    left, right = bench.name("left"), bench.name("right")
    for name, other in ((left, right), (right, left)):
        ch.declare_queue(
            name,
            durable=True,
            arguments={
                "x-queue-type": "quorum",
                "x-delivery-limit": 0,
                "x-dead-letter-exchange": "",
                "x-dead-letter-routing-key": other,
            },
        )
    ch.fill(left, b"1")
    ch.nack(ch.must_get(left).tag)
    ch.wait_ready(right, 1)
    ch.nack(ch.must_get(right).tag)
    ch.sync(right)
    ch.wait_ready(left, 0)
    ch.wait_ready(right, 0)


@fact(218)
def test_fact_218_a_rejection_in_the_cycle_lets_it_pass(bench: Bench) -> None:
    ch = bench.channel()
    left, right = bench.name("left"), bench.name("right")
    ch.declare_queue(
        left, arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": right}
    )
    ch.declare_queue(
        right,
        durable=True,
        arguments={
            "x-queue-type": "quorum",
            "x-delivery-limit": 0,
            "x-dead-letter-exchange": "",
            "x-dead-letter-routing-key": left,
        },
    )
    ch.fill(left, b"1")
    for round_ in range(1, 4):
        _reject(ch, left)
        ch.wait_ready(right, 1)
        ch.nack(ch.must_get(right).tag)
        ch.wait_ready(left, 1)
        message = ch.must_get(left)
        assert [death["count"] for death in _deaths(message)] == [round_, round_]
        ch.nack(message.tag)
        ch.wait_ready(left, 1)


@fact(218)
def test_fact_218_cycles_by_time_are_cut(bench: Bench) -> None:
    ch = bench.channel()
    left, right = bench.name("left"), bench.name("right")
    for name, other in ((left, right), (right, left)):
        ch.declare_queue(
            name,
            arguments={
                "x-message-ttl": 100,
                "x-dead-letter-exchange": "",
                "x-dead-letter-routing-key": other,
            },
        )
    ch.publish(b"1", key=left)
    for _ in range(4):
        bench.let_pass(0.2)
    ch.wait_ready(left, 0)
    ch.wait_ready(right, 0)


@fact(218, 215)
def test_fact_218_retry_with_a_delay(bench: Bench) -> None:
    """The usual way to try again later: rejected, it waits in a second queue and comes back."""
    ch = bench.channel()
    work, wait = bench.name("work"), bench.name("wait")
    ch.declare_queue(
        work, arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": wait}
    )
    ch.declare_queue(
        wait,
        arguments={
            "x-message-ttl": 100,
            "x-dead-letter-exchange": "",
            "x-dead-letter-routing-key": work,
        },
    )
    ch.fill(work, b"1")
    for round_ in range(1, 4):
        _reject(ch, work)
        bench.let_pass(0.3)
        ch.wait_ready(work, 1)
        message = ch.must_get(work)
        deaths = [(death["reason"], death["count"]) for death in _deaths(message)]
        assert deaths == [("expired", round_), ("rejected", round_)]
        ch.nack(message.tag)
        ch.wait_ready(work, 1)


@fact(219)
def test_fact_219_expired_messages_do_not_come_back(bench: Bench) -> None:
    ch = bench.channel()
    queue = bench.name()
    ch.declare_queue(
        queue,
        arguments={
            "x-message-ttl": 100,
            "x-dead-letter-exchange": "",
            "x-dead-letter-routing-key": queue,
        },
    )
    ch.publish(b"1", key=queue)
    bench.let_pass(0.3)
    ch.wait_ready(queue, 0)


@fact(219)
def test_fact_219_a_queue_that_is_its_own_target(bench: Bench) -> None:
    ch = bench.channel()
    queue = bench.name()
    ch.declare_queue(
        queue,
        durable=True,
        arguments={
            "x-queue-type": "quorum",
            "x-delivery-limit": 0,
            "x-dead-letter-exchange": "",
            "x-dead-letter-routing-key": queue,
        },
    )
    ch.fill(queue, b"1", b"2")
    ch.nack(ch.must_get(queue).tag)
    ch.wait_ready(queue, 1)
    _reject(ch, queue, b"2")
    ch.wait_ready(queue, 1)
    assert _death(ch.must_get(queue))["reason"] == "rejected"
