"""Password hashes: argon2id for new ones, RabbitMQ's salted hashes for imported ones.

config/hashes.py says what they look like. An imported hash stays until the password changes.

Salts come from the caller. A check takes milliseconds by intent and is made in a thread. Every
check that fails costs one argon2id, whether the user exists or not and however the password is
stored, so the time tells nothing; one that succeeds costs what its hash costs.

Source: RFC 9106; RabbitMQ's `rabbit_password_hashing_sha256` and its siblings.
"""

from __future__ import annotations

import hashlib
import hmac
from base64 import b64decode, b64encode
from typing import Final

from argon2.exceptions import Argon2Error
from argon2.low_level import ARGON2_VERSION, Type, hash_secret, verify_secret

from amqbroker.config.hashes import RABBIT_DIGESTS, RABBIT_SALT_SIZE, is_argon2

# 9 MiB and 20 to 40 ms: one of OWASP's equivalent choices, with little memory.
MEMORY_KIB: Final = 9216
PASSES: Final = 4
LANES: Final = 1
DIGEST_SIZE: Final = 32
SALT_SIZE: Final = 16

ARGON2ID: Final = "argon2id"
# With the digest's function: the name of an algorithm in RabbitMQ's definitions.
RABBIT_PREFIX: Final = "rabbit_password_hashing_"

# What a password is checked against that nobody has.
_NOBODY: Final = bytes(SALT_SIZE)


def hash_password(password: bytes, salt: bytes) -> str:
    """A password as it is stored; `salt` is SALT_SIZE random octets. Slow: call it in a thread."""
    return argon2id(password, salt)


def rabbit_hash(password: bytes, salt: bytes) -> str:
    """A password as RabbitMQ stores it; `salt` is 4 random octets.

    Quick to make and quick to guess: for passwords that are no secret.
    """
    return b64encode(salt + hashlib.sha256(salt + password).digest()).decode()


def hashing_algorithm(stored: str) -> str:
    """The kind of a stored hash, by RabbitMQ's name if it is RabbitMQ's."""
    if is_argon2(stored):
        return ARGON2ID
    return RABBIT_PREFIX + _digest_name(b64decode(stored))


def verify(stored: str | None, password: bytes) -> bool:
    """Whether this is the password; None stands for a user that does not exist.

    Slow, and free of state: call it in a thread. `stored` passed `check_hash`. An empty password is
    never right, as RabbitMQ has it.
    """
    if stored is not None and is_argon2(stored):
        return _verify_argon2(stored, password) and password != b""
    if stored is not None and password:
        octets = b64decode(stored)
        digest = hashlib.new(_digest_name(octets), octets[:RABBIT_SALT_SIZE] + password)
        if hmac.compare_digest(digest.digest(), octets[RABBIT_SALT_SIZE:]):
            return True
    argon2id(password, _NOBODY)
    return False


def argon2id(password: bytes, salt: bytes) -> str:
    """The hash of a password, at the cost that all new ones have."""
    return hash_secret(
        password,
        salt,
        time_cost=PASSES,
        memory_cost=MEMORY_KIB,
        parallelism=LANES,
        hash_len=DIGEST_SIZE,
        type=Type.ID,
        version=ARGON2_VERSION,
    ).decode()


def _verify_argon2(stored: str, password: bytes) -> bool:
    try:
        return verify_secret(stored.encode(), password, Type.ID)
    except Argon2Error:
        return False


def _digest_name(octets: bytes) -> str:
    return RABBIT_DIGESTS[len(octets) - RABBIT_SALT_SIZE]
