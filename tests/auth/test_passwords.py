"""Password hashes: known answers, both kinds, and the same work for every failure."""

from __future__ import annotations

import hashlib
from base64 import b64decode, b64encode

import pytest

from amqbroker.auth.passwords import check_hash, hash_password, rabbit_hash, verify

SALT = bytes(range(16))
# From RabbitMQ's documentation of its password hashes: "test12" with the salt 908DC60A.
RABBIT_KNOWN = "kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR"
SCRYPT_KNOWN = hash_password(b"secret", SALT)


def test_scrypt_has_the_standard_answer() -> None:
    digest = hashlib.scrypt(b"secret", salt=SALT, n=8192, r=8, p=1, dklen=32)
    kind, cost, salt, found = SCRYPT_KNOWN.split("$")
    assert (kind, cost) == ("scrypt", "13")
    assert b64decode(salt) == SALT
    assert b64decode(found) == digest


def test_rabbitmqs_hash_has_the_documented_answer() -> None:
    assert rabbit_hash(b"test12", bytes.fromhex("908DC60A")) == RABBIT_KNOWN


@pytest.mark.parametrize(
    ("stored", "right"), [(SCRYPT_KNOWN, b"secret"), (RABBIT_KNOWN, b"test12")]
)
def test_only_the_password_is_right(stored: str, right: bytes) -> None:
    check_hash(stored)
    assert verify(stored, right)
    assert not verify(stored, right + b"x")
    assert not verify(stored, b"")


def test_nobody_has_no_password() -> None:
    assert not verify(None, b"")
    assert not verify(None, b"secret")


@pytest.mark.parametrize("stored", [None, RABBIT_KNOWN, SCRYPT_KNOWN])
def test_every_failure_costs_one_scrypt(
    stored: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    costs = []
    real = hashlib.scrypt

    def counted(password: bytes, *, n: int, **rest: int) -> bytes:
        costs.append(n)
        return real(password, n=n, **rest)  # type: ignore[arg-type]

    monkeypatch.setattr(hashlib, "scrypt", counted)
    assert not verify(stored, b"wrong")
    assert costs == [8192]


def test_a_hash_of_another_cost_is_verified_at_that_cost() -> None:
    digest = hashlib.scrypt(b"secret", salt=SALT, n=4, r=8, p=1, dklen=32)
    encode = b64encode
    stored = f"scrypt$2${encode(SALT).decode()}${encode(digest).decode()}"
    check_hash(stored)
    assert verify(stored, b"secret")


@pytest.mark.parametrize(
    "stored",
    [
        "",
        "secret",
        "c2VjcmV0",
        "not base64!",
        "scrypt$13$YQ==",
        "scrypt$x$YQ==$YQ==",
        "scrypt$0$YQ==$YQ==",
        "scrypt$21$YQ==$YQ==",
        "scrypt$13$!$YQ==",
        "scrypt$13$YQ==$!",
    ],
)
def test_what_is_no_hash_is_refused_at_configuration(stored: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        check_hash(stored)
