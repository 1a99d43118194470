"""Queues with a length limit."""

from __future__ import annotations

from typing import Any

from interop.beside.catalogue import scenario
from interop.beside.stage import Stage

_KINDS = ("drop-head", "reject-publish", "reject-publish-dlx")


@scenario(
    *(
        (kind, limits)
        for kind in _KINDS
        for limits in (
            {"x-max-length": 3},
            {"x-max-length-bytes": 10},
            {"x-max-length": 3, "x-max-length-bytes": 10},
            {"x-max-length": 0},
            {"x-max-length-bytes": 0},
        )
    )
)
def limit(s: Stage, kind: str, limits: dict[str, Any]) -> None:
    """What stays, what is confirmed, and what dies."""
    ch = s.channel()
    ch.declare(s.q("dead"))
    ch.declare(
        s.q(),
        {
            "x-overflow": kind,
            "x-dead-letter-exchange": "",
            "x-dead-letter-routing-key": s.q("dead"),
            **limits,
        },
    )
    ch.confirm()
    for text in (b"a", b"bb", b"ccc", b"dddd", b"eeeee", b"ffffffffffff", b"", b"g"):
        ch.publish("", s.q(), text, mandatory=True)
        ch.confirms()
    s.settle()
    s.note(s.take_all(s.q()))
    s.note(s.take_all(s.q("dead")))


@scenario(*_KINDS)
def without_confirms(s: Stage, kind: str) -> None:
    ch = s.channel()
    ch.declare(s.q(), {"x-overflow": kind, "x-max-length": 2})
    for n in range(5):
        ch.publish("", s.q(), b"%d" % n, mandatory=True)
    s.settle()
    s.note(s.take_all(s.q()))


@scenario(*_KINDS)
def one_of_two_queues_is_full(s: Stage, kind: str) -> None:
    ch = s.channel()
    ch.exchange(s.x(), "fanout")
    ch.declare(s.q("full"), {"x-overflow": kind, "x-max-length": 1})
    ch.declare(s.q("roomy"))
    for stem in ("full", "roomy"):
        ch.bind(s.q(stem), s.x())
    ch.confirm()
    for n in range(3):
        ch.publish(s.x(), "", b"%d" % n)
        ch.confirms()
    s.note(s.take_all(s.q("full")))
    s.note(s.take_all(s.q("roomy")))


@scenario(*_KINDS)
def durable_and_persistent(s: Stage, kind: str) -> None:
    ch = s.channel()
    ch.declare(s.q(), {"x-overflow": kind, "x-max-length": 2}, durable=True)
    ch.confirm()
    for n in range(6):
        ch.publish("", s.q(), b"%d" % n, delivery_mode=2)
        ch.confirms()
    s.note(s.take_all(s.q()))


@scenario(*_KINDS)
def unacknowledged_do_not_count(s: Stage, kind: str) -> None:
    ch = s.channel()
    ch.declare(s.q(), {"x-overflow": kind, "x-max-length": 2})
    for n in range(2):
        ch.publish("", s.q(), b"%d" % n)
    s.settle()
    ch.get(s.q(), no_ack=False)
    ch.get(s.q(), no_ack=False)
    ch.confirm()
    for n in range(2, 5):
        ch.publish("", s.q(), b"%d" % n)
        ch.confirms()
    s.counts(s.q())
    ch.nack(2, multiple=True)
    s.settle()
    s.counts(s.q())
    s.note(s.take_all(s.q()))


@scenario(*_KINDS)
def waiting_consumer(s: Stage, kind: str) -> None:
    """With room for none: a message goes through if it can go on at once."""
    ch, consumer = s.channel(), s.channel()
    ch.declare(s.q(), {"x-overflow": kind, "x-max-length": 0})
    consumer.qos(1)
    consumer.consume(s.q())
    ch.confirm()
    ch.publish("", s.q(), b"1")
    ch.confirms()
    ch.publish("", s.q(), b"2")
    ch.confirms()
    s.settle()
    s.counts(s.q())


@scenario
def drop_head_of_priorities(s: Stage) -> None:
    """The head, which goes, is the oldest of the highest priority."""
    ch = s.channel()
    ch.declare(s.q(), {"x-max-length": 3, "x-max-priority": 5})
    for n, priority in enumerate((1, 5, 5, 0, 3, 0)):
        ch.publish("", s.q(), b"%d" % n, priority=priority)
    s.settle()
    s.note(s.take_all(s.q()))


@scenario
def transaction(s: Stage) -> None:
    ch = s.channel()
    ch.declare(s.q(), {"x-max-length": 2})
    ch.select()
    for n in range(4):
        ch.publish("", s.q(), b"%d" % n)
    ch.commit()
    s.note(s.take_all(s.q()))


@scenario
def header_of_the_dead(s: Stage) -> None:
    ch = s.channel()
    ch.declare(s.q("dead"))
    arguments = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": s.q("dead")}
    ch.declare(s.q(), {"x-max-length": 1, **arguments})
    ch.declare(s.q("reject"), {"x-max-length": 1, "x-overflow": "reject-publish-dlx", **arguments})
    for queue in (s.q(), s.q("reject")):
        ch.publish("", queue, b"1", headers={"a": 1})
        ch.publish("", queue, b"2", headers={"a": 2}, message_id="m")
        s.settle()
        ch.get(s.q("dead"))


@scenario
def quorum(s: Stage) -> None:
    ch = s.channel()
    arguments = {"x-queue-type": "quorum", "x-max-length": 2}
    ch.declare(s.q(), arguments, durable=True)
    ch.confirm()
    for n in range(4):
        ch.publish("", s.q(), b"%d" % n)
        ch.confirms()
    s.until(s.q(), 2)
    s.note(s.take_all(s.q()))
