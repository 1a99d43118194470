"""A line: what a queue has in the store."""

from __future__ import annotations

from amqbroker.message import PENDING
from amqbroker.store.journal import Journal
from tests.core.house import make_message, make_queue


def test_a_line_without_a_log_waits_for_nothing() -> None:
    line = make_queue().line
    assert line.append(make_message(persistent=True), 0) == 0
    assert (line.ready.count, line.next_index) == (1, 1)


def test_with_a_log_a_persistent_message_waits_for_its_batch() -> None:
    journal = Journal()
    queue = make_queue()
    queue.open_log(journal)
    assert queue.line.append(make_message(), 0) == 0
    assert queue.line.append(make_message(persistent=True), 0) == journal.position
    assert [entry.state for entry in queue.line.ready.entries()] == [0, PENDING]


def test_a_purged_line_holds_no_memory() -> None:
    line = make_queue().line
    line.append(make_message(), 0)
    line.purge()
    assert (line.ready.count, line.memory.bytes) == (0, 0)


def test_a_closed_line_gives_its_memory_back() -> None:
    line = make_queue().line
    line.append(make_message(), 0)
    line.close()
    assert (line.log, line.memory.bytes) == (None, 0)
