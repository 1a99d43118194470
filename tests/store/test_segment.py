"""Messages that were read from a segment, or were in none, and go to disk again."""

from __future__ import annotations

from amqbroker.message import IN_SEGMENT, WRITTEN, Entry
from amqbroker.store.backlog import INDEX_MAX
from amqbroker.store.records import FILE_HEADER_BYTES
from tests.store.fake_disk import FakeDisk
from tests.store.test_backlog import WRITER, SegmentStore, bodies_of, damage


def stored(*numbers: int) -> SegmentStore:
    """All of these on disk, each in a block of its own."""
    store = SegmentStore(FakeDisk())
    for number in numbers:
        store.move(store.put(number))
        store.commit()
    return store


def next_block(store: SegmentStore) -> list[Entry]:
    """The next block's messages, and no more."""
    while True:
        if found := store.read(1):
            return found


def test_what_is_given_back_is_read_once_more_and_first() -> None:
    store = stored(*range(12))
    entries = [next_block(store)[0] for _ in range(7)]
    assert store.backlog.give_back([entries[2], entries[3], entries[6]]) == []
    assert store.backlog.unread == 5 + 3
    assert store.backlog.next_index == 2
    assert bodies_of(store.read_all()) == [2, 3, 6, 7, 8, 9, 10, 11]
    assert store.backlog.unread == 0
    assert store.backlog.unread_bytes == 0


def test_what_is_given_back_outlives_a_crash_and_what_was_settled_does_not() -> None:
    store = stored(*range(6))
    entries = store.read_all()
    store.settle(entries[0], entries[4])
    assert store.backlog.give_back(entries[1:3]) == []
    store.commit()
    store.disk.crash(kept_bytes=1 << 20)
    again = SegmentStore(store.disk)
    assert bodies_of(again.read_all()) == [1, 2, 3, 5]


def test_a_message_may_be_given_back_many_times() -> None:
    store = stored(1, 2, 3)
    for _ in range(3):
        entries = store.read_all()
        assert bodies_of(entries) == [1, 2, 3]
        assert store.backlog.give_back(entries) == []
    entries = store.read_all()
    store.settle(*entries)
    store.commit()
    store.commit()
    assert store.segments() == []


def test_a_read_that_was_under_way_is_not_wanted_any_more() -> None:
    store = stored(1, 2)
    (entry,) = next_block(store)
    piece = store.backlog.next_read(1)
    assert piece is not None
    store.backlog.give_back([entry])
    assert store.backlog.generation != piece.generation
    assert bodies_of(store.read_all()) == [1, 2]


def test_delivered_messages_are_read_as_such() -> None:
    store = stored(1, 2)
    entries = store.read_all()
    entries[1].redelivered = True
    store.backlog.give_back(entries)
    assert store.backlog.redelivered.items() == [(1, 1)]
    store.journal.stop([])
    store.commit()
    store.disk.crash()
    again = SegmentStore(store.disk)
    assert again.recovered.redelivered[1].items() == [(1, 1)]


def test_what_is_damaged_meanwhile_is_missing() -> None:
    store = stored(1, 2, 3)
    entries = store.read_all()
    store.backlog.give_back(entries)
    damage(store, 1, FILE_HEADER_BYTES + 40)
    found = store.read_all()
    assert bodies_of(found) == [2, 3]
    assert store.backlog.unread == 0
    store.settle(*found)
    store.commit()
    store.commit()
    # It is kept aside.
    assert [name.endswith(".damaged") for name in store.segments()] == [True]


def test_what_is_given_back_and_dropped_is_to_be_settled() -> None:
    store = stored(*range(6))
    entries = store.read_all()
    store.backlog.give_back([entries[1], entries[2], entries[4]])
    store.backlog.drop_unread()
    assert store.backlog.unread == 0
    assert store.backlog.dropped == [(1, 2), (4, 4)]
    store.log.settle_ranges(store.backlog.dropped)
    store.commit()
    store.commit()
    store.disk.crash(kept_bytes=1 << 20)
    again = SegmentStore(store.disk)
    assert bodies_of(again.read_all()) == [0, 3, 5]


def test_transient_messages_can_go_back_as_long_as_their_file_is_there() -> None:
    store = SegmentStore(FakeDisk())
    store.move(store.put(1, transient=True))
    store.move(store.put(2, transient=True))
    store.commit()
    first = next_block(store)
    assert store.backlog.give_back(first) == []
    both = store.read_all()
    assert bodies_of(both) == [1, 2]
    assert store.backlog.give_back(both) == both


def test_what_came_back_gets_a_segment_of_its_own_before_others() -> None:
    store = SegmentStore(FakeDisk())
    taken = store.put(0, 1, 2)
    store.commit()
    store.move(store.put(3, 4))
    store.commit()
    assert store.backlog.give_back(taken) == taken
    assert store.backlog.gap(0) == 3
    store.backlog.insert(WRITER, list(taken))
    store.log.stored(list(taken))
    assert store.backlog.next_read(100) is None
    store.commit()
    assert store.backlog.gap(0) == 0
    assert store.backlog.gap(5) == INDEX_MAX
    store.disk.crash()
    again = SegmentStore(store.disk)
    assert again.recovered.messages == {}
    assert [int(segment.number) for segment in again.backlog.segments] == [2, 1]
    entries = again.read_all()
    assert bodies_of(entries) == [0, 1, 2, 3, 4]
    assert {(entry.state, entry.file) for entry in entries} == {(WRITTEN, IN_SEGMENT)}
    assert bodies_of(store.read_all()) == [0, 1, 2, 3, 4]
