"""Users, virtual hosts and what they may do (facts 27, 34, 35, 93, 98, 122, 125, 140, 143, 163,
234, 235).
"""

from __future__ import annotations

import pytest
from pamqp.commands import Basic, Connection, Exchange, Queue

from .conftest import Bench
from .marks import differs_on_reference, fact
from .peer import Channel

OLD_TEXT = differs_on_reference("the leading word of the text came after 3.10")


def _alice(bench: Bench) -> Channel:
    """A channel of `alice`, who may do anything to what is called `mine-…` and nothing else."""
    return bench.connect("alice", "alice-pw").open_channel()


def _refused(access: str, kind: str, name: str) -> str:
    return (
        f"ACCESS_REFUSED - {access} access to {kind} '{name}' in vhost '/' refused for user 'alice'"
    )


@fact(34)
def test_fact_034_vhost_refused(broker_with_users: Bench) -> None:
    peer = broker_with_users.raw()
    peer.greet()
    peer.log_in("stranger", "stranger-pw")
    peer.tune_ok()
    peer.send(0, Connection.Open(virtual_host="/"))
    peer.expect_connection_close(
        530,
        "NOT_ALLOWED - access to vhost '/' refused for user 'stranger'",
        method=Connection.Open,
    )


@fact(35)
def test_fact_035_existence_is_checked_before_permission(broker_with_users: Bench) -> None:
    peer = broker_with_users.raw()
    peer.greet()
    peer.log_in("stranger", "stranger-pw")
    peer.tune_ok()
    peer.send(0, Connection.Open(virtual_host="nowhere"))
    peer.expect_connection_close(530, "NOT_ALLOWED - vhost nowhere not found")


@fact(34)
def test_fact_034_vhosts_are_worlds_of_their_own(broker_with_users: Bench) -> None:
    here = broker_with_users.channel()
    there = broker_with_users.connect("stranger", "stranger-pw", "other").open_channel()
    queue = broker_with_users.name()
    here.declare_queue(queue)
    assert not there.queue_exists(queue)
    there.declare_queue(queue, exclusive=True)
    here.fill(queue, b"here")
    assert there.get(queue) is None
    there.fails(
        Queue.Declare(queue="missing", passive=True),
        404,
        "NOT_FOUND - no queue 'missing' in vhost 'other'",
    )


@fact(27)
def test_fact_027_guest_may_only_come_from_this_host(memory_bench: Bench) -> None:
    peer = memory_bench.raw("192.0.2.7")
    peer.greet()
    peer.log_in()
    peer.expect_connection_close(
        403,
        "ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN. "
        "For details see the broker logfile.",
    )


@fact(27)
def test_fact_027_other_users_may_come_from_anywhere(broker_with_users: Bench) -> None:
    if not broker_with_users.in_memory:
        pytest.skip("needs an address of another host")
    peer = broker_with_users.raw("192.0.2.7")
    peer.handshake("alice", "alice-pw")
    assert peer.is_alive()


@fact(140)
@OLD_TEXT
def test_fact_140_publishing_needs_write_on_the_exchange(broker_with_users: Bench) -> None:
    ch = _alice(broker_with_users)
    for exchange, shown in (("amq.direct", "amq.direct"), ("", "amq.default")):
        ch.publish(exchange=exchange, key="k")
        ch.expect_channel_close(403, _refused("write", "exchange", shown), method=Basic.Publish)
        ch.open()


@fact(137, 140)
def test_fact_137_permission_comes_before_existence(broker_with_users: Bench) -> None:
    ch = _alice(broker_with_users)
    ch.publish(exchange=broker_with_users.name("missing"))
    ch.expect_channel_close(403, method=Basic.Publish)
    ch.open()
    ch.publish(exchange=broker_with_users.name("mine"))
    ch.expect_channel_close(404, method=Basic.Publish)


@fact(163)
@OLD_TEXT
def test_fact_163_consuming_needs_read(broker_with_users: Bench) -> None:
    owner, ch = broker_with_users.channel(), _alice(broker_with_users)
    queue = broker_with_users.name("theirs")
    owner.declare_queue(queue)
    for question in (
        Basic.Consume(queue=queue),
        Basic.Get(queue=queue),
        Queue.Purge(queue=queue),
    ):
        ch.fails(question, 403, _refused("read", "queue", queue))


@fact(98)
@OLD_TEXT
def test_fact_098_binding_needs_write_and_read(broker_with_users: Bench) -> None:
    owner, ch = broker_with_users.channel(), _alice(broker_with_users)
    mine, theirs = broker_with_users.name("mine"), broker_with_users.name("theirs")
    my_x, their_x = broker_with_users.name("mine"), broker_with_users.name("theirs")
    ch.declare_queue(mine)
    ch.declare_exchange(my_x)
    owner.declare_queue(theirs)
    owner.declare_exchange(their_x)
    ch.bind(mine, my_x, "k")
    for method in (Queue.Bind, Queue.Unbind):
        ch.fails(
            method(queue=theirs, exchange=my_x, routing_key="k"),
            403,
            _refused("write", "queue", theirs),
        )
        ch.fails(
            method(queue=mine, exchange=their_x, routing_key="k"),
            403,
            _refused("read", "exchange", their_x),
        )
    ch.fails(
        Exchange.Bind(destination=their_x, source=my_x, routing_key="k"),
        403,
        _refused("write", "exchange", their_x),
    )
    ch.fails(
        Exchange.Bind(destination=my_x, source=their_x, routing_key="k"),
        403,
        _refused("read", "exchange", their_x),
    )


@fact(234, 235)
@OLD_TEXT
def test_fact_234_declaring_and_deleting_need_configure(broker_with_users: Bench) -> None:
    owner, ch = broker_with_users.channel(), _alice(broker_with_users)
    queue, x = broker_with_users.name("theirs"), broker_with_users.name("theirs")
    owner.declare_queue(queue)
    owner.declare_exchange(x)
    for question in (Queue.Declare(queue=queue), Queue.Delete(queue=queue)):
        ch.fails(question, 403, _refused("configure", "queue", queue))
    for other in (Exchange.Declare(exchange=x), Exchange.Delete(exchange=x)):
        ch.fails(other, 403, _refused("configure", "exchange", x))


@fact(234)
def test_fact_234_what_matches_is_allowed(broker_with_users: Bench) -> None:
    ch = _alice(broker_with_users)
    queue, x = broker_with_users.name("mine"), broker_with_users.name("mine")
    ch.declare_queue(queue)
    ch.declare_exchange(x, "fanout")
    ch.bind(queue, x)
    ch.publish(b"m", exchange=x)
    ch.wait_ready(queue, 1)
    assert ch.must_get(queue, no_ack=True).body == b"m"
    ch.delete_queue(queue)


@fact(93)
@OLD_TEXT
def test_fact_093_alternate_exchange_needs_write(broker_with_users: Bench) -> None:
    ch = _alice(broker_with_users)
    ch.fails(
        Exchange.Declare(
            exchange=broker_with_users.name("mine"),
            exchange_type="direct",
            arguments={"alternate-exchange": "amq.fanout"},
        ),
        403,
        _refused("write", "exchange", "amq.fanout"),
    )


@fact(122)
@OLD_TEXT
def test_fact_122_dead_letter_exchange_needs_write(broker_with_users: Bench) -> None:
    ch = _alice(broker_with_users)
    ch.fails(
        Queue.Declare(
            queue=broker_with_users.name("mine"),
            arguments={"x-dead-letter-exchange": "amq.fanout"},
        ),
        403,
        _refused("write", "exchange", "amq.fanout"),
    )


@fact(125)
@differs_on_reference("3.10 asks for no permission")
def test_fact_125_passive_declare_needs_some_permission(broker_with_users: Bench) -> None:
    owner, ch = broker_with_users.channel(), _alice(broker_with_users)
    mine, theirs = broker_with_users.name("mine"), broker_with_users.name("theirs")
    owner.declare_queue(mine)
    owner.declare_queue(theirs)
    ch.declare_queue(mine, passive=True)
    ch.fails(Queue.Declare(queue=theirs, passive=True), 403)


@fact(143)
def test_fact_143_impersonators_may_name_another_user(broker_with_users: Bench) -> None:
    ch = broker_with_users.connect("impersonator", "impersonator-pw").open_channel()
    queue = broker_with_users.name()
    ch.declare_queue(queue)
    ch.fill(queue, b"m", properties=Basic.Properties(user_id="somebody"))
    assert ch.must_get(queue).properties.user_id == "somebody"
