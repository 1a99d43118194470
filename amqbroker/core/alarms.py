"""Why publishers are blocked: memory or the disk is short.

The edge measures, this decides. An alarm ends a little away from where it began, so that a broker
at its limit does not block and unblock its publishers with every measurement. The disk is short as
well while the journal waits for room, whatever was measured, and for ever once it is broken.

Source: RabbitMQ's `vm_memory_monitor`, `rabbit_disk_monitor` and `rabbit_alarm`; the words are
`rabbit_reader`'s (`blocked_by_message`).
"""

from __future__ import annotations

from typing import Final, final

from mypy_extensions import i64

MEMORY: Final = "memory"
DISK: Final = "disk"
# Memory has to fall by this share of its watermark before its alarm ends.
MEMORY_DIVISOR: Final = 20
# The disk must have this share of its limit more before its alarm ends.
DISK_DIVISOR: Final = 10
# Before the edge says how much memory there is.
NO_WATERMARK: Final = -1


@final
class Alarms:
    """What was measured last, the limits, and which alarms are on.

    `disk_full` is the journal's word: it waits for room, or is broken.
    """

    __slots__ = (
        "disk_free_bytes",
        "disk_free_limit",
        "disk_full",
        "disk_is_low",
        "memory_accounted",
        "memory_bytes",
        "memory_is_low",
        "memory_kept",
        "memory_watermark",
    )

    def __init__(self) -> None:
        self.memory_bytes: i64 = 0
        self.memory_accounted: i64 = 0
        # What may be free, and kept by an allocator: at most what was accounted for and went since,
        # and at most what is resident and not accounted for.
        self.memory_kept: i64 = 0
        self.memory_watermark: i64 = NO_WATERMARK
        self.memory_is_low = False
        self.disk_free_bytes: i64 = 0
        self.disk_free_limit: i64 = 0
        self.disk_is_low = False
        self.disk_full = False

    def measure_memory(self, resident_bytes: i64, accounted_bytes: i64) -> None:
        """The process has so much memory, and so much of it is accounted for.

        What was accounted for and is no more may be free, and kept by an allocator that could not
        give it back: new messages take that first, so it blocks nobody. What it did give back is no
        excuse any more. Whatever else is resident counts, whether the account knows it or not.
        """
        kept = max(0, min(self.kept(accounted_bytes), resident_bytes - accounted_bytes))
        self.memory_bytes = resident_bytes
        self.memory_accounted = accounted_bytes
        self.memory_kept = kept
        used = max(accounted_bytes, resident_bytes - kept)
        watermark = self.memory_watermark
        if watermark == NO_WATERMARK:
            self.memory_is_low = False
        elif used > watermark:
            self.memory_is_low = True
        elif used <= watermark - watermark // MEMORY_DIVISOR:
            self.memory_is_low = False

    def kept(self, accounted_bytes: i64) -> i64:
        """How much may be free and kept by an allocator, with so much accounted for now."""
        return max(0, self.memory_kept + self.memory_accounted - accounted_bytes)

    def measure_disk(self, free_bytes: i64) -> None:
        """The disk takes so much more."""
        self.disk_free_bytes = free_bytes
        limit = self.disk_free_limit
        if free_bytes < limit:
            self.disk_is_low = True
        elif free_bytes >= limit + limit // DISK_DIVISOR:
            self.disk_is_low = False

    def disk_is_short(self) -> bool:
        """Whether the disk has less room than it should."""
        return self.disk_is_low or self.disk_full

    def reason(self) -> str:
        """Why publishers are blocked, in RabbitMQ's words; empty if they are not."""
        short: list[str] = []
        if self.memory_is_low:
            short.append(MEMORY)
        if self.disk_is_short():
            short.append(DISK)
        return f"low on {' & '.join(short)}" if short else ""
