"""What an administrator does to queues, connections and messages.

Source: RabbitMQ's `rabbit_amqqueue` (`delete`, `purge`), `rabbit_networking` (`close_connection`),
`rabbit_mgmt_wm_exchange_publish`, `rabbit_mgmt_wm_queue_get`.
"""

from __future__ import annotations

from base64 import b64encode
from codecs import getincrementaldecoder
from typing import TYPE_CHECKING, Final, cast

from amqbroker.core.broker import Broker
from amqbroker.core.client import Client
from amqbroker.core.dead_letters import shown
from amqbroker.core.names import queue_resource
from amqbroker.core.queue import Queue
from amqbroker.management.errors import BAD_ARGUMENT, NOT_FOUND, REFUSED, ManagementError
from amqbroker.management.listing import connection_pid
from amqbroker.management.lookup import find_vhost
from amqbroker.management.users import find_user
from amqbroker.management.values import problem_of, table_to_json
from amqbroker.message import MANDATORY, Message
from amqbroker.wire.properties import PERSISTENT, SHORT_STRING_MAX, decode_properties, encode_header

if TYPE_CHECKING:
    from pamqp.common import FieldTable

NUMBERS: Final = ("delivery_mode", "priority", "timestamp")
OCTET_MAX: Final = 255
TIMESTAMP_MAX: Final = 2**63 - 1

MESSAGE_COLUMNS: Final = (
    "exchange",
    "routing_key",
    "redelivered",
    "delivery_count",
    "properties",
    "payload_bytes",
    "payload_encoding",
    "payload",
)


def find_queue(broker: Broker, vhost: str, name: str) -> Queue:
    """The queue of this name. Raises ManagementError."""
    queue = find_vhost(broker, vhost).queues.get(name)
    if queue is None:
        raise ManagementError(NOT_FOUND, f"there is no {queue_resource(name, vhost)}")
    return queue


def purge_queue(broker: Broker, vhost: str, name: str) -> int:
    """Drop the ready messages of a queue; how many there were."""
    return find_queue(broker, vhost, name).purge()


def delete_queue(
    broker: Broker, vhost: str, name: str, if_empty: bool = False, if_unused: bool = False
) -> tuple[int, int]:
    """Delete a queue, also an exclusive one; how many messages were ready, and the position."""
    queue = find_queue(broker, vhost, name)
    resource = queue_resource(name, vhost)
    if if_empty and queue.ready_count() > 0:
        raise ManagementError(REFUSED, f"{resource} is not empty")
    if if_unused and queue.consumers.all:
        raise ManagementError(REFUSED, f"{resource} has consumers")
    return broker.delete_queue(broker.vhosts[vhost], queue)


def close_connection(broker: Broker, which: str, reason: str) -> None:
    """End the connection with this pid or name; its client is told 320 with the reason."""
    for client in broker.clients.values():
        if which in (connection_pid(client), client.name):
            client.force_close(reason)
            return
    raise ManagementError(
        NOT_FOUND, f"there is no connection '{which}': a pid or a name of list_connections is one"
    )


def close_connections(
    broker: Broker, reason: str, vhost: str = "", user: str = "", limit: int = 0
) -> int:
    """End all connections, or those of a virtual host or a user, or so many of them; how many."""
    if limit < 0:
        raise ManagementError(BAD_ARGUMENT, f"a limit is a number of connections, not {limit}")
    if vhost:
        find_vhost(broker, vhost)
    if user:
        find_user(broker, user)
    closed = 0
    for client in list(broker.clients.values()):
        if _is_meant(client, vhost, user):
            client.force_close(reason)
            closed += 1
            if closed == limit:
                break
    return closed


def _is_meant(client: Client, vhost: str, user: str) -> bool:
    if client.is_closing():
        return False
    return (not vhost or client.vhost_name == vhost) and (not user or client.user.name == user)


# Messages.


def make_message(
    exchange: str, routing_key: str, properties: dict[str, object], body: bytes
) -> Message:
    """A message as a client would send it. Raises ManagementError for what it could not send."""
    address = b"".join(
        (_short("exchange", exchange), _short("routing key", routing_key)),
    )
    for name, value in properties.items():
        _check_property(name, value)
    try:
        header = encode_header(len(body), cast("FieldTable", properties))
    except (TypeError, ValueError, OverflowError) as error:
        raise ManagementError(BAD_ARGUMENT, str(error)) from None
    persistent = properties.get("delivery_mode") == PERSISTENT
    return Message(1, address, MANDATORY, header, body, persistent)


def _short(what: str, text: str) -> bytes:
    octets = text.encode("utf-8", "surrogateescape")
    if len(octets) > SHORT_STRING_MAX:
        raise ManagementError(BAD_ARGUMENT, f"the {what} is longer than {SHORT_STRING_MAX} bytes")
    return bytes([len(octets)]) + octets


def _check_property(name: str, value: object) -> None:
    """What the encoder takes for granted."""
    if name in NUMBERS:
        largest = TIMESTAMP_MAX if name == "timestamp" else OCTET_MAX
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= largest:
            what = f"the property {name} is a whole number from 0 to {largest}"
            raise ManagementError(BAD_ARGUMENT, what)
    elif name == "headers":
        problem = problem_of(value, "headers")
        if problem is not None:
            raise ManagementError(BAD_ARGUMENT, f"{problem[0]}: {problem[1]}")


def shown_message(
    message: Message, redelivered: bool, deliveries: int, body_bytes_max: int
) -> list[object]:
    """A message in the columns MESSAGE_COLUMNS; a body that is no text is in base64."""
    end = 1 + message.address[0]
    body = message.body[:body_bytes_max]
    is_whole = len(body) == len(message.body)
    try:
        # A text that was cut may end within a character.
        payload, encoding = getincrementaldecoder("utf-8")().decode(body, is_whole), "string"
    except UnicodeDecodeError:
        payload, encoding = b64encode(body).decode(), "base64"
    return [
        message.address[1:end].decode("utf-8", "surrogateescape"),
        message.address[end + 1 :].decode("utf-8", "surrogateescape"),
        redelivered,
        deliveries,
        table_to_json(dict(decode_properties(shown(message.header)))),
        len(message.body),
        encoding,
        payload,
    ]
