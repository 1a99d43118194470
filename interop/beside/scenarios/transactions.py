"""Transactions: what they hold back, and what becomes of it."""

from __future__ import annotations

from interop.beside.catalogue import scenario
from interop.beside.peer import Channel
from interop.beside.stage import Stage


@scenario
def with_returns_and_dead_letters(s: Stage) -> None:
    ch = s.channel()
    s.dying(ch, {"x-max-length": 1})
    ch.select()
    s.publish(ch, s.q(), "1", "2", mandatory=True)
    s.publish(ch, s.q("none"), "3", mandatory=True)
    s.counts(s.q())
    ch.commit()
    s.settle()
    ch.get(s.q(), no_ack=False)
    ch.reject(1, requeue=False)
    s.counts(s.q("dead"))
    ch.rollback()
    ch.ack(1)
    ch.commit()
    ch.commit()
    s.empty(ch, "q", "dead")


def _got_within(s: Stage, *bodies: str) -> Channel:
    """A channel in a transaction, in which it has got these messages."""
    ch = s.channel()
    ch.declare(s.q())
    s.publish(ch, s.q(), *bodies)
    ch.select()
    for _ in bodies:
        ch.get(s.q(), no_ack=False)
    return ch


@scenario
def ended_by_an_error(s: Stage) -> None:
    """Nothing of it happens, but what was got comes back."""
    ch = _got_within(s, "1")
    ch.ack(1)
    s.publish(ch, s.q(), "2")
    ch.publish(s.x("none"), "", b"3")
    ch.wait_closed()
    s.settle()
    ch.get(s.q())
    ch.get(s.q())
    ch.commit()


@scenario
def with_a_full_queue(s: Stage) -> None:
    ch = s.channel()
    ch.declare(s.q(), {"x-max-length": 1, "x-overflow": "reject-publish"})
    ch.declare(s.q("other"))
    ch.select()
    s.publish(ch, s.q("other"), "0")
    s.publish(ch, s.q(), "1", "2")
    ch.commit()
    s.settle()
    s.counts(s.q())
    s.counts(s.q("other"))


@scenario
def acks_twice(s: Stage) -> None:
    ch = _got_within(s, "1", "2")
    ch.ack(2)
    ch.nack(1)
    ch.commit()
    ch.ack(1)
    ch.wait_closed()
    s.settle()
    s.counts(s.q())


@scenario
def ack_of_what_waits_for_a_commit(s: Stage) -> None:
    ch = _got_within(s, "1")
    ch.ack(1)
    ch.ack(1)
    ch.wait_closed()
    s.settle()
    s.counts(s.q())


@scenario
def with_prefetch(s: Stage) -> None:
    """Room comes with the commit."""
    ch = s.channel()
    ch.declare(s.q())
    ch.qos(1)
    ch.select()
    ch.consume(s.q())
    other = s.channel()
    s.publish(other, s.q(), "1", "2", "3")
    ch.ack(1)
    s.settle()
    s.counts(s.q())
    ch.commit()
    s.settle()
    ch.nack(2)
    ch.rollback()
    s.settle()
    ch.nack(2)
    ch.commit()
    s.settle()
    s.counts(s.q())


@scenario
def to_a_deleted_queue(s: Stage) -> None:
    """A queue that has gone gets nothing, one of the same name does."""
    ch = s.channel()
    for is_there_again in (False, True):
        ch.declare(s.q())
        ch.bind(s.q(), "amq.direct", s.q())
        ch.select()
        ch.publish("amq.direct", s.q(), b"1", mandatory=True)
        ch.sync()
        ch.delete(s.q())
        if is_there_again:
            ch.declare(s.q())
        ch.commit()
        s.settle()
        s.counts(s.q())


@scenario
def before_its_queue(s: Stage) -> None:
    """Where a publish goes is settled when it comes."""
    ch = s.channel()
    ch.select()
    s.publish(ch, s.q(), "1", mandatory=True)
    ch.declare(s.q())
    ch.commit()
    s.settle()
    s.counts(s.q())


@scenario
def with_recover(s: Stage) -> None:
    ch = _got_within(s, "1", "2")
    ch.ack(1)
    ch.recover()
    s.settle()
    s.counts(s.q())
    ch.commit()
    s.settle()
    s.counts(s.q())


@scenario
def closed(s: Stage) -> None:
    ch = s.channel()
    ch.declare(s.q())
    ch.select()
    s.publish(ch, s.q(), "1")
    ch.get(s.q(), no_ack=False)
    ch.close()
    s.settle()
    s.counts(s.q())


@scenario
def what_comes_and_what_comes_back(s: Stage) -> None:
    """A publish and a requeue in one transaction, with somebody waiting for both."""
    ch, other = s.channel(), s.channel()
    ch.declare(s.q())
    s.publish(ch, s.q(), "1")
    ch.get(s.q(), no_ack=False)
    other.consume(s.q())
    ch.select()
    ch.nack(1)
    s.publish(ch, s.q(), "2")
    ch.commit()
    s.settle()


@scenario
def limit_of_the_channel_set_within(s: Stage) -> None:
    """Whether what is settled, but not committed, counts."""
    ch = s.channel()
    ch.declare(s.q())
    ch.select()
    ch.consume(s.q())
    s.publish(s.channel(), s.q(), "1", "2")
    ch.ack(1)
    ch.qos(2, everywhere=True)
    s.publish(s.channel(), s.q(), "3", "4", "5")
    ch.commit()
    s.settle()
    s.counts(s.q())
