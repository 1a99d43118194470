"""The broker's certificates: mistakes in files, how long they hold, and new ones on SIGHUP."""

from __future__ import annotations

import logging
import os
import re
import shutil
import signal
import socket
import ssl
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from amqbroker.config import Tls
from amqbroker.server.startup import StartError
from amqbroker.server.tls import Certificates, TlsError, make_context, shown, validities
from amqbroker.testing import broker

from .certificates import PAST, Authority, running
from .process import BrokerProcess, broker_process


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def problems(**settings: object) -> list[tuple[str, str]]:
    with pytest.raises(TlsError) as caught:
        make_context(Tls(**settings))  # type: ignore[arg-type]
    return caught.value.problems


def test_the_defaults_are_modern(authority: Authority) -> None:
    context = make_context(Tls(*authority.issue("broker")))
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert context.verify_mode == ssl.CERT_NONE
    usual = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    assert context.get_ciphers() == usual.get_ciphers()


def test_every_setting_counts(authority: Authority) -> None:
    certificate, key = authority.issue("broker")
    context = make_context(
        Tls(
            certificate,
            key,
            ca_certificates=authority.file,
            client_certificates="optional",
            version_min="1.3",
            ciphers="ECDHE+AESGCM",
        )
    )
    assert context.minimum_version == ssl.TLSVersion.TLSv1_3
    assert context.verify_mode == ssl.CERT_OPTIONAL
    assert len(context.get_ca_certs()) == 1
    old = [each["name"] for each in context.get_ciphers() if each["protocol"] == "TLSv1.2"]
    assert all(re.fullmatch("ECDHE-(RSA|ECDSA)-AES.*GCM.*", name) for name in old)


def test_the_key_may_be_in_the_certificates_file(authority: Authority, tmp_path: Path) -> None:
    certificate, key = authority.issue("broker")
    both = tmp_path / "both.pem"
    both.write_text(Path(certificate).read_text() + Path(key).read_text())
    make_context(Tls(str(both)))
    assert problems(certificate=certificate) == [
        (
            "certificate",
            f"there is not a private key in {certificate}: a PEM file is needed, with"
            " PRIVATE KEY-----",
        )
    ]


def test_files_that_are_not_there_are_told_at_once(authority: Authority, tmp_path: Path) -> None:
    none = str(tmp_path / "none.pem")
    assert problems(
        certificate=none,
        key=str(tmp_path),
        client_certificates="required",
        ca_certificates=authority.issue("broker")[1],
        ciphers="no-such",
    ) == [
        ("certificate", f"{none} cannot be read: No such file or directory"),
        ("key", f"{tmp_path} cannot be read: Is a directory"),
        (
            "ca_certificates",
            f"there is not a certificate in {tmp_path}/broker.key: a PEM file is needed, with"
            " -----BEGIN CERTIFICATE-----",
        ),
        ("ciphers", "OpenSSL knows no cipher in 'no-such'; ECDHE+AESGCM is a list"),
    ]


def test_a_key_of_another_certificate_is_named(authority: Authority) -> None:
    certificate, _ = authority.issue("broker")
    _, key = authority.issue("other")
    text = f"{key} is not the key of the certificate in {certificate}"
    assert problems(certificate=certificate, key=key) == [("key", text)]


def test_an_encrypted_key_needs_its_password(authority: Authority) -> None:
    certificate, key = authority.issue("broker")
    private = serialization.load_pem_private_key(Path(key).read_bytes(), None)
    Path(key).write_bytes(
        private.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )
    make_context(Tls(certificate, key, "secret"))
    assert problems(certificate=certificate, key=key) == [
        ("key_password", f"the key in {key} is encrypted: its password is needed")
    ]
    assert problems(certificate=certificate, key=key, key_password="wrong") == [
        ("key_password", f"not the password of the key in {key}")
    ]


def test_damaged_files_are_named(authority: Authority, tmp_path: Path) -> None:
    certificate, key = authority.issue("broker")
    damaged = tmp_path / "damaged.pem"
    damaged.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    ((setting, text),) = problems(certificate=str(damaged), key=key)
    assert setting == "certificate"
    assert text.startswith(f"OpenSSL cannot use {damaged} with the key in {key}: ")
    ((setting, text),) = problems(
        certificate=certificate,
        key=key,
        client_certificates="required",
        ca_certificates=str(damaged),
    )
    assert setting == "ca_certificates"
    assert text.startswith(f"OpenSSL cannot use {damaged}: ")


def test_dates_are_read_and_shown(authority: Authority) -> None:
    certificate, _ = authority.issue("broker", expired=True)
    ((since, until),) = validities(Path(certificate).read_text())
    assert since < until == PAST
    assert shown(until) == "2021-03-04T05:06:07Z"
    assert validities("nothing") == []
    assert validities(Path(authority.file).read_text())[0][1] > datetime.now(UTC)


def test_a_certificate_that_is_out_of_date_is_a_warning(
    authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "amqbroker"):
        certificate, key = authority.issue("broker", expired=True)
        Certificates(Tls(certificate, key))
        assert caplog.messages == [
            f"TLS certificate 1 in {certificate} expired on 2021-03-04T05:06:07Z: renew it"
        ]
        assert caplog.records[0].levelname == "WARNING"
        caplog.clear()
        certificate, key = authority.issue("broker")
        Certificates(Tls(certificate, key))
        assert caplog.messages[0].startswith(f"TLS certificate 1 in {certificate} is valid until ")


def test_a_broker_with_an_expired_certificate_starts(authority: Authority, tmp_path: Path) -> None:
    certificate, key = authority.issue("old", expired=True)
    tls = {"certificate": certificate, "key": key}
    with running("uvloop", tmp_path, tls=tls) as started:
        assert "WARNING" in started.expect_log("old.pem expired on 2021-03-04T05:06:07Z")
        with pytest.raises(ssl.SSLCertVerificationError, match="expired"):
            serial_of(started.tls_port, authority)
        started.expect_log("the broker's certificate has expired")
        started.connect(None).close()


def test_a_start_with_bad_files_fails(tmp_path: Path) -> None:
    with (
        pytest.raises(StartError, match=r"tls\.certificate: /none cannot be read"),
        broker(tls_listeners=["127.0.0.1:0"], tls={"certificate": "/none"}),
    ):
        pass


def test_a_broker_may_have_tls_only(authority: Authority) -> None:
    with broker(listeners=[], tls_listeners=["127.0.0.1:0"], tls=authority.tls()) as started:
        assert started.port == started.tls_port != 0


def test_a_tls_address_that_is_taken_is_named(authority: Authority) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with (
            pytest.raises(StartError, match=f"cannot listen on {address}: .* in use"),
            broker(tls_listeners=[address], tls=authority.tls()),
        ):
            pass


def serial_of(port: int, authority: Authority) -> object:
    """The serial number of the certificate that a new connection gets."""
    raw = socket.create_connection(("127.0.0.1", port), timeout=5)
    with authority.client().wrap_socket(raw, server_hostname="localhost") as client:
        certificate = client.getpeercert()
        assert certificate is not None
        return certificate["serialNumber"]


def hang_up(process: BrokerProcess, expected: str) -> str:
    """Send SIGHUP; the line that follows."""
    start = len(process.lines)
    process.send_signal(signal.SIGHUP)
    return process.expect_log(expected, start)


def test_new_certificates_on_sighup(authority: Authority, tmp_path: Path) -> None:
    certificate, key = authority.issue("broker")
    tls = {"certificate": certificate, "key": key}
    with broker_process(tmp_path / "data", tls_listeners=["127.0.0.1:0"], tls=tls) as process:
        first = serial_of(process.tls_port, authority)
        raw = socket.create_connection(("127.0.0.1", process.tls_port), timeout=5)
        with authority.client().wrap_socket(raw, server_hostname="localhost") as before:
            authority.issue("broker")
            assert serial_of(process.tls_port, authority) == first
            hang_up(process, "INFO .* TLS certificates reloaded")
            second = serial_of(process.tls_port, authority)
            assert second != first
            # What was open goes on.
            before.sendall(b"AMQP\x00\x00\x09\x01")
            assert before.recv(1) == b"\x01"

        shutil.copy(key, tmp_path / "good.key")
        os.truncate(key, 0)
        line = hang_up(process, "ERROR .* TLS certificates not reloaded, the old ones stay in use")
        assert f"tls.key: there is not a private key in {key}" in line
        assert serial_of(process.tls_port, authority) == second

        shutil.copy(authority.issue("other")[1], key)
        line = hang_up(process, "ERROR .* TLS certificates not reloaded")
        assert f"tls.key: {key} is not the key of the certificate in {certificate}" in line
        assert serial_of(process.tls_port, authority) == second

        shutil.copy(tmp_path / "good.key", key)
        hang_up(process, "INFO .* TLS certificates reloaded")
        assert serial_of(process.tls_port, authority) == second


def test_a_new_authority_on_sighup(authority: Authority, tmp_path: Path) -> None:
    other = Authority(tmp_path, "other")
    accepted = tmp_path / "accepted.pem"
    shutil.copy(authority.file, accepted)
    tls = authority.tls(client_certificates="required", ca_certificates=str(accepted))
    ann, bob = authority.issue("ann"), other.issue("bob")
    with broker_process(tmp_path / "data", tls_listeners=["127.0.0.1:0"], tls=tls) as process:

        def is_let_in(certificate: tuple[str, str]) -> bool:
            raw = socket.create_connection(("127.0.0.1", process.tls_port), timeout=5)
            context = authority.client(certificate)
            try:
                with context.wrap_socket(raw, server_hostname="localhost") as client:
                    client.sendall(b"AMQP\x00\x00\x09\x01")
                    return client.recv(1) == b"\x01"
            except OSError:
                return False

        assert (is_let_in(ann), is_let_in(bob)) == (True, False)
        shutil.copy(other.file, accepted)
        hang_up(process, "INFO .* TLS certificates reloaded")
        assert (is_let_in(ann), is_let_in(bob)) == (False, True)


def test_sighup_without_tls_does_no_harm(tmp_path: Path) -> None:
    with broker_process(tmp_path) as process:
        hang_up(process, "not read from a file: only certificates are read again")
        process.connect().close()
