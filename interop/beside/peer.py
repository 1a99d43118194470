"""A client that keeps all it gets: pika's methods, frames and properties on a blocking socket.

No call raises for what the broker answers: a call returns the broker's method, which may be the
close of the channel or the connection. A channel that was closed is opened again by the next call.
Nothing is waited for by time: a caller names what must come, and `NothingCameError` says what did
not.
"""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from pika import frame, spec

from interop.beside.record import Recorder, describe, describe_content
from interop.clients.python.address import Address

#: Longest wait for anything that a scenario says will come.
WAIT_S: Final = 5.0
FRAME_MAX: Final = 131072
CAPABILITIES: Final = {
    "authentication_failure_close": True,
    "basic.nack": True,
    "connection.blocked": True,
    "consumer_cancel_notify": True,
    "exchange_exchange_bindings": True,
    "publisher_confirms": True,
}

_ENVELOPE: Final = struct.Struct(">BHI")
_ROOM_BYTES: Final = 65536


class NothingCameError(Exception):
    """The broker did not send what the scenario waits for."""


class Content(NamedTuple):
    """A message as it came: basic.deliver, basic.get-ok or basic.return, and what it carries."""

    method: Any
    properties: spec.BasicProperties
    body: bytes

    @property
    def tag(self) -> int:
        """Its delivery tag."""
        tag: int = self.method.delivery_tag
        return tag


class Connection:
    """One connection; `closed` is why it ended, or empty."""

    def __init__(self, address: Address, record: Recorder, name: str) -> None:
        self.name = name
        self.record = record
        self.closed = ""
        self.methods: list[Any] = []
        self.channels: dict[int, Channel] = {}
        self._address = address
        self._buffer = bytearray()
        self._socket = socket.create_connection((address.host, address.port), timeout=WAIT_S)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    # Opening.

    def start(self) -> Any:
        """Send the protocol header, return connection.start."""
        self.send_bytes(frame.ProtocolHeader().marshal())
        return self.next_method()

    def log_in(
        self,
        user: str | None = None,
        password: str | None = None,
        *,
        mechanism: str = "PLAIN",
        response: bytes | None = None,
        capabilities: dict[str, bool] | None = None,
    ) -> Any:
        """Send connection.start-ok, return connection.tune, a close, or None if it was dropped."""
        user = self._address.user if user is None else user
        password = self._address.password if password is None else password
        known = CAPABILITIES if capabilities is None else capabilities
        self.send(
            0,
            spec.Connection.StartOk(
                {"product": "beside", "capabilities": known},
                mechanism,
                response if response is not None else f"\0{user}\0{password}",
                "en_US",
            ),
        )
        return self.next_method()

    def open(
        self,
        vhost: str | None = None,
        *,
        channel_max: int = 2047,
        frame_max: int = FRAME_MAX,
        heartbeat: int = 0,
    ) -> Any:
        """Send connection.tune-ok and connection.open, return the answer."""
        self.send(0, spec.Connection.TuneOk(channel_max, frame_max, heartbeat))
        self.send(0, spec.Connection.Open(self._address.vhost if vhost is None else vhost))
        return self.next_method()

    def channel(self, number: int | None = None) -> Channel:
        """An open channel."""
        channel = self.unopened_channel(number)
        channel.open()
        return channel

    def unopened_channel(self, number: int | None = None) -> Channel:
        """A channel that the broker knows nothing of."""
        number = number or max(self.channels, default=0) + 1
        channel = self.channels[number] = Channel(self, number)
        return channel

    # Sending and reading.

    def send(self, channel: int, method: Any) -> None:
        """Send a method frame."""
        self.send_bytes(frame.Method(channel, method).marshal())

    def send_bytes(self, data: bytes) -> None:
        """Send what may be no frame at all; a broker that has gone shows when reading."""
        if self.closed:
            return
        try:
            self._socket.sendall(data)
        except OSError:
            self._end("dropped")

    def next_method(self) -> Any:
        """The next method on channel 0; None if the connection ends without one."""
        self.wait(lambda: bool(self.methods), "a method on channel 0")
        return self.methods.pop(0) if self.methods else None

    def wait(self, condition: Callable[[], bool], what: str, within_s: float = WAIT_S) -> None:
        """Read until the condition holds or the connection has ended."""
        deadline = time.monotonic() + within_s
        while not condition() and not self.closed:
            if not self.read(deadline):
                raise NothingCameError(what)

    def read(self, deadline: float = 0.0) -> bool:
        """Take one frame and hand it on; False if none has come by then."""
        while not self.closed and not self._take_frame():
            left = deadline - time.monotonic()
            self._socket.settimeout(max(left, 0.0001))
            try:
                data = self._socket.recv(_ROOM_BYTES)
            except TimeoutError:
                return False
            except BlockingIOError:
                return False
            except OSError:
                data = b""
            finally:
                self._socket.settimeout(WAIT_S)
            if not data:
                self._end("dropped")
            self._buffer += data
        return True

    def _take_frame(self) -> bool:
        buffer = self._buffer
        if buffer[:4] == b"AMQP" and len(buffer) >= 8:
            self.record(self.name, f"protocol header {bytes(buffer[4:8]).hex()}")
            del buffer[:8]
            return True
        if len(buffer) < _ENVELOPE.size:
            return False
        kind, number, size = _ENVELOPE.unpack_from(buffer)
        end = _ENVELOPE.size + size + 1
        if len(buffer) < end:
            return False
        payload = bytes(buffer[_ENVELOPE.size : end - 1])
        del buffer[:end]
        if kind == spec.FRAME_METHOD:
            method = spec.methods[int.from_bytes(payload[:4], "big")]()
            method.decode(payload, 4)
            if number:
                self.channels[number].take_method(method)
            else:
                self._take_method(method)
        elif number:
            self.channels[number].take_content(kind, payload)
        return True

    def _take_method(self, method: Any) -> None:
        if isinstance(method, spec.Connection.Close):
            self.record(self.name, describe(method))
            self.send(0, spec.Connection.CloseOk())
            self._end("closed by the broker")
        elif isinstance(method, spec.Connection.Blocked | spec.Connection.Unblocked):
            self.record(self.name, describe(method))
        self.methods.append(method)

    # Closing.

    def close(self) -> None:
        """Close in order."""
        if not self.closed:
            self.send(0, spec.Connection.Close(200, "done", 0, 0))
            self.wait(
                lambda: any(isinstance(m, spec.Connection.CloseOk) for m in self.methods),
                "connection.close-ok",
            )
        self._end("closed")

    def drop(self) -> None:
        """Close the socket without a word."""
        self._end("dropped by the client")

    def _end(self, why: str) -> None:
        if not self.closed:
            self.closed = why
            if why == "dropped":
                self.record(self.name, why)
        self._socket.close()


class Channel:
    """One channel. What comes is recorded as it comes; `order` has the names of its methods."""

    def __init__(self, connection: Connection, number: int) -> None:
        self.connection = connection
        self.number = number
        self.answers: list[Any] = []
        self.delivered: list[Content] = []
        self.returned: list[Content] = []
        self.cancelled: list[str] = []
        self.outcomes: dict[int, str] = {}
        self.published = 0
        self.order: list[str] = []
        self.closed = True
        self._confirming = False
        self._assembling: Any = None
        self._header = b""
        self._body = b""
        self._stream = f"{connection.name}.{number}"

    # What comes.

    def take_method(self, method: Any) -> None:
        """Note a method that the connection has read."""
        self.order.append(method.NAME)
        if isinstance(method, spec.Basic.Deliver | spec.Basic.GetOk | spec.Basic.Return):
            self._assembling = method
        elif isinstance(method, spec.Basic.Ack | spec.Basic.Nack):
            self._take_confirm(method)
        elif isinstance(method, spec.Basic.Cancel):
            self.connection.record(f"{self._stream} messages", describe(method))
            self.cancelled.append(method.consumer_tag)
        else:
            if not isinstance(method, spec.Channel.FlowOk | spec.Channel.OpenOk):
                self.connection.record(self._stream, describe(method))
            if isinstance(method, spec.Channel.Close):
                self.connection.send(self.number, spec.Channel.CloseOk())
                self.closed = True
            self.answers.append(method)

    def _take_confirm(self, method: Any) -> None:
        lowest = 1 if method.multiple else method.delivery_tag
        highest = method.delivery_tag or self.published
        news = [n for n in range(lowest, highest + 1) if n not in self.outcomes]
        if not news or highest > self.published:
            self.connection.record(self._stream, f"out of turn: {describe(method)}")
        kind = "ack" if isinstance(method, spec.Basic.Ack) else "nack"
        self.outcomes.update(dict.fromkeys(news, kind))

    def take_content(self, kind: int, payload: bytes) -> None:
        """Note a content header or body that the connection has read."""
        if kind == spec.FRAME_HEADER:
            self._header, self._body = payload, b""
        else:
            self._body += payload
        if len(self._body) < int.from_bytes(self._header[4:12], "big"):
            return
        method, body = self._assembling, self._body
        properties = spec.BasicProperties()
        properties.decode(self._header[12:])
        content = Content(method, properties, body)
        is_answer = isinstance(method, spec.Basic.GetOk)
        self.connection.record(
            self._stream if is_answer else f"{self._stream} messages",
            describe_content(method, self._header, body),
        )
        if is_answer:
            self.answers.append(content)
        elif isinstance(method, spec.Basic.Return):
            self.returned.append(content)
        else:
            self.delivered.append(content)

    # Asking.

    def open(self) -> Any:
        """Open the channel, or open it again; what was counted before is forgotten."""
        self.closed = self._confirming = False
        self.published = 0
        self.outcomes = {}
        self.answers = []
        return self._ask(spec.Channel.Open())

    def call(self, method: Any) -> Any:
        """Send a method and return its answer, or the close that came instead, or None."""
        if self.connection.closed:
            raise NothingCameError(f"an answer: the connection is {self.connection.closed}")
        if self.closed:
            self.open()
        return self._ask(method)

    def _ask(self, method: Any) -> Any:
        self.connection.send(self.number, method)
        return self.answer(method.NAME)

    def answer(self, what: str = "a method") -> Any:
        """The next answer, or the close that came instead; None if the connection was dropped."""
        self.connection.wait(lambda: bool(self.answers), f"an answer to {what}")
        if self.answers:
            return self.answers.pop(0)
        return self.connection.methods[-1] if self.connection.methods else None

    def send(self, method: Any) -> None:
        """Send a method that has no answer."""
        if self.closed:
            self.open()
        self.connection.send(self.number, method)

    def sync(self) -> None:
        """Return when the broker's channel has done all that was sent before."""
        if not self.closed and not self.connection.closed:
            self._ask(spec.Channel.Flow(True))

    def wait_closed(self) -> Any:
        """Wait for the close that what was sent before will bring, and return it."""
        return self.answer("what was sent: a close")

    def close(self) -> None:
        """Close the channel in order."""
        self._ask(spec.Channel.Close(200, "done", 0, 0))
        self.closed = True

    # Queues and exchanges.

    def declare(self, queue: str, arguments: dict[str, Any] | None = None, **flags: Any) -> Any:
        """queue.declare; flags are durable, exclusive, auto_delete, passive."""
        return self.call(spec.Queue.Declare(queue=queue, arguments=arguments or {}, **flags))

    def delete(self, queue: str, **flags: Any) -> Any:
        """queue.delete; flags are if_unused and if_empty."""
        return self.call(spec.Queue.Delete(queue=queue, **flags))

    def purge(self, queue: str) -> Any:
        """queue.purge"""
        return self.call(spec.Queue.Purge(queue=queue))

    def bind(
        self, queue: str, exchange: str, key: str = "", arguments: dict[str, Any] | None = None
    ) -> Any:
        """queue.bind"""
        return self.call(
            spec.Queue.Bind(
                queue=queue, exchange=exchange, routing_key=key, arguments=arguments or {}
            )
        )

    def unbind(
        self, queue: str, exchange: str, key: str = "", arguments: dict[str, Any] | None = None
    ) -> Any:
        """queue.unbind"""
        return self.call(
            spec.Queue.Unbind(
                queue=queue, exchange=exchange, routing_key=key, arguments=arguments or {}
            )
        )

    def exchange(
        self,
        name: str,
        kind: str = "direct",
        arguments: dict[str, Any] | None = None,
        **flags: Any,
    ) -> Any:
        """exchange.declare; flags are durable, auto_delete, internal, passive."""
        return self.call(
            spec.Exchange.Declare(exchange=name, type=kind, arguments=arguments or {}, **flags)
        )

    def delete_exchange(self, name: str, **flags: Any) -> Any:
        """exchange.delete; the flag is if_unused."""
        return self.call(spec.Exchange.Delete(exchange=name, **flags))

    def bind_exchange(
        self, destination: str, source: str, key: str = "", arguments: dict[str, Any] | None = None
    ) -> Any:
        """exchange.bind"""
        return self.call(
            spec.Exchange.Bind(
                destination=destination,
                source=source,
                routing_key=key,
                arguments=arguments or {},
            )
        )

    def unbind_exchange(self, destination: str, source: str, key: str = "") -> Any:
        """exchange.unbind"""
        return self.call(
            spec.Exchange.Unbind(
                destination=destination, source=source, routing_key=key, arguments={}
            )
        )

    # Publishing.

    def publish(
        self,
        exchange: str,
        key: str,
        body: bytes = b"",
        *,
        mandatory: bool = False,
        immediate: bool = False,
        **properties: Any,
    ) -> None:
        """basic.publish; waits for nothing."""
        if self.closed:
            self.open()
        size = FRAME_MAX - 8
        number = self.number
        method = spec.Basic.Publish(
            exchange=exchange, routing_key=key, mandatory=mandatory, immediate=immediate
        )
        header = frame.Header(number, len(body), spec.BasicProperties(**properties))
        bodies = (body[at : at + size] for at in range(0, len(body), size))
        self.published += self._confirming
        self.connection.send_bytes(
            frame.Method(number, method).marshal()
            + header.marshal()
            + b"".join(frame.Body(number, each).marshal() for each in bodies)
        )

    def confirm(self) -> Any:
        """confirm.select"""
        answer = self.call(spec.Confirm.Select())
        self._confirming = isinstance(answer, spec.Confirm.SelectOk)
        return answer

    def confirms(self) -> dict[int, str]:
        """Wait until every publish has its confirm, and record them, however they were batched."""
        self.connection.wait(
            lambda: len(self.outcomes) >= self.published or self.closed, "confirms of all publishes"
        )
        text = " ".join(f"{number} {self.outcomes[number]}" for number in sorted(self.outcomes))
        self.connection.record(self._stream, f"confirms {text}")
        return self.outcomes

    def wait_returns(self, count: int) -> list[Content]:
        """Wait for so many returns, and take them."""
        return self._collect(self.returned, count, "returns")

    # Consuming.

    def consume(
        self, queue: str, tag: str = "t", arguments: dict[str, Any] | None = None, **flags: Any
    ) -> Any:
        """basic.consume; flags are no_ack, exclusive, no_local."""
        return self.call(
            spec.Basic.Consume(queue=queue, consumer_tag=tag, arguments=arguments or {}, **flags)
        )

    def cancel(self, tag: str = "t") -> Any:
        """basic.cancel"""
        return self.call(spec.Basic.Cancel(consumer_tag=tag))

    def deliveries(self, count: int) -> list[Content]:
        """Wait for so many deliveries, and take them."""
        return self._collect(self.delivered, count, "deliveries")

    def _collect(self, contents: list[Content], count: int, what: str) -> list[Content]:
        try:
            self.connection.wait(lambda: len(contents) >= count or self.closed, f"{count} {what}")
        except NothingCameError:
            raise NothingCameError(f"{count} {what}, only {len(contents)} came") from None
        taken = contents[:count]
        del contents[:count]
        return taken

    def wait_cancel(self) -> None:
        """Wait until the broker has cancelled a consumer."""
        self.connection.wait(lambda: bool(self.cancelled), "basic.cancel")

    def get(self, queue: str, *, no_ack: bool = True) -> Any:
        """basic.get; the message, or basic.get-empty."""
        return self.call(spec.Basic.Get(queue=queue, no_ack=no_ack))

    def qos(self, count: int, *, everywhere: bool = False, size: int = 0) -> Any:
        """basic.qos; `everywhere` is its flag global."""
        return self.call(spec.Basic.Qos(size, count, everywhere))

    def ack(self, tag: int, *, multiple: bool = False) -> None:
        """basic.ack"""
        self.send(spec.Basic.Ack(tag, multiple))

    def nack(self, tag: int, *, multiple: bool = False, requeue: bool = True) -> None:
        """basic.nack"""
        self.send(spec.Basic.Nack(tag, multiple, requeue))

    def reject(self, tag: int, *, requeue: bool = True) -> None:
        """basic.reject"""
        self.send(spec.Basic.Reject(tag, requeue))

    def recover(self, *, requeue: bool = True) -> Any:
        """basic.recover"""
        return self.call(spec.Basic.Recover(requeue))

    # Transactions.

    def select(self) -> Any:
        """tx.select"""
        return self.call(spec.Tx.Select())

    def commit(self) -> Any:
        """tx.commit"""
        return self.call(spec.Tx.Commit())

    def rollback(self) -> Any:
        """tx.rollback"""
        return self.call(spec.Tx.Rollback())
