"""A restart: what it must not mix up, and what it says in the log."""

from __future__ import annotations

import pytest
from pamqp.commands import Basic

from amqbroker.auth.passwords import rabbit_hash
from amqbroker.core import definitions
from amqbroker.core.queue import Queue
from amqbroker.core.recovery import restore
from amqbroker.errors import DiskError
from amqbroker.management import users
from amqbroker.message import Entry
from amqbroker.store.journal import Journal
from amqbroker.store.recovery import Problem, Recovered, RecoveredFile, fold
from amqbroker.wire.tables import encode_table
from tests.core.house import PERSISTENT, House, Restartable, core, make_broker, make_message
from tests.semantics.peer import Channel

clean_or_not = pytest.mark.parametrize("clean", [True, False], ids=["clean", "unclean"])


def test_a_queue_that_never_held_a_message_keeps_its_id() -> None:
    home = Restartable()
    old, _ = home.broker.create_queue(home.vhost, "old", True, False, None, {})
    home.restart()
    new, _ = home.broker.create_queue(home.vhost, "new", True, False, None, {})
    assert home.vhost.queues["old"].id == old.id
    assert new.id != old.id


@clean_or_not
def test_messages_of_a_deleted_queue_are_not_those_of_the_next(
    house: House, ch: Channel, clean: bool
) -> None:
    ch.declare_queue("q", durable=True)
    ch.fill("q", b"old", properties=PERSISTENT)
    ch.delete_queue("q")
    house.restart(clean=clean)
    ch = house.channel()
    ch.declare_queue("q", durable=True)
    ch.fill("q", b"new", properties=PERSISTENT)
    house.restart(clean=clean)
    assert house.channel().get_bodies("q") == [b"new"]


@clean_or_not
def test_new_messages_come_after_those_of_before(house: House, ch: Channel, clean: bool) -> None:
    """The indexes go on, also when all messages of a queue are gone, and over several restarts."""
    ch.declare_queue("q", durable=True)
    for number in range(4):
        ch.publish(b"%d" % number, key="q", properties=PERSISTENT)
        if number == 1:
            for _ in range(2):
                ch.ack(ch.must_get("q").tag)
            house.advance(1.0)
        house.restart(clean=clean)
        ch = house.channel()
    assert ch.get_bodies("q") == [b"2", b"3"]


def test_one_message_in_several_queues_is_settled_in_each(house: House, ch: Channel) -> None:
    for queue in ("a", "b"):
        ch.declare_queue(queue, durable=True)
        ch.bind(queue, "amq.fanout")
    ch.publish(b"m", exchange="amq.fanout", properties=PERSISTENT)
    ch.ack(ch.must_get("a").tag)
    house.advance(1.0)
    house.restart(clean=False)
    ch = house.channel()
    assert (ch.get_bodies("a"), ch.get_bodies("b")) == ([], [b"m"])


def test_queues_of_a_vhost_without_a_record_bring_it_back() -> None:
    queue = Queue(make_broker().turn, 7, "q", True, False, None, {"x-max-length": 5})
    recovered = Recovered()
    recovered.definitions[definitions.queue_key("old", "q")] = definitions.queue_value(queue)
    broker = make_broker(Journal(recovered))
    restore(broker, recovered)
    assert broker.vhosts["old"].queues["q"].arguments == {"x-max-length": 5}
    assert definitions.vhost_key("old") in broker.journal.defined(definitions.VHOST_KIND)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (definitions.queue_key("/", "q"), b"no table"),
        (definitions.queue_key("/", "q"), encode_table({"arguments": {}})),
        (definitions.queue_key("/", "q")[:3], encode_table({})),
        (definitions.vhost_key("/"), encode_table({})),
        (definitions.BINDING_KIND + b"\x01/", b""),
    ],
)
def test_a_definition_that_makes_no_sense_stops_the_start(key: bytes, value: bytes) -> None:
    recovered = Recovered()
    recovered.definitions[key] = value
    with pytest.raises(DiskError, match=r"^a definition in the data folder cannot be used, b'"):
        restore(make_broker(Journal(recovered)), recovered)


def test_messages_that_no_queue_claims_are_counted_in_the_log(house: House, ch: Channel) -> None:
    ch.declare_queue("q", durable=True)
    ch.fill("q", b"1", b"2", properties=PERSISTENT)
    ch.delete_queue("q")
    house.restart(clean=False)
    house.run()
    assert "2 messages of queues that were deleted are left out" in house.log_lines


def damaged(*queue_ids: int) -> Recovered:
    """A message in each of these queues, which nothing defines, and damage."""
    recovered = Recovered()
    recovered.files.append(RecoveredFile(1, 100))
    recovered.files[0].blocks = 1
    recovered.problems.append(Problem("journal-000000000001", 32, "damaged"))
    for queue_id in queue_ids:
        recovered.messages[queue_id] = [Entry(make_message(b"m"), queue_id, 0)]
        recovered.next_index[queue_id] = 1
        recovered.live[queue_id] = {1: 1}
    return recovered


def test_messages_are_kept_whose_queue_is_lost_in_what_is_damaged() -> None:
    recovered = damaged(9)
    broker = make_broker(Journal(recovered, 2))
    restore(broker, recovered)
    queue = broker.vhosts["lost+found"].queues["queue-9"]
    assert (queue.id, queue.durable, queue.line.ready.count) == (9, True, 1)
    assert definitions.queue_key("lost+found", "queue-9") in broker.journal.defined(b"q")
    assert [line.text for line in broker.log_lines] == [
        "the definition of a queue is lost, perhaps in what is damaged: its messages are in queue "
        "'queue-9' in vhost 'lost+found', for which somebody needs permissions"
    ]


def test_messages_of_queues_that_were_deleted_are_not() -> None:
    recovered = damaged(9, 10, 11, 12)
    # The snapshot would have number 9; 10 has a priority, and was found to be deleted.
    recovered.snapshot_queue_id = 10
    gone = Queue(make_broker().turn, 10, "q", True, False, None, {"x-max-priority": 1})
    recovered.undone.append((definitions.queue_key("/", "q"), definitions.queue_value(gone)))
    broker = make_broker(Journal(recovered, 2))
    restore(broker, recovered)
    assert list(broker.vhosts["lost+found"].queues) == ["queue-12"]
    assert broker.log_lines[-1].text == "3 messages of queues that were deleted are left out"


@pytest.mark.parametrize("block", [0, 1, 2])
def test_no_damaged_block_costs_a_queue(house: House, ch: Channel, block: int) -> None:
    house.run()
    data = house._disk.files[1]
    before = len(data)
    ch.declare_queue("q", durable=True)
    ch.fill("q", b"m", properties=PERSISTENT)
    data = house._disk.files[1]
    starts = [at for at in range(before, len(data)) if data[at : at + 4] == b"blok"]
    assert len(starts) == 3
    flipped = bytearray(data)
    flipped[starts[block] + 30] ^= 1
    recovered = fold(None, [(1, bytes(flipped)), (2, b"")])
    assert recovered.problems
    broker = make_broker(Journal(recovered, 2))
    restore(broker, recovered)
    queue = broker.vhosts["/"].queues["q"]
    assert queue.line.ready.count == (0 if block == 2 else 1)


def test_expiry_runs_again_from_the_start(house: House, ch: Channel) -> None:
    ch.declare_queue("q", durable=True, arguments={"x-expires": 10_000})
    house.advance(8.0)
    house.restart(clean=True)
    house.advance(8.0)
    ch = house.channel()
    assert "q" in house.vhost().queues
    house.advance(3.0)
    assert not ch.queue_exists("q")


def test_the_redelivered_flag_survives_a_clean_stop_on_its_own_message(
    house: House, ch: Channel
) -> None:
    ch.declare_queue("q", durable=True)
    ch.fill("q", b"0", b"1", b"2", properties=PERSISTENT)
    ch.must_get("q")
    ch.nack(ch.must_get("q").tag)
    house.restart(clean=True)
    ch = house.channel()
    found = [ch.must_get("q", no_ack=True) for _ in range(3)]
    assert [(each.body, each.redelivered) for each in found] == [
        (b"0", True),
        (b"1", True),
        (b"2", False),
    ]


def test_a_queue_without_durable_messages_comes_back_empty(house: House, ch: Channel) -> None:
    ch.declare_queue("q", durable=True, auto_delete=True)
    ch.publish(b"m", key="q", properties=Basic.Properties(delivery_mode=1))
    house.restart(clean=True)
    queue = house.queue("q")
    assert (queue.auto_delete, queue.durable, queue.line.ready.count) == (True, True, 0)


def test_a_hash_that_would_cost_too_much_now_is_none(house: House) -> None:
    """An earlier version took it: the broker starts all the same."""
    broker = core(house.node)
    users.add_user(broker, "ann", rabbit_hash(b"a", b"salt"))
    ann = broker.users.users["ann"]
    ann.password_hash = "$argon2id$v=19$m=4194304,t=100,p=1$AAECAwQFBgcICQoLDA0ODw$" + "A" * 43
    broker.journal.define(definitions.user_key("ann"), definitions.user_value(ann))
    house.restart(clean=True)
    assert core(house.node).users.users["ann"].password_hash is None
    house.run()
    assert any("user 'ann' has no password until one is set" in line for line in house.log_lines)
