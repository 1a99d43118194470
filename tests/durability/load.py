"""What keeps a broker busy until it dies: publishers, consumers, and a changer of definitions.

Each runs in a thread of its own until its connection is lost, and has then written down what it
sent and what it heard; nobody reads that before the thread has ended.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from itertools import count
from random import Random

from pamqp import commands, frame

from .client import (
    CHANNEL,
    Client,
    Confirm,
    Delivery,
    Event,
    Lost,
    ack_frame,
    nack_frame,
    publish_frames,
)
from .ledger import NUMBERS_A_PUBLISHER, make_body, read_body

# The key of a publisher's routes that means this exchange; all others are queues.
FANOUT = "to-some"
LARGE_BODY_BYTES = 200_000


class Loader(threading.Thread):
    """A thread that works until its connection is lost. `fault` is what the broker did wrong."""

    def __init__(self, port: int, seed: int) -> None:
        super().__init__()
        self._port = port
        self.random = Random(seed)
        self.fault = ""

    def run(self) -> None:
        """Work until the broker is gone, and hear what it had said before."""
        with suppress(Lost):
            client = Client(self._port)
            try:
                with suppress(Lost):
                    self.work(client)
                while True:
                    self.hear(client.receive())
            finally:
                client.close()

    def work(self, client: Client) -> None:
        """Raises Lost sooner or later."""
        raise NotImplementedError

    def hear(self, events: list[Event]) -> None:
        """Write down what the broker said."""
        raise NotImplementedError


class Sent:
    """A published message, the queues it went to, and the broker's word on it."""

    __slots__ = ("confirmed", "number", "persistent", "queues")

    def __init__(self, number: int, queues: tuple[str, ...], persistent: bool) -> None:
        self.number = number
        self.queues = queues
        self.persistent = persistent
        self.confirmed = False


class Publisher(Loader):
    """Publishes bursts in confirm mode, with a bounded number of messages not confirmed."""

    def __init__(
        self, port: int, seed: int, numbers: count[int], routes: Mapping[str, tuple[str, ...]]
    ) -> None:
        super().__init__(port, seed)
        self._numbers = numbers
        self._routes = routes
        self.sent: list[Sent] = []
        # So many are confirmed from the start without a gap.
        self._confirmed = 0

    def work(self, client: Client) -> None:
        """Publish, and hear the confirms."""
        client.call(commands.Confirm.Select(), commands.Confirm.SelectOk)
        burst = self.random.choice((1, 5, 20, 100))
        while True:
            client.send(b"".join(self._next() for _ in range(self.random.randint(1, burst))))
            while self._confirmed < len(self.sent) - burst:
                self.hear(client.receive())

    def _next(self) -> bytes:
        random = self.random
        route = random.choice(list(self._routes))
        number = next(self._numbers)
        persistent = random.random() < 0.95
        self.sent.append(Sent(number, self._routes[route], persistent))
        kind = random.random()
        size = random.randint(1, 400)
        if kind < 0.05:
            size = 0
        elif kind > 0.998:
            size = LARGE_BODY_BYTES
        exchange, key = (FANOUT, "") if route == FANOUT else ("", route)
        return publish_frames(exchange, key, persistent, make_body(number, size))

    def hear(self, events: list[Event]) -> None:
        """Write down the confirms."""
        for event in events:
            if not isinstance(event, Confirm):
                continue
            if not event.acked:
                self.fault = f"message {self.sent[event.tag - 1].number} was nacked"
            first = self._confirmed if event.multiple else event.tag - 1
            for sent in self.sent[first : event.tag]:
                sent.confirmed = event.acked
            while self._confirmed < len(self.sent) and self.sent[self._confirmed].confirmed:
                self._confirmed += 1


class Committer(Publisher):
    """Publishes in transactions: commit-ok confirms what was published since the last one."""

    def work(self, client: Client) -> None:
        """Publish and commit."""
        client.call(commands.Tx.Select(), commands.Tx.SelectOk)
        commit = frame.marshal(commands.Tx.Commit(), CHANNEL)
        while True:
            burst = self.random.randint(1, 30)
            client.send(b"".join(self._next() for _ in range(burst)) + commit)
            while self._confirmed < len(self.sent):
                self.hear(client.receive())

    def hear(self, events: list[Event]) -> None:
        """Write down the commits."""
        for event in events:
            if isinstance(event, commands.Tx.CommitOk):
                for sent in self.sent[self._confirmed :]:
                    sent.confirmed = True
                self._confirmed = len(self.sent)


class Consumer(Loader):
    """Consumes one queue: acks most, gives some back, keeps some.

    `known` are the messages that were in the queue before: they have been delivered once.
    """

    def __init__(self, port: int, seed: int, queue: str, known: set[int]) -> None:
        super().__init__(port, seed)
        self._queue = queue
        self._delivered_before = known
        self.delivered: set[int] = set()
        self.acks_sent: set[int] = set()
        # Messages whose acks the broker is known to have had, and since when.
        self.settled: list[tuple[float, list[int]]] = []
        # Numbers of what is not settled, by delivery tag.
        self._held: dict[int, int] = {}
        # Acked since the last question that shows that the broker has read the acks, and before it.
        self._acked: list[int] = []
        self._asked: list[int] | None = None
        self._last: dict[int, int] = {}

    def work(self, client: Client) -> None:
        """Consume, and settle at random."""
        prefetch = self.random.choice((1, 10, 200))
        qos = frame.marshal(commands.Basic.Qos(prefetch_count=prefetch), CHANNEL)
        client.send(qos)
        client.expect(commands.Basic.QosOk)
        client.send(frame.marshal(commands.Basic.Consume(queue=self._queue), CHANNEL))
        while True:
            self.hear(client.receive())
            answer = self._settle(len(self._held) >= prefetch)
            if self._asked is None and self._acked:
                self._asked, self._acked = self._acked, []
                answer += qos
            if answer:
                client.send(answer)

    def hear(self, events: list[Event]) -> None:
        """Take deliveries, and the answers to our questions."""
        for event in events:
            if isinstance(event, Delivery):
                try:
                    self._take(event, read_body(event.body))
                except ValueError as error:
                    self.fault = str(error)
            elif isinstance(event, commands.Basic.QosOk) and self._asked is not None:
                self.settled.append((time.monotonic(), self._asked))
                self._asked = None

    def _take(self, delivery: Delivery, number: int) -> None:
        if number in self.acks_sent or number in self._held.values():
            self.fault = f"message {number} was delivered twice"
        if not delivery.redelivered:
            if number in self.delivered or number in self._delivered_before:
                self.fault = f"message {number} was delivered before and does not say redelivered"
            publisher = number // NUMBERS_A_PUBLISHER
            if number < self._last.get(publisher, -1):
                self.fault = f"message {number} came after {self._last[publisher]}"
            self._last[publisher] = number
        self.delivered.add(number)
        self._held[delivery.tag] = number

    def _settle(self, is_full: bool) -> bytes:
        """Frames that settle some of what is held."""
        if not self._held:
            return b""
        chance = self.random.random()
        if chance < 0.3 or is_full:
            last = max(self._held)
            self._ack(list(self._held))
            return ack_frame(last, True)
        some = [tag for tag in self._held if self.random.random() < 0.5]
        if chance < 0.7:
            self._ack(some)
            return b"".join(ack_frame(tag, False) for tag in some)
        if chance < 0.8:
            for tag in some[:5]:
                del self._held[tag]
            return b"".join(nack_frame(tag, False, True) for tag in some[:5])
        return b""

    def _ack(self, tags: list[int]) -> None:
        numbers = [self._held.pop(tag) for tag in tags]
        self.acks_sent.update(numbers)
        self._acked += numbers


class Definer(Loader):
    """Declares and deletes durable queues, each with an exchange of its own that it is bound to.

    `there` and `gone` are the ones that the broker has answered for; others may be either.
    """

    def __init__(self, port: int, seed: int, numbers: count[int], there: set[int]) -> None:
        super().__init__(port, seed)
        self._numbers = numbers
        self.there = there
        self.gone: set[int] = set()

    def work(self, client: Client) -> None:
        """Keep a few."""
        while True:
            if len(self.there) < 5 or self.random.random() < 0.5:
                number = next(self._numbers)
                declare(client, number)
                self.there.add(number)
            else:
                number = self.random.choice(sorted(self.there))
                self.there.discard(number)
                delete(client, number)
                self.gone.add(number)

    def hear(self, events: list[Event]) -> None:
        """What came too late says nothing."""


def name_of(number: int) -> str:
    """What the queue and the exchange of this number are called."""
    return f"defined-{number}"


def declare(client: Client, number: int) -> None:
    """Declare a queue and an exchange, and bind them."""
    name = name_of(number)
    client.call(commands.Queue.Declare(queue=name, durable=True), commands.Queue.DeclareOk)
    client.call(
        commands.Exchange.Declare(exchange=name, exchange_type="fanout", durable=True),
        commands.Exchange.DeclareOk,
    )
    client.call(commands.Queue.Bind(queue=name, exchange=name), commands.Queue.BindOk)


def delete(client: Client, number: int) -> None:
    """Delete the queue and the exchange."""
    name = name_of(number)
    client.call(commands.Queue.Delete(queue=name), commands.Queue.DeleteOk)
    client.call(commands.Exchange.Delete(exchange=name), commands.Exchange.DeleteOk)
