"""The node as a machine: the same calls give the same outputs; what its edge may rely on."""

from __future__ import annotations

import gc
from random import Random

import pytest
from msgspec import structs
from pamqp import base, body, commands, frame, header

from amqbroker.auth.passwords import rabbit_hash, verify
from amqbroker.config import Config, Store
from amqbroker.core.queue import OUTRUN_MIN, Queue
from amqbroker.node import Node, PeerInfo
from amqbroker.store.journal import Journal
from tests.core.house import PERSISTENT, House, core, items
from tests.semantics.peer import PROTOCOL_HEADER, Channel
from tests.semantics.transports import NodeTransport

FIXED_HASH = rabbit_hash(b"fixed", b"salt")
PEER = PeerInfo("127.0.0.1", 40001, "127.0.0.1", 5672)


@pytest.fixture
def house() -> House:
    """A fresh node with an edge."""
    return House()


@pytest.fixture
def ch(house: House) -> Channel:
    """An open channel on a connection of its own."""
    return house.channel()


def _node(seed: int = 1) -> Node:
    return Node(Config(), Journal(), None, Random(seed), 0.0)


def _script() -> list[bytes]:
    """What one client sends: a handshake, server-named things, and messages both ways."""

    def on(channel: int, *methods: base.Frame) -> bytes:
        return b"".join(frame.marshal(method, channel) for method in methods)

    properties = commands.Basic.Properties(delivery_mode=2)
    content = on(1, commands.Basic.Publish(routing_key="q"))
    content += frame.marshal(header.ContentHeader(0, 3, properties), 1)
    content += frame.marshal(body.ContentBody(b"abc"), 1)
    return [
        PROTOCOL_HEADER,
        on(
            0,
            commands.Connection.StartOk({}, "PLAIN", "\0guest\0guest", "en_US"),
            commands.Connection.TuneOk(2047, 131072, 0),
        ),
        on(0, commands.Connection.Open()),
        on(1, commands.Channel.Open(), commands.Queue.Declare(), commands.Confirm.Select()),
        on(1, commands.Queue.Declare(queue="q", durable=True)),
        on(1, commands.Basic.Consume(queue="q", no_ack=True)),
        content * 3,
        on(1, commands.Queue.Declare(queue="missing", passive=True)),
    ]


def _play(node: Node, steps: list[bytes]) -> tuple[bytes, bytes, list[str]]:
    """Output, journal and log of a client that sends these reads, one a turn."""
    output = b""
    journal = b""
    lines = []
    node.client_connected(1, PEER, 0.0)
    for now, data in enumerate(steps, 1):
        node.client_received(1, data, float(now))
        node.settle(float(now))
        for check in node.take_password_checks(2):
            right = verify(check.stored, check.password)
            node.password_checked(check, right, float(now))
        while (batch := node.take_batch(float(now))) is not None:
            journal += b"".join(batch.chunks)
            node.journal_synced(batch.position)
        while node.has_work():
            node.settle(float(now))
        for connection_id in node.outputs():
            output += b"".join(node.take_output(connection_id))
        lines += [line.text for line in node.take_log_lines()]
    return output, journal, lines


def test_the_same_inputs_give_the_same_outputs() -> None:
    first, second = _play(_node(), _script()), _play(_node(), _script())
    assert first == second
    assert len(first[0]) > 500
    assert first[0] != _play(_node(2), _script())[0], "the seed makes up the names"


@pytest.mark.parametrize("size", [1, 7, 4096])
def test_how_the_bytes_are_cut_makes_no_difference(size: int) -> None:
    # Without the error at the end: what it finds undelivered it takes back.
    script = _script()[:-1]
    whole = b"".join(script[2:])
    cut = [whole[at : at + size] for at in range(0, len(whole), size)]
    output = _play(_node(), script[:2] + cut)[0]
    assert _without_confirms(output) == _without_confirms(_play(_node(), script)[0])


def _without_confirms(output: bytes) -> list[str]:
    """The methods sent, but for confirms: those depend on what is settled together."""
    found = []
    while output:
        used, channel, value = frame.unmarshal(output)
        output = output[used:]
        if isinstance(value, base.Frame) and not isinstance(value, commands.Basic.Ack):
            found.append(f"{channel} {value.name} {list(value)}")
    return found


def test_a_connection_has_its_name_from_both_ends() -> None:
    assert str(PEER) == "127.0.0.1:40001 -> 127.0.0.1:5672"


def test_an_edge_may_ask_about_connections_that_are_gone() -> None:
    node = _node()
    assert node.take_output(5) == []
    assert node.must_close(5)
    assert not node.must_pause(5)
    assert not node.must_yield(5)
    assert not node.awaits_large_frame(5)


def test_outputs_are_named_once_and_not_again() -> None:
    node = _node()
    node.client_connected(1, PEER, 0.0)
    node.client_received(1, PROTOCOL_HEADER, 0.0)
    assert node.outputs() == [1]
    assert node.outputs() == []
    assert node.take_output(1) != []
    assert node.take_output(1) == []


def test_the_next_deadline_is_the_nearest_of_timers_and_journal(house: House, ch: Channel) -> None:
    assert house.node.next_deadline() is None
    ch.declare_queue("q", durable=True, arguments={"x-expires": 10_000})
    ch.fill("q", b"m", properties=PERSISTENT)
    assert house.node.next_deadline() == pytest.approx(house.now + 10.0)
    ch.ack(ch.must_get("q").tag)
    deadline = house.node.next_deadline()
    assert deadline is not None
    assert house.now < deadline <= house.now + 0.1
    house.advance(0.2)
    assert house.node.next_deadline() == pytest.approx(house.now + 9.8)


def test_confirms_wait_for_their_batch_and_not_for_the_next(house: House, ch: Channel) -> None:
    ch.declare_queue("q", durable=True)
    ch.confirm()
    house.disk_is_slow = True
    ch.publish(b"0", key="q", properties=PERSISTENT)
    ch.publish(b"1", key="q", properties=PERSISTENT)
    batch = house._batch
    assert batch is not None
    house.paused = True
    house._disk.write(batch)
    house._batch = None
    house.node.journal_synced(batch.position)
    house.settle()
    house.take_output(ch.peer)
    (ack,) = items(ch)
    assert isinstance(ack, commands.Basic.Ack)
    assert (ack.delivery_tag, ack.multiple) == (1, False)


def test_a_disk_that_fails_refuses_what_waits_for_it(house: House, ch: Channel) -> None:
    ch.declare_queue("q", durable=True)
    ch.confirm()
    house.disk_is_slow = True
    for number in range(3):
        ch.publish(b"%d" % number, key="q", properties=PERSISTENT)
    house.break_disk()
    (nack,) = items(ch)
    assert isinstance(nack, commands.Basic.Nack)
    assert (nack.delivery_tag, nack.multiple) == (3, True)
    assert any("no space left on device" in line for line in house.log_lines)
    assert house.node.take_batch(house.now) is None


def test_the_last_words_of_a_stop_are_said_once_all_are_gone(house: House, ch: Channel) -> None:
    ch.declare_queue("q", durable=True)
    ch.fill("q", b"m", properties=PERSISTENT)
    ch.must_get("q")
    house.node.shut_down("shutdown", house.now)
    house.run()
    assert ch.peer.expect(commands.Connection.Close).reply_code == 320
    assert core(house.node).clients != {}
    ch.peer.send(0, commands.Connection.CloseOk())
    ch.peer.expect_dropped()
    assert core(house.node).clients == {}
    house.node.stop(house.now)
    house.run()
    house.restart(clean=False)
    assert house.channel().must_get("q").redelivered


def test_a_bug_of_the_brokers_ends_the_connection_with_541(house: House, ch: Channel) -> None:
    client = house.core_client(ch.peer)
    house.node.client_broke(client.id, house.now)
    house.run()
    ch.peer.expect_connection_close(
        541, "INTERNAL_ERROR - an internal error occurred, see the broker's log"
    )


@pytest.mark.parametrize("state", ["running", "closing"])
def test_a_client_that_ends_its_side_is_owed_what_was_said(
    house: House, ch: Channel, state: str
) -> None:
    client = house.core_client(ch.peer)
    if state == "closing":
        ch.send(commands.Channel.Open())
    assert house.node.client_ended(client.id, house.now) == (state == "closing")


def test_acks_are_written_as_late_as_the_configuration_says() -> None:
    class Late(House):
        @staticmethod
        def _config() -> Config:
            return structs.replace(House._config(), store=Store(settle_delay_ms=900))

    house = Late()
    ch = house.channel()
    ch.declare_queue("q", durable=True)
    ch.fill("q", b"m", properties=PERSISTENT)
    ch.must_get("q", no_ack=True)
    journal = core(house.node).journal
    deadline = journal.deadline()
    assert deadline == pytest.approx(house.now + 0.9)
    written = journal.position
    house.advance(0.8)
    assert journal.position == written
    house.advance(0.2)
    assert journal.position > written


def test_a_node_that_was_let_go_can_be_freed_with_its_messages() -> None:
    house = House()
    channel = house.channel()
    channel.declare_queue("waits here")
    channel.fill("waits here", b"x")
    channel.declare_queue("is out")
    channel.fill("is out", b"x")
    channel.must_get("is out")
    for name in ("is being written", "waits for the disk"):
        channel.declare_queue(name, durable=True)
    house.disk_is_slow = True
    for name in ("is being written", "waits for the disk"):
        channel.publish(b"x", key=name, properties=PERSISTENT)
        house.run()
    house.node.let_go()
    del house, channel
    gc.collect()
    names = [found.name for found in gc.get_objects() if isinstance(found, Queue)]
    for name in ("waits here", "is out", "is being written", "waits for the disk"):
        assert name not in names


def test_a_publisher_yields_to_consumers_that_it_outruns(house: House) -> None:
    consumer = house.channel()
    consumer.declare_queue("q")
    consumer.qos(10)
    consumer.consume("q", "c")
    publisher = house.channel()
    outrun(house, publisher)
    assert must_yield(house, publisher)
    assert not must_yield(house, consumer), "it does not publish"
    house.now += 0.01
    publisher.publish(key="q")
    house.run()
    assert not must_yield(house, publisher), "nobody acks: it would wait for nothing"
    consumer.ack(1)
    house.run()
    assert must_yield(house, publisher), "the consumer is at work"


def outrun(house: House, publisher: Channel) -> None:
    """More messages than a queue of consumers that keep up ever has, in one turn."""
    house.paused = True
    for _ in range(OUTRUN_MIN + 20):
        publisher.publish(key="q")
    house.paused = False
    house.run()


def must_yield(house: House, channel: Channel) -> bool:
    """Whether the channel's connection lets others get ahead."""
    assert isinstance(channel.peer.transport, NodeTransport)
    return house.node.must_yield(channel.peer.transport._id)
