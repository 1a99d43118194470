"""Why a request of an administrator was refused."""

from __future__ import annotations

from typing import Final

from amqbroker import errors as reply_codes
from amqbroker.errors import AmqpError

NOT_FOUND: Final = "not-found"
# There is no such user; rabbitmqctl has an exit code for that.
NO_SUCH_USER: Final = "no-such-user"
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


def refusal(error: AmqpError) -> ManagementError:
    """What the broker would tell a client, for an administrator."""
    code = NOT_FOUND if error.code == reply_codes.NOT_FOUND else REFUSED
    return ManagementError(code, error.explanation)
