"""Every method that a client may send, without each of the permissions that it needs."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

import pytest
from pamqp import base
from pamqp.commands import Basic, Exchange, Queue

from amqbroker.auth.passwords import rabbit_hash
from amqbroker.core.broker import Broker
from amqbroker.core.handlers import HANDLERS
from amqbroker.management import users
from tests.core.house import House, core
from tests.semantics import wire
from tests.semantics.peer import Channel

CONFIGURE, WRITE, READ = "configure", "write", "read"
PERMISSIONS = (CONFIGURE, WRITE, READ)


class Need(NamedTuple):
    """A permission, and on what."""

    permission: str
    kind: str
    name: str


class Case(NamedTuple):
    """A method, what it needs, and what it is answered with: nothing for a publish."""

    method: Callable[[], base.Frame]
    needs: tuple[Need, ...]
    answer: type[base.Frame] | None


def q(permission: str, name: str = "q") -> Need:
    return Need(permission, "queue", name)


def x(permission: str, name: str = "x") -> Need:
    return Need(permission, "exchange", name)


CASES = {
    "exchange.declare": Case(
        lambda: Exchange.Declare(exchange="new", exchange_type="fanout"),
        (x(CONFIGURE, "new"),),
        Exchange.DeclareOk,
    ),
    "exchange.declare, there": Case(
        lambda: Exchange.Declare(exchange="x", exchange_type="topic"),
        (x(CONFIGURE),),
        Exchange.DeclareOk,
    ),
    "exchange.declare, alternate": Case(
        lambda: Exchange.Declare(
            exchange="new", exchange_type="fanout", arguments={"alternate-exchange": "d"}
        ),
        (x(CONFIGURE, "new"), x(READ, "new"), x(WRITE, "d")),
        Exchange.DeclareOk,
    ),
    "exchange.declare, partitions": Case(
        lambda: Exchange.Declare(
            exchange="new", exchange_type="x-consistent-hash", arguments={"x-partitions": 1}
        ),
        (x(CONFIGURE, "new"), x(READ, "new"), q(CONFIGURE, "new-0"), q(WRITE, "new-0")),
        Exchange.DeclareOk,
    ),
    "exchange.declare, partitions with dead letters": Case(
        lambda: Exchange.Declare(
            exchange="new",
            exchange_type="x-consistent-hash",
            arguments={
                "x-partitions": 1,
                "x-partition-arguments": {"x-dead-letter-exchange": "d"},
            },
        ),
        (
            *(x(CONFIGURE, "new"), x(READ, "new"), q(CONFIGURE, "new-0"), q(WRITE, "new-0")),
            *(q(READ, "new-0"), x(WRITE, "d")),
        ),
        Exchange.DeclareOk,
    ),
    "exchange.delete, partitions": Case(
        lambda: Exchange.Delete(exchange="p"),
        (x(CONFIGURE, "p"), q(CONFIGURE, "p-0")),
        Exchange.DeleteOk,
    ),
    "exchange.delete": Case(
        lambda: Exchange.Delete(exchange="x"), (x(CONFIGURE),), Exchange.DeleteOk
    ),
    "exchange.bind": Case(
        lambda: Exchange.Bind(destination="d", source="x", routing_key="new"),
        (x(WRITE, "d"), x(READ)),
        Exchange.BindOk,
    ),
    "exchange.unbind": Case(
        lambda: Exchange.Unbind(destination="d", source="x", routing_key="k"),
        (x(WRITE, "d"), x(READ)),
        Exchange.UnbindOk,
    ),
    "queue.declare": Case(
        lambda: Queue.Declare(queue="new"), (q(CONFIGURE, "new"),), Queue.DeclareOk
    ),
    "queue.declare, there": Case(
        lambda: Queue.Declare(queue="q"), (q(CONFIGURE),), Queue.DeclareOk
    ),
    "queue.declare, dead letters": Case(
        lambda: Queue.Declare(queue="new", arguments={"x-dead-letter-exchange": "d"}),
        (q(CONFIGURE, "new"), q(READ, "new"), x(WRITE, "d")),
        Queue.DeclareOk,
    ),
    "queue.declare, dead letters to the default exchange": Case(
        lambda: Queue.Declare(queue="new", arguments={"x-dead-letter-exchange": ""}),
        (q(CONFIGURE, "new"), q(READ, "new"), x(WRITE, "amq.default")),
        Queue.DeclareOk,
    ),
    "queue.bind": Case(
        lambda: Queue.Bind(queue="q", exchange="x", routing_key="new"),
        (q(WRITE), x(READ)),
        Queue.BindOk,
    ),
    "queue.unbind": Case(
        lambda: Queue.Unbind(queue="q", exchange="x", routing_key="k"),
        (q(WRITE), x(READ)),
        Queue.UnbindOk,
    ),
    "queue.purge": Case(lambda: Queue.Purge(queue="q"), (q(READ),), Queue.PurgeOk),
    "queue.delete": Case(lambda: Queue.Delete(queue="q"), (q(CONFIGURE),), Queue.DeleteOk),
    "basic.consume": Case(lambda: Basic.Consume(queue="q"), (q(READ),), Basic.ConsumeOk),
    "basic.get": Case(lambda: Basic.Get(queue="q"), (q(READ),), None),
    "basic.publish": Case(lambda: Basic.Publish(exchange="x", routing_key="k"), (x(WRITE),), None),
    "basic.publish, default exchange": Case(
        lambda: Basic.Publish(routing_key="q"), (x(WRITE, "amq.default"),), None
    ),
}

# They act on what the channel has, or on nothing that has a name.
FREE = {
    *("Channel.Flow", "Access.Request"),
    *("Basic.Qos", "Basic.Cancel", "Basic.Nack", "Basic.Reject"),
    *("Basic.Recover", "Basic.RecoverAsync"),
    *("Confirm.Select", "Tx.Select", "Tx.Commit", "Tx.Rollback"),
}
# Without one method object in the broker: read by hand.
BY_HAND = {"Basic.Publish"}

DENIALS = [
    pytest.param(name, need, id=f"{name}, without {need.permission} on {need.kind} {need.name}")
    for name, case in CASES.items()
    for need in case.needs
]


class Attempt:
    """`ann`, and a virtual host that she would like to change."""

    def __init__(self) -> None:
        self.house = House()
        owner = self.house.channel()
        owner.declare_queue("q")
        owner.declare_exchange("x", "topic")
        owner.declare_exchange("d")
        owner.declare_exchange("p", "x-consistent-hash", arguments={"x-partitions": 1})
        owner.bind("q", "x", "k")
        owner.bind_exchange("d", "x", "k")
        owner.fill("q", b"1", b"2")
        users.add_user(self.broker, "ann", rabbit_hash(b"ann-pw", b"salt"))
        users.set_permissions(self.broker, "/", "ann", "", "", "")

    @property
    def broker(self) -> Broker:
        return core(self.house.node)

    def allow(self, patterns: dict[str, str]) -> Channel:
        """A channel of ann with these permissions."""
        users.set_permissions(self.broker, "/", "ann", *(patterns[each] for each in PERMISSIONS))
        return self.house.connect("ann").open_channel()

    def state(self) -> object:
        """All that a method could change."""
        vhost = self.house.vhost()
        return (
            {
                name: (queue.ready_count(), queue.unacked_count, len(queue.consumers.all))
                for name, queue in vhost.queues.items()
            },
            {
                name: [(binding.destination.name, binding.key) for binding in exchange.bindings()]
                for name, exchange in vhost.exchanges.items()
            },
        )


@pytest.fixture
def attempt() -> Attempt:
    return Attempt()


def send(ch: Channel, method: base.Frame) -> None:
    """A method, with a content if it has one."""
    if isinstance(method, Basic.Publish):
        ch.publish(b"m", exchange=method.exchange, key=method.routing_key)
    else:
        ch.send(method)


def test_the_table_is_complete() -> None:
    known = {name_of(kind) for kind in HANDLERS} | BY_HAND
    tried = {name_of(type(case.method())) for case in CASES.values()}
    assert known == tried | FREE
    assert not tried & FREE


def name_of(kind: type[base.Frame]) -> str:
    """As pamqp calls it, which has the broker's methods as well."""
    return kind.name


@pytest.mark.parametrize(("name", "need"), DENIALS)
def test_without_a_permission_nothing_happens(attempt: Attempt, name: str, need: Need) -> None:
    """Everything else is allowed."""
    patterns = dict.fromkeys(PERMISSIONS, ".*")
    patterns[need.permission] = f"^(?!{re.escape(need.name)}$)"
    ch = attempt.allow(patterns)
    before = attempt.state()
    method = CASES[name].method()
    send(ch, method)
    ch.expect_channel_close(
        403,
        f"ACCESS_REFUSED - {need.permission} access to {need.kind} '{need.name}' in vhost '/' "
        "refused for user 'ann'",
        method=type(method),
    )
    assert attempt.state() == before


@pytest.mark.parametrize("name", CASES)
def test_no_other_permission_is_needed(attempt: Attempt, name: str) -> None:
    case = CASES[name]
    patterns = {
        permission: "|".join(
            f"^{re.escape(need.name)}$" for need in case.needs if need.permission == permission
        )
        for permission in PERMISSIONS
    }
    ch = attempt.allow(patterns)
    send(ch, case.method())
    if case.answer is not None:
        ch.expect(case.answer)
    elif name == "basic.get":
        assert ch._message(Basic.GetOk).body == b"1"
    else:
        ch.expect_nothing()


@pytest.mark.parametrize("kind", ["queue", "exchange"])
def test_a_passive_look_needs_some_permission_on_a_queue(attempt: Attempt, kind: str) -> None:
    """As in RabbitMQ 4; exchanges may be looked at, as in all versions."""
    ch = attempt.allow(dict.fromkeys(PERMISSIONS, "^other$"))
    if kind == "exchange":
        assert ch.exchange_exists("x")
        return
    ch.fails(Queue.Declare(queue="q", passive=True), 403)
    for permission in PERMISSIONS:
        assert attempt.allow({**dict.fromkeys(PERMISSIONS, ""), permission: "^q$"}).queue_exists(
            "q"
        )


@pytest.mark.parametrize("pattern", ["", "^$"])
def test_an_empty_pattern_allows_nothing(attempt: Attempt, pattern: str) -> None:
    ch = attempt.allow(dict.fromkeys(PERMISSIONS, pattern))
    for case in CASES.values():
        send(ch, case.method())
        ch.expect_channel_close(403)
        ch.open()


@pytest.mark.parametrize("name", ["Q", "q ", "q\0", "qq", "\u0430"])
def test_a_name_that_looks_like_an_allowed_one(attempt: Attempt, name: str) -> None:
    ch = attempt.allow(dict.fromkeys(PERMISSIONS, "^q$"))
    before = attempt.state()
    ch.peer.send_raw(wire.queue_declare(ch.number, name, {}))
    ch.expect_channel_close(403)
    assert attempt.state() == before


@pytest.mark.parametrize("name", ["q\n", "q\r", "\nq", "q\r\n"])
def test_line_ends_go_before_a_name_is_looked_at(attempt: Attempt, name: str) -> None:
    ch = attempt.allow(dict.fromkeys(PERMISSIONS, "^q$"))
    before = attempt.state()
    ch.peer.send_raw(wire.queue_declare(ch.number, name, {}))
    assert ch.expect(Queue.DeclareOk).queue == "q"
    assert attempt.state() == before
