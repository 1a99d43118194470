"""What TLS says about a peer, and what certificates say about themselves.

Names come from a certificate that was verified, in the form of `ssl.SSLSocket.getpeercert`. Dates
are read from the encoded certificate itself, as the standard library shows them for verified peers
only, and the broker wants to know them of its own.

Source: RFC 5280 section 4.1 (Certificate, Validity), X.690 (DER).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final, final

# Kinds of names, as the configuration has them, and as getpeercert() has them.
COMMON_NAME: Final = "common_name"
ALTERNATIVE_NAMES: Final[dict[str, str]] = {"dns": "DNS", "email": "email", "uri": "URI"}

SEQUENCE: Final = 0x30
EXPLICIT_VERSION: Final = 0xA0
UTC_TIME: Final = 0x17
GENERALIZED_TIME: Final = 0x18
LONG_SIZE: Final = 0x80


@final
class TlsPeer:
    """The TLS of one connection. `handshake_s` is how long its handshake took.

    `has_certificate` means one that was verified; `user` is the name in it that logs in, empty if
    it has none of the wanted kind; `valid_s` is how long it still holds.
    """

    __slots__ = ("cipher", "handshake_s", "has_certificate", "user", "valid_s", "version")

    def __init__(
        self,
        version: str,
        cipher: str,
        has_certificate: bool,
        user: str,
        handshake_s: float,
        valid_s: float,
    ) -> None:
        self.version = version
        self.cipher = cipher
        self.has_certificate = has_certificate
        self.user = user
        self.handshake_s = handshake_s
        self.valid_s = valid_s


def name_in(certificate: Mapping[str, object], kind: str) -> str:
    """The name of this kind in a verified certificate, or nothing.

    Of several alternative names it is the first, of several common names the last, which is the
    most specific.
    """
    if kind != COMMON_NAME:
        wanted = ALTERNATIVE_NAMES[kind]
        for entry in _pairs(certificate.get("subjectAltName")):
            if entry[0] == wanted:
                return entry[1]
        return ""
    name = ""
    subject = certificate.get("subject")
    if isinstance(subject, tuple):
        for part in subject:
            for entry in _pairs(part):
                if entry[0] == "commonName":
                    name = entry[1]
    return name


def _pairs(value: object) -> list[tuple[str, str]]:
    if not isinstance(value, tuple):
        return []
    return [(str(item[0]), str(item[1])) for item in value if isinstance(item, tuple)]


def validity_of(der: bytes) -> tuple[datetime, datetime]:
    """From when and until when a certificate holds. ValueError if this is none."""
    certificate = _Der(_Der(der).value(SEQUENCE))
    fields = _Der(certificate.value(SEQUENCE))
    if fields.next_is(EXPLICIT_VERSION):
        fields.skip()
    fields.skip()  # serial number
    fields.skip()  # signature algorithm
    fields.skip()  # issuer
    validity = _Der(fields.value(SEQUENCE))
    return validity.time(), validity.time()


@final
class _Der:
    """Reads values one after the other."""

    __slots__ = ("_data", "_position")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._position = 0

    def next_is(self, tag: int) -> bool:
        """Whether the next value has this tag."""
        return self._position < len(self._data) and self._data[self._position] == tag

    def value(self, tag: int) -> bytes:
        """The contents of the next value."""
        if not self.next_is(tag):
            raise ValueError("not a certificate")
        return self.skip()

    def skip(self) -> bytes:
        """The contents of the next value, whatever it is."""
        start = self._position + 2
        if start > len(self._data):
            raise ValueError("a certificate that is cut short")
        size = self._data[self._position + 1]
        if size >= LONG_SIZE:
            count = size - LONG_SIZE
            size = int.from_bytes(self._data[start : start + count], "big")
            start += count
        self._position = start + size
        if self._position > len(self._data):
            raise ValueError("a certificate that is cut short")
        return self._data[start : self._position]

    def time(self) -> datetime:
        """The next value, as a moment. Two digits of a year are from 1950 to 2049."""
        if self.next_is(UTC_TIME):
            text = self.skip().decode("ascii")
            text = ("19" if text >= "5" else "20") + text
        else:
            text = self.value(GENERALIZED_TIME).decode("ascii")
        return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)
