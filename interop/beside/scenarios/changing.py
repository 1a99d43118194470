"""Rules that change while messages are there: policies that come and go."""

from __future__ import annotations

from typing import Any

from interop.beside.catalogue import scenario
from interop.beside.stage import Stage


def _policy(s: Stage, definition: dict[str, Any] | None, stem: str = "q") -> None:
    """Set the policy of the queues and exchanges of this name, or take it away."""
    controls = s.broker.controls
    assert controls is not None, "a scenario that plays alone"
    controls.set_policy("beside-changing", f"^{s.q(stem)}$".replace(".", "\\."), definition)
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


@scenario(alone=True)
def where_dead_letters_go(s: Stage) -> None:
    """The policy counts that is there when a message dies, not the one under which it came."""
    ch = s.channel()
    for stem in ("first", "second", "own"):
        ch.declare(s.q(stem))
    ch.declare(s.q())
    ch.declare(
        s.q("argued"), {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": s.q("own")}
    )
    for definition in (
        None,
        {"dead-letter-exchange": "", "dead-letter-routing-key": s.q("first")},
        {"dead-letter-exchange": "", "dead-letter-routing-key": s.q("second"), "max-length": 1},
        {"dead-letter-exchange": "amq.fanout"},
        {"dead-letter-routing-key": s.q("first")},
    ):
        for stem in ("q", "argued"):
            s.publish(ch, s.q(stem), "1", "2", "3")
            if definition is not None:
                _policy(s, definition, stem)
            content = ch.get(s.q(stem), no_ack=False)
            ch.reject(content.tag, requeue=False)
            s.settle()
            s.empty(ch, stem)
            if definition is not None:
                _policy(s, None)
        s.empty(ch, "first", "second", "own")


@scenario(alone=True)
def a_circle_by_policy(s: Stage) -> None:
    """A queue whose dead letters come back to it: the rejected do, the expired do not."""
    ch = s.channel()
    ch.declare(s.q())
    _policy(s, {"dead-letter-exchange": "", "dead-letter-routing-key": s.q()})
    try:
        s.publish(ch, s.q(), "1", "2")
        for tag in (1, 2, 3):
            ch.get(s.q(), no_ack=False)
            ch.reject(tag, requeue=False)
            s.settle()
        _policy(s, {"dead-letter-exchange": "", "dead-letter-routing-key": s.q(), "max-length": 1})
        s.counts(s.q())
        s.publish(ch, s.q(), "3")
        s.counts(s.q())
        ch.publish("", s.q(), b"4", expiration="10")
        s.settle()
        s.wait(0.05)
        s.counts(s.q())
    finally:
        _policy(s, None)
    s.empty(ch, "q")


@scenario(
    ({"max-length": 3}, {"max-length": 1}),
    ({"max-length": 1, "overflow": "reject-publish"}, {"max-length": 3}),
    ({"max-length": 3, "overflow": "reject-publish"}, {"max-length": 1}),
    ({"max-length": 2, "overflow": "reject-publish"}, {"overflow": "reject-publish"}),
    ({"overflow": "reject-publish"}, {"max-length-bytes": 2}),
    ({"max-length": 5}, {"max-length": 5, "overflow": "reject-publish-dlx"}),
    ({"max-length": 5}, {"max-length-bytes": 0}),
    alone=True,
)
def one_limit_after_another(s: Stage, first: dict[str, Any], second: dict[str, Any]) -> None:
    ch = s.channel()
    s.dying(ch, {})
    ch.confirm()
    try:
        for definition in (first, second):
            _policy(s, definition)
            s.publish(ch, s.q(), "1", "2", "3", "4")
            ch.confirms()
            s.counts(s.q())
            s.counts(s.q("dead"))
            ch.get(s.q(), no_ack=False)
    finally:
        _policy(s, None)
    ch.recover()
    s.publish(ch, s.q(), "5")
    s.empty(ch, "q", "dead")


@scenario({}, {"x-expires": 60_000}, alone=True)
def expires_comes(s: Stage, arguments: dict[str, Any]) -> None:
    """The clock of a queue that nobody uses begins when the policy comes."""
    ch = s.channel()
    ch.declare(s.q(), arguments)
    _policy(s, {"expires": 60_000})
    s.counts(s.q())
    _policy(s, {"expires": 50})
    try:
        s.wait(0.3)
        s.counts(s.q())
    finally:
        _policy(s, None)
    ch.declare(s.q(), passive=True)


@scenario(alone=True)
def time_to_live_of_what_comes_back(s: Stage) -> None:
    """A message keeps the life that it was given when it came, through requeues as well."""
    ch = s.channel()
    s.dying(ch, {})
    s.publish(ch, s.q(), "without")
    _policy(s, {"message-ttl": 60_000})
    try:
        s.publish(ch, s.q(), "long")
        ch.get(s.q(), no_ack=False)
        ch.get(s.q(), no_ack=False)
        _policy(s, {"message-ttl": 20})
        ch.nack(2, multiple=True)
        s.settle()
        s.wait(0.1)
        s.counts(s.q())
        s.publish(ch, s.q(), "short")
        s.wait(0.1)
        s.counts(s.q())
        s.counts(s.q("dead"))
    finally:
        _policy(s, None)
    ch.get(s.q())
    ch.get(s.q())
    s.wait(0.05)
    s.empty(ch, "q", "dead")


@scenario(alone=True)
def an_operators_policy(s: Stage) -> None:
    """The smaller of two numbers holds, and what the operator says nothing about is the user's."""
    controls = s.broker.controls
    assert controls is not None, "a scenario that plays alone"
    ch = s.channel()
    s.dying(ch, {})
    ch.confirm()
    pattern = f"^{s.q()}$".replace(".", "\\.")
    controls.set_policy("beside-operator", pattern, {"max-length": 3}, of_operator=True)
    try:
        s.publish(ch, s.q(), "1", "2", "3", "4")
        s.counts(s.q())
        for length in (5, 2):
            _policy(s, {"max-length": length, "overflow": "reject-publish"})
            s.publish(ch, s.q(), "5", "6")
            ch.confirms()
            s.counts(s.q())
    finally:
        controls.set_policy("beside-operator", pattern, None, of_operator=True)
        _policy(s, None)
    s.publish(ch, s.q(), "8")
    s.empty(ch, "q", "dead")
