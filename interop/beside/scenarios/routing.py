"""Where messages go: each type of exchange, alternates, and exchanges bound to exchanges."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from interop.beside.catalogue import scenario
from interop.beside.peer import Channel
from interop.beside.stage import Stage
from interop.beside.tables import Typed

_KEYS = (
    *("", ".", "..", "a", "a.", ".a", "a.b", "a.b.c", "b", "b.a", "a.a", "a..b", "a.b.a.b", "#"),
    *("*", "a.*", "a.#", "a.b.c.d.e", "ä.ö"),
)


def _bound(s: Stage, ch: Channel, kind: str) -> str:
    """A queue bound to a new exchange by nothing yet."""
    ch.exchange(s.x(), kind)
    ch.declare(s.q())
    return s.x()


def _matched(s: Stage, count: int) -> None:
    """Note which of the bodies that were published have arrived."""
    s.settle()
    bodies = s.take_all(s.q())
    s.note(f"{len(bodies)} of {count}: {bodies}")


@scenario(
    *("#", "*", "", "a", "a.b", "*.*", "#.#", "a.#", "#.a", "a.*", "*.b", "a.#.b", "#.b.#"),
    *("*.#", "#.*", "*.*.#", "#.*.#", "a.*.#", ".", "a.", ".a", "a..b", "..", "*.*.*", "#.#.#"),
    *("a.#.#.b", "#a", "a*", "ä.*", "a.b.#.a.b", "#.a.b.#.a.b.#"),
)
def topic(s: Stage, pattern: str) -> None:
    ch = s.channel()
    ch.bind(s.q(), _bound(s, ch, "topic"), pattern)
    for key in _KEYS:
        ch.publish(s.x(), key, key.encode())
    _matched(s, len(_KEYS))


@scenario
def topic_many(s: Stage) -> None:
    """Several patterns that match bring one copy; taking one away leaves the others."""
    ch = s.channel()
    exchange = _bound(s, ch, "topic")
    for pattern in ("a.#", "#.b", "a.b", "*.*"):
        ch.bind(s.q(), exchange, pattern)
    ch.publish(exchange, "a.b", b"one copy")
    s.settle()
    s.counts(s.q())
    for pattern in ("a.#", "a.b", "*.*"):
        ch.unbind(s.q(), exchange, pattern)
    ch.publish(exchange, "a.b", b"by the last")
    ch.publish(exchange, "a.c", b"by none")
    s.settle()
    s.counts(s.q())


@scenario
def direct(s: Stage) -> None:
    ch = s.channel()
    exchange = _bound(s, ch, "direct")
    ch.bind(s.q(), exchange, "a")
    ch.bind(s.q(), exchange, "b")
    ch.bind(s.q(), exchange, "")
    for key in ("a", "b", "c", "", "A", "a "):
        ch.publish(exchange, key, key.encode())
    _matched(s, 6)


@scenario
def fanout(s: Stage) -> None:
    ch = s.channel()
    exchange = _bound(s, ch, "fanout")
    ch.bind(s.q(), exchange, "a")
    ch.bind(s.q(), exchange, "b")
    for key in ("a", "c", ""):
        ch.publish(exchange, key, key.encode())
    _matched(s, 3)


_MATCHES: tuple[dict[str, Any], ...] = (
    {},
    {"a": 1},
    {"a": 1, "b": "two"},
    {"a": None},
    {"a": "1"},
    {"a": True},
    {"x-a": 1},
    {"a": 1, "x-a": 2},
    {"a": Typed("b", 1)},
    {"a": [1, 2]},
    {"a": {"k": 1}},
    {"b": b"two"},
    {"t": datetime(2020, 1, 1, tzinfo=UTC)},
)
_HEADERS: tuple[dict[str, Any], ...] = (
    *({}, {"a": 1}, {"a": 2}, {"b": "two"}, {"a": 1, "b": "two"}, {"a": 1, "b": 2, "c": 3}),
    *({"a": "1"}, {"a": True}, {"a": None}, {"x-a": 1}, {"a": 1, "x-a": 2}),
    *({"a": Typed("l", 1)}, {"a": [1, 2]}, {"a": {"k": 1}}, {"b": b"two"}),
    {"t": datetime(2020, 1, 1, tzinfo=UTC)},
)


@scenario(
    *(
        (kind, match)
        for kind in ("all", "any", "all-with-x", "any-with-x", None)
        for match in _MATCHES
    )
)
def headers(s: Stage, kind: str | None, match: dict[str, Any]) -> None:
    ch = s.channel()
    exchange = _bound(s, ch, "headers")
    ch.bind(s.q(), exchange, "", match if kind is None else {"x-match": kind, **match})
    for n, table in enumerate(_HEADERS):
        ch.publish(exchange, "", str(n).encode(), headers=table)
    ch.publish(exchange, "", b"no headers")
    _matched(s, len(_HEADERS) + 1)


@scenario
def headers_numbers(s: Stage) -> None:
    """Whether 1 is 1.0."""
    ch = s.channel()
    exchange = _bound(s, ch, "headers")
    ch.declare(s.q("floats"))
    ch.bind(s.q(), exchange, "", {"a": 1})
    ch.bind(s.q("floats"), exchange, "", {"a": 1.0})
    for value in (1, 1.0, Typed("f", 1.0), Decimal(1), Typed("l", 1)):
        ch.publish(exchange, "", repr(value).encode(), headers={"a": value})
    s.settle()
    s.note(s.take_all(s.q()))
    s.note(s.take_all(s.q("floats")))


@scenario("none", "ALL", "", 1, True, None, b"all", ["all"])
def headers_bad_match(s: Stage, value: Any) -> None:
    ch = s.channel()
    ch.bind(s.q(), _bound(s, ch, "headers"), "", {"x-match": value, "a": 1})


@scenario("1", "10", "0", "-1", "", "a", "1.5", " 1")
def consistent_hash_weight(s: Stage, weight: str) -> None:
    ch = s.channel()
    ch.bind(s.q(), _bound(s, ch, "x-consistent-hash"), weight)
    for n in range(5):
        ch.publish(s.x(), str(n), b"%d" % n)
    _matched(s, 5)


@scenario(
    {},
    {"hash-header": "h"},
    {"hash-property": "message_id"},
    {"hash-property": "correlation_id"},
    {"hash-property": "nonsense"},
    {"hash-header": "h", "hash-property": "message_id"},
    {"hash-header": 1},
)
def consistent_hash(s: Stage, arguments: dict[str, Any]) -> None:
    """Every message to one queue, the same key always to the same one."""
    ch = s.channel()
    ch.exchange(s.x(), "x-consistent-hash", arguments)
    queues = [s.q(stem) for stem in ("q1", "q2")]
    for queue in queues:
        ch.declare(queue)
        ch.bind(queue, s.x(), "1")
    for n in range(40):
        text = str(n % 20)
        ch.publish(s.x(), text, headers={"h": text}, message_id=text, correlation_id=text)
    s.settle()
    counts = [len(s.take_all(queue)) for queue in queues]
    s.note("all there:", sum(counts) == 40, "even:", all(count % 2 == 0 for count in counts))


@scenario
def default_exchange(s: Stage) -> None:
    ch = s.channel()
    ch.declare(s.q())
    ch.publish("", s.q(), b"1")
    ch.publish("", s.q("none"), b"2")
    ch.publish("", "", b"3")
    _matched(s, 3)


@scenario
def alternate(s: Stage) -> None:
    ch = s.channel()
    ch.exchange(s.x("second"), "fanout")
    ch.exchange(s.x("first"), "direct", {"alternate-exchange": s.x("second")})
    ch.exchange(s.x(), "direct", {"alternate-exchange": s.x("first")})
    ch.declare(s.q())
    ch.declare(s.q("routed"))
    ch.bind(s.q("routed"), s.x(), "k")
    ch.bind(s.q(), s.x("second"))
    ch.publish(s.x(), "k", b"not by the alternate", mandatory=True)
    ch.publish(s.x(), "other", b"by two alternates", mandatory=True)
    s.settle()
    ch.get(s.q("routed"))
    ch.get(s.q())
    ch.unbind(s.q(), s.x("second"))
    ch.publish(s.x(), "other", b"nowhere", mandatory=True)
    ch.wait_returns(1)


@scenario
def alternate_missing_or_in_a_circle(s: Stage) -> None:
    ch = s.channel()
    ch.exchange(s.x(), "direct", {"alternate-exchange": s.x("none")})
    ch.publish(s.x(), "k", b"1", mandatory=True)
    ch.wait_returns(1)
    ch.exchange(s.x("a"), "direct", {"alternate-exchange": s.x("b")})
    ch.exchange(s.x("b"), "direct", {"alternate-exchange": s.x("a")})
    ch.publish(s.x("a"), "k", b"2", mandatory=True)
    ch.wait_returns(1)
    ch.exchange(s.x("self"), "direct", {"alternate-exchange": s.x("self")})
    ch.publish(s.x("self"), "k", b"3", mandatory=True)
    ch.wait_returns(1)
    ch.exchange(s.x("to-default"), "direct", {"alternate-exchange": ""})
    ch.declare(s.q())
    ch.publish(s.x("to-default"), s.q(), b"4", mandatory=True)
    s.settle()
    s.counts(s.q())


@scenario
def exchange_to_exchange(s: Stage) -> None:
    """By whatever ways: one copy a queue, with the first exchange's name and the message's key."""
    ch = s.channel()
    ch.exchange(s.x("a"), "topic")
    ch.exchange(s.x("b"), "fanout")
    ch.exchange(s.x("c"), "direct")
    ch.declare(s.q())
    ch.bind_exchange(s.x("b"), s.x("a"), "k.#")
    ch.bind_exchange(s.x("c"), s.x("b"), "ignored")
    ch.bind_exchange(s.x("a"), s.x("c"), "k.1")
    ch.bind(s.q(), s.x("c"), "k.1")
    ch.bind(s.q(), s.x("b"))
    ch.bind(s.q(), s.x("a"), "k.1")
    ch.publish(s.x("a"), "k.1", b"1")
    ch.publish(s.x("a"), "k.2", b"2")
    ch.publish(s.x("a"), "l", b"3", mandatory=True)
    ch.wait_returns(1)
    s.settle()
    ch.get(s.q())
    ch.get(s.q())
    ch.get(s.q())
    ch.unbind_exchange(s.x("b"), s.x("a"), "k.#")
    ch.publish(s.x("a"), "k.2", b"4", mandatory=True)
    ch.wait_returns(1)


@scenario("CC", "BCC")
def extra_keys(s: Stage, header: str) -> None:
    ch = s.channel()
    for stem in ("q1", "q2", "q3"):
        ch.declare(s.q(stem))
    keys = [s.q("q2"), s.q("q3"), s.q("q1"), s.q("none"), 5, None]
    ch.publish("", s.q("q1"), b"1", headers={header: keys, "other": 1})
    ch.publish("", s.q("none"), b"2", mandatory=True, headers={header: [s.q("q1")]})
    ch.publish("", s.q("none"), b"3", mandatory=True, headers={header: []})
    ch.wait_returns(1)
    s.settle()
    for stem in ("q1", "q1", "q2", "q3"):
        ch.get(s.q(stem))


@scenario
def extra_keys_of_both_kinds(s: Stage) -> None:
    ch = s.channel()
    exchange = _bound(s, ch, "topic")
    ch.bind(s.q(), exchange, "c.#")
    ch.publish(exchange, "x", b"1", headers={"CC": ["c.1"]})
    ch.publish(exchange, "x", b"2", headers={"BCC": ["c.1"], "CC": ["y"]})
    ch.publish(exchange, "x", b"3", headers={"BCC": ["y"]})
    s.settle()
    ch.get(s.q())
    ch.get(s.q())
    ch.get(s.q())


@scenario(("CC", "text"), ("CC", 1), ("BCC", "text"), ("CC", {"a": 1}), ("CC", None), ("BCC", True))
def extra_keys_that_are_no_list(s: Stage, header: str, value: Any) -> None:
    ch = s.channel()
    ch.declare(s.q())
    ch.publish("", s.q(), b"1", headers={header: value})
    ch.wait_closed()
