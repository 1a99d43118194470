"""The journal against dicts: publishes, settles, rolls, deletes, crashes and restarts at random."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from amqbroker.errors import DiskFullError
from amqbroker.message import PENDING, WRITTEN, Entry
from amqbroker.store.journal import RELIEF, Batch
from tests.store.fake_disk import FakeDisk
from tests.store.helpers import Store, make_message

FILE_BYTES_MAX = 400
Key = tuple[int, int]  # queue id, index


class JournalModel(RuleBasedStateMachine):
    """The model keeps, for each (queue, index), the body, and what the disk may still think.

    `live` are entries that were not settled. `confirmed` is the part of it that must survive a
    crash. `unsure` were written or are being written, and settled or deleted without a sync since:
    they may be back after a crash. The same for definitions: `definitions` are as they are now,
    `maybe` are the states since the last sync.
    """

    def __init__(self) -> None:
        super().__init__()
        self.disk = FakeDisk()
        self.live: dict[Key, Entry] = {}
        self.confirmed: set[Key] = set()
        self.unsure: set[Key] = set()
        self.all_bodies: dict[Key, bytes] = {}
        self.next_index: dict[int, int] = {}
        self.definitions: dict[bytes, bytes] = {}
        self.maybe: list[dict[bytes, bytes]] = [{}]
        self.batch: Batch | None = None
        self.number = 0
        self.queue_ids = [1, 2, 3]
        self.open()

    def open(self) -> None:
        """Open the folder and compare it with the model, which then follows what was found."""
        self.batch = None
        self.store = Store(self.disk, FILE_BYTES_MAX, queue_ids=())
        recovered = self.store.recovered
        assert recovered.problems == []
        found = {
            (queue_id, entry.index): entry
            for queue_id, entries in recovered.messages.items()
            if queue_id in self.queue_ids
            for entry in entries
        }
        assert self.confirmed <= set(found)
        assert set(found) <= set(self.live) | self.unsure
        for key, entry in found.items():
            assert entry.message.body == self.all_bodies[key]
            assert entry.state == WRITTEN
        for entries in recovered.messages.values():
            indexes = [entry.index for entry in entries]
            assert indexes == sorted(indexes)
        assert recovered.definitions in self.maybe
        self.definitions = dict(recovered.definitions)
        self.maybe = [dict(self.definitions)]
        self.live = found
        self.confirmed = set(found)
        self.unsure = set()
        for queue_id in self.queue_ids:
            log = self.store.journal.open_queue(queue_id)
            self.store.logs[queue_id] = log
            written = [index for queue, index in found if queue == queue_id]
            assert log.next_index > max(written, default=-1)
        total = sum(map(len, recovered.messages.values()))
        assert self.store.journal.drop_unclaimed() == total - len(found)

    @rule(places=st.sets(st.integers(0, 2), min_size=1), size=st.integers(0, 300))
    def publish(self, places: set[int], size: int) -> None:
        self.number += 1
        message = make_message(b"%d " % self.number + bytes(size))
        for queue_id in sorted(self.queue_ids[place] for place in places):
            log = self.store.logs[queue_id]
            entry = Entry(message, queue_id, log.next_index)
            assert log.append(entry) == self.store.journal.position
            key = (queue_id, int(entry.index))
            assert key not in self.live
            self.live[key] = entry
            self.all_bodies[key] = message.body

    @rule(choice=st.integers(0, 1000), count=st.integers(1, 4))
    def settle(self, choice: int, count: int) -> None:
        keys = sorted(self.live)
        for key in keys[choice % (len(keys) + 1) :][:count]:
            self.forget(key)
            self.store.logs[key[0]].settle(self.entry)

    @rule(place=st.integers(0, 2), settles_first=st.booleans())
    def delete_queue(self, place: int, settles_first: bool) -> None:
        """Another queue takes its place, with an id of its own."""
        queue_id = self.queue_ids[place]
        log = self.store.logs.pop(queue_id)
        for key in [key for key in self.live if key[0] == queue_id]:
            self.forget(key)
            if settles_first:
                log.settle(self.entry)
        log.close()
        new_id = max(int(self.store.journal.next_queue_id), max(self.queue_ids) + 1)
        self.queue_ids[place] = new_id
        self.store.logs[new_id] = self.store.journal.open_queue(new_id)

    def forget(self, key: Key) -> None:
        """The entry is settled now; on disk it may live on for a while."""
        self.entry = self.live.pop(key)
        self.confirmed.discard(key)
        if self.entry.state != PENDING:
            self.unsure.add(key)

    @rule(key=st.sampled_from([b"a", b"b"]), value=st.binary(max_size=20))
    def define(self, key: bytes, value: bytes) -> None:
        self.store.journal.define(key, value)
        self.definitions[key] = value
        self.maybe.append(dict(self.definitions))

    @rule(key=st.sampled_from([b"a", b"b"]))
    def undefine(self, key: bytes) -> None:
        self.store.journal.undefine(key)
        self.definitions.pop(key, None)
        self.maybe.append(dict(self.definitions))

    @precondition(lambda self: self.batch is None)
    @rule()
    def take_batch(self) -> None:
        self.batch = self.store.journal.take_batch()
        self.taken = [key for key, entry in self.live.items() if entry.state == WRITTEN]
        self.taken_definitions = len(self.maybe) - 1
        self.one_file_is_enough = False
        if self.batch is not None:
            number = self.batch.file_number
            self.one_file_is_enough = all(entry.file == number for entry in self.live.values())
        elif not self.store.journal.full:
            assert all(entry.state == WRITTEN for entry in self.live.values())

    @precondition(lambda self: self.batch is not None)
    @rule(room=st.one_of(st.none(), st.integers(0, 300)))
    def write(self, room: int | None) -> None:
        """The disk may have room for so many bytes only."""
        assert self.batch is not None
        if room is not None:
            self.disk.capacity_bytes += room - self.disk.free_bytes()
        try:
            self.store.files.write(self.batch)
        except DiskFullError:
            self.refuse()
            return
        finally:
            self.disk.capacity_bytes = 1 << 40
        self.store.journal.synced(self.batch.position)
        if self.batch.position != RELIEF:
            assert self.store.journal.synced_position == self.batch.position
        if self.batch.sync:
            self.confirmed |= {key for key in self.taken if key in self.live}
            self.maybe = self.maybe[self.taken_definitions :]
        if self.one_file_is_enough:
            assert sum(name.startswith("journal-") for name in self.disk.names()) == 1
        self.batch = None

    def refuse(self) -> None:
        """All of the batch waits again. A crash may bring back what was undone."""
        self.unsure |= set(self.taken)
        self.store.journal.refused("no room")
        self.batch = None
        assert self.store.journal.full
        for key in self.confirmed:
            assert self.live[key].state == WRITTEN

    @precondition(lambda self: self.batch is None)
    @rule(tries_all=st.booleans())
    def retry(self, tries_all: bool) -> None:
        self.store.journal.retry(tries_all=tries_all)

    @rule(
        kept_bytes=st.integers(0, 400),
        kept_changes=st.integers(0, 15),
        zeros=st.sampled_from([0, 100]),
        write_first=st.booleans(),
    )
    def crash(self, kept_bytes: int, kept_changes: int, zeros: int, write_first: bool) -> None:
        if write_first and self.batch is not None:
            # The batch was written when the crash came, but nobody has heard of it.
            self.store.files.write(self.batch)
        self.disk.crash(kept_bytes, kept_changes, zeros)
        self.open()

    @precondition(lambda self: self.batch is None)
    @rule(delivered=st.integers(0, 1000))
    def stop_and_start(self, delivered: int) -> None:
        keys = sorted(self.live)
        marked = keys[delivered % (len(keys) + 1) :]
        already = {key for key, entry in self.live.items() if entry.redelivered}
        for key in marked:
            self.live[key].redelivered = True
        expected = already | set(marked)
        self.store.journal.retry(tries_all=True)
        self.store.journal.stop([self.live[key] for key in sorted(expected)])
        self.store.commit()
        self.confirmed = set(self.live)
        self.unsure = set()
        self.maybe = [dict(self.definitions)]
        self.disk.crash()
        self.open()
        assert self.store.recovered.clean
        assert {key for key, entry in self.live.items() if entry.redelivered} == expected


TestJournalModel = JournalModel.TestCase
