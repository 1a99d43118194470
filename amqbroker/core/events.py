"""What happens in the broker, as messages of the exchange `amq.rabbitmq.event`.

The exchange is a topic exchange of the virtual host `/`. The routing key names the event
(`queue.created`, `connection.closed`, `user.authentication.failure`), the body is empty, and the
headers have the facts. Nothing is made of an event that nobody has bound a queue for.

Source: the plug-in rabbitmq_event_exchange.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast, final

from amqbroker.core.definitions import short
from amqbroker.core.vhost import EVENT_VHOST
from amqbroker.exchanges.base import QUEUE, Binding, Exchange, Table
from amqbroker.exchanges.registry import EVENT_EXCHANGE
from amqbroker.message import Message
from amqbroker.wire.properties import encode_header

if TYPE_CHECKING:
    from pamqp.common import FieldTable

    from amqbroker.core.broker import Broker
    from amqbroker.core.channel import Channel
    from amqbroker.core.client import Client
    from amqbroker.core.consumer import Consumer
    from amqbroker.core.queue import Queue

PERSISTENT: Final = 2


@final
class Events:
    """Who tells of what happens."""

    __slots__ = ("_broker",)

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    # Of virtual hosts.

    def exchange_created(self, vhost: str, exchange: Exchange) -> None:
        """A new exchange."""
        if self._has_listeners():
            self.emit(
                "exchange.created",
                {
                    "name": exchange.name,
                    "vhost": vhost,
                    "type": exchange.type_name,
                    "durable": exchange.durable,
                    "auto_delete": exchange.auto_delete,
                    "internal": exchange.internal,
                    "arguments": exchange.arguments,
                },
            )

    def exchange_deleted(self, vhost: str, exchange: Exchange) -> None:
        """An exchange went."""
        self.emit("exchange.deleted", {"name": exchange.name, "vhost": vhost})

    def binding_created(self, vhost: str, source: str, binding: Binding) -> None:
        """A new binding."""
        if self._has_listeners():
            self.emit("binding.created", _binding(vhost, source, binding))

    def binding_deleted(self, vhost: str, source: str, binding: Binding) -> None:
        """A binding went, by itself or with one of its ends."""
        if self._has_listeners():
            self.emit("binding.deleted", _binding(vhost, source, binding))

    def queue_created(self, vhost: str, queue: Queue) -> None:
        """A new queue."""
        if self._has_listeners():
            self.emit(
                "queue.created",
                {
                    "name": queue.name,
                    "vhost": vhost,
                    "durable": queue.durable,
                    "auto_delete": queue.auto_delete,
                    "exclusive": queue.owner is not None,
                    "arguments": queue.arguments,
                },
            )

    def queue_deleted(self, vhost: str, queue: Queue) -> None:
        """A queue went."""
        self.emit("queue.deleted", {"name": queue.name, "vhost": vhost})

    # Of connections.

    def connection_created(self, client: Client) -> None:
        """A client has opened its virtual host."""
        self.emit("connection.created", _connection(client))

    def connection_closed(self, client: Client) -> None:
        """It is gone."""
        self.emit("connection.closed", _connection(client))

    def channel_created(self, channel: Channel) -> None:
        """A new channel."""
        self.emit("channel.created", _channel(channel))

    def channel_closed(self, channel: Channel) -> None:
        """A channel is closed, or its connection is gone."""
        self.emit("channel.closed", _channel(channel))

    def consumer_created(self, consumer: Consumer) -> None:
        """Somebody consumes from a queue."""
        if self._has_listeners():
            facts = _consumer(consumer)
            facts["exclusive"] = consumer.exclusive
            facts["ack_required"] = not consumer.no_ack
            facts["prefetch_count"] = int(consumer.prefetch)
            facts["arguments"] = consumer.arguments
            self.emit("consumer.created", facts)

    def consumer_deleted(self, consumer: Consumer) -> None:
        """Nobody does any more."""
        if self._has_listeners():
            self.emit("consumer.deleted", _consumer(consumer))

    def login(self, client: Client, user: str, why_not: str = "") -> None:
        """Somebody has said who they are, and is believed or not."""
        facts: Table = {
            "name": user,
            "connection_name": client.name,
            "peer_host": client.host,
            "error": why_not or None,
        }
        self.emit(f"user.authentication.{'failure' if why_not else 'success'}", facts)

    # What all of them share.

    def emit(self, name: str, facts: Table) -> None:
        """Tell those who listen. `facts` go by RabbitMQ's names; None is left out."""
        if not self._has_listeners():
            return
        vhost = self._broker.vhosts[EVENT_VHOST]
        exchange = vhost.exchanges[EVENT_EXCHANGE]
        wall_ms = int(self._broker.wall_ms())
        headers: Table = {key: value for key, value in facts.items() if value is not None}
        headers["timestamp_in_ms"] = wall_ms
        header = encode_header(
            0,
            {
                "headers": cast("FieldTable", headers),
                "delivery_mode": PERSISTENT,
                "timestamp": wall_ms // 1000,
            },
        )
        message = Message(0, short(EVENT_EXCHANGE) + short(name), 0, header, b"", True)
        for queue in vhost.walk(exchange, [name], headers, header).queues.values():
            queue.enqueue(message)

    def _has_listeners(self) -> bool:
        vhost = self._broker.vhosts.get(EVENT_VHOST)
        exchange = None if vhost is None else vhost.exchanges.get(EVENT_EXCHANGE)
        return exchange is not None and exchange.has_bindings()


def _binding(vhost: str, source: str, binding: Binding) -> Table:
    kind = "queue" if binding.destination.kind == QUEUE else "exchange"
    return {
        "source_name": source,
        "source_kind": "exchange",
        "destination_name": binding.destination.name,
        "destination_kind": kind,
        "routing_key": binding.key,
        "arguments": binding.arguments,
        "vhost": vhost,
    }


def _connection(client: Client) -> Table:
    return {
        "name": client.name,
        "peer_host": client.host,
        "user": client.user.name,
        "vhost": client.vhost_name,
        "protocol": "AMQP 0-9-1",
        "ssl": client.tls is not None,
    }


def _channel(channel: Channel) -> Table:
    client = channel.client
    return {
        "connection": client.name,
        "number": int(channel.number),
        "user": client.user.name,
        "vhost": client.vhost_name,
    }


def _consumer(consumer: Consumer) -> Table:
    channel = consumer.channel
    return {
        "consumer_tag": consumer.tag,
        "queue": consumer.queue.name,
        "vhost": channel.client.vhost_name,
        "connection": channel.client.name,
        "channel": int(channel.number),
    }
