"""What the control socket offers: `ping`, `status`, `environment`, `shutdown`, `backup`,
`cancel-backup`.

Commands look at the node, which lives on the same thread, and at the data folder. They hold no rule
of the broker.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import final

import anyio

from amqbroker import __version__
from amqbroker.config.shown import shown
from amqbroker.errors import DiskError
from amqbroker.node import Node
from amqbroker.server.control import (
    BAD_ARGUMENT,
    CANCELLED,
    CONTROL_VERSION,
    FAILED,
    REFUSED,
    Arguments,
    CommandError,
    Commands,
    Parameter,
    Result,
)
from amqbroker.server.measuring import resident_bytes
from amqbroker.store.backup import GrowingFiles
from amqbroker.store.files import DataFolder

logger = logging.getLogger("amqbroker")


@final
class Admin:
    """The commands of one broker."""

    def __init__(
        self,
        node: Node,
        folder: DataFolder,
        data_dir: Path,
        listening: Callable[[], list[Result]],
        stop: Callable[[], None],
    ) -> None:
        """`listening` says where clients can connect, `stop` begins the broker's end."""
        self._node = node
        self._listening = listening
        self._stop = stop
        self._folder = folder
        self._data_dir = data_dir.absolute()
        self._started_at = time.monotonic()
        self._backup: anyio.CancelScope | None = None
        self.commands = Commands()
        self.commands.add("ping", self.ping)
        self.commands.add("status", self.status)
        self.commands.add("environment", self.environment)
        self.commands.add("shutdown", self.shutdown)
        self.commands.add("backup", self.backup, Parameter("destination"))
        self.commands.add("cancel-backup", self.cancel_backup)

    async def ping(self, _arguments: Arguments) -> Result:
        """Who answers, and what else may be asked."""
        return {
            "product": "amqbroker",
            "version": __version__,
            "protocol": CONTROL_VERSION,
            "commands": self.commands.names(),
        }

    async def status(self, _arguments: Arguments) -> Result:
        """How the broker is, in a few figures."""
        counts = self._node.counts()
        account = self._node.memory_account()
        return {
            "version": __version__,
            "pid": os.getpid(),
            "uptime_s": round(time.monotonic() - self._started_at, 3),
            "data_dir": str(self._data_dir),
            "listeners": self._listening(),
            "connections": counts.connections,
            "vhosts": counts.vhosts,
            "queues": counts.queues,
            "messages_ready": counts.ready,
            "messages_unacked": counts.unacked,
            "memory_accounted_bytes": account.total(),
            "memory_resident_bytes": resident_bytes(),
            "memory": account.parts(),
            "alarm": counts.alarm,
            "backup_running": self._backup is not None,
        }

    async def environment(self, _arguments: Arguments) -> Result:
        """The configuration in effect, without passwords."""
        return shown(self._node.broker.config)

    async def shutdown(self, _arguments: Arguments) -> Result:
        """Stop the broker as SIGTERM does. The answer is on its way before that begins."""
        logger.info("stopping by command")
        self._stop()
        return {}

    async def backup(self, arguments: Arguments) -> Result:
        """A consistent copy of the data folder in a new one."""
        failure = self._node.journal_failure()
        if failure:
            raise CommandError(
                REFUSED, f"the journal is broken, so there is no whole copy: {failure}"
            )
        if self._backup is not None:
            raise CommandError(REFUSED, "another backup is under way")
        started_at = time.monotonic()
        destination = Path(arguments.text("destination"))
        if not destination.name or "\0" in str(destination):
            raise CommandError(BAD_ARGUMENT, f"'{destination}' is no name of a new folder")
        with anyio.CancelScope() as scope:
            self._backup = scope
            try:
                backup = await self._folder.backup(destination, self._growing)
            except DiskError as error:
                raise CommandError(FAILED, str(error)) from error
            finally:
                self._backup = None
            return {
                "destination": str(backup.destination),
                "files": backup.files,
                "linked": backup.linked,
                "bytes": backup.bytes,
                "seconds": round(time.monotonic() - started_at, 3),
            }
        raise CommandError(CANCELLED, "the backup was cancelled, and nothing is left of it")

    async def cancel_backup(self, _arguments: Arguments) -> Result:
        """End a backup that is under way."""
        if self._backup is not None:
            self._backup.cancel()
        return {"cancelled": self._backup is not None}

    def _growing(self) -> GrowingFiles:
        return GrowingFiles(set(self._node.growing_segments()), set(self._node.transient_queues()))
