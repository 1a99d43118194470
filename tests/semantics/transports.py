"""Brokers to test: one behind a socket, and one in memory with a clock of its own.

Both hand out transports to `Peer`. Whatever the node in memory needs from its edge (password checks, the journal,
closing connections) is done here and nowhere else in these tests.
"""

from __future__ import annotations

import socket
from typing import NamedTuple

from .peer import Transport


class SocketTransport:
    """A blocking socket."""

    exact = False

    def __init__(self, host: str, port: int) -> None:
        self.closed = False
        self._socket = socket.create_connection((host, port), timeout=5.0)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self, data: bytes) -> None:
        """Send bytes, unless the broker has closed the connection."""
        try:
            self._socket.settimeout(5.0)
            self._socket.sendall(data)
        except OSError:
            self.closed = True

    def receive(self, timeout_s: float) -> bytes:
        """Receive some bytes."""
        if self.closed and self._socket.fileno() < 0:
            return b""
        try:
            self._socket.settimeout(max(timeout_s, 0.001))
            data = self._socket.recv(1 << 16)
        except TimeoutError:
            return b""
        except OSError:
            data = b""
        if not data:
            self.closed = True
        return data

    def close(self) -> None:
        """Close the socket."""
        self.closed = True
        self._socket.close()


ALL = (".*", ".*", ".*")


class User(NamedTuple):
    """A user to set up: permissions are (configure, write, read) for each virtual host."""

    name: str
    tags: tuple[str, ...]
    permissions: dict[str, tuple[str, str, str]]

    @property
    def password(self) -> str:
        """The password; `guest` has its usual one."""
        return "guest" if self.name == "guest" else f"{self.name}-pw"


VHOSTS = ("/", "other")
USERS = (
    User("guest", ("administrator",), {"/": ALL}),
    User("alice", (), {"/": ("^mine-", "^mine-", "^mine-")}),
    User("stranger", (), {"other": ALL}),
    User("impersonator", ("impersonator",), {"/": ALL}),
)


class Broker:
    """What a test may ask of a broker, in memory or not."""

    in_memory: bool = False
    is_reference: bool = False
    host: str = ""

    def transport(self, address: str = "127.0.0.1") -> Transport:
        """A new connection, nothing sent yet; the address it comes from counts only in memory."""
        raise NotImplementedError

    def advance(self, seconds: float) -> None:
        """Let time pass; only in memory."""
        raise NotImplementedError

    def restart(self, *, clean: bool) -> None:
        """Stop, in good order or at once, and start again from what is stored; only in memory."""
        raise NotImplementedError


class SocketBroker(Broker):
    """A broker on the network."""

    def __init__(self, host: str, port: int) -> None:
        self.host = host
        self.port = port

    def transport(self, address: str = "127.0.0.1") -> Transport:
        """A new TCP connection."""
        return SocketTransport(self.host, self.port)
