"""Password hashes: known answers, every kind, and the same work for every failure."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from typing import Any

import pytest
from argon2 import extract_parameters
from argon2.low_level import Type, hash_secret, hash_secret_raw, verify_secret

from amqbroker.auth import passwords
from amqbroker.auth.passwords import (
    hash_password,
    hashing_algorithm,
    rabbit_hash,
    verify,
)
from amqbroker.config.hashes import check_hash

SALT = bytes(range(16))
# From RabbitMQ's documentation of its password hashes: "test12" with the salt 908DC60A.
RABBIT_KNOWN = "kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR"
ARGON2_KNOWN = hash_password(b"secret", SALT)


def rabbit(digest: str, password: bytes) -> str:
    """A hash as RabbitMQ makes it with one of its algorithms."""
    return b64encode(b"salt" + hashlib.new(digest, b"salt" + password).digest()).decode()


SHA512_KNOWN = rabbit("sha512", b"test12")
MD5_KNOWN = rabbit("md5", b"test12")


def test_argon2id_has_the_standard_answer() -> None:
    digest = hash_secret_raw(b"secret", SALT, 4, 9216, 1, 32, Type.ID)
    encoded = [b64encode(octets).decode().rstrip("=") for octets in (SALT, digest)]
    assert f"$argon2id$v=19$m=9216,t=4,p=1${encoded[0]}${encoded[1]}" == ARGON2_KNOWN


def test_rabbitmqs_hash_has_the_documented_answer() -> None:
    assert rabbit_hash(b"test12", bytes.fromhex("908DC60A")) == RABBIT_KNOWN


@pytest.mark.parametrize(
    ("stored", "right", "kind"),
    [
        (ARGON2_KNOWN, b"secret", "argon2id"),
        (RABBIT_KNOWN, b"test12", "rabbit_password_hashing_sha256"),
        (SHA512_KNOWN, b"test12", "rabbit_password_hashing_sha512"),
        (MD5_KNOWN, b"test12", "rabbit_password_hashing_md5"),
    ],
    ids=["argon2id", "sha256", "sha512", "md5"],
)
def test_only_the_password_is_right(stored: str, right: bytes, kind: str) -> None:
    check_hash(stored)
    assert hashing_algorithm(stored) == kind
    assert verify(stored, right)
    assert not verify(stored, right + b"x")
    assert not verify(stored, b"")


def test_nobody_has_no_password() -> None:
    assert not verify(None, b"")
    assert not verify(None, b"secret")


@pytest.mark.parametrize(
    "stored",
    [None, RABBIT_KNOWN, SHA512_KNOWN, MD5_KNOWN, ARGON2_KNOWN],
    ids=["nobody", "sha256", "sha512", "md5", "argon2id"],
)
@pytest.mark.parametrize("password", [b"wrong", b""])
def test_every_failure_costs_one_argon2id(
    stored: str | None, password: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The work is counted, not timed: memory and passes."""
    costs: list[tuple[int, int]] = []
    real_hash, real_verify = hash_secret, verify_secret

    def counted_hash(secret: bytes, salt: bytes, **cost: Any) -> bytes:
        costs.append((cost["memory_cost"], cost["time_cost"]))
        return real_hash(secret, salt, **cost)

    def counted_verify(encoded: bytes, secret: bytes, kind: Type) -> bool:
        parameters = extract_parameters(encoded.decode())
        costs.append((parameters.memory_cost, parameters.time_cost))
        return real_verify(encoded, secret, kind)

    monkeypatch.setattr(passwords, "hash_secret", counted_hash)
    monkeypatch.setattr(passwords, "verify_secret", counted_verify)
    assert not verify(stored, password)
    assert costs == [(9216, 4)]


def test_an_empty_password_is_never_right() -> None:
    assert not verify(hash_password(b"", SALT), b"")
    assert not verify(rabbit("sha256", b""), b"")


def test_a_hash_of_another_cost_is_verified_at_that_cost() -> None:
    stored = hash_secret(
        b"secret", SALT, time_cost=1, memory_cost=64, parallelism=2, hash_len=16, type=Type.ID
    ).decode()
    check_hash(stored)
    assert verify(stored, b"secret")
    assert not verify(stored, b"wrong")
