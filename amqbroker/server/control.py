"""The control socket: how a program on the same machine talks to a broker that runs.

`control.sock` in the data folder is a Unix socket that only the broker's user may connect to; who
can connect may do everything. Requests and responses are JSON objects, each on a line of its own,
one response a request, in order:

    {"version": 1, "id": 7, "command": "backup", "arguments": {"destination": "/srv/copy"}}
    {"version": 1, "id": 7, "result": {...}}
    {"version": 1, "id": 7, "error": {"code": "failed", "text": "..."}}

A command that lists sends its rows ahead of its response, in as many lines as it takes. They are
made a few milliseconds at a time, so that clients of the broker do not notice a long list:

    {"version": 1, "id": 8, "rows": [["orders", 12], ["events", 0]]}
    {"version": 1, "id": 8, "result": {"columns": ["name", "messages"], "rows": 2}}

`id` may be left out, or be anything; the response has it again. `arguments` may be left out. Codes
are for programs and never change their meaning, texts are for people. What is no request at all is
answered with an error as well, and then the connection is closed. A command that was begun is
carried out, even if its client leaves; a broker that stops cancels it.

docs/formats/control.md describes it for other programs.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
import socket
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, final

import anyio
import anyio.lowlevel

from amqbroker.errors import DiskError
from amqbroker.management.errors import ManagementError
from amqbroker.store.folder import SOCKET_NAME

CONTROL_VERSION: Final = 1
# Definitions of a hundred thousand queues come in one request.
REQUEST_BYTES_MAX: Final = 64 * 1024 * 1024
# How long the making of rows may keep the broker from everything else.
SLICE_S: Final = 0.002
CLIENTS_MAX: Final = 64
# What the address of a Unix socket holds.
ADDRESS_BYTES_MAX: Final = 107

BAD_REQUEST: Final = "bad-request"
UNKNOWN_VERSION: Final = "unknown-version"
UNKNOWN_COMMAND: Final = "unknown-command"
BAD_ARGUMENT: Final = "bad-argument"
REFUSED: Final = "refused"
FAILED: Final = "failed"
CANCELLED: Final = "cancelled"

logger = logging.getLogger("amqbroker")

Result = dict[str, object]

# JSON can name halves of characters, of which no bytes can be made. Those that stand for octets of
# names that are no UTF-8 (as Python has them) are welcome.
_MAY_BE_HALF: Final = re.compile(rb"\\u[dD][89a-fA-F]|\xed[\xa0-\xbf]")

# What an argument may be, in the words of error messages.
TEXT: Final = "a string"
NUMBER: Final = "a whole number"
FLAG: Final = "true or false"
TEXTS: Final = "a list of strings"
OBJECT: Final = "an object"
ANY: Final = "a value"

_REQUIRED: Final = object()


class CommandError(Exception):
    """A command could not be carried out; the answer to its request."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(code, text)
        self.code = code
        self.text = text


@final
class Parameter:
    """An argument that a command takes: its name, its kind, and its value if it is left out."""

    __slots__ = ("default", "kind", "name")

    def __init__(self, name: str, kind: str = TEXT, default: object = _REQUIRED) -> None:
        self.name = name
        self.kind = kind
        self.default = default

    @property
    def is_required(self) -> bool:
        """Whether it must not be left out."""
        return self.default is _REQUIRED

    def accepts(self, value: object) -> bool:
        """Whether this value is of its kind, or is none where that is the default."""
        if value is None and self.default is None:
            return True
        if self.kind == NUMBER:
            return isinstance(value, int) and not isinstance(value, bool)
        if self.kind == TEXTS:
            return isinstance(value, list) and all(isinstance(item, str) for item in value)
        if self.kind == ANY:
            return True
        return isinstance(value, {TEXT: str, FLAG: bool, OBJECT: dict}[self.kind])


@final
class Arguments(dict[str, object]):
    """What a command was given: all of its parameters, each of its kind."""

    def text(self, name: str) -> str:
        """A string."""
        value = self[name]
        assert isinstance(value, str), (name, value)
        return value

    def number(self, name: str) -> int:
        """A whole number."""
        value = self[name]
        assert isinstance(value, int), (name, value)
        return value

    def flag(self, name: str) -> bool:
        """True or false."""
        return self[name] is True

    def texts(self, name: str) -> list[str]:
        """A list of strings."""
        value = self[name]
        assert isinstance(value, list), (name, value)
        return value

    def table(self, name: str) -> dict[str, object]:
        """An object."""
        value = self[name]
        assert isinstance(value, dict), (name, value)
        return value


@final
class Rows:
    """The answer of a command that lists: the names of its columns, and rows that are made when
    they are wanted."""

    __slots__ = ("columns", "rows")

    def __init__(self, columns: list[str], rows: Iterator[list[object]]) -> None:
        self.columns = columns
        self.rows = rows


Command = Callable[[Arguments], Awaitable[Result | Rows]]


@final
class Commands:
    """The commands that a broker knows, by name."""

    def __init__(self) -> None:
        self._commands: dict[str, Command] = {}
        self._parameters: dict[str, dict[str, Parameter]] = {}

    def add(self, name: str, command: Command, *parameters: Parameter) -> None:
        """Know one more. It is called with the arguments of these parameters, and no others."""
        assert name not in self._commands, name
        self._commands[name] = command
        self._parameters[name] = {each.name: each for each in parameters}

    def names(self) -> list[str]:
        """All of them, in order."""
        return sorted(self._commands)

    async def run(self, name: str, given: Mapping[str, object]) -> Result | Rows:
        """Carry out a command. Raises CommandError."""
        command = self._commands.get(name)
        if command is None:
            known = ", ".join(self.names())
            raise CommandError(UNKNOWN_COMMAND, f"unknown command '{name}': {known} are known")
        arguments = self._checked(name, given)
        with _as_answers():
            return await command(arguments)

    def _checked(self, command: str, given: Mapping[str, object]) -> Arguments:
        parameters = self._parameters[command]
        for name in given:
            if name not in parameters:
                raise CommandError(BAD_ARGUMENT, f"{command} takes no argument '{name}'")
        arguments = Arguments()
        for name, parameter in parameters.items():
            if name not in given and not parameter.is_required:
                arguments[name] = parameter.default
            elif name not in given or not parameter.accepts(given[name]):
                raise CommandError(BAD_ARGUMENT, f"{command} takes {parameter.kind} as '{name}'")
            else:
                arguments[name] = given[name]
        return arguments


@contextmanager
def _as_answers() -> Iterator[None]:
    """What management and the disk refuse is an answer."""
    try:
        yield
    except ManagementError as error:
        raise CommandError(error.code, error.text) from None
    except DiskError as error:
        raise CommandError(FAILED, str(error)) from None
    except RecursionError:
        raise CommandError(BAD_ARGUMENT, "the arguments are nested too deeply") from None


@final
class Request:
    """A line of a client that makes sense."""

    def __init__(self, request_id: object, command: str, arguments: Mapping[str, object]) -> None:
        self.id = request_id
        self.command = command
        self.arguments = arguments


def read_request(line: bytes) -> Request:
    """Raises CommandError for what is no request."""
    try:
        found = json.loads(line)
        if _MAY_BE_HALF.search(line):
            json.dumps(found, ensure_ascii=False).encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise CommandError(BAD_REQUEST, "a request has no halves of characters") from None
    except (ValueError, RecursionError):
        raise CommandError(BAD_REQUEST, "a request is a JSON object on one line") from None
    if not isinstance(found, dict):
        raise CommandError(BAD_REQUEST, "a request is a JSON object on one line")
    version = found.get("version")
    if version != CONTROL_VERSION or isinstance(version, bool):
        what = f"version {version!r} of the control protocol is not known: {CONTROL_VERSION} is"
        raise CommandError(UNKNOWN_VERSION, what)
    command, arguments = found.get("command"), found.get("arguments", {})
    if not isinstance(command, str) or not isinstance(arguments, dict):
        what = "a request has a string as 'command' and may have an object as 'arguments'"
        raise CommandError(BAD_REQUEST, what)
    return Request(found.get("id"), command, arguments)


def response(request_id: object, **fields: object) -> bytes:
    """A line for a client."""
    return json.dumps({"version": CONTROL_VERSION, "id": request_id, **fields}).encode() + b"\n"


def error_response(request_id: object, error: CommandError) -> bytes:
    """The line that says what went wrong."""
    return response(request_id, error={"code": error.code, "text": error.text})


@contextmanager
def socket_address(folder: Path) -> Iterator[str]:
    """The address of a data folder's control socket, also if its path is longer than one may be."""
    path = str(folder / SOCKET_NAME)
    if len(os.fsencode(path)) <= ADDRESS_BYTES_MAX:
        yield path
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{descriptor}/{SOCKET_NAME}"
    finally:
        os.close(descriptor)


@final
class ControlServer:
    """The control socket of one broker. The caller has the data folder for itself."""

    def __init__(self, folder: Path, commands: Commands) -> None:
        self._folder = folder
        self._commands = commands
        self._server: asyncio.Server | None = None
        self._clients: dict[asyncio.Task[None], anyio.CancelScope] = {}

    async def open(self) -> None:
        """Serve from now on. A broker without it still does its work: what fails is logged."""
        try:
            listening = self._bind()
            self._server = await asyncio.start_unix_server(
                self._serve, sock=listening, limit=REQUEST_BYTES_MAX
            )
        except OSError as error:
            reason = os.strerror(error.errno) if error.errno else str(error)
            logger.warning("no control socket in %s: %s", self._folder, reason)

    async def close(self) -> None:
        """Cancel what is being carried out, and take the socket away."""
        server, self._server = self._server, None
        if server is None:
            return
        server.close()
        for scope in self._clients.values():
            scope.cancel()
        if self._clients:
            await asyncio.wait(self._clients)
        with suppress(OSError):
            (self._folder / SOCKET_NAME).unlink()

    def _bind(self) -> socket.socket:
        with suppress(FileNotFoundError):
            (self._folder / SOCKET_NAME).unlink()
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        # From its first moment on it is for nobody else.
        mask = os.umask(0o177)
        try:
            with socket_address(self._folder) as address:
                listening.bind(address)
        except OSError:
            listening.close()
            raise
        finally:
            os.umask(mask)
        return listening

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        with anyio.CancelScope() as scope:
            self._clients[task] = scope
            try:
                await self._answer_all(reader, writer)
            except ConnectionError:
                logger.debug("a client of the control socket left before it was answered")
            except Exception:  # a bug in one request must not end the broker
                logger.exception("a bug in the broker ends a request: please report it")
            finally:
                del self._clients[task]
                writer.close()

    async def _answer_all(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._clients) > CLIENTS_MAX:
            error = CommandError(REFUSED, f"{CLIENTS_MAX} clients are connected already")
            await _send(writer, error_response(None, error))
            return
        while True:
            try:
                request = read_request(await reader.readuntil(b"\n"))
            except asyncio.IncompleteReadError:
                return
            except asyncio.LimitOverrunError:
                what = f"a request has {REQUEST_BYTES_MAX} bytes at most"
                await _send(writer, error_response(None, CommandError(BAD_REQUEST, what)))
                return
            except CommandError as error:
                await _send(writer, error_response(None, error))
                return
            try:
                result = await self._commands.run(request.command, request.arguments)
                if isinstance(result, Rows):
                    result = await _send_rows(writer, request.id, result)
            except CommandError as error:
                await _send(writer, error_response(request.id, error))
            else:
                await _send(writer, response(request.id, result=result))


async def _send_rows(writer: asyncio.StreamWriter, request_id: object, listing: Rows) -> Result:
    """Make rows and send them, in slices that keep nobody waiting; the result that follows them."""
    count = 0
    while True:
        rows: list[list[object]] = []
        end = time.monotonic() + SLICE_S
        with _as_answers():
            for row in listing.rows:
                rows.append(row)
                if time.monotonic() >= end:
                    break
        if not rows:
            return {"columns": listing.columns, "rows": count}
        count += len(rows)
        await _send(writer, response(request_id, rows=rows))
        await anyio.lowlevel.checkpoint()


async def _send(writer: asyncio.StreamWriter, line: bytes) -> None:
    writer.write(line)
    await writer.drain()
