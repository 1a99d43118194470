"""Accepted sockets of TLS listeners, until their TLS handshake is over.

The sockets are accepted here, for asyncio's own TLS servers tell nobody why a handshake failed, and
keep their certificates for ever. What a handshake ends with is a `Connection`, or a line in the log
that says what the client did wrong, as far as OpenSSL knows.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import time
from collections.abc import Coroutine, Mapping
from typing import Final, cast, final

from amqbroker.auth.certificates import TlsPeer, name_in
from amqbroker.node import PeerInfo
from amqbroker.server.connection import CLOSE_TIMEOUT_S, Connection, address_of, leaves_files
from amqbroker.server.runner import Runner
from amqbroker.server.tls import Certificates

# OpenSSL's reasons, in words. Alerts are what the client said.
REASONS: Final = {
    "HTTP_REQUEST": "an HTTP request on a TLS port",
    "NO_SHARED_CIPHER": "the client and the broker have no cipher in common",
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": "the client showed no certificate, and one is required",
    "SSLV3_ALERT_BAD_CERTIFICATE": "the client did not accept the broker's certificate",
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": "the client says that the broker's certificate has expired",
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": "the client did not accept the broker's certificate",
    "TLSV1_ALERT_UNKNOWN_CA": "the client does not know the authority of the broker's certificate",
    "UNSUPPORTED_PROTOCOL": "the client speaks only old versions of TLS",
    "VERSION_TOO_LOW": "the client speaks only old versions of TLS",
}
# What OpenSSL says of bytes that are no TLS at all depends on its version and on the bytes.
NOT_TLS: Final = ("WRONG_VERSION_NUMBER", "UNKNOWN_PROTOCOL", "UNEXPECTED_MESSAGE", "HTTP_REQUEST")
# How long to wait when there is no file descriptor left.
ACCEPT_RETRY_S: Final = 1.0

logger = logging.getLogger("amqbroker")


@final
class TlsHandshakes:
    """What TLS listeners accept, until it is a connection."""

    def __init__(self, runner: Runner, certificates: Certificates, timeout_s: float) -> None:
        self._runner = runner
        self._certificates = certificates
        self.timeout_s = timeout_s
        self._tasks: set[asyncio.Task[None]] = set()

    def accept(self, listening: socket.socket, mechanisms: tuple[str, ...]) -> None:
        """Accept on this socket from now on."""
        self._start(self._accept(listening, mechanisms))

    def close(self) -> None:
        """Accept no more, and give up the handshakes that are under way."""
        for task in self._tasks:
            task.cancel()

    def _start(self, coroutine: Coroutine[None, None, None]) -> None:
        task = self._runner.loop.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _accept(self, listening: socket.socket, mechanisms: tuple[str, ...]) -> None:
        while True:
            try:
                accepted, _ = await self._runner.loop.sock_accept(listening)
            except OSError as error:
                logger.error("cannot accept a TLS connection: %s", error)
                await asyncio.sleep(ACCEPT_RETRY_S)
            else:
                if not leaves_files(accepted.fileno(), name_of(accepted)):
                    accepted.close()
                    continue
                self._start(self._shake_hands(accepted, mechanisms))

    async def _shake_hands(self, accepted: socket.socket, mechanisms: tuple[str, ...]) -> None:
        began_at = self._runner.now
        name = name_of(accepted)
        try:
            await self._runner.loop.connect_accepted_socket(
                lambda: Connection(
                    self._runner, mechanisms, lambda transport: self._peer(transport, began_at)
                ),
                accepted,
                ssl=self._certificates.context,
                ssl_handshake_timeout=self.timeout_s,
                ssl_shutdown_timeout=CLOSE_TIMEOUT_S,
            )
        except OSError as error:
            self._report(name, error)

    def _peer(self, transport: asyncio.BaseTransport, began_at: float) -> TlsPeer:
        tls = cast("ssl.SSLObject", transport.get_extra_info("ssl_object"))
        cipher = tls.cipher()
        # Empty for a certificate that was not verified.
        certificate = tls.getpeercert() or {}
        return TlsPeer(
            tls.version() or "",
            cipher[0] if cipher else "",
            bool(certificate),
            name_in(certificate, self._certificates.tls.certificate_name),
            self._runner.now - began_at,
            remaining_s(certificate),
        )

    def _report(self, name: str, error: OSError) -> None:
        if isinstance(error, ConnectionAbortedError):
            why = f"no TLS handshake within {self.timeout_s:g} s"
        elif isinstance(error, ssl.SSLError):
            why = self._reason(error)
        else:
            # Load balancers look whether the port is open, and go.
            logger.debug(
                "connection %s closed before the TLS handshake was over",
                name,
                extra={"connection": name},
            )
            return
        logger.warning("connection %s refused: %s", name, why, extra={"connection": name})

    def _reason(self, error: ssl.SSLError) -> str:
        if isinstance(error, ssl.SSLCertVerificationError):
            file = self._certificates.tls.ca_certificates
            return (
                f"the client's certificate is not accepted: {error.verify_message} "
                f"(the authorities are those in {file})"
            )
        reason = error.reason or ""
        if reason in REASONS:
            return f"{REASONS[reason]} ({reason})"
        if reason in NOT_TLS:
            return f"no TLS on a TLS port, perhaps a client that is set up without ({reason})"
        return f"the TLS handshake failed ({reason or error})"


def name_of(accepted: socket.socket) -> str:
    """The name of a connection, as the log has it later too."""
    try:
        host, port = address_of(accepted.getpeername())
    except OSError:
        host, port = "unknown", 0  # it is gone already
    return str(PeerInfo(host, port, *address_of(accepted.getsockname())))


def remaining_s(certificate: Mapping[str, object]) -> float:
    """How long a verified certificate still holds; 0 for none."""
    until = certificate.get("notAfter")
    return ssl.cert_time_to_seconds(until) - time.time() if isinstance(until, str) else 0.0
