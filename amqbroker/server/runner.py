"""Runs a node: turns inputs into turns, writes the journal, keeps the clock.

A turn ends once for all sockets that were read in one round of the event loop: the node settles,
the journal's next batch is started, outputs are written, password checks begin, the log is written.
The journal is written a batch at a time: what arrives while one syncs is the next one.

The only place that catches any exception of the broker's own work. One that a peer's bytes raised
is a bug of ours that costs that connection (541, as RabbitMQ does when a channel crashes); one in
the rest of a turn stops the node, for a wrong node must not go on confirming.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final, TypeVar, final

import anyio
import anyio.to_thread
from anyio.abc import TaskGroup

from amqbroker.auth.passwords import verify
from amqbroker.core.broker import Broker
from amqbroker.core.logins import PasswordCheck
from amqbroker.core.memory import ReadRequest
from amqbroker.errors import DiskError, DiskFullError
from amqbroker.node import Node, PeerInfo
from amqbroker.server.connection import READ_BYTES, YIELD_S
from amqbroker.store.files import Done
from amqbroker.store.journal import Batch

if TYPE_CHECKING:
    from amqbroker.server.connection import Connection

# Password hashes are slow by intent: at most this many threads work on them, so that half of the
# processors is left to those who are logged in.
PASSWORD_THREADS: Final = max(1, (os.cpu_count() or 1) // 2)
# Reads of segments at a time: enough to keep a disk busy.
READ_THREADS: Final = 4

T = TypeVar("T")

logger = logging.getLogger("amqbroker")


@final
class Runner:
    """What every node has once."""

    def __init__(
        self,
        node: Node,
        write: Callable[[Batch, Done], None],
        read_at: Callable[[str, int, int], Awaitable[bytes]],
    ) -> None:
        self.node = node
        self._write = write
        self._read_at = read_at
        self._reads = anyio.CapacityLimiter(READ_THREADS)
        self.loop = asyncio.get_running_loop()
        self.connections: dict[int, Connection] = {}
        # Where sockets are read. What is in it is copied out before this loop reads another one;
        # a loop that reads lets other threads run, which may have a node, too.
        self.read_buffer = memoryview(bytearray(READ_BYTES))
        # Connections that are not read for now.
        self.waiting: dict[int, Connection] = {}
        self._next_id = 1
        self._turn_due = False
        self._yield_timer: asyncio.TimerHandle | None = None
        self._clock: asyncio.TimerHandle | None = None
        self._clock_at = 0.0
        self._batch: Batch | None = None
        self._passwords = anyio.CapacityLimiter(PASSWORD_THREADS)
        self._password_checks = 0
        self._tasks: TaskGroup | None = None
        self._lost = anyio.Event()
        self._failed = anyio.Event()
        self._failure: Exception | None = None
        # Who waits for the end of a turn.
        self._turn_waiters: list[anyio.Event] = []

    @property
    def now(self) -> float:
        """The clock of everything that the node does."""
        return time.monotonic()

    async def run(self) -> None:
        """Serve until cancelled. Raises what stopped the node, if anything did."""
        async with anyio.create_task_group() as tasks:
            self._tasks = tasks
            self.end_turn()
            await self._failed.wait()
            assert self._failure is not None
            raise self._failure

    # What connections call.

    def connected(self, connection: Connection, peer: PeerInfo) -> int:
        """A socket was accepted; its number."""
        connection_id = self._next_id
        self._next_id += 1
        self.connections[connection_id] = connection
        self.node.client_connected(connection_id, peer, self.now)
        self.end_turn()
        return connection_id

    def received(self, connection_id: int, data: bytes) -> None:
        """Hand bytes to the node."""
        try:
            self.node.client_received(connection_id, data, self.now)
        except Exception:
            logger.exception("a bug in the broker ends a connection: please report it")
            self.node.client_broke(connection_id, self.now)
        self.end_turn()

    def ended(self, connection_id: int) -> bool:
        """The peer will send no more; True if it must still be told something."""
        self.end_turn()
        return self.node.client_ended(connection_id, self.now)

    def lost(self, connection_id: int, reason: str) -> None:
        """A socket is closed."""
        del self.connections[connection_id]
        self.waiting.pop(connection_id, None)
        self.node.client_lost(connection_id, reason, self.now)
        self._lost.set()
        self._lost = anyio.Event()
        self.end_turn()

    async def wait_all_lost(self) -> None:
        """Return when there is no connection."""
        while self.connections:
            await self._lost.wait()

    def must_wait(self, connection: Connection, is_fast: bool) -> bool:
        """Whether a connection is not to be read for now: the node says so, or it sends a slice at
        a time, and others are to get ahead."""
        if self.node.must_pause(connection.id):
            return True
        if not is_fast or not self.node.must_yield(connection.id):
            return False
        connection.yield_until = self.now + YIELD_S
        self._set_yield_timer()
        return True

    def _set_yield_timer(self) -> None:
        if self._yield_timer is None:
            self._yield_timer = self.loop.call_later(YIELD_S, self._yield_over)

    def _yield_over(self) -> None:
        self._yield_timer = None
        self.end_turn()

    def take_output(self, connection_id: int) -> list[bytes]:
        """The node's output for a connection; consumers that waited for room go on."""
        pieces = self.node.take_output(connection_id)
        if self.node.has_work() or self.waiting:
            self.end_turn()
        return pieces

    # What administrators call.

    def administer(self, action: Callable[[Broker], T]) -> T:
        """Do this between two turns; the next one looks at what it changed."""
        self.node.broker.now = self.now
        try:
            return action(self.node.broker)
        finally:
            self.end_turn()

    async def wait_turn(self) -> None:
        """Return when the next turn is over, whatever it is for."""
        event = anyio.Event()
        self._turn_waiters.append(event)
        await event.wait()

    async def wait_durable(self, position: int) -> None:
        """Return when the journal has reached this position. Raises DiskError if it never will."""
        while not self.node.broker.is_durable(position):
            failure = self.node.journal_failure()
            if failure:
                raise DiskError(f"the change was made, but will not outlive a restart: {failure}")
            await self.wait_turn()

    async def read_at(self, name: str, offset: int, length: int) -> bytes:
        """A piece of a segment. Raises DiskError."""
        async with self._reads:
            return await self._read_at(name, offset, length)

    # The turn.

    def end_turn(self) -> None:
        """Settle when all sockets that can be read now were read."""
        if not self._turn_due:
            self._turn_due = True
            self.loop.call_soon(self._run_turn)

    def _run_turn(self) -> None:
        self._turn_due = False
        if self._failure is not None:
            return
        try:
            self._settle()
        except Exception as error:
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        self._failure = error
        self._failed.set()

    def _settle(self) -> None:
        node = self.node
        now = self.now
        node.settle(now)
        self._start_batch(now)
        for connection_id in node.outputs():
            connection = self.connections.get(connection_id)
            if connection is not None:
                connection.flush()
        for request in node.take_reads():
            assert self._tasks is not None
            self._tasks.start_soon(self._read, request)
        for check in node.take_password_checks(PASSWORD_THREADS - self._password_checks):
            assert self._tasks is not None
            self._password_checks += 1
            self._tasks.start_soon(self._check_password, check)
        for line in node.take_log_lines():
            logger.log(line.level, line.text, extra=line.fields)
        if self.waiting:
            self._resume_readers(now)
        if node.has_work():
            self.end_turn()
        if self._turn_waiters:
            waiters, self._turn_waiters = self._turn_waiters, []
            for waiter in waiters:
                waiter.set()
        deadline = node.next_deadline()
        if deadline is not None and (self._clock is None or deadline < self._clock_at):
            self._set_clock(deadline)

    def _resume_readers(self, now: float) -> None:
        node = self.node
        for connection in list(self.waiting.values()):
            if node.must_pause(connection.id):
                continue
            if connection.yield_until > now and node.must_yield(connection.id):
                self._set_yield_timer()
                continue
            del self.waiting[connection.id]
            connection.read_on()

    # The journal.

    def _start_batch(self, now: float) -> None:
        if self._batch is None:
            self._batch = self.node.take_batch(now)
            if self._batch is not None:
                self._write(self._batch, self._batch_written)

    def _batch_written(self, error: Exception | None) -> None:
        batch = self._batch
        assert batch is not None
        self._batch = None
        if error is None:
            self.node.journal_synced(batch.position)
        elif isinstance(error, DiskFullError):
            self.node.journal_refused(str(error), self.now)
        elif isinstance(error, DiskError):
            self.node.journal_failed(str(error))
        else:
            self._fail(error)
        self.end_turn()

    async def stop(self) -> None:
        """Write what is left, and the mark of a clean stop.

        Returns when it is on disk, or the disk refused.
        """
        await self._wait_written()
        if self.node.stop(self.now):
            self.end_turn()
            await self.wait_turn()
            await self._wait_written()

    async def _wait_written(self) -> None:
        while self._batch is not None:
            await self.wait_turn()

    # The clock, and passwords.

    def _set_clock(self, deadline: float) -> None:
        """An earlier deadline replaces the one that is set; a later one is found out at the old
        time."""
        if self._clock is not None:
            self._clock.cancel()
        self._clock_at = deadline
        self._clock = self.loop.call_later(max(0.0, deadline - self.now), self._on_time)

    def _on_time(self) -> None:
        self._clock = None
        self.node.on_time(self.now)
        self.end_turn()

    async def _read(self, request: ReadRequest) -> None:
        """Messages of a queue that is longer than memory."""
        data: bytes | None = None
        reason = ""
        async with self._reads:
            try:
                data = await self._read_at(request.name, request.offset, request.length)
            except DiskError as error:
                reason = str(error)
        self.node.messages_read(request, data, reason, self.now)
        self._run_turn()

    async def _check_password(self, check: PasswordCheck) -> None:
        right = await anyio.to_thread.run_sync(
            verify, check.stored, check.password, limiter=self._passwords
        )
        self._password_checks -= 1
        self.node.password_checked(check, right, self.now)
        self.end_turn()
