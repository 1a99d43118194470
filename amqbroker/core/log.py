"""Lines for the log, as data: the core decides what is worth a line, the edge writes it."""

from __future__ import annotations

import logging
from typing import Final, final

DEBUG: Final = logging.DEBUG
INFO: Final = logging.INFO
WARNING: Final = logging.WARNING
ERROR: Final = logging.ERROR


@final
class LogLine:
    """One event. `fields` go into structured logs as they are."""

    __slots__ = ("fields", "level", "text")

    def __init__(self, level: int, text: str, fields: dict[str, object]) -> None:
        self.level = level
        self.text = text
        self.fields = fields
