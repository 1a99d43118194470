"""Accepted sockets of TLS listeners, until their TLS handshake is over.

Each takes a task, for asyncio's own TLS servers tell nobody why a handshake failed, and keep their
certificates for ever. What a handshake ends with is a `Connection` or a line in the log that says
what the client did wrong, as far as OpenSSL knows.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from typing import Final, cast, final

from amqbroker.auth.certificates import TlsPeer, name_in
from amqbroker.node import PeerInfo
from amqbroker.server.connection import CLOSE_TIMEOUT_S, Connection, peer_of
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

logger = logging.getLogger("amqbroker")


@final
class TlsHandshakes:
    """The handshakes under way of one broker."""

    def __init__(self, runner: Runner, certificates: Certificates, timeout_s: float) -> None:
        self._runner = runner
        self._certificates = certificates
        self._timeout_s = timeout_s
        self._tasks: set[asyncio.Task[None]] = set()

    def begin(self, transport: asyncio.Transport, mechanisms: tuple[str, ...]) -> None:
        """A socket was accepted; nothing was read from it yet."""
        transport.pause_reading()
        task = self._runner.loop.create_task(self._carry_out(transport, mechanisms))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def close(self) -> None:
        """Give up those that are under way."""
        for task in self._tasks:
            task.cancel()

    async def _carry_out(self, transport: asyncio.Transport, mechanisms: tuple[str, ...]) -> None:
        began_at = self._runner.now
        peer = peer_of(transport, mechanisms, None)
        early = _Early()
        try:
            secure = await self._runner.loop.start_tls(
                transport,
                early,
                self._certificates.context,
                server_side=True,
                ssl_handshake_timeout=self._timeout_s,
                ssl_shutdown_timeout=CLOSE_TIMEOUT_S,
            )
        except OSError as error:
            self._refuse(peer, error)
            transport.abort()
            return
        except asyncio.CancelledError:
            transport.abort()
            raise
        if secure is None or early.lost:
            self._refuse(peer, ConnectionResetError())
            return
        tls = self._tls_peer(secure, self._runner.now - began_at)
        connection = Connection(self._runner, mechanisms, tls)
        secure.set_protocol(connection)
        connection.connection_made(secure)
        if early.data:
            connection.data_received(early.data)

    def _tls_peer(self, secure: asyncio.Transport, handshake_s: float) -> TlsPeer:
        tls = cast("ssl.SSLObject", secure.get_extra_info("ssl_object"))
        cipher = tls.cipher()
        # Empty for a certificate that was not verified.
        certificate = tls.getpeercert() or {}
        return TlsPeer(
            tls.version() or "",
            cipher[0] if cipher else "",
            bool(certificate),
            name_in(certificate, self._certificates.tls.certificate_name),
            handshake_s,
        )

    def _refuse(self, peer: PeerInfo, error: OSError) -> None:
        if isinstance(error, ConnectionAbortedError):
            why = f"no TLS handshake within {self._timeout_s:g} s"
        elif isinstance(error, ssl.SSLError):
            why = self._reason(error)
        else:
            # Load balancers look whether the port is open, and go.
            logger.debug(
                "connection %s closed before the TLS handshake was over",
                peer,
                extra={"connection": str(peer)},
            )
            return
        logger.warning("connection %s refused: %s", peer, why, extra={"connection": str(peer)})

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


@final
class Accepted(asyncio.Protocol):
    """A socket that a TLS listener has accepted."""

    def __init__(self, handshakes: TlsHandshakes, mechanisms: tuple[str, ...]) -> None:
        self._handshakes = handshakes
        self._mechanisms = mechanisms

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin the handshake."""
        self._handshakes.begin(cast("asyncio.Transport", transport), self._mechanisms)


@final
class _Early(asyncio.Protocol):
    """Keeps what comes with the last bytes of the handshake, until there is a connection."""

    def __init__(self) -> None:
        self.data = b""
        self.lost = False

    def data_received(self, data: bytes) -> None:
        self.data += data

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
