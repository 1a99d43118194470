"""Contents as unusual clients send them: cut, interleaved, empty, with large headers."""

from __future__ import annotations

from typing import Any

from pika import frame, spec

from interop.beside.catalogue import scenario
from interop.beside.peer import Channel
from interop.beside.stage import Stage
from interop.beside.tables import Typed


def _publish(ch: Channel, queue: str) -> bytes:
    method = spec.Basic.Publish(exchange="", routing_key=queue)
    return bytes(frame.Method(ch.number, method).marshal())


def _header(ch: Channel, size: int, **properties: Any) -> bytes:
    return bytes(frame.Header(ch.number, size, spec.BasicProperties(**properties)).marshal())


def _body(ch: Channel, data: bytes) -> bytes:
    return bytes(frame.Body(ch.number, data).marshal())


_HEARTBEAT = bytes(frame.Heartbeat().marshal())


@scenario
def octet_by_octet(s: Stage) -> None:
    ch = s.channel()
    ch.declare(s.q())
    data = _publish(ch, s.q()) + _header(ch, 3, message_id="m") + _body(ch, b"abc")
    for octet in data:
        ch.connection.send_bytes(bytes([octet]))
    s.empty(ch, "q")


@scenario
def two_channels_in_turns(s: Stage) -> None:
    """Their contents are put together each by itself, with heartbeats in between."""
    one = s.channel()
    two = one.connection.channel()
    one.declare(s.q())
    for piece in (
        _publish(one, s.q()),
        _publish(two, s.q()),
        _header(two, 4),
        _HEARTBEAT,
        _header(one, 6),
        _body(one, b"one"),
        _body(two, b"tw"),
        _HEARTBEAT,
        _body(one, b"ONE"),
        _body(two, b"TW"),
    ):
        one.connection.send_bytes(piece)
    s.settle()
    s.note(sorted(s.take_all(s.q())))


@scenario
def channel_closed_in_a_content(s: Stage) -> None:
    """The rest of what was begun before an error is ignored with all else."""
    ch = s.channel()
    ch.declare(s.q())
    late = _publish(ch, s.q()) + _header(ch, 2) + _body(ch, b"a")
    ch.publish(s.q("none"), "", b"1")
    ch.connection.send_bytes(late + _body(ch, b"b"))
    ch.wait_closed()
    s.settle()
    s.counts(s.q())


@scenario
def connection_dropped_in_a_content(s: Stage) -> None:
    ch, other = s.channel(), s.channel()
    ch.declare(s.q())
    ch.publish("", s.q(), b"whole")
    ch.connection.send_bytes(_publish(ch, s.q()) + _header(ch, 5) + _body(ch, b"hal"))
    ch.connection.drop()
    s.until(s.q(), 1)
    s.empty(other, "q")


@scenario(0, 1)
def header_alone(s: Stage, size: int) -> None:
    """A content of no size is whole with its header; of any size it is not."""
    ch = s.channel()
    ch.declare(s.q())
    ch.connection.send_bytes(_publish(ch, s.q()) + _header(ch, size))
    s.wait(0.05)
    s.counts(s.q())


@scenario
def empty_body_of_no_size(s: Stage) -> None:
    """A body frame for a content that was whole already."""
    ch = s.channel()
    ch.declare(s.q())
    ch.connection.send_bytes(_publish(ch, s.q()) + _header(ch, 0) + _body(ch, b""))
    ch.connection.wait(lambda: False, "the end of the connection", 1.0)
    s.counts(s.q())


@scenario(1000, 4000, 60_000, 120_000)
def large_headers(s: Stage, size: int) -> None:
    """Of many entries, of a long text, nested."""
    ch = s.channel()
    ch.declare(s.q())
    ch.publish("", s.q(), b"1", headers={"text": "x" * size})
    ch.publish("", s.q(), b"2", headers={f"{n}": n for n in range(size // 10)})
    ch.publish("", s.q(), b"3", headers={"table": {"list": ["x" * 100] * (size // 110)}})
    s.settle()
    for _ in range(3):
        content = ch.get(s.q())
        s.note(len(str(content.properties.headers)))


@scenario(4096, 8192)
def small_frames(s: Stage, size: int) -> None:
    """Headers that one frame holds, and bodies that many do."""
    ch = s.channel(frame_max=size)
    ch.declare(s.q())
    ch.publish("", s.q(), b"", headers={"text": "x" * (size - 200)})
    for length in (size - 9, size - 8, size - 7, 3 * size):
        data = bytes(length)
        pieces = [data[at : at + size - 8] for at in range(0, length, size - 8)]
        ch.connection.send_bytes(
            _publish(ch, s.q())
            + _header(ch, length)
            + b"".join(_body(ch, piece) for piece in pieces)
        )
    s.empty(ch, "q")


@scenario
def all_properties_twice_over(s: Stage) -> None:
    """Dead-lettered and redelivered they are what they were."""
    ch = s.channel()
    s.dying(ch, {})
    ch.publish(
        "",
        s.q(),
        b"body",
        content_type="t/t",
        content_encoding="e",
        headers={"a": Typed("l", 2**40), "b": [1, None, {"c": True}], "d": Typed("d", 0.5)},
        delivery_mode=1,
        priority=9,
        correlation_id="c",
        reply_to="r",
        expiration="600000",
        message_id="m",
        timestamp=1_600_000_000,
        type="y",
        user_id="guest",
        app_id="app",
        cluster_id="cl",
    )
    s.settle()
    ch.get(s.q(), no_ack=False)
    ch.nack(1)
    s.settle()
    ch.get(s.q(), no_ack=False)
    ch.reject(2, requeue=False)
    s.empty(ch, "dead")


@scenario("declare", "purge", "delete", "consume", "cancel", "bind")
def without_waiting_for_an_answer(s: Stage, what: str) -> None:
    """Many commands and publishes in one breath, in their order."""
    ch = s.channel()
    ch.declare(s.q())
    ch.publish("", s.q(), b"1")
    commands: dict[str, Any] = {
        "declare": spec.Queue.Declare(queue=s.q(), nowait=True),
        "purge": spec.Queue.Purge(queue=s.q(), nowait=True),
        "delete": spec.Queue.Delete(queue=s.q(), nowait=True),
        "consume": spec.Basic.Consume(queue=s.q(), consumer_tag="t", nowait=True),
        "cancel": spec.Basic.Cancel(consumer_tag="t", nowait=True),
        "bind": spec.Queue.Bind(queue=s.q(), exchange="amq.fanout", routing_key="", nowait=True),
    }
    for _ in range(2 if what != "consume" else 1):
        ch.send(commands[what])
        ch.publish("", s.q(), b"2", mandatory=True)
    s.settle()
    s.counts(s.q())
