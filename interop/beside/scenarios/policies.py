"""Policies, which both brokers have from their definitions; they go by the ends of names."""

from __future__ import annotations

from interop.beside.catalogue import scenario
from interop.beside.stage import Stage


@scenario
def message_ttl(s: Stage) -> None:
    ch = s.channel()
    ch.declare(s.q("policy-ttl"))
    ch.publish("", s.q("policy-ttl"), b"1")
    s.settle()
    s.until(s.q("policy-ttl"), 0)
    ch.declare(s.q("policy-ttl"), {"x-message-ttl": 60_000})
    ch.delete(s.q("policy-ttl"))
    ch.declare(s.q("policy-ttl"), {"x-message-ttl": 60_000})
    ch.publish("", s.q("policy-ttl"), b"the shorter of both")
    s.until(s.q("policy-ttl"), 0)


@scenario
def expires(s: Stage) -> None:
    ch = s.channel()
    ch.declare(s.q("policy-expires"))
    s.wait(0.5)
    ch.declare(s.q("policy-expires"), passive=True)


@scenario
def length(s: Stage) -> None:
    ch = s.channel()
    for arguments in ({}, {"x-max-length": 1}, {"x-max-length": 5}):
        ch.declare(s.q("policy-length"), arguments)
        for n in range(4):
            ch.publish("", s.q("policy-length"), b"%d" % n)
        s.settle()
        s.note(s.take_all(s.q("policy-length")))
        ch.delete(s.q("policy-length"))


@scenario
def length_in_bytes(s: Stage) -> None:
    ch = s.channel()
    ch.declare(s.q("policy-bytes"))
    for text in (b"aaaa", b"bbbb", b"cccc"):
        ch.publish("", s.q("policy-bytes"), text)
    s.settle()
    s.note(s.take_all(s.q("policy-bytes")))


@scenario
def overflow(s: Stage) -> None:
    ch = s.channel()
    for arguments in ({}, {"x-overflow": "drop-head"}):
        ch.declare(s.q("policy-reject"), arguments)
        ch.confirm()
        for n in range(3):
            ch.publish("", s.q("policy-reject"), b"%d" % n)
            ch.confirms()
        s.note(s.take_all(s.q("policy-reject")))
        ch.delete(s.q("policy-reject"))


@scenario
def dead_letters(s: Stage) -> None:
    ch = s.channel()
    ch.declare("beside-dead", auto_delete=True)
    ch.declare(s.q("own"))
    for arguments in ({}, {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": s.q("own")}):
        ch.declare(s.q("policy-dead"), arguments)
        ch.publish("", s.q("policy-dead"), b"1")
        s.settle()
        content = ch.get(s.q("policy-dead"), no_ack=False)
        ch.reject(content.tag, requeue=False)
        s.settle()
        ch.delete(s.q("policy-dead"))
    s.note(s.take_all(s.q("own")))
    ch.get("beside-dead")
    ch.delete("beside-dead")


@scenario
def alternate_exchange(s: Stage) -> None:
    ch = s.channel()
    ch.exchange(s.x("policy-alternate"))
    ch.declare(s.q())
    ch.bind(s.q(), "amq.fanout")
    ch.publish(s.x("policy-alternate"), "nowhere", b"1", mandatory=True)
    s.settle()
    s.note(s.take_all(s.q()))
