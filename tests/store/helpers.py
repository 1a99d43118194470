"""What the tests of the store share: messages, and a journal on a fake disk."""

from __future__ import annotations

import anyio

from amqbroker.message import Entry, Message
from amqbroker.store.files import JournalWriter
from amqbroker.store.folder import JournalFiles, open_folder
from amqbroker.store.journal import JOURNAL_FILE_BYTES, Batch, Journal
from amqbroker.store.recovery import Recovered
from tests.store.fake_disk import FakeDisk

SEED = b"\x01\x02\x03\x04\x05\x06\x07\x08"


def make_message(body: bytes = b"body") -> Message:
    """A persistent message to exchange "" with routing key "key"."""
    return Message(1, b"\x00\x03key", 0, b"header", body, True)


def bodies(recovered: Recovered) -> dict[int, list[bytes]]:
    """The bodies that were recovered, by queue."""
    return {
        queue_id: [entry.message.body for entry in entries]
        for queue_id, entries in recovered.messages.items()
    }


def take(journal: Journal) -> Batch:
    """The batch that must be there."""
    batch = journal.take_batch()
    assert batch is not None
    return batch


def commit(journal: Journal, files: JournalFiles) -> Batch | None:
    """Write all that waits, as the edge does."""
    batch = journal.take_batch()
    if batch is not None:
        files.write(batch)
        journal.synced(batch.position)
    return batch


async def write(writer: JournalWriter, batch: Batch) -> None:
    """Return once the batch is written. Raises what kept it from that."""
    done = anyio.Event()
    errors: list[Exception | None] = []

    def end(error: Exception | None) -> None:
        errors.append(error)
        done.set()

    writer.write(batch, end)
    await done.wait()
    if errors[0] is not None:
        raise errors[0]


class Store:
    """An open folder on a fake disk, with queues that give their own indexes."""

    def __init__(
        self,
        disk: FakeDisk,
        file_bytes_max: int = JOURNAL_FILE_BYTES,
        queue_ids: tuple[int, ...] = (1, 2, 3),
    ) -> None:
        self.disk = disk
        self.recovered, self.journal, self.files = open_folder(disk, SEED, file_bytes_max)
        self.logs = {queue_id: self.journal.open_queue(queue_id) for queue_id in queue_ids}

    def publish(self, body: bytes, *queue_ids: int) -> list[Entry]:
        """Append a message to the queues."""
        message = make_message(body)
        entries = []
        for queue_id in queue_ids:
            log = self.logs[queue_id]
            entry = Entry(message, queue_id, log.next_index)
            log.append(entry)
            entries.append(entry)
        return entries

    def settle(self, *entries: Entry) -> None:
        """Settle entries."""
        for entry in entries:
            self.logs[entry.queue_id].settle(entry)

    def commit(self) -> Batch | None:
        """Write all that waits."""
        return commit(self.journal, self.files)
