"""Direct reply-to: an RPC client consumes from a queue that does not exist.

A channel that consumes from `amq.rabbitmq.reply-to` gets a made-up name,
`amq.rabbitmq.reply-to.<key>`, which the broker puts into the reply-to of its requests. A reply is
published to the default exchange with that name as routing key and is written straight to the
requester's connection: no queue, no ack, and none if the requester is gone.

Source: RabbitMQ's `rabbit_direct_reply_to`, `rabbit_channel` (`override_reply_to`,
`deliver_reply`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from amqbroker.errors import precondition_failed
from amqbroker.message import Message
from amqbroker.wire.writer import write_deliver

if TYPE_CHECKING:
    from amqbroker.core.channel import Channel

REPLY_QUEUE: Final = "amq.rabbitmq.reply-to"
REPLY_PREFIX: Final = REPLY_QUEUE + "."
# An address begins with the empty name of the default exchange, then the length of the routing key.
REPLY_PREFIX_BYTES: Final = REPLY_PREFIX.encode()
REPLY_KEY_AT: Final = 2 + len(REPLY_PREFIX_BYTES)
# Replies are not held back by the requester's buffer, but dropped when it has this many times its
# limit.
BACKLOG_FACTOR: Final = 64


@final
class ReplyConsumer:
    """The consumer of amq.rabbitmq.reply-to on one channel.

    `key` is the secret part of its made-up name.
    """

    __slots__ = ("channel", "key", "prefix", "tag")

    def __init__(self, channel: Channel, tag: str, key: str, prefix: bytes) -> None:
        self.channel = channel
        self.tag = tag
        self.key = key
        self.prefix = prefix


def reply_key(address: bytes) -> str:
    """The secret part of a direct reply's address; empty if it is not one."""
    if address[0] != 0 or address[2:REPLY_KEY_AT] != REPLY_PREFIX_BYTES:
        return ""
    return address[REPLY_KEY_AT:].decode("utf-8", "surrogateescape")


def own_reply_address(channel: Channel) -> str:
    """The name that replies to this channel are sent to.

    Raises 406 if it does not consume from the reply queue.
    """
    consumer = channel.reply_consumer
    if consumer is None:
        raise precondition_failed("fast reply consumer does not exist")
    return REPLY_PREFIX + consumer.key


def deliver_reply(reply_consumers: dict[str, ReplyConsumer], key: str, message: Message) -> bool:
    """Write a reply to its requester; False if there is none any more.

    The delivery tag is the channel's next, and stays so: RabbitMQ 3.13 does not count replies.
    """
    consumer = reply_consumers.get(key)
    if consumer is None:
        return False
    channel = consumer.channel
    client = channel.client
    if client.output.size() <= client.output_size_max * BACKLOG_FACTOR:
        write_deliver(
            client.output,
            channel.number,
            consumer.prefix,
            channel.next_delivery_tag,
            False,
            message,
            client.payload_size_max,
        )
        client.mark_output()
    return True
