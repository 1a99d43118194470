"""Declaring and deleting exchanges, and binding to them."""

from __future__ import annotations

from typing import Any

from pika import spec

from interop.beside.catalogue import scenario
from interop.beside.stage import Stage

_SYSTEM = {
    "amq.direct": "direct",
    "amq.fanout": "fanout",
    "amq.topic": "topic",
    "amq.headers": "headers",
    "amq.match": "headers",
}


@scenario("direct", "fanout", "topic", "headers", "x-consistent-hash", "x-unheard-of", "", "Direct")
def kind(s: Stage, kind: str) -> None:
    ch = s.channel()
    ch.exchange(s.x(), kind)
    ch.exchange(s.x(), kind)
    ch.exchange(s.x(), passive=True)
    ch.delete_exchange(s.x())


@scenario(*((*pair, flag) for pair in _SYSTEM.items() for flag in (True, False)))
def system(s: Stage, name: str, kind: str, durable: bool) -> None:
    ch = s.channel()
    ch.exchange(name, kind, durable=durable)
    ch.exchange(name, "x-nonsense", passive=True)
    ch.delete_exchange(name)
    ch.delete_exchange(name, if_unused=True)


@scenario
def trace(s: Stage) -> None:
    ch = s.channel()
    ch.exchange("amq.rabbitmq.trace", "topic", durable=True)
    ch.exchange("amq.rabbitmq.trace", "topic", durable=True, internal=True)
    ch.exchange("amq.rabbitmq.log", passive=True)
    ch.publish("amq.rabbitmq.trace", "k", b"1")
    ch.wait_closed()


@scenario
def default(s: Stage) -> None:
    """Nothing can be done to the default exchange but publishing."""
    ch = s.channel()
    ch.declare(s.q())
    ch.exchange("", "direct", durable=True)
    ch.exchange("", passive=True)
    ch.delete_exchange("")
    ch.bind(s.q(), "", "k")
    ch.unbind(s.q(), "", s.q())
    ch.bind_exchange("", "amq.direct", "k")
    ch.bind_exchange("amq.direct", "", "k")
    ch.unbind_exchange("amq.direct", "", "k")


@scenario("amq.mine", "amq.", "AMQ.x", "x" * 255, "ä #", "a\r\nb")
def name(s: Stage, name: str) -> None:
    ch = s.channel()
    ch.exchange(name, auto_delete=True)
    ch.exchange(name, passive=True)
    ch.delete_exchange(name)


@scenario("durable", "auto_delete", "internal", "type")
def redeclared(s: Stage, what: str) -> None:
    ch = s.channel()
    flags: dict[str, Any] = {} if what == "type" else {what: True}
    ch.exchange(s.x(), "fanout", **flags)
    ch.exchange(s.x(), "fanout", **flags)
    ch.exchange(s.x(), "direct")
    ch.delete_exchange(s.x())
    ch.exchange(s.x(), "fanout")
    ch.exchange(s.x(), "direct" if what == "type" else "fanout", **flags)


@scenario
def redeclared_with_everything_else(s: Stage) -> None:
    ch = s.channel()
    one: dict[str, Any] = {"alternate-exchange": "a"}
    ch.exchange(s.x(), "direct", one, durable=True)
    ch.exchange(s.x(), "fanout", internal=True, auto_delete=True)
    ch.exchange(s.x(), "direct", internal=True, auto_delete=True)
    ch.exchange(s.x(), "direct", internal=True, auto_delete=True, durable=True)
    ch.exchange(s.x(), "direct", internal=True, durable=True)
    ch.exchange(s.x(), "direct", durable=True)


@scenario(
    ("alternate-exchange", "a", "b"),
    ("alternate-exchange", "a", None),
    ("alternate-exchange", None, "a"),
    ("alternate-exchange", "", None),
    ("alternate-exchange", 1, 1),
    ("alternate-exchange", True, True),
    ("alternate-exchange", ["a"], None),
    ("x-unheard-of", 1, 2),
    ("hash-header", "a", "b"),
)
def argument(s: Stage, key: str, first: Any, second: Any) -> None:
    ch = s.channel()
    ch.exchange(s.x(), "direct", {} if first is None else {key: first})
    ch.exchange(s.x(), "direct", {} if second is None else {key: second})


@scenario
def passive(s: Stage) -> None:
    ch = s.channel()
    ch.exchange(s.x(), passive=True)
    ch.exchange(s.x(), "fanout", durable=True)
    ch.exchange(s.x(), "headers", passive=True, internal=True)


@scenario
def delete(s: Stage) -> None:
    ch = s.channel()
    ch.delete_exchange(s.x())
    ch.delete_exchange(s.x(), if_unused=True)
    ch.exchange(s.x())
    ch.exchange(s.x("y"))
    ch.bind_exchange(s.x("y"), s.x(), "k")
    ch.delete_exchange(s.x(), if_unused=True)
    ch.delete_exchange(s.x("y"), if_unused=True)
    ch.delete_exchange(s.x(), if_unused=True)
    ch.exchange(s.x(), passive=True)


@scenario
def auto_delete(s: Stage) -> None:
    ch = s.channel()
    ch.declare(s.q())
    ch.exchange(s.x(), auto_delete=True)
    ch.bind(s.q(), s.x(), "a")
    ch.bind(s.q(), s.x(), "b")
    ch.unbind(s.q(), s.x(), "c")
    ch.unbind(s.q(), s.x(), "a")
    ch.exchange(s.x(), passive=True)
    ch.unbind(s.q(), s.x(), "b")
    ch.exchange(s.x(), passive=True)
    ch.exchange(s.x(), auto_delete=True)
    ch.bind(s.q(), s.x(), "a")
    ch.delete(s.q())
    ch.exchange(s.x(), passive=True)


@scenario
def auto_delete_chain(s: Stage) -> None:
    """One that goes takes those with it whose last binding led to it."""
    ch = s.channel()
    for stem in ("a", "b", "c"):
        ch.exchange(s.x(stem), auto_delete=True)
    ch.declare(s.q())
    ch.bind_exchange(s.x("b"), s.x("a"))
    ch.bind_exchange(s.x("c"), s.x("b"))
    ch.bind(s.q(), s.x("c"))
    ch.delete(s.q())
    for stem in ("a", "b", "c"):
        ch.exchange(s.x(stem), passive=True)


@scenario
def internal(s: Stage) -> None:
    ch = s.channel()
    ch.exchange(s.x(), "fanout", internal=True)
    ch.exchange(s.x("outer"), "fanout")
    ch.declare(s.q())
    ch.bind(s.q(), s.x())
    ch.bind_exchange(s.x(), s.x("outer"))
    ch.publish(s.x("outer"), "k", b"through")
    s.settle()
    ch.get(s.q())
    ch.publish(s.x(), "k", b"directly")
    ch.wait_closed()


@scenario
def binding_to_what_is_missing(s: Stage) -> None:
    ch = s.channel()
    ch.declare(s.q())
    ch.exchange(s.x())
    ch.bind(s.q(), s.x("none"), "k")
    ch.bind(s.q("none"), s.x(), "k")
    ch.bind(s.q("none"), s.x("none"), "k")
    ch.bind_exchange(s.x("none"), s.x(), "k")
    ch.bind_exchange(s.x(), s.x("none"), "k")
    ch.bind_exchange(s.x("none"), s.x("none2"), "k")


@scenario
def unbinding_what_is_missing(s: Stage) -> None:
    ch = s.channel()
    ch.declare(s.q())
    ch.exchange(s.x())
    ch.unbind(s.q(), s.x(), "k")
    ch.unbind(s.q(), s.x("none"), "k")
    ch.unbind(s.q("none"), s.x(), "k")
    ch.unbind_exchange(s.x(), s.x("none"), "k")
    ch.unbind_exchange(s.x("none"), s.x(), "k")


@scenario
def unbinding_anothers_queue(s: Stage) -> None:
    own, other = s.channel(), s.channel()
    own.declare(s.q(), exclusive=True)
    own.exchange(s.x())
    other.unbind(s.q(), s.x(), "k")
    own.bind(s.q(), s.x(), "k")
    other.unbind(s.q(), s.x(), "k")


@scenario
def binding_twice(s: Stage) -> None:
    """The same binding is one; another table of arguments makes another binding."""
    ch = s.channel()
    ch.declare(s.q())
    ch.exchange(s.x())
    ch.bind(s.q(), s.x(), "k")
    ch.bind(s.q(), s.x(), "k")
    ch.bind(s.q(), s.x(), "k", {"a": 1, "b": 2})
    ch.bind(s.q(), s.x(), "k", {"b": 2, "a": 1})
    ch.publish(s.x(), "k", b"once")
    s.settle()
    s.counts(s.q())
    ch.unbind(s.q(), s.x(), "k")
    ch.publish(s.x(), "k", b"still bound")
    s.settle()
    s.counts(s.q())
    ch.unbind(s.q(), s.x(), "k", {"a": 1, "b": 2})
    ch.publish(s.x(), "k", b"no more")
    s.settle()
    s.counts(s.q())


@scenario
def without_waiting(s: Stage) -> None:
    ch = s.channel()
    ch.send(spec.Exchange.Declare(exchange=s.x(), type="fanout", nowait=True, arguments={}))
    ch.send(spec.Exchange.Declare(exchange=s.x("y"), type="fanout", nowait=True, arguments={}))
    ch.send(spec.Exchange.Bind(destination=s.x("y"), source=s.x(), nowait=True, arguments={}))
    ch.sync()
    ch.declare(s.q())
    ch.bind(s.q(), s.x("y"))
    ch.publish(s.x(), "", b"1")
    s.settle()
    ch.get(s.q())
    ch.send(spec.Exchange.Unbind(destination=s.x("y"), source=s.x(), nowait=True, arguments={}))
    ch.send(spec.Exchange.Delete(exchange=s.x("y"), nowait=True))
    ch.send(spec.Exchange.Declare(exchange=s.x(), type="x-none", nowait=True, arguments={}))
    ch.wait_closed()
    ch.exchange(s.x("y"), passive=True)
