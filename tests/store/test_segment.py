"""Messages that were read from a segment, or were in none, and go to disk again."""

from __future__ import annotations

from amqbroker.message import IN_SEGMENT, SETTLED, WRITTEN, Entry
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


def out(store: SegmentStore, *entries: Entry) -> None:
    """These are out for delivery, and go to a segment of their own."""
    group = list(entries)
    holes = store.backlog.insert_out(WRITER, group)
    store.log.stored(group)
    store.log.settle_ranges(holes)
    for entry in group:
        entry.state = WRITTEN if entry.state == SETTLED else entry.state
        entry.file = IN_SEGMENT


def test_what_is_out_is_not_read_until_it_comes_back() -> None:
    store = SegmentStore(FakeDisk())
    taken = store.put(*range(5))
    store.move(store.put(5, 6))
    store.commit()
    out(store, *taken)
    assert store.backlog.unread == 2
    assert store.backlog.give_back(taken[1:3]) == []
    # It is on its way.
    assert store.read() == []
    store.commit()
    assert bodies_of(store.read_all()) == [1, 2, 5, 6]


def test_holes_in_what_is_out_are_settled_whoever_says_it_once_more() -> None:
    store = SegmentStore(FakeDisk())
    taken = store.put(*range(9))
    store.commit()
    store.settle(taken[1], taken[4])
    out(store, *[taken[place] for place in (0, 2, 3, 6, 8)])
    store.settle(taken[5], taken[7], taken[8])
    store.commit()
    (segment,) = store.backlog.segments
    assert segment.live() == 4
    store.disk.crash()
    again = SegmentStore(store.disk)
    assert again.backlog.unread == 4
    found = again.read_all()
    assert bodies_of(found) == [0, 2, 3, 6]
    assert again.lost == 0
    again.settle(*found)
    again.commit()
    again.commit()
    assert again.segments() == []


def test_messages_of_both_kinds_go_back_to_one_segment() -> None:
    store = SegmentStore(FakeDisk())
    taken = store.put(0) + store.put(1, transient=True) + store.put(2)
    out(store, *taken)
    store.commit()
    assert store.backlog.give_back(taken) == []
    store.backlog.drop_unread()
    assert store.backlog.dropped == [(0, 0), (2, 2)]
    store.log.settle_ranges(store.backlog.dropped)
    store.commit()
    store.commit()
    assert store.segments() == []


def test_a_file_stays_for_what_is_out_and_transient() -> None:
    store = SegmentStore(FakeDisk())
    taken = store.put(0, 1, transient=True)
    out(store, *taken)
    store.commit()
    for entry in taken:
        store.backlog.hold_out(entry.index, 1)
    store.backlog.hold_out(0, -1)
    store.commit()
    assert len(store.segments()) == 1
    assert store.backlog.give_back(taken[1:]) == []
    store.backlog.hold_out(1, -1)
    assert bodies_of(store.read_all()) == [1]
    store.commit()
    assert store.segments() == []


def test_one_of_many_is_read_from_near_where_it_is() -> None:
    store = SegmentStore(FakeDisk())
    taken = store.put(*range(5000))
    out(store, *taken)
    store.commit()
    assert store.backlog.give_back([taken[4000]]) == []
    piece = store.backlog.next_read(1000)
    assert piece is not None
    assert piece.offset > 90_000
    store.backlog.forget_read()
    assert bodies_of(store.read()) == [4000]
    assert store.backlog.unread == 0
