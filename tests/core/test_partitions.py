"""Partitioned queues: made, served, refused and deleted as one."""

from __future__ import annotations

from collections import Counter

import pytest
from pamqp.commands import Exchange, Queue
from pamqp.common import FieldTable

from amqbroker.config import Config, Permission, User
from amqbroker.core.partitions import PARTITION_OF, check_partitions
from amqbroker.errors import ChannelException
from amqbroker.exchanges.base import Table
from amqbroker.exchanges.consistent_hash import ConsistentHashExchange
from tests.core.house import PERSISTENT, House
from tests.semantics.peer import Channel

NAMES = ["orders-0", "orders-1", "orders-2"]


def _arguments(partitions: int = 3, **queue: object) -> FieldTable:
    arguments: FieldTable = {"x-partitions": partitions}
    if queue:
        table: FieldTable = {f"x-{key.replace('_', '-')}": queue[key] for key in queue}  # type: ignore[misc]
        arguments["x-partition-arguments"] = table
    return arguments


def _declare(
    ch: Channel, partitions: int = 3, *, name: str = "orders", durable: bool = True, **queue: object
) -> None:
    arguments = _arguments(partitions, **queue)
    ch.declare_exchange(name, "x-consistent-hash", durable=durable, arguments=arguments)


def _refused(ch: Channel, code: int, text: str, arguments: FieldTable | None = None) -> None:
    ch.send(
        Exchange.Declare(
            exchange="orders",
            exchange_type="x-consistent-hash",
            durable=True,
            arguments=arguments or _arguments(),
        )
    )
    close = ch.expect_channel_close(code)
    assert text in close.reply_text, close.reply_text
    ch.open()


def _exchange(name: str, partitions: int) -> ConsistentHashExchange:
    table: Table = {"x-partitions": partitions}
    return ConsistentHashExchange(name, "x-consistent-hash", False, False, False, table)


class Fussy(House):
    """A node whose user `fussy` may do all to the exchange and most to its queues."""

    kind = ""

    def __init__(self, kind: str) -> None:
        Fussy.kind = kind
        super().__init__()

    @staticmethod
    def _config() -> Config:
        config = House._config()
        most = "^orders(-[01])?$"
        allowed = Permission(
            most if Fussy.kind == "configure" else ".*",
            most if Fussy.kind == "write" else ".*",
            ".*",
        )
        user = User("fussy", password="fussy-pw", permissions={"/": allowed})
        return Config(vhosts=config.vhosts, users=(*config.users, user))


def _contents(ch: Channel, *names: str) -> dict[bytes, str]:
    """Which queue each message is in."""
    return {body: name for name in names or NAMES for body in ch.get_bodies(name)}


def test_one_declare_makes_queues_and_bindings(house: House, ch: Channel) -> None:
    _declare(ch, single_active_consumer=True)
    assert sorted(house.vhost().queues) == NAMES
    for name in NAMES:
        queue = house.queue(name)
        assert queue.durable
        assert queue.arguments == {"x-single-active-consumer": True, PARTITION_OF: "orders"}
    bindings = house.vhost().exchanges["orders"].bindings()
    assert [(binding.destination.name, binding.key) for binding in bindings] == [
        (name, "1") for name in NAMES
    ]


def test_a_key_stays_in_its_partition_in_order(house: House, ch: Channel) -> None:
    _declare(ch)
    for number in range(300):
        ch.publish(b"%d" % number, exchange="orders", key=f"customer {number % 30}")
    homes: dict[int, set[str]] = {}
    for name in NAMES:
        numbers = [int(body) for body in ch.get_bodies(name)]
        assert numbers == sorted(numbers)
        for number in numbers:
            homes.setdefault(number % 30, set()).add(name)
    assert all(len(names) == 1 for names in homes.values())
    assert len(Counter(min(names) for names in homes.values())) == 3


def test_a_restart_brings_it_back_whole(house: House, ch: Channel) -> None:
    _declare(ch)
    ch.publish(b"m", exchange="orders", key="k", properties=PERSISTENT)
    ch.sync()
    house.restart(clean=False)
    ch = house.channel()
    ch.publish(b"n", exchange="orders", key="k")
    found = _contents(ch)
    assert found[b"m"] == found[b"n"]
    ch.call(Exchange.Delete(exchange="orders"), Exchange.DeleteOk)
    house.restart(clean=False)
    assert not house.vhost().queues


def test_the_declare_is_answered_when_all_of_it_is_durable(house: House, ch: Channel) -> None:
    house.disk_is_slow = True
    ch.send(
        Exchange.Declare(
            exchange="orders",
            exchange_type="x-consistent-hash",
            durable=True,
            arguments=_arguments(),
        )
    )
    ch.peer.is_alive()
    assert not ch.peer.waiting()
    house.disk_is_slow = False
    ch.expect(Exchange.DeclareOk)


def test_without_durability_nothing_of_it_survives(house: House, ch: Channel) -> None:
    _declare(ch, durable=False)
    house.restart(clean=True)
    assert not house.vhost().queues
    assert "orders" not in house.vhost().exchanges


def test_declaring_it_again_changes_nothing(house: House, ch: Channel) -> None:
    _declare(ch, max_length=5)
    before = dict(house.vhost().queues)
    _declare(ch, max_length=5)
    assert house.vhost().queues == before
    _refused(ch, 406, "inequivalent arg 'x-partitions'", _arguments(4, max_length=5))
    _refused(ch, 406, "inequivalent arg 'x-partition-arguments'", _arguments(3, max_length=6))
    _refused(ch, 406, "inequivalent arg 'x-partition-arguments'", _arguments(3))
    assert house.vhost().queues == before


def test_an_exchange_without_partitions_gets_none_later(house: House, ch: Channel) -> None:
    ch.declare_exchange("orders", "x-consistent-hash", durable=True)
    _refused(ch, 406, "inequivalent arg 'x-partitions'")
    assert not house.vhost().queues


def test_declaring_it_again_makes_what_was_deleted(house: House, ch: Channel) -> None:
    _declare(ch)
    ch.delete_queue("orders-1")
    ch.publish(b"1", exchange="orders", key="k")
    _declare(ch)
    assert sorted(house.vhost().queues) == NAMES
    assert len(house.vhost().exchanges["orders"].bindings()) == 3


def test_a_queue_of_such_a_name_refuses_all(house: House, ch: Channel) -> None:
    ch.declare_queue("orders-1")
    _refused(
        ch, 406, "queue 'orders-1' in vhost '/' is there and no partition of exchange 'orders'"
    )
    assert list(house.vhost().queues) == ["orders-1"]
    assert "orders" not in house.vhost().exchanges


def test_what_the_queues_cannot_be_refuses_all(house: House, ch: Channel) -> None:
    _refused(ch, 406, "invalid arg 'x-max-priority'", _arguments(3, max_priority=256))
    _refused(ch, 406, "{value_zero,0}", _arguments(3, expires=0))
    with pytest.raises(AssertionError, match="non-durable"):
        _declare(ch, durable=False, queue_type="quorum")
    assert not house.vhost().queues
    assert "orders" not in house.vhost().exchanges


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"x-partitions": 0}, "arg 'x-partitions' must be between 1 and 1000: 0"),
        ({"x-partitions": 1001}, "arg 'x-partitions' must be between 1 and 1000: 1001"),
        ({"x-partitions": "3"}, "invalid type 'longstr' for arg 'x-partitions'"),
        ({"x-partitions": True}, "invalid type 'bool' for arg 'x-partitions'"),
        (
            {"x-partitions": 3, "x-partition-arguments": 5},
            "invalid type 'signedint' for arg 'x-partition-arguments'",
        ),
        ({"x-partition-arguments": {}}, "arg 'x-partition-arguments' without 'x-partitions'"),
    ],
)
def test_bad_arguments(house: House, ch: Channel, arguments: FieldTable, text: str) -> None:
    _refused(ch, 406, text, arguments)
    assert "orders" not in house.vhost().exchanges


def test_names_that_would_be_too_long(house: House, ch: Channel) -> None:
    channel = house.core_channel(ch)
    for count, name in ((10, "x" * 253), (11, "x" * 252)):
        check_partitions(channel, _exchange(name, count))
    with pytest.raises(ChannelException, match="names of more than 255 bytes"):
        check_partitions(channel, _exchange("x" * 253, 11))


def test_auto_delete_is_refused(house: House, ch: Channel) -> None:
    with pytest.raises(AssertionError, match="invalid property 'auto-delete' for partitioned"):
        ch.declare_exchange("orders", "x-consistent-hash", auto_delete=True, arguments=_arguments())
    assert not house.vhost().queues


def test_the_queues_count_in_the_limit_of_the_virtual_host(house: House, ch: Channel) -> None:
    house.vhost().max_queues = 3
    _declare(ch)
    ch.delete_queue("orders-0")
    ch.declare_queue("other")
    _refused(ch, 406, "queue limit in vhost '/' (3) is reached")
    assert len(house.vhost().queues) == 3


def test_it_takes_the_permissions_that_the_single_steps_take(house: House) -> None:
    """alice may do what she wants with names that begin with `mine-`."""
    alice = house.connect("alice").open_channel()
    _declare(alice, name="mine-orders")
    _refused(alice, 403, "configure access to exchange 'orders'")
    arguments = _arguments(3, dead_letter_exchange="others")
    alice.fails(
        Exchange.Declare(exchange="mine-2", exchange_type="x-consistent-hash", arguments=arguments),
        403,
    )
    assert "mine-2" not in house.vhost().exchanges


@pytest.mark.parametrize("kind", ["configure", "write"])
def test_each_queue_needs_permission(kind: str) -> None:
    """To configure it and to write to it, and to configure it to delete it with the exchange."""
    house = Fussy(kind)
    with pytest.raises(AssertionError, match=f"{kind} access to queue 'orders-2'"):
        _declare(house.connect("fussy").open_channel())
    assert not house.vhost().queues
    ch = house.channel()
    _declare(ch)
    fussy = house.connect("fussy").open_channel()
    _declare(fussy)
    if kind == "configure":
        fussy.fails(Exchange.Delete(exchange="orders"), 403)
    else:
        fussy.call(Exchange.Delete(exchange="orders"), Exchange.DeleteOk)


def test_the_queues_go_with_their_exchange(house: House, ch: Channel) -> None:
    """With messages and consumers; other queues that were bound stay."""
    _declare(ch)
    ch.declare_queue("other")
    ch.bind("other", "orders", "5")
    house.channel().consume("orders-0", "c")
    ch.call(Exchange.Delete(exchange="orders"), Exchange.DeleteOk)
    assert list(house.vhost().queues) == ["other"]


def test_a_namesake_that_is_no_partition_stays(house: House, ch: Channel) -> None:
    _declare(ch)
    ch.delete_queue("orders-1")
    ch.declare_queue("orders-1")
    ch.call(Exchange.Delete(exchange="orders"), Exchange.DeleteOk)
    assert list(house.vhost().queues) == ["orders-1"]


def test_unused_is_an_exchange_without_other_bindings_and_consumers(
    house: House, ch: Channel
) -> None:
    _declare(ch)
    unless_used = Exchange.Delete(exchange="orders", if_unused=True)
    ch.consume("orders-2", "c")
    ch.fails(unless_used, 406, "PRECONDITION_FAILED - exchange 'orders' in vhost '/' in use")
    ch.declare_queue("other")
    ch.bind("other", "orders", "1")
    ch.fails(unless_used, 406)
    ch.delete_queue("other")
    ch.call(unless_used, Exchange.DeleteOk)
    assert not house.vhost().queues


def test_consumers_may_declare_their_queue_as_it_is(house: House, ch: Channel) -> None:
    """Frameworks declare what they consume: they need to know the arguments, not whose it is."""
    _declare(ch, max_length=5)
    ch.declare_queue("orders-1", durable=True, arguments={"x-max-length": 5})
    ch.fails(Queue.Declare(queue="orders-1", durable=True), 406)


def test_the_default_type_of_the_virtual_host_is_that_of_partitions(
    house: House, ch: Channel
) -> None:
    house.vhost().default_queue_type = "quorum"
    _declare(ch)
    assert house.queue("orders-0").arguments["x-queue-type"] == "quorum"
    ch.declare_queue("orders-0", durable=True)
    _declare(ch, name="transient", durable=False)
    assert "x-queue-type" not in house.queue("transient-0").arguments


def test_one_consumer_a_partition_with_the_next_in_waiting(house: House, ch: Channel) -> None:
    _declare(ch, 2, single_active_consumer=True)
    first, second = house.channel(), house.channel()
    for worker, names in ((first, ("orders-0", "orders-1")), (second, ("orders-1", "orders-0"))):
        for name in names:
            worker.consume(name, name)
    for number in range(4):
        ch.publish(b"%d" % number, exchange="orders", key="same")
    assert [first.expect_delivery().body for _ in range(4)] == [b"0", b"1", b"2", b"3"]
    first.close()
    assert [second.expect_delivery().body for _ in range(4)] == [b"0", b"1", b"2", b"3"]
