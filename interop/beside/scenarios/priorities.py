"""Priority queues."""

from __future__ import annotations

from interop.beside.catalogue import scenario
from interop.beside.stage import Stage


@scenario(0, 1, 5, 255)
def order(s: Stage, levels: int) -> None:
    """Highest first, in order within; above the highest is the highest, none is the lowest."""
    ch = s.channel()
    ch.declare(s.q(), {"x-max-priority": levels})
    for n, priority in enumerate((0, 3, None, 5, 255, 1, 3, 6, 0)):
        ch.publish("", s.q(), b"%d" % n, priority=priority)
    s.settle()
    for _ in range(3):
        ch.get(s.q())
    s.note(s.take_all(s.q()))


@scenario
def without_priorities(s: Stage) -> None:
    ch = s.channel()
    ch.declare(s.q())
    for n, priority in enumerate((1, 9, 5)):
        ch.publish("", s.q(), b"%d" % n, priority=priority)
    s.settle()
    s.note(s.take_all(s.q()))


@scenario
def with_a_consumer(s: Stage) -> None:
    """What was delivered is not called back."""
    ch = s.channel()
    ch.declare(s.q(), {"x-max-priority": 5})
    ch.qos(1)
    ch.publish("", s.q(), b"low", priority=1)
    s.settle()
    ch.consume(s.q())
    ch.deliveries(1)
    for n, priority in enumerate((2, 5, 3)):
        ch.publish("", s.q(), b"%d" % n, priority=priority)
    s.settle()
    for tag in (1, 2, 3):
        ch.ack(tag)
        ch.deliveries(1)


@scenario
def requeued(s: Stage) -> None:
    """Back to the front of their own priority."""
    ch = s.channel()
    ch.declare(s.q(), {"x-max-priority": 5})
    for n, priority in enumerate((1, 5, 1, 5, 3)):
        ch.publish("", s.q(), b"%d" % n, priority=priority)
    s.settle()
    for _ in range(4):
        ch.get(s.q(), no_ack=False)
    ch.nack(4, multiple=True)
    s.settle()
    for _ in range(5):
        ch.get(s.q())


@scenario
def counts_and_purge(s: Stage) -> None:
    ch = s.channel()
    ch.declare(s.q(), {"x-max-priority": 5})
    for priority in range(6):
        ch.publish("", s.q(), b"1", priority=priority)
    s.settle()
    ch.declare(s.q(), passive=True)
    ch.get(s.q(), no_ack=False)
    ch.delete(s.q(), if_empty=True)
    ch.get(s.q(), no_ack=False)
    ch.purge(s.q())


@scenario
def durable(s: Stage) -> None:
    ch = s.channel()
    ch.declare(s.q(), {"x-max-priority": 3}, durable=True)
    ch.confirm()
    for n, priority in enumerate((1, 3, 2, 0)):
        ch.publish("", s.q(), b"%d" % n, priority=priority, delivery_mode=2)
    ch.confirms()
    s.note(s.take_all(s.q()))


@scenario
def dead_letters_keep_theirs(s: Stage) -> None:
    ch = s.channel()
    ch.declare(s.q("dead"), {"x-max-priority": 5})
    arguments = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": s.q("dead")}
    ch.declare(s.q(), {**arguments, "x-max-length": 0})
    for n, priority in enumerate((1, 3, 2)):
        ch.publish("", s.q(), b"%d" % n, priority=priority)
    s.settle()
    s.note(s.take_all(s.q("dead")))
