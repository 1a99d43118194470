"""The checksum on disk is the same whoever computes it: data moves between machines."""

from __future__ import annotations

import zlib

from hypothesis import given
from hypothesis import strategies as st

from amqbroker.store.checksum import crc32


@given(st.binary(max_size=5000), st.binary(max_size=300), st.integers(0, 16))
def test_it_is_zlibs(data: bytes, before: bytes, start: int) -> None:
    assert crc32(data) == zlib.crc32(data)
    assert crc32(memoryview(data)[start:], crc32(before)) == zlib.crc32(before + data[start:])
