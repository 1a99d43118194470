"""A small raw AMQP 0-9-1 client for tests.

It hides nothing: every method goes out as it is asked for, and what the broker sends is kept in
order for each channel until a test expects it. Content is put together into `Message` objects. A
peer works on any `Transport`: over a socket, where waiting has a limit, or on a node in memory,
where all there will be is there already.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Protocol, TypeVar

from pamqp import base, body, commands, frame, header, heartbeat
from pamqp.common import FieldTable

from .messages import Item, Message, check_close, show

T = TypeVar("T", bound=base.Frame)

PROTOCOL_HEADER = b"AMQP\x00\x00\x09\x01"
WAIT_S = 5.0

CAPABILITIES: FieldTable = {
    "publisher_confirms": True,
    "exchange_exchange_bindings": True,
    "basic.nack": True,
    "consumer_cancel_notify": True,
    "connection.blocked": True,
    "authentication_failure_close": True,
}


class Transport(Protocol):
    """A byte stream to a broker."""

    exact: bool  # all the broker has to say is there at once; no use in waiting or asking again
    closed: bool  # the broker ended the connection and all it sent has been received

    def send(self, data: bytes) -> None:
        """Send bytes; silently useless once the broker has gone."""

    def receive(self, timeout_s: float) -> bytes:
        """Return what has come, waiting at most so long for the first byte; empty if nothing."""

    def close(self) -> None:
        """Drop the connection without a word."""


class _Assembly:
    """Content on its way in, on one channel."""

    __slots__ = ("data", "frames", "head", "method")

    def __init__(self, method: base.Frame) -> None:
        self.method = method
        self.head: header.ContentHeader | None = None
        self.data = b""
        self.frames = 0


class Peer:
    """One client connection."""

    def __init__(self, transport: Transport) -> None:
        self.transport = transport
        self.server_properties: FieldTable = {}
        self.start: commands.Connection.Start | None = None
        self.tune: commands.Connection.Tune | None = None
        self.heartbeats: list[int] = []  # the channel number of each heartbeat that came
        self.protocol_header = b""  # the header a broker answers to one it does not speak
        self.largest_payload = 0
        self._inbox: dict[int, deque[Item]] = {}
        self._assembly: dict[int, _Assembly] = {}
        self._buffer = b""
        self._next_channel = 1

    # Sending

    def send(self, channel: int, value: frame.FrameTypes) -> None:
        """Send one frame."""
        self.transport.send(frame.marshal(value, channel))

    def send_raw(self, data: bytes) -> None:
        """Send bytes as they are."""
        self.transport.send(data)

    # Receiving

    def _take_in(self, timeout_s: float) -> bool:
        """Receive once; False if nothing came."""
        data = self.transport.receive(timeout_s)
        if not data:
            return False
        self._buffer += data
        while len(self._buffer) >= 8:
            if not self._buffer.startswith(b"AMQP"):
                size = int.from_bytes(self._buffer[3:7], "big")
                if len(self._buffer) < size + 8:
                    break
                self.largest_payload = max(self.largest_payload, size)
            else:
                self.protocol_header, self._buffer = self._buffer[:8], self._buffer[8:]
                continue
            used, channel, value = frame.unmarshal(self._buffer)
            self._buffer = self._buffer[used:]
            self._sort_in(channel, value)
        return True

    def _sort_in(self, channel: int, value: frame.FrameTypes) -> None:
        inbox = self._inbox.setdefault(channel, deque())
        assembly = self._assembly.get(channel)
        if isinstance(value, heartbeat.Heartbeat):
            self.heartbeats.append(channel)
        elif isinstance(value, header.ContentHeader):
            assert assembly is not None, f"header out of place on {channel}"
            assert assembly.head is None, f"second header on {channel}"
            assembly.head = value
            self._finish(channel, assembly)
        elif isinstance(value, body.ContentBody):
            assert assembly is not None, f"body out of place on {channel}"
            assert assembly.head is not None, f"body before its header on {channel}"
            assert value.value, "an empty body frame"
            assembly.data += value.value
            assembly.frames += 1
            self._finish(channel, assembly)
        elif isinstance(value, base.Frame):
            assert assembly is None, f"{show(value)} inside a content on channel {channel}"
            if isinstance(
                value, commands.Basic.Deliver | commands.Basic.GetOk | commands.Basic.Return
            ):
                self._assembly[channel] = _Assembly(value)
            else:
                inbox.append(value)
        else:
            raise AssertionError(f"unexpected frame {value!r}")

    def _finish(self, channel: int, assembly: _Assembly) -> None:
        assert assembly.head is not None
        assert len(assembly.data) <= assembly.head.body_size
        if len(assembly.data) == assembly.head.body_size:
            del self._assembly[channel]
            message = Message(
                assembly.method, assembly.head.properties, assembly.data, assembly.frames
            )
            self._inbox[channel].append(message)

    def next_item(self, channel: int, timeout_s: float = WAIT_S) -> Item | None:
        """The next thing on a channel, or None if nothing comes."""
        while not self._inbox.get(channel):
            if channel != 0 and self._inbox.get(0):
                return None  # the connection is being closed or blocked: no use in waiting
            if not self._take_in(timeout_s):
                return None
        return self._inbox[channel].popleft()

    def waiting(self) -> list[tuple[int, Item]]:
        """All that has come and was not expected yet."""
        while self._take_in(0.0):
            pass
        return [(number, item) for number, inbox in self._inbox.items() for item in inbox]

    def _missing(self, wanted: str) -> AssertionError:
        seen = "; ".join(f"channel {n}: {show(item)}" for n, item in self.waiting())
        ended = " (connection dropped)" if self.transport.closed else ""
        return AssertionError(f"expected {wanted}, got {seen or 'nothing'}{ended}")

    def expect(self, kind: type[T], channel: int = 0, timeout_s: float = WAIT_S) -> T:
        """The next thing on the channel, which must be this method."""
        item = self.next_item(channel, timeout_s)
        if item is None:
            raise self._missing(f"{kind.name} on channel {channel}")
        assert isinstance(item, kind), f"expected {kind.name} on {channel}, got {show(item)}"
        return item

    def expect_connection_close(
        self, code: int, text: str | None = None, *, method: type[base.Frame] | None = None
    ) -> commands.Connection.Close:
        """`connection.close` with this code and whole text; answers it and checks that the socket
        is closed.
        """
        close = self.expect(commands.Connection.Close)
        check_close(close, code, text, method)
        self.send(0, commands.Connection.CloseOk())
        self.expect_dropped()
        return close

    def expect_dropped(self, timeout_s: float = WAIT_S) -> None:
        """The broker closes the connection, with nothing more said on channel 0."""
        while self._take_in(timeout_s):
            pass
        if not self.transport.closed:
            raise self._missing("the connection to be dropped")
        assert not self._inbox.get(0), f"got {[show(i) for i in self._inbox[0]]}"

    # The handshake, whole and in steps

    def greet(self, protocol_header: bytes = PROTOCOL_HEADER) -> commands.Connection.Start:
        """Send the protocol header and take `connection.start`."""
        self.send_raw(protocol_header)
        self.start = self.expect(commands.Connection.Start)
        self.server_properties = self.start.server_properties or {}
        return self.start

    def log_in(
        self,
        user: str = "guest",
        password: str = "guest",
        *,
        capabilities: FieldTable | None = None,
        properties: FieldTable | None = None,
    ) -> None:
        """Send `start-ok` for PLAIN."""
        self.start_ok(
            "PLAIN", f"\0{user}\0{password}", capabilities=capabilities, properties=properties
        )

    def start_ok(
        self,
        mechanism: str,
        response: str,
        *,
        capabilities: FieldTable | None = None,
        properties: FieldTable | None = None,
    ) -> None:
        """Send `start-ok` with any mechanism and response."""
        client: FieldTable = {
            "product": "conformance",
            "capabilities": CAPABILITIES if capabilities is None else capabilities,
        }
        client.update(properties or {})
        self.send(
            0,
            commands.Connection.StartOk(
                client_properties=client, mechanism=mechanism, response=response, locale="en_US"
            ),
        )

    def tune_ok(
        self, *, channel_max: int = 2047, frame_max: int = 131072, heartbeat: int = 0
    ) -> None:
        """Take `tune` and answer it."""
        self.tune = self.expect(commands.Connection.Tune)
        self.send(0, commands.Connection.TuneOk(channel_max, frame_max, heartbeat))

    def open(self, vhost: str = "/") -> None:
        """Open the virtual host."""
        self.send(0, commands.Connection.Open(virtual_host=vhost))
        self.expect(commands.Connection.OpenOk)

    def handshake(
        self,
        user: str = "guest",
        password: str = "guest",
        vhost: str = "/",
        *,
        capabilities: FieldTable | None = None,
        channel_max: int = 2047,
        frame_max: int = 131072,
        heartbeat: int = 0,
    ) -> None:
        """All steps to an open connection."""
        self.greet()
        self.log_in(user, password, capabilities=capabilities)
        self.tune_ok(channel_max=channel_max, frame_max=frame_max, heartbeat=heartbeat)
        self.open(vhost)

    # Channels and the end

    def channel(self, number: int) -> Channel:
        """A channel by number, not opened."""
        return Channel(self, number)

    def open_channel(self) -> Channel:
        """Open the next unused channel."""
        channel = self.channel(self._next_channel)
        self._next_channel += 1
        channel.open()
        return channel

    def close(self) -> None:
        """Close in an orderly way."""
        self.send(0, commands.Connection.Close(200, "bye", 0, 0))
        self.expect(commands.Connection.CloseOk)
        self.transport.close()

    def drop(self) -> None:
        """Vanish."""
        self.transport.close()

    def is_alive(self) -> bool:
        """True if the connection still serves a new channel."""
        self.open_channel()
        return True


class Channel:
    """One channel of a peer: calls that wait for their answer, and expectations."""

    def __init__(self, peer: Peer, number: int) -> None:
        self.peer = peer
        self.number = number

    def send(self, value: frame.FrameTypes) -> None:
        """Send one frame on this channel."""
        self.peer.send(self.number, value)

    def expect(self, kind: type[T]) -> T:
        """The next thing on this channel, which must be this method."""
        return self.peer.expect(kind, self.number)

    def call(self, value: base.Frame, answer: type[T]) -> T:
        """Send a method and take its answer; deliveries that come before it stay to be expected."""
        self.send(value)
        early: list[Item] = []
        while True:
            item = self.peer.next_item(self.number)
            if item is None:
                raise self.peer._missing(f"{answer.name} on channel {self.number}")
            if not (isinstance(item, Message) and isinstance(item.method, commands.Basic.Deliver)):
                break
            early.append(item)
        self._put_back(early)
        assert isinstance(item, answer), f"expected {answer.name}, got {show(item)}"
        return item

    def open(self) -> None:
        """Open the channel."""
        self.call(commands.Channel.Open(), commands.Channel.OpenOk)

    def close(self) -> None:
        """Close the channel."""
        self.call(commands.Channel.Close(200, "bye", 0, 0), commands.Channel.CloseOk)

    def expect_channel_close(
        self, code: int, text: str | None = None, *, method: type[base.Frame] | None = None
    ) -> commands.Channel.Close:
        """`channel.close` with this code and whole text; answers it, so that the number is free
        again.
        """
        close = self.expect(commands.Channel.Close)
        check_close(close, code, text, method)
        self.send(commands.Channel.CloseOk())
        return close

    def fails(
        self, value: base.Frame, code: int, text: str | None = None, *, reopen: bool = True
    ) -> commands.Channel.Close:
        """Send a method that must close the channel, naming that method; by default open the
        channel again.
        """
        self.send(value)
        close = self.expect_channel_close(code, text, method=type(value))
        if reopen:
            self.open()
        return close

    # Silence

    def sync(self, queue: str = "") -> None:
        """Return once the broker has handled all this channel sent, and the queue named has handled
        it too.
        """
        self._put_back(self._round_trip(queue))

    def _put_back(self, items: list[Item]) -> None:
        self.peer._inbox.setdefault(self.number, deque()).extendleft(reversed(items))

    def _round_trip(self, queue: str) -> list[Item]:
        early: list[Item] = []
        steps: list[tuple[base.Frame, type[base.Frame]]] = []
        for _ in range(2):
            if queue:
                steps.append(
                    (commands.Queue.Declare(queue=queue, passive=True), commands.Queue.DeclareOk)
                )
            steps.append((commands.Channel.Flow(True), commands.Channel.FlowOk))
        for question, answer in steps:
            self.send(question)
            while True:
                item = self.peer.next_item(self.number)
                if item is None:
                    raise self.peer._missing(answer.name)
                if isinstance(item, answer):
                    break
                early.append(item)
        return early

    def expect_nothing(self, queue: str = "") -> None:
        """The broker has nothing to say on this channel, even after it has answered a harmless
        question.
        """
        early = self._round_trip(queue)
        assert not early, f"expected nothing, got {[show(item) for item in early]}"

    # Exchanges and queues

    def declare_exchange(
        self,
        exchange: str,
        kind: str = "direct",
        *,
        durable: bool = False,
        auto_delete: bool = False,
        internal: bool = False,
        arguments: FieldTable | None = None,
    ) -> None:
        """Declare an exchange."""
        self.call(
            commands.Exchange.Declare(
                exchange=exchange,
                exchange_type=kind,
                durable=durable,
                auto_delete=auto_delete,
                internal=internal,
                arguments=arguments,
            ),
            commands.Exchange.DeclareOk,
        )

    def declare_queue(
        self,
        queue: str = "",
        *,
        passive: bool = False,
        durable: bool = False,
        exclusive: bool = False,
        auto_delete: bool = False,
        arguments: FieldTable | None = None,
    ) -> commands.Queue.DeclareOk:
        """Declare a queue."""
        return self.call(
            commands.Queue.Declare(
                queue=queue,
                passive=passive,
                durable=durable,
                exclusive=exclusive,
                auto_delete=auto_delete,
                arguments=arguments,
            ),
            commands.Queue.DeclareOk,
        )

    def bind(
        self, queue: str, exchange: str, key: str = "", arguments: FieldTable | None = None
    ) -> None:
        """Bind a queue."""
        self.call(
            commands.Queue.Bind(
                queue=queue, exchange=exchange, routing_key=key, arguments=arguments
            ),
            commands.Queue.BindOk,
        )

    def unbind(
        self, queue: str, exchange: str, key: str = "", arguments: FieldTable | None = None
    ) -> None:
        """Unbind a queue."""
        self.call(
            commands.Queue.Unbind(
                queue=queue, exchange=exchange, routing_key=key, arguments=arguments
            ),
            commands.Queue.UnbindOk,
        )

    def bind_exchange(self, destination: str, source: str, key: str = "") -> None:
        """Bind an exchange to an exchange."""
        self.call(
            commands.Exchange.Bind(destination=destination, source=source, routing_key=key),
            commands.Exchange.BindOk,
        )

    def delete_queue(self, queue: str) -> int:
        """Delete a queue; the number of messages it held."""
        return (
            self.call(commands.Queue.Delete(queue=queue), commands.Queue.DeleteOk).message_count
            or 0
        )

    def purge(self, queue: str) -> int:
        """Purge a queue; the number of messages removed."""
        return (
            self.call(commands.Queue.Purge(queue=queue), commands.Queue.PurgeOk).message_count or 0
        )

    def queue_exists(self, queue: str) -> bool:
        """True if the queue exists; a channel the question cost is opened again."""
        self.send(commands.Queue.Declare(queue=queue, passive=True))
        return self._answered(commands.Queue.DeclareOk)

    def exchange_exists(self, exchange: str) -> bool:
        """True if the exchange exists; a channel the question cost is opened again."""
        self.send(commands.Exchange.Declare(exchange=exchange, passive=True))
        return self._answered(commands.Exchange.DeclareOk)

    def _answered(self, answer: type[base.Frame]) -> bool:
        item = self.peer.next_item(self.number)
        if isinstance(item, answer):
            return True
        assert isinstance(item, commands.Channel.Close), f"got {show(item)}"
        assert item.reply_code == 404, show(item)
        self.send(commands.Channel.CloseOk())
        self.open()
        return False

    def wait_gone(self, exists: Callable[[str], bool], name: str) -> None:
        """Wait until a queue or exchange is gone; in memory the first look must do."""
        tries = 1 if self.peer.transport.exact else 200
        for _ in range(tries):
            if not exists(name):
                return
        raise AssertionError(f"{name} is still there")

    def wait_ready(self, queue: str, count: int) -> None:
        """Wait until a queue holds so many ready messages; in memory the first look must do."""
        tries = 1 if self.peer.transport.exact else 200
        seen = -1
        for _ in range(tries):
            seen = self.declare_queue(queue, passive=True).message_count or 0
            if seen == count:
                return
        raise AssertionError(f"{queue} holds {seen} ready messages, not {count}")

    # Messages

    def publish(
        self,
        data: bytes = b"m",
        *,
        exchange: str = "",
        key: str = "",
        mandatory: bool = False,
        immediate: bool = False,
        properties: commands.Basic.Properties | None = None,
        headers: FieldTable | None = None,
        frame_size: int = 100_000,
    ) -> None:
        """Publish a message."""
        if properties is None:
            properties = commands.Basic.Properties(headers=headers)
        out = frame.marshal(
            commands.Basic.Publish(
                exchange=exchange, routing_key=key, mandatory=mandatory, immediate=immediate
            ),
            self.number,
        )
        out += frame.marshal(header.ContentHeader(0, len(data), properties), self.number)
        for at in range(0, len(data), frame_size):
            out += frame.marshal(body.ContentBody(data[at : at + frame_size]), self.number)
        self.peer.send_raw(out)

    def fill(
        self, queue: str, *bodies: bytes, properties: commands.Basic.Properties | None = None
    ) -> None:
        """Publish bodies to a queue without consumers, and wait until they are there."""
        before = self.declare_queue(queue, passive=True).message_count or 0
        for data in bodies:
            self.publish(data, key=queue, properties=properties)
        self.wait_ready(queue, before + len(bodies))

    def get(self, queue: str, *, no_ack: bool = False) -> Message | None:
        """Ask for one message; None if the queue has none ready."""
        self.send(commands.Basic.Get(queue=queue, no_ack=no_ack))
        item = self.peer.next_item(self.number)
        if isinstance(item, commands.Basic.GetEmpty):
            return None
        assert isinstance(item, Message), f"expected an answer to get, got {show(item)}"
        assert isinstance(item.method, commands.Basic.GetOk), show(item)
        return item

    def get_bodies(self, queue: str) -> list[bytes]:
        """Take all ready messages off a queue."""
        bodies = []
        while (message := self.get(queue, no_ack=True)) is not None:
            bodies.append(message.body)
        return bodies

    def must_get(self, queue: str, *, no_ack: bool = False) -> Message:
        """Ask for one message that must be there."""
        message = self.get(queue, no_ack=no_ack)
        assert message is not None, f"{queue} is empty"
        return message

    def consume(
        self,
        queue: str,
        tag: str = "",
        *,
        no_ack: bool = False,
        exclusive: bool = False,
        no_local: bool = False,
        arguments: FieldTable | None = None,
    ) -> str:
        """Start a consumer; its tag."""
        ok = self.call(
            commands.Basic.Consume(
                queue=queue,
                consumer_tag=tag,
                no_ack=no_ack,
                exclusive=exclusive,
                no_local=no_local,
                arguments=arguments,
            ),
            commands.Basic.ConsumeOk,
        )
        return ok.consumer_tag or ""

    def cancel(self, tag: str) -> None:
        """Cancel a consumer."""
        self.call(commands.Basic.Cancel(consumer_tag=tag), commands.Basic.CancelOk)

    def expect_delivery(self, data: bytes | None = None, tag: str | None = None) -> Message:
        """The next thing on this channel, which must be a delivery (of this body, to this
        consumer).
        """
        item = self._message(commands.Basic.Deliver)
        if data is not None:
            assert item.body == data, f"expected {data!r}, got {item}"
        if tag is not None:
            assert item.method.consumer_tag == tag, f"expected one for {tag}, got {item}"  # type: ignore[attr-defined]
        return item

    def expect_return(self) -> Message:
        """The next thing on this channel, which must be a returned message."""
        return self._message(commands.Basic.Return)

    def _message(self, kind: type[base.Frame]) -> Message:
        item = self.peer.next_item(self.number)
        if item is None:
            raise self.peer._missing(kind.name)
        assert isinstance(item, Message), f"expected {kind.name}, got {show(item)}"
        assert isinstance(item.method, kind), f"expected {kind.name}, got {item}"
        return item

    def qos(self, count: int, *, global_: bool = False) -> None:
        """Set a prefetch limit."""
        self.call(commands.Basic.Qos(prefetch_count=count, global_=global_), commands.Basic.QosOk)

    def ack(self, tag: int, *, multiple: bool = False) -> None:
        """Acknowledge."""
        self.send(commands.Basic.Ack(tag, multiple))

    def nack(self, tag: int, *, multiple: bool = False, requeue: bool = True) -> None:
        """Acknowledge negatively."""
        self.send(commands.Basic.Nack(tag, multiple, requeue))

    def reject(self, tag: int, *, requeue: bool = True) -> None:
        """Reject one message."""
        self.send(commands.Basic.Reject(tag, requeue))

    # Confirms

    def confirm(self) -> None:
        """Switch the channel to publisher confirms."""
        self.call(commands.Confirm.Select(), commands.Confirm.SelectOk)

    def expect_confirms(self, upto: int, *, first: int = 1) -> None:
        """Acks for every publish from `first` to `upto`, in any order and grouping; no nack."""
        waiting = set(range(first, upto + 1))
        while waiting:
            ack = self.expect(commands.Basic.Ack)
            tag = ack.delivery_tag or 0
            done = {n for n in waiting if n == tag or (ack.multiple and n <= tag)}
            assert tag in waiting, f"confirm of {tag}, still waiting for {sorted(waiting)}"
            waiting -= done
