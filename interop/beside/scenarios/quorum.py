"""Quorum queues: arguments, delivery counts, consumers."""

from __future__ import annotations

from typing import Any

from interop.beside.catalogue import scenario
from interop.beside.stage import Stage


@scenario(
    {"x-max-priority": 3},
    {"x-queue-mode": "lazy"},
    {"x-overflow": "reject-publish-dlx"},
    {"x-overflow": "reject-publish"},
    {"x-max-length": 1},
    {"x-message-ttl": 10},
    {"x-expires": 60_000},
    {"x-single-active-consumer": True},
    {"x-dead-letter-strategy": "at-least-once"},
    {"x-dead-letter-strategy": "nonsense"},
    {"x-quorum-initial-group-size": 1},
    {"x-quorum-initial-group-size": 0},
    {"x-max-in-memory-length": 5},
    {"x-delivery-limit": -1},
)
def queue(s: Stage, arguments: dict[str, Any]) -> None:
    ch = s.channel()
    ch.declare(s.q(), {"x-queue-type": "quorum", **arguments}, durable=True)
    ch.declare(s.q(), {"x-queue-type": "quorum", **arguments}, durable=True)


@scenario(*("nack", "reject", "recover", "close"))
def delivery_count(s: Stage, how: str) -> None:
    ch = s.channel()
    ch.declare(s.q(), {"x-queue-type": "quorum"}, durable=True)
    s.publish(ch, s.q(), "1", headers={"mine": 1})
    ch.consume(s.q())
    ch.deliveries(1)
    ch.cancel()
    if how == "close":
        ch.close()
    elif how == "recover":
        ch.recover()
    else:
        getattr(ch, how)(1)
    s.until(s.q(), 1)
    ch.get(s.q())


@scenario
def exclusive_consumer(s: Stage) -> None:
    one, two = s.channel(), s.channel()
    one.declare(s.q(), {"x-queue-type": "quorum"}, durable=True)
    one.consume(s.q(), exclusive=True)
    two.consume(s.q())
    one.cancel()
    two.consume(s.q())


@scenario
def length_and_dead_letters(s: Stage) -> None:
    ch = s.channel()
    s.dying(ch, {"x-queue-type": "quorum", "x-max-length": 1}, durable=True)
    ch.confirm()
    s.publish(ch, s.q(), "1", "2")
    ch.confirms()
    s.until(s.q("dead"), 1)
    ch.consume(s.q(), no_ack=True)
    ch.deliveries(1)
    s.empty(ch, "dead")
