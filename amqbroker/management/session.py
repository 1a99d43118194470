"""A channel of the broker's own: an administrator's publish and get go the way of any other.

The session is a client that nobody is connected to, for as long as one request takes. Its user may
do everything; what the rules say to a client (overflow, dead letters, topic permissions ...) holds
for it too. What the core writes to it is dropped, but for the sign that a message was returned.
"""

from __future__ import annotations

from typing import Final, final

from amqbroker.auth.permissions import EVERYTHING, Permissions
from amqbroker.auth.users import ADMINISTRATOR, IMPERSONATOR, User
from amqbroker.core import consuming, settling
from amqbroker.core.broker import Broker
from amqbroker.core.channel import Channel
from amqbroker.core.client import Client
from amqbroker.core.confirms import Confirms
from amqbroker.core.entry import QueueEntry
from amqbroker.core.held import ACK, REQUEUE
from amqbroker.core.publishing import publish
from amqbroker.core.vhost import VirtualHost
from amqbroker.errors import AmqpError
from amqbroker.management.errors import REFUSED, ManagementError, refusal
from amqbroker.message import Message
from amqbroker.wire import methods as m

NAME: Final = "amqbroker ctl"
# Connections with a socket have numbers from 1 on.
NO_CONNECTION: Final = 0


@final
class Session:
    """One channel on one virtual host, until it is closed."""

    def __init__(self, broker: Broker, vhost: VirtualHost) -> None:
        everything = Permissions(EVERYTHING, EVERYTHING, EVERYTHING)
        client = Client(broker, NO_CONNECTION, NAME, "", broker.now)
        client.user = User(NAME, None, (ADMINISTRATOR, IMPERSONATOR), {vhost.name: everything})
        client.opened(vhost)
        self._broker = broker
        self._client = client
        self._channel = Channel(client, 1, vhost)
        client.channels[1] = self._channel
        broker.own_channels.append(self._channel)

    def publish(self, message: Message) -> tuple[bool, int]:
        """Publish, mandatory; whether any queue got the message, and the journal position after
        which it outlives a crash. Raises ManagementError."""
        if self._broker.alarm:
            what = f"publishers are blocked: the broker is {self._broker.alarm}"
            raise ManagementError(REFUSED, what)
        confirms = Confirms()
        self._channel.confirms = confirms
        try:
            publish(self._channel, message)
        except AmqpError as error:
            raise refusal(error) from None
        if confirms.is_refused():
            raise ManagementError(REFUSED, "a queue is full and rejects the message")
        # Nothing else is written to a publisher before the turn is settled.
        is_returned = self._client.output.size() > 0
        return not is_returned, confirms.last_position()

    def get(self, queue: str) -> None:
        """Take the next message, if there is one; it may be on its way from disk. Raises
        ManagementError."""
        self._client.output.take()
        try:
            consuming.get(self._channel, m.BasicGet(0, queue, False))
        except AmqpError as error:
            raise refusal(error) from None

    def is_waiting(self) -> bool:
        """Whether the message is on its way from disk."""
        return self._channel.waiting_get is not None

    def taken(self) -> list[QueueEntry]:
        """The messages that were taken, the first one first."""
        return self._channel.unacked.entries()

    def close(self, *, ack: bool) -> None:
        """The end: what was taken is done with, or goes back to its place."""
        entries = self._channel.unacked.take_all()
        settling.finish(self._channel, entries, ACK if ack else REQUEUE)
        self._client.output.take()
        self._broker.own_channels.remove(self._channel)
        self._client.lost()
