"""How queues end, what becomes of what was in them, and what others still hold of it."""

from __future__ import annotations

from typing import Any

from interop.beside.catalogue import scenario
from interop.beside.stage import Stage


@scenario("ack", "nack", "reject", "recover", "close", "commit")
def settled_after_the_queue_has_gone(s: Stage, way: str) -> None:
    """What is outstanding of a deleted queue can be settled, and goes nowhere."""
    ch, other = s.channel(), s.channel()
    s.dying(ch, {})
    if way == "commit":
        other.select()
    s.publish(ch, s.q(), "1", "2")
    other.get(s.q(), no_ack=False)
    other.consume(s.q())
    s.settle()
    ch.delete(s.q())
    s.settle()
    ch.declare(s.q(), {"x-max-length": 5})
    s.publish(ch, s.q(), "of the next queue")
    if way == "ack":
        other.ack(2, multiple=True)
    elif way == "nack":
        other.nack(2, multiple=True)
    elif way == "reject":
        other.reject(1, requeue=False)
        other.reject(2, requeue=False)
    elif way == "recover":
        other.recover()
    elif way == "close":
        other.close()
    else:
        other.nack(1, requeue=False)
        other.ack(2)
        other.commit()
    s.settle()
    s.counts(s.q())
    s.counts(s.q("dead"))
    s.empty(ch, "q", "dead")


@scenario("close", "drop")
def exclusive_queues_of_one_connection(s: Stage, way: str) -> None:
    """All go, nothing of them dies, and nothing is left that their names were bound by."""
    ch, other = s.channel(), s.channel()
    ch.declare(s.q("dead"), exclusive=True)
    arguments = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": s.q("dead")}
    ch.declare(s.q(), {**arguments, "x-message-ttl": 60_000}, exclusive=True)
    ch.exchange(s.x(), "fanout", auto_delete=True)
    ch.bind(s.q(), s.x())
    ch.bind(s.q("dead"), s.x())
    s.publish(ch, s.q(), "1", "2")
    ch.get(s.q(), no_ack=False)
    other.declare(s.q("rest"), {**arguments, "x-dead-letter-routing-key": s.q("dead")})
    s.publish(other, s.q("rest"), "3")
    (ch.connection.close if way == "close" else ch.connection.drop)()
    s.until(s.q(), None)
    s.until(s.q("dead"), None)
    other.exchange(s.x(), passive=True)
    other.publish("", s.q(), b"4", mandatory=True)
    s.settle()
    other.get(s.q("rest"), no_ack=False)
    other.reject(1, requeue=False)
    s.settle()
    other.declare(s.q("dead"))
    s.counts(s.q("dead"))


@scenario({"x-message-ttl": 30}, {"x-expires": 60}, {"x-max-length": 1})
def auto_deleted_with_what_is_in_it(s: Stage, arguments: dict[str, Any]) -> None:
    ch = s.channel()
    s.dying(ch, arguments, auto_delete=True)
    ch.qos(1)
    ch.consume(s.q())
    s.publish(ch, s.q(), "1", "2", "3")
    ch.cancel()
    s.settle()
    ch.nack(1, requeue=False)
    ch.declare(s.q(), passive=True)
    s.wait(0.15)
    s.counts(s.q("dead"))
    s.empty(ch, "dead")


@scenario
def deleted_under_a_consumer(s: Stage) -> None:
    """It is told, its tag is free again, and what it has not settled stays its own."""
    ch, other = s.channel(), s.channel()
    ch.declare(s.q())
    ch.consume(s.q(), "a")
    ch.consume(s.q(), "b", no_ack=True)
    s.publish(ch, s.q(), "1", "2", "3")
    other.delete(s.q())
    s.settle()
    ch.cancel("a")
    ch.declare(s.q("next"))
    ch.consume(s.q("next"), "a")
    s.publish(ch, s.q("next"), "4")
    ch.ack(0, multiple=True)
    ch.ack(1)
    ch.wait_closed()


@scenario
def conditions_of_a_delete(s: Stage) -> None:
    ch = s.channel()
    ch.declare(s.q())
    s.publish(ch, s.q(), "1")
    ch.get(s.q(), no_ack=False)
    ch.delete(s.q(), if_empty=True, if_unused=True)
    ch.ack(1)
    ch.sync()
    ch.declare(s.q())
    ch.consume(s.q())
    ch.delete(s.q(), if_empty=True, if_unused=True)
    s.settle()
    s.publish(ch, s.q(), "2")
    ch.consume(s.q())
    s.settle()
    ch.delete(s.q(), if_unused=True)
    ch.delete(s.q(), if_empty=True)
    ch.delete(s.q())


@scenario("direct", "fanout", "topic", "headers")
def exchange_of_the_dead_comes_again(s: Stage, kind: str) -> None:
    """By its name: another type of exchange is as good, an internal one as well."""
    ch = s.channel()
    ch.declare(s.q("dead"))
    ch.declare(s.q(), {"x-dead-letter-exchange": s.x(), "x-dead-letter-routing-key": "a.b"})
    for internal in (False, True, None):
        if internal is not None:
            ch.exchange(s.x(), kind, internal=internal)
            ch.bind(s.q("dead"), s.x(), "a.b" if kind == "direct" else "a.#", {"h": 1})
        s.publish(ch, s.q(), "1", headers={"h": 1, "CC": ["c"]})
        content = ch.get(s.q(), no_ack=False)
        ch.reject(content.tag, requeue=False)
        s.settle()
        ch.delete_exchange(s.x())
        s.empty(ch, "dead")


@scenario({"x-message-ttl": 0}, {"x-max-length": 0}, {"x-max-length": 0, "x-message-ttl": 0})
def the_dead_meet_a_queue_without_room(s: Stage, arguments: dict[str, Any]) -> None:
    """Who waits gets them, else they die again, or for ever."""
    ch, consumer = s.channel(), s.channel()
    ch.declare(s.q("dead"), arguments)
    ch.declare(s.q(), {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": s.q("dead")})
    consumer.qos(1)
    consumer.consume(s.q("dead"))
    s.publish(ch, s.q(), "1", "2", "3")
    for tag in (1, 2, 3):
        ch.get(s.q(), no_ack=False)
        ch.reject(tag, requeue=False)
        s.settle()
        s.counts(s.q("dead"))
    consumer.nack(1)
    s.settle()
    s.counts(s.q("dead"))


@scenario
def purged_while_some_are_out(s: Stage) -> None:
    """What is out comes back, in its order, to what has come since."""
    ch = s.channel()
    s.dying(ch, {"x-max-length": 3})
    s.publish(ch, s.q(), "1", "2", "3")
    ch.get(s.q(), no_ack=False)
    ch.get(s.q(), no_ack=False)
    ch.purge(s.q())
    s.publish(ch, s.q(), "4", "5")
    ch.nack(1)
    s.settle()
    ch.nack(2)
    s.settle()
    s.counts(s.q())
    s.empty(ch, "q", "dead")


@scenario("drop-head", "reject-publish", "reject-publish-dlx")
def full_and_out(s: Stage, overflow: str) -> None:
    """What is out has no place in the queue, and pushes others out when it comes back."""
    ch = s.channel()
    s.dying(ch, {"x-max-length": 2, "x-overflow": overflow})
    ch.confirm()
    s.publish(ch, s.q(), "1", "2")
    ch.get(s.q(), no_ack=False)
    s.publish(ch, s.q(), "3", "4")
    ch.confirms()
    ch.get(s.q(), no_ack=False)
    ch.nack(1)
    s.settle()
    s.counts(s.q())
    s.publish(ch, s.q(), "5", priority=3)
    ch.nack(2)
    s.settle()
    ch.confirms()
    s.counts(s.q())
    s.empty(ch, "q", "dead")
