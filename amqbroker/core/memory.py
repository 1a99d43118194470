"""What messages take in memory, and who goes to disk for it.

`bytes` is kept exactly: a message counts once, however many queues hold it, from the moment that a
queue gets it until the last one has settled it or put it on disk. What is out for delivery counts
too. What is out and goes to disk as well (unloading.py) keeps a place in its queue and its channel,
and counts in `unloaded` instead.

A queue's tail goes to disk, oldest first, when the tail alone is too long, or, the longest tails
first, when all messages together take more than `bytes_max`. It goes in pieces, a few with each
batch of the journal, so that no turn is long. Of a queue that has much on disk already, the tail
goes as soon as it is worth a write: what has come since the last batch is then written once, to its
segment, and never to the journal.

What is on its way to disk counts until it is there, and can be had back if the disk refuses it.
While it is too much, publishers wait (`must_wait`). Reads come back through `Node.messages_read`;
nothing waits for them but the queue itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from mypy_extensions import i64

from amqbroker.message import ENTRY_OVERHEAD_BYTES, Message, absent_message
from amqbroker.store.backlog import SegmentPiece
from amqbroker.store.segment_outbox import (
    SEGMENT_MESSAGES_MAX,
    SEGMENT_SIZE_MAX,
    SegmentOutbox,
)
from amqbroker.store.segments import SegmentWriter

if TYPE_CHECKING:
    from amqbroker.core.entry import QueueEntry
    from amqbroker.core.line import Line
    from amqbroker.core.reloading import Reloading

MIB: Final = 1024 * 1024
QUEUE_BYTES_MAX: Final = 128 * MIB
# A tail of large bodies (this much a message) is not kept in memory beyond this.
LARGE_COST: Final = 64 * 1024
LARGE_TAIL_BYTES_MAX: Final = 4 * MIB
# A tail behind messages on disk goes there when it has this much.
EAGER_BYTES: Final = MIB
# So much was read ahead or came back, and is given back under pressure whoever wants it.
HEAD_BYTES_MAX: Final = 16 * MIB
BACK_MIN: Final = 64 * 1024
# With fewer messages than this a line is not worth a segment.
SEGMENT_COUNT_MIN: Final = 256
# What one batch puts on disk at least of what need not be in it, and in how many segments at most.
SPILL_BYTES: Final = 4 * MIB
# So much of it is tried on any disk: it may be full, but that has to be found out and said.
SPILL_BYTES_MIN: Final = 64 * 1024
# Half of what is free on the disk, as journal files go only after their messages were moved.
ROOM_DIVISOR: Final = 2
UNKNOWN_ROOM: Final = 1 << 60
SPILL_WRITES_MAX: Final = 32
# Under pressure so much is put on disk that this share of the limit is left.
SPARE_DIVISOR: Final = 4
# If there is nothing that could go, the next look is taken after a growth by this share of the
# limit.
IDLE_DIVISOR: Final = 128
# One read, and what may be left of what was read before when the next one is asked for. A line
# begins with small reads, so that many whose consumers are busy do not fill the memory. Without
# memory to spare all reads are small, and nothing is read ahead.
READ_BYTES: Final = MIB
READ_AHEAD_BYTES: Final = 4 * MIB
SMALL_READ_BYTES: Final = 64 * 1024
# Bodies of up to this size that are not in memory share what stands for them.
SHARED_SIZE_MAX: Final = 16 * 1024
# Of `Line.spill`: there was none.
NOTHING: Final = -1


@final
class ReadRequest:
    """A piece of a segment to be read; the answer goes to `Node.messages_read`."""

    __slots__ = ("attempts", "generation", "length", "line", "name", "offset", "reloading")

    def __init__(self, line: Line, piece: SegmentPiece) -> None:
        self.line = line
        self.name = piece.name
        self.offset: i64 = piece.offset
        self.length: i64 = piece.length
        self.generation: i64 = piece.generation
        self.attempts = 1
        # Who wants it, if it is not for the queue's head.
        self.reloading: Reloading | None = None


@final
class Memory:
    """The account of one node. `outbox` is the journal's."""

    __slots__ = (
        "_absent",
        "_idle_until",
        "back_count_min",
        "back_min",
        "bytes",
        "bytes_max",
        "disk_room",
        "flying_bytes",
        "outbox",
        "read_bytes",
        "reads",
        "spilling",
        "stored",
        "unloaded",
        "unloading",
        "writer",
    )

    def __init__(self, outbox: SegmentOutbox, bytes_max: i64 = QUEUE_BYTES_MAX) -> None:
        self.bytes: i64 = 0
        self.bytes_max: i64 = bytes_max
        # What is worth to be given back, and to be written to a segment of its own.
        self.back_min: i64 = BACK_MIN
        self.back_count_min: i64 = SEGMENT_COUNT_MIN
        # How much may be put on disk at once.
        self.disk_room: i64 = UNKNOWN_ROOM
        # Of `bytes`: on the way to disk.
        self.flying_bytes: i64 = 0
        self.read_bytes: i64 = READ_BYTES
        self.outbox = outbox
        self.writer = SegmentWriter()
        # Lines with something to put on disk, and reads that were not taken by the edge yet.
        self.spilling: list[Line] = []
        self.reads: list[ReadRequest] = []
        # Lines with messages in the batch that is being written.
        self.stored: list[Line] = []
        # What is out for delivery and only on disk; and whether more of that is to go there.
        self.unloaded: i64 = 0
        self.unloading = False
        self._absent: dict[int, Message] = {}
        # Nothing can be gained up to here.
        self._idle_until: i64 = 0

    def hold(self, message: Message) -> None:
        """One more entry has this message."""
        holders = message.holders
        message.holders = holders + 1
        if holders == 0:
            self.bytes += message.cost
        self.bytes += ENTRY_OVERHEAD_BYTES

    def release(self, message: Message) -> None:
        """One entry less has this message."""
        holders = message.holders - 1
        message.holders = holders
        if holders == 0:
            self.bytes -= message.cost
        self.bytes -= ENTRY_OVERHEAD_BYTES

    def unload(self, entry: QueueEntry) -> None:
        """This entry is out for delivery, and its message is on disk: let go of it here."""
        message = entry.message
        size: i64 = len(message.body)
        absent = self._absent.get(size)
        if absent is None:
            absent = absent_message(size)
            if size <= SHARED_SIZE_MAX:
                self._absent[size] = absent
        self.release(message)
        entry.message = absent
        self.unloaded += 1

    # Who goes to disk.

    def disk_measured(self, free_bytes: i64) -> None:
        """The disk takes so much more."""
        self.disk_room = max(free_bytes // ROOM_DIVISOR, SPILL_BYTES_MIN)

    def look_at(self, line: Line) -> None:
        """The queue's turn is over: is this tail too long?"""
        ready = line.ready
        cost = ready.tail_cost()
        if cost > EAGER_BYTES:
            count = ready.tail_count()
            if cost > SEGMENT_SIZE_MAX or count > SEGMENT_MESSAGES_MAX:
                self.spill(line, SEGMENT_SIZE_MAX // 2)
            elif cost > LARGE_TAIL_BYTES_MAX and cost > count * LARGE_COST:
                self.spill(line, 0)
            if ready.paged and line.is_far_behind():
                self.spill(line, 0)

    def spill(self, line: Line, left_bytes: i64) -> None:
        """Put the tail of this line on disk until so much is left."""
        if line.spill_down_to < 0:
            self.spilling.append(line)
            line.spill_down_to = left_bytes
        elif left_bytes < line.spill_down_to:
            line.spill_down_to = left_bytes

    def is_short(self) -> bool:
        """Whether `relieve` is wanted."""
        staying = self.bytes - self.flying_bytes
        if staying <= self.bytes_max or staying <= self._idle_until:
            return False
        return not self.spilling and not self.unloading

    def must_wait(self) -> bool:
        """Whether publishers must wait, since messages come faster than the disk takes them."""
        if self.bytes <= self.bytes_max:
            return False
        return self.flying_bytes > 0 or bool(self.spilling) or self.unloading

    def excess(self) -> i64:
        """Under pressure, so much is to go."""
        staying = self.bytes - self.flying_bytes
        return staying - self.bytes_max + self.bytes_max // SPARE_DIVISOR

    def relieve(self, lines: list[Line]) -> i64:
        """All messages together take too much: the longest of these tails go to disk; how much must
        go besides."""
        excess = self.excess()
        lines.sort(key=tail_cost, reverse=True)
        for line in lines:
            cost = line.ready.tail_cost()
            if excess <= 0 or cost == 0:
                break
            self.spill(line, 0)
            excess -= cost
        return excess

    def give_back(
        self, lines: list[Line], excess: i64, bounds: dict[int, list[int]], can_write: bool
    ) -> None:
        """That is not enough: what was read ahead for consumers that are busy goes back to disk,
        and messages that came back. `bounds`, by the line's id, and `can_write` are as of
        `Line.give_back`."""
        lines.sort(key=idle_cost, reverse=True)
        for line in lines:
            if excess <= 0 or idle_cost(line) < self.back_min:
                break
            excess -= line.give_back(bounds.get(line.id, []), can_write)

    def relieved(self) -> None:
        """That was all that could be done: look again when there is more to be gained."""
        staying = self.bytes - self.flying_bytes
        is_done = bool(self.spilling) or self.unloading
        self._idle_until = 0 if is_done else staying + self.bytes_max // IDLE_DIVISOR

    def write_some(self) -> None:
        """Put some of what is to go to disk into the next batch."""
        staying = self.bytes - self.flying_bytes
        left = max(SPILL_BYTES, (staying - self.bytes_max) // SPARE_DIVISOR)
        left = min(left, self.disk_room)
        writes = SPILL_WRITES_MAX
        while self.spilling and left > 0 and writes > 0:
            line = self.spilling[0]
            extra: i64 = NOTHING
            if not line.queue.deleted:
                extra = line.spill(min(left, SPILL_BYTES))
            if extra == NOTHING:
                line.spill_down_to = -1
                del self.spilling[0]
            else:
                left -= extra
                writes -= 1

    def stored_ended(self, is_on_disk: bool) -> None:
        """The batch is on disk, or the disk refused it: then its messages are in memory again."""
        for line in self.stored:
            if is_on_disk:
                line.landed()
                line.out_landed()
            else:
                line.come_back()
            line.queue.wake()
        self.stored = []

    def read_length(self) -> i64:
        """How much to read at once."""
        return SMALL_READ_BYTES if self.bytes > self.bytes_max else self.read_bytes

    def read_ahead(self) -> i64:
        """What may be left when more is read."""
        return 0 if self.bytes > self.bytes_max else READ_AHEAD_BYTES


def tail_cost(line: Line) -> int:
    """The sort key of lines that may go to disk."""
    return line.ready.tail_cost()


def idle_cost(line: Line) -> int:
    """The sort key of lines that may give something back. A window that is being used is not worth
    it, nor one that a rule looks at: it would be read again at once."""
    cost = line.ready.head_cost()
    queue = line.queue
    if queue.has_rules or queue.waiting_gets or queue.consumers.can_any_take():
        return cost if cost > HEAD_BYTES_MAX else 0
    return cost
