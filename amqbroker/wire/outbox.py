"""The output buffer of one connection.

Small frames are written one after the other into `small`, which is closed off as a piece now and
then. A large body is not copied: it becomes a piece of its own, and the edge sends the pieces in
order.

Invariant: `size` is the sum of the closed pieces; everything written comes out once, in order.
"""

from __future__ import annotations

from typing import Final, final

from librt.strings import BytesWriter
from mypy_extensions import i64

# From this size on, a copy costs more than one more piece to send.
LARGE_BODY_BYTES: Final = 16_384
# So many bytes are a piece. The buffer that it was written to is written again: it need not grow,
# and stays in the processor's cache.
PIECE_BYTES: Final = 16_384
# A connection that sends less than this at a time lets go of its buffer.
KEPT_BUFFER_MIN_BYTES: Final = 4_096


@final
class Outbox:
    """Bytes that wait for the socket. `buffer_bytes` is what its buffer takes while it is empty."""

    __slots__ = ("_closed_size", "_pieces", "buffer_bytes", "small")

    def __init__(self) -> None:
        self.small = BytesWriter()
        self.buffer_bytes: i64 = 0
        self._pieces: list[bytes] = []
        self._closed_size: i64 = 0

    def size(self) -> i64:
        """How many bytes wait."""
        return self._closed_size + i64(len(self.small))

    def write_large(self, data: bytes) -> None:
        """Append bytes without a copy."""
        self._close_piece()
        self._pieces.append(data)
        self._closed_size += len(data)

    def next_piece(self) -> BytesWriter:
        """Close off a piece of at least PIECE_BYTES; where to write on."""
        self._close_piece()
        return self.small

    def _close_piece(self) -> None:
        size: i64 = len(self.small)
        if size > 0:
            self._pieces.append(self.small.getvalue())
            self._closed_size += size
            if KEPT_BUFFER_MIN_BYTES <= size <= 4 * PIECE_BYTES:
                self.small.truncate(0)
                self.buffer_bytes = max(self.buffer_bytes, size)
            else:
                self.small = BytesWriter()
                self.buffer_bytes = 0

    def take(self) -> list[bytes]:
        """All that waits, as pieces in order; the outbox is empty afterwards."""
        self._close_piece()
        pieces = self._pieces
        self._pieces = []
        self._closed_size = 0
        return pieces
