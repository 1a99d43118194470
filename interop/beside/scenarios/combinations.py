"""Features that meet: what one does to another."""

from __future__ import annotations

import itertools
from typing import Any

from pika import spec

from interop.beside.catalogue import scenario
from interop.beside.stage import Stage
from interop.beside.tables import Typed

# Prefetch.


@scenario
def later_consumers_lift_the_channels_limit(s: Stage) -> None:
    """qos without global takes back what qos with global has set."""
    ch = s.channel()
    ch.declare(s.q())
    ch.consume(s.q())
    ch.qos(1, everywhere=True)
    s.publish(ch, s.q(), "1", "2", "3")
    s.counts(s.q())
    ch.qos(3)
    s.settle()
    s.counts(s.q())
    ch.qos(2, everywhere=True)
    s.publish(ch, s.q(), "4")
    s.counts(s.q())


@scenario
def channels_limit_and_a_consumer_without_acks(s: Stage) -> None:
    """It holds nothing, yet waits for those of its channel that do."""
    ch = s.channel()
    ch.declare(s.q())
    ch.qos(1, everywhere=True)
    ch.consume(s.q(), "first")
    s.publish(ch, s.q(), "1", "2", "3")
    ch.consume(s.q(), "without", no_ack=True)
    s.settle()
    s.counts(s.q())
    ch.cancel("first")
    ch.ack(1)
    s.settle()
    s.counts(s.q())


@scenario
def channels_limit_and_two_consumers(s: Stage) -> None:
    """Who of a channel's consumers of one queue is next when there is room again."""
    ch = s.channel()
    ch.declare(s.q())
    ch.consume(s.q(), "a")
    ch.consume(s.q(), "b")
    ch.qos(1, everywhere=True)
    s.publish(ch, s.q(), "1", "2", "3")
    ch.ack(1)
    s.settle()


@scenario
def channels_limit_after_a_get(s: Stage) -> None:
    """What was got before the limit counts."""
    ch = s.channel()
    ch.declare(s.q())
    s.publish(ch, s.q(), "1", "2", "3", "4")
    ch.get(s.q(), no_ack=False)
    ch.qos(2, everywhere=True)
    ch.consume(s.q())
    s.settle()
    ch.ack(1)
    s.settle()
    ch.ack(2)
    s.settle()
    s.counts(s.q())


@scenario(*itertools.product((0, 1, 2), (0, 1, 2)))
def both_limits(s: Stage, own: int, whole: int) -> None:
    ch = s.channel()
    ch.declare(s.q())
    ch.qos(own)
    ch.qos(whole, everywhere=True)
    ch.consume(s.q(), "a")
    s.publish(ch, s.q(), "1", "2", "3", "4", "5")
    ch.consume(s.q(), "b")
    s.settle()
    ch.ack(1)
    s.settle()
    s.counts(s.q())


@scenario
def turns_of_who_comes_back(s: Stage) -> None:
    """A consumer that had no room joins the line at its end."""
    channels = [s.channel() for _ in range(3)]
    first = channels[0]
    first.declare(s.q())
    for ch, limit in zip(channels, (1, 0, 0), strict=True):
        ch.qos(limit)
        ch.consume(s.q())
    s.publish(first, s.q(), "1", "2", "3", "4")
    first.ack(1)
    s.publish(first, s.q(), "5", "6", "7", "8")
    late = s.channel()
    late.consume(s.q())
    first.ack(2)
    s.publish(first, s.q(), "9", "10", "11", "12")


@scenario
def priorities_of_consumers_and_of_messages(s: Stage) -> None:
    low, high = s.channel(), s.channel()
    low.declare(s.q(), {"x-max-priority": 3})
    for ch, priority in ((low, 1), (high, 2)):
        ch.qos(1)
        ch.consume(s.q(), arguments={"x-priority": priority})
    for n in range(6):
        s.publish(low, s.q(), str(n), priority=n % 4)
    high.nack(1)
    s.settle()
    low.ack(1)
    s.settle()
    high.cancel()
    high.ack(2)
    s.settle()
    s.counts(s.q())


# Single active consumers.


@scenario
def single_active_with_priorities(s: Stage) -> None:
    """Who is next, and what becomes of what the last one had."""
    channels = [s.channel() for _ in range(4)]
    first = channels[0]
    first.declare(s.q(), {"x-single-active-consumer": True})
    for ch, priority in zip(channels, (0, -1, 5, 5), strict=True):
        ch.qos(2)
        ch.consume(s.q(), arguments={"x-priority": priority})
    s.publish(first, s.q(), "1", "2", "3", "4", "5")
    first.close()
    s.settle()
    channels[2].close()
    s.settle()
    channels[3].nack(1)
    s.settle()
    channels[3].connection.close()
    s.settle()
    s.counts(s.q())


@scenario
def single_active_after_a_cancel(s: Stage) -> None:
    one, two = s.channel(), s.channel()
    one.declare(s.q(), {"x-single-active-consumer": True})
    for ch in (one, two):
        ch.qos(1)
        ch.consume(s.q())
    s.publish(one, s.q(), "1", "2")
    one.cancel()
    s.settle()
    s.counts(s.q())


@scenario
def single_active_comes_back(s: Stage) -> None:
    """Cancelled and consuming again it is the last in line, on the same channel too."""
    one, two = s.channel(), s.channel()
    one.declare(s.q(), {"x-single-active-consumer": True})
    one.consume(s.q(), "a")
    two.consume(s.q(), "b")
    one.cancel("a")
    one.consume(s.q(), "a")
    s.publish(one, s.q(), "1")
    two.nack(1)
    s.settle()
    two.recover()
    s.settle()
    two.cancel("b")
    s.publish(one, s.q(), "2")
    s.counts(s.q())


@scenario
def single_active_exclusive(s: Stage) -> None:
    one, two = s.channel(), s.channel()
    one.declare(s.q(), {"x-single-active-consumer": True})
    one.consume(s.q(), "a", exclusive=True)
    one.consume(s.q(), "b")
    two.consume(s.q(), "c", exclusive=True)
    s.publish(two, s.q(), "1")
    one.get(s.q())


@scenario
def single_active_and_auto_delete(s: Stage) -> None:
    one, two = s.channel(), s.channel()
    one.declare(s.q(), {"x-single-active-consumer": True}, auto_delete=True)
    one.consume(s.q())
    two.consume(s.q())
    s.publish(one, s.q(), "1")
    one.cancel()
    s.settle()
    s.counts(s.q())
    two.close()
    s.settle()
    s.counts(s.q())


# Priorities, limits, expiry, dead letters.


@scenario(*itertools.product((1, 2), ("drop-head", "reject-publish", "reject-publish-dlx")))
def priorities_and_length(s: Stage, limit: int, overflow: str) -> None:
    ch = s.channel()
    s.dying(ch, {"x-max-priority": 5, "x-max-length": limit, "x-overflow": overflow})
    ch.confirm()
    for n, priority in enumerate((1, 5, 0, 3, 5)):
        s.publish(ch, s.q(), str(n), priority=priority)
        ch.confirms()
    s.empty(ch, "q", "dead")


@scenario(*("drop-head", "reject-publish", "reject-publish-dlx"))
def requeued_over_the_limit(s: Stage, overflow: str) -> None:
    ch = s.channel()
    s.dying(ch, {"x-max-length": 2, "x-overflow": overflow})
    ch.confirm()
    s.publish(ch, s.q(), "1", "2")
    for _ in range(2):
        ch.get(s.q(), no_ack=False)
    s.publish(ch, s.q(), "3", "4")
    ch.nack(2, multiple=True)
    s.settle()
    s.counts(s.q())
    s.publish(ch, s.q(), "5")
    ch.confirms()
    s.empty(ch, "q", "dead")


@scenario
def expired_behind_what_is_too_much(s: Stage) -> None:
    """What has expired dies as such when what was in front of it had to go, in a burst as well."""
    ch = s.channel()
    s.dying(ch, {"x-max-length": 3})
    s.publish(ch, s.q(), "1")
    s.publish(ch, s.q(), "2", "3", expiration="0")
    s.publish(ch, s.q(), "4", "5", "6")
    s.empty(ch, "q", "dead")


@scenario(*itertools.product(({}, {"x-max-length": 1}, {"x-max-length-bytes": 3}), ("0", "15")))
def expiry_and_length(s: Stage, limit: dict[str, Any], lifetime: str) -> None:
    """What does not live on is in nobody's way."""
    ch = s.channel()
    s.dying(ch, limit)
    for n in range(3):
        ch.publish("", s.q(), b"%d." % n, expiration=lifetime)
    s.settle()
    s.until(s.q(), 0)
    s.publish(ch, s.q(), "a", "b", expiration="600000")
    s.empty(ch, "q", "dead")


@scenario("x-max-length", "x-max-length-bytes")
def room_for_nothing(s: Stage, limit: str) -> None:
    """With and without a consumer, with and without a life of no length."""
    ch = s.channel()
    s.dying(ch, {limit: 0})
    s.publish(ch, s.q(), "1")
    s.publish(ch, s.q(), "2", expiration="0")
    ch.consume(s.q())
    s.publish(ch, s.q(), "3", "4")
    ch.nack(1)
    s.settle()
    ch.reject(2, requeue=False)
    s.empty(ch, "dead")


@scenario
def expired_while_unacked(s: Stage) -> None:
    """It dies when it comes back, whoever waits for it."""
    one, two = s.channel(), s.channel()
    s.dying(one, {"x-message-ttl": 40})
    one.qos(2)
    one.consume(s.q())
    s.publish(one, s.q(), "1", "2")
    s.wait(0.08)
    two.consume(s.q())
    one.nack(1)
    s.settle()
    one.close()
    s.empty(two, "dead")


@scenario
def expired_while_unacked_in_an_exclusive_queue(s: Stage) -> None:
    """The connection's end gives it back before the queue goes."""
    one, two = s.channel(), s.channel()
    two.declare(s.q("dead"))
    arguments = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": s.q("dead")}
    one.declare(s.q(), arguments | {"x-message-ttl": 20}, exclusive=True)
    one.consume(s.q())
    s.publish(one, s.q(), "1")
    s.wait(0.06)
    one.connection.close()
    s.empty(two, "dead")


@scenario(*itertools.product((0, 3), (False, True)))
def dead_letters_into_a_full_queue(s: Stage, priority: int, refuses: bool) -> None:
    ch = s.channel()
    overflow = "reject-publish" if refuses else "drop-head"
    ch.declare(s.q("dead"), {"x-max-length": 1, "x-overflow": overflow, "x-max-priority": 4})
    arguments = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": s.q("dead")}
    ch.declare(s.q(), arguments)
    s.publish(ch, s.q(), "1", priority=priority)
    s.publish(ch, s.q(), "2", priority=1)
    for _ in range(2):
        content = ch.get(s.q(), no_ack=False)
        ch.reject(content.tag, requeue=False)
        s.settle()
    s.counts(s.q())
    ch.get(s.q("dead"))
    s.settle()
    s.counts(s.q("dead"))


@scenario(*("fanout", "topic", "headers", "direct"))
def dead_letters_by_exchange(s: Stage, kind: str) -> None:
    """Headers and keys route the dead again; a queue bound twice gets one."""
    ch = s.channel()
    ch.exchange(s.x(), kind)
    ch.declare(s.q("dead"))
    ch.declare(s.q(), {"x-dead-letter-exchange": s.x()})
    for arguments in ({"h": 1}, {"x-first-death-reason": "rejected", "x-match": "all-with-x"}):
        ch.bind(s.q("dead"), s.x(), s.q(), arguments)
    ch.bind(s.q("dead"), s.x(), "#")
    s.publish(ch, s.q(), "1", headers={"h": 1})
    s.publish(ch, s.q(), "2", headers={"h": 2})
    for _ in range(2):
        content = ch.get(s.q(), no_ack=False)
        ch.reject(content.tag, requeue=False)
    s.empty(ch, "dead")


@scenario(*("rejected", "expired", "maxlen"))
def dead_letters_to_a_deleted_queue(s: Stage, reason: str) -> None:
    ch = s.channel()
    arguments: dict[str, Any] = {"expired": {"x-message-ttl": 10}, "maxlen": {"x-max-length": 0}}
    s.dying(ch, arguments.get(reason, {}))
    ch.delete(s.q("dead"))
    ch.confirm()
    s.publish(ch, s.q(), "1")
    ch.confirms()
    if reason == "rejected":
        ch.get(s.q(), no_ack=False)
        ch.reject(1, requeue=False)
    s.until(s.q(), 0)


@scenario
def dead_letters_of_many_consumers(s: Stage) -> None:
    one, two = s.channel(), s.channel()
    s.dying(one, {})
    for ch in (one, two):
        ch.qos(2)
        ch.consume(s.q())
    s.publish(one, s.q(), *"123456")
    two.nack(2, multiple=True, requeue=False)
    s.settle()
    one.nack(0, multiple=True, requeue=False)
    s.settle()
    s.note(s.take_all(s.q("dead")))


@scenario
def purge_with_waiting_consumer_and_priorities(s: Stage) -> None:
    ch = s.channel()
    ch.declare(s.q(), {"x-max-priority": 2})
    ch.qos(1)
    ch.consume(s.q())
    for n in range(4):
        s.publish(ch, s.q(), str(n), priority=n % 3)
    ch.purge(s.q())
    ch.nack(1)
    s.settle()
    ch.ack(2)
    s.settle()
    s.counts(s.q())


# Names, owners, redeclaring.


@scenario(*("get", "consume", "purge", "delete", "declare", "bind", "unbind", "passive", "publish"))
def queue_of_another_connection(s: Stage, what: str) -> None:
    owner, ch = s.channel(), s.channel()
    owner.declare(s.q(), exclusive=True)
    owner.bind(s.q(), "amq.direct", "bound")
    if what in ("bind", "unbind"):
        getattr(ch, what)(s.q(), "amq.direct", "unbound")
        getattr(ch, what)(s.q(), "amq.direct", "bound")
        getattr(ch, what)(s.q(), s.x("none"), "bound")
    elif what == "passive":
        ch.declare(s.q(), passive=True)
    elif what == "publish":
        ch.publish("", s.q(), b"1", mandatory=True)
        s.settle()
        owner.get(s.q())
    else:
        getattr(ch, what)(s.q())
    owner.delete(s.q())


@scenario(*("q", "e"))
def auto_delete_exchange_chain(s: Stage, last: str) -> None:
    """A binding that goes takes its exchange along, and that one's source."""
    ch = s.channel()
    for stem in ("a", "b", "c"):
        ch.exchange(s.x(stem), "fanout", auto_delete=True)
    ch.bind_exchange(s.x("b"), s.x("a"))
    ch.bind_exchange(s.x("c"), s.x("b"))
    ch.declare(s.q())
    ch.bind(s.q(), s.x("c"))
    ch.publish(s.x("a"), "", b"1")
    s.settle()
    s.counts(s.q())
    if last == "q":
        ch.delete(s.q())
    else:
        ch.unbind(s.q(), s.x("c"))
    for stem in ("a", "b", "c"):
        ch.exchange(s.x(stem), passive=True)


@scenario
def auto_delete_exchange_in_a_circle(s: Stage) -> None:
    ch = s.channel()
    for stem in ("a", "b"):
        ch.exchange(s.x(stem), "fanout", auto_delete=True)
    ch.bind_exchange(s.x("b"), s.x("a"))
    ch.bind_exchange(s.x("a"), s.x("b"))
    ch.bind_exchange(s.x("a"), s.x("a"))
    ch.publish(s.x("a"), "", b"1", mandatory=True)
    s.settle()
    ch.unbind_exchange(s.x("b"), s.x("a"))
    for stem in ("a", "b"):
        ch.exchange(s.x(stem), passive=True)
    ch.unbind_exchange(s.x("a"), s.x("a"))
    for stem in ("a", "b"):
        ch.exchange(s.x(stem), passive=True)


@scenario(1, 2, 3)
def alternates_in_a_chain(s: Stage, bound: int) -> None:
    """Each is tried when the one before leads nowhere, whatever kinds they are."""
    ch = s.channel()
    kinds = ("direct", "topic", "headers", "fanout")
    for n, kind in enumerate(kinds):
        following = s.x(str((n + 1) % len(kinds)))
        ch.exchange(s.x(str(n)), kind, {"alternate-exchange": following})
    ch.declare(s.q())
    ch.bind(s.q(), s.x(str(bound)), "key", {"h": 1})
    ch.publish(s.x("0"), "key", b"1", mandatory=True, headers={"h": 1})
    ch.publish(s.x("0"), "other", b"2", mandatory=True, headers={"h": 2})
    s.settle()
    s.note(s.take_all(s.q()))


@scenario
def alternate_of_a_bound_exchange(s: Stage) -> None:
    """An exchange that is reached by a binding and leads nowhere has its alternate too."""
    ch = s.channel()
    ch.exchange(s.x("alternate"), "fanout")
    ch.exchange(s.x("b"), "direct", {"alternate-exchange": s.x("alternate")})
    ch.exchange(s.x("a"), "fanout", {"alternate-exchange": s.x("alternate")})
    ch.bind_exchange(s.x("b"), s.x("a"))
    ch.declare(s.q("one"))
    ch.declare(s.q("two"))
    ch.bind(s.q("one"), s.x("alternate"))
    ch.bind(s.q("two"), s.x("b"), "key")
    for key in ("key", "other"):
        ch.publish(s.x("a"), key, key.encode(), mandatory=True)
    s.settle()
    s.empty(ch, "one", "two")


@scenario
def extra_keys_with_mandatory_and_alternate(s: Stage) -> None:
    ch = s.channel()
    ch.exchange(s.x("alternate"), "fanout")
    ch.exchange(s.x(), "direct", {"alternate-exchange": s.x("alternate")})
    ch.declare(s.q())
    ch.declare(s.q("rest"))
    ch.bind(s.q(), s.x(), "cc")
    ch.bind(s.q("rest"), s.x("alternate"))
    for header in ("CC", "BCC"):
        ch.publish(s.x(), "none", b"1", mandatory=True, headers={header: ["cc", "cc"]})
        ch.publish(s.x(), "none", b"2", mandatory=True, headers={header: ["else"]})
        ch.publish("", s.q("none"), b"3", mandatory=True, headers={header: [s.q(), s.q()]})
        ch.publish("", s.q("none"), b"4", mandatory=True, headers={header: [s.q("none")]})
    s.empty(ch, "q", "rest")


_VALUES = (
    Typed("t", True),
    Typed("b", 1),
    Typed("B", 1),
    Typed("s", 1),
    Typed("u", 1),
    Typed("I", 1),
    Typed("i", 1),
    Typed("l", 1),
    Typed("f", 1.5),
    Typed("d", 1.5),
    Typed("T", 1),
    Typed("S", b"1"),
    Typed("x", b"1"),
    [1, "a"],
    {"a": 1},
    None,
)


@scenario(*range(len(_VALUES)))
def headers_value(s: Stage, place: int) -> None:
    """Which of all types of values are equal to this one."""
    ch = s.channel()
    ch.exchange(s.x(), "headers")
    ch.declare(s.q())
    ch.bind(s.q(), s.x(), "", {"h": _VALUES[place]})
    for n, value in enumerate(_VALUES):
        ch.publish(s.x(), "", b"%d" % n, headers={"h": value})
    s.settle()
    s.note(s.take_all(s.q()))


# Channels that end.


@scenario(*("channel", "connection", "drop", "error"))
def messages_in_flight(s: Stage, how: str) -> None:
    """What was published before the end is there, what was out comes back in its order."""
    ch, other = s.channel(), s.channel()
    ch.declare(s.q())
    ch.confirm()
    ch.qos(3)
    ch.consume(s.q())
    s.publish(ch, s.q(), *"123456")
    ch.ack(2)
    s.settle()
    ch.publish("", s.q(), b"last")
    if how == "channel":
        ch.close()
    elif how == "connection":
        ch.connection.close()
    elif how == "drop":
        ch.sync()
        ch.connection.drop()
    else:
        ch.ack(99)
        ch.publish("", s.q(), b"too late")
        ch.wait_closed()
    s.until(s.q(), 6, 0)
    s.empty(other, "q")


@scenario(*("declare", "bind", "consume", "get", "publish", "ack"))
def error_then_more(s: Stage, what: str) -> None:
    """What follows an error in the same breath is not done."""
    ch, other = s.channel(), s.channel()
    ch.declare(s.q())
    other.declare(s.q("other"))
    if what == "declare":
        ch.send(_method("Queue.Declare", queue=s.q(), durable=True))
    elif what == "bind":
        ch.send(_method("Queue.Bind", queue=s.q(), exchange=s.x("none"), routing_key=""))
    elif what == "consume":
        ch.send(_method("Basic.Consume", queue=s.q("none"), consumer_tag="t"))
    elif what == "get":
        ch.send(_method("Basic.Get", queue=s.q("none")))
    elif what == "publish":
        ch.publish(s.x("none"), "", b"1")
    else:
        ch.ack(7)
    ch.publish("", s.q("other"), b"2")
    ch.send(_method("Queue.Delete", queue=s.q("other")))
    ch.wait_closed()
    s.settle()
    s.counts(s.q("other"))


def _method(name: str, **fields: Any) -> Any:
    group, method = name.split(".")
    return getattr(getattr(spec, group), method)(**fields)
