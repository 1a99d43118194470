"""Certificates made for a test, and brokers that use them, on both event loops.

In this process the broker runs on asyncio's loop, in a process of its own on uvloop's, if that is
installed: the two have different code for TLS.
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pika
import trustme

from amqbroker.testing import broker

from .process import broker_process, wait_until

LOOPS = ["asyncio", "uvloop"]
PAST = datetime(2021, 3, 4, 5, 6, 7, tzinfo=UTC)
BEFORE = datetime(2020, 1, 1, tzinfo=UTC)


class Authority:
    """An authority, and files of what it issues."""

    def __init__(self, folder: Path, name: str = "authority") -> None:
        self._folder = folder
        self._ca = trustme.CA()
        self.file = str(folder / f"{name}.pem")
        self._ca.cert_pem.write_to_path(self.file)

    def issue(
        self, name: str, *identities: str, expired: bool = False, file_name: str | None = None
    ) -> tuple[str, str]:
        """The files of a certificate and its key. `identities` default to this machine."""
        leaf = self._ca.issue_cert(
            *(identities or ("localhost", "127.0.0.1")),
            common_name=name,
            not_before=BEFORE,
            not_after=PAST if expired else None,
        )
        certificate = self._folder / f"{file_name or name}.pem"
        key = self._folder / f"{file_name or name}.key"
        certificate.write_bytes(b"".join(blob.bytes() for blob in leaf.cert_chain_pems))
        leaf.private_key_pem.write_to_path(str(key))
        return str(certificate), str(key)

    def client(self, certificate: tuple[str, str] | None = None) -> ssl.SSLContext:
        """What a client needs to trust this authority, and to show a certificate."""
        context = ssl.create_default_context(cafile=self.file)
        if certificate is not None:
            context.load_cert_chain(*certificate)
        return context

    def tls(self, **settings: object) -> dict[str, object]:
        """The section `tls` of a broker with a certificate of this authority."""
        certificate, key = self.issue("broker")
        return {"certificate": certificate, "key": key, **settings}


class Running:
    """A broker with a TLS listener, and its log."""

    def __init__(self, port: int, tls_port: int, lines: Callable[[], list[str]]) -> None:
        self.port = port
        self.tls_port = tls_port
        self._lines = lines

    def expect_log(self, text: str) -> str:
        """Wait for a line with this text."""
        wait_until(lambda: bool(self._find(text)), f"a line with {text!r}")
        return self._find(text)

    def _find(self, text: str) -> str:
        return next((line for line in self._lines() if text in line), "")

    def connect(
        self,
        context: ssl.SSLContext | None,
        credentials: object = None,
        port: int | None = None,
    ) -> pika.BlockingConnection:
        """A connection with TLS if there is a context."""
        options = None if context is None else pika.SSLOptions(context, "localhost")
        usual = self.port if context is None else self.tls_port
        return pika.BlockingConnection(
            pika.ConnectionParameters(
                "127.0.0.1",
                usual if port is None else port,
                ssl_options=options,
                credentials=credentials or pika.PlainCredentials("guest", "guest"),
                socket_timeout=5,
                stack_timeout=5,
                blocked_connection_timeout=5,
            )
        )


class _Lines(logging.Handler):
    """Keeps the log of a broker in this process."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(f"{record.levelname} {record.getMessage()}")


@contextmanager
def running(loop: str, folder: Path, **settings: object) -> Iterator[Running]:
    """A broker on one of LOOPS, with a plain and a TLS listener."""
    settings = {"tls_listeners": ["127.0.0.1:0"], **settings}
    if loop == "uvloop":
        with broker_process(folder / "data", **settings) as process:
            assert not process.failed, process.lines
            yield Running(process.port, process.tls_port, lambda: process.lines)
        return
    logger = logging.getLogger("amqbroker")
    kept, level = _Lines(), logger.level
    logger.addHandler(kept)
    logger.setLevel(logging.DEBUG)
    try:
        with broker(**settings) as inside:
            yield Running(inside.port, inside.tls_port, lambda: kept.lines)
    finally:
        logger.removeHandler(kept)
        logger.setLevel(level)
