"""What the journal hands to the edge to be written at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, final

from mypy_extensions import i64

if TYPE_CHECKING:
    from amqbroker.store.segment_outbox import SegmentWrite


@final
class Batch:
    """What the edge writes at once, in this order.

    First the `segments`, each synced if it says so. With `starts_file` a new journal file
    `file_number` begins with these chunks, else they go to its end. `sync` says that someone waits
    for it; the last block is `sequence` then, and `is_last` says that none follows. Then the
    `snapshot`, if there is one, replaces the definitions file, and at last the `deletable` journal
    files and the segments named in `unlinks` go, and those in `cuts` are cut to these sizes: they
    go later, piece by piece. Those in `set_aside` are damaged, and kept under another name.
    """

    __slots__ = (
        "chunks",
        "cuts",
        "deletable",
        "file_number",
        "is_last",
        "position",
        "segments",
        "sequence",
        "set_aside",
        "snapshot",
        "starts_file",
        "sync",
        "unlinks",
    )

    def __init__(
        self,
        file_number: i64,
        chunks: list[bytes],
        starts_file: bool,
        snapshot: bytes | None,
        deletable: list[int],
    ) -> None:
        self.position: i64 = 0
        self.file_number: i64 = file_number
        self.chunks = chunks
        self.sync = False
        self.sequence: i64 = 0
        self.is_last = False
        self.starts_file = starts_file
        self.snapshot = snapshot
        self.deletable = deletable
        self.segments: list[SegmentWrite] = []
        self.unlinks: list[str] = []
        self.cuts: list[tuple[str, int]] = []
        self.set_aside: list[str] = []
