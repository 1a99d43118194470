"""What one queue leaves for the journal (the journal's own tests show what becomes of it)."""

from __future__ import annotations

from amqbroker.message import PENDING, SETTLED, WRITTEN, Entry
from amqbroker.store.journal import Journal
from amqbroker.store.queue_log import QueueLog
from tests.store.helpers import make_message, take


def append(log: QueueLog) -> Entry:
    """One more entry."""
    entry = Entry(make_message(), log.queue_id, log.next_index)
    log.append(entry)
    return entry


def test_an_entry_that_is_settled_before_its_batch_leaves_nothing() -> None:
    journal = Journal()
    log = journal.open_queue(1)
    entry = append(log)
    assert entry.state == PENDING
    log.settle(entry)
    assert entry.state == SETTLED
    assert not log.has_ranges()
    assert journal.take_batch() is None


def test_indexes_that_follow_each_other_are_one_range() -> None:
    journal = Journal()
    log = journal.open_queue(1)
    entries = [append(log) for _ in range(6)]
    journal.synced(take(journal).position)
    assert all(entry.state == WRITTEN for entry in entries)
    for place in (0, 1, 4, 2):
        log.settle(entries[place])
    assert log.has_ranges()
    assert log.take_ranges() == [(0, 2), (4, 4)]
    assert not log.has_ranges()


def test_an_entry_that_was_put_back_is_not_in_a_file() -> None:
    journal = Journal()
    log = journal.open_queue(1)
    append(log)
    append(log)
    take(journal)
    assert log.live == {1: 2}
    log.put_back(1)
    assert log.live == {1: 1}
    log.put_back(1)
    assert log.live == {}
    assert log.take_appended(2) == 2
