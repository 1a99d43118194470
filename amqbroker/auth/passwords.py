"""Password hashes: scrypt for new ones, RabbitMQ's salted SHA-256 for imported ones.

    scrypt$<log2 of cost>$<base64 of salt>$<base64 of digest>
    <base64 of salt (4 octets) and SHA-256(salt + password)>      as in RabbitMQ's definitions

Salts come from the caller. A check takes milliseconds by intent and is made in a thread. Every
check that fails costs one scrypt, whether the user exists or not and however the password is
stored, so the time tells nothing; one that succeeds costs what its hash costs.

Source: RFC 7914; RabbitMQ's `rabbit_password_hashing_sha256`.
"""

from __future__ import annotations

import hashlib
import hmac
from base64 import b64decode, b64encode
from typing import Final

SCRYPT: Final = "scrypt"
# 8 MiB and about 15 ms.
COST_LOG2: Final = 13
COST_LOG2_MAX: Final = 20
BLOCK_SIZE: Final = 8
DIGEST_SIZE: Final = 32
SALT_SIZE: Final = 16
MEMORY_BYTES_MAX: Final = 1 << 31

RABBIT_SALT_SIZE: Final = 4
RABBIT_SIZE: Final = RABBIT_SALT_SIZE + 32


def hash_password(password: bytes, salt: bytes) -> str:
    """A password as it is stored; `salt` is SALT_SIZE random octets."""
    digest = scrypt(password, salt, COST_LOG2)
    return f"{SCRYPT}${COST_LOG2}${b64encode(salt).decode()}${b64encode(digest).decode()}"


def rabbit_hash(password: bytes, salt: bytes) -> str:
    """A password as RabbitMQ stores it; `salt` is 4 random octets."""
    return b64encode(salt + hashlib.sha256(salt + password).digest()).decode()


def check_hash(stored: str) -> None:
    """ValueError if this is neither kind of hash, for hashes out of a configuration."""
    if not is_scrypt(stored):
        if len(b64decode(stored, validate=True)) != RABBIT_SIZE:
            raise ValueError("not a password hash: RabbitMQ's have 36 octets in base64")
        return
    parts = stored.split("$")
    if len(parts) != 4 or not parts[1].isdecimal():
        raise ValueError("not a password hash: scrypt$<cost>$<salt>$<digest>")
    if not 1 <= int(parts[1]) <= COST_LOG2_MAX:
        raise ValueError(f"not a password hash: its cost is not 1 to {COST_LOG2_MAX}")
    b64decode(parts[2], validate=True)
    b64decode(parts[3], validate=True)


def verify(stored: str | None, password: bytes) -> bool:
    """Whether this is the password; None stands for a user that does not exist.

    Slow, and free of state: call it in a thread. `stored` passed `check_hash`.
    """
    if stored is not None and is_scrypt(stored):
        _, cost_log2, salt, digest = stored.split("$")
        found = scrypt(password, b64decode(salt), int(cost_log2))
        return hmac.compare_digest(found, b64decode(digest))
    if stored is not None:
        octets = b64decode(stored)
        salted = octets[:RABBIT_SALT_SIZE] + password
        if hmac.compare_digest(hashlib.sha256(salted).digest(), octets[RABBIT_SALT_SIZE:]):
            return True
    scrypt(password, b"", COST_LOG2)
    return False


def is_scrypt(stored: str) -> bool:
    """Which of the two kinds: base64 has no dollar sign."""
    return stored.startswith(f"{SCRYPT}$")


def scrypt(password: bytes, salt: bytes, cost_log2: int) -> bytes:
    """The digest."""
    return hashlib.scrypt(
        password,
        salt=salt,
        n=1 << cost_log2,
        r=BLOCK_SIZE,
        p=1,
        maxmem=MEMORY_BYTES_MAX - 1,
        dklen=DIGEST_SIZE,
    )
