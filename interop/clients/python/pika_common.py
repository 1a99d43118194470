"""What the three pika drivers share: parameters, properties, errors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import pika
import pika.exceptions

from interop.clients.python.address import Address
from interop.clients.python.driver import BrokerError, Delivery, Properties

ERROR_TYPES: Final = dict.fromkeys((404, 405, 406), "ChannelClosedByBroker")

_PROPERTY_NAMES: Final = (
    "content_type",
    "content_encoding",
    "headers",
    "delivery_mode",
    "priority",
    "correlation_id",
    "reply_to",
    "expiration",
    "message_id",
    "timestamp",
    "type",
    "user_id",
    "app_id",
)


def parameters(address: Address, heartbeat_s: int) -> pika.ConnectionParameters:
    """Connection parameters without retries, so that a refusal is reported at once."""
    return pika.ConnectionParameters(
        host=address.host,
        port=address.port,
        virtual_host=address.vhost,
        credentials=pika.PlainCredentials(address.user, address.password),
        heartbeat=heartbeat_s,
        connection_attempts=1,
        socket_timeout=5,
        blocked_connection_timeout=5,
        client_properties={"connection_name": "interop pika"},
    )


def to_properties(properties: Properties | None) -> pika.BasicProperties:
    """pika's properties from the checks' names, which are the same."""
    return pika.BasicProperties(**(properties or {}))


def to_delivery(method: Any, properties: pika.BasicProperties, body: bytes) -> Delivery:
    """A message of Basic.Deliver or Basic.GetOk."""
    return Delivery(
        body=body,
        delivery_tag=method.delivery_tag,
        redelivered=method.redelivered,
        exchange=method.exchange,
        routing_key=method.routing_key,
        properties={
            name: value
            for name in _PROPERTY_NAMES
            if (value := getattr(properties, name)) is not None
        },
        message_count=getattr(method, "message_count", None),
    )


@contextmanager
def broker_errors() -> Iterator[None]:
    """Turn pika's report of a channel or connection that the broker closed into a `BrokerError`."""
    try:
        yield
    except (
        pika.exceptions.ChannelClosedByBroker,
        pika.exceptions.ConnectionClosedByBroker,
    ) as error:
        raise BrokerError(error.reply_code, error.reply_text, type(error).__name__) from error
