"""Partitioned queues: one name to publish to, several queues behind it, made in one declare.

A consistent-hash exchange that is declared with `x-partitions: n` has n queues of its own, NAME-0
to NAME-(n-1), each bound with weight 1, durable if the exchange is. They have the arguments in
`x-partition-arguments`, and `x-partition-of`, which says whose they are. Messages of one routing
key (or of one header or property, as with any such exchange) are in one queue, in order; with
`x-single-active-consumer` among the arguments one consumer at a time gets them.

Who declares it needs what the single steps would need. Nothing is made if anything is refused: a
queue of such a name that is there already, a limit, an argument. Declaring it again makes those
queues again that were deleted meanwhile; another number is 406, as it would move keys to other
queues while their messages wait in the old ones. The queues go when the exchange is deleted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from amqbroker.core import access
from amqbroker.core.names import exchange_resource, queue_resource
from amqbroker.core.new_queues import add_queue_type, check_new_queue, check_queue_limit
from amqbroker.core.queue import Queue
from amqbroker.core.vhost import VirtualHost
from amqbroker.errors import precondition_failed
from amqbroker.exchanges.base import QUEUE, Binding, Destination, Exchange, Table

if TYPE_CHECKING:
    from amqbroker.core.broker import Broker
    from amqbroker.core.channel import Channel

PARTITION_OF: Final = "x-partition-of"
WEIGHT: Final = "1"
NAME_BYTES_MAX: Final = 255


def check_partitions(channel: Channel, exchange: Exchange) -> None:
    """Raise 403 or 406 unless all queues that this exchange lacks can be made by this user."""
    if not exchange.partitions:
        return
    vhost = channel.vhost
    resource = exchange_resource(exchange.name, vhost.name)
    if exchange.auto_delete:
        raise precondition_failed(f"invalid property 'auto-delete' for partitioned {resource}")
    missing = _missing(vhost, exchange)
    if missing and len(missing[-1].encode(errors="surrogateescape")) > NAME_BYTES_MAX:
        raise precondition_failed(
            f"the queues of partitioned {resource} would have names of more than "
            f"{NAME_BYTES_MAX} bytes"
        )
    if missing:
        access.check(channel.client, access.READ, access.EXCHANGE, exchange.name)
    for name in missing:
        if name in vhost.queues:
            raise precondition_failed(
                f"{queue_resource(name, vhost.name)} is there and no partition of {resource}"
            )
        access.check(channel.client, access.CONFIGURE, access.QUEUE, name)
        access.check(channel.client, access.WRITE, access.QUEUE, name)
        check_new_queue(channel, name, exchange.durable, False, False, _arguments(vhost, exchange))
    if missing:
        check_queue_limit(vhost, missing[-1], len(missing))


def make_partitions(broker: Broker, vhost: VirtualHost, exchange: Exchange) -> int:
    """Make the queues that the exchange lacks, and bind them; the journal position to wait for.

    A queue of such a name that is no partition stays what it is.
    """
    position = 0
    for name in _missing(vhost, exchange):
        if name in vhost.queues:
            continue
        arguments = _arguments(vhost, exchange)
        _, made = broker.create_queue(vhost, name, exchange.durable, False, None, arguments)
        bound = vhost.bind(exchange, Binding(Destination(QUEUE, name), WEIGHT, {}))
        position = max(position, made, bound)
    return position


def partitions_of(vhost: VirtualHost, exchange: Exchange) -> list[Queue]:
    """The queues that are there for this exchange."""
    found: list[Queue] = []
    for name in partition_names(exchange):
        queue = vhost.queues.get(name)
        if queue is not None and queue.arguments.get(PARTITION_OF) == exchange.name:
            found.append(queue)
    return found


def in_use(vhost: VirtualHost, exchange: Exchange) -> bool:
    """Whether anything is bound but its own queues, or anyone consumes from these."""
    if not exchange.partitions:
        return exchange.has_bindings()
    own = {queue.name: True for queue in partitions_of(vhost, exchange)}
    for binding in exchange.bindings():
        if binding.destination.kind != QUEUE or binding.destination.name not in own:
            return True
    return any(queue.consumers.all for queue in partitions_of(vhost, exchange))


def delete_exchange(broker: Broker, vhost: VirtualHost, exchange: Exchange) -> int:
    """Delete an exchange with its partitions; the journal position to wait for."""
    position = 0
    for queue in partitions_of(vhost, exchange):
        _, deleted = broker.delete_queue(vhost, queue)
        position = max(position, deleted)
    return max(position, vhost.remove_exchange(exchange))


def partition_names(exchange: Exchange) -> list[str]:
    """The names that its queues have."""
    return [f"{exchange.name}-{number}" for number in range(exchange.partitions)]


def _arguments(vhost: VirtualHost, exchange: Exchange) -> Table:
    arguments: Table = dict(exchange.partition_arguments)
    add_queue_type(vhost, arguments, exchange.durable, False, False)
    arguments[PARTITION_OF] = exchange.name
    return arguments


def _missing(vhost: VirtualHost, exchange: Exchange) -> list[str]:
    there = {queue.name: True for queue in partitions_of(vhost, exchange)}
    return [name for name in partition_names(exchange) if name not in there]
