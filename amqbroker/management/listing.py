"""Lists of what a broker has, in columns with RabbitMQ's names.

Each kind of thing has its columns; a row is made when it is asked for, so that the caller decides
how many are made at a time. What goes while a list is under way is left out, what comes may be. No
row costs more for a longer queue or a busier connection.

`pid` names a connection (`<12>`) or a channel (`<12.1>`), where RabbitMQ has Erlang's processes:
`actions.close_connection` takes it.

Source: the info keys of RabbitMQ's `rabbit_amqqueue`, `rabbit_exchange`, `rabbit_binding`,
`rabbit_reader`, `rabbit_channel` and `rabbit_queue_consumers`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from difflib import get_close_matches
from typing import Final, Generic, TypeVar, final

from amqbroker.core.arguments import queue_type
from amqbroker.core.broker import Broker
from amqbroker.core.channel import Channel
from amqbroker.core.client import CLOSING, Client
from amqbroker.core.consumer import Consumer
from amqbroker.core.queue import Queue
from amqbroker.core.vhost import VirtualHost
from amqbroker.exchanges.base import EXCHANGE, QUEUE, Binding, Destination, Exchange
from amqbroker.exchanges.registry import DEFAULT_EXCHANGE
from amqbroker.management.errors import BAD_ARGUMENT, ManagementError
from amqbroker.management.lookup import find_vhost
from amqbroker.management.policies import policy_of_exchange, policy_of_queue
from amqbroker.management.values import table_to_json
from amqbroker.wire import handshake

T = TypeVar("T")

Row = list[object]

PROTOCOL: Final = "AMQP 0-9-1"

HANDSHAKE_STATES: Final = {
    handshake.HEADER_DUE: "starting",
    handshake.STARTING: "starting",
    handshake.SECURING: "starting",
    handshake.TUNING: "tuning",
    handshake.OPENING: "opening",
}


@final
class Kind(Generic[T]):
    """A kind of thing that can be listed: its columns, those that are shown unless somebody
    chooses, and where the things are."""

    def __init__(
        self,
        name: str,
        defaults: tuple[str, ...],
        columns: dict[str, Callable[[T], object]],
        items: Callable[[Broker, list[VirtualHost]], Iterator[T]],
    ) -> None:
        self.name = name
        self.defaults = defaults
        self.columns = columns
        self.items = items

    def chosen(self, columns: list[str]) -> list[str]:
        """These columns, or the usual ones. Raises ManagementError for one that there is not."""
        for column in columns:
            if column not in self.columns:
                close = get_close_matches(column, self.columns, 1)
                hint = f" (did you mean {close[0]}?)" if close else ""
                known = ", ".join(self.columns)
                raise ManagementError(
                    BAD_ARGUMENT, f"{self.name} have no column '{column}'{hint}: they have {known}"
                )
        return columns or list(self.defaults)

    def rows(self, broker: Broker, columns: list[str], vhost: str = "") -> Iterator[Row]:
        """A row for each thing of this virtual host, or of all. Raises ManagementError at once."""
        getters = [self.columns[column] for column in self.chosen(columns)]
        vhosts = [find_vhost(broker, vhost)] if vhost else list(broker.vhosts.values())
        return self._rows(broker, getters, vhosts)

    def _rows(
        self, broker: Broker, getters: list[Callable[[T], object]], vhosts: list[VirtualHost]
    ) -> Iterator[Row]:
        for item in self.items(broker, vhosts):
            yield [getter(item) for getter in getters]


def connection_pid(client: Client) -> str:
    """The short name of a connection."""
    return f"<{client.id}>"


def channel_pid(channel: Channel) -> str:
    """The short name of a channel."""
    return f"<{channel.client.id}.{channel.number}>"


# Queues.

QueueItem = tuple[VirtualHost, Queue]


def _queues(_broker: Broker, vhosts: list[VirtualHost]) -> Iterator[QueueItem]:
    for vhost in vhosts:
        for queue in list(vhost.queues.values()):
            if not queue.deleted:
                yield vhost, queue


def _exclusive_consumer(item: QueueItem) -> Consumer | None:
    consumers = item[1].consumers
    return consumers.all[0] if consumers.has_exclusive() else None


def _exclusive_consumer_pid(item: QueueItem) -> str:
    consumer = _exclusive_consumer(item)
    return "" if consumer is None else channel_pid(consumer.channel)


def _exclusive_consumer_tag(item: QueueItem) -> str:
    consumer = _exclusive_consumer(item)
    return "" if consumer is None else consumer.tag


def _active_consumer(item: QueueItem) -> Consumer | None:
    consumers = item[1].consumers
    return consumers.active if consumers.single_active else None


def _active_consumer_pid(item: QueueItem) -> str:
    consumer = _active_consumer(item)
    return "" if consumer is None else channel_pid(consumer.channel)


def _active_consumer_tag(item: QueueItem) -> str:
    consumer = _active_consumer(item)
    return "" if consumer is None else consumer.tag


def on_disk(queue: Queue) -> int:
    """How many ready messages are on disk only."""
    return sum(int(line.ready.on_disk) for line in queue.lines())


def _owner_pid(item: QueueItem) -> str:
    owner = item[1].owner
    return "" if owner is None else connection_pid(owner)


QUEUES: Final[Kind[QueueItem]] = Kind(
    "queues",
    ("name", "messages"),
    {
        "name": lambda item: item[1].name,
        "vhost": lambda item: item[0].name,
        "type": lambda item: queue_type(item[1].arguments),
        "durable": lambda item: item[1].durable,
        "auto_delete": lambda item: item[1].auto_delete,
        "exclusive": lambda item: item[1].owner is not None,
        "owner_pid": _owner_pid,
        "arguments": lambda item: table_to_json(item[1].arguments),
        "policy": lambda item: policy_of_queue(item[1])["policy"],
        "operator_policy": lambda item: policy_of_queue(item[1])["operator_policy"],
        "effective_policy_definition": lambda item: policy_of_queue(item[1])[
            "effective_policy_definition"
        ],
        "messages": lambda item: int(item[1].ready_count() + item[1].unacked_count),
        "messages_ready": lambda item: int(item[1].ready_count()),
        "messages_unacknowledged": lambda item: int(item[1].unacked_count),
        "messages_ram": lambda item: int(
            item[1].ready_count() - on_disk(item[1]) + item[1].unacked_count
        ),
        "messages_paged_out": lambda item: on_disk(item[1]),
        "consumers": lambda item: len(item[1].consumers.all),
        "exclusive_consumer_pid": _exclusive_consumer_pid,
        "exclusive_consumer_tag": _exclusive_consumer_tag,
        "single_active_consumer_pid": _active_consumer_pid,
        "single_active_consumer_tag": _active_consumer_tag,
        "state": lambda _item: "running",
    },
    _queues,
)


# Exchanges and bindings.

ExchangeItem = tuple[VirtualHost, Exchange]


def _exchanges(_broker: Broker, vhosts: list[VirtualHost]) -> Iterator[ExchangeItem]:
    for vhost in vhosts:
        for exchange in list(vhost.exchanges.values()):
            if vhost.exchanges.get(exchange.name) is exchange:
                yield vhost, exchange


EXCHANGES: Final[Kind[ExchangeItem]] = Kind(
    "exchanges",
    ("name", "type"),
    {
        "name": lambda item: item[1].name,
        "vhost": lambda item: item[0].name,
        "type": lambda item: item[1].type_name,
        "durable": lambda item: item[1].durable,
        "auto_delete": lambda item: item[1].auto_delete,
        "internal": lambda item: item[1].internal,
        "arguments": lambda item: table_to_json(item[1].arguments),
        "policy": lambda item: policy_of_exchange(item[0], item[1])["policy"],
    },
    _exchanges,
)

# The virtual host, the source, and the binding; those of the default exchange are implied.
BindingItem = tuple[VirtualHost, str, Binding]


def _bindings(broker: Broker, vhosts: list[VirtualHost]) -> Iterator[BindingItem]:
    for vhost, queue in _queues(broker, vhosts):
        yield vhost, DEFAULT_EXCHANGE, implied_binding(queue)
    for vhost, exchange in _exchanges(broker, vhosts):
        for binding in exchange.bindings():
            yield vhost, exchange.name, binding


def implied_binding(queue: Queue) -> Binding:
    """The default exchange reaches every queue by its name."""
    return Binding(Destination(QUEUE, queue.name), queue.name, {})


def destination_kind(binding: Binding) -> str:
    """`queue` or `exchange`."""
    return "exchange" if binding.destination.kind == EXCHANGE else "queue"


BINDINGS: Final[Kind[BindingItem]] = Kind(
    "bindings",
    (
        "source_name",
        "source_kind",
        "destination_name",
        "destination_kind",
        "routing_key",
        "arguments",
    ),
    {
        "source_name": lambda item: item[1],
        "source_kind": lambda _item: "exchange",
        "destination_name": lambda item: item[2].destination.name,
        "destination_kind": lambda item: destination_kind(item[2]),
        "routing_key": lambda item: item[2].key,
        "arguments": lambda item: table_to_json(item[2].arguments),
        "vhost": lambda item: item[0].name,
    },
    _bindings,
)


# Connections, channels, consumers.


def _connections(broker: Broker, vhosts: list[VirtualHost]) -> Iterator[Client]:
    everywhere = len(vhosts) == len(broker.vhosts)
    for client in list(broker.clients.values()):
        if client.id in broker.clients and (everywhere or client.vhost in vhosts):
            yield client


def _channels(broker: Broker, vhosts: list[VirtualHost]) -> Iterator[Channel]:
    for client in _connections(broker, vhosts):
        yield from list(client.channels.values())


def connection_state(client: Client) -> str:
    """RabbitMQ's word for what a connection does."""
    if client.state == CLOSING:
        return "closing"
    if client.is_closing():
        return "closed"
    if client.handshake.state != handshake.RUNNING:
        return HANDSHAKE_STATES[client.handshake.state]
    return "blocked" if client.reading_blocked else "running"


def address_in(name: str, end: int) -> tuple[str, int]:
    """Host and port of the peer (0) or of the broker (1), out of a connection's name."""
    host, _, port = name.split(" -> ")[end].rpartition(":")
    return host, int(port)


def _properties(client: Client) -> dict[str, object]:
    introduction = client.introduction
    return {} if introduction is None else table_to_json(dict(introduction.properties))


CONNECTIONS: Final[Kind[Client]] = Kind(
    "connections",
    ("user", "peer_host", "peer_port", "state"),
    {
        "pid": connection_pid,
        "name": lambda client: client.name,
        "user_provided_name": lambda client: (
            "" if client.introduction is None else client.introduction.connection_name
        ),
        "host": lambda client: address_in(client.name, 1)[0],
        "port": lambda client: address_in(client.name, 1)[1],
        "peer_host": lambda client: address_in(client.name, 0)[0],
        "peer_port": lambda client: address_in(client.name, 0)[1],
        "ssl": lambda client: client.tls is not None,
        "ssl_protocol": lambda client: "" if client.tls is None else client.tls.version,
        "ssl_cipher": lambda client: "" if client.tls is None else client.tls.cipher,
        "state": connection_state,
        "channels": lambda client: len(client.channels),
        "protocol": lambda _client: PROTOCOL,
        "auth_mechanism": lambda client: (
            "" if client.introduction is None else client.introduction.mechanism
        ),
        "user": lambda client: client.user.name,
        "vhost": lambda client: client.vhost_name,
        "timeout": lambda client: client.heartbeat_s,
        "frame_max": lambda client: client.frame_size_max(),
        "channel_max": lambda client: client.channel_max,
        "client_properties": _properties,
        "send_pend": lambda client: int(client.output.size()),
    },
    _connections,
)

CHANNELS: Final[Kind[Channel]] = Kind(
    "channels",
    ("pid", "user", "consumer_count", "messages_unacknowledged"),
    {
        "pid": channel_pid,
        "connection": lambda channel: connection_pid(channel.client),
        "name": lambda channel: f"{channel.client.name} ({channel.number})",
        "number": lambda channel: int(channel.number),
        "user": lambda channel: channel.client.user.name,
        "vhost": lambda channel: channel.vhost.name,
        "transactional": lambda channel: channel.transaction is not None,
        "confirm": lambda channel: channel.confirms is not None,
        "consumer_count": lambda channel: len(channel.consumers),
        "messages_unacknowledged": lambda channel: int(channel.unacked.count),
        "messages_unconfirmed": lambda channel: (
            0 if channel.confirms is None else int(channel.confirms.pending_count())
        ),
        "messages_uncommitted": lambda channel: (
            0 if channel.transaction is None else len(channel.transaction.publishes)
        ),
        "acks_uncommitted": lambda channel: (
            0 if channel.transaction is None else len(channel.transaction.taken())
        ),
        "prefetch_count": lambda channel: int(channel.prefetch_default),
        "global_prefetch_count": lambda channel: int(channel.prefetch_global),
    },
    _channels,
)


def _consumers(broker: Broker, vhosts: list[VirtualHost]) -> Iterator[tuple[VirtualHost, Consumer]]:
    for vhost, queue in _queues(broker, vhosts):
        for consumer in list(queue.consumers.all):
            yield vhost, consumer


def is_active(consumer: Consumer) -> bool:
    """Whether a queue serves this consumer: one that has a single active one serves no other."""
    consumers = consumer.queue.consumers
    return not consumers.single_active or consumers.active is consumer


CONSUMERS: Final[Kind[tuple[VirtualHost, Consumer]]] = Kind(
    "consumers",
    (
        "queue_name",
        "channel_pid",
        "consumer_tag",
        "ack_required",
        "prefetch_count",
        "active",
        "arguments",
    ),
    {
        "queue_name": lambda item: item[1].queue.name,
        "channel_pid": lambda item: channel_pid(item[1].channel),
        "consumer_tag": lambda item: item[1].tag,
        "ack_required": lambda item: not item[1].no_ack,
        "prefetch_count": lambda item: int(item[1].prefetch),
        "active": lambda item: is_active(item[1]),
        "activity_status": lambda item: "up" if is_active(item[1]) else "waiting",
        "arguments": lambda item: table_to_json(item[1].arguments),
        "exclusive": lambda item: item[1].exclusive,
        "priority": lambda item: item[1].priority,
        "messages_unacknowledged": lambda item: int(item[1].unacked),
        "user": lambda item: item[1].channel.client.user.name,
        "vhost": lambda item: item[0].name,
    },
    _consumers,
)
