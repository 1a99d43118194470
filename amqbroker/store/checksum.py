"""CRC-32 as zlib computes it, of every block on disk.

Intel's ISA-L, which the extra `fast` installs, computes the same ten times faster with the
processor's own instructions.
"""

from __future__ import annotations

try:
    from isal.isal_zlib import crc32
except ImportError:
    from zlib import crc32

__all__ = ["crc32"]
