"""What happens in the broker, as messages of the exchange `amq.rabbitmq.event`.

The exchange is a topic exchange of the virtual host `/`. The routing key names the event
(`queue.created`, `connection.closed`, `user.authentication.failure`), the body is empty, and the
headers have the facts. Nothing is made of an event that nobody has bound a queue for.

Source: the plug-in rabbitmq_event_exchange.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast, final

from amqbroker.core.definitions import short
from amqbroker.exchanges.base import Table
from amqbroker.exchanges.registry import EVENT_EXCHANGE
from amqbroker.message import Message
from amqbroker.wire.properties import encode_header

if TYPE_CHECKING:
    from pamqp.common import FieldTable

    from amqbroker.core.broker import Broker

EVENT_VHOST: Final = "/"
PERSISTENT: Final = 2


@final
class Events:
    """Who tells of what happens."""

    __slots__ = ("_broker",)

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    def emit(self, name: str, facts: Table) -> None:
        """Tell those who listen. `facts` go by RabbitMQ's names; None is left out."""
        vhost = self._broker.vhosts.get(EVENT_VHOST)
        exchange = None if vhost is None else vhost.exchanges.get(EVENT_EXCHANGE)
        if vhost is None or exchange is None or not exchange.has_bindings():
            return
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
