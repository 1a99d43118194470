"""The control socket: requests, answers, limits, and what is no request at all."""

from __future__ import annotations

import asyncio
import json
import socket
import stat
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from amqbroker.management.errors import ManagementError
from amqbroker.server import control
from amqbroker.server.control import (
    ANY,
    CLIENTS_MAX,
    FLAG,
    NUMBER,
    OBJECT,
    TEXTS,
    Arguments,
    CommandError,
    Commands,
    ControlServer,
    Parameter,
    Result,
    Rows,
    read_request,
    socket_address,
)
from amqbroker.store.folder import SOCKET_NAME

T = TypeVar("T")


async def echo(arguments: Arguments) -> Result:
    """Answers with what it got."""
    return {"got": dict(arguments)}


async def refuse(_arguments: Arguments) -> Result:
    """Never works."""
    raise CommandError("refused", "not now")


async def fail(_arguments: Arguments) -> Result:
    """Has a bug."""
    return {"what": 1 / len(_arguments)}


async def sleep(_arguments: Arguments) -> Result:
    """Ends when the broker does."""
    await anyio.sleep_forever()
    return {}


async def count(arguments: Arguments) -> Rows:
    """Lists numbers, the last of them too late."""

    def rows() -> Iterator[list[object]]:
        for number in range(arguments.number("upto")):
            yield [number, "x" * arguments.number("width")]
        if arguments.flag("broken"):
            raise ManagementError("not-found", "it went away")

    return Rows(["number", "text"], rows())


def make_commands() -> Commands:
    commands = Commands()
    commands.add(
        "count",
        count,
        Parameter("upto", NUMBER),
        Parameter("width", NUMBER, 0),
        Parameter("broken", FLAG, False),
    )
    commands.add(
        "typed",
        echo,
        Parameter("names", TEXTS, []),
        Parameter("table", OBJECT, {}),
        Parameter("value", ANY, None),
    )
    commands.add("echo", echo, Parameter("text"))
    commands.add("refuse", refuse)
    commands.add("sleep", sleep)
    commands.add("fail", fail)
    return commands


def with_server(folder: Path, talk: Callable[[], Awaitable[T]]) -> T:
    """Run this beside a server, and close the server."""

    async def run() -> T:
        server = ControlServer(folder, make_commands())
        await server.open()
        try:
            return await talk()
        finally:
            await server.close()

    return anyio.run(run)


def answers(folder: Path, *pieces: bytes) -> list[dict[str, object]]:
    """All that a connection gets which sends these pieces, and then no more."""

    async def talk() -> list[dict[str, object]]:
        with socket_address(folder) as address:
            reader, writer = await asyncio.open_unix_connection(address)
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
        writer.write_eof()
        data = await reader.read()
        writer.close()
        await writer.wait_closed()
        return [json.loads(line) for line in data.splitlines()]

    return with_server(folder, talk)


def line(command: object, **fields: object) -> bytes:
    """A request."""
    return json.dumps({"version": 1, "command": command, **fields}).encode() + b"\n"


def error_of(answer: dict[str, object]) -> tuple[object, object]:
    """Code and text."""
    error = answer["error"]
    assert isinstance(error, dict)
    return error["code"], error["text"]


def test_requests_are_answered_in_order(tmp_path: Path) -> None:
    first = line("echo", id=1, arguments={"text": "é"})
    second = line("refuse", id="two")
    third = line("echo", arguments={"text": ""})
    expected = [
        {"version": 1, "id": 1, "result": {"got": {"text": "é"}}},
        {"version": 1, "id": "two", "error": {"code": "refused", "text": "not now"}},
        {"version": 1, "id": None, "result": {"got": {"text": ""}}},
    ]
    assert answers(tmp_path, first + second + third) == expected
    assert answers(tmp_path, first[:9], first[9:] + second + third[:1], third[1:]) == expected


@pytest.mark.parametrize(
    ("request_line", "code", "text"),
    [
        (b"hello\n", "bad-request", "a JSON object"),
        (b"[]\n", "bad-request", "a JSON object"),
        (b"\xff\n", "bad-request", "a JSON object"),
        (b"[" * 10_000 + b"\n", "bad-request", "a JSON object"),
        (b'{"command": "echo"}\n', "unknown-version", "version None"),
        (b'{"version": 2, "command": "echo"}\n', "unknown-version", "version 2 .* 1 is"),
        (b'{"version": true, "command": "echo"}\n', "unknown-version", "version True"),
        (line(7), "bad-request", "'command'"),
        (line("echo", arguments=[]), "bad-request", "'arguments'"),
    ],
)
def test_what_is_no_request_ends_the_connection(
    tmp_path: Path, request_line: bytes, code: str, text: str
) -> None:
    got = answers(tmp_path, request_line + line("refuse"))
    assert len(got) == 1
    assert error_of(got[0])[0] == code
    with pytest.raises(CommandError, match=text):
        read_request(request_line)


def test_a_request_that_does_not_end_is_too_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control, "REQUEST_BYTES_MAX", 5000)
    (answer,) = answers(tmp_path, b"x" * 6000)
    assert error_of(answer) == ("bad-request", "a request has 5000 bytes at most")
    assert answers(tmp_path, b'{"version": 1') == []


def test_arguments_have_kinds_and_defaults(tmp_path: Path) -> None:
    given = {"names": ["a"], "table": {"b": 1}, "value": None}
    first, second = answers(tmp_path, line("typed", arguments=given) + line("typed"))
    assert first["result"] == {"got": given}
    assert second["result"] == {"got": {"names": [], "table": {}, "value": None}}


@pytest.mark.parametrize(
    ("command", "arguments", "text"),
    [
        ("typed", {"names": [1]}, "typed takes a list of strings as 'names'"),
        ("typed", {"table": []}, "typed takes an object as 'table'"),
        ("count", {"upto": True}, "count takes a whole number as 'upto'"),
        ("count", {"upto": 1, "broken": 1}, "count takes true or false as 'broken'"),
    ],
)
def test_an_argument_of_another_kind(
    tmp_path: Path, command: str, arguments: dict[str, object], text: str
) -> None:
    (answer,) = answers(tmp_path, line(command, arguments=arguments))
    assert error_of(answer) == ("bad-argument", text)


def test_rows_come_ahead_of_the_answer_in_pieces(tmp_path: Path) -> None:
    *pieces, last = answers(tmp_path, line("count", id=5, arguments={"upto": 60_000, "width": 9}))
    assert last["result"] == {"columns": ["number", "text"], "rows": 60_000}
    assert len(pieces) > 1
    assert all(piece["id"] == 5 for piece in pieces)
    rows = [row for piece in pieces for row in piece["rows"]]  # type: ignore[attr-defined]
    assert rows == [[number, "x" * 9] for number in range(60_000)]


def test_others_have_their_turn_while_rows_are_made(tmp_path: Path) -> None:
    async def talk() -> int:
        reader, writer = await asyncio.open_unix_connection(tmp_path / SOCKET_NAME)
        writer.write(line("count", arguments={"upto": 60_000}))
        writer.write_eof()
        turns = 0
        reading = asyncio.ensure_future(reader.read())
        while not reading.done():
            turns += 1
            await asyncio.sleep(0)
        writer.close()
        await writer.wait_closed()
        return turns

    assert with_server(tmp_path, talk) > 10


def test_an_empty_list_and_one_that_breaks_off(tmp_path: Path) -> None:
    first, *pieces, last, again = answers(
        tmp_path,
        line("count", arguments={"upto": 0})
        + line("count", arguments={"upto": 3, "broken": True})
        + line("refuse"),
    )
    assert first["result"] == {"columns": ["number", "text"], "rows": 0}
    assert error_of(last) == ("not-found", "it went away")
    assert error_of(again)[0] == "refused"
    assert all("rows" in piece for piece in pieces)


def test_a_large_request_is_read(tmp_path: Path) -> None:
    text = "x" * 1_000_000
    (answer,) = answers(tmp_path, line("echo", arguments={"text": text}))
    assert answer["result"] == {"got": {"text": text}}


def test_a_bug_in_a_command_is_logged_and_costs_the_connection(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert answers(tmp_path, line("fail") + line("refuse")) == []
    assert [record.message for record in caplog.records] == [
        "a bug in the broker ends a request: please report it"
    ]


@pytest.mark.parametrize(
    ("request_line", "code", "text"),
    [
        (
            line("drop"),
            "unknown-command",
            "unknown command 'drop': count, echo, fail, refuse, sleep, typed are known",
        ),
        (line("echo"), "bad-argument", "echo takes a string as 'text'"),
        (line("echo", arguments={"text": 1}), "bad-argument", "echo takes a string as 'text'"),
        (line("refuse", arguments={"a": 1}), "bad-argument", "refuse takes no argument 'a'"),
    ],
)
def test_wrong_commands_are_answered_and_the_connection_goes_on(
    tmp_path: Path, request_line: bytes, code: str, text: str
) -> None:
    first, second = answers(tmp_path, request_line + line("refuse"))
    assert error_of(first) == (code, text)
    assert error_of(second)[0] == "refused"


@given(st.binary(max_size=60) | st.text(max_size=30).map(str.encode))
def test_any_line_is_a_request_or_an_error(data: bytes) -> None:
    with suppress(CommandError):
        assert isinstance(read_request(data + b"\n").command, str)


def test_the_socket_is_the_users_alone_and_goes_with_the_server(tmp_path: Path) -> None:
    async def look() -> int:
        return (tmp_path / SOCKET_NAME).stat().st_mode

    mode = with_server(tmp_path, look)
    assert stat.S_ISSOCK(mode)
    assert stat.S_IMODE(mode) == 0o600
    assert list(tmp_path.iterdir()) == []


def test_the_socket_of_a_killed_broker_is_replaced(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(tmp_path / SOCKET_NAME))
    assert len(answers(tmp_path, line("refuse"))) == 1


def test_a_folder_with_a_long_path_has_one_too(tmp_path: Path) -> None:
    folder = tmp_path / ("long" * 30)
    folder.mkdir()
    with socket_address(folder) as address:
        assert len(address) < 107
    assert len(answers(folder, line("refuse"))) == 1
    assert list(folder.iterdir()) == []


def test_without_a_place_for_it_the_broker_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def nothing() -> None:
        pass

    with_server(tmp_path / "missing", nothing)
    assert [record.message for record in caplog.records] == [
        f"no control socket in {tmp_path / 'missing'}: No such file or directory"
    ]


def test_a_server_that_closes_cancels_commands_and_hangs_up(tmp_path: Path) -> None:
    async def run() -> bytes:
        server = ControlServer(tmp_path, make_commands())
        await server.open()
        reader, writer = await asyncio.open_unix_connection(tmp_path / SOCKET_NAME)
        writer.write(line("sleep"))
        idle_reader, idle_writer = await asyncio.open_unix_connection(tmp_path / SOCKET_NAME)
        while len(server._clients) < 2:
            await anyio.lowlevel.checkpoint()
        await server.close()
        await server.close()
        data = await reader.read() + await idle_reader.read()
        for each in (writer, idle_writer):
            each.close()
            await each.wait_closed()
        return data

    assert anyio.run(run) == b""


def test_there_is_a_limit_to_clients(tmp_path: Path) -> None:
    async def talk() -> bytes:
        pairs = [
            await asyncio.open_unix_connection(tmp_path / SOCKET_NAME) for _ in range(CLIENTS_MAX)
        ]
        reader, writer = await asyncio.open_unix_connection(tmp_path / SOCKET_NAME)
        data = await reader.read()
        for _, each in [*pairs, (reader, writer)]:
            each.close()
            await each.wait_closed()
        return data

    answer = json.loads(with_server(tmp_path, talk))
    assert error_of(answer) == ("refused", f"{CLIENTS_MAX} clients are connected already")
