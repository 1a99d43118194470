"""Declaring, deleting and purging queues."""

from __future__ import annotations

from typing import Any, Final

from pika import spec

from interop.beside.catalogue import scenario
from interop.beside.stage import Stage
from interop.beside.tables import Typed

_TOO_LONG_MS: Final = 315_360_000_001
_NUMBERS: Final = (0, 1, -1, 2.5, "1", True, None, [1], {"a": 1})
_TEXTS: Final = ("", "x", 1, True, None, ["x"], b"x")

_VALUES: Final[dict[str, tuple[Any, ...]]] = {
    "x-message-ttl": (*_NUMBERS, Typed("b", 3), _TOO_LONG_MS, _TOO_LONG_MS - 1),
    # Not 1: such a queue may be gone before it is declared once more, or may not.
    "x-expires": (0, 60_000, *_NUMBERS[2:], _TOO_LONG_MS),
    "x-max-length": (*_NUMBERS, 2**40),
    "x-max-length-bytes": (*_NUMBERS, 2**40),
    "x-max-priority": (*_NUMBERS, 255, 256),
    "x-overflow": (*_TEXTS, "drop-head", "reject-publish", "reject-publish-dlx"),
    "x-dead-letter-exchange": _TEXTS,
    "x-dead-letter-routing-key": _TEXTS,
    "x-single-active-consumer": (True, False, 1, "true", None),
    "x-queue-mode": (*_TEXTS, "default", "lazy"),
    "x-queue-type": (*_TEXTS, "classic", "Classic", "quorum", "stream"),
    "x-queue-version": (1, 2, 3, "1", None),
    "x-queue-master-locator": ("nonsense", "min-masters", "client-local"),
    "x-queue-leader-locator": ("balanced",),
    "x-delivery-limit": (3,),
    "x-max-age": ("1h", "1", 1),
    "x-stream-max-segment-size-bytes": (1000, "1"),
    "x-initial-cluster-size": (1, "1"),
    "x-quorum-initial-group-size": (1, "1"),
    "x-max-in-memory-length": (1, "1"),
    "x-consumer-timeout": (1000, 0, "1"),
    "x-unheard-of": (1, "1", None, {"a": [1]}),
}


@scenario(*((key, value) for key, values in _VALUES.items() for value in values))
def argument(s: Stage, key: str, value: Any) -> None:
    """One argument: accepted, or refused with which words; and whether it is kept."""
    ch = s.channel()
    arguments = {key: value}
    if key == "x-dead-letter-routing-key":
        arguments["x-dead-letter-exchange"] = ""
    ch.declare(s.q(), arguments)
    ch.declare(s.q(), arguments)
    ch.declare(s.q())
    s.counts(s.q())


@scenario(*((key, value) for key in ("x-message-ttl", "x-max-length") for value in (0, 5)))
def argument_durable(s: Stage, key: str, value: Any) -> None:
    ch = s.channel()
    ch.declare(s.q(), {key: value}, durable=True)
    ch.declare(s.q(), {key: value}, durable=True)


@scenario(
    ("x-message-ttl", 10, 20),
    ("x-message-ttl", 10, Typed("b", 10)),
    ("x-message-ttl", Typed("l", 10), Typed("s", 10)),
    ("x-message-ttl", 10, None),
    ("x-expires", 10000, 20000),
    ("x-max-length", 10, 20),
    ("x-max-length-bytes", 10, 20),
    ("x-max-priority", 3, 4),
    ("x-max-priority", 3, Typed("b", 3)),
    ("x-overflow", "drop-head", "reject-publish"),
    ("x-overflow", "drop-head", None),
    ("x-dead-letter-exchange", "a", "b"),
    ("x-dead-letter-exchange", "a", ""),
    ("x-single-active-consumer", True, False),
    ("x-queue-mode", "lazy", "default"),
    ("x-queue-type", "classic", None),
    ("x-queue-version", 1, 2),
    ("x-unheard-of", 1, 2),
    ("x-unheard-of", 1, "a"),
)
def redeclared(s: Stage, key: str, first: Any, second: Any) -> None:
    """The same queue with another value, there and back."""
    ch = s.channel()
    one = {} if first is None else {key: first}
    other = {} if second is None else {key: second}
    ch.declare(s.q(), one)
    ch.declare(s.q(), other)
    ch.delete(s.q())
    ch.declare(s.q(), other)
    ch.declare(s.q(), one)


@scenario(*(("durable", "exclusive", "auto_delete")[n] for n in range(3)))
def redeclared_flag(s: Stage, flag: str) -> None:
    ch = s.channel()
    ch.declare(s.q(), **{flag: True})
    ch.declare(s.q())
    ch.declare(s.q(), **{flag: True})
    ch.delete(s.q())
    ch.declare(s.q())
    ch.declare(s.q(), **{flag: True})


@scenario
def redeclared_with_everything_else(s: Stage) -> None:
    """What is told first when several things differ."""
    ch = s.channel()
    ch.declare(s.q(), {"x-max-length": 1, "x-message-ttl": 1}, durable=True, auto_delete=True)
    ch.declare(s.q(), {"x-max-length": 2, "x-message-ttl": 2}, exclusive=True)
    ch.declare(s.q(), {"x-max-length": 2, "x-message-ttl": 2})
    ch.declare(s.q(), {"x-max-length": 2, "x-message-ttl": 2}, durable=True)
    ch.declare(s.q(), {"x-max-length": 2, "x-message-ttl": 2}, durable=True, auto_delete=True)
    ch.declare(s.q(), {"x-max-length": 1}, durable=True, auto_delete=True)


@scenario
def several_bad_arguments(s: Stage) -> None:
    ch = s.channel()
    ch.declare(s.q(), {"x-message-ttl": -1, "x-expires": 0, "x-max-length": "a"})
    ch.declare(s.q(), {"x-max-length": "a", "x-message-ttl": -1})
    ch.declare(s.q(), {"x-dead-letter-routing-key": "k"})
    ch.declare(s.q(), {"x-dead-letter-routing-key": "k", "x-max-priority": 1000})


@scenario
def exclusive_and_durable(s: Stage) -> None:
    ch = s.channel()
    ch.declare(s.q(), durable=True, exclusive=True)
    ch.declare(s.q(), exclusive=True)
    ch.declare(s.q(), durable=True, exclusive=True)


@scenario
def passive(s: Stage) -> None:
    ch = s.channel()
    ch.declare(s.q(), passive=True)
    ch.declare(s.q(), {"x-max-length": 5}, durable=True)
    ch.declare(s.q(), {"x-max-length": "nonsense"}, passive=True, auto_delete=True)
    ch.declare("", passive=True)
    ch.declare("amq.not-there", passive=True)


@scenario
def counts(s: Stage) -> None:
    """declare-ok tells what is ready, not what is unacknowledged."""
    ch, other = s.channel(), s.channel()
    ch.declare(s.q())
    for n in range(4):
        ch.publish("", s.q(), b"%d" % n)
    s.settle()
    ch.declare(s.q())
    ch.declare(s.q(), passive=True)
    other.get(s.q(), no_ack=False)
    other.qos(1)
    other.consume(s.q(), "a")
    other.deliveries(1)
    other.consume(s.q(), "b")
    other.deliveries(1)
    ch.declare(s.q())
    ch.purge(s.q())
    ch.declare(s.q())
    other.close()
    s.until(s.q(), 3)
    ch.delete(s.q())


@scenario
def named_by_the_server(s: Stage) -> None:
    ch = s.channel()
    first = ch.declare("", exclusive=True)
    second = ch.declare("", exclusive=True)
    s.note(first.queue != second.queue, len(first.queue))
    ch.declare(first.queue, exclusive=True)
    ch.declare(first.queue, passive=True)
    ch.delete(first.queue)
    ch.delete(second.queue)


@scenario
def empty_name_is_the_last_declared(s: Stage) -> None:
    ch = s.channel()
    ch.purge("")
    ch.declare(s.q())
    ch.publish("", s.q(), b"1")
    ch.bind("", "amq.direct")
    ch.publish("amq.direct", s.q(), b"2")
    s.settle()
    ch.get("")
    ch.consume("")
    ch.deliveries(1)
    ch.cancel()
    ch.unbind("", "amq.direct")
    ch.delete("")
    ch.delete("")


@scenario(*("amq.mine", "amq.", "amq", "AMQ.x", "x" * 255, "ä ö/#*", " ", "a\r\nb"))
def name(s: Stage, name: str) -> None:
    """Names of the client's choice."""
    ch = s.channel()
    ch.declare(name, exclusive=True)
    ch.declare(name, passive=True)
    ch.delete(name)


@scenario
def exclusive_to_another_connection(s: Stage) -> None:
    owner, other = s.channel(), s.channel()
    owner.declare(s.q(), exclusive=True)
    owner.bind(s.q(), "amq.direct", "bound")
    other.declare(s.q())
    other.declare(s.q(), exclusive=True)
    other.declare(s.q(), passive=True)
    other.bind(s.q(), "amq.direct", "k")
    other.unbind(s.q(), "amq.direct", "bound")
    other.purge(s.q())
    other.get(s.q())
    other.consume(s.q())
    other.delete(s.q())
    other.publish("", s.q(), b"allowed", mandatory=True)
    other.sync()
    s.settle()
    owner.get(s.q())
    owner.connection.channel().get(s.q())


@scenario
def exclusive_goes_with_its_connection(s: Stage) -> None:
    owner, other = s.channel(), s.channel()
    owner.declare(s.q(), exclusive=True)
    owner.close()
    owner.connection.close()
    other.declare(s.q(), passive=True)
    again = s.channel()
    again.declare(s.q(), exclusive=True)
    again.connection.drop()
    s.until(s.q(), None)


@scenario
def auto_delete(s: Stage) -> None:
    ch = s.channel()
    ch.declare(s.q(), auto_delete=True)
    ch.publish("", s.q(), b"1")
    s.settle()
    ch.get(s.q())
    ch.consume(s.q(), "a")
    ch.consume(s.q(), "b")
    ch.cancel("a")
    ch.declare(s.q(), passive=True)
    ch.cancel("b")
    s.until(s.q(), None)
    ch.declare(s.q(), passive=True)


@scenario
def auto_delete_at_the_end_of_a_channel(s: Stage) -> None:
    ch, other = s.channel(), s.channel()
    ch.declare(s.q(), auto_delete=True)
    ch.consume(s.q())
    ch.publish("", s.q(), b"1")
    ch.deliveries(1)
    ch.close()
    other.declare(s.q(), passive=True)


@scenario
def delete(s: Stage) -> None:
    ch = s.channel()
    ch.delete(s.q())
    ch.declare(s.q())
    ch.publish("", s.q(), b"1")
    s.settle()
    ch.consume(s.q())
    ch.deliveries(1)
    ch.publish("", s.q(), b"2")
    ch.deliveries(1)
    ch.qos(1, everywhere=True)
    ch.publish("", s.q(), b"3")
    s.settle()
    ch.delete(s.q(), if_unused=True)
    s.settle()
    ch.delete(s.q(), if_empty=True)
    s.settle()
    ch.delete(s.q(), if_unused=True, if_empty=True)
    ch.delete(s.q())
    ch.delete(s.q(), if_unused=True, if_empty=True)


@scenario
def delete_in_use(s: Stage) -> None:
    ch, other = s.channel(), s.channel()
    ch.declare(s.q())
    other.consume(s.q())
    ch.delete(s.q(), if_unused=True)
    ch.delete(s.q(), if_empty=True)
    other.wait_cancel()
    ch.declare(s.q(), passive=True)


@scenario
def delete_with_unacknowledged(s: Stage) -> None:
    """Acknowledging what was in a queue that is gone is no mistake."""
    ch, other = s.channel(), s.channel()
    ch.declare(s.q())
    for n in range(3):
        ch.publish("", s.q(), b"%d" % n)
    s.settle()
    other.get(s.q(), no_ack=False)
    other.get(s.q(), no_ack=False)
    ch.delete(s.q())
    other.ack(1)
    other.nack(2)
    other.sync()
    other.ack(2)
    other.wait_closed()


@scenario
def purge(s: Stage) -> None:
    ch = s.channel()
    ch.purge(s.q())
    ch.declare(s.q())
    ch.purge(s.q())
    for n in range(5):
        ch.publish("", s.q(), b"%d" % n)
    s.settle()
    ch.get(s.q(), no_ack=False)
    ch.purge(s.q())
    ch.nack(1)
    s.settle()
    s.counts(s.q())
    ch.get(s.q())


@scenario
def without_waiting(s: Stage) -> None:
    """nowait: no answer but an error."""
    ch = s.channel()
    ch.send(spec.Queue.Declare(queue=s.q(), nowait=True, arguments={}))
    ch.send(spec.Queue.Bind(queue=s.q(), exchange="amq.direct", nowait=True, arguments={}))
    ch.send(spec.Basic.Consume(queue=s.q(), consumer_tag="t", nowait=True, arguments={}))
    ch.publish("", s.q(), b"1")
    ch.deliveries(1)
    ch.send(spec.Basic.Cancel("t", nowait=True))
    ch.send(spec.Queue.Purge(queue=s.q(), nowait=True))
    ch.send(spec.Queue.Delete(queue=s.q(), nowait=True))
    ch.sync()
    s.counts(s.q())
    ch.send(spec.Queue.Declare(queue=s.q(), durable=True, nowait=True, arguments={}))
    ch.send(spec.Queue.Declare(queue=s.q(), nowait=True, arguments={}))
    ch.wait_closed()


@scenario(*("durable", "exclusive", "auto_delete", "named_by_the_server"))
def quorum(s: Stage, what: str) -> None:
    """Which properties a quorum queue may have."""
    ch = s.channel()
    arguments = {"x-queue-type": "quorum"}
    if what == "named_by_the_server":
        ch.declare("", arguments, durable=True)
    else:
        ch.declare(s.q(), arguments, **{"durable": True, what: True})
        ch.declare(s.q(), arguments, durable=True)


@scenario(
    {"x-max-priority": 5},
    {"x-queue-mode": "lazy"},
    {"x-expires": 60000},
    {"x-message-ttl": 60000},
    {"x-max-length": 5},
    {"x-max-length-bytes": 5},
    {"x-overflow": "drop-head"},
    {"x-overflow": "reject-publish"},
    {"x-overflow": "reject-publish-dlx"},
    {"x-single-active-consumer": True},
    {"x-dead-letter-exchange": ""},
    {"x-dead-letter-exchange": "", "x-dead-letter-strategy": "at-most-once"},
    {"x-dead-letter-strategy": "nonsense"},
    {"x-delivery-limit": 2},
    {"x-delivery-limit": -1},
    {"x-quorum-initial-group-size": 1},
    {"x-quorum-initial-group-size": 0},
    {"x-max-in-memory-length": 1},
    {"x-max-in-memory-bytes": 1},
    {"x-max-age": "1h"},
    {"x-queue-leader-locator": "balanced"},
    {"x-unheard-of": 1},
)
def quorum_argument(s: Stage, arguments: dict[str, Any]) -> None:
    """Which arguments a quorum queue may have."""
    ch = s.channel()
    ch.declare(s.q(), {"x-queue-type": "quorum", **arguments}, durable=True)


@scenario
def quorum_redeclared_as_classic(s: Stage) -> None:
    ch = s.channel()
    ch.declare(s.q(), {"x-queue-type": "quorum"}, durable=True)
    ch.declare(s.q(), durable=True)
    ch.declare(s.q(), {"x-queue-type": "classic"}, durable=True)
    ch.declare(s.q("c"), durable=True)
    ch.declare(s.q("c"), {"x-queue-type": "quorum"}, durable=True)
