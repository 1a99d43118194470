"""Runs a node: turns inputs into turns, writes the journal, keeps the clock.

One task waits for inputs and ends the turn: it settles once for all sockets that were read in this round of the event
loop, starts the journal's next batch, wakes the writers, carries out password checks and writes the log. One task writes
the journal, a batch at a time: what arrives while it syncs is the next batch. One task wakes the node at its deadlines.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final, final

import anyio
import anyio.lowlevel
import anyio.to_thread
from anyio.abc import TaskGroup

from amqbroker.auth.passwords import verify
from amqbroker.core.broker import PasswordCheck
from amqbroker.core.memory import ReadRequest
from amqbroker.errors import DiskError
from amqbroker.node import Node
from amqbroker.store.journal import Batch

if TYPE_CHECKING:
    from amqbroker.server.connection import Connection

# Password hashes are slow by intent: at most this many threads work on them.
PASSWORD_THREADS: Final = 2
# Reads of segments at a time: enough to keep a disk busy.
READ_THREADS: Final = 4

# The longest that a publisher is held back for the sake of writers, after each read.
YIELD_S: Final = 0.001

logger = logging.getLogger("amqbroker")


@final
class Runner:
    """The tasks that every node has once."""

    def __init__(
        self,
        node: Node,
        write: Callable[[Batch], Awaitable[None]],
        read_at: Callable[[str, int, int], Awaitable[bytes]],
    ) -> None:
        self.node = node
        self._write = write
        self._read_at = read_at
        self._reads = anyio.CapacityLimiter(READ_THREADS)
        self.connections: dict[int, Connection] = {}
        # Connections whose reading waits for the node.
        self.paused: dict[int, Connection] = {}
        self._turn = anyio.Event()
        # Set at the next time that a writer takes output.
        self._output_taken = anyio.Event()
        self._batch: Batch | None = None
        self._batch_ready = anyio.Event()
        self._batch_done = anyio.Event()
        self._deadline = math.inf
        self._deadline_moved = anyio.Event()
        self._passwords = anyio.CapacityLimiter(PASSWORD_THREADS)
        self._tasks: TaskGroup | None = None

    @property
    def now(self) -> float:
        """The clock of everything that the node does."""
        return time.monotonic()

    async def run(self) -> None:
        """Serve until cancelled."""
        async with anyio.create_task_group() as tasks:
            self._tasks = tasks
            tasks.start_soon(self._run_turns)
            tasks.start_soon(self._run_journal)
            tasks.start_soon(self._run_clock)

    # What connections call.

    def received(self, connection_id: int, data: bytes) -> bool:
        """Hand bytes to the node; True if the connection must pause before it reads again."""
        self.node.client_received(connection_id, data, self.now)
        self._turn.set()
        return self.node.must_pause(connection_id)

    def ended(self, connection_id: int) -> bool:
        """The peer will send no more; True if it must still be told something."""
        self._turn.set()
        return self.node.client_ended(connection_id, self.now)

    def take_output(self, connection_id: int) -> list[bytes]:
        """The node's output for a connection; consumers that waited for room go on."""
        pieces = self.node.take_output(connection_id)
        self._output_taken.set()
        if self.node.has_work() or self.paused:
            self._turn.set()
        return pieces

    async def yield_to_writers(self) -> None:
        """Give consumers that wait for their sockets a head start, but no more than a moment.

        Without it a publisher that never waits gets most of the processor, and its messages pile up in memory.
        """
        if self._output_taken.is_set():
            self._output_taken = anyio.Event()
        with anyio.move_on_after(YIELD_S):
            await self._output_taken.wait()

    def must_close(self, connection_id: int) -> bool:
        """Whether the socket is to be closed."""
        return self.node.must_close(connection_id)

    def end_turn(self) -> None:
        """Something was put into the node outside of a read: settle soon."""
        self._turn.set()

    # The tasks.

    async def _run_turns(self) -> None:
        while True:
            await self._turn.wait()
            self._turn = anyio.Event()
            self._settle()

    def _settle(self) -> None:
        """The end of a turn."""
        node = self.node
        now = self.now
        node.settle(now)
        self._start_batch(now)
        if node.has_work():
            self._turn.set()
        for connection_id in node.outputs():
            connection = self.connections.get(connection_id)
            if connection is not None:
                connection.wake_writer()
        for request in node.take_reads():
            assert self._tasks is not None
            self._tasks.start_soon(self._read, request)
        for check in node.take_password_checks():
            assert self._tasks is not None
            self._tasks.start_soon(self._check_password, check)
        for line in node.take_log_lines():
            logger.log(line.level, line.text, extra=line.fields)
        if self.paused:
            self._resume_readers()
        deadline = node.next_deadline()
        self._move_deadline(math.inf if deadline is None else deadline)

    def _resume_readers(self) -> None:
        for connection_id, connection in list(self.paused.items()):
            if not self.node.must_pause(connection_id):
                del self.paused[connection_id]
                connection.resume_reading()

    def _start_batch(self, now: float) -> None:
        if self._batch is None:
            self._batch = self.node.take_batch(now)
            if self._batch is not None:
                self._batch_ready.set()

    async def _run_journal(self) -> None:
        while True:
            await self._batch_ready.wait()
            self._batch_ready = anyio.Event()
            batch = self._batch
            assert batch is not None
            try:
                await self._write(batch)
            except DiskError as error:
                self.node.journal_failed(str(error))
            else:
                self.node.journal_synced(batch.position)
            self._batch = None
            self._turn.set()
            self._batch_done.set()
            self._batch_done = anyio.Event()

    async def _run_clock(self) -> None:
        while True:
            moved = self._deadline_moved
            with anyio.move_on_at(self._clock_at(self._deadline)):
                await moved.wait()
            if self.now >= self._deadline:
                self._deadline = math.inf
                self.node.on_time(self.now)
                self._turn.set()
                await anyio.lowlevel.checkpoint()

    def _clock_at(self, deadline: float) -> float:
        """A deadline of the node on the event loop's clock."""
        return math.inf if deadline == math.inf else anyio.current_time() + deadline - self.now

    def _move_deadline(self, deadline: float) -> None:
        """An earlier deadline must interrupt the wait; a later one is found out at the old time."""
        if deadline < self._deadline:
            self._deadline = deadline
            self._deadline_moved.set()
            self._deadline_moved = anyio.Event()

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
        self._turn.set()

    async def _check_password(self, check: PasswordCheck) -> None:
        right = await anyio.to_thread.run_sync(
            verify, check.stored, check.password, limiter=self._passwords
        )
        self.node.password_checked(check, right, self.now)
        self._turn.set()

    async def stop(self) -> None:
        """Write what is left, and the mark of a clean stop. Returns when it is on disk, or the disk refused."""
        while self._batch is not None:
            await self._batch_done.wait()
        self.node.stop(self.now)
        self._turn.set()
        await self._batch_done.wait()
