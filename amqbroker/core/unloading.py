"""Messages that are out for delivery leave memory, too, when it is short.

What waits goes to disk first (memory.py). If that is not enough, what clients have and did not
settle yet follows: a message that its segment still has is let go of at once, others are written
to segments of their own before, some with each batch of the journal. The entry stays, with its
place on its channel: to settle it takes nothing else. One that comes back is ready and on disk,
and is read when somebody wants it; one that is rejected and has a dead-letter exchange to go to is
read first (reloading.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mypy_extensions import i64

from amqbroker.core.entry import QueueEntry
from amqbroker.message import ENTRY_OVERHEAD_BYTES, VOLATILE, Entry

if TYPE_CHECKING:
    from amqbroker.core.broker import Broker

# So much is written with one batch.
STORE_BYTES: Final = 8 * 1024 * 1024


def relieve(broker: Broker) -> None:
    """All messages together take too much. The disk can be full: then only what it has goes."""
    memory = broker.memory
    can_write = not broker.alarms.disk_is_short()
    lines = broker.all_lines()
    excess = memory.relieve(lines)
    if excess > 0:
        excess -= _unload(broker, can_write)
    if excess > 0:
        memory.give_back(lines, excess, _bounds(broker), can_write)
    memory.relieved()


def _unload(broker: Broker, can_write: bool) -> i64:
    """Let go of what is out for delivery and on disk; how much that gains, and will when the rest
    is there too."""
    memory = broker.memory
    before = memory.bytes
    to_be_stored: i64 = 0
    for entries in _loaded(broker).values():
        line = entries[0].line
        for entry in entries:
            if not line.unload(entry):
                to_be_stored += entry.message.cost + ENTRY_OVERHEAD_BYTES
    if to_be_stored > 0 and can_write:
        memory.unloading = True
        return before - memory.bytes + to_be_stored
    return before - memory.bytes


def store_some(broker: Broker) -> None:
    """Put some of what is out for delivery into the next batch."""
    memory = broker.memory
    bounds = _bounds(broker)
    left = min(STORE_BYTES, memory.disk_room)
    stored: i64 = 0
    for line_id, entries in _loaded(broker).items():
        line = entries[0].line
        # What a transaction has settled is not outstanding when its batch ends. If it is transient,
        # nothing would keep its segment, and it would be written again and again.
        candidates: list[Entry] = [
            entry
            for entry in entries
            if not line.unload(entry) and (entry.outstanding or entry.state != VOLATILE)
        ]
        if candidates and left > stored and memory.excess() > 0:
            candidates.sort(key=_index_of)
            others = _without(bounds.get(line_id, []), candidates)
            stored += line.store_out(candidates, others, left - stored)
    if stored == 0 or memory.excess() <= 0:
        memory.unloading = False
        memory.relieved()


def _index_of(entry: Entry) -> int:
    return entry.index


def _without(bounds: list[int], entries: list[Entry]) -> list[int]:
    own = {entry.index: True for entry in entries}
    return [index for index in bounds if index not in own]


def _loaded(broker: Broker) -> dict[int, list[QueueEntry]]:
    """What clients have and is in memory, by the line's id, in no order."""
    found: dict[int, list[QueueEntry]] = {}
    for client in broker.clients.values():
        for channel in client.channels.values():
            entries = channel.unacked.loaded()
            if channel.transaction is not None:
                for entry in channel.transaction.taken():
                    if not entry.message.is_absent():
                        entries.append(entry)
            for entry in entries:
                if not entry.line.queue.deleted:
                    found.setdefault(int(entry.line.id), []).append(entry)
    return found


def _bounds(broker: Broker) -> dict[int, list[int]]:
    """The indexes of what is in memory and not ready, whoever has it, by the line's id."""
    found: dict[int, list[int]] = {}
    entries = broker.dead_letters.entries()
    for channel in broker.own_channels:
        entries.extend(channel.unacked.entries())
    for queue in broker.all_queues():
        if queue.reloading is not None:
            entries.extend(queue.reloading.entries())
    for loaded in _loaded(broker).values():
        entries.extend(loaded)
    for entry in entries:
        found.setdefault(int(entry.line.id), []).append(int(entry.index))
    return found
