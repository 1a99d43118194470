"""One client's socket.

An asyncio protocol, not a pair of anyio tasks: bytes reach the node in the callback that read them,
and what the node answers is written at the end of the turn, so that a message passes the event loop
twice and not five times (docs/PERFORMANCE.md has the figures).

Reading: all sockets of a node are read into one buffer, which stays in the processor's cache. A
read is handed to the node in slices, one a turn, so that a publisher that never waits takes no more
than its share. While a slice waits, or the node asks for a pause, the socket is not read, and the
peer feels it.

Writing: the node's output is taken only when the socket has accepted the output before; until then
it is the node that holds it, and its consumers wait.

A peer that sends no more may still read: clients end their side right behind connection.close and
wait for close-ok. TLS in asyncio cannot close one side alone: what there is to say is said at once.
"""

from __future__ import annotations

import asyncio
import logging
import resource
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, cast, final

from amqbroker.auth.certificates import TlsPeer
from amqbroker.node import PeerInfo

if TYPE_CHECKING:
    from amqbroker.server.runner import Runner

# What one connection may put into a turn. Messages larger than that are cheaper in few large
# slices.
SLICE_BYTES: Final = 65_536
# What is read at once: as much as libuv would, so that a fast publisher costs few reads.
READ_BYTES: Final = 4 * SLICE_BYTES
# The longest that a publisher is held back for the sake of consumers that it outruns, after each
# whole slice. One that sends less at a time is not.
YIELD_S: Final = 0.001
# How long the last bytes may take to leave once the connection is to be closed.
CLOSE_TIMEOUT_S: Final = 1.0
# Files that connections leave to the journal, to segments and to reads: a journal that cannot open
# its next file is broken.
FILES_LEFT_MIN: Final = 64

logger = logging.getLogger("amqbroker")


@final
class Connection(asyncio.BufferedProtocol):
    """One accepted socket."""

    __slots__ = (
        "_may_write",
        "_mechanisms",
        "_runner",
        "_slices",
        "_tls",
        "_transport",
        "id",
        "yield_until",
    )

    def __init__(
        self,
        runner: Runner,
        mechanisms: tuple[str, ...] = (),
        tls: Callable[[asyncio.BaseTransport], TlsPeer] | None = None,
    ) -> None:
        """`mechanisms` are the listener's own, if it has any; `tls` knows what TLS says of the
        peer."""
        self._runner = runner
        self._mechanisms = mechanisms
        self._tls = tls
        self._transport: asyncio.Transport | None = None
        self.id = 0
        self._may_write = True
        # What was read and not handed on yet, the last slice first.
        self._slices: list[bytes] = []
        # The connection lets consumers get ahead until then.
        self.yield_until = 0.0

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A socket was accepted. Nagle's algorithm is off: asyncio and uvloop see to that."""
        host, port = address_of(transport.get_extra_info("peername"))
        if not leaves_files(transport.get_extra_info("socket").fileno(), f"{host}:{port}"):
            cast("asyncio.Transport", transport).abort()
            return
        self._transport = cast("asyncio.Transport", transport)
        local_host, local_port = address_of(transport.get_extra_info("sockname"))
        tls = None if self._tls is None else self._tls(transport)
        peer = PeerInfo(host, port, local_host, local_port, self._mechanisms, tls)
        self.id = self._runner.connected(self, peer)

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where the socket is to be read."""
        return self._runner.read_buffer

    def buffer_updated(self, nbytes: int) -> None:
        """The socket was read."""
        data = self._runner.read_buffer[:nbytes]
        step = SLICE_BYTES
        if nbytes > step and self._runner.node.awaits_large_frame(self.id):
            step = nbytes
        starts = range(0, nbytes, step)
        self._slices = [bytes(data[at : at + step]) for at in reversed(starts)]
        # After a large read libuv would read on, up to 32 times, before anybody else has a turn.
        if self._hand_on() or nbytes > SLICE_BYTES:
            self._runner.waiting[self.id] = self
            if self._transport is not None:
                self._transport.pause_reading()

    def eof_received(self) -> bool:
        """The peer sends no more; True keeps the socket open for what it is still owed."""
        owed = self._runner.ended(self.id)
        if self._tls is not None:
            self.flush()
            return False
        return owed

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is closed."""
        self._transport = None
        if self.id == 0:
            return
        self._runner.lost(self.id, str(exc or ""))

    def pause_writing(self) -> None:
        """The socket does not keep up."""
        self._may_write = False

    def resume_writing(self) -> None:
        """The socket has taken most of what was written."""
        self._may_write = True
        self.flush()

    # What the runner calls.

    def read_on(self) -> None:
        """A turn later: hand on what is left of the last read; with nothing left, read again."""
        # With nothing left, others got ahead after the last slice already: one consumer that never
        # reads would else stop this connection for good.
        if self._hand_on() if self._slices else self._runner.node.must_pause(self.id):
            self._runner.waiting[self.id] = self
        elif self._transport is not None:
            self._transport.resume_reading()

    def _hand_on(self) -> bool:
        """Give the next slice to the node; whether others have their turn before the next one."""
        data = self._slices.pop()
        self._runner.received(self.id, data)
        must_wait = self._runner.must_wait(self, len(data) >= SLICE_BYTES)
        return must_wait or bool(self._slices)

    def flush(self) -> None:
        """Write the node's output, if the socket takes it now; close if that was the last."""
        transport = self._transport
        if not self._may_write or transport is None:
            return
        pieces = self._runner.take_output(self.id)
        if len(pieces) == 1:
            transport.write(pieces[0])
        elif pieces:
            transport.writelines(pieces)
        if self._runner.node.must_close(self.id):
            # A TLS transport of asyncio cannot be aborted once it was closed twice.
            if not transport.is_closing():
                transport.close()
            self._runner.loop.call_later(CLOSE_TIMEOUT_S, self.abort)

    def abort(self) -> None:
        """Close the socket at once, whatever it has not sent."""
        if self._transport is not None:
            self._transport.abort()


def leaves_files(descriptor: int, name: str) -> bool:
    """Whether a connection with this descriptor leaves enough files for the rest; says so if not.

    The system gives the smallest number that is free.
    """
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if descriptor < limit - min(FILES_LEFT_MIN, limit // 4):
        return True
    logger.warning(
        "connection %s refused: the broker may open %d files only, and keeps the last of them for "
        "the journal: let it have more (ulimit -n, LimitNOFILE=), or set limits.connections_max",
        name,
        limit,
    )
    return False


def address_of(name: object) -> tuple[str, int]:
    """Host and port of one end; a socket without them (a Unix socket) has an empty host."""
    if isinstance(name, tuple) and len(name) >= 2:
        return str(name[0]), int(name[1])
    return "", 0
