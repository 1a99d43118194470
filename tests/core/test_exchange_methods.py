"""exchange.*: a refused method changes nothing, and replies wait for the journal."""

from __future__ import annotations

import pytest
from pamqp import base
from pamqp.commands import Exchange
from pamqp.common import FieldTable

from amqbroker.core.exchange_methods import check_not_default
from amqbroker.errors import ACCESS_REFUSED, ChannelException
from tests.core.house import House, assert_each_waits_for_the_disk
from tests.semantics.peer import Channel


@pytest.mark.parametrize(
    "method",
    [
        Exchange.Declare(exchange="x", exchange_type="fanout"),
        Exchange.Declare(exchange="x", exchange_type="direct", durable=True),
        Exchange.Declare(exchange="x", exchange_type="direct", auto_delete=True),
        Exchange.Declare(exchange="x", exchange_type="direct", internal=True),
        Exchange.Declare(
            exchange="x", exchange_type="direct", arguments={"alternate-exchange": "y"}
        ),
        Exchange.Declare(exchange="x", exchange_type="unheard-of"),
        Exchange.Delete(exchange="x", if_unused=True),
    ],
    ids=lambda method: str(dict(method)),
)
def test_a_refused_method_leaves_the_exchange_as_it_is(
    house: House, ch: Channel, method: base.Frame
) -> None:
    ch.declare_exchange("x", "direct")
    ch.declare_queue("q")
    ch.bind("q", "x", "k")
    before = house.vhost().exchanges["x"]
    ch.fails(method, 406)
    assert house.vhost().exchanges["x"] is before
    ch.publish(b"m", exchange="x", key="k")
    assert ch.get_bodies("q") == [b"m"]


def test_an_alternate_exchange_that_is_no_name_makes_no_exchange(ch: Channel) -> None:
    ch.fails(
        Exchange.Declare(exchange="x", arguments={"alternate-exchange": 5}),
        406,
        "PRECONDITION_FAILED - invalid type 'signedint' for arg 'alternate-exchange' "
        "in exchange 'x' in vhost '/'",
    )
    assert not ch.exchange_exists("x")


@pytest.mark.parametrize(
    ("arguments", "difference"),
    [
        (
            {"hash-header": "order"},
            "'hash-header' for exchange 'x' in vhost '/': received 'order' but current is 'user'",
        ),
        (
            {"hash-property": "message_id"},
            "'hash-header' for exchange 'x' in vhost '/': "
            "received none but current is the value 'user' of type 'longstr'",
        ),
        (
            {"hash-header": "user", "hash-property": "message_id"},
            "'hash-property' for exchange 'x' in vhost '/': "
            "received the value 'message_id' of type 'longstr' but current is none",
        ),
    ],
)
def test_a_redeclaration_hashes_the_same(
    ch: Channel, arguments: FieldTable, difference: str
) -> None:
    ch.declare_exchange("x", "x-consistent-hash", arguments={"hash-header": "user"})
    ch.declare_exchange("x", "x-consistent-hash", arguments={"hash-header": "user", "other": 1})
    declare = Exchange.Declare(exchange="x", exchange_type="x-consistent-hash", arguments=arguments)
    ch.fails(declare, 406, f"PRECONDITION_FAILED - inequivalent arg {difference}")


def test_other_types_ignore_what_the_consistent_hash_is_told(ch: Channel) -> None:
    ch.declare_exchange("x", "direct", arguments={"hash-header": "user", "hash-property": 5})
    ch.declare_exchange("x", "direct", arguments={"hash-header": "order"})


def test_every_durable_change_waits(house: House, ch: Channel) -> None:
    ch.declare_exchange("y", "fanout", durable=True)
    changes: list[tuple[base.Frame, type[base.Frame]]] = [
        (
            Exchange.Declare(exchange="x", exchange_type="fanout", durable=True),
            Exchange.DeclareOk,
        ),
        (Exchange.Bind(destination="x", source="y"), Exchange.BindOk),
        (Exchange.Unbind(destination="x", source="y"), Exchange.UnbindOk),
        (Exchange.Delete(exchange="x"), Exchange.DeleteOk),
    ]
    assert_each_waits_for_the_disk(house, ch, changes)


def test_an_unbind_that_takes_an_auto_delete_exchange_with_it_waits_for_both(
    house: House, ch: Channel
) -> None:
    ch.declare_exchange("x", "fanout", durable=True, auto_delete=True)
    ch.declare_exchange("y", "fanout", durable=True)
    ch.bind_exchange("y", "x")
    ch.call(Exchange.Unbind(destination="y", source="x"), Exchange.UnbindOk)
    house.restart(clean=False)
    ch = house.channel()
    assert not ch.exchange_exists("x")
    assert ch.exchange_exists("y")


def test_nowait_says_nothing_and_does_it_all_the_same(house: House, ch: Channel) -> None:
    ch.send(Exchange.Declare(exchange="x", exchange_type="fanout", nowait=True))
    ch.send(Exchange.Bind(destination="amq.fanout", source="x", nowait=True))
    ch.expect_nothing()
    assert house.vhost().exchanges["x"].has_bindings()
    ch.send(Exchange.Unbind(destination="amq.fanout", source="x", nowait=True))
    ch.send(Exchange.Delete(exchange="x", nowait=True))
    ch.expect_nothing()
    assert not ch.exchange_exists("x")


def test_deleting_an_exchange_takes_its_bindings_from_both_ends(house: House, ch: Channel) -> None:
    for name in ("a", "b", "c"):
        ch.declare_exchange(name, "fanout")
    ch.bind_exchange("b", "a")
    ch.bind_exchange("c", "b")
    ch.call(Exchange.Delete(exchange="b"), Exchange.DeleteOk)
    ch.declare_exchange("b", "fanout")
    assert not any(house.vhost().exchanges[name].has_bindings() for name in ("a", "b", "c"))
    ch.declare_queue("q")
    ch.bind("q", "c")
    ch.publish(b"m", exchange="a", mandatory=True)
    assert ch.expect_return().body == b"m"


def test_the_default_exchange_is_nobodys() -> None:
    check_not_default("x")
    with pytest.raises(ChannelException) as caught:
        check_not_default("")
    assert caught.value.code == ACCESS_REFUSED
