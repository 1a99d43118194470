"""Password hashes: argon2id for new ones, RabbitMQ's salted hashes for imported ones.

    $argon2id$v=19$m=<KiB>,t=<passes>,p=<lanes>$<salt>$<digest>
    <base64 of salt (4 octets) and digest(salt + password)>       as in RabbitMQ's definitions

RabbitMQ's digest is SHA-256, SHA-512 or MD5; its size says which. An imported hash stays until the
password changes.

Salts come from the caller. A check takes milliseconds by intent and is made in a thread. Every
check that fails costs one argon2id, whether the user exists or not and however the password is
stored, so the time tells nothing; one that succeeds costs what its hash costs.

Source: RFC 9106; RabbitMQ's `rabbit_password_hashing_sha256` and its siblings.
"""

from __future__ import annotations

import binascii
import hashlib
import hmac
import re
from base64 import b64decode, b64encode
from typing import Final

from argon2.exceptions import Argon2Error
from argon2.low_level import ARGON2_VERSION, Type, hash_secret, verify_secret

# 9 MiB and 20 to 40 ms: one of OWASP's equivalent choices, with little memory.
MEMORY_KIB: Final = 9216
PASSES: Final = 4
LANES: Final = 1
DIGEST_SIZE: Final = 32
SALT_SIZE: Final = 16

# A hash out of a file may cost more, but not as much as it likes.
MEMORY_KIB_MAX: Final = 1 << 20
PASSES_MAX: Final = 100
LANES_MAX: Final = 16

ARGON2ID: Final = "argon2id"
ARGON2_PREFIX: Final = "$argon2id$"
_ARGON2: Final = re.compile(
    r"\$argon2id\$v=19\$m=(\d{1,7}),t=(\d{1,3}),p=(\d{1,2})\$[A-Za-z0-9+/]{11,86}\$[A-Za-z0-9+/]{16,86}"
)

RABBIT_SALT_SIZE: Final = 4
# By the size of the digest: the name in RabbitMQ's definitions, and the function.
RABBIT_PREFIX: Final = "rabbit_password_hashing_"
RABBIT_DIGESTS: Final = {16: "md5", 32: "sha256", 64: "sha512"}

_NO_HASH: Final = (
    "not a password hash: RabbitMQ's (base64 of 20, 36 or 68 octets) or $argon2id$... is needed"
)
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


def check_hash(stored: str) -> None:
    """ValueError if this is neither kind of hash, for hashes out of a file."""
    if not is_argon2(stored):
        _rabbit_octets(stored)
        return
    match = _ARGON2.fullmatch(stored)
    if match is None:
        raise ValueError(_NO_HASH)
    memory, passes, lanes = int(match[1]), int(match[2]), int(match[3])
    if not (
        8 * lanes <= memory <= MEMORY_KIB_MAX
        and 1 <= passes <= PASSES_MAX
        and 1 <= lanes <= LANES_MAX
    ):
        raise ValueError(
            f"an argon2id hash of too much or too little work: m is at most {MEMORY_KIB_MAX}, t at "
            f"most {PASSES_MAX}, p at most {LANES_MAX}"
        )


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


def is_argon2(stored: str) -> bool:
    """Which of the two kinds: base64 has no dollar sign."""
    return stored.startswith(ARGON2_PREFIX)


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


def _rabbit_octets(stored: str) -> bytes:
    try:
        octets = b64decode(stored, validate=True)
    except binascii.Error:
        raise ValueError(_NO_HASH) from None
    if len(octets) - RABBIT_SALT_SIZE not in RABBIT_DIGESTS:
        raise ValueError(_NO_HASH)
    return octets
