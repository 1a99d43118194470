"""Messages and queues that live for a time."""

from __future__ import annotations

from typing import Any

from interop.beside.catalogue import scenario
from interop.beside.stage import Stage

_SOON_MS = 60
_LATE_MS = 60_000


def _publish(ch: Any, queue: str, *expirations: int | None) -> None:
    for n, expiration in enumerate(expirations):
        text = None if expiration is None else str(expiration)
        ch.publish("", queue, b"%d" % n, expiration=text)
    ch.sync()


@scenario
def of_the_queue(s: Stage) -> None:
    ch = s.channel()
    ch.declare(s.q(), {"x-message-ttl": 300})
    _publish(ch, s.q(), None, None)
    s.settle()
    ch.get(s.q())
    s.until(s.q(), 0)
    ch.get(s.q())


@scenario
def of_the_message(s: Stage) -> None:
    ch = s.channel()
    ch.declare(s.q())
    _publish(ch, s.q(), _SOON_MS, _SOON_MS, None)
    s.until(s.q(), 1)
    ch.get(s.q())


@scenario((_SOON_MS, _LATE_MS), (_LATE_MS, _SOON_MS))
def the_shorter_of_both(s: Stage, queue_ms: int, message_ms: int) -> None:
    ch = s.channel()
    ch.declare(s.q(), {"x-message-ttl": queue_ms})
    _publish(ch, s.q(), message_ms)
    s.until(s.q(), 0)


@scenario
def at_the_head_only(s: Stage) -> None:
    """What has expired behind one that has not is still counted, and goes when it is its turn."""
    ch = s.channel()
    ch.declare(s.q())
    ch.declare(s.q("dead"))
    _publish(ch, s.q(), _LATE_MS, _SOON_MS, None)
    s.wait(2 * _SOON_MS / 1000)
    s.counts(s.q())
    ch.get(s.q())
    s.until(s.q(), 1)
    ch.get(s.q())
    ch.get(s.q())


@scenario
def behind_purged(s: Stage) -> None:
    ch = s.channel()
    ch.declare(s.q())
    _publish(ch, s.q(), _LATE_MS, _SOON_MS)
    s.wait(2 * _SOON_MS / 1000)
    ch.purge(s.q())


@scenario("queue", "message")
def zero(s: Stage, whose: str) -> None:
    """To whoever waits, or to nobody."""
    ch, consumer = s.channel(), s.channel()
    ch.declare(s.q(), {"x-message-ttl": 0} if whose == "queue" else {})
    ch.confirm()
    expiration = "0" if whose == "message" else None
    ch.publish("", s.q(), b"nobody waits", expiration=expiration, mandatory=True)
    ch.confirms()
    s.until(s.q(), 0)
    consumer.qos(1)
    consumer.consume(s.q())
    ch.publish("", s.q(), b"one waits", expiration=expiration)
    consumer.deliveries(1)
    ch.publish("", s.q(), b"but has no room", expiration=expiration)
    ch.confirms()
    s.until(s.q(), 0)
    consumer.ack(1)
    s.settle()
    s.counts(s.q())


@scenario
def zero_requeued(s: Stage) -> None:
    ch, consumer = s.channel(), s.channel()
    ch.declare(s.q(), {"x-message-ttl": 0})
    consumer.consume(s.q())
    ch.publish("", s.q(), b"1")
    consumer.deliveries(1)
    consumer.cancel()
    consumer.nack(1)
    consumer.sync()
    s.until(s.q(), 0)


@scenario
def of_the_unacknowledged(s: Stage) -> None:
    """Those do not expire until they come back."""
    ch = s.channel()
    ch.declare(s.q(), {"x-message-ttl": _SOON_MS})
    _publish(ch, s.q(), None, None)
    ch.get(s.q(), no_ack=False)
    s.until(s.q(), 0)
    ch.nack(1)
    ch.sync()
    s.until(s.q(), 0)
    ch.get(s.q())


@scenario
def kept_in_the_properties(s: Stage) -> None:
    ch = s.channel()
    ch.declare(s.q(), {"x-message-ttl": _LATE_MS})
    _publish(ch, s.q(), _LATE_MS, None)
    s.settle()
    ch.get(s.q())
    ch.get(s.q())


@scenario
def of_a_queue_unused(s: Stage) -> None:
    ch = s.channel()
    ch.declare(s.q(), {"x-expires": 150})
    ch.publish("", s.q(), b"does not keep it")
    s.wait(0.4)
    ch.declare(s.q(), passive=True)


@scenario("declare", "passive", "get")
def of_a_queue_that_is_used(s: Stage, use: str) -> None:
    ch = s.channel()
    ch.declare(s.q(), {"x-expires": 400})
    for _ in range(3):
        s.wait(0.25)
        if use == "get":
            ch.get(s.q())
        else:
            ch.declare(s.q(), {"x-expires": 400}, passive=use == "passive")
    s.wait(0.7)
    ch.declare(s.q(), passive=True)


@scenario
def of_a_queue_with_a_consumer(s: Stage) -> None:
    ch = s.channel()
    ch.declare(s.q(), {"x-expires": 150})
    ch.consume(s.q())
    s.wait(0.4)
    s.counts(s.q())
    ch.cancel()
    s.wait(0.4)
    ch.declare(s.q(), passive=True)


@scenario
def of_a_priority_queue(s: Stage) -> None:
    ch = s.channel()
    ch.declare(s.q(), {"x-max-priority": 3})
    for n, (priority, expiration) in enumerate(((2, None), (0, 60), (3, 60), (1, 60))):
        text = None if expiration is None else str(expiration)
        ch.publish("", s.q(), b"%d" % n, priority=priority, expiration=text)
    ch.sync()
    s.wait(0.2)
    ch.get(s.q())
    ch.get(s.q())
