"""Messages that come back from disk, and entries that hold up the journal's oldest file.

A piece of a segment is read by the edge and becomes entries here. What is damaged is stepped over,
said with file and offset, and counted; a read that fails is tried again for a while, since the
cause may pass.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from mypy_extensions import i64

from amqbroker.core import log
from amqbroker.core.dead_letters import hides
from amqbroker.core.entry import QueueEntry
from amqbroker.core.memory import SEGMENT_COUNT_MIN, ReadRequest
from amqbroker.core.timers import TimerTarget
from amqbroker.message import ENTRY_OVERHEAD_BYTES, IN_SEGMENT, WRITTEN, Entry
from amqbroker.store.segments import KEPT, REDELIVERED

if TYPE_CHECKING:
    from amqbroker.core.broker import Broker
    from amqbroker.core.line import Line
    from amqbroker.core.queue import Queue

# A disk that is away for a while must not cost messages.
READ_ATTEMPTS_MAX: Final = 60
# Of a segment in which something was lost already.
DAMAGED_ATTEMPTS_MAX: Final = 3
RETRY_S: Final = 1.0


@final
class ReadRetry(TimerTarget):
    """Asks once more for a piece that could not be read."""

    def __init__(self, broker: Broker, request: ReadRequest) -> None:
        self._broker = broker
        self._request = request

    def on_timer(self, kind: int, now: float) -> None:
        """It may work now."""
        self._request.attempts += 1
        self._broker.memory.reads.append(self._request)


def messages_read(broker: Broker, request: ReadRequest, data: bytes | None, reason: str) -> None:
    """A piece was read, or could not be for this reason."""
    if request.reloading is not None:
        if data is None and request.attempts < READ_ATTEMPTS_MAX:
            broker.timers.set(broker.now + RETRY_S, ReadRetry(broker, request), 0)
        else:
            request.reloading.piece_read(broker, request, data, reason)
        return
    line = request.line
    queue = line.queue
    backlog = line.backlog
    if queue.deleted or backlog is None or backlog.generation != request.generation:
        return
    if data is not None:
        _load(broker, line, request.name, data)
    elif request.attempts < (DAMAGED_ATTEMPTS_MAX if backlog.is_damaged() else READ_ATTEMPTS_MAX):
        if request.attempts == 1:
            broker.log(
                log.WARNING,
                f"{request.name}, offset {request.offset}: {reason}; queue '{queue.name}' waits, "
                "and tries again for a minute",
                queue=queue.name,
            )
        broker.timers.set(broker.now + RETRY_S, ReadRetry(broker, request), 0)
        return
    else:
        lost = backlog.read_failed()
        line.ready.load([], 0, 0, lost, backlog.next_index)
        _report(broker, queue, request.name, request.offset, reason)
        _count_lost(broker, queue, request.name, lost)
    queue.wake()


def _load(broker: Broker, line: Line, name: str, data: bytes) -> None:
    """Turn a piece into entries."""
    queue = line.queue
    backlog = line.backlog
    assert backlog is not None, queue.name
    memory = line.memory
    reader = backlog.begin_read(data)
    redelivered = backlog.redelivered
    counts = line.log.counts if line.log is not None else None
    if counts is not None and not counts.in_segments:
        counts = None
    came_back = line.came_back
    is_counted = counts is not None or bool(came_back)
    entries: list[QueueEntry | None] = []
    size: i64 = 0
    body_bytes: i64 = 0
    kept: i64 = 0
    # Messages that follow each other mostly share one.
    header = b""
    while reader.next_block():
        if not backlog.wants_block(reader):
            continue
        wanted_flags = backlog.wanted_flags
        is_cut_up = backlog.is_cut_up
        # Mostly all of a block were delivered before, or none: then no index is looked up.
        some_redelivered = redelivered.touches(reader.first, reader.last)
        all_redelivered = some_redelivered and redelivered.covers(reader.first, reader.last)
        while True:
            message = reader.next_record()
            if message is None:
                break
            index = reader.index
            flags = reader.flags
            if flags & wanted_flags != wanted_flags or (is_cut_up and not backlog.wants(index)):
                continue
            entry = QueueEntry(message, line, index)
            entry.file = IN_SEGMENT
            entry.expires_at = reader.expires_at
            entry.deliveries = reader.deliveries
            if is_counted:
                if counts is not None:
                    entry.deliveries = counts.of(index, entry.deliveries)
                entry.deliveries = came_back.pop(index, entry.deliveries)
            if flags & KEPT != 0:
                entry.state = WRITTEN
                kept += 1
            entry.redelivered = (
                flags & REDELIVERED != 0
                or all_redelivered
                or (some_redelivered and redelivered.contains(index))
            )
            if message.header is not header:
                header = message.header
                if hides(header):
                    queue.hide_copies()
            message.holders = 1
            size += message.cost
            body_bytes += len(message.body)
            entries.append(entry)
    memory.bytes += size + len(entries) * ENTRY_OVERHEAD_BYTES
    lost = backlog.end_read(reader, len(data), len(entries), kept, body_bytes)
    line.ready.load(entries, size, body_bytes, lost, backlog.next_index)
    for offset, what in reader.problems:
        _report(broker, queue, name, offset, what)
    _count_lost(broker, queue, name, lost)


def _report(broker: Broker, queue: Queue, name: str, offset: int, what: str) -> None:
    broker.log(log.ERROR, f"{name}, offset {offset}: {what}", queue=queue.name)


def _count_lost(broker: Broker, queue: Queue, name: str, lost: int) -> None:
    if lost > 0:
        broker.messages_lost += lost
        broker.log(
            log.ERROR,
            f"{name}: {lost} messages of queue '{queue.name}' cannot be read and are left out; "
            "the file is kept aside",
            queue=queue.name,
        )


def empty_file(broker: Broker, number: int) -> None:
    """Entries in this journal file keep it: write them once more, or put them into segments."""
    found: list[Entry] = []
    journal = broker.journal
    for line in broker.all_lines():
        if line.log is None or not journal.has_entries(line.id, number):
            continue
        if line.ready.tail_count() >= SEGMENT_COUNT_MIN:
            line.memory.spill(line, 0)
        found.extend(_in_file(line.ready.entries(), number))
    found.extend(_in_file(broker.dead_letters.entries(), number))
    for channel in broker.channels():
        found.extend(_in_file(channel.unacked.entries(), number))
        if channel.transaction is not None:
            found.extend(_in_file(channel.transaction.taken(), number))
    journal.rewrite(found)


def _in_file(entries: list[QueueEntry], number: int) -> list[QueueEntry]:
    return [entry for entry in entries if entry.state == WRITTEN and entry.file == number]
