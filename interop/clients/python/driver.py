"""The little that the checks need from a client library.

Each library has a driver that maps it to its own calls.

Calls block, also where the library is asynchronous: its loop then runs in a thread of its own, as
it does in a real program. A driver calls only what a user of the library would call.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

from interop.clients.python.address import Address

#: Longest wait for an answer of the broker.
ANSWER_S: Final = 8.0

Properties = Mapping[str, Any]
"""AMQP property names to values; `timestamp` in seconds, `expiration` in milliseconds as text."""


class BrokerError(Exception):
    """The broker closed a channel or connection; `reported_as` is the client's type of error."""

    def __init__(self, code: int, text: str, reported_as: str) -> None:
        super().__init__(f"{code} {text} (reported as {reported_as})")
        self.code = code
        self.text = text
        self.reported_as = reported_as


class NackedError(Exception):
    """The broker refused a publish with basic.nack."""


@dataclass(slots=True)
class Delivery:
    """A message from basic.deliver or basic.get; `native` is the library's own object."""

    body: bytes
    delivery_tag: int
    redelivered: bool
    exchange: str
    routing_key: str
    properties: dict[str, Any] = field(default_factory=dict)
    message_count: int | None = None
    native: Any = None


@dataclass(slots=True)
class Returned:
    """A message that a mandatory publish got back; `body` is None where the client drops it."""

    code: int
    text: str
    routing_key: str
    body: bytes | None = None


@dataclass(slots=True)
class QueueInfo:
    """The broker's answer to queue.declare."""

    name: str
    messages: int
    consumers: int


class Channel(ABC):
    """One channel. A call raises `BrokerError` when the broker has closed it."""

    #: Whether the client can nack several messages in one method.
    nacks_multiple: ClassVar[bool] = True

    def __init__(self) -> None:
        self.inbox: deque[Delivery] = deque()

    @abstractmethod
    def declare_queue(
        self,
        name: str,
        *,
        passive: bool = False,
        durable: bool = False,
        exclusive: bool = False,
        auto_delete: bool = False,
        arguments: dict[str, Any] | None = None,
    ) -> QueueInfo: ...

    @abstractmethod
    def delete_queue(self, name: str) -> int | None:
        """Delete and return how many messages went with it, None where the client does not say."""

    @abstractmethod
    def purge_queue(self, name: str) -> int | None:
        """Purge and return how many messages went, None where the client does not say."""

    @abstractmethod
    def bind_queue(
        self, queue: str, exchange: str, key: str = "", arguments: dict[str, Any] | None = None
    ) -> None: ...

    @abstractmethod
    def unbind_queue(self, queue: str, exchange: str, key: str = "") -> None: ...

    @abstractmethod
    def declare_exchange(
        self, name: str, kind: str, *, durable: bool = False, auto_delete: bool = False
    ) -> None: ...

    @abstractmethod
    def delete_exchange(self, name: str) -> None: ...

    @abstractmethod
    def bind_exchange(self, destination: str, source: str, key: str = "") -> None: ...

    @abstractmethod
    def publish(
        self,
        exchange: str,
        key: str,
        body: bytes,
        properties: Properties | None = None,
        *,
        mandatory: bool = False,
    ) -> Returned | None:
        """Publish, and on a confirming channel wait for the confirm.

        The result is what the broker returned meanwhile.
        """

    @abstractmethod
    def get(self, queue: str, *, no_ack: bool = False) -> Delivery | None: ...

    @abstractmethod
    def consume(self, queue: str, *, no_ack: bool = False) -> str:
        """Start a consumer, whose messages arrive in `inbox`, and return its tag."""

    @abstractmethod
    def cancel(self, consumer_tag: str) -> None: ...

    @abstractmethod
    def ack(self, delivery: Delivery, *, multiple: bool = False) -> None: ...

    @abstractmethod
    def ack_tag(self, delivery_tag: int) -> None:
        """Acknowledge a tag that may belong to no message."""

    @abstractmethod
    def nack(self, delivery: Delivery, *, requeue: bool, multiple: bool = False) -> None: ...

    @abstractmethod
    def reject(self, delivery: Delivery, *, requeue: bool) -> None: ...

    @abstractmethod
    def qos(self, prefetch_count: int) -> None: ...

    @abstractmethod
    def close(self) -> None: ...

    @abstractmethod
    def poll(self, seconds: float) -> None:
        """Let the library work for at most so long, or until something has arrived."""

    def next(self, timeout_s: float = ANSWER_S) -> Delivery | None:
        """The next message of any consumer of this channel, None if none comes in time."""
        deadline = time.monotonic() + timeout_s
        while not self.inbox:
            left = deadline - time.monotonic()
            if left <= 0:
                return None
            self.poll(min(left, 0.05))
        return self.inbox.popleft()


class Connection(ABC):
    """One connection to the broker."""

    @abstractmethod
    def channel(self, *, confirm: bool = False) -> Channel:
        """Open a channel; on a confirming one `Channel.publish` waits for the broker's confirm."""

    @abstractmethod
    def idle(self, seconds: float) -> None:
        """Do nothing but what the library needs to keep a connection alive."""

    @abstractmethod
    def is_open(self) -> bool: ...

    @abstractmethod
    def close(self) -> None:
        """Close in order and wait for the broker's answer."""

    @abstractmethod
    def abandon(self) -> None:
        """Free what is left of a connection that the network has lost; raises nothing."""


class Driver(ABC):
    """A client library."""

    #: Type in which this client reports each reply code that closes a channel.
    error_types: ClassVar[dict[int, str]]
    #: What this client says of a virtual host that does not exist.
    no_vhost_text: ClassVar[str] = "NOT_ALLOWED"

    @abstractmethod
    def connect(self, address: Address, *, heartbeat_s: int = 60) -> Connection: ...
