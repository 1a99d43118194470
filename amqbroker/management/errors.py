"""Why a request of an administrator was refused."""

from __future__ import annotations

from typing import Final

NOT_FOUND: Final = "not-found"
# What is asked for cannot be as it is written: a bad name, a bad pattern, a wrong type.
BAD_ARGUMENT: Final = "bad-argument"
# It could be, but not now, or not here.
REFUSED: Final = "refused"


class ManagementError(Exception):
    """The request was not carried out, and nothing of it was done.

    `code` is for programs and never changes its meaning; `text` is for people.
    """

    def __init__(self, code: str, text: str) -> None:
        super().__init__(code, text)
        self.code = code
        self.text = text
