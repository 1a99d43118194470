"""Commands of the control socket that look at or change what the broker has: lists, queues,
connections, messages.

They are RabbitMQ's (`rabbitmqctl`) by name where it has them. A command that changes something is
answered when that is durable. The rules are in management/.
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Iterator
from functools import partial
from typing import Any, Final, final

import anyio

from amqbroker.core.broker import Broker
from amqbroker.errors import DiskError
from amqbroker.management import actions, listing
from amqbroker.management.listing import Kind
from amqbroker.management.lookup import find_vhost
from amqbroker.management.peeking import Peek, Seen
from amqbroker.management.session import Session
from amqbroker.server.control import (
    BAD_ARGUMENT,
    FAILED,
    FLAG,
    NUMBER,
    OBJECT,
    Arguments,
    CommandError,
    Commands,
    Parameter,
    Result,
    Rows,
)
from amqbroker.server.lists import add_lists
from amqbroker.server.runner import Runner

KINDS: Final[tuple[Kind[Any], ...]] = (
    listing.QUEUES,
    listing.EXCHANGES,
    listing.BINDINGS,
    listing.CONNECTIONS,
    listing.CHANNELS,
    listing.CONSUMERS,
)

# What is sent of a body unless somebody asks for more, and how many messages at most.
BODY_BYTES: Final = 1024 * 1024
MESSAGES_MAX: Final = 10_000
# How long messages on disk are waited for.
DISK_TIMEOUT_S: Final = 20.0
# A queue may be consumed while somebody looks at it, and its segments go.
PEEK_ATTEMPTS: Final = 5

VHOST: Final = Parameter("vhost")


@final
class Operations:
    """The commands of one broker."""

    def __init__(self, runner: Runner, commands: Commands) -> None:
        self._runner = runner
        self._commands = commands
        add_lists(commands, runner, KINDS)
        commands.add("purge_queue", self.purge_queue, VHOST, Parameter("name"))
        commands.add(
            "delete_queue",
            self.delete_queue,
            VHOST,
            Parameter("name"),
            Parameter("if_empty", FLAG, False),
            Parameter("if_unused", FLAG, False),
        )
        commands.add(
            "close_connection", self.close_connection, Parameter("connection"), Parameter("reason")
        )
        commands.add(
            "close_all_connections",
            self.close_all_connections,
            Parameter("reason"),
            Parameter("vhost", default=""),
            Parameter("user", default=""),
            Parameter("limit", NUMBER, 0),
        )
        commands.add(
            "publish",
            self.publish,
            VHOST,
            Parameter("exchange"),
            Parameter("routing_key"),
            Parameter("properties", OBJECT, {}),
            Parameter("body_base64"),
            Parameter("confirm", FLAG, False),
        )
        commands.add("trace_on", partial(self.trace, True), VHOST)
        commands.add("trace_off", partial(self.trace, False), VHOST)
        count = Parameter("count", NUMBER, 1)
        body = Parameter("body_bytes_max", NUMBER, BODY_BYTES)
        commands.add("get", self.get, VHOST, Parameter("name"), count, Parameter("ack", FLAG), body)
        commands.add("peek", self.peek, VHOST, Parameter("name"), count, body)

    # Queues and connections.

    async def purge_queue(self, arguments: Arguments) -> Result:
        """Drop the ready messages of a queue."""
        vhost, name = arguments.text("vhost"), arguments.text("name")
        return {
            "messages": self._runner.administer(
                lambda broker: actions.purge_queue(broker, vhost, name)
            )
        }

    async def delete_queue(self, arguments: Arguments) -> Result:
        """Delete a queue."""

        def delete(broker: Broker) -> tuple[int, int]:
            return actions.delete_queue(
                broker,
                arguments.text("vhost"),
                arguments.text("name"),
                arguments.flag("if_empty"),
                arguments.flag("if_unused"),
            )

        messages, position = self._runner.administer(delete)
        await self._runner.wait_durable(position)
        return {"messages": messages}

    async def close_connection(self, arguments: Arguments) -> Result:
        """End one connection."""
        which, reason = arguments.text("connection"), arguments.text("reason")
        self._runner.administer(lambda broker: actions.close_connection(broker, which, reason))
        return {}

    async def close_all_connections(self, arguments: Arguments) -> Result:
        """End many connections."""

        def close(broker: Broker) -> int:
            return actions.close_connections(
                broker,
                arguments.text("reason"),
                arguments.text("vhost"),
                arguments.text("user"),
                arguments.number("limit"),
            )

        return {"connections": self._runner.administer(close)}

    async def trace(self, on: bool, arguments: Arguments) -> Result:
        """Begin or end to copy the messages of a virtual host to its trace exchange."""
        vhost = arguments.text("vhost")
        self._runner.administer(lambda broker: find_vhost(broker, vhost).trace(on))
        return {}

    # Messages.

    async def publish(self, arguments: Arguments) -> Result:
        """Publish one message; with `confirm` the answer is a publisher confirm."""
        try:
            body = b64decode(arguments.text("body_base64"), validate=True)
        except ValueError:
            raise CommandError(BAD_ARGUMENT, "body_base64 is not in base64") from None
        message = actions.make_message(
            arguments.text("exchange"),
            arguments.text("routing_key"),
            arguments.table("properties"),
            body,
        )

        def publish(broker: Broker) -> tuple[bool, int]:
            session = Session(broker, find_vhost(broker, arguments.text("vhost")))
            try:
                return session.publish(message)
            finally:
                session.close(ack=True)

        routed, position = self._runner.administer(publish)
        if arguments.flag("confirm"):
            await self._runner.wait_durable(position)
        return {"routed": routed, "confirmed": routed and arguments.flag("confirm")}

    async def get(self, arguments: Arguments) -> Rows:
        """Take messages of a queue, for good or to put them back."""
        vhost, name, count = arguments.text("vhost"), arguments.text("name"), _count(arguments)
        session = self._runner.administer(lambda broker: Session(broker, find_vhost(broker, vhost)))
        ack = False
        try:
            with anyio.fail_after(DISK_TIMEOUT_S):
                while len(session.taken()) < count:
                    before = len(session.taken())
                    self._runner.administer(lambda _broker: session.get(name))
                    while session.is_waiting():
                        await self._runner.wait_turn()
                    if len(session.taken()) == before:
                        break
            taken = [
                Seen(entry.index, entry.message, entry.redelivered, entry.deliveries)
                for entry in session.taken()
            ]
            ack = arguments.flag("ack")
        except TimeoutError:
            raise CommandError(FAILED, "the messages did not come from disk in time") from None
        finally:
            self._runner.administer(lambda _broker: session.close(ack=ack))
        return _message_rows(taken, arguments)

    async def peek(self, arguments: Arguments) -> Rows:
        """Look at the first messages of a queue."""
        vhost, name = arguments.text("vhost"), arguments.text("name")
        broker = self._runner.node.broker
        for _attempt in range(PEEK_ATTEMPTS):
            peek = Peek(actions.find_queue(broker, vhost, name), _count(arguments))
            try:
                with anyio.fail_after(DISK_TIMEOUT_S):
                    await self._read_all(peek)
            except TimeoutError:
                raise CommandError(FAILED, "the messages did not come from disk in time") from None
            except DiskError:
                # The segment may have been consumed meanwhile, and be gone.
                continue
            if peek.problems():
                raise CommandError(FAILED, "; ".join(peek.problems()))
            return _message_rows(peek.messages(), arguments)
        raise CommandError(FAILED, "the messages on disk cannot be read; the log may say more")

    async def _read_all(self, peek: Peek) -> None:
        while True:
            piece = peek.next_piece()
            if piece is not None:
                peek.piece_read(await self._runner.read_at(piece.name, piece.offset, piece.length))
            elif peek.is_in_flight():
                await self._runner.wait_turn()
            else:
                return


def _count(arguments: Arguments) -> int:
    count = arguments.number("count")
    if not 1 <= count <= MESSAGES_MAX:
        raise CommandError(BAD_ARGUMENT, f"count is a number from 1 to {MESSAGES_MAX:,}")
    return count


def _message_rows(messages: list[Seen], arguments: Arguments) -> Rows:
    limit = max(0, arguments.number("body_bytes_max"))

    def rows() -> Iterator[list[object]]:
        for seen in messages:
            yield actions.shown_message(seen.message, seen.redelivered, seen.deliveries, limit)

    return Rows(list(actions.MESSAGE_COLUMNS), rows())
