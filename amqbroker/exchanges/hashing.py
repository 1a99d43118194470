"""A hash of text that is the same in every process and on every machine.

Python's own `hash` is not: it changes with every start. CRC-32 is fixed by its standard and fast;
as it is linear, texts that differ in few places keep a pattern in its bits, which `mix` destroys.

Sums stay below 2**63, so compiled (64 bits) and interpreted (no limit) agree.
"""

from __future__ import annotations

import zlib
from typing import Final

from mypy_extensions import i64

MASK: Final = 0xFFFFFFFF
FACTOR: Final = 0x45D9F3B


def mix(value: i64) -> i64:
    """A permutation of the numbers of 32 bits in which every input bit reaches every output bit."""
    value = (((value >> 16) ^ value) * FACTOR) & MASK
    value = (((value >> 16) ^ value) * FACTOR) & MASK
    return (value >> 16) ^ value


def hash_text(text: str) -> i64:
    """32 well spread bits for any text, one that a peer sent in bad UTF-8 included."""
    return mix(zlib.crc32(text.encode(errors="surrogatepass")))
