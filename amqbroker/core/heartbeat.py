"""Heartbeats of one connection, both ways.

The broker sends one when nothing was written for half the interval. It looks once an interval
whether anything was received, any bytes counting, and gives the peer up after two looks in vain: a
dead peer is found between two and three intervals after its last byte.

Source: RabbitMQ's `rabbit_heartbeat`, AMQP 0-9-1 section 4.2.7.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from amqbroker.core import log
from amqbroker.core.timers import Timer, Timers, TimerTarget
from amqbroker.wire.frames import HEARTBEAT_FRAME

if TYPE_CHECKING:
    from amqbroker.core.client import Client

SEND: Final = 0
CHECK: Final = 1
SILENT_CHECKS_MAX: Final = 2


@final
class Heartbeat(TimerTarget):
    """The two timers of one running connection.

    `received` is set by whoever reads from the peer.
    """

    __slots__ = (
        "_check_timer",
        "_client",
        "_interval_s",
        "_send_timer",
        "_silent_checks",
        "_timers",
        "received",
        "sent_at",
    )

    def __init__(self, client: Client, timers: Timers, interval_s: int, now: float) -> None:
        self._client = client
        self._timers = timers
        self._interval_s = interval_s
        self._silent_checks = 0
        self.received = False
        # When bytes were last handed to the socket.
        self.sent_at = now
        self._send_timer: Timer = timers.set(now + interval_s / 2, self, SEND)
        self._check_timer: Timer = timers.set(now + interval_s, self, CHECK)

    def stop(self) -> None:
        """The connection is being closed."""
        self._timers.cancel(self._send_timer)
        self._timers.cancel(self._check_timer)

    def on_timer(self, kind: int, now: float) -> None:
        """Half an interval after the last byte out, or an interval after the last look."""
        if kind == SEND:
            self._send(now)
        else:
            self._check(now)

    def _send(self, now: float) -> None:
        if self.sent_at + self._interval_s / 2 <= now:
            self.sent_at = now
            self._client.send_bytes(HEARTBEAT_FRAME)
        self._send_timer = self._timers.set(self.sent_at + self._interval_s / 2, self, SEND)

    def _check(self, now: float) -> None:
        """A connection that the broker does not read cannot be blamed for silence."""
        if self.received or self._client.must_pause():
            self._silent_checks = 0
        else:
            self._silent_checks += 1
        self.received = False
        if self._silent_checks < SILENT_CHECKS_MAX:
            self._check_timer = self._timers.set(now + self._interval_s, self, CHECK)
            return
        self.stop()
        client = self._client
        client.end = f"missed heartbeats from client, timeout: {self._interval_s}s"
        client.broker.log(
            log.ERROR,
            f"connection {client.name}: {client.end}. Nothing was received for "
            f"{2 * self._interval_s} s: the client is gone, its network is, or it is too busy "
            "to send heartbeats",
            connection=client.name,
            user=client.user.name,
        )
        client.finish()
