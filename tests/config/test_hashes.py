"""What a password hash may look like."""

from __future__ import annotations

import pytest

from amqbroker.config.hashes import check_hash

ARGON2 = "$argon2id$v=19$m=9216,t=4,p=1$AAECAwQFBgcICQoLDA0ODw$" + "A" * 43


@pytest.mark.parametrize(
    "stored",
    [
        ARGON2,
        # OWASP's choices, and the defaults of argon2's own libraries.
        ARGON2.replace("m=9216,t=4", "m=47104,t=1"),
        ARGON2.replace("m=9216,t=4", "m=7168,t=5"),
        ARGON2.replace("m=9216,t=4,p=1", "m=65536,t=3,p=4"),
        "kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR",
    ],
)
def test_what_others_make_is_a_hash(stored: str) -> None:
    check_hash(stored)


@pytest.mark.parametrize(
    "stored",
    [
        "",
        "secret",
        "c2VjcmV0",
        "not base64!",
        "AAAA" * 13,
        ARGON2[:-30],
        ARGON2 + "$",
        ARGON2.replace("argon2id", "argon2i"),
        ARGON2.replace("v=19", "v=16"),
        ARGON2.replace("m=9216", "m=9999999"),
        ARGON2.replace("m=9216", "m=7"),
        ARGON2.replace("t=4", "t=0"),
        ARGON2.replace("t=4", "t=999"),
        ARGON2.replace("m=9216", "m=262145"),
        ARGON2.replace("m=9216,t=4", "m=262144,t=5"),
        ARGON2.replace("p=1", "p=0"),
        ARGON2.replace("p=1", "p=17"),
    ],
)
def test_what_is_no_hash_is_refused_at_configuration(stored: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        check_hash(stored)
