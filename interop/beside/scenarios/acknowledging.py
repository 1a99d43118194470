"""Acks, nacks, rejects and recover, and where messages go that come back."""

from __future__ import annotations

from pika import spec

from interop.beside.catalogue import scenario
from interop.beside.scenarios.consuming import fill
from interop.beside.stage import Stage


@scenario
def multiple(s: Stage) -> None:
    ch = s.channel()
    fill(s, ch, 6)
    ch.consume(s.q())
    ch.deliveries(6)
    ch.ack(2)
    ch.ack(4, multiple=True)
    ch.ack(0, multiple=True)
    ch.ack(0, multiple=True)
    ch.sync()
    ch.ack(4, multiple=True)
    ch.wait_closed()
    s.settle()
    s.counts(s.q())


@scenario(
    *(
        (method, tag, multiple)
        for method in ("ack", "nack")
        for tag in (0, 1, 2, 3, 2**63)
        for multiple in (False, True)
    )
)
def unknown_tag(s: Stage, method: str, tag: int, multiple: bool) -> None:
    """Tags 1 and 2 have been used, and the first one settled."""
    ch = s.channel()
    fill(s, ch, 2)
    ch.get(s.q(), no_ack=False)
    ch.get(s.q(), no_ack=False)
    ch.ack(1)
    getattr(ch, method)(tag, multiple=multiple)
    ch.sync()
    s.settle()
    s.counts(s.q())


@scenario(0, 1, 5)
def rejecting_an_unknown_tag(s: Stage, tag: int) -> None:
    ch = s.channel()
    fill(s, ch, 1)
    ch.get(s.q())
    ch.reject(tag)
    ch.wait_closed()


@scenario
def tags_of_another_channel(s: Stage) -> None:
    ch = s.channel()
    fill(s, ch, 2)
    other = ch.connection.channel()
    ch.get(s.q(), no_ack=False)
    other.ack(1)
    other.wait_closed()
    ch.ack(1)
    ch.sync()


@scenario
def requeue_to_the_old_place(s: Stage) -> None:
    ch = s.channel()
    fill(s, ch, 5)
    for _ in range(3):
        ch.get(s.q(), no_ack=False)
    ch.nack(2)
    ch.reject(1)
    s.settle()
    s.note(s.take_all(s.q()))
    ch.nack(3)
    s.settle()
    ch.get(s.q())


@scenario
def requeue_many(s: Stage) -> None:
    ch = s.channel()
    fill(s, ch, 5)
    for _ in range(4):
        ch.get(s.q(), no_ack=False)
    ch.nack(3, multiple=True)
    s.settle()
    for _ in range(5):
        ch.get(s.q())
    ch.nack(0, multiple=True)
    s.settle()
    ch.get(s.q())


@scenario
def requeue_to_a_consumer(s: Stage) -> None:
    ch = s.channel()
    fill(s, ch, 3)
    ch.qos(2)
    ch.consume(s.q())
    ch.deliveries(2)
    ch.nack(1)
    ch.deliveries(1)
    ch.nack(2, requeue=False)
    ch.deliveries(1)
    ch.ack(4, multiple=True)
    ch.sync()
    s.settle()
    s.counts(s.q())


@scenario
def without_requeue(s: Stage) -> None:
    ch = s.channel()
    fill(s, ch, 4)
    for _ in range(4):
        ch.get(s.q(), no_ack=False)
    ch.reject(1, requeue=False)
    ch.nack(3, multiple=True, requeue=False)
    ch.sync()
    ch.close()
    s.settle()
    s.counts(s.q())


@scenario
def redelivered_after_a_channel(s: Stage) -> None:
    ch, other = s.channel(), s.channel()
    fill(s, ch, 4)
    other.qos(2)
    other.consume(s.q())
    other.deliveries(2)
    other.close()
    s.settle()
    for _ in range(4):
        ch.get(s.q())


@scenario
def redelivered_after_a_connection(s: Stage) -> None:
    ch, other = s.channel(), s.channel()
    fill(s, ch, 4)
    other.get(s.q(), no_ack=False)
    other.get(s.q(), no_ack=False)
    other.connection.drop()
    s.until(s.q(), 4)
    for _ in range(4):
        ch.get(s.q())


@scenario
def redelivered_to_others_first(s: Stage) -> None:
    """What comes back goes to a waiting consumer before what was never delivered."""
    one, two = s.channel(), s.channel()
    fill(s, one, 6)
    one.qos(3)
    one.consume(s.q())
    one.deliveries(3)
    two.qos(1)
    two.consume(s.q())
    two.deliveries(1)
    one.close()
    s.settle()
    two.ack(1)
    two.deliveries(1)
    two.ack(2)
    two.deliveries(1)


@scenario
def recover(s: Stage) -> None:
    ch = s.channel()
    fill(s, ch, 3)
    ch.qos(2)
    ch.consume(s.q())
    ch.deliveries(2)
    ch.recover()
    ch.deliveries(2)
    ch.ack(3)
    ch.sync()
    ch.send(spec.Basic.RecoverAsync(True))
    ch.deliveries(2)
    ch.ack(1)
    ch.wait_closed()


@scenario("Recover", "RecoverAsync")
def recover_without_requeue(s: Stage, method: str) -> None:
    ch = s.channel()
    ch.send(getattr(spec.Basic, method)(False))
    ch.wait_closed()


@scenario(True, False)
def of_several_consumers_at_once(s: Stage, requeue: bool) -> None:
    """What two consumers of one channel give back with one nack."""
    ch = s.channel()
    s.dying(ch, {})
    ch.consume(s.q(), "first")
    ch.consume(s.q(), "second")
    s.publish(ch, s.q(), "1", "2", "3", "4")
    ch.nack(3, multiple=True, requeue=requeue)
    s.settle()
    s.empty(ch, "dead")
