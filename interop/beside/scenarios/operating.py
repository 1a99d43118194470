"""What an operator does while clients are connected: alarms, and the firehose."""

from __future__ import annotations

import time

from pika import spec

from interop.beside.brokers import Controls
from interop.beside.catalogue import scenario
from interop.beside.peer import CAPABILITIES, WAIT_S, Channel, Connection, NothingCameError
from interop.beside.stage import Stage


def _controls(s: Stage) -> Controls:
    assert s.broker.controls is not None
    return s.broker.controls


def _limit(s: Stage, kind: str, tight: bool) -> None:
    if kind == "memory":
        _controls(s).limit_memory(tight)
    else:
        _controls(s).limit_disk(tight)


def _told(connection: Connection, method: type) -> bool:
    return any(isinstance(each, method) for each in connection.methods)


def _until_blocked(ch: Channel) -> None:
    """Publish to nowhere until the connection is told that it is blocked."""
    deadline = time.monotonic() + WAIT_S
    while not _told(ch.connection, spec.Connection.Blocked):
        if time.monotonic() > deadline:
            raise NothingCameError("connection.blocked")
        ch.publish("amq.direct", "nowhere", b"x")
        ch.connection.read(time.monotonic() + 0.02)


@scenario("memory", "disk", alone=True)
def alarm(s: Stage, kind: str) -> None:
    """Who publishes is blocked, all others go on, and what was held comes through at the end."""
    publisher, consumer = s.channel(), s.channel()
    consumer.declare(s.q())
    publisher.publish("", s.q(), b"before")
    consumer.consume(s.q())
    consumer.deliveries(1)
    _limit(s, kind, True)
    try:
        _until_blocked(publisher)
        publisher.publish("", s.q(), b"meanwhile")
        consumer.ack(1)
        consumer.sync()
        late = s.channel()
        late.declare(s.q(), passive=True)
        s.counts(s.q())
    finally:
        _limit(s, kind, False)
    publisher.connection.wait(
        lambda: _told(publisher.connection, spec.Connection.Unblocked), "connection.unblocked"
    )
    consumer.deliveries(1)
    publisher.declare(s.q(), passive=True)


def _until_all_are_blocked(s: Stage, *resources: str) -> None:
    """Until new publishers are told of these and no others; a broker may look once a second."""
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        ch = s.unrecorded()
        _until_blocked(ch)
        reason = next(m.reason for m in ch.connection.methods if hasattr(m, "reason"))
        ch.connection.drop()
        if sorted(reason.removeprefix("low on ").split(" & ")) == sorted(resources):
            return
    raise NothingCameError(f"an alarm of {resources}, but of {reason}")


@scenario(alone=True)
def both_alarms(s: Stage) -> None:
    """The reason names both; it ends when both have ended."""
    first, second, third = s.channel(), s.channel(), s.channel()
    _limit(s, "memory", True)
    try:
        _until_blocked(first)
        _limit(s, "disk", True)
        _until_all_are_blocked(s, "memory", "disk")
        _until_blocked(second)
        _limit(s, "memory", False)
        _until_all_are_blocked(s, "disk")
        _until_blocked(third)
        s.note(_told(first.connection, spec.Connection.Unblocked))
    finally:
        _limit(s, "memory", False)
        _limit(s, "disk", False)
    for ch in (first, second, third):
        ch.connection.wait(
            lambda ch=ch: _told(ch.connection, spec.Connection.Unblocked), "connection.unblocked"
        )


@scenario(alone=True)
def alarm_without_a_word(s: Stage) -> None:
    """A client that cannot be told is blocked all the same."""
    capable = s.channel()
    ch = s.channel(capabilities={**CAPABILITIES, "connection.blocked": False})
    ch.declare(s.q())
    _limit(s, "memory", True)
    try:
        _until_blocked(capable)
        ch.publish("", s.q(), b"1")
        ch.connection.read(time.monotonic() + 0.1)
        s.counts(s.q())
    finally:
        _limit(s, "memory", False)
    ch.sync()
    s.until(s.q(), 1)


@scenario(alone=True)
def firehose(s: Stage) -> None:
    """Copies of what is published and delivered, with what there is to know in their headers."""
    ch, watcher = s.channel(), s.channel()
    ch.declare(s.q())
    watcher.declare(s.q("copies"))
    watcher.bind(s.q("copies"), "amq.rabbitmq.trace", "#")
    _controls(s).trace(True)
    try:
        ch.publish("", s.q(), b"1", headers={"mine": 1}, delivery_mode=2, reply_to="r")
        ch.publish("", s.q("none"), b"nowhere", mandatory=True)
        s.settle()
        ch.get(s.q(), no_ack=False)
        ch.nack(1)
        s.settle()
        ch.get(s.q())
        s.settle()
    finally:
        _controls(s).trace(False)
    for _ in range(4):
        copy = watcher.get(s.q("copies"))
    s.settle()
    s.counts(s.q("copies"))
    s.note(sorted(copy.properties.headers))


@scenario(alone=True)
def a_user_goes(s: Stage) -> None:
    """Their connections go as well, their queues stay, and their exclusive ones do not."""
    controls = _controls(s)
    controls.control("add_user", "beside-passing", "beside-passing")
    try:
        controls.control("set_permissions", "beside-passing", ".*", ".*", ".*")
        ch = s.channel("beside-passing")
        ch.declare(s.q())
        ch.declare(s.q("own"), exclusive=True)
        ch.publish("", s.q(), b"1", user_id="beside-passing")
        ch.sync()
    finally:
        controls.control("delete_user", "beside-passing")
    ch.connection.wait(lambda: bool(ch.connection.closed), "connection.close")
    s.until(s.q("own"), None)
    s.connection("beside-passing")
    s.channel().get(s.q())


@scenario(alone=True)
def permissions_go(s: Stage) -> None:
    """A virtual host that one may not enter any more, and a password that is another."""
    controls = _controls(s)
    controls.control("add_user", "beside-passing", "beside-passing")
    try:
        s.connection("beside-passing")
        controls.control("set_permissions", "beside-passing", "^$", "^$", "^$")
        ch = s.channel("beside-passing")
        ch.declare("no")
        ch.publish("amq.fanout", "", b"1")
        ch.wait_closed()
        controls.control("clear_permissions", "beside-passing")
        s.connection("beside-passing")
        controls.control("change_password", "beside-passing", "other")
        s.connection("beside-passing")
    finally:
        controls.control("delete_user", "beside-passing")
