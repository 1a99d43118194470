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
# From this size on, an outbox goes on in a buffer that has grown before: growing its own would copy
# all of its bytes once more.
GROWN_FROM_BYTES: Final = 4_096
# What all outboxes together keep of such buffers: at most 8 MiB.
GROWN_BUFFERS_MAX: Final = 16
GROWN_BUFFER_MAX_BYTES: Final = 262_144


@final
class Outbox:
    """Bytes that wait for the socket. `grown` are buffers that outboxes share, empty ones."""

    __slots__ = ("_closed_size", "_grown", "_pieces", "has_grown", "small")

    def __init__(self, grown: list[BytesWriter]) -> None:
        self.small = BytesWriter()
        self.has_grown = False
        self._grown = grown
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

    def grow(self) -> BytesWriter:
        """Move what is in `small` to a buffer that has grown before; where to write on."""
        buffer = self._grown.pop() if self._grown else BytesWriter()
        buffer.write(self.small.getvalue())
        self.small = buffer
        self.has_grown = True
        return buffer

    def _close_piece(self) -> None:
        size: i64 = len(self.small)
        if size > 0:
            self._pieces.append(self.small.getvalue())
            self._closed_size += size
            if self.has_grown:
                self._give_back(size)
            self.small = BytesWriter()

    def _give_back(self, size: i64) -> None:
        self.has_grown = False
        if size <= GROWN_BUFFER_MAX_BYTES and len(self._grown) < GROWN_BUFFERS_MAX:
            self.small.truncate(0)
            self._grown.append(self.small)

    def take(self) -> list[bytes]:
        """All that waits, as pieces in order; the outbox is empty afterwards."""
        self._close_piece()
        pieces = self._pieces
        self._pieces = []
        self._closed_size = 0
        return pieces
