"""What a check opens and declares, and the expectations that its steps end in.

Expectations are `assert`s whose text becomes the reason in the table.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable
from typing import Any, Final

from interop.clients.python.address import Address
from interop.clients.python.driver import ANSWER_S, Channel, Connection, Delivery, Driver

#: How long a check waits to be sure that nothing more arrives.
QUIET_S: Final = 0.3


class Scope:
    """The connections and names of one check; leaving it closes and deletes them."""

    def __init__(self, driver: Driver, address: Address, prefix: str) -> None:
        self._driver = driver
        self._address = address
        self._prefix = prefix
        self._connections: list[Connection] = []
        self._queues: list[str] = []
        self._exchanges: list[str] = []

    def __enter__(self) -> Scope:
        return self

    def __exit__(self, error_type: type[BaseException] | None, *_: object) -> None:
        try:
            while self._connections:
                self._connections[-1].close()
                self._connections.pop()
            if self._queues or self._exchanges:
                self._delete_all()
        except Exception:
            for connection in self._connections:
                connection.abandon()
            if error_type is None:
                raise  # a check that passed must also clean up

    def _delete_all(self) -> None:
        connection = self.connect()
        channel = connection.channel()
        for queue in self._queues:
            channel.delete_queue(queue)
        for exchange in self._exchanges:
            channel.delete_exchange(exchange)
        connection.close()

    def name(self, suffix: str) -> str:
        """A name that no other check or run uses."""
        return f"{self._prefix}.{suffix}"

    def connect(self, address: Address | None = None) -> Connection:
        connection = self._driver.connect(address or self._address)
        self._connections.append(connection)
        return connection

    def channel(self, *, confirm: bool = False) -> Channel:
        """A channel on the check's first connection, opened on demand."""
        connection = self._connections[0] if self._connections else self.connect()
        return connection.channel(confirm=confirm)

    def queue(self, channel: Channel, **options: Any) -> str:
        """Declare a queue that is deleted afterwards and return its name."""
        name = self.name(f"q{len(self._queues)}")
        self._queues.append(name)
        info = channel.declare_queue(name, **options)
        expect(info.name, name, "name in declare-ok")
        return name

    def exchange(self, channel: Channel, kind: str, *, durable: bool = False) -> str:
        """Declare an exchange that is deleted afterwards and return its name."""
        name = self.name(f"x{len(self._exchanges)}")
        self._exchanges.append(name)
        channel.declare_exchange(name, kind, durable=durable)
        return name


def publish_all(
    channel: Channel, queue: str, bodies: Iterable[bytes], properties: dict[str, Any] | None = None
) -> None:
    """Publish the bodies to the queue, in order."""
    for body in bodies:
        channel.publish("", queue, body, properties)


def drain(channel: Channel, queue: str) -> list[bytes]:
    """Take all ready messages of a queue with basic.get."""
    bodies = []
    while (delivery := channel.get(queue, no_ack=True)) is not None:
        bodies.append(delivery.body)
    return bodies


def digest(body: bytes) -> str:
    """What stands for a body too large to print."""
    return hashlib.sha256(body).hexdigest()


def expect(got: object, want: object, what: str) -> None:
    """Fail with both values in the reason."""
    assert got == want, f"{what}: {got!r}, expected {want!r}"


def expect_count(got: int | None, want: int, what: str) -> None:
    """Compare a count, unless the client does not hand it on."""
    if got is not None:
        expect(got, want, what)


def expect_next(channel: Channel, body: bytes) -> Delivery:
    """The next message has this body."""
    delivery = channel.next()
    assert delivery is not None, f"no message came where {body!r} was due"
    expect(delivery.body, body, "body")
    return delivery


def expect_quiet(channel: Channel) -> None:
    """No message comes for a while."""
    delivery = channel.next(QUIET_S)
    assert delivery is None, f"an unexpected message: {delivery}"


def expect_left(scope: Scope, queue: str, want: list[tuple[bytes, bool]]) -> None:
    """Another connection finds exactly these messages, as (body, redelivered)."""
    channel = scope.connect().channel()
    wait_until(lambda: channel.declare_queue(queue, passive=True).messages == len(want))
    left = []
    while (delivery := channel.get(queue)) is not None:
        left.append((delivery.body, delivery.redelivered))
        channel.ack(delivery)
    expect(left, want, "messages left in the queue")


def expect_refused(scope: Scope, address: Address, text: str) -> None:
    """A login ends with an error that carries the broker's text."""
    try:
        scope.connect(address)
    except Exception as error:  # each client has its own type
        reported = repr(error)
    else:
        raise AssertionError(f"the login was accepted where {text} was due")
    assert text in reported, f"the login failed with {reported}, which does not say {text}"


def expect_works(connection: Connection) -> None:
    """The connection has survived the errors of its channels."""
    assert connection.is_open(), "the connection closed with the channel"
    connection.channel().declare_queue("", exclusive=True)


def wait_until(condition: Callable[[], bool], timeout_s: float = ANSWER_S) -> None:
    """Poll a condition; a time-out is no failure here, the check's next expectation tells more."""
    deadline = time.monotonic() + timeout_s
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
