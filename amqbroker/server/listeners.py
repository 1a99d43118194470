"""The addresses that the broker listens on."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from typing import Final

from amqbroker.config import Listener
from amqbroker.server.connection import Connection, address_of
from amqbroker.server.runner import Runner

# Connections that may wait to be accepted: a thousand clients that reconnect at once must not be
# refused.
BACKLOG: Final = 4096

Address = tuple[str, int]


class StartError(Exception):
    """The broker cannot start; the text says why and what would help."""


class Listeners:
    """All listening sockets of one broker."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self._servers: list[asyncio.Server] = []
        self.addresses: list[Address] = []

    async def open(self, listener: Listener) -> None:
        """Bind one address, without accepting yet. Raises StartError if it cannot be had."""
        loop = asyncio.get_running_loop()
        try:
            server = await loop.create_server(
                lambda: Connection(self._runner),
                listener.host,
                listener.port,
                backlog=BACKLOG,
                start_serving=False,
            )
        except OSError as error:
            raise StartError(f"cannot listen on {listener}: {reason_of(error)}") from error
        self._servers.append(server)
        self.addresses.extend(address_of(each.getsockname()) for each in server.sockets)

    async def accept(self) -> None:
        """Accept connections from now on."""
        for server in self._servers:
            await server.start_serving()

    def close(self) -> None:
        """Accept no more; connections that are open go on."""
        for server in self._servers:
            server.close()


def reason_of(error: OSError) -> str:
    """What the system said, and what would help."""
    if isinstance(error, socket.gaierror):
        return f"{error.strerror}: the name is not known here"
    reason = os.strerror(error.errno) if error.errno else str(error)
    if error.errno == errno.EADDRINUSE:
        return f"{reason}: is another broker running? Choose another port with --bind HOST:PORT"
    if error.errno == errno.EACCES:
        return f"{reason}: ports below 1024 are for root. Choose another port with --bind HOST:PORT"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"{reason}: this machine has no such address. Choose one of its own with --bind"
    return reason
