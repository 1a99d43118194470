"""The bytes of the mark. What a start makes of it is in test_folder.py."""

from __future__ import annotations

import pytest

from amqbroker.errors import DiskError
from amqbroker.store.mark import MARK_MAGIC, Mark, read_mark
from amqbroker.store.records import FILE_HEADER_BYTES, FORMAT_VERSION, header_crc

DATA = Mark(7, 1 << 40, 5).encode()


def test_a_mark_reads_as_it_was_written() -> None:
    assert len(DATA) == 2 * FILE_HEADER_BYTES
    found = read_mark(DATA)
    assert found is not None
    assert (found.number, found.sequence, found.oldest) == (7, 1 << 40, 5)


def test_a_mark_as_it_was_at_first_knows_no_oldest_file() -> None:
    found = read_mark(DATA[:FILE_HEADER_BYTES])
    assert found is not None
    assert (found.number, found.sequence, found.oldest) == (7, 1 << 40, 0)


@pytest.mark.parametrize("bit", range(16 * FILE_HEADER_BYTES))
def test_a_flipped_bit_is_noticed(bit: int) -> None:
    data = bytearray(DATA)
    data[bit // 8] ^= 1 << bit % 8
    assert read_mark(bytes(data)) is None


def test_a_newer_format_is_refused() -> None:
    data = MARK_MAGIC + (FORMAT_VERSION + 1).to_bytes(4, "big") + DATA[12:28]
    data += header_crc(data + bytes(4)).to_bytes(4, "big")
    with pytest.raises(DiskError, match=r"journal\.last has format version 4"):
        read_mark(data)
