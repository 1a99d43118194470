"""Everything that is there is in the account, and nothing of what is gone."""

from __future__ import annotations

from pamqp.commands import Basic

from amqbroker.core.account import (
    BINDING_BYTES,
    CHANNEL_BYTES,
    CONNECTION_BYTES,
    CONSUMER_BYTES,
    DURABLE_BYTES,
    QUEUE_BYTES,
    ROUTE_BYTES,
    UNACKED_BYTES,
    take_account,
)

from .house import House, core


def test_everything_is_in_the_account(house: House) -> None:
    before = take_account(core(house.node), 7)
    assert before.base == 7
    ch = house.channel()
    ch.declare_queue("q")
    ch.declare_queue("d", durable=True)
    ch.bind("q", "amq.direct", "key")
    ch.fill("q", b"1", b"2", b"3")
    ch.consume("q", "c")
    ch.expect_delivery()
    found = take_account(core(house.node), 7)
    assert found.connections == CONNECTION_BYTES
    assert found.channels == CHANNEL_BYTES
    assert found.consumers == CONSUMER_BYTES
    assert found.queues == 2 * QUEUE_BYTES + DURABLE_BYTES
    assert found.bindings >= before.bindings + BINDING_BYTES
    assert found.routes >= ROUTE_BYTES
    assert found.unacked == 3 * UNACKED_BYTES
    assert found.messages == core(house.node).memory.bytes
    assert found.total() == sum(found.parts().values())


def test_what_is_gone_is_not_in_the_account(house: House) -> None:
    before = take_account(core(house.node), 0).parts()
    ch = house.channel()
    ch.declare_queue("q")
    ch.fill("q", b"1")
    ch.delete_queue("q")
    ch.peer.close()
    after = take_account(core(house.node), 0).parts()
    assert after | {"routes": 0} == before | {"routes": 0}


def test_what_went_and_is_still_resident_is_unused(house: House) -> None:
    house.node.serving(0)
    house.node.memory_measured(50_000_000, 0.0)
    assert house.node.memory_account().unused == 0
    core(house.node).memory.bytes += 1_000_000
    house.node.memory_measured(51_000_000, 1.0)
    core(house.node).memory.bytes -= 1_000_000
    account = house.node.memory_account()
    assert account.unused == 1_000_000
    assert account.total() - account.used() == 1_000_000
    # Most of it was given back, and new messages take the rest.
    house.node.memory_measured(account.used() + 300_000, 2.0)
    assert house.node.memory_account().unused == 300_000
    core(house.node).memory.bytes += 200_000
    assert house.node.memory_account().unused == 100_000
    core(house.node).memory.bytes -= 200_000


def test_what_waits_is_in_the_account(house: House) -> None:
    ch = house.channel()
    ch.declare_queue("q")
    buffers = take_account(core(house.node), 0).buffers
    data = bytes(1000)
    ch.send(Basic.Publish(routing_key="q"))
    ch.peer.send_raw(b"\x03\x00\x01\x00\x00\x10\x00" + data)
    assert take_account(core(house.node), 0).buffers >= buffers + 1000


def test_the_base_is_what_was_there_before(house: House) -> None:
    house.node.serving(1_000_000)
    assert house.node.memory_account().total() == 1_000_000
    house.channel()
    assert house.node.memory_account().total() > 1_000_000
