"""What a password hash may look like, wherever it comes from: the configuration, definitions, an
administrator.

    $argon2id$v=19$m=<KiB>,t=<passes>,p=<lanes>$<salt>$<digest>
    <base64 of salt (4 octets) and digest(salt + password)>       as in RabbitMQ's definitions

RabbitMQ's digest is SHA-256, SHA-512 or MD5; its size says which. auth/passwords.py makes hashes
and verifies passwords against them.
"""

from __future__ import annotations

import binascii
import re
from base64 import b64decode
from typing import Final

ARGON2_PREFIX: Final = "$argon2id$"
_ARGON2: Final = re.compile(
    r"\$argon2id\$v=19\$m=(\d{1,7}),t=(\d{1,3}),p=(\d{1,2})\$[A-Za-z0-9+/]{11,86}\$[A-Za-z0-9+/]{16,86}"
)

# A hash out of a file may cost more than ours, but not as much as it likes: whoever knows the
# user's name has it checked. 256 MiB in four passes, or 64 MiB in sixteen, take a second or two.
MEMORY_KIB_MAX: Final = 1 << 18
WORK_KIB_MAX: Final = 1 << 20
LANES_MAX: Final = 16

RABBIT_SALT_SIZE: Final = 4
# By the size of the digest: its function.
RABBIT_DIGESTS: Final = {16: "md5", 32: "sha256", 64: "sha512"}

_NO_HASH: Final = (
    "no password hash: RabbitMQ's (base64 of 20, 36 or 68 bytes) or $argon2id$... is needed"
)


def check_hash(stored: str) -> None:
    """ValueError if this is neither kind of hash, or would cost too much."""
    if not is_argon2(stored):
        _check_rabbit(stored)
        return
    match = _ARGON2.fullmatch(stored)
    if match is None:
        raise ValueError(_NO_HASH)
    memory, passes, lanes = int(match[1]), int(match[2]), int(match[3])
    if not (
        8 * lanes <= memory <= MEMORY_KIB_MAX
        and passes >= 1
        and memory * passes <= WORK_KIB_MAX
        and 1 <= lanes <= LANES_MAX
    ):
        raise ValueError(
            f"an argon2id hash of too much or too little work: m is at most {MEMORY_KIB_MAX}, m "
            f"times t at most {WORK_KIB_MAX}, p at most {LANES_MAX}"
        )


def is_argon2(stored: str) -> bool:
    """Which of the two kinds: base64 has no dollar sign."""
    return stored.startswith(ARGON2_PREFIX)


def _check_rabbit(stored: str) -> None:
    try:
        octets = b64decode(stored, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError(_NO_HASH) from None
    if len(octets) - RABBIT_SALT_SIZE not in RABBIT_DIGESTS:
        raise ValueError(_NO_HASH)
