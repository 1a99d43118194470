"""What a user may not do, told in which words."""

from __future__ import annotations

from interop.beside.catalogue import scenario
from interop.beside.peer import Channel
from interop.beside.stage import Stage

_USERS = ("reader", "writer", "configurer")


def _prepared(s: Stage, user: str) -> Channel:
    ch = s.channel()
    ch.declare(s.q())
    ch.exchange(s.x(), "topic")
    ch.exchange(s.x("other"), "topic")
    ch.publish("", s.q(), b"1")
    s.settle()
    return s.channel(user)


@scenario(*_USERS)
def queues(s: Stage, user: str) -> None:
    ch = _prepared(s, user)
    ch.declare(s.q())
    ch.declare(s.q("new"))
    ch.declare("", exclusive=True)
    ch.declare(s.q(), passive=True)
    ch.declare(s.q("none"), passive=True)
    ch.get(s.q())
    ch.consume(s.q())
    ch.purge(s.q())
    ch.purge(s.q("none"))
    ch.delete(s.q("none"))
    ch.delete(s.q())


@scenario(*_USERS)
def exchanges(s: Stage, user: str) -> None:
    ch = _prepared(s, user)
    ch.exchange(s.x(), "topic")
    ch.exchange(s.x("new"))
    ch.exchange(s.x(), passive=True)
    ch.bind(s.q(), s.x(), "k")
    ch.bind_exchange(s.x(), s.x("other"), "k")
    ch.unbind(s.q(), s.x(), "k")
    ch.unbind_exchange(s.x(), s.x("other"), "k")
    ch.delete_exchange(s.x("none"))
    ch.delete_exchange(s.x())


@scenario(*_USERS)
def publishing(s: Stage, user: str) -> None:
    ch = _prepared(s, user)
    for exchange in (s.x(), "", "amq.topic", s.x("none")):
        ch.publish(exchange, s.q(), b"2", mandatory=True)
        ch.sync()
    s.settle()


@scenario
def arguments_that_name_others(s: Stage) -> None:
    """A dead-letter exchange and an alternate need rights of their own."""
    ch = s.channel("mine")
    ch.declare(s.q("mine-1"), {"x-dead-letter-exchange": s.x("theirs")})
    ch.declare(s.q("mine-2"), {"x-dead-letter-exchange": s.x("mine-dead")})
    ch.exchange(s.x("mine-3"), "direct", {"alternate-exchange": s.x("theirs")})
    ch.exchange(s.x("mine-4"), "direct", {"alternate-exchange": s.x("mine-dead")})


@scenario
def by_name(s: Stage) -> None:
    owner, ch = s.channel(), s.channel("mine")
    owner.declare(s.q("theirs"))
    ch.declare(s.q("mine-1"))
    ch.declare(s.q("theirs"))
    ch.declare("", exclusive=True)
    ch.publish("", s.q("mine-1"), b"1")
    ch.publish("", s.q("theirs"), b"by the default exchange")
    s.settle()
    ch.get(s.q("mine-1"))
    ch.get(s.q("theirs"))
    ch.bind(s.q("mine-1"), "amq.topic", "k")
    ch.publish("amq.topic", "k", b"1")
    ch.wait_closed()


@scenario
def topics(s: Stage) -> None:
    ch = s.channel("topical")
    ch.declare(s.q())
    ch.bind(s.q(), "amq.topic", "free.1")
    ch.bind(s.q(), "amq.topic", "/.1")
    ch.bind(s.q(), "amq.topic", "secret.1")
    ch.bind(s.q(), "amq.topic", "#")
    ch.unbind(s.q(), "amq.topic", "secret.1")
    ch.publish("amq.topic", "topical.1", b"allowed")
    ch.sync()
    ch.publish("amq.topic", "others.1", b"not allowed")
    ch.sync()
    ch.publish("amq.topic", "topical.1", b"1", headers={"CC": ["others.1"]})
    ch.sync()
    ch.publish("amq.direct", "others.1", b"no topic exchange")
    ch.sync()
    ch.exchange(s.x(), "topic")
    ch.bind(s.q(), s.x(), "anything")
    ch.publish(s.x(), "anything", b"another topic exchange")
    s.settle()
    s.note(s.take_all(s.q()))


@scenario
def consumer_tag_and_acks(s: Stage) -> None:
    """A reader may acknowledge and give back."""
    _prepared(s, "guest").publish("", s.q(), b"2")
    s.settle()
    ch = s.channel("reader")
    ch.consume(s.q())
    ch.deliveries(2)
    ch.ack(1)
    ch.nack(2)
    ch.deliveries(1)
    ch.recover()
    ch.deliveries(1)
    ch.cancel()
