"""From a configuration to a serving broker, and back to a clean stop.

Order of a start: data folder (locked, recovered), listeners, ready. Order of a stop: no new
connections, 320 to every client, what they sent is on disk, the folder is marked clean. A start
fails as a whole: nothing serves half.
"""

from __future__ import annotations

import ctypes
import gc
import logging
import resource
import signal
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from random import Random
from typing import Final

import anyio
import anyio.lowlevel

from amqbroker import __version__
from amqbroker.config import Config
from amqbroker.errors import DiskError
from amqbroker.node import Node
from amqbroker.server.admin import Admin
from amqbroker.server.control import ControlServer
from amqbroker.server.definitions import Definitions, DefinitionsError, import_file
from amqbroker.server.guest import warn_of_guest
from amqbroker.server.listeners import Listeners, StartError
from amqbroker.server.measuring import Measuring, resident_bytes, set_limits
from amqbroker.server.operations import Operations
from amqbroker.server.reloading import Reloading, Reread
from amqbroker.server.rule_operations import RuleOperations
from amqbroker.server.runner import Runner
from amqbroker.store.files import DataFolder, open_data_folder

__all__ = ["StartError", "run", "serve"]

# A queue full of messages is millions of objects that are no garbage: collections are rare and
# start late.
GC_THRESHOLDS: Final = (50_000, 20, 50)
# How long clients have to answer connection.close when the broker stops.
CLOSE_TIMEOUT_S: Final = 3.0
DRAIN_TIMEOUT_S: Final = 10.0

logger = logging.getLogger("amqbroker")

# From malloc.h.
M_TRIM_THRESHOLD: Final = -1
M_MMAP_THRESHOLD: Final = -3
# Without it every 64 KiB body is a system call and sixteen page faults: a third of the processor
# time of such messages.
KEPT_FREE_BYTES: Final = 16 * 1024 * 1024


def run(config: Config, reread: Reread | None = None) -> int:
    """Serve until SIGTERM or Ctrl-C; the exit code. Raises StartError.

    `reread` reads the configuration again, for SIGHUP and `amqbroker ctl reload`.
    """
    try:
        anyio.run(
            _serve_until_signal,
            config,
            reread,
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


async def _serve_until_signal(config: Config, reread: Reread | None) -> None:
    """What belongs to a process of its own, and not into one that only tests with a broker."""
    gc.set_threshold(*GC_THRESHOLDS)
    keep_freed_memory()
    raise_file_limit()
    stop = anyio.Event()
    serving: list[Reloading] = []

    def ready(_listeners: Listeners) -> None:
        # What was recovered lives long: no collection need look through it.
        gc.freeze()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_obey_signals, stop, serving)
        await serve(config, on_ready=ready, stop=stop, reread=reread, on_reloading=serving.append)
        tasks.cancel_scope.cancel()


async def _obey_signals(stop: anyio.Event, serving: list[Reloading]) -> None:
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
        async for number in signals:
            if number == signal.SIGHUP:
                for reloading in serving:
                    reloading.hang_up()
            else:
                logger.info("stopping on %s", signal.Signals(number).name)
                stop.set()


def _nobody(_reloading: Reloading) -> None:
    """Nobody sends signals to a broker within another process."""


async def serve(
    config: Config,
    *,
    on_ready: Callable[[Listeners], None],
    stop: anyio.Event,
    reread: Reread | None = None,
    on_reloading: Callable[[Reloading], None] = _nobody,
) -> None:
    """Serve until `stop` is set. `on_ready` gets the listeners once clients can connect,
    `on_reloading` what reads the configuration again.

    Raises StartError or DiskError if the broker cannot start.
    """
    started_at = time.monotonic()
    data_dir = Path(config.data_dir)
    folder = open_data_folder(data_dir, config.store.journal_file_size_bytes)
    try:
        node = Node(
            config, folder.journal, folder.recovered, Random(), time.monotonic(), time.time()
        )
        set_limits(node, config)
        import_definitions(node, config)
        report_recovery(folder)
        warn_of_guest(node.broker)
        runner = Runner(node, folder.writer.write, folder.read_at)
        listeners = Listeners(runner)
        admin = Admin(node, folder, data_dir, listeners.shown, stop.set)
        Operations(runner, admin.commands)
        RuleOperations(runner, admin.commands)
        Definitions(runner, admin.commands)
        on_reloading(Reloading(runner, listeners, admin.commands, reread))
        measuring = Measuring(runner, folder)
        await measuring.measure_disk()
        control = ControlServer(data_dir, admin.commands)
        try:
            await listeners.open(config)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(runner.run)
                tasks.start_soon(measuring.run)
                await listeners.accept()
                await control.open()
                # Once the broker says that it is ready, signals are obeyed.
                await anyio.lowlevel.checkpoint()
                report_ready(listeners, time.monotonic() - started_at, config.data_dir)
                node.serving(resident_bytes() or 0)
                on_ready(listeners)
                await stop.wait()
                await control.close()
                await stop_serving(runner, listeners)
                tasks.cancel_scope.cancel()
        finally:
            listeners.close()
            with anyio.CancelScope(shield=True):
                await control.close()
            node.let_go()
    finally:
        folder.close()
    logger.info("amqbroker stopped")


def import_definitions(node: Node, config: Config) -> None:
    """The definitions that the configuration names. Raises StartError."""
    if config.definitions.file:
        try:
            import_file(node.broker, config.definitions.file)
        except DefinitionsError as error:
            raise StartError(str(error)) from None


async def stop_serving(runner: Runner, listeners: Listeners) -> None:
    """No new connections, 320 to those that are there, and the rest to disk."""
    listeners.close()
    runner.node.shut_down("shutdown", runner.now)
    runner.end_turn()
    with anyio.move_on_after(CLOSE_TIMEOUT_S):
        await runner.wait_all_lost()
    for connection in list(runner.connections.values()):
        connection.abort()
    with anyio.move_on_after(DRAIN_TIMEOUT_S):
        await runner.stop()


def report_ready(listeners: Listeners, seconds: float, data_dir: str) -> None:
    """The line that people and programs wait for."""
    shown = ", ".join(
        [_shown(address) for address in listeners.addresses]
        + [f"{_shown(address)} (TLS)" for address in listeners.tls_addresses]
    )
    logger.info(
        "amqbroker %s ready on %s after %.2f s, data in %s", __version__, shown, seconds, data_dir
    )


def _shown(address: tuple[str, int]) -> str:
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def report_recovery(folder: DataFolder) -> None:
    """What the restart found on disk."""
    for problem in folder.recovered.problems:
        logger.error("%s", problem)
    if folder.recovered.torn_tail is not None:
        logger.warning("%s: cut off", folder.recovered.torn_tail)


def keep_freed_memory() -> None:
    """Let glibc keep what large bodies leave behind, instead of giving it back and asking again for
    each of them."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_TRIM_THRESHOLD, KEPT_FREE_BYTES)
        mallopt(M_MMAP_THRESHOLD, KEPT_FREE_BYTES)


def raise_file_limit() -> None:
    """Every connection is a file: take as many as the system lets us have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
