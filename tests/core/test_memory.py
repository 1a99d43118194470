"""The account of messages in memory, and who goes to disk."""

from __future__ import annotations

from amqbroker.core.line import KEPT_FOR_CONSUMERS
from amqbroker.core.memory import (
    LARGE_TAIL_BYTES_MAX,
    READ_BYTES,
    SMALL_READ_BYTES,
    Memory,
)
from amqbroker.core.queue import Queue
from amqbroker.core.turn import Turn
from amqbroker.message import ENTRY_OVERHEAD_BYTES, MESSAGE_OVERHEAD_BYTES
from amqbroker.store.segment_outbox import SEGMENT_MESSAGES_MAX, SEGMENT_SIZE_MAX, SegmentOutbox
from tests.core.house import PERSISTENT, House, core, make_message, make_queue
from tests.semantics.peer import Channel


def make_memory(bytes_max: int = 1 << 30) -> Memory:
    return Memory(SegmentOutbox(bytes(8)), bytes_max)


def filled(turn: Turn, queue_id: int, count: int, body_bytes: int = 100) -> Queue:
    queue = make_queue(queue_id=queue_id, turn=turn)
    for _ in range(count):
        queue.enqueue(make_message(bytes(body_bytes)))
    return queue


def write_all(memory: Memory) -> None:
    """All that is to go to disk is there."""
    while memory.spilling:
        memory.write_some()
        memory.stored_ended(True)


def test_a_message_counts_once_and_each_of_its_places() -> None:
    memory = make_memory()
    message = make_message(b"12345")
    cost = MESSAGE_OVERHEAD_BYTES + 5 + len(message.header)
    memory.hold(message)
    assert memory.bytes == cost + ENTRY_OVERHEAD_BYTES
    memory.hold(message)
    assert memory.bytes == cost + 2 * ENTRY_OVERHEAD_BYTES
    memory.release(message)
    memory.release(message)
    assert memory.bytes == 0


def test_a_short_tail_stays() -> None:
    turn = Turn(make_memory())
    queue = filled(turn, 1, 1000)
    turn.memory.look_at(queue.line)
    assert turn.memory.spilling == []


def test_a_tail_goes_by_half_when_it_is_too_long() -> None:
    turn = Turn(make_memory())
    memory = turn.memory
    queue = filled(turn, 1, 0)
    message = make_message(b"")
    message.cost = 0
    for _ in range(SEGMENT_MESSAGES_MAX + 1):
        queue.enqueue(message)
    memory.look_at(queue.line)
    memory.look_at(queue.line)
    assert memory.spilling == [queue.line]
    while memory.spilling:
        memory.write_some()
    assert queue.line.ready.count == SEGMENT_MESSAGES_MAX + 1
    assert queue.line.ready.tail_cost() <= SEGMENT_SIZE_MAX // 2


def test_large_bodies_go_sooner_and_wholly() -> None:
    turn = Turn(make_memory())
    queue = filled(turn, 1, LARGE_TAIL_BYTES_MAX // 100_000 + 1, 100_000)
    turn.memory.look_at(queue.line)
    write_all(turn.memory)
    assert queue.line.ready.tail_count() == 0
    assert turn.memory.bytes == 0


def test_under_pressure_the_longest_tails_go_until_there_is_room() -> None:
    turn = Turn(make_memory(500_000))
    memory = turn.memory
    queues = [filled(turn, number, count) for number, count in enumerate([100, 900, 300, 10])]
    assert memory.is_short()
    memory.relieve([queue.line for queue in queues])
    assert memory.spilling == [queues[1].line]
    assert not memory.is_short()
    write_all(memory)
    assert memory.bytes < 375_000


def test_if_nothing_can_go_it_is_not_looked_for_all_the_time() -> None:
    memory = make_memory(1000)
    messages = [make_message(bytes(900)) for _ in range(2)]
    memory.hold(messages[0])
    assert memory.is_short()
    memory.relieve([])
    memory.relieved()
    assert not memory.is_short()
    memory.hold(messages[1])
    assert memory.is_short()


def test_one_batch_takes_so_much_and_no_more() -> None:
    turn = Turn(make_memory())
    queue = filled(turn, 1, 60, 400_000)
    turn.memory.spill(queue.line, 0)
    turn.memory.write_some()
    assert 4_000_000 < sum(len(c) for w in turn.memory.outbox.writes for c in w.chunks) < 5_000_000
    assert turn.memory.spilling == [queue.line]


def test_a_deleted_queue_does_not_go_to_disk() -> None:
    turn = Turn(make_memory())
    queue = filled(turn, 1, 10)
    turn.memory.spill(queue.line, 0)
    queue.delete()
    turn.memory.write_some()
    assert turn.memory.spilling == []
    assert not turn.memory.outbox.has_work()
    assert turn.memory.bytes == 0


def test_the_head_stays_for_consumers(house: House, ch: Channel) -> None:
    ch.declare_queue("q")
    ch.qos(1)
    ch.consume("q")
    count = KEPT_FOR_CONSUMERS + 10
    house.paused = True
    for _ in range(count + 1):
        ch.publish(b"", key="q")
    house.paused = False
    house.run()
    memory = core(house.node).memory
    house.disk_is_slow = True
    memory.spill(house.queue("q").line, 0)
    house.run()
    assert house.queue("q").line.ready.on_disk == 10
    house.disk_is_slow = False
    house.run()
    memory.spill(house.queue("q").line, 0)
    house.run()
    assert memory.spilling == []


def test_without_memory_to_spare_reads_are_small() -> None:
    memory = make_memory(1)
    assert memory.read_length() == READ_BYTES
    memory.hold(make_message())
    assert (memory.read_length(), memory.read_ahead()) == (SMALL_READ_BYTES, 0)


def test_a_growing_backlog_is_written_once(house: House, ch: Channel) -> None:
    ch.declare_queue("q", durable=True)
    body = bytes(40_000)
    for _ in range(SEGMENT_SIZE_MAX // len(body) + 20):
        ch.publish(body, key="q", properties=PERSISTENT)
    line = house.queue("q").line
    assert line.ready.on_disk > 0
    before = sum(map(len, house._disk.files.values()))
    house.paused = True
    for _ in range(100):
        ch.publish(body, key="q", properties=PERSISTENT)
    house.paused = False
    house.run()
    assert sum(map(len, house._disk.files.values())) - before < 2 * len(body)
    # What was in memory went before it.
    assert line.ready.tail_count() == 0


def test_messages_of_a_queue_that_is_nearly_read_stay_in_memory(house: House, ch: Channel) -> None:
    ch.declare_queue("q")
    ch.qos(1)
    for _ in range(100):
        ch.publish(bytes(40_000), key="q")
    memory = core(house.node).memory
    line = house.queue("q").line
    memory.spill(line, 0)
    house.run()
    ch.consume("q")
    for _ in range(100):
        ch.publish(bytes(40_000), key="q")
    assert line.ready.tail_count() == 100


def test_publishers_wait_while_messages_are_on_their_way_to_disk(house: House, ch: Channel) -> None:
    ch.declare_queue("q", durable=True)
    memory = core(house.node).memory
    memory.bytes_max = 1000
    house.disk_is_slow = True
    ch.publish(bytes(2000), key="q")
    assert memory.flying_bytes > 2000
    assert house.is_held_back(ch.peer.transport)  # type: ignore[arg-type]
    ch.publish(b"later", key="q")
    assert house.queue("q").ready_count() == 1
    house.disk_is_slow = False
    house.run()
    assert house.queue("q").ready_count() == 2
    assert memory.flying_bytes == 0
    assert not house.is_held_back(ch.peer.transport)  # type: ignore[arg-type]


def test_nobody_waits_for_what_cannot_go_to_disk(house: House, ch: Channel) -> None:
    ch.declare_queue("q")
    ch.consume("q")
    core(house.node).memory.bytes_max = 1000
    for _ in range(10):
        ch.publish(bytes(2000), key="q")
    assert not house.is_held_back(ch.peer.transport)  # type: ignore[arg-type]
    assert house.queue("q").unacked_count == 10


def test_what_the_disk_refuses_is_delivered_from_memory(house: House, ch: Channel) -> None:
    ch.declare_queue("q", durable=True)
    memory = core(house.node).memory
    bodies = [b"%d" % number for number in range(9)]
    for body in bodies[:3]:
        ch.publish(body, key="q")
    memory.bytes_max = 0
    house.advance(0.1)
    ch.publish(bodies[3], key="q")
    house.disk_is_slow = True
    house.paused = True
    for body in bodies[4:]:
        ch.publish(body, key="q")
    house.paused = False
    house.run()
    line = house.queue("q").line
    assert (line.ready.on_disk, len(line.flying)) == (9, 5)
    house.break_disk()
    house.disk_is_slow = False
    assert line.ready.on_disk == 4
    other = house.channel()
    assert other.get_bodies("q") == bodies
    assert other.declare_queue("q", passive=True).message_count == 0
    assert memory.flying_bytes == 0


def test_what_is_purged_on_its_way_to_disk_does_not_come_back(house: House, ch: Channel) -> None:
    ch.declare_queue("q", durable=True)
    memory = core(house.node).memory
    memory.bytes_max = 0
    house.disk_is_slow = True
    ch.publish(b"m", key="q")
    other = house.channel()
    assert other.purge("q") == 1
    house.break_disk()
    house.disk_is_slow = False
    assert other.get("q") is None
    assert (memory.bytes, memory.flying_bytes) == (0, 0)


def test_a_disk_with_little_room_gets_little_at_once() -> None:
    """What waits in the journal moves in pieces, each of which gives journal files back."""
    turn = Turn(make_memory())
    memory = turn.memory
    queue = filled(turn, 1, 60, 100_000)
    memory.disk_measured(2_000_000)
    memory.spill(queue.line, 0)
    for _ in range(3):
        memory.outbox.writes = []
        memory.write_some()
        size = sum(len(chunk) for write in memory.outbox.writes for chunk in write.chunks)
        assert 900_000 < size < 1_200_000
    memory.disk_measured(1 << 40)
    memory.outbox.writes = []
    memory.write_some()
    assert queue.line.ready.tail_count() == 0
