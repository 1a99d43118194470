"""Inspecting a folder: what is there is counted, what is broken is named by file and offset."""

from __future__ import annotations

import zlib
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from amqbroker.message import IN_SEGMENT, WRITTEN, Entry
from amqbroker.store.folder import read_folder
from amqbroker.store.inspect import FolderReport, StoredMessage, inspect_folder, stored_messages
from amqbroker.store.mark import MARK_NAME
from amqbroker.store.records import (
    FILE_HEADER_BYTES,
    FORMAT_VERSION,
    file_header,
    journal_name,
)
from amqbroker.store.segments import SegmentWriter, segment_name
from tests.store.fake_disk import FakeDisk
from tests.store.helpers import SEED, Store

SEGMENT = segment_name(1, 1)


def page_out(store: Store, queue_id: int, entries: list[Entry]) -> None:
    """Move entries to a segment, as a queue does; with the next batch."""
    log = store.logs[queue_id]
    log.backlog.append(SegmentWriter(), entries)
    log.stored(entries)
    store.commit()


def settle_stored(store: Store, entries: list[Entry]) -> None:
    """Settle entries that are in segments; with the next batch."""
    for entry in entries:
        entry.state = WRITTEN
        entry.file = IN_SEGMENT
    store.settle(*entries)


def make_folder() -> FakeDisk:
    """One file of each kind: a snapshot, journal files, segments, a clean stop."""
    disk = FakeDisk()
    store = Store(disk, file_bytes_max=2000)
    store.journal.define(b"q one", b"value")
    for round_ in range(6):
        entries = [
            store.publish(b"%d-%d" % (round_, number) + bytes(80), 1)[0] for number in range(8)
        ]
        both = store.publish(b"both", 2, 3)
        store.commit()
        page_out(store, 1, entries)
        settle_stored(store, entries[1:3])
        if round_ < 3:
            store.settle(*both)
        elif round_ == 3:
            store.logs[1].backlog.seal()
    kept = store.publish(b"kept", 1)
    store.journal.stop(kept)
    store.commit()
    store.disk.put("lock", b"4711\n")
    return disk


def places(report: FolderReport) -> list[tuple[str, int]]:
    """Where something is broken or worth a note."""
    return [(problem.file, problem.offset) for problem in report.problems + report.notes]


def test_a_sound_folder_is_counted() -> None:
    report = inspect_folder(make_folder())
    assert [str(problem) for problem in report.problems + report.notes] == []
    assert report.recovered is not None
    assert report.recovered.clean
    assert report.recovered.definitions == {b"q one": b"value"}
    by_id = {queue.queue_id: queue for queue in report.queues}
    assert by_id[1].messages() == 6 * 6 + 1
    assert (by_id[1].in_segments, by_id[1].in_journal) == (36, 1)
    assert (by_id[2].messages(), by_id[3].messages()) == (3, 3)
    assert sum(segment.readable for segment in report.segments) == 36
    assert report.segments[0].settled == [(1, 2), (9, 10), (17, 18), (25, 26)]
    snapshot, *journal = report.files
    assert journal[0].first_sequence > 1, "a file is gone, so the snapshot counts"
    assert snapshot.number >= journal[0].first_sequence - 1
    for one, next_one in pairwise(journal):
        assert one.last_sequence + 1 == next_one.first_sequence


def test_messages_come_in_index_order_from_both_places() -> None:
    disk = make_folder()
    recovered = read_folder(disk)
    found = list(stored_messages(disk, recovered, 1))
    assert [message.index for message in found] == sorted(message.index for message in found)
    assert found[-1].message.body == b"kept"
    assert found[-1].redelivered
    assert found[0].file == SEGMENT
    assert {message.file.partition("-")[0] for message in found} == {"queues/1", "journal"}
    assert len(found) == 37


def test_an_empty_folder_is_sound() -> None:
    report = inspect_folder(FakeDisk())
    assert (report.problems, report.notes, report.queues) == ([], [], [])


FOLDER = make_folder()
BITS = {name: len(FOLDER.content(name)) * 8 for name in FOLDER.names()}


@pytest.mark.parametrize("name", BITS)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_flipped_bit_is_reported_where_it_is(name: str, data: st.DataObject) -> None:
    place = data.draw(st.integers(0, BITS[name] - 1))
    content = bytearray(FOLDER.content(name))
    content[place // 8] ^= 1 << place % 8
    report = damaged(name, bytes(content))
    if name == "lock":
        # Another digit is another process id: nobody can know, and nothing depends on it.
        assert report.problems == []
        return
    assert report.problems, "not found"
    first = report.problems[0]
    assert first.file == name
    # It is named by the beginning of what it spoils: a header, or a block.
    assert first.offset <= place // 8
    assert place // 8 - first.offset < 1400


def damaged(name: str, content: bytes) -> FolderReport:
    """The folder with another content of one file."""
    disk = FakeDisk()
    for other in BITS:
        disk.put(other, FOLDER.content(other))
    disk.put(name, content)
    return inspect_folder(disk)


LAST = max(name for name in BITS if name.startswith("journal-"))


def test_a_block_that_was_cut_short_is_what_a_crash_leaves() -> None:
    content = FOLDER.content(LAST)
    for size in range(len(content) - 30, len(content)):
        report = damaged(LAST, content[:size])
        # But not behind a clean stop.
        assert [problem.file for problem in report.problems] == [MARK_NAME]
        assert [note.file for note in report.notes] == [LAST]
        assert "the next start cuts off the last" in report.notes[0].what
        assert report.recovered is not None
        assert not report.recovered.clean


def test_zeros_at_the_end_are_what_a_crash_leaves() -> None:
    report = damaged(LAST, FOLDER.content(LAST) + bytes(4096))
    assert (report.problems, len(report.notes)) == ([], 1)


def test_a_file_in_the_middle_that_is_gone_or_cut_is_missed() -> None:
    middle = sorted(name for name in BITS if name.startswith("journal-"))[1]
    content = FOLDER.content(middle)
    report = damaged(middle, content[: len(content) - 5])
    assert report.problems[0].file == middle
    disk = FakeDisk()
    for name in BITS:
        if name != middle:
            disk.put(name, FOLDER.content(name))
    report = inspect_folder(disk)
    assert "are missing before this one" in report.problems[0].what


def test_a_segment_that_is_gone_or_cut_is_missed() -> None:
    content = FOLDER.content(SEGMENT)
    cut = damaged(SEGMENT, content[:-100])
    assert any(problem.offset == len(content) - 100 for problem in cut.problems)
    disk = FakeDisk()
    for name in BITS:
        if name != SEGMENT:
            disk.put(name, FOLDER.content(name))
    report = inspect_folder(disk)
    assert [str(problem) for problem in report.problems] == [
        f"{SEGMENT}, offset 0: missing, with 24 messages"
    ]


def test_messages_beside_a_broken_segment_are_found_and_it_is_named() -> None:
    content = FOLDER.content(SEGMENT)
    others = [each.index for each in messages_with(b"")[0] if each.file != SEGMENT]
    for broken, offset, left in (
        (b"", 0, 0),
        (content[:-100], len(content) - 100, 0),
        (content[:-1] + b"?", content.rindex(b"segb"), 1),
    ):
        found, problems = messages_with(broken)
        assert [each.index for each in found if each.file != SEGMENT] == others
        assert len(found) > len(others) or not left
        assert (SEGMENT, offset) in problems


def messages_with(content: bytes) -> tuple[list[StoredMessage], list[tuple[str, int]]]:
    """The messages of queue 1, and what is wrong; without this segment if it is empty."""
    disk = FakeDisk()
    for name in BITS:
        if name != SEGMENT:
            disk.put(name, FOLDER.content(name))
    if content:
        disk.put(SEGMENT, content)
    recovered = read_folder(disk)
    found = list(stored_messages(disk, recovered, 1))
    return found, [(problem.file, problem.offset) for problem in recovered.problems]


def test_a_segment_in_the_place_of_another_is_missed() -> None:
    """Of one queue and one start: its blocks are sound."""
    disk = FakeDisk()
    store = Store(disk)
    for _ in range(2):
        page_out(store, 1, [store.publish(b"same size", 1)[0] for _ in range(3)])
        store.logs[1].backlog.seal()
    disk.put(segment_name(1, 2), disk.content(segment_name(1, 1)))
    report = inspect_folder(disk)
    assert [str(problem) for problem in report.problems] == [
        f"{segment_name(1, 2)}, offset 32: 3 messages count, and 0 can be read"
    ]


def test_what_lies_behind_the_end_of_a_segment_was_never_promised() -> None:
    report = damaged(SEGMENT, FOLDER.content(SEGMENT) + b"half a block")
    assert report.problems == []
    assert places(report) == [(SEGMENT, len(FOLDER.content(SEGMENT)))]


def test_a_segment_that_nothing_names_is_a_note_and_so_is_what_is_wrong_in_it() -> None:
    stray = segment_name(9, 1)
    content = bytearray(FOLDER.content(SEGMENT))
    content[-1] ^= 1
    report = damaged(stray, bytes(content))
    assert report.problems == []
    assert [note.file for note in report.notes] == [stray, stray]
    assert report.notes[0].what == "the journal does not name it: the next start removes it"


def test_a_newer_format_is_named_and_refused() -> None:
    for name, magic in ((LAST, b"AMQBJRNL"), ("definitions", b"AMQBDEFS")):
        content = bytearray(FOLDER.content(name))
        content[: len(content)] = newer(bytes(content), magic)
        report = damaged(name, bytes(content))
        assert report.recovered is None
        assert f"format version {FORMAT_VERSION + 1}" in report.refusal
        assert (name, 8) in places(report)


def newer(content: bytes, magic: bytes) -> bytes:
    """The same file with a header of the next format version."""
    header = bytearray(file_header(magic, 4, SEED))
    header[11] += 1
    header[28:32] = zlib.crc32(bytes(header[:28])).to_bytes(4, "big")
    return bytes(header) + content[FILE_HEADER_BYTES:]


def test_files_under_wrong_names_are_noticed() -> None:
    report = damaged(journal_name(5), FOLDER.content(journal_name(4)))
    assert (journal_name(5), 12) in places(report)


def test_leftovers_are_notes() -> None:
    report = damaged("definitions.new", FOLDER.content("definitions")[:40])
    assert report.problems == []
    assert {note.file for note in report.notes} == {"definitions.new"}
    report = damaged("journal-000000000001.damaged", b"?")
    assert places(report) == [("journal-000000000001.damaged", 0)]
    report = damaged("notes.txt", b"?")
    assert (places(report), report.others) == ([], ["notes.txt"])


def test_without_its_definitions_a_folder_says_why_a_start_refuses() -> None:
    report = damaged("definitions", FOLDER.content("definitions")[:-1])
    assert report.recovered is None
    assert report.refusal.startswith("definitions, offset 32: ")
    # The rest is looked at all the same, and no damage is seen where none is.
    assert {problem.file for problem in report.problems} == {"definitions"}
    assert len(report.files) == 4
    assert len(report.segments) == 2


def test_no_damaged_block_doubles_a_message() -> None:
    """Not even one that said that messages had gone from the journal to a segment."""
    for name in BITS:
        if not name.startswith("journal-"):
            continue
        at = FOLDER.content(name).find(b"blok")
        while at >= 0:
            content = bytearray(FOLDER.content(name))
            content[at + 24] ^= 1
            disk = FakeDisk()
            for other in BITS:
                disk.put(other, FOLDER.content(other))
            disk.put(name, bytes(content))
            found = [each.index for each in stored_messages(disk, read_folder(disk), 1)]
            assert len(found) == len(set(found)), (name, at)
            at = FOLDER.content(name).find(b"blok", at + 1)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_it_finds_all_that_a_start_finds(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from([name for name in BITS if name != "lock"]))
    content = bytearray(FOLDER.content(name))
    for _ in range(3):
        content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(0, 255))
    report = damaged(name, bytes(content))
    if report.recovered is None:
        assert report.refusal
        return
    found = set(places(report))
    for problem in report.recovered.problems:
        assert (problem.file, problem.offset) in found
