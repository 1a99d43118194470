"""The mark: which journal file is the last one, and a block that is there.

A last file that goes by itself leaves a folder that looks whole; the mark misses it. It is a file
header (records.py) and nothing else: magic "AMQBLAST", the number of the journal file, and in the
place of the seed the sequence of the block.
"""

from __future__ import annotations

from typing import Final, final

from librt.strings import BytesWriter, read_i64_be, write_i64_be
from mypy_extensions import i64

from amqbroker.store.records import FILE_HEADER_BYTES, SEED_BYTES, file_header, read_file_header

MARK_MAGIC: Final = b"AMQBLAST"
MARK_NAME: Final = "journal.last"
MARK_NEW_NAME: Final = "journal.last.new"
SEQUENCE_OFFSET: Final = FILE_HEADER_BYTES - 4 - SEED_BYTES


@final
class Mark:
    """Journal file `number` is there, and so are the blocks up to `sequence`."""

    __slots__ = ("number", "sequence")

    def __init__(self, number: i64, sequence: i64) -> None:
        self.number: i64 = number
        self.sequence: i64 = sequence

    def encode(self) -> bytes:
        """The bytes of the file."""
        writer = BytesWriter()
        write_i64_be(writer, self.sequence)
        return file_header(MARK_MAGIC, self.number, writer.getvalue())


def read_mark(data: bytes) -> Mark | None:
    """The mark in a file, None if it is damaged. Raises DiskError if its format is another."""
    header = read_file_header(MARK_NAME, data, MARK_MAGIC)
    if header is None or len(data) != FILE_HEADER_BYTES:
        return None
    return Mark(header.number, read_i64_be(data, SEQUENCE_OFFSET))
