"""Direct reply-to: an RPC client consumes from a queue that does not exist.

A channel that consumes from `amq.rabbitmq.reply-to` gets a made-up name,
`amq.rabbitmq.reply-to.<key>`, which the broker puts into the reply-to of its requests. A reply is
published to the default exchange with that name as routing key and is written straight to the
requester's connection: no queue, no ack, and none if the requester is gone. That is done when the
reply is routed, so it does not wait for the commit of a transaction; and for all its routing keys,
CC and BCC included.

Source: RabbitMQ's `rabbit_direct_reply_to`, `rabbit_exchange` (`route`), `rabbit_channel`
(`override_reply_to`, `deliver_reply`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from amqbroker.core.dead_letters import shown
from amqbroker.errors import precondition_failed
from amqbroker.exchanges.registry import DEFAULT_EXCHANGE
from amqbroker.message import MANDATORY, Message
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


def is_reply_address(address: bytes) -> bool:
    """Whether a message's address, its exchange and routing key, is one of direct replies."""
    return address[0] == 0 and address[2:REPLY_KEY_AT] == REPLY_PREFIX_BYTES


def own_reply_address(channel: Channel) -> str:
    """The name that replies to this channel are sent to.

    Raises 406 if it does not consume from the reply queue.
    """
    consumer = channel.reply_consumer
    if consumer is None:
        raise precondition_failed("fast reply consumer does not exist")
    return REPLY_PREFIX + consumer.key


def reply(channel: Channel, exchange: str, keys: list[str], message: Message) -> None:
    """Write a message that a channel has published to each requester whom one of its routing keys
    names. One that somebody gets counts as routed: it is not returned any more.
    """
    if exchange != DEFAULT_EXCHANGE:
        return
    requesters = channel.client.broker.reply_consumers
    for key in dict.fromkeys(keys):
        requester = requesters.get(key.removeprefix(REPLY_PREFIX))
        if requester is None or not key.startswith(REPLY_PREFIX):
            continue
        message.bits &= ~MANDATORY
        header = shown(message.header)
        if header is not message.header:
            message = Message(0, message.address, 0, header, message.body, False)
        deliver_reply(requester, message)


def deliver_reply(consumer: ReplyConsumer, message: Message) -> None:
    """Write a reply to its requester, or drop it if that one reads too little.

    The delivery tag is the channel's next, and stays so: RabbitMQ 3.13 does not count replies.
    """
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
