"""The mark: which journal files are the first one and the last one, and a block that is there.

A first or a last file that goes by itself leaves a folder that looks whole; the mark misses it. It
is two file headers (records.py) and nothing else: magic "AMQBLAST", the number of the last journal
file, in the second header that of the first one, and in the place of the seeds the sequence of the
block.
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
    """Journal file `number` is there, and so are the blocks up to `sequence`.

    Journal file `oldest` is there, if no mark says otherwise since; 0 says nothing.
    """

    __slots__ = ("number", "oldest", "sequence")

    def __init__(self, number: i64, sequence: i64, oldest: i64) -> None:
        self.number: i64 = number
        self.sequence: i64 = sequence
        self.oldest: i64 = oldest

    def encode(self) -> bytes:
        """The bytes of the file."""
        writer = BytesWriter()
        write_i64_be(writer, self.sequence)
        sequence = writer.getvalue()
        last = file_header(MARK_MAGIC, self.number, sequence)
        return last + file_header(MARK_MAGIC, self.oldest, sequence)


def read_mark(data: bytes) -> Mark | None:
    """The mark in a file, None if it is damaged. Raises DiskError if its format is another."""
    last = read_file_header(MARK_NAME, data, MARK_MAGIC)
    if last is None:
        return None
    sequence = read_i64_be(data, SEQUENCE_OFFSET)
    if len(data) == FILE_HEADER_BYTES:
        return Mark(last.number, sequence, 0)  # as it was at first
    oldest = read_file_header(MARK_NAME, data[FILE_HEADER_BYTES:], MARK_MAGIC)
    if oldest is None or len(data) != 2 * FILE_HEADER_BYTES:
        return None
    return Mark(last.number, sequence, oldest.number)
