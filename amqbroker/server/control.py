"""The control socket: how a program on the same machine talks to a broker that runs.

`control.sock` in the data folder is a Unix socket that only the broker's user may connect to; who
can connect may do everything. Requests and responses are JSON objects, each on a line of its own,
one response a request, in order:

    {"version": 1, "id": 7, "command": "backup", "arguments": {"destination": "/srv/copy"}}
    {"version": 1, "id": 7, "result": {...}}
    {"version": 1, "id": 7, "error": {"code": "failed", "text": "..."}}

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
import socket
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, final

import anyio

from amqbroker.management.errors import ManagementError
from amqbroker.store.folder import SOCKET_NAME

CONTROL_VERSION: Final = 1
REQUEST_BYTES_MAX: Final = 64 * 1024
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

Arguments = Mapping[str, object]
Result = dict[str, object]
Command = Callable[[Arguments], Awaitable[Result]]


class CommandError(Exception):
    """A command could not be carried out; the answer to its request."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(code, text)
        self.code = code
        self.text = text


@final
class Commands:
    """The commands that a broker knows, by name."""

    def __init__(self) -> None:
        self._commands: dict[str, Command] = {}
        self._arguments: dict[str, tuple[str, ...]] = {}

    def add(self, name: str, command: Command, arguments: tuple[str, ...] = ()) -> None:
        """Know one more. It is called with arguments of these names only, all of them strings."""
        assert name not in self._commands, name
        self._commands[name] = command
        self._arguments[name] = arguments

    def names(self) -> list[str]:
        """All of them, in order."""
        return sorted(self._commands)

    async def run(self, name: str, arguments: Arguments) -> Result:
        """Carry out a command. Raises CommandError."""
        command = self._commands.get(name)
        if command is None:
            known = ", ".join(self.names())
            raise CommandError(UNKNOWN_COMMAND, f"unknown command '{name}': {known} are known")
        expected = self._arguments[name]
        for argument in arguments:
            if argument not in expected:
                raise CommandError(BAD_ARGUMENT, f"{name} takes no argument '{argument}'")
        for argument in expected:
            if not isinstance(arguments.get(argument), str):
                raise CommandError(BAD_ARGUMENT, f"{name} takes a string as '{argument}'")
        try:
            return await command(arguments)
        except ManagementError as error:
            raise CommandError(error.code, error.text) from None


@final
class Request:
    """A line of a client that makes sense."""

    def __init__(self, request_id: object, command: str, arguments: Arguments) -> None:
        self.id = request_id
        self.command = command
        self.arguments = arguments


def read_request(line: bytes) -> Request:
    """Raises CommandError for what is no request."""
    try:
        found = json.loads(line)
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
            except CommandError as error:
                await _send(writer, error_response(request.id, error))
            else:
                await _send(writer, response(request.id, result=result))


async def _send(writer: asyncio.StreamWriter, line: bytes) -> None:
    writer.write(line)
    await writer.drain()
