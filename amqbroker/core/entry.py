"""A message's place in one queue, with what the broker needs while it is out for delivery."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from mypy_extensions import i64, mypyc_attr

from amqbroker.core.dead_letters import shown
from amqbroker.message import Entry, Message
from amqbroker.wire.properties import with_edited_headers

if TYPE_CHECKING:
    from pamqp.common import FieldTable

    from amqbroker.core.consumer import Consumer
    from amqbroker.core.line import Line

DELIVERY_COUNT: Final = "x-delivery-count"


@final
@mypyc_attr(acyclic=True)
class QueueEntry(Entry):
    """An entry of `line`, ready or outstanding.

    While it is outstanding, `delivery_tag` is its tag on the channel that has it and `consumer` is
    who got it, None for basic.get. `limited` says that it counts in the channel's global prefetch.
    `outstanding` is False as soon as it is settled or requeued.
    """

    __slots__ = ("consumer", "delivery_tag", "limited", "line", "outstanding")

    def __init__(self, message: Message, line: Line, index: i64) -> None:
        super().__init__(message, line.id, index)
        self.line = line
        self.delivery_tag: i64 = 0
        self.consumer: Consumer | None = None
        self.limited = False
        self.outstanding = False

    def message_to_send(self) -> Message:
        """The message as it goes out: without BCC keys, and if it was out before and deliveries are
        counted, it says how often it came back."""
        message = self.message
        header = message.header
        queue = self.line.queue
        if queue.has_copies:
            header = shown(header)
        if self.deliveries != 0 and queue.rules.counts_deliveries:
            count: FieldTable = {DELIVERY_COUNT: int(self.deliveries)}
            header = with_edited_headers(header, count, [])
        if header is message.header:
            return message
        return Message(
            message.channel, message.address, 0, header, message.body, message.persistent
        )
