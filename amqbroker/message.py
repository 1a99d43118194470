"""A message as it came, and its place in a queue.

Both are the words that the parser, the queues and the store share: the parser makes a `Message`, a
queue makes one `Entry` for each message that it holds, the store writes both. There is one of each
for every message in memory, so they hold bytes and native numbers, nothing decoded.
"""

from __future__ import annotations

from typing import Final, final

from mypy_extensions import i64, mypyc_attr

# Message.bits
MANDATORY: Final = 1
IMMEDIATE: Final = 2

# Entry.state: how far the journal is with this entry.
VOLATILE: Final = 0  # never journaled: a transient message, or a queue that is not durable
PENDING: Final = 1  # waits for the next batch
WRITTEN: Final = 2  # is in a batch that was taken for writing: settling it needs a record
SETTLED: Final = (
    3  # settled, or in a segment, before its batch was taken: the journal never writes it
)

# Entry.file of an entry that is in a segment of its queue, not in a journal file.
IN_SEGMENT: Final = -1

# What objects cost besides the bytes in them, measured on CPython 3.11 with compiled classes.
MESSAGE_OVERHEAD_BYTES: Final = 190
ENTRY_OVERHEAD_BYTES: Final = 150


@final
@mypyc_attr(acyclic=True)
class Message:
    """A published message, as it came.

    `channel` is the channel number of the publish. `address` is the exchange and the routing key as
    two AMQP short strings, length octets included: the key of the route cache and the tail of every
    basic.deliver. `bits` are MANDATORY and IMMEDIATE. `header` is the payload of the content header
    frame (class 60, weight, body size, property flags, properties). `body` is the whole body.
    `persistent` is delivery_mode = 2.

    `cost` is what it takes in memory, in bytes; `holders` is how many entries of queues have it.
    """

    __slots__ = ("address", "bits", "body", "channel", "cost", "header", "holders", "persistent")

    def __init__(
        self, channel: i64, address: bytes, bits: i64, header: bytes, body: bytes, persistent: bool
    ) -> None:
        self.channel: i64 = channel
        self.address = address
        self.bits: i64 = bits
        self.header = header
        self.body = body
        self.persistent = persistent
        self.cost: i64 = MESSAGE_OVERHEAD_BYTES + i64(len(header)) + i64(len(body))
        self.holders: i64 = 0

    def is_absent(self) -> bool:
        """Whether it stands for one that is only on disk: every other one has a header."""
        return not self.header

    def body_bytes(self) -> i64:
        """The size of the body, wherever that is."""
        return self.channel if not self.header else i64(len(self.body))


def absent_message(body_bytes: i64) -> Message:
    """What stands for a message with a body of this size that is only on disk."""
    return Message(body_bytes, b"", 0, b"", b"", False)


# What an entry has that is settled while something still knows the entry.
LET_GO: Final = absent_message(0)


@mypyc_attr(acyclic=True)
class Entry:
    """A message's place in one queue.

    `index` grows with every message of the queue and never falls or repeats: a requeued entry
    returns to its place by it, and it names the message on disk. Once `state` is WRITTEN, `file` is
    the number of the journal file that holds it, or IN_SEGMENT.

    `expires_at` is wall time in milliseconds, 0 for never; `deliveries` says how often it was
    delivered and came back. Both are kept on disk.
    """

    __slots__ = (
        "deliveries",
        "expires_at",
        "file",
        "index",
        "message",
        "queue_id",
        "redelivered",
        "state",
    )

    def __init__(self, message: Message, queue_id: i64, index: i64) -> None:
        self.message = message
        self.queue_id: i64 = queue_id
        self.index: i64 = index
        self.state: i64 = VOLATILE
        self.file: i64 = 0
        self.redelivered = False
        self.expires_at: i64 = 0
        self.deliveries: i64 = 0
