"""Consumers, their tags, prefetch, cancelling, getting, single active consumers."""

from __future__ import annotations

from typing import Any

from pika import spec

from interop.beside.catalogue import scenario
from interop.beside.peer import CAPABILITIES, Channel
from interop.beside.stage import Stage


def fill(s: Stage, ch: Channel, count: int, **properties: Any) -> None:
    """Declare the queue `q` and put so many messages into it."""
    ch.declare(s.q())
    for n in range(count):
        ch.publish("", s.q(), b"%d" % n, **properties)
    s.settle()


@scenario
def missing_queue(s: Stage) -> None:
    ch = s.channel()
    ch.consume(s.q())
    ch.get(s.q())
    ch.consume("")


@scenario
def tags(s: Stage) -> None:
    ch = s.channel()
    ch.declare(s.q())
    first = ch.consume(s.q(), "")
    second = ch.consume(s.q(), "")
    s.note(first.consumer_tag != second.consumer_tag, len(first.consumer_tag))
    ch.connection.channel().consume(s.q(), first.consumer_tag)
    ch.consume(s.q(), "ä" * 127)
    ch.cancel("unheard of")
    ch.consume(s.q(), first.consumer_tag)


@scenario
def consume_ok_before_deliveries(s: Stage) -> None:
    ch = s.channel()
    fill(s, ch, 3)
    ch.consume(s.q())
    ch.deliveries(3)
    s.note(ch.order[-4:])


@scenario
def exclusive(s: Stage) -> None:
    ch, other = s.channel(), s.channel()
    ch.declare(s.q())
    ch.consume(s.q(), "first", exclusive=True)
    other.consume(s.q(), "second")
    other.consume(s.q(), "second", exclusive=True)
    ch.publish("", s.q(), b"1")
    ch.deliveries(1)
    ch.nack(1)
    ch.deliveries(1)
    ch.cancel("first")
    other.consume(s.q(), "second")
    ch.consume(s.q(), "first", exclusive=True)
    s.settle()
    other.cancel("second")
    ch.consume(s.q(), "first", exclusive=True)


@scenario
def exclusive_beside_itself(s: Stage) -> None:
    ch = s.channel()
    ch.declare(s.q())
    ch.consume(s.q(), "first", exclusive=True)
    ch.consume(s.q(), "second")
    ch.consume(s.q(), "third", exclusive=True)


@scenario
def round_robin(s: Stage) -> None:
    one, two, three = s.channel(), s.channel(), s.channel()
    one.declare(s.q())
    for ch in (one, two, three):
        ch.consume(s.q())
    for n in range(9):
        one.publish("", s.q(), b"%d" % n)
    for ch in (one, two, three):
        ch.deliveries(3)


@scenario
def priorities(s: Stage) -> None:
    """Lower priorities get what the higher ones have no room for."""
    low, high, middle = s.channel(), s.channel(), s.channel()
    low.declare(s.q())
    for ch, priority in ((low, -5), (high, 10), (middle, 1)):
        ch.qos(2)
        ch.consume(s.q(), arguments={"x-priority": priority})
    for n in range(5):
        low.publish("", s.q(), b"%d" % n)
    high.deliveries(2)
    middle.deliveries(2)
    low.deliveries(1)
    high.ack(2, multiple=True)
    high.sync()
    low.publish("", s.q(), b"again")
    high.deliveries(1)


@scenario("1", 1.5, True, None, [1], 2**40, -(2**40))
def priority_argument(s: Stage, value: Any) -> None:
    ch = s.channel()
    ch.declare(s.q())
    ch.consume(s.q(), arguments={"x-priority": value})


@scenario({"x-unheard-of": 1}, {"x-cancel-on-ha-failover": True}, {"x-cancel-on-ha-failover": "1"})
def argument(s: Stage, arguments: dict[str, Any]) -> None:
    ch = s.channel()
    ch.declare(s.q())
    ch.consume(s.q(), arguments=arguments)


@scenario
def no_local(s: Stage) -> None:
    ch = s.channel()
    ch.declare(s.q())
    ch.consume(s.q(), no_local=True)
    ch.publish("", s.q(), b"1")
    ch.deliveries(1)


@scenario
def without_acks(s: Stage) -> None:
    ch = s.channel()
    fill(s, ch, 5)
    ch.qos(2)
    ch.consume(s.q(), no_ack=True)
    ch.deliveries(5)
    ch.ack(1)
    ch.wait_closed()
    s.counts(s.q())


@scenario
def prefetch(s: Stage) -> None:
    """Each consumer has the prefetch that held when it began."""
    ch = s.channel()
    fill(s, ch, 8)
    ch.qos(1)
    ch.consume(s.q(), "one")
    ch.deliveries(1)
    ch.qos(2)
    ch.consume(s.q(), "two")
    ch.deliveries(2)
    s.settle()
    s.counts(s.q())
    ch.qos(0)
    ch.ack(1)
    ch.deliveries(1)
    s.settle()
    ch.ack(2)
    ch.deliveries(1)
    s.settle()
    ch.consume(s.q(), "all")
    ch.deliveries(3)


@scenario
def prefetch_of_a_channel(s: Stage) -> None:
    """The limit is shared by the channel's consumers, and holds at once."""
    ch = s.channel()
    fill(s, ch, 12)
    ch.qos(3, everywhere=True)
    ch.consume(s.q(), "one")
    ch.deliveries(3)
    s.settle()
    s.counts(s.q())
    ch.consume(s.q(), "two")
    s.settle()
    s.counts(s.q())
    ch.cancel("one")
    ch.ack(1)
    ch.deliveries(1)
    ch.qos(5, everywhere=True)
    ch.deliveries(2)
    s.settle()
    s.counts(s.q())
    ch.qos(1, everywhere=True)
    ch.ack(5, multiple=True)
    s.settle()
    s.counts(s.q())
    ch.ack(6)
    ch.deliveries(1)
    s.settle()
    ch.qos(0, everywhere=True)
    ch.deliveries(5)


@scenario
def prefetch_of_both_kinds(s: Stage) -> None:
    ch = s.channel()
    fill(s, ch, 8)
    ch.qos(2)
    ch.qos(3, everywhere=True)
    ch.consume(s.q(), "one")
    ch.deliveries(2)
    ch.consume(s.q(), "two")
    ch.deliveries(1)
    s.settle()
    s.counts(s.q())


@scenario
def prefetch_and_get(s: Stage) -> None:
    ch = s.channel()
    fill(s, ch, 5)
    ch.qos(1)
    ch.get(s.q(), no_ack=False)
    ch.get(s.q(), no_ack=False)
    ch.consume(s.q())
    ch.deliveries(1)
    s.settle()
    s.counts(s.q())


@scenario
def prefetch_size(s: Stage) -> None:
    s.channel().qos(1, size=1000)


@scenario
def get(s: Stage) -> None:
    ch, other = s.channel(), s.channel()
    fill(s, ch, 4)
    ch.get(s.q(), no_ack=False)
    other.get(s.q())
    ch.get(s.q())
    ch.nack(1)
    ch.sync()
    s.settle()
    ch.get(s.q(), no_ack=False)
    ch.get(s.q())
    ch.get(s.q())
    ch.ack(3)
    ch.sync()
    ch.get(s.q())


@scenario
def cancel(s: Stage) -> None:
    """What was delivered before may be acknowledged afterwards."""
    ch = s.channel()
    fill(s, ch, 3)
    ch.qos(2)
    ch.consume(s.q())
    ch.deliveries(2)
    ch.cancel()
    ch.cancel()
    ch.ack(1)
    s.settle()
    s.counts(s.q())
    ch.nack(2)
    s.settle()
    s.counts(s.q())
    ch.consume(s.q())
    ch.deliveries(2)


@scenario
def cancelled_by_the_broker(s: Stage) -> None:
    ch, other = s.channel(), s.channel()
    fill(s, ch, 1)
    ch.consume(s.q(), "a")
    ch.consume(s.q(), "b", exclusive=False, no_ack=True)
    ch.deliveries(1)
    other.delete(s.q())
    ch.wait_cancel()
    s.settle()
    ch.ack(1)
    ch.cancel("a")
    ch.declare(s.q())
    ch.consume(s.q(), "a")


@scenario
def cancel_ok_from_the_client(s: Stage) -> None:
    ch = s.channel()
    ch.send(spec.Basic.CancelOk("a"))
    ch.declare(s.q())


@scenario
def cancelled_without_a_word(s: Stage) -> None:
    ch = s.channel(capabilities={**CAPABILITIES, "consumer_cancel_notify": False})
    ch.declare(s.q())
    ch.consume(s.q())
    s.channel().delete(s.q())
    s.settle()
    ch.declare(s.q())
    ch.consume(s.q())


@scenario
def single_active(s: Stage) -> None:
    one, two, three = s.channel(), s.channel(), s.channel()
    one.declare(s.q(), {"x-single-active-consumer": True})
    one.consume(s.q(), "one")
    two.consume(s.q(), "two")
    three.consume(s.q(), "three")
    for n in range(4):
        one.publish("", s.q(), b"%d" % n)
    one.deliveries(4)
    one.cancel("one")
    one.publish("", s.q(), b"to the second")
    two.deliveries(1)
    two.close()
    three.deliveries(1)
    one.consume(s.q(), "again")
    one.publish("", s.q(), b"still to the third")
    three.deliveries(1)
    one.close()
    three.deliveries(4)


@scenario
def single_active_priorities(s: Stage) -> None:
    low, high, higher = s.channel(), s.channel(), s.channel()
    low.declare(s.q(), {"x-single-active-consumer": True})
    low.consume(s.q(), "low")
    high.consume(s.q(), "high", {"x-priority": 1})
    higher.consume(s.q(), "higher", {"x-priority": 2})
    low.publish("", s.q(), b"to the first")
    low.deliveries(1)
    low.cancel("low")
    high.publish("", s.q(), b"to the highest")
    higher.deliveries(1)


@scenario
def single_active_exclusive(s: Stage) -> None:
    ch = s.channel()
    ch.declare(s.q(), {"x-single-active-consumer": True})
    ch.consume(s.q(), exclusive=True)
    ch.consume(s.q())
    ch.consume(s.q(), "exclusive", exclusive=True)
    ch.get(s.q())


@scenario
def single_active_prefetch(s: Stage) -> None:
    """The active one has no room: nobody else gets anything."""
    one, two = s.channel(), s.channel()
    one.declare(s.q(), {"x-single-active-consumer": True})
    one.qos(1)
    one.consume(s.q(), "one")
    two.consume(s.q(), "two")
    for n in range(3):
        one.publish("", s.q(), b"%d" % n)
    one.deliveries(1)
    s.settle()
    s.counts(s.q())
    one.nack(1)
    one.deliveries(1)
    one.close()
    two.deliveries(3)


@scenario
def quorum(s: Stage) -> None:
    """Publishing, redelivery and prefetch on a quorum queue."""
    ch = s.channel()
    ch.declare(s.q(), {"x-queue-type": "quorum"}, durable=True)
    ch.confirm()
    for n in range(4):
        ch.publish("", s.q(), b"%d" % n)
    ch.confirms()
    ch.qos(2)
    ch.consume(s.q())
    ch.deliveries(2)
    ch.ack(2, multiple=True)
    ch.deliveries(2)
    ch.nack(3)
    ch.deliveries(1)
    ch.ack(4)
    ch.ack(5)
    ch.sync()
    s.until(s.q(), 0)
    ch.get(s.q())


@scenario
def quorum_and_prefetch_of_the_channel(s: Stage) -> None:
    ch = s.channel()
    ch.declare(s.q(), {"x-queue-type": "quorum"}, durable=True)
    ch.qos(2, everywhere=True)
    ch.consume(s.q())


@scenario
def quorum_single_active_get(s: Stage) -> None:
    ch = s.channel()
    arguments = {"x-queue-type": "quorum", "x-single-active-consumer": True}
    ch.declare(s.q(), arguments, durable=True)
    ch.consume(s.q())
    ch.get(s.q())
