"""From a configuration to a serving broker, and back to a clean stop.

Order of a start: data folder (locked, recovered), listeners, ready. Order of a stop: no new connections, 320 to every
client, what they sent is on disk, the folder is marked clean. A start fails as a whole: nothing serves half.
"""

from __future__ import annotations

import ctypes
import gc
import logging
import os
import resource
import signal
import time
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from importlib.util import find_spec
from pathlib import Path
from random import Random
from typing import Final

import anyio
from anyio.abc import SocketAttribute, SocketStream, TaskGroup

from amqbroker import __version__
from amqbroker.config import Config, Listener
from amqbroker.errors import DiskError
from amqbroker.node import Node
from amqbroker.server.connection import Connection, address_of
from amqbroker.server.runner import Runner
from amqbroker.store.files import DataFolder, open_data_folder

# A queue full of messages is millions of objects that are no garbage: collections are rare and start late.
GC_THRESHOLDS: Final = (50_000, 20, 50)
# How long clients have to answer connection.close when the broker stops.
CLOSE_TIMEOUT_S: Final = 3.0
DRAIN_TIMEOUT_S: Final = 10.0

logger = logging.getLogger("amqbroker")

# From malloc.h.
M_TRIM_THRESHOLD: Final = -1
M_MMAP_THRESHOLD: Final = -3
# Without it every 64 KiB body is a system call and sixteen page faults: a third of the processor time of such messages.
KEPT_FREE_BYTES: Final = 16 * 1024 * 1024

Address = tuple[str, int]


class StartError(Exception):
    """The broker cannot start; the text says why and what would help."""


def run(config: Config) -> int:
    """Serve until SIGTERM or Ctrl-C; the exit code. Raises StartError."""
    try:
        anyio.run(
            _serve_until_signal,
            config,
            backend="asyncio",
            backend_options={"use_uvloop": find_spec("uvloop") is not None},
        )
    except* (StartError, DiskError) as group:
        raise StartError(str(first_of(group))) from None
    return 0


def first_of(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first exception that is not a group."""
    error = group.exceptions[0]
    return first_of(error) if isinstance(error, BaseExceptionGroup) else error


async def _serve_until_signal(config: Config) -> None:
    stop = anyio.Event()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_wait_for_signal, stop)
        await serve(config, on_ready=lambda addresses: None, stop=stop)
        tasks.cancel_scope.cancel()


async def _wait_for_signal(stop: anyio.Event) -> None:
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for number in signals:
            logger.info("stopping on %s", signal.Signals(number).name)
            stop.set()


async def serve(
    config: Config, *, on_ready: Callable[[list[Address]], None], stop: anyio.Event
) -> None:
    """Serve until `stop` is set. `on_ready` gets the addresses once clients can connect.

    Raises StartError or DiskError if the broker cannot start.
    """
    started_at = time.monotonic()
    gc.set_threshold(*GC_THRESHOLDS)
    keep_freed_memory()
    raise_file_limit()
    folder = open_data_folder(Path(config.data_dir), config.store.journal_file_size_bytes)
    try:
        node = Node(config, folder.journal, folder.recovered, Random(), time.monotonic())
        report_recovery(folder)
        gc.collect()
        gc.freeze()
        runner = Runner(node, folder.writer.write, folder.read_at)
        async with AsyncExitStack() as stack:
            server = Server(runner)
            for listener in config.listeners:
                await server.listen(listener, stack)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(runner.run)
                async with anyio.create_task_group() as serving:
                    server.start(serving)
                    ready_s = time.monotonic() - started_at
                    addresses = ", ".join(f"{host}:{port}" for host, port in server.addresses)
                    logger.info(
                        "amqbroker %s ready on %s after %.2f s, data in %s",
                        __version__,
                        addresses,
                        ready_s,
                        config.data_dir,
                    )
                    on_ready(server.addresses)
                    await stop.wait()
                    await server.stop()
                    serving.cancel_scope.cancel()
                with anyio.move_on_after(DRAIN_TIMEOUT_S):
                    await runner.stop()
                tasks.cancel_scope.cancel()
    finally:
        folder.close()
    logger.info("amqbroker stopped")


def report_recovery(folder: DataFolder) -> None:
    """What the restart found on disk."""
    for problem in folder.recovered.problems:
        logger.error("%s", problem)


def keep_freed_memory() -> None:
    """Let glibc keep what large bodies leave behind, instead of giving it back and asking again for each of them."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_TRIM_THRESHOLD, KEPT_FREE_BYTES)
        mallopt(M_MMAP_THRESHOLD, KEPT_FREE_BYTES)


def raise_file_limit() -> None:
    """Every connection is a file: take as many as the system lets us have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


class Server:
    """The listeners of one broker and the connections that they accepted."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self._next_id = 1
        self._accepting: list[anyio.CancelScope] = []
        self._listeners: list[anyio.abc.Listener[SocketStream]] = []
        self.addresses: list[Address] = []

    async def listen(self, listener: Listener, stack: AsyncExitStack) -> None:
        """Open one address. Raises StartError if it cannot be had."""
        try:
            multi = await anyio.create_tcp_listener(
                local_host=listener.host, local_port=listener.port
            )
        except OSError as error:
            hint = ""
            if error.errno == 98:
                hint = ": is another broker running? Choose another port with --bind HOST:PORT"
            raise StartError(
                f"cannot listen on {listener}: {os.strerror(error.errno or 0)}{hint}"
            ) from error
        await stack.enter_async_context(multi)
        for each in multi.listeners:
            self._listeners.append(each)
            self.addresses.append(address_of(each, SocketAttribute.local_address))

    def start(self, tasks: TaskGroup) -> None:
        """Accept connections, and serve them in these tasks."""
        for listener in self._listeners:
            tasks.start_soon(self._accept, listener, tasks)

    async def _accept(self, listener: anyio.abc.Listener[SocketStream], tasks: TaskGroup) -> None:
        with anyio.CancelScope() as scope:
            self._accepting.append(scope)
            await listener.serve(self._accepted, tasks)

    async def _accepted(self, stream: SocketStream) -> None:
        runner = self._runner
        connection = Connection(runner, self._next_id, stream)
        self._next_id += 1
        try:
            peer = connection.peer()
        except OSError:
            await stream.aclose()
            return
        runner.node.client_connected(connection.id, peer, runner.now)
        runner.connections[connection.id] = connection
        runner.end_turn()
        try:
            await connection.run()
        finally:
            del runner.connections[connection.id]
            runner.paused.pop(connection.id, None)
            runner.node.client_lost(connection.id, connection.reason, runner.now)
            runner.end_turn()

    async def stop(self) -> None:
        """Take no new connections, and end the ones there are with 320."""
        for scope in self._accepting:
            scope.cancel()
        self._runner.node.shut_down("shutdown", self._runner.now)
        self._runner.end_turn()
        with anyio.move_on_after(CLOSE_TIMEOUT_S):
            while self._runner.connections:
                await anyio.sleep(0.01)
