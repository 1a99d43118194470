"""A TCP relay between a client and the broker, to see and to cut what passes between them.

With it one check serves every client: it counts the heartbeat frames of both sides, tells which
methods went over the wire, and loses a connection as a network does, without a word of AMQP.
"""

from __future__ import annotations

import socket
import struct
import threading
from typing import Final

from interop.clients.python.address import Address

_FRAME_METHOD: Final = 1
_FRAME_HEARTBEAT: Final = 8
_FRAME_HEADER: Final = struct.Struct(">BHI")
_METHOD_ID: Final = struct.Struct(">HH")
_PROTOCOL_HEADER_BYTES: Final = 8

CONNECTION_CLOSE: Final = (10, 50)
CONNECTION_CLOSE_OK: Final = (10, 51)


class Seen:
    """What passed in one direction."""

    def __init__(self, skip_bytes: int) -> None:
        self.heartbeats = 0
        self.methods: list[tuple[int, int]] = []
        self._buffer = bytearray()
        self._skip_bytes = skip_bytes

    def feed(self, data: bytes) -> None:
        """Take bytes as they come and note the frames that they complete."""
        buffer = self._buffer
        buffer += data
        if self._skip_bytes:
            if len(buffer) < self._skip_bytes:
                return
            del buffer[: self._skip_bytes]
            self._skip_bytes = 0
        while len(buffer) >= _FRAME_HEADER.size:
            kind, _channel, size = _FRAME_HEADER.unpack_from(buffer)
            if len(buffer) < _FRAME_HEADER.size + size + 1:
                return
            if kind == _FRAME_HEARTBEAT:
                self.heartbeats += 1
            elif kind == _FRAME_METHOD:
                self.methods.append(_METHOD_ID.unpack_from(buffer, _FRAME_HEADER.size))
            del buffer[: _FRAME_HEADER.size + size + 1]


class Relay:
    """Listens on a free loopback port and forwards each connection to the broker.

    `from_client` and `from_broker` tell of the newest connection.
    """

    def __init__(self, broker: Address) -> None:
        self._broker = broker
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._sockets: list[socket.socket] = []
        self.address = broker.at("127.0.0.1", self._listener.getsockname()[1])
        self.from_client = Seen(_PROTOCOL_HEADER_BYTES)
        self.from_broker = Seen(0)
        threading.Thread(target=self._accept, name="relay", daemon=True).start()

    def __enter__(self) -> Relay:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()
        self.cut()

    def cut(self) -> None:
        """Lose all connections: both sides get a reset, neither a close."""
        for sock in self._sockets:
            try:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue  # it is closed already
            finally:
                sock.close()
        self._sockets.clear()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return  # the listener was closed
            try:
                broker = socket.create_connection((self._broker.host, self._broker.port))
            except OSError:
                client.close()
                continue
            for sock in (client, broker):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._sockets += [client, broker]
            self.from_client, self.from_broker = Seen(_PROTOCOL_HEADER_BYTES), Seen(0)
            for source, target, seen in (
                (client, broker, self.from_client),
                (broker, client, self.from_broker),
            ):
                threading.Thread(target=_pump, args=(source, target, seen), daemon=True).start()


def _pump(source: socket.socket, target: socket.socket, seen: Seen) -> None:
    try:
        while data := source.recv(65536):
            seen.feed(data)
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        return  # one of the two is gone, and the other is told by `cut` or by its peer
