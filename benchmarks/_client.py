"""A client for the benchmarks: frames as bytes, and a socket that publishes one by one.

Frames are made before a clock starts, so that the broker is what gets measured.
"""

from __future__ import annotations

import socket
import struct
import time

from pamqp import base, commands, frame, header

PROTOCOL_HEADER = b"AMQP\x00\x00\x09\x01"
FRAME_HEAD = struct.Struct(">BHI")
ACK_FRAME_BYTES = 21
TIMEOUT_S = 60.0

START_OK = commands.Connection.StartOk({}, "PLAIN", "\x00guest\x00guest", "en_US")
OPEN_STEPS: tuple[tuple[int, base.Frame, type[base.Frame]], ...] = (
    (0, START_OK, commands.Connection.Tune),
    (0, commands.Connection.TuneOk(2047, 131_072, 0), commands.Connection.Tune),
    (0, commands.Connection.Open("/"), commands.Connection.OpenOk),
    (1, commands.Channel.Open(), commands.Channel.OpenOk),
)


def method(channel: int, value: base.Frame) -> bytes:
    """A method frame."""
    return frame.marshal(value, channel)


def publish(exchange: str, key: str, body: bytes, *, persistent: bool) -> bytes:
    """A basic.publish with its content, in three frames."""
    properties = commands.Basic.Properties(delivery_mode=2 if persistent else 1)
    return (
        frame.marshal(commands.Basic.Publish(0, exchange, key), 1)
        + frame.marshal(header.ContentHeader(0, len(body), properties), 1)
        + FRAME_HEAD.pack(3, 1, len(body))
        + body
        + b"\xce"
    )


class Client:
    """One connection with channel 1 open, over a blocking socket."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_S)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.sendall(PROTOCOL_HEADER)
        self._receive()
        for channel, value, _ in OPEN_STEPS:
            self._socket.sendall(method(channel, value))
            if not isinstance(value, commands.Connection.TuneOk):
                self._receive()

    def call(self, value: base.Frame) -> base.Frame:
        """Send a method on channel 1, and return the answer."""
        self._socket.sendall(method(1, value))
        return self._receive()

    def _receive(self) -> base.Frame:
        head = self._read(FRAME_HEAD.size)
        data = head + self._read(FRAME_HEAD.unpack(head)[2] + 1)
        _, _, value = frame.unmarshal(data)
        if isinstance(value, (commands.Channel.Close, commands.Connection.Close)):
            raise SystemExit(f"the broker refused: {value.reply_code} {value.reply_text}")
        assert isinstance(value, base.Frame), value
        return value

    def _read(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            more = self._socket.recv(size - len(data))
            if not more:
                raise SystemExit("the broker closed a connection")
            data += more
        return data

    def queue_depth(self, name: str) -> int:
        """How many messages wait in a queue."""
        answer = self.call(commands.Queue.Declare(0, name, passive=True))
        assert isinstance(answer, commands.Queue.DeclareOk)
        return int(answer.message_count)

    def time_confirms(self, frames: bytes, count: int) -> list[float]:
        """Publish one message after another, each when the one before was confirmed; seconds each
        took. The channel must be in confirm mode."""
        taken = []
        for _ in range(count):
            started = time.perf_counter()
            self._socket.sendall(frames)
            self._read(ACK_FRAME_BYTES)
            taken.append(time.perf_counter() - started)
        return taken

    def close(self) -> None:
        """Close the connection."""
        self._socket.sendall(method(0, commands.Connection.Close(200, "", 0, 0)))
        self._receive()
        self._socket.close()
