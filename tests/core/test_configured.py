"""What the configuration makes of a data folder at each start."""

from __future__ import annotations

from random import Random

from amqbroker.auth.passwords import rabbit_hash, verify
from amqbroker.auth.permissions import CONFIGURE, QUEUE, READ
from amqbroker.auth.users import NO_LIMIT, User, UserStore
from amqbroker.config import Config, Permission, TopicPermission, Vhost
from amqbroker.config import User as ConfiguredUser
from amqbroker.core import definitions
from amqbroker.core.broker import Broker
from amqbroker.core.configured import (
    apply_changes,
    apply_config,
    guest_is_known,
    is_configured_user,
    is_configured_vhost,
)
from amqbroker.core.recovery import restore
from amqbroker.store.journal import Journal
from amqbroker.wire.handshake import Offer
from tests.semantics.transports import MemoryDisk

FIXED_HASH = rabbit_hash(b"fixed", b"salt")


class Folder:
    """A data folder that is started with one configuration after the other."""

    def __init__(self) -> None:
        self._disk = MemoryDisk()

    def start(self, config: Config) -> Broker:
        """Write what the start before has left, and start."""
        journal, recovered = self._disk.open()
        offer = Offer({}, ["PLAIN"], 0, 0, 0)
        broker = Broker(config, offer, UserStore([], []), journal, Random(1))
        restore(broker, recovered)
        apply_config(broker)
        self.write(journal)
        return broker

    def write(self, journal: Journal) -> None:
        """All that waits."""
        batch = journal.take_batch()
        if batch is not None:
            self._disk.write(batch)
            journal.synced(batch.position)


def found(broker: Broker, name: str) -> User:
    user = broker.users.get(name)
    assert user is not None
    return user


def test_the_first_start_makes_guest_and_the_default_vhost() -> None:
    broker = Folder().start(Config())
    guest = found(broker, "guest")
    assert guest.tags == ("administrator",)
    assert verify(guest.password_hash, b"guest")
    assert guest.may(CONFIGURE, QUEUE, "any", "/")
    assert list(broker.vhosts) == ["/"]


def test_only_the_first() -> None:
    folder = Folder()
    broker = folder.start(Config())
    broker.journal.undefine(definitions.user_key("guest"))
    broker.journal.undefine(definitions.vhost_key("/"))
    folder.write(broker.journal)
    broker = folder.start(Config())
    assert (broker.users.users, broker.vhosts) == ({}, {})


def test_a_first_start_with_users_of_its_own_makes_no_guest() -> None:
    folder = Folder()
    named = Config(users=(ConfiguredUser("a", password="secret"),), vhosts=(Vhost("v"),))
    broker = folder.start(named)
    assert (list(broker.users.users), list(broker.vhosts)) == (["a"], ["v"])
    broker = folder.start(Config())
    assert (list(broker.users.users), list(broker.vhosts)) == ([], ["v"])


def test_users_of_the_configuration_are_what_it_says() -> None:
    config = Config(
        users=(
            ConfiguredUser(
                "a",
                password="secret",
                tags=("t",),
                permissions={"/": Permission("c", "w", "r")},
                topic_permissions={"/": {"amq.topic": TopicPermission("^{username}$", "r")}},
                max_connections=2,
            ),
            ConfiguredUser("b", password_hash=FIXED_HASH, max_channels=3),
        )
    )
    broker = Folder().start(config)
    first, second = found(broker, "a"), found(broker, "b")
    assert first.password_hash is not None
    assert "secret" not in first.password_hash
    assert verify(first.password_hash, b"secret")
    assert not verify(first.password_hash, b"Secret")
    assert first.may(CONFIGURE, QUEUE, "c", "/")
    assert not first.may(READ, QUEUE, "w", "/")
    topic = first.topic_permissions["/"]["amq.topic"]
    assert topic.allow("write", "a")
    assert not topic.allow("write", "aa")
    assert (first.max_connections, first.max_channels) == (2, NO_LIMIT)
    assert (second.password_hash, second.tags) == (FIXED_HASH, ())
    assert (second.max_connections, second.max_channels) == (NO_LIMIT, 3)
    assert is_configured_user(broker, "a")
    assert not is_configured_user(broker, "guest")


def test_users_go_with_their_line_and_vhosts_stay() -> None:
    folder = Folder()
    user = ConfiguredUser("a", password="secret", permissions={"v": Permission(".*", ".*", ".*")})
    folder.start(Config(users=(user,), vhosts=(Vhost("v", max_queues=3),)))
    broker = folder.start(Config(users=(ConfiguredUser("b", password="x"),)))
    assert list(broker.users.users) == ["b"]
    assert broker.vhosts["v"].max_queues == 3
    assert not is_configured_vhost(broker, "v")


def test_a_named_user_of_the_data_folder_is_the_configurations_from_then_on() -> None:
    folder = Folder()
    folder.start(Config())
    named = Config(users=(ConfiguredUser("guest", password="another"),))
    broker = folder.start(named)
    assert verify(found(broker, "guest").password_hash, b"another")
    assert not found(broker, "guest").may_enter("/")
    assert any("user 'guest' of the data folder is replaced" in x.text for x in broker.log_lines)
    assert not any("replaced" in line.text for line in folder.start(named).log_lines)
    assert folder.start(Config()).users.users == {}


def test_vhosts_are_brought_to_what_the_configuration_says() -> None:
    folder = Folder()
    first = Vhost("v", description="one", tags=("t",), max_queues=3)
    folder.start(Config(vhosts=(first,)))
    second = Vhost("v", description="two", default_queue_type="quorum", max_connections=4)
    vhost = folder.start(Config(vhosts=(second,))).vhosts["v"]
    assert (vhost.description, vhost.tags, vhost.default_queue_type) == ("two", (), "quorum")
    assert (vhost.max_connections, vhost.max_queues) == (4, NO_LIMIT)


def test_a_start_that_changes_nothing_writes_nothing() -> None:
    folder = Folder()
    config = Config(users=(ConfiguredUser("a", password="x"),), vhosts=(Vhost("v"),))
    folder.start(config)
    broker = folder.start(config)
    assert broker.journal.is_idle()
    assert broker.journal.take_batch() is None


def test_nobody_at_all_is_worth_a_warning() -> None:
    folder = Folder()
    broker = folder.start(Config())
    broker.journal.undefine(definitions.user_key("guest"))
    folder.write(broker.journal)
    assert [line.text for line in folder.start(Config()).log_lines] == [
        "there is no user: nobody can log in until one is added"
    ]


def reconfigured(broker: Broker, config: Config) -> int:
    """Take over another configuration; the position to wait for."""
    before, broker.config = broker.config, config
    return apply_changes(broker, before)


def test_a_running_broker_takes_over_what_differs() -> None:
    folder = Folder()
    ann = ConfiguredUser("ann", password="one", permissions={"/": Permission(".*")})
    bob = ConfiguredUser("bob", password="bob")
    broker = folder.start(Config(vhosts=(Vhost("/"),), users=(ann, bob)))
    user = broker.users.get("ann")
    unchanged = broker.users.get("bob")
    assert user is not None
    assert unchanged is not None
    unchanged.tags = ("by hand",)
    after = ConfiguredUser("ann", password="two", tags=("monitoring",), max_channels=3)
    vhosts = (Vhost("/", max_queues=5), Vhost("v"))
    cid = ConfiguredUser("cid", password="cid")
    assert reconfigured(broker, Config(vhosts=vhosts, users=(after, bob, cid))) > 0
    assert broker.users.get("ann") is user
    assert verify(user.password_hash, b"two")
    assert (user.tags, user.permissions, user.max_channels) == (("monitoring",), {}, 3)
    assert unchanged.tags == ("by hand",)
    assert broker.users.get("cid") is not None
    assert broker.vhosts["/"].max_queues == 5
    assert "v" in broker.vhosts


def test_a_user_that_is_named_no_longer_goes_and_a_virtual_host_stays() -> None:
    ann = ConfiguredUser("ann", password="one")
    broker = Folder().start(Config(vhosts=(Vhost("/"), Vhost("v")), users=(ann,)))
    reconfigured(broker, Config(vhosts=(Vhost("/"),)))
    assert broker.users.get("ann") is None
    assert "v" in broker.vhosts


def test_a_user_of_the_folder_that_comes_to_be_named_is_the_configurations() -> None:
    folder = Folder()
    broker = folder.start(Config())
    guest = broker.users.get("guest")
    named = ConfiguredUser("guest", password="other")
    assert reconfigured(broker, Config(users=(named,))) > 0
    assert broker.users.get("guest") is guest
    assert guest is not None
    assert verify(guest.password_hash, b"other")
    folder.write(broker.journal)
    assert folder.start(Config()).users.get("guest") is None


def test_a_guest_whose_password_everybody_knows() -> None:
    folder = Folder()
    broker = folder.start(Config())
    assert guest_is_known(broker)
    found(broker, "guest").set_password_hash(FIXED_HASH)
    assert not guest_is_known(broker)
    found(broker, "guest").set_password_hash(None)
    assert not guest_is_known(broker)
    broker.users.remove("guest")
    assert not guest_is_known(broker)
