"""Users, virtual hosts, topic permissions and limits that change while clients are connected
(facts 34, 40, 42, 69, 119, 132, 236, 237). In memory: RabbitMQ's clients cannot ask for that.
"""

from __future__ import annotations

import pytest
from pamqp import commands
from pamqp.commands import Basic, Connection, Exchange, Queue

from amqbroker.auth.certificates import TlsPeer
from amqbroker.auth.passwords import rabbit_hash
from amqbroker.core.broker import Broker
from amqbroker.management import users, vhosts

from .conftest import Bench
from .marks import fact
from .peer import Channel, Peer
from .transports import NodeBroker


def _node(bench: Bench) -> NodeBroker:
    assert isinstance(bench.broker, NodeBroker)
    return bench.broker


def _broker(bench: Bench) -> Broker:
    return _node(bench).node.broker


def _ann(bench: Bench) -> Channel:
    """A channel of `ann`, who is new and may do everything on `/`."""
    broker = _broker(bench)
    users.add_user(broker, "ann", rabbit_hash(b"ann-pw", b"salt"))
    users.set_permissions(broker, "/", "ann", ".*", ".*", ".*")
    return bench.connect("ann", "ann-pw").open_channel()


def _opening(bench: Bench, user: str = "guest") -> Peer:
    """A peer that has asked to open `/`."""
    peer = bench.raw()
    peer.greet()
    peer.log_in(user, "guest" if user == "guest" else f"{user}-pw")
    peer.tune_ok()
    peer.send(0, Connection.Open("/"))
    return peer


# Limits.


@fact(34)
def test_fact_034_a_limit_of_a_vhosts_connections(memory_bench: Bench) -> None:
    first = memory_bench.connect()
    vhosts.set_vhost_limits(_broker(memory_bench), "/", {"max-connections": 1})
    _opening(memory_bench).expect_connection_close(
        530,
        "NOT_ALLOWED - access to vhost '/' refused for user 'guest': connection limit (1) is "
        "reached",
        method=Connection.Open,
    )
    first.close()
    memory_bench.connect()


@fact(34)
def test_fact_034_a_limit_of_a_users_connections(memory_bench: Bench) -> None:
    first = _ann(memory_bench).peer
    users.set_user_limits(_broker(memory_bench), "ann", {"max-connections": 1})
    _opening(memory_bench, "ann").expect_connection_close(
        530,
        "NOT_ALLOWED - connection refused for user 'ann': user connection limit (1) is reached",
        method=Connection.Open,
    )
    memory_bench.connect()
    first.drop()
    memory_bench.connect("ann", "ann-pw")


@fact(69)
def test_fact_069_a_limit_of_a_users_channels(memory_bench: Bench) -> None:
    """It counts all connections of the user."""
    _ann(memory_bench)
    users.set_user_limits(_broker(memory_bench), "ann", {"max-channels": 2})
    second = memory_bench.connect("ann", "ann-pw")
    second.open_channel().close()
    second.open_channel()
    second.send(7, commands.Channel.Open())
    close = second.expect_connection_close(
        530,
        "NOT_ALLOWED - number of channels opened for user 'ann' has reached the maximum allowed "
        "user limit of (2)",
    )
    assert (close.class_id, close.method_id) == (0, 0)
    memory_bench.connect().open_channel()


@fact(132)
def test_fact_132_a_limit_of_a_vhosts_queues(memory_bench: Bench) -> None:
    ch = memory_bench.channel()
    ch.declare_queue("q1")
    vhosts.set_vhost_limits(_broker(memory_bench), "/", {"max-queues": 1})
    ch.declare_queue("q1")
    ch.fails(
        Queue.Declare(queue="q2"),
        406,
        "PRECONDITION_FAILED - cannot declare queue 'q2': queue limit in vhost '/' (1) is reached",
    )
    ch.delete_queue("q1")
    ch.declare_queue("q2")


@fact(119)
def test_fact_119_a_vhosts_default_type_where_the_flags_permit_it(memory_bench: Bench) -> None:
    vhosts.add_vhost(_broker(memory_bench), "/", default_queue_type="quorum")
    ch = memory_bench.channel()
    ch.declare_queue("q", durable=True)
    ch.declare_queue("q", durable=True, arguments={"x-queue-type": "quorum"})
    ch.fails(Queue.Declare(queue="q", durable=True, arguments={"x-queue-type": "classic"}), 406)
    ch.declare_queue("transient")
    ch.declare_queue("transient", arguments={"x-queue-type": "classic"})


# Ends.


@fact(40)
def test_fact_040_a_deleted_users_connections_are_closed(memory_bench: Bench) -> None:
    peer = _ann(memory_bench).peer
    users.delete_user(_broker(memory_bench), "ann")
    peer.expect_connection_close(320, "CONNECTION_FORCED - user 'ann' is deleted")


@fact(40)
def test_fact_040_a_deleted_vhosts_connections_are_closed(memory_bench: Bench) -> None:
    peer = memory_bench.connect("stranger", "stranger-pw", "other")
    here = memory_bench.connect()
    vhosts.delete_vhost(_broker(memory_bench), "other")
    peer.expect_connection_close(320, "CONNECTION_FORCED - vhost 'other' is deleted")
    assert here.is_alive()


@fact(42)
def test_fact_042_a_certificate_that_expires_ends_its_connection(memory_bench: Bench) -> None:
    tls = TlsPeer("TLSv1.3", "TLS_AES_256_GCM_SHA384", True, "alice", 0.1, 60.0)
    peer = Peer(_node(memory_bench).transport("192.0.2.1", ("EXTERNAL",), tls))
    memory_bench.peers.append(peer)
    peer.greet()
    peer.start_ok("EXTERNAL", "")
    peer.tune_ok()
    peer.open()
    memory_bench.advance(59.0)
    assert peer.is_alive()
    memory_bench.advance(1.1)
    peer.expect_connection_close(320, "CONNECTION_FORCED - credential expired")


# Permissions.


@fact(236)
def test_fact_236_a_revoked_permission_holds_from_the_next_method_on(memory_bench: Bench) -> None:
    ch = _ann(memory_bench)
    ch.declare_queue("q")
    for _ in range(20):
        ch.publish(b"m", key="q")
    ch.wait_ready("q", 20)
    users.set_permissions(_broker(memory_bench), "/", "ann", "", "", "")
    refused = "ACCESS_REFUSED - {} access to {} in vhost '/' refused for user 'ann'"
    ch.publish(b"m", key="q")
    ch.expect_channel_close(403, refused.format("write", "exchange 'amq.default'"))
    ch.open()
    ch.fails(Basic.Get(queue="q"), 403, refused.format("read", "queue 'q'"))
    ch.fails(Queue.Delete(queue="q"), 403, refused.format("configure", "queue 'q'"))
    users.set_permissions(_broker(memory_bench), "/", "ann", ".*", ".*", ".*")
    ch.publish(b"m", key="q")
    ch.wait_ready("q", 21)


@fact(236)
def test_fact_236_a_consumer_keeps_what_it_was_allowed(memory_bench: Bench) -> None:
    """As in RabbitMQ 3.13: reading was asked for when it began."""
    ch = _ann(memory_bench)
    ch.declare_queue("q")
    ch.consume("q", no_ack=True)
    users.clear_permissions(_broker(memory_bench), "/", "ann")
    memory_bench.channel().publish(b"m", key="q")
    assert ch.expect_delivery().body == b"m"


TOPIC_TEXT = (
    "ACCESS_REFUSED - {} access to topic '{}' in exchange 'amq.topic' in vhost '/' refused for "
    "user 'ann'"
)


@pytest.fixture
def topical(memory_bench: Bench) -> Channel:
    """A channel of `ann`, who may publish below `ann.` and bind below `news.` on amq.topic."""
    ch = _ann(memory_bench)
    users.set_topic_permissions(
        _broker(memory_bench), "/", "ann", "amq.topic", r"^{username}\.", r"^news\."
    )
    ch.declare_queue("q")
    return ch


@fact(237)
def test_fact_237_publishing_needs_write_on_the_routing_key(topical: Channel) -> None:
    topical.publish(b"m", exchange="amq.topic", key="ann.x")
    topical.expect_nothing()
    for key in ("bob.x", "", "annx"):
        topical.publish(b"m", exchange="amq.topic", key=key)
        topical.expect_channel_close(403, TOPIC_TEXT.format("write", key), method=Basic.Publish)
        topical.open()


@fact(237)
@pytest.mark.parametrize("name", ["CC", "BCC"])
def test_fact_237_copies_need_it_too(topical: Channel, name: str) -> None:
    topical.publish(
        b"m",
        exchange="amq.topic",
        key="ann.x",
        properties=Basic.Properties(headers={name: ["ann.y", "bob.x"]}),
    )
    topical.expect_channel_close(403, TOPIC_TEXT.format("write", "bob.x"))


@fact(237)
def test_fact_237_binding_needs_read_on_the_binding_key(topical: Channel) -> None:
    topical.bind("q", "amq.topic", "news.#")
    for method in (Queue.Bind, Queue.Unbind):
        for key in ("#", "*.x", "ann.x"):
            topical.fails(
                method(queue="q", exchange="amq.topic", routing_key=key),
                403,
                TOPIC_TEXT.format("read", key),
            )
    topical.declare_exchange("x", "fanout")
    for other in (Exchange.Bind, Exchange.Unbind):
        topical.fails(
            other(destination="x", source="amq.topic", routing_key="#"),
            403,
            TOPIC_TEXT.format("read", "#"),
        )


@fact(237)
def test_fact_237_other_exchanges_and_users_are_free(topical: Channel, memory_bench: Bench) -> None:
    topical.declare_exchange("mine", "topic")
    users.set_topic_permissions(_broker(memory_bench), "/", "ann", "amq.direct", "^$", "^$")
    for exchange in ("mine", "amq.direct"):
        topical.bind("q", exchange, "k")
        topical.publish(b"m", exchange=exchange, key="k")
    topical.wait_ready("q", 2)
    guest = memory_bench.channel()
    guest.publish(b"m", exchange="amq.topic", key="bob.x")
    guest.expect_nothing()


@fact(237)
def test_fact_237_what_stands_in_braces(memory_bench: Bench) -> None:
    """`{username}` and `{vhost}` are put in to the letter; AMQP clients have no `{client_id}`."""
    ch = _ann(memory_bench)
    users.set_topic_permissions(
        _broker(memory_bench), "/", "ann", "amq.topic", "^{vhost}/{username}/{client_id}$", ""
    )
    ch.publish(b"m", exchange="amq.topic", key="//ann/{client_id}")
    ch.expect_nothing()
    ch.publish(b"m", exchange="amq.topic", key="//ann/ann")
    ch.expect_channel_close(403)
    ch.open()
    ch.fails(Queue.Bind(queue="", exchange="amq.topic", routing_key="news"), 404)
    ch.declare_queue("q")
    ch.fails(Queue.Bind(queue="q", exchange="amq.topic", routing_key="news"), 403)


@fact(237)
def test_fact_237_a_name_is_no_pattern(memory_bench: Bench) -> None:
    broker = _broker(memory_bench)
    users.add_user(broker, ".*", rabbit_hash(b"secret", b"salt"))
    users.set_permissions(broker, "/", ".*", ".*", ".*", ".*")
    users.set_topic_permissions(broker, "/", ".*", "amq.topic", "^{username}$", "")
    ch = memory_bench.connect(".*", "secret").open_channel()
    ch.publish(b"m", exchange="amq.topic", key=".*")
    ch.expect_nothing()
    ch.publish(b"m", exchange="amq.topic", key="anything")
    ch.expect_channel_close(403)
