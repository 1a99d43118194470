"""What one turn of the broker leaves to do at its end.

A turn is: all inputs that are there, then `Node.settle` once, then the edges drain the outputs.
Whoever changes something that must be looked at puts itself on one of these lists, at most once (a
flag on the object says so).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, final

from mypy_extensions import i64

from amqbroker.core.discard import HELD_BYTES_MAX, HELD_MAX
from amqbroker.core.memory import Memory
from amqbroker.core.timers import Timers
from amqbroker.store.segment_outbox import SegmentOutbox

if TYPE_CHECKING:
    from amqbroker.core.channel import Channel
    from amqbroker.core.client import Client
    from amqbroker.core.discard import Discard
    from amqbroker.core.queue import Queue


@final
class Turn:
    """The work lists of the turn that is under way."""

    __slots__ = (
        "confirming",
        "discarded",
        "discards",
        "dying_bytes_max",
        "dying_max",
        "memory",
        "now",
        "outputs",
        "outrun_at",
        "queues",
        "served",
        "stalled",
        "timers",
        "wall_offset",
    )

    def __init__(self, memory: Memory | None = None) -> None:
        self.memory = memory if memory is not None else Memory(SegmentOutbox(bytes(8)))
        self.timers = Timers()
        # The monotonic time of the last input, in seconds.
        self.now = 0.0
        # Queues with something to deliver or someone to deliver to.
        self.queues: list[Queue] = []
        # Grows with every queue that delivers.
        self.served: i64 = 0
        # When publishers last outran consumers that work: all got what they may have, and much is
        # left.
        self.outrun_at = -1.0
        # Channels with publisher confirms that may be sent now.
        self.confirming: list[Channel] = []
        # What left its queues without an ack, and has a dead-letter exchange to go to.
        self.discards: list[Discard] = []
        # How many entries that are.
        self.discarded: i64 = 0
        # How much of it one queue may have before its consumers get no more.
        self.dying_max: i64 = HELD_MAX
        self.dying_bytes_max: i64 = HELD_BYTES_MAX
        # Queues, by id, that will discard more when dead letters go on.
        self.stalled: dict[int, Queue] = {}
        # Clients with bytes to send, or that must be closed.
        self.outputs: list[Client] = []
        # What makes the time of day of the node's monotonic time, in seconds. It stays as it was at
        # the start: a clock that is set does not make messages expire.
        self.wall_offset = 0.0

    def wall_ms(self) -> i64:
        """The time of day, in milliseconds since 1970."""
        return i64((self.now + self.wall_offset) * 1000)
