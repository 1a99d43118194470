"""One client's socket: a reader and a writer task.

The reader hands whole reads to the node and stops reading while the node asks it to. The writer sends what the node has
written and holds the next output back until the socket has taken it, so that a slow client is felt by its consumers and
by nobody else.

A peer that sends no more may still read: clients end their side right behind connection.close and wait for close-ok.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Final, final

import anyio
from anyio.abc import SocketAttribute, SocketStream

from amqbroker.node import PeerInfo

if TYPE_CHECKING:
    from amqbroker.server.runner import Runner

# A read is what one connection may put into a turn: the less it is, the sooner others get theirs. Messages larger than
# a read are cheaper in few reads.
READ_BYTES: Final = 65_536
LARGE_READ_BYTES: Final = 262_144
# What an idle connection may cost when the broker closes it and the peer does not read.
CLOSE_TIMEOUT_S: Final = 1.0


@final
class Connection:
    """The tasks of one accepted socket."""

    __slots__ = ("_reading", "_runner", "_stream", "_written", "_writing", "id", "reason")

    def __init__(self, runner: Runner, connection_id: int, stream: SocketStream) -> None:
        self._runner = runner
        self._stream = stream
        self.id = connection_id
        # Set when there is output; replaced by the writer before it looks.
        self._writing = anyio.Event()
        # Set when reading may go on; None while it is not paused.
        self._reading: anyio.Event | None = None
        # Set when nothing more will be sent.
        self._written = anyio.Event()
        self.reason = ""

    def peer(self) -> PeerInfo:
        """Both ends of the socket."""
        host, port = address_of(self._stream, SocketAttribute.remote_address)
        local_host, local_port = address_of(self._stream, SocketAttribute.local_address)
        return PeerInfo(host, port, local_host, local_port)

    async def run(self) -> None:
        """Serve until either side closes; the socket is closed when this returns."""
        raw = self._stream.extra(SocketAttribute.raw_socket)
        # Small frames must not wait for the ack of earlier ones.
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._write)
                await self._read()
                if self._runner.ended(self.id):
                    with anyio.move_on_after(CLOSE_TIMEOUT_S):
                        await self._written.wait()
                tasks.cancel_scope.cancel()
        finally:
            await self._close()

    async def _read(self) -> None:
        runner = self._runner
        stream = self._stream
        read_size = READ_BYTES
        try:
            while True:
                data = await stream.receive(read_size)
                pause = runner.received(self.id, data)
                read_size = (
                    LARGE_READ_BYTES if runner.node.awaits_large_frame(self.id) else READ_BYTES
                )
                if runner.node.must_yield(self.id):
                    await runner.yield_to_writers()
                if pause:
                    self._reading = anyio.Event()
                    runner.paused[self.id] = self
                    await self._reading.wait()
        except anyio.EndOfStream:
            pass
        except (anyio.BrokenResourceError, anyio.ClosedResourceError) as error:
            self.reason = self.reason or str(error.__cause__ or "")

    def resume_reading(self) -> None:
        """The node can take more from this client."""
        if self._reading is not None:
            self._reading.set()
            self._reading = None

    def wake_writer(self) -> None:
        """The node has output, or wants the socket closed."""
        self._writing.set()

    async def _write(self) -> None:
        runner = self._runner
        stream = self._stream
        try:
            while True:
                await self._writing.wait()
                self._writing = anyio.Event()
                pieces = runner.take_output(self.id)
                if pieces:
                    await stream.send(pieces[0] if len(pieces) == 1 else b"".join(pieces))
                if runner.must_close(self.id):
                    break
        except (anyio.BrokenResourceError, anyio.ClosedResourceError) as error:
            self.reason = str(error.__cause__ or "")
        self._written.set()
        await self._close()

    async def _close(self) -> None:
        with anyio.move_on_after(CLOSE_TIMEOUT_S, shield=True):
            await self._stream.aclose()


def address_of(end: anyio.TypedAttributeProvider, attribute: object) -> tuple[str, int]:
    """Host and port of one end; a socket without them (a Unix socket) has an empty host."""
    value = end.extra(attribute, None)
    if isinstance(value, tuple) and len(value) >= 2:
        return str(value[0]), int(value[1])
    return "", 0
