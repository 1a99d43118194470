"""A refused request, all the way to the client of the control socket."""

from __future__ import annotations

import anyio
import pytest

from amqbroker.management.errors import NOT_FOUND, ManagementError
from amqbroker.server.control import Arguments, CommandError, Commands, Result


def test_a_refusal_is_the_answer_to_the_command() -> None:
    """Code and text come through as they are."""

    async def refuse(_arguments: Arguments) -> Result:
        raise ManagementError(NOT_FOUND, "there is no user 'ann'")

    commands = Commands()
    commands.add("delete-user", refuse)
    with pytest.raises(CommandError) as caught:
        anyio.run(commands.run, "delete-user", {})
    assert (caught.value.code, caught.value.text) == (NOT_FOUND, "there is no user 'ann'")
