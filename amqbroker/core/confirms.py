"""Publisher confirms of one channel, by journal position.

A publish waits for the position of the batch that holds it, or for nothing. Confirms leave in
publish order, so that one basic.ack with `multiple` serves all publishes that became durable
together; a publish with nothing to wait for waits at most for the one batch that is under way.
Publishes of one batch share a run, so a publish costs three comparisons and no object. A publish
that a queue refused waits for its turn like the others, and is answered with basic.nack.

Source: RabbitMQ's `rabbit_channel` (confirms may be batched, `multiple` never jumps over a pending
tag).
"""

from __future__ import annotations

from typing import final

from mypy_extensions import i64

from amqbroker.wire.outbox import Outbox
from amqbroker.wire.writer import write_ack, write_nack


@final
class Run:
    """Publishes up to and with `last` wait for `position`."""

    __slots__ = ("last", "position")

    def __init__(self, position: i64, last: i64) -> None:
        self.position: i64 = position
        self.last: i64 = last


@final
class Confirms:
    """What one confirm channel still owes its publisher."""

    __slots__ = ("_confirmed", "_refused", "_runs", "publish_seq")

    def __init__(self) -> None:
        # The sequence number of the last publish.
        self.publish_seq: i64 = 0
        # Every publish up to this one was answered.
        self._confirmed: i64 = 0
        self._runs: list[Run] = []
        # Sequence numbers of publishes that are to be nacked, in order.
        self._refused: list[int] = []

    def add(self, position: i64) -> None:
        """One more publish, that waits for this position; 0 waits for nothing, REFUSED is to be
        nacked."""
        seq = self.publish_seq + 1
        self.publish_seq = seq
        if position < 0:
            position = 0
            self._refused.append(seq)
        runs = self._runs
        if runs:
            last = runs[-1]
            if position <= last.position:
                last.last = seq
                return
        runs.append(Run(position, seq))

    def last_position(self) -> i64:
        """What the last publish waits for; 0 for nothing, or if it was answered."""
        return self._runs[-1].position if self._runs else 0

    def is_refused(self) -> bool:
        """Whether any publish is to be nacked, as a queue had no room for it."""
        return bool(self._refused)

    def pending(self) -> bool:
        """Whether any publish was not answered yet."""
        return self._confirmed < self.publish_seq

    def pending_count(self) -> i64:
        """How many publishes were not answered yet."""
        return self.publish_seq - self._confirmed

    def flush(self, out: Outbox, channel: i64, synced_position: i64) -> bool:
        """Write the acks for all that is durable up to this position; whether there was anything to
        write."""
        runs = self._runs
        done: i64 = 0
        upto = self._confirmed
        while done < len(runs) and runs[done].position <= synced_position:
            upto = runs[done].last
            done += 1
        if done == 0:
            return False
        if done == len(runs):
            self._runs = []
        else:
            del runs[:done]
        if self._refused:
            self._nack_refused(out, channel, upto)
        if upto > self._confirmed:
            write_ack(out, channel, upto, upto - self._confirmed > 1)
            self._confirmed = upto
        return True

    def _nack_refused(self, out: Outbox, channel: i64, upto: i64) -> None:
        """Nack what was refused up to this one, and ack what lies before and between."""
        refused = self._refused
        count: i64 = len(refused)
        place: i64 = 0
        while place < count and refused[place] <= upto:
            first: i64 = refused[place]
            last = first
            place += 1
            while place < count and refused[place] <= upto and refused[place] == last + 1:
                last += 1
                place += 1
            if first - 1 > self._confirmed:
                write_ack(out, channel, first - 1, first - 1 - self._confirmed > 1)
            write_nack(out, channel, last, last > first)
            self._confirmed = last
        del refused[:place]

    def refuse_pending(self, out: Outbox, channel: i64) -> None:
        """The journal failed: nack every publish that waits for it."""
        if self.pending():
            write_nack(out, channel, self.publish_seq, self.publish_seq - self._confirmed > 1)
            self._confirmed = self.publish_seq
            self._runs = []
            self._refused = []
