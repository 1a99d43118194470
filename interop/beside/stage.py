"""What a scenario is given: connections, names of its own, and ways to wait without a clock."""

from __future__ import annotations

import time
from typing import Any, Final

from pika import spec

from interop.beside.brokers import Broker
from interop.beside.peer import WAIT_S, Channel, Connection, Content, NothingCameError
from interop.beside.record import Record

_POLL_S: Final = 0.01


class Stage:
    """One scenario on one broker."""

    def __init__(self, broker: Broker, prefix: str) -> None:
        self.broker = broker
        self.record = Record(prefix, broker.address.vhost)
        self._prefix = prefix
        self._connections: list[Connection] = []
        self._queues: list[str] = []
        self._exchanges: list[str] = []
        self._channel: Channel | None = None

    # Clients.

    def raw(self) -> Connection:
        """A connection that has not sent anything."""
        name = f"client {len(self._connections) + 1}"
        connection = Connection(self.broker.address, self.record.add, name)
        self._connections.append(connection)
        return connection

    def connection(
        self,
        user: str | None = None,
        *,
        vhost: str | None = None,
        capabilities: dict[str, bool] | None = None,
        **tune: int,
    ) -> Connection:
        """An open connection; another user's password is their name."""
        connection = self.raw()
        connection.start()
        connection.log_in(user, user, capabilities=capabilities)
        connection.open(vhost, **tune)
        return connection

    def channel(self, user: str | None = None, **options: Any) -> Channel:
        """An open channel on a connection of its own."""
        return self.connection(user, **options).channel()

    # Names.

    def q(self, stem: str = "q") -> str:
        """A queue's name, which no other scenario uses."""
        return self._name(stem, self._queues)

    def x(self, stem: str = "x") -> str:
        """An exchange's name, which no other scenario uses."""
        return self._name(stem, self._exchanges)

    def _name(self, stem: str, known: list[str]) -> str:
        name = f"{self._prefix}{stem}"
        if name not in known:
            known.append(name)
        return name

    # What many scenarios do.

    def publish(self, ch: Channel, queue: str, *bodies: str, **properties: Any) -> None:
        """Messages to a queue, and what follows of them."""
        for body in bodies:
            ch.publish("", queue, body.encode(), **properties)
        self.settle()

    def dying(self, ch: Channel, arguments: dict[str, Any], **flags: Any) -> None:
        """A queue `q` whose dead letters go to `dead`."""
        ch.declare(self.q("dead"))
        target = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": self.q("dead")}
        ch.declare(self.q(), {**target, **arguments}, **flags)

    def empty(self, ch: Channel, *stems: str) -> None:
        """Take all that is in these queues, with all that it carries."""
        self.settle()
        for stem in stems:
            while isinstance(ch.get(self.q(stem)), Content):
                continue

    # Looking and waiting.

    def note(self, *values: object) -> None:
        """A line of the scenario's own."""
        self.record.add("noted", " ".join(str(value) for value in values))

    def counts(self, queue: str) -> tuple[int, int]:
        """Messages and consumers of a queue, by a connection that is not recorded; noted."""
        found = self.look(queue)
        name = queue.removeprefix(self._prefix)
        if found is None:
            self.note(f"{name} is not there")
            return 0, 0
        self.note(f"{name} has {found[0]} messages, {found[1]} consumers")
        return found

    def until(self, queue: str, messages: int | None, consumers: int | None = None) -> None:
        """Look again and again until a queue has so many; `messages=None`: until it is gone."""
        deadline = time.monotonic() + WAIT_S
        while time.monotonic() < deadline:
            found = self.look(queue)
            if messages is None and found is None:
                return
            if found is not None and found[0] == messages and consumers in (None, found[1]):
                return
            time.sleep(_POLL_S)
        raise NothingCameError(f"{queue} with {messages} messages and {consumers} consumers")

    def wait(self, seconds: float) -> None:
        """Let time pass, for what is about time: less than is left until it shows."""
        time.sleep(seconds)

    def settle(self) -> None:
        """Return when all that was sent has had its effects, on queues and back on channels."""
        for _ in range(2):
            self._sync()
            for queue in self._queues:
                self.look(queue)
        self._sync()

    def _sync(self) -> None:
        for connection in self._connections:
            for channel in list(connection.channels.values()):
                channel.sync()
            while not connection.closed and connection.read():
                continue

    def look(self, queue: str) -> tuple[int, int] | None:
        """Messages and consumers of a queue, None if it is not there; recorded nowhere."""
        answer = self._control().declare(queue, passive=True)
        if not isinstance(answer, spec.Queue.DeclareOk):
            return None
        return answer.message_count, answer.consumer_count

    def take_all(self, queue: str) -> list[str]:
        """The bodies of all messages in a queue, taken by a connection that is not recorded."""
        bodies = []
        while isinstance(content := self._control().get(queue), Content):
            bodies.append(content.body.decode())
        return bodies

    def _control(self) -> Channel:
        """A channel of our own, on another connection if the last one has ended."""
        if self._channel is None or self._channel.connection.closed:
            self._channel = self.unrecorded()
        return self._channel

    def unrecorded(self) -> Channel:
        """A channel whose frames are not recorded; the caller closes its connection."""
        connection = Connection(self.broker.address, lambda *_: None, "control")
        connection.start()
        connection.log_in()
        connection.open()
        return connection.channel()

    def tidy(self) -> None:
        """End the connections and delete what the scenario's names name."""
        for connection in self._connections:
            connection.drop()
        for queue in self._queues:
            self._control().delete(queue)
        for exchange in self._exchanges:
            self._control().delete_exchange(exchange)
        self._control().connection.drop()
