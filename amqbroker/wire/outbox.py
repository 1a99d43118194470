"""The output buffer of one connection.

Small frames are written one after the other into `small`. A large body is not copied: `small` is
closed off as a piece, the body becomes a piece of its own, and the edge sends the pieces in order.

Invariant: `size` is the sum of the closed pieces; everything written comes out once, in order.
"""

from __future__ import annotations

from typing import Final, final

from librt.strings import BytesWriter
from mypy_extensions import i64

# From this size on, a copy costs more than one more piece to send.
LARGE_BODY_BYTES: Final = 16_384
# The buffer of a piece between these sizes is written again: growing a new one to that size would
# copy its bytes once more. A connection that sends little, or has a pile, lets go of it.
KEPT_BUFFER_MIN_BYTES: Final = 4_096
KEPT_BUFFER_MAX_BYTES: Final = 262_144


@final
class Outbox:
    """Bytes that wait for the socket."""

    __slots__ = ("_closed_size", "_pieces", "small")

    def __init__(self) -> None:
        self.small = BytesWriter()
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

    def _close_piece(self) -> None:
        size: i64 = len(self.small)
        if size > 0:
            self._pieces.append(self.small.getvalue())
            self._closed_size += size
            if KEPT_BUFFER_MIN_BYTES <= size <= KEPT_BUFFER_MAX_BYTES:
                self.small.truncate(0)
            else:
                self.small = BytesWriter()

    def take(self) -> list[bytes]:
        """All that waits, as pieces in order; the outbox is empty afterwards."""
        self._close_piece()
        pieces = self._pieces
        self._pieces = []
        self._closed_size = 0
        return pieces
