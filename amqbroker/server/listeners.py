"""The addresses that the broker listens on."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Callable
from typing import Final

from amqbroker.config import Config, Listener, Tls
from amqbroker.server.connection import Connection, address_of
from amqbroker.server.runner import Runner
from amqbroker.server.tls import Certificates, TlsError
from amqbroker.server.tls_handshakes import Accepted, TlsHandshakes

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
        self._certificates: Certificates | None = None
        self._handshakes: TlsHandshakes | None = None
        self.addresses: list[Address] = []
        self.tls_addresses: list[Address] = []

    async def open(self, config: Config) -> None:
        """Bind every address, without accepting yet.

        Raises StartError if one cannot be had, or if the certificates are no good.
        """
        for each in config.listeners:
            self.addresses += await self._bind(each, self._plain(each))
        if not config.tls_listeners:
            return
        try:
            self._certificates = Certificates(config.tls)
        except TlsError as error:
            raise StartError(str(error)) from error
        self._handshakes = TlsHandshakes(
            self._runner, self._certificates, config.limits.handshake_timeout_s
        )
        for listener in config.tls_listeners:
            factory = self._tls(self._handshakes, listener, config.tls)
            self.tls_addresses += await self._bind(listener, factory)

    def _plain(self, listener: Listener) -> Callable[[], asyncio.Protocol]:
        return lambda: Connection(self._runner, listener.mechanisms)

    def _tls(
        self, handshakes: TlsHandshakes, listener: Listener, tls: Tls
    ) -> Callable[[], asyncio.Protocol]:
        return lambda: Accepted(handshakes, listener.mechanisms or tls.mechanisms)

    async def _bind(
        self, listener: Listener, factory: Callable[[], asyncio.Protocol]
    ) -> list[Address]:
        loop = asyncio.get_running_loop()
        try:
            server = await loop.create_server(
                factory,
                listener.host,
                listener.port,
                backlog=BACKLOG,
                start_serving=False,
            )
        except OSError as error:
            raise StartError(f"cannot listen on {listener}: {reason_of(error)}") from error
        self._servers.append(server)
        return [address_of(each.getsockname()) for each in server.sockets]

    async def accept(self) -> None:
        """Accept connections from now on."""
        for server in self._servers:
            await server.start_serving()

    def close(self) -> None:
        """Accept no more; connections that are open go on."""
        for server in self._servers:
            server.close()
        if self._handshakes is not None:
            self._handshakes.close()

    def reload_certificates(self) -> bool:
        """Read the certificates again, for new connections; False if there are none, or no good
        ones."""
        return self._certificates is not None and self._certificates.reload()


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
