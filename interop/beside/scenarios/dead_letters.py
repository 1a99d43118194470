"""Messages that die, where they go, and what their headers tell."""

from __future__ import annotations

from typing import Any

from interop.beside.catalogue import scenario
from interop.beside.peer import Channel
from interop.beside.stage import Stage
from interop.beside.tables import Typed

_REASONS = ("rejected", "nacked", "expired", "expired of the queue", "maxlen")


def _arguments(reason: str) -> dict[str, Any]:
    if reason == "expired of the queue":
        return {"x-message-ttl": 20}
    return {"x-max-length": 0} if reason == "maxlen" else {}


def _die(s: Stage, ch: Channel, queue: str, reason: str, **properties: Any) -> None:
    """Publish a message to the queue and let it die there."""
    if reason == "expired":
        properties["expiration"] = "20"
    ch.publish("", queue, b"body", **properties)
    s.settle()
    if reason in ("rejected", "nacked"):
        content = ch.get(queue, no_ack=False)
        (ch.reject if reason == "rejected" else ch.nack)(content.tag, requeue=False)
    s.until(queue, 0)


@scenario(*((reason, keyed) for reason in _REASONS for keyed in (False, True)))
def reason(s: Stage, reason: str, keyed: bool) -> None:
    ch = s.channel()
    ch.exchange(s.x(), "topic")
    arguments = {"x-dead-letter-exchange": s.x(), **_arguments(reason)}
    if keyed:
        arguments["x-dead-letter-routing-key"] = "the.key"
    ch.declare(s.q(), arguments)
    ch.declare(s.q("dead"))
    ch.bind(s.q("dead"), s.x(), "#")
    properties = {"message_id": "m", "headers": {"mine": 1}, "priority": 4, "delivery_mode": 2}
    _die(s, ch, s.q(), reason, **properties)
    s.until(s.q("dead"), 1)
    ch.get(s.q("dead"))


@scenario
def not_by_other_ways(s: Stage) -> None:
    """Acknowledged, purged and deleted messages do not die."""
    ch = s.channel()
    s.dying(ch, {})
    for n in range(4):
        ch.publish("", s.q(), b"%d" % n)
    s.settle()
    ch.get(s.q())
    ch.get(s.q(), no_ack=False)
    ch.ack(2)
    ch.sync()
    ch.purge(s.q())
    ch.publish("", s.q(), b"in a deleted queue")
    s.settle()
    ch.delete(s.q())
    s.settle()
    s.counts(s.q("dead"))


@scenario
def exchange_missing(s: Stage) -> None:
    """It is looked for when a message dies."""
    ch = s.channel()
    ch.declare(s.q(), {"x-dead-letter-exchange": s.x()})
    _die(s, ch, s.q(), "rejected")
    ch.exchange(s.x(), "fanout")
    ch.declare(s.q("dead"))
    ch.bind(s.q("dead"), s.x())
    _die(s, ch, s.q(), "rejected")
    s.until(s.q("dead"), 1)
    ch.get(s.q("dead"))
    ch.delete_exchange(s.x())
    _die(s, ch, s.q(), "rejected")
    s.settle()
    s.counts(s.q("dead"))


@scenario
def alternate_exchange(s: Stage) -> None:
    ch = s.channel()
    ch.exchange(s.x("alternate"), "fanout")
    ch.exchange(s.x(), "direct", {"alternate-exchange": s.x("alternate")})
    ch.declare(s.q(), {"x-dead-letter-exchange": s.x()})
    ch.declare(s.q("dead"))
    ch.bind(s.q("dead"), s.x("alternate"))
    _die(s, ch, s.q(), "rejected")
    s.until(s.q("dead"), 1)
    ch.get(s.q("dead"))


@scenario(*((header, keyed) for header in ("CC", "BCC") for keyed in (False, True)))
def extra_keys(s: Stage, header: str, keyed: bool) -> None:
    """They route again, but not where the queue has a key for its dead."""
    ch = s.channel()
    ch.exchange(s.x(), "direct")
    arguments = {"x-dead-letter-exchange": s.x()}
    if keyed:
        arguments["x-dead-letter-routing-key"] = "key"
    ch.declare(s.q(), arguments)
    for stem, key in (("main", s.q()), ("extra", "extra"), ("keyed", "key")):
        ch.declare(s.q(stem))
        ch.bind(s.q(stem), s.x(), key)
    _die(s, ch, s.q(), "rejected", headers={header: ["extra", 5]})
    s.settle()
    for stem in ("main", "extra", "keyed"):
        ch.get(s.q(stem))


@scenario
def chain(s: Stage) -> None:
    """Through three queues for three reasons: the newest death comes first."""
    ch = s.channel()
    ch.declare(s.q("last"))
    for stem, target, arguments in (
        ("first", "second", {}),
        ("second", "third", {"x-message-ttl": 20}),
        ("third", "last", {"x-max-length": 0}),
    ):
        arguments = {"x-dead-letter-exchange": "", **arguments}
        ch.declare(s.q(stem), {**arguments, "x-dead-letter-routing-key": s.q(target)})
    _die(s, ch, s.q("first"), "rejected", headers={"mine": 1}, expiration="100000")
    s.until(s.q("last"), 1)
    ch.get(s.q("last"))


@scenario
def again_and_again(s: Stage) -> None:
    """A retry queue and back: the count grows, the time stays."""
    ch = s.channel()
    for stem, target, arguments in (("work", "wait", {}), ("wait", "work", {"x-message-ttl": 20})):
        arguments = {"x-dead-letter-exchange": "", **arguments}
        ch.declare(s.q(stem), {**arguments, "x-dead-letter-routing-key": s.q(target)})
    ch.publish("", s.q("work"), b"1")
    for _ in range(3):
        s.until(s.q("work"), 1)
        content = ch.get(s.q("work"), no_ack=False)
        ch.nack(content.tag, requeue=False)
        ch.sync()
    s.until(s.q("work"), 1)
    ch.get(s.q("work"))


@scenario("expired", "maxlen", "rejected")
def to_itself(s: Stage, reason: str) -> None:
    """A circle without a rejection in it ends."""
    ch = s.channel()
    arguments = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": s.q()}
    ch.declare(s.q(), {**arguments, **_arguments(reason)})
    if reason == "rejected":
        ch.publish("", s.q(), b"1")
        for _ in range(3):
            s.until(s.q(), 1)
            content = ch.get(s.q(), no_ack=False)
            ch.reject(content.tag, requeue=False)
            ch.sync()
        s.until(s.q(), 1)
        ch.get(s.q())
    else:
        _die(s, ch, s.q(), reason)
        s.settle()
        s.counts(s.q())


@scenario("expired", "rejected")
def circle_of_two(s: Stage, reason: str) -> None:
    ch = s.channel()
    for stem, target in (("a", "b"), ("b", "a")):
        arguments = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": s.q(target)}
        ch.declare(s.q(stem), arguments | ({"x-message-ttl": 30} if reason == "expired" else {}))
    _die(s, ch, s.q("a"), reason)
    if reason == "rejected":
        content = ch.get(s.q("b"), no_ack=False)
        ch.reject(content.tag, requeue=False)
        ch.sync()
        s.until(s.q("a"), 1)
        ch.get(s.q("a"))
    else:
        s.until(s.q("b"), 0)
        s.wait(0.1)
        s.counts(s.q("a"))


_TABLE = {"count": 3, "reason": "rejected", "queue": "elsewhere", "exchange": "e"}


@scenario(
    [],
    [_TABLE],
    [{**_TABLE, "count": Typed("l", 3), "routing-keys": ["k"]}],
    [{"nonsense": 1}],
    "nonsense",
    5,
    [5, "x"],
    {"a": 1},
    None,
)
def header_of_the_client(s: Stage, value: Any) -> None:
    """A client may send x-death itself, whatever is in it."""
    ch = s.channel()
    s.dying(ch, {})
    _die(s, ch, s.q(), "rejected", headers={"x-death": value})
    s.settle()
    ch.get(s.q("dead"))


@scenario
def republished_by_the_client(s: Stage) -> None:
    """What came with x-death is published with it, and dies again."""
    ch = s.channel()
    s.dying(ch, {})
    _die(s, ch, s.q(), "rejected")
    s.until(s.q("dead"), 1)
    content = ch.get(s.q("dead"))
    _die(s, ch, s.q(), "rejected", headers=content.properties.headers)
    s.until(s.q("dead"), 1)
    ch.get(s.q("dead"))


@scenario
def several_at_once(s: Stage) -> None:
    """They die in order."""
    ch = s.channel()
    s.dying(ch, {})
    for n in range(6):
        ch.publish("", s.q(), b"%d" % n)
    s.settle()
    for _ in range(6):
        ch.get(s.q(), no_ack=False)
    ch.nack(4, multiple=True, requeue=False)
    ch.reject(6, requeue=False)
    ch.reject(5, requeue=False)
    s.settle()
    s.note(s.take_all(s.q("dead")))


@scenario
def mandatory_is_forgotten(s: Stage) -> None:
    ch = s.channel()
    arguments = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": s.q("none")}
    ch.declare(s.q(), arguments)
    ch.publish("", s.q(), b"1", mandatory=True)
    s.settle()
    ch.get(s.q(), no_ack=False)
    ch.reject(1, requeue=False)
    s.settle()


@scenario
def confirmed_and_rejected(s: Stage) -> None:
    ch = s.channel()
    ch.declare(s.q("dead"), durable=True)
    arguments = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": s.q("dead")}
    ch.declare(s.q(), {**arguments, "x-max-length": 1}, durable=True)
    ch.confirm()
    for n in range(4):
        ch.publish("", s.q(), b"%d" % n, delivery_mode=2)
    ch.confirms()
    s.settle()
    for _ in range(3):
        ch.get(s.q("dead"))


@scenario
def in_a_transaction(s: Stage) -> None:
    ch = s.channel()
    s.dying(ch, {})
    ch.publish("", s.q(), b"1")
    s.settle()
    ch.select()
    ch.get(s.q(), no_ack=False)
    ch.reject(1, requeue=False)
    s.settle()
    s.counts(s.q("dead"))
    ch.commit()
    s.settle()
    s.counts(s.q("dead"))


@scenario
def delivery_limit_of_a_quorum_queue(s: Stage) -> None:
    ch = s.channel()
    s.dying(ch, {"x-queue-type": "quorum", "x-delivery-limit": 2}, durable=True)
    ch.publish("", s.q(), b"1")
    ch.consume(s.q())
    for _ in range(3):
        (content,) = ch.deliveries(1)
        ch.nack(content.tag)
    s.until(s.q("dead"), 1)
    ch.get(s.q("dead"))
