"""Virtual hosts that come and go while the broker runs."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from pamqp.commands import Connection, Queue

from amqbroker.core import definitions
from amqbroker.core.broker import Broker
from amqbroker.management import users, vhosts
from amqbroker.management.errors import BAD_ARGUMENT, NOT_FOUND, ManagementError
from tests.core.house import PERSISTENT, House, core
from tests.management.conftest import Plain
from tests.semantics.peer import Peer


@pytest.fixture
def filled(house: Plain) -> Plain:
    """A node with the virtual host `v`, and `ann` who may do everything in it."""
    vhosts.add_vhost(house.broker, "v", "for tests", ["t1", "t2"], "quorum")
    house.add("ann", vhost="v")
    return house


def test_a_new_vhost_has_the_usual_exchanges_and_outlives_a_crash(filled: Plain) -> None:
    ch = filled.connect("ann", "v").open_channel()
    ch.declare_queue("q", durable=True)
    ch.bind("q", "amq.topic", "a.#")
    ch.fill("q", b"1", properties=PERSISTENT)
    filled.crash()
    ch = filled.connect("ann", "v").open_channel()
    assert ch.must_get("q", no_ack=True).body == b"1"
    ch.publish(b"2", exchange="amq.topic", key="a.b")
    ch.wait_ready("q", 1)
    row = {
        "name": "v",
        "description": "for tests",
        "tags": ["t1", "t2"],
        "default_queue_type": "quorum",
        "tracing": False,
    }
    assert vhosts.list_vhosts(filled.broker)[1] == row


def test_adding_again_changes_what_is_given(filled: Plain) -> None:
    vhosts.add_vhost(filled.broker, "v", description="other")
    vhost = filled.broker.vhosts["v"]
    assert (vhost.description, vhost.tags, vhost.default_queue_type) == (
        "other",
        ("t1", "t2"),
        "quorum",
    )
    vhosts.add_vhost(filled.broker, "v", tags=[], default_queue_type="classic")
    assert (vhost.description, vhost.tags, vhost.default_queue_type) == ("other", (), "classic")


def test_the_default_queue_type_is_that_of_queues_that_permit_it(filled: Plain) -> None:
    ch = filled.connect("ann", "v").open_channel()
    ch.declare_queue("durable", durable=True)
    ch.declare_queue("transient")
    ch.declare_queue("mine", exclusive=True)
    ch.declare_queue("classic", durable=True, arguments={"x-queue-type": "classic"})
    queues = filled.broker.vhosts["v"].queues
    assert {name: queue.arguments for name, queue in queues.items()} == {
        "durable": {"x-queue-type": "quorum"},
        "transient": {},
        "mine": {},
        "classic": {"x-queue-type": "classic"},
    }
    ch.declare_queue("durable", durable=True)


def test_a_deleted_vhost_is_gone_with_all_that_was_in_it(filled: Plain) -> None:
    broker = filled.broker
    users.set_topic_permissions(broker, "v", "ann", "x", "", "")
    peer, other = filled.connect("ann", "v"), filled.connect()
    ch = peer.open_channel()
    ch.declare_queue("q", durable=True)
    ch.declare_queue("mine", exclusive=True)
    ch.declare_exchange("x", durable=True, auto_delete=True)
    ch.declare_exchange("y", durable=True)
    ch.bind("q", "x", "k")
    ch.bind_exchange("y", "x")
    ch.fill("q", b"1", properties=PERSISTENT)
    ch.consume("q")
    ch.expect_delivery(b"1")
    broker.journal.define(definitions.POLICY_KIND + b"\1v\1p", definitions.encode({}))
    vhosts.delete_vhost(broker, "v")
    filled.run()
    peer.expect_connection_close(320, "CONNECTION_FORCED - vhost 'v' is deleted")
    assert other.is_alive()
    assert users.list_user_permissions(broker, "ann") == []
    filled.crash()
    broker = filled.broker
    assert list(broker.vhosts) == ["/"]
    assert users.list_user_permissions(broker, "ann") == []
    assert users.list_user_topic_permissions(broker, "ann") == []
    assert broker.journal.defined(definitions.POLICY_KIND) == []
    vhosts.add_vhost(broker, "v")
    users.set_permissions(broker, "v", "ann", ".*", ".*", ".*")
    ch = filled.connect("ann", "v").open_channel()
    assert not ch.queue_exists("q")
    assert not ch.exchange_exists("y")


def test_a_deleted_default_vhost_stays_deleted(house: Plain) -> None:
    vhosts.delete_vhost(house.broker, "/")
    house.crash()
    assert vhosts.list_vhosts(house.broker) == []
    peer = Peer(house.transport())
    peer.greet()
    peer.log_in()
    peer.tune_ok()
    peer.send(0, Connection.Open("/"))
    peer.expect_connection_close(530, "NOT_ALLOWED - vhost / not found")


def test_limits_hold_at_once_and_are_cleared(house: Plain) -> None:
    broker = house.broker
    ch = house.channel()
    ch.declare_queue("q1")
    vhosts.set_vhost_limits(broker, "/", {"max-connections": 1, "max-queues": 1})
    ch.fails(
        Queue.Declare(queue="q2"),
        406,
        "PRECONDITION_FAILED - cannot declare queue 'q2': queue limit in vhost '/' (1) is reached",
    )
    ch.declare_queue("q1")
    second = Peer(house.transport())
    second.greet()
    second.log_in()
    second.tune_ok()
    second.send(0, Connection.Open("/"))
    second.expect_connection_close(
        530,
        "NOT_ALLOWED - access to vhost '/' refused for user 'guest': connection limit (1) is "
        "reached",
    )
    limits = {"max-connections": 1, "max-queues": 1}
    assert vhosts.list_vhost_limits(broker) == [{"vhost": "/", "limits": limits}]
    vhosts.set_vhost_limits(broker, "/", {"max-queues": 0})
    assert vhosts.list_vhost_limits(broker, "/") == [{"vhost": "/", "limits": {"max-queues": 0}}]
    house.connect()
    ch.fails(Queue.Declare(queue="q2"), 406)
    vhosts.clear_vhost_limits(broker, "/")
    assert vhosts.list_vhost_limits(broker) == []
    ch.declare_queue("q2")


CHANGES: dict[str, Callable[[Broker], int]] = {
    "add_vhost": lambda broker: vhosts.add_vhost(broker, "new"),
    "delete_vhost": lambda broker: vhosts.delete_vhost(broker, "v"),
    "set_vhost_limits": lambda broker: vhosts.set_vhost_limits(broker, "v", {"max-queues": 4}),
    "clear_vhost_limits": lambda broker: vhosts.clear_vhost_limits(broker, "v"),
}


def state(broker: Broker) -> object:
    """All there is to know about virtual hosts."""
    return vhosts.list_vhosts(broker), vhosts.list_vhost_limits(broker)


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("clean", [True, False], ids=["clean", "unclean"])
def test_every_change_outlives_a_restart(
    filled: Plain, change: Callable[[Broker], int], clean: bool
) -> None:
    vhosts.set_vhost_limits(filled.broker, "v", {"max-connections": 7})
    before = state(filled.broker)
    position = change(filled.broker)
    assert not filled.broker.is_durable(position)
    after = state(filled.broker)
    assert after != before
    filled.run()
    filled.restart(clean=clean)
    assert state(filled.broker) == after


@pytest.mark.parametrize(
    "action",
    [
        lambda broker: vhosts.delete_vhost(broker, "nowhere"),
        lambda broker: vhosts.set_vhost_limits(broker, "nowhere", {}),
        lambda broker: vhosts.clear_vhost_limits(broker, "nowhere"),
        lambda broker: vhosts.list_vhost_limits(broker, "nowhere"),
    ],
)
def test_a_vhost_that_does_not_exist(house: Plain, action: Callable[[Broker], object]) -> None:
    with pytest.raises(ManagementError) as caught:
        action(house.broker)
    assert (caught.value.code, caught.value.text) == (
        NOT_FOUND,
        "Virtual host 'nowhere' does not exist",
    )


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"name": ""}, "a virtual host must have a name"),
        ({"name": "v", "tags": [""]}, "a tag must have a name"),
        ({"name": "v", "description": "x" * 4097}, "a description has at most 4096 bytes"),
        (
            {"name": "v", "default_queue_type": "stream"},
            "Unsupported default queue type 'stream': classic and quorum are supported",
        ),
    ],
)
def test_what_cannot_be_a_vhost(house: Plain, values: dict[str, str], text: str) -> None:
    with pytest.raises(ManagementError) as caught:
        vhosts.add_vhost(house.broker, **values)
    assert (caught.value.code, caught.value.text) == (BAD_ARGUMENT, text)
    assert list(house.broker.vhosts) == ["/"]


def test_the_configuration_has_the_last_word_on_what_it_names() -> None:
    house = House()
    broker = core(house.node)
    ch = house.channel()
    ch.declare_queue("q", durable=True)
    vhosts.set_vhost_limits(broker, "other", {"max-queues": 0})
    vhosts.delete_vhost(broker, "/")
    assert "configuration, which has the last word at the next start" in vhosts.note(broker, "/")
    house.run()
    house.restart(clean=False)
    broker = core(house.node)
    assert vhosts.list_vhost_limits(broker) == []
    ch = house.channel()
    assert not ch.queue_exists("q")
