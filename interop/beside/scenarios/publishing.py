"""Publishing: mandatory and immediate, confirms, transactions, properties, sizes."""

from __future__ import annotations

import itertools
import time
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from pika import frame, spec

from interop.beside.catalogue import scenario
from interop.beside.peer import FRAME_MAX
from interop.beside.stage import Stage
from interop.beside.tables import Typed


@scenario
def missing_exchange(s: Stage) -> None:
    ch = s.channel()
    ch.publish(s.x(), "k", b"1")
    ch.wait_closed()
    ch.publish(s.x(), "k", b"1", mandatory=True)
    ch.wait_closed()
    ch.confirm()
    ch.publish("amq.direct", "k", b"1")
    ch.confirms()
    ch.publish(s.x(), "k", b"1")
    ch.wait_closed()


@scenario
def mandatory(s: Stage) -> None:
    ch = s.channel()
    ch.declare(s.q())
    ch.publish("", s.q(), b"routed", mandatory=True)
    ch.publish("", s.q("none"), b"returned", mandatory=True, message_id="m", headers={"a": 1})
    ch.publish("amq.fanout", "k" * 200, b"", mandatory=True, delivery_mode=2)
    ch.publish("amq.topic", "", b"x" * 300_000, mandatory=True)
    ch.publish("", s.q("none"), b"not mandatory")
    ch.wait_returns(3)
    s.settle()
    s.counts(s.q())


@scenario
def immediate(s: Stage) -> None:
    ch = s.channel()
    ch.declare(s.q())
    ch.publish("", s.q(), b"1", immediate=True)
    ch.wait_closed()


@scenario
def return_before_its_confirm(s: Stage) -> None:
    ch = s.channel()
    ch.confirm()
    ch.publish("", s.q(), b"1", mandatory=True)
    ch.confirms()
    s.note(ch.order)


@scenario(*itertools.product((False, True), (False, True)))
def confirms(s: Stage, durable: bool, persistent: bool) -> None:
    ch = s.channel()
    ch.declare(s.q(), durable=durable)
    ch.confirm()
    ch.confirm()
    for n in range(20):
        ch.publish("", s.q(), b"%d" % n, delivery_mode=2 if persistent else 1)
        ch.publish("", s.q("none"), b"unroutable", delivery_mode=2 if persistent else 1)
    ch.confirms()
    s.counts(s.q())


@scenario
def confirms_to_many_queues(s: Stage) -> None:
    ch = s.channel()
    for n in range(5):
        ch.declare(s.q(str(n)), durable=n % 2 == 0)
        ch.bind(s.q(str(n)), "amq.topic", s.q())
    ch.confirm()
    for mode in (1, 2, None):
        ch.publish("amq.topic", s.q(), b"1", delivery_mode=mode)
    ch.confirms()


@scenario
def confirms_begin_anew_on_each_channel(s: Stage) -> None:
    ch = s.channel()
    ch.publish("amq.direct", "k", b"before")
    ch.confirm()
    ch.publish("amq.direct", "k", b"1")
    ch.confirms()
    ch.close()
    ch.open()
    ch.publish("amq.direct", "k", b"no confirms here")
    ch.sync()
    ch.confirm()
    ch.publish("amq.direct", "k", b"1")
    ch.confirms()


@scenario
def confirms_of_a_queue_that_is_deleted(s: Stage) -> None:
    ch = s.channel()
    ch.confirm()
    for _ in range(10):
        ch.declare(s.q(), durable=True)
        ch.publish("", s.q(), b"1", delivery_mode=2)
        ch.delete(s.q())
    ch.confirms()


@scenario
def confirm_and_transaction(s: Stage) -> None:
    ch = s.channel()
    ch.select()
    ch.confirm()
    ch.confirm()
    ch.select()
    ch.commit()
    ch.rollback()


@scenario
def transaction_commit(s: Stage) -> None:
    ch = s.channel()
    ch.declare(s.q())
    ch.select()
    ch.select()
    ch.publish("", s.q(), b"1")
    ch.publish("", s.q("none"), b"2", mandatory=True)
    ch.sync()
    s.counts(s.q())
    s.note(ch.order[-1])
    ch.commit()
    ch.wait_returns(1)
    s.note(ch.order[-2:])
    s.counts(s.q())
    ch.commit()
    ch.rollback()


@scenario
def transaction_rollback(s: Stage) -> None:
    ch = s.channel()
    ch.declare(s.q())
    ch.select()
    ch.publish("", s.q(), b"1")
    ch.publish("", s.q("none"), b"2", mandatory=True)
    ch.rollback()
    ch.commit()
    s.counts(s.q())


@scenario
def transaction_acks(s: Stage) -> None:
    ch = s.channel()
    ch.declare(s.q())
    for n in range(4):
        ch.publish("", s.q(), b"%d" % n)
    s.settle()
    ch.select()
    for _ in range(4):
        ch.get(s.q(), no_ack=False)
    ch.ack(1)
    ch.nack(2)
    ch.reject(3, requeue=False)
    ch.rollback()
    ch.ack(2)
    ch.nack(1)
    ch.commit()
    s.settle()
    s.counts(s.q())
    ch.ack(2)
    ch.wait_closed()
    s.settle()
    s.counts(s.q())


@scenario
def transaction_errors(s: Stage) -> None:
    ch = s.channel()
    ch.declare(s.q())
    ch.select()
    ch.publish("", s.q(), b"lost with the channel")
    ch.publish(s.x("none"), "k", b"1")
    ch.wait_closed()
    s.settle()
    s.counts(s.q())
    ch.select()
    ch.ack(7)
    ch.wait_closed()
    ch.declare(s.q("full"), {"x-max-length": 1, "x-overflow": "reject-publish"})
    ch.select()
    ch.publish("", s.q("full"), b"1")
    ch.publish("", s.q("full"), b"2")
    ch.publish("", s.q(), b"goes in")
    ch.commit()
    s.settle()
    s.counts(s.q())
    s.counts(s.q("full"))


_TIME = datetime(2024, 2, 29, 12, 0, 0, tzinfo=UTC)


@scenario(
    {"content_type": "text/plain", "content_encoding": "utf-8"},
    {"delivery_mode": 1},
    {"delivery_mode": 2},
    {"priority": 0},
    {"priority": 255},
    {"correlation_id": "c" * 255},
    {"reply_to": "somewhere"},
    {"expiration": "100000"},
    {"message_id": ""},
    {"timestamp": 1_700_000_000},
    {"timestamp": 0},
    {"type": "t", "app_id": "ä", "cluster_id": "c"},
    {"user_id": "guest"},
    {"headers": {}},
    {"headers": {"": "empty key", "k" * 255: "long key"}},
    {"headers": {"text": "ä", "bytes": b"\xff", "empty": "", "none": None, "yes": True}},
    {"headers": {"list": [1, "a", None, [], {}, [[1]]], "table": {"a": {"b": {}}}}},
    {"headers": {"decimal": Decimal("1.25"), "negative": Decimal("-3"), "time": _TIME}},
    {"headers": {kind: Typed(kind, 100) for kind in "bBsuIilT"}},
    {"headers": {kind: Typed(kind, -100) for kind in "bsIl"}},
    {"headers": {"f": Typed("f", 1.5), "d": 1e300}},
    {"headers": {"big": 2**62, "B": Typed("B", 255), "u": Typed("u", 65535)}},
    {"headers": {"x-death": "nonsense", "x-first-death-queue": "q"}},
    {"headers": {"long": "x" * 50_000}},
)
def properties(s: Stage, values: dict[str, Any]) -> None:
    """What is sent comes back as it was, by get and by deliver."""
    ch = s.channel()
    ch.declare(s.q())
    ch.publish("", s.q(), b"body", **values)
    ch.publish("", s.q(), b"body", **values)
    s.settle()
    ch.get(s.q())
    ch.consume(s.q())
    ch.deliveries(1)


@scenario(0, 3, 255)
def delivery_mode(s: Stage, mode: int) -> None:
    """Modes that mean nothing."""
    ch = s.channel()
    ch.declare(s.q())
    ch.publish("", s.q(), b"1", delivery_mode=mode)
    ch.get(s.q())


@scenario(*("", "abc", "1.5", "-1", "10s", " 1", "1 ", "+100000", "0100000", "315360000001", "0x1"))
def expiration(s: Stage, value: str) -> None:
    ch = s.channel()
    ch.declare(s.q())
    ch.publish("", s.q(), b"1", expiration=value)
    ch.sync()
    if ch.closed:
        return
    s.settle()
    ch.get(s.q())


@scenario(("guest", "guest"), ("guest", "other"), ("guest", ""), ("impersonator", "other"))
def user_id(s: Stage, user: str, value: str) -> None:
    ch = s.channel(user)
    ch.declare(s.q())
    ch.publish("", s.q(), b"1", user_id=value)
    ch.sync()
    ch.get(s.q())


@scenario(*(0, 1, FRAME_MAX - 9, FRAME_MAX - 8, FRAME_MAX - 7, 3 * FRAME_MAX, 2_000_000))
def body(s: Stage, size: int) -> None:
    ch = s.channel()
    ch.declare(s.q())
    text = bytes(n % 251 for n in range(size))
    ch.publish("", s.q(), text)
    s.settle()
    content = ch.get(s.q())
    s.note(content.body == text)


@scenario
def many_at_once(s: Stage) -> None:
    ch, other = s.channel(), s.channel()
    ch.declare(s.q())
    other.consume(s.q(), no_ack=True)
    ch.confirm()
    for n in range(500):
        ch.publish("", s.q(), b"%d" % n)
    ch.confirms()
    other.deliveries(500)


@scenario(128 * 1024 * 1024 + 1, 512 * 1024 * 1024 + 1)
def announced_size(s: Stage, size: int) -> None:
    """A body that is too large by its header alone; none of it is sent."""
    ch = s.channel()
    publish = spec.Basic.Publish(exchange="", routing_key=s.q())
    header = frame.Header(ch.number, size, spec.BasicProperties())
    ch.connection.send_bytes(frame.Method(ch.number, publish).marshal() + header.marshal())
    s.channel().sync()
    ch.connection.read(time.monotonic() + 0.1)


@scenario(131072, 4096, 8192)
def frame_max(s: Stage, size: int) -> None:
    """The largest frames that were agreed on, both ways."""
    ch = s.channel(frame_max=size)
    ch.declare(s.q())
    publish = spec.Basic.Publish(exchange="", routing_key=s.q())
    parts = [b"a" * (size - 8), b"b" * 10]
    total = sum(map(len, parts))
    for data in (
        frame.Method(ch.number, publish).marshal(),
        frame.Header(ch.number, total, spec.BasicProperties()).marshal(),
        *(frame.Body(ch.number, part).marshal() for part in parts),
    ):
        ch.connection.send_bytes(data)
    s.settle()
    ch.get(s.q())
