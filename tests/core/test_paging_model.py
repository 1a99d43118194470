"""The model of test_queue_model.py against a node that has no memory for messages at all.

Every tail goes to segments of a few messages, and comes back in the smallest reads.
"""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis.stateful import invariant

from amqbroker.message import ENTRY_OVERHEAD_BYTES
from tests.core.house import House, core
from tests.core.test_queue_model import NodeMachine


class SmallHouse(House):
    """A node that puts on disk all that waits."""

    def _start(self) -> None:
        super()._start()
        memory = core(self.node).memory
        memory.bytes_max = 0
        memory.read_bytes = 1
        memory.outbox.messages_max = 3
        memory.back_min = 1
        memory.back_count_min = 2


class PagingMachine(NodeMachine):
    """The same rules."""

    pages = True

    def make_house(self) -> House:
        """A node whose queues page."""
        return SmallHouse()

    @invariant()
    def no_file_is_left_behind(self) -> None:
        """Each segment has something that is still wanted."""
        lines = core(self.house.node).all_lines()
        wanted = sum(len(line.backlog.segments) for line in lines if line.backlog is not None)
        memory = core(self.house.node).memory
        assert len(self.house._disk.segments) == wanted + len(memory.outbox.unlinks)
        for line in lines:
            if line.ready.count == 0 and line.queue.unacked_count == 0 and line.backlog is not None:
                if line.backlog.segments:
                    self.house.advance(0.1)
                    self.settle()
                # A dead letter may have come meanwhile, and gone to a consumer.
                is_done = line.ready.count == 0 and line.queue.unacked_count == 0
                assert not is_done or line.backlog.segments == []

    @invariant()
    def the_account_is_right(self) -> None:
        """What is in memory is what was counted, and segments are there for what is on disk."""
        broker = core(self.house.node)
        held = {}
        entries = 0
        unloaded = 0
        for line in broker.all_lines():
            for entry in line.ready.entries():
                held[id(entry.message)] = entry.message
                entries += 1
            backlog = line.backlog
            assert line.ready.on_disk == (backlog.unread if backlog is not None else 0)
            assert line.ready.paged or line.ready.on_disk == 0
        for client in broker.clients.values():
            for channel in client.channels.values():
                waiting = channel.unacked.entries()
                if channel.transaction is not None:
                    waiting += channel.transaction.taken()
                for entry in waiting:
                    if entry.message.is_absent():
                        unloaded += 1
                    else:
                        held[id(entry.message)] = entry.message
                        entries += 1
        expected = sum(message.cost for message in held.values()) + entries * ENTRY_OVERHEAD_BYTES
        assert broker.memory_bytes == expected
        assert broker.memory.unloaded == unloaded


PagingMachine.TestCase.settings = settings(stateful_step_count=40)
# Many examples: a busy machine takes its time.
TestPaging = pytest.mark.timeout(200)(PagingMachine.TestCase)
