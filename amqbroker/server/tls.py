"""The broker's certificates: read, judged, and read again while the broker runs.

Everything that can be wrong with the files is found before the first handshake, and named by the
setting to blame. A certificate that is out of date is no mistake of the configuration: the broker
starts and warns, for some clients do not mind and the others say so themselves.
"""

from __future__ import annotations

import logging
import re
import ssl
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, final

from amqbroker.auth.certificates import validity_of
from amqbroker.config import Tls

VERSIONS: Final = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
VERIFY_MODES: Final = {
    "none": ssl.CERT_NONE,
    "optional": ssl.CERT_OPTIONAL,
    "required": ssl.CERT_REQUIRED,
}
PEM_CERTIFICATE: Final = re.compile(
    r"-----BEGIN CERTIFICATE-----\s.*?-----END CERTIFICATE-----", re.DOTALL
)
PRIVATE_KEY: Final = "PRIVATE KEY-----"
OTHER_KEY: Final = ("KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH")

logger = logging.getLogger("amqbroker")


class TlsError(Exception):
    """Settings of the section `tls` that cannot be used: for each the key, and what is wrong."""

    def __init__(self, problems: list[tuple[str, str]]) -> None:
        super().__init__("; ".join(f"tls.{key}: {text}" for key, text in problems))
        self.problems = problems


class _NoPassword(Exception):
    """The key is encrypted, and nobody says with what."""


@final
class Certificates:
    """What new connections are met with."""

    def __init__(self, tls: Tls) -> None:
        """Read the files. Raises TlsError."""
        self.tls = tls
        self.context = make_context(tls)
        report_validity(tls)

    def reload(self, tls: Tls | None = None) -> str:
        """Read the files again, or those of other settings; if they are no good, all stays as it
        was. What is wrong with them, or nothing."""
        tls = self.tls if tls is None else tls
        try:
            self.context = make_context(tls)
        except TlsError as error:
            logger.error("TLS certificates not reloaded, the old ones stay in use: %s", error)
            return str(error)
        self.tls = tls
        logger.info("TLS certificates reloaded; new connections use them")
        report_validity(self.tls)
        return ""


def make_context(tls: Tls) -> ssl.SSLContext:
    """What these settings mean. Raises TlsError with everything that is wrong."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = VERSIONS[tls.version_min]
    problems = _load_certificate(context, tls)
    if tls.client_certificates != "none":
        problems += _load_authorities(context, tls.ca_certificates)
        context.verify_mode = VERIFY_MODES[tls.client_certificates]
    if tls.ciphers:
        try:
            context.set_ciphers(tls.ciphers)
        except ssl.SSLError:
            problems.append(
                ("ciphers", f"OpenSSL knows no cipher in {tls.ciphers!r}; ECDHE+AESGCM is a list")
            )
    if problems:
        raise TlsError(problems)
    return context


def _load_certificate(context: ssl.SSLContext, tls: Tls) -> list[tuple[str, str]]:
    def password() -> str:
        if not tls.key_password:
            raise _NoPassword
        return tls.key_password

    key_setting, key_file = ("key", tls.key) if tls.key else ("certificate", tls.certificate)
    problems = [
        *_unlike("certificate", tls.certificate, "-----BEGIN CERTIFICATE-----", "a certificate"),
        *_unlike(key_setting, key_file, PRIVATE_KEY, "a private key"),
    ]
    if problems:
        return list(dict.fromkeys(problems))  # both may be one file
    try:
        context.load_cert_chain(tls.certificate, key_file, password)
    except _NoPassword:
        return [("key_password", f"the key in {key_file} is encrypted: its password is needed")]
    except (ssl.SSLError, ValueError) as error:
        reason = getattr(error, "reason", None)
        if reason in OTHER_KEY:
            text = f"{key_file} is not the key of the certificate in {tls.certificate}"
            return [(key_setting, text)]
        if tls.key_password and "ENCRYPTED" in _read(key_file):
            return [("key_password", f"not the password of the key in {key_file}")]
        text = f"OpenSSL cannot use {tls.certificate} with the key in {key_file}: {error}"
        return [("certificate", text)]
    return []


def _load_authorities(context: ssl.SSLContext, file: str) -> list[tuple[str, str]]:
    key = "ca_certificates"
    problems = _unlike(key, file, "-----BEGIN CERTIFICATE-----", "a certificate")
    if not problems:
        try:
            context.load_verify_locations(file)
        except ssl.SSLError as error:
            problems = [(key, f"OpenSSL cannot use {file}: {error}")]
    return problems


def _unlike(key: str, file: str, mark: str, what: str) -> list[tuple[str, str]]:
    """What is wrong with a file before OpenSSL has seen it."""
    try:
        text = _read(file)
    except OSError as error:
        return [(key, f"{file} cannot be read: {error.strerror}")]
    if mark not in text:
        return [(key, f"there is not {what} in {file}: a PEM file is needed, with {mark}")]
    return []


def _read(file: str) -> str:
    return Path(file).read_text(encoding="ascii", errors="replace")


def report_validity(tls: Tls) -> None:
    """One line on how long the certificate holds, and warnings of those that do not."""
    now = datetime.now(UTC)
    files = [tls.certificate]
    if tls.client_certificates != "none":
        files.append(tls.ca_certificates)
    for file in files:
        for number, (since, until) in enumerate(validities(_read(file)), 1):
            which = f"TLS certificate {number} in {file}"
            if until < now:
                logger.warning("%s expired on %s: renew it", which, shown(until))
            elif since > now:
                logger.warning("%s is not valid before %s", which, shown(since))
            elif file == tls.certificate and number == 1:
                logger.info("%s is valid until %s", which, shown(until))


def validities(text: str) -> list[tuple[datetime, datetime]]:
    """From when and until when the certificates in a PEM file hold, as far as they can be read."""
    found = []
    for pem in PEM_CERTIFICATE.findall(text):
        with suppress(ValueError):
            found.append(validity_of(ssl.PEM_cert_to_DER_cert(pem)))
    return found


def shown(moment: datetime) -> str:
    """A date as the log has it."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
