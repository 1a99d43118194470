"""A client that is quick, since a slow one would kill a broker that has nothing to do.

It blocks, has one channel, and reads only what these runs need.
"""

from __future__ import annotations

import socket
import struct
from typing import NamedTuple, TypeVar

from pamqp import base, commands, frame

CHANNEL = 1
FRAME_MAX = 131_072
TIMEOUT_S = 10.0

METHOD, HEADER, BODY = 1, 2, 3
BASIC_ACK = 60 << 16 | 80
BASIC_NACK = 60 << 16 | 120
BASIC_DELIVER = 60 << 16 | 60

T = TypeVar("T", bound=base.Frame)


class Lost(Exception):
    """The broker ended the connection, or is gone."""


class Confirm(NamedTuple):
    """basic.ack or basic.nack from the broker."""

    tag: int
    multiple: bool
    acked: bool


class Delivery(NamedTuple):
    """A message to a consumer."""

    tag: int
    redelivered: bool
    body: bytes


Event = Confirm | Delivery | base.Frame


class Client:
    """One connection with one channel."""

    def __init__(self, port: int) -> None:
        try:
            self._socket = socket.create_connection(("127.0.0.1", port), TIMEOUT_S)
        except OSError as error:
            raise Lost(str(error)) from error
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._unread = b""
        self._early: list[Event] = []
        # A delivery whose body is not complete.
        self._tag = 0
        self._redelivered = False
        self._missing = 0
        self._body: list[bytes] = []
        self._handshake()

    def _handshake(self) -> None:
        self.send(b"AMQP\x00\x00\x09\x01")
        self.expect(commands.Connection.Start)
        self.send(frame.marshal(commands.Connection.StartOk(response="\0guest\0guest"), 0))
        self.expect(commands.Connection.Tune)
        self.send(
            frame.marshal(commands.Connection.TuneOk(2047, FRAME_MAX, 0), 0)
            + frame.marshal(commands.Connection.Open("/"), 0)
        )
        self.expect(commands.Connection.OpenOk)
        self.call(commands.Channel.Open(), commands.Channel.OpenOk)

    def close(self) -> None:
        """Drop the connection: what was delivered and not acked goes back."""
        self._socket.close()

    def send(self, data: bytes) -> None:
        """Send bytes. Raises Lost."""
        try:
            self._socket.sendall(data)
        except OSError as error:
            raise Lost(str(error)) from error

    def call(self, method: base.Frame, answer: type[T]) -> T:
        """Send a method on the channel and wait for its answer. Raises Lost."""
        self.send(frame.marshal(method, CHANNEL))
        return self.expect(answer)

    def expect(self, kind: type[T]) -> T:
        """Wait for a method; whatever comes before it is kept for `receive`."""
        kept: list[Event] = []
        while True:
            events = self.receive()
            for position, event in enumerate(events):
                if isinstance(event, kind):
                    self._early = kept + events[position + 1 :]
                    return event
                if isinstance(event, commands.Channel.Close):
                    raise Lost(str(event.reply_text))
                kept.append(event)

    def receive(self) -> list[Event]:
        """What has come, waiting for something to come. Raises Lost."""
        if self._early:
            events, self._early = self._early, []
            return events
        try:
            data = self._socket.recv(1 << 18)
        except OSError as error:
            raise Lost(str(error)) from error
        if not data:
            raise Lost("closed")
        return self._parse(self._unread + data if self._unread else data)

    def _parse(self, data: bytes) -> list[Event]:
        events: list[Event] = []
        start, length = 0, len(data)
        while start + 8 <= length:
            kind, size = data[start], int.from_bytes(data[start + 3 : start + 7], "big")
            end = start + 8 + size
            if end > length:
                break
            payload = data[start + 7 : end - 1]
            if kind == METHOD:
                self._method(payload, data[start:end], events)
            elif kind == HEADER:
                self._missing = int.from_bytes(payload[4:12], "big")
            elif kind == BODY:
                self._body.append(payload)
                self._missing -= size
            if kind in (HEADER, BODY) and self._missing == 0:
                events.append(Delivery(self._tag, self._redelivered, b"".join(self._body)))
                self._body = []
            start = end
        self._unread = data[start:]
        return events

    def _method(self, payload: bytes, whole: bytes, events: list[Event]) -> None:
        index = int.from_bytes(payload[:4], "big")
        if index == BASIC_DELIVER:
            after_tag = 5 + payload[4]
            self._tag = int.from_bytes(payload[after_tag : after_tag + 8], "big")
            self._redelivered = payload[after_tag + 8] != 0
        elif index in (BASIC_ACK, BASIC_NACK):
            tag = int.from_bytes(payload[4:12], "big")
            events.append(Confirm(tag, payload[12] & 1 != 0, index == BASIC_ACK))
        else:
            _, _, method = frame.unmarshal(whole)
            assert isinstance(method, base.Frame), method
            if isinstance(method, commands.Connection.Close):
                self.send(frame.marshal(commands.Connection.CloseOk(), 0))
                raise Lost(method.reply_text)
            events.append(method)


def publish_frames(exchange: str, key: str, persistent: bool, body: bytes) -> bytes:
    """A whole message as frames."""
    arguments = struct.pack(">IH", 60 << 16 | 40, 0)
    arguments += _short(exchange) + _short(key) + b"\0"
    properties = struct.pack(">HB", 0x1000, 2 if persistent else 1)
    pieces = [
        _frame(METHOD, arguments),
        _frame(HEADER, struct.pack(">HHQ", 60, 0, len(body)) + properties),
    ]
    for start in range(0, len(body), FRAME_MAX - 8):
        pieces.append(_frame(BODY, body[start : start + FRAME_MAX - 8]))  # noqa: PERF401
    return b"".join(pieces)


def ack_frame(tag: int, multiple: bool) -> bytes:
    """basic.ack."""
    return _frame(METHOD, struct.pack(">IQB", BASIC_ACK, tag, multiple))


def nack_frame(tag: int, multiple: bool, requeue: bool) -> bytes:
    """basic.nack."""
    return _frame(METHOD, struct.pack(">IQB", BASIC_NACK, tag, multiple | requeue << 1))


def _frame(kind: int, payload: bytes) -> bytes:
    return struct.pack(">BHI", kind, CHANNEL, len(payload)) + payload + b"\xce"


def _short(text: str) -> bytes:
    return bytes([len(text)]) + text.encode()
