"""What a transactional channel holds back until tx.commit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from amqbroker.core.entry import QueueEntry
from amqbroker.message import Message

if TYPE_CHECKING:
    from amqbroker.core.channel import Channel
    from amqbroker.core.queue import Queue

# HeldSettle.outcome
ACK: Final = 0
REQUEUE: Final = 1
REJECT: Final = 2


@final
class HeldPublish:
    """A publish, with the queues that it was routed to when it came."""

    __slots__ = ("message", "queues")

    def __init__(self, message: Message, queues: list[Queue]) -> None:
        self.message = message
        self.queues = queues


@final
class HeldSettle:
    """Deliveries that are settled at the commit: acknowledged, requeued or rejected."""

    __slots__ = ("entries", "outcome")

    def __init__(self, entries: list[QueueEntry], outcome: int) -> None:
        self.entries = entries
        self.outcome = outcome


@final
class HeldGet:
    """A basic.get whose message is still on its way from disk."""

    __slots__ = ("channel", "no_ack", "queue")

    def __init__(self, channel: Channel, queue: Queue, no_ack: bool) -> None:
        self.channel = channel
        self.queue = queue
        self.no_ack = no_ack


@final
class Transaction:
    """What one channel has done since its last commit or rollback."""

    __slots__ = ("publishes", "settles")

    def __init__(self) -> None:
        self.publishes: list[HeldPublish] = []
        self.settles: list[HeldSettle] = []

    def settle(self, entries: list[QueueEntry], outcome: int) -> None:
        """Hold these back, together with what has the same outcome and was settled just before."""
        last = self.settles[-1] if self.settles else None
        if last is None or last.outcome != outcome:
            self.settles.append(HeldSettle(entries, outcome))
        else:
            last.entries.extend(entries)

    def taken(self) -> list[QueueEntry]:
        """Every delivery that waits to be settled."""
        return [entry for settle in self.settles for entry in settle.entries]
