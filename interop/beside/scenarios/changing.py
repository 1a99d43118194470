"""Rules that change while messages are there: policies that come and go."""

from __future__ import annotations

import json
from typing import Any

from interop.beside.catalogue import scenario
from interop.beside.stage import Stage


def _policy(s: Stage, definition: dict[str, Any] | None, stem: str = "q") -> None:
    """Set the policy of the queues and exchanges of this name, or take it away."""
    controls = s.broker.controls
    assert controls is not None, "a scenario that plays alone"
    name = "beside-changing"
    if definition is None:
        controls.control("clear_policy", name)
    else:
        pattern = f"^{s.q(stem)}$".replace(".", "\\.")
        controls.control("set_policy", name, pattern, json.dumps(definition))
    s.settle()


@scenario(
    {"message-ttl": 20},
    {"max-length": 1, "overflow": "reject-publish"},
    {"max-length": 2, "dead-letter-exchange": ""},
    alone=True,
)
def policy_comes_and_goes(s: Stage, definition: dict[str, Any]) -> None:
    """What it does to messages that are there, to those that are out, and to those that come."""
    ch = s.channel()
    if "dead-letter-exchange" in definition:
        definition = {**definition, "dead-letter-routing-key": s.q("dead")}
    ch.declare(s.q("dead"))
    ch.declare(s.q())
    ch.confirm()
    s.publish(ch, s.q(), "1", "2", "3", "4")
    ch.get(s.q(), no_ack=False)
    ch.get(s.q(), no_ack=False)
    try:
        _policy(s, definition)
        s.counts(s.q())
        ch.nack(1)
        ch.nack(2, requeue=False)
        s.publish(ch, s.q(), "5")
        s.wait(0.1)
        s.counts(s.q())
    finally:
        _policy(s, None)
    s.publish(ch, s.q(), "6")
    ch.confirms()
    s.wait(0.05)
    s.empty(ch, "q", "dead")


@scenario(alone=True)
def alternate_comes_and_goes(s: Stage) -> None:
    ch = s.channel()
    ch.exchange(s.x("q"), "direct")
    ch.exchange(s.x("alternate"), "fanout")
    ch.declare(s.q("rest"))
    ch.bind(s.q("rest"), s.x("alternate"))
    for is_there in (False, True, False):
        _policy(s, {"alternate-exchange": s.x("alternate")} if is_there else {"max-length": 5})
        ch.publish(s.x("q"), "key", str(is_there).encode(), mandatory=True)
        s.settle()
    _policy(s, None)
    s.note(s.take_all(s.q("rest")))


@scenario(alone=True)
def consumers_while_a_limit_comes(s: Stage) -> None:
    ch = s.channel()
    ch.declare(s.q())
    ch.qos(1)
    ch.consume(s.q())
    s.publish(ch, s.q(), "1", "2", "3", "4")
    _policy(s, {"max-length": 1})
    s.counts(s.q())
    ch.nack(1)
    s.settle()
    ch.ack(2)
    s.settle()
    _policy(s, None)
    s.counts(s.q())
