"""A disk without room: publishers are blocked, consumers make room, and the broker tries again.

The journal keeps what the disk refused. What makes room is written at once, as far as it goes; the
rest is tried again once a second if the edge measured that it fits, and now and then in any case,
since a quota does not show in what is measured.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from amqbroker.core import log
from amqbroker.core.memory import ReadRequest
from amqbroker.core.paging import messages_read
from amqbroker.core.timers import TimerTarget

if TYPE_CHECKING:
    from amqbroker.core.broker import Broker

RETRY_S: Final = 1.0
# Every so many retries nobody asks whether it fits.
BLIND_RETRIES: Final = 5
# What is written takes a little more room than its bytes.
SPARE_BYTES: Final = 64 * 1024


@final
class Retry(TimerTarget):
    """Tries again until the disk has taken everything."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._retries = 0

    def on_timer(self, kind: int, now: float) -> None:
        """A second later."""
        broker = self._broker
        journal = broker.journal
        if not journal.full:
            return
        self._retries += 1
        fits = broker.alarms.disk_free_bytes >= journal.wanted_bytes() + SPARE_BYTES
        journal.retry(tries_all=fits or self._retries % BLIND_RETRIES == 0)
        broker.timers.set(now + RETRY_S, self, kind)


def refused(broker: Broker, reason: str) -> None:
    """The disk has no room for a batch."""
    broker.journal.refused(reason)
    if broker.journal.broken or broker.alarms.disk_full:
        return
    broker.log(
        log.ERROR,
        f"the disk is full: {reason}. Nothing is lost: publishers are blocked, and what they sent "
        "is confirmed as soon as there is room",
    )
    broker.alarms.disk_full = True
    broker.alarms_changed()
    for line in broker.memory.stored:
        line.queue.wake()
    broker.timers.set(broker.now + RETRY_S, Retry(broker), 0)


def read_refused(broker: Broker, requests: list[ReadRequest]) -> list[ReadRequest]:
    """Answer what asks for bytes that the disk refused, which are still in memory; the others."""
    outbox = broker.memory.outbox
    others: list[ReadRequest] = []
    for request in requests:
        data = outbox.read_refused(request.name, request.offset, request.length)
        if data is None:
            others.append(request)
        else:
            messages_read(broker, request, data, "")
    return others


def look_again(broker: Broker) -> None:
    """The disk took a batch: perhaps it is full no more."""
    if broker.alarms.disk_full and not broker.journal.full and not broker.journal.broken:
        broker.log(log.INFO, "the disk has room again: all that waited is written")
        broker.alarms.disk_full = False
        broker.alarms_changed()
        broker.memory.stored_ended(True)
