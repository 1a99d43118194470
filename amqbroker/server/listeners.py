"""The addresses that the broker listens on."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from typing import Final

from amqbroker.config import Config, Listener, Tls
from amqbroker.server.connection import Connection, address_of
from amqbroker.server.runner import Runner
from amqbroker.server.tls import Certificates, TlsError
from amqbroker.server.tls_handshakes import TlsHandshakes

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
        # Each with the mechanisms that it offers.
        self._tls_sockets: list[tuple[socket.socket, tuple[str, ...]]] = []
        self._certificates: Certificates | None = None
        self._handshakes: TlsHandshakes | None = None
        self.addresses: list[Address] = []
        self.tls_addresses: list[Address] = []

    async def open(self, config: Config) -> None:
        """Bind every address, without accepting yet.

        Raises StartError if one cannot be had, or if the certificates are no good.
        """
        for each in config.listeners:
            try:
                self.addresses += await self._bind(each)
            except OSError as error:
                raise StartError(f"cannot listen on {each}: {reason_of(error)}") from error
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
            try:
                self.tls_addresses += await self._bind_tls(
                    listener, listener.mechanisms or config.tls.mechanisms
                )
            except OSError as error:
                raise StartError(f"cannot listen on {listener}: {reason_of(error)}") from error

    async def _bind(self, listener: Listener) -> list[Address]:
        server = await asyncio.get_running_loop().create_server(
            lambda: Connection(self._runner, listener.mechanisms),
            listener.host,
            listener.port,
            backlog=BACKLOG,
            start_serving=False,
        )
        self._servers.append(server)
        return [address_of(each.getsockname()) for each in server.sockets]

    async def _bind_tls(self, listener: Listener, mechanisms: tuple[str, ...]) -> list[Address]:
        found = await asyncio.get_running_loop().getaddrinfo(
            listener.host, listener.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        addresses = []
        for family, kind, protocol, _, address in dict.fromkeys(found):
            bound = socket.socket(family, kind, protocol)
            self._tls_sockets.append((bound, mechanisms))
            bound.setblocking(False)
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            bound.bind(address)
            addresses.append(address_of(bound.getsockname()))
        return addresses

    async def accept(self) -> None:
        """Accept connections from now on."""
        for server in self._servers:
            await server.start_serving()
        for bound, mechanisms in self._tls_sockets:
            bound.listen(BACKLOG)
            assert self._handshakes is not None
            self._handshakes.accept(bound, mechanisms)

    def shown(self) -> list[dict[str, object]]:
        """Every address, with its protocol in RabbitMQ's words."""
        return [
            {"host": host, "port": port, "protocol": protocol}
            for protocol, addresses in (
                ("amqp", self.addresses),
                ("amqp/ssl", self.tls_addresses),
            )
            for host, port in addresses
        ]

    def close(self) -> None:
        """Accept no more; connections that are open go on."""
        for server in self._servers:
            server.close()
        if self._handshakes is not None:
            self._handshakes.close()
        for bound, _ in self._tls_sockets:
            bound.close()

    def reload_certificates(self, tls: Tls | None = None) -> str:
        """Read the certificates again, or those of other settings, for new connections. What is
        wrong with them, or nothing."""
        return "" if self._certificates is None else self._certificates.reload(tls)

    def change_handshake_timeout(self, timeout_s: float) -> None:
        """For TLS handshakes to come."""
        if self._handshakes is not None:
            self._handshakes.timeout_s = timeout_s


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
