"""Who gets the next message: priorities, prefetch, single active and exclusive consumers that come
and go."""

from __future__ import annotations

import itertools
from typing import Any

from interop.beside.catalogue import scenario
from interop.beside.peer import Channel
from interop.beside.stage import Stage


def _consuming(s: Stage, prefetch: int, *tags: str) -> Channel:
    """A channel with consumers of a new queue, each with this prefetch (0: without a limit)."""
    ch = s.channel()
    ch.declare(s.q())
    ch.qos(prefetch)
    for tag in tags:
        ch.consume(s.q(), tag)
    return ch


@scenario
def priorities_with_prefetch(s: Stage) -> None:
    """The lower get what the higher have no room for, and nothing once they have room again."""
    channels = {priority: s.channel() for priority in (-3, 0, 0.5, 7)}
    channels[0].declare(s.q())
    for priority, ch in channels.items():
        ch.qos(2)
        arguments = {} if priority == 0.5 else {"x-priority": priority}
        ch.consume(s.q(), arguments=arguments)
    s.publish(channels[0], s.q(), *map(str, range(10)))
    s.counts(s.q())
    for priority in (7, -3, 0, 0.5):
        channels[priority].ack(1)
        s.settle()
    channels[7].nack(2)
    s.settle()
    channels[7].close()
    s.settle()
    s.publish(channels[0], s.q(), *"abcdefgh")
    channels[0].ack(0, multiple=True)
    s.settle()
    s.counts(s.q())


@scenario
def priority_that_comes_late(s: Stage) -> None:
    """It gets what is still in the queue, not what others have."""
    low, high = s.channel(), s.channel()
    low.declare(s.q())
    low.qos(1)
    low.consume(s.q(), "low", {"x-priority": -1})
    s.publish(low, s.q(), "1", "2", "3", "4")
    high.qos(1)
    high.consume(s.q(), "high", {"x-priority": 1})
    s.settle()
    low.nack(1)
    s.settle()
    high.ack(1)
    s.settle()
    low.cancel("low")
    high.cancel("high")
    s.settle()
    low.consume(s.q(), "low", {"x-priority": 2})
    s.settle()
    s.counts(s.q())


@scenario
def priorities_on_one_channel(s: Stage) -> None:
    ch = _consuming(s, 1)
    for tag, priority in (("a", 1), ("b", 2), ("c", 1), ("d", 2)):
        ch.consume(s.q(), tag, {"x-priority": priority})
    s.publish(ch, s.q(), *map(str, range(8)))
    for tag in (2, 1, 5, 3):
        ch.ack(tag)
        s.settle()
    ch.cancel("b")
    ch.ack(0, multiple=True)
    s.settle()
    s.counts(s.q())


@scenario(("cancel", 0, False), *itertools.product(("close", "drop"), (0, 1), (False, True)))
def single_active_goes(s: Stage, way: str, prefetch: int, with_priorities: bool) -> None:
    """Who is next, what comes back, and to whom."""
    channels = [s.channel() for _ in range(3)]
    channels[0].declare(s.q(), {"x-single-active-consumer": True})
    for n, ch in enumerate(channels):
        ch.qos(prefetch)
        ch.consume(s.q(), f"t{n}", {"x-priority": n} if with_priorities else {})
    publisher = s.channel()
    s.publish(publisher, s.q(), "1", "2")
    for ch in channels[:2] if not with_priorities else (channels[0], channels[2]):
        if way == "cancel":
            ch.cancel(f"t{channels.index(ch)}")
            s.settle()
            ch.nack(1)
        elif way == "close":
            ch.close()
        else:
            ch.connection.drop()
            s.wait(0.05)
        s.settle()
        s.publish(publisher, s.q(), f"after {channels.index(ch)}")
    s.counts(s.q())


@scenario({}, {"x-single-active-consumer": True})
def exclusive_comes_and_goes(s: Stage, arguments: dict[str, Any]) -> None:
    one, two = s.channel(), s.channel()
    one.declare(s.q(), arguments)
    one.qos(1)
    one.consume(s.q(), "a", exclusive=True)
    two.consume(s.q(), "b")
    two.consume(s.q(), "x", exclusive=True)
    s.publish(two, s.q(), "1", "2")
    one.consume(s.q(), "c")
    s.settle()
    one.cancel("a")
    s.settle()
    two.consume(s.q(), "b")
    s.settle()
    one.consume(s.q(), "a", exclusive=True)
    s.settle()
    s.counts(s.q())


@scenario
def requeued_to_who_waits(s: Stage) -> None:
    """What one gives back goes to another who has room, in its old place."""
    one, two = s.channel(), s.channel()
    one.declare(s.q())
    one.qos(3)
    two.qos(1)
    one.consume(s.q())
    s.publish(one, s.q(), "1", "2", "3", "4", "5")
    two.consume(s.q())
    s.settle()
    one.nack(2)
    s.settle()
    two.ack(1)
    s.settle()
    two.nack(2)
    s.settle()
    one.reject(1, requeue=True)
    s.settle()
    one.close()
    s.settle()
    two.ack(0, multiple=True)
    s.settle()
    s.counts(s.q())


@scenario
def without_acks_among_others(s: Stage) -> None:
    """A consumer without acks always has room."""
    one, two = _consuming(s, 1, "one"), s.channel()
    two.consume(s.q(), no_ack=True)
    s.publish(one, s.q(), *map(str, range(6)))
    one.ack(1)
    s.publish(one, s.q(), *map(str, range(6, 9)))
    two.cancel()
    s.publish(one, s.q(), "a", "b")
    s.counts(s.q())


@scenario
def prefetch_that_changes(s: Stage) -> None:
    """For the channel at once, for each consumer only of those that come."""
    ch = _consuming(s, 1, "a")
    s.publish(ch, s.q(), *map(str, range(10)))
    ch.qos(3)
    s.settle()
    ch.qos(2, everywhere=True)
    s.settle()
    ch.consume(s.q(), "b")
    s.settle()
    ch.qos(0, everywhere=True)
    s.settle()
    ch.ack(1)
    s.settle()
    ch.qos(1, everywhere=True)
    ch.ack(3, multiple=True)
    s.settle()
    for tag in (5, 4):
        ch.nack(tag)
        s.settle()
    s.counts(s.q())


@scenario
def one_channel_and_two_queues(s: Stage) -> None:
    """The channel's limit is for all of its queues together."""
    ch = s.channel()
    for stem in ("a", "b"):
        ch.declare(s.q(stem))
    ch.qos(2, everywhere=True)
    ch.consume(s.q("a"), "a")
    s.publish(ch, s.q("a"), "1", "2", "3")
    ch.consume(s.q("b"), "b")
    s.publish(ch, s.q("b"), "4", "5")
    s.counts(s.q("a"))
    s.counts(s.q("b"))
    ch.cancel("a")
    ch.ack(1)
    s.settle()
    ch.ack(2)
    s.settle()
    s.counts(s.q("a"))
    s.counts(s.q("b"))


def _high_and_low(s: Stage, own: int = 0) -> tuple[Channel, Channel]:
    """A channel with room for one message, whose consumer has another limit of its own, and a
    channel whose consumer comes after that and needs no acks."""
    ch, other = s.channel(), s.channel()
    ch.declare(s.q())
    ch.qos(own)
    ch.qos(1, everywhere=True)
    ch.consume(s.q(), "high", {"x-priority": 1})
    other.consume(s.q(), "low", no_ack=True)
    return ch, other


@scenario("nack", "reject", "recover")
def what_comes_back_under_the_channels_limit(s: Stage, how: str) -> None:
    """Others get it before the channel that gave it back has room again."""
    ch, other = _high_and_low(s)
    s.publish(other, s.q(), "1", "2", "3")
    if how == "recover":
        ch.recover()
    elif how == "nack":
        ch.nack(1)
    else:
        ch.reject(1, requeue=True)
    s.settle()
    s.publish(other, s.q(), "4", "5")
    s.counts(s.q())


@scenario
def turns_before_the_channels_limit(s: Stage) -> None:
    """Who has got something before there was a limit is behind the others when there is one."""
    ch = _consuming(s, 0, "a", "b", "c", "d")
    s.publish(ch, s.q(), "1", "2")
    ch.ack(0, multiple=True)
    ch.qos(1, everywhere=True)
    s.publish(ch, s.q(), *map(str, range(3, 12)))
    for tag in range(3, 9):
        ch.ack(tag)
        s.settle()


@scenario(*itertools.product((2, 3), (4, 5, 6)))
def own_limits_within_the_channels(s: Stage, whole: int, first: int) -> None:
    """A consumer at its own limit keeps its place while others come and go."""
    ch, other = s.channel(), s.channel()
    ch.declare(s.q())
    ch.qos(1)
    ch.consume(s.q(), "one")
    ch.qos(0)
    for tag in ("a", "b"):
        ch.consume(s.q(), tag)
    ch.qos(whole, everywhere=True)
    other.qos(1)
    other.consume(s.q(), "other")
    s.publish(other, s.q(), *map(str, range(14)))
    for tag in (2, 3, 1):
        ch.ack(tag)
        s.settle()
    ch.nack(first)
    s.settle()
    other.ack(1)
    s.settle()
    ch.ack(0, multiple=True)
    s.settle()
    s.counts(s.q())


@scenario(*itertools.product((1, 2, 3), ("ab", "ba")))
def one_ack_of_two_consumers(s: Stage, prefetch: int, order: str) -> None:
    """Who gets what there is room for then."""
    ch = _consuming(s, prefetch, *order)
    s.publish(ch, s.q(), *map(str, range(12)))
    ch.ack(2 * prefetch, multiple=True)
    s.settle()
    s.counts(s.q())


@scenario(*itertools.product((0, 1), (1, 2)))
def what_comes_back_where_nobody_was_refused(s: Stage, own: int, messages: int) -> None:
    """The queue has not asked the channel in vain, and asks it first."""
    ch, other = _high_and_low(s, own)
    s.publish(other, s.q(), *map(str, range(messages)))
    ch.nack(1)
    s.settle()
