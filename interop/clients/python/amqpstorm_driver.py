"""AMQPStorm, which reads its socket in a thread of its own."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, ClassVar

import amqpstorm

from interop.clients.python import driver
from interop.clients.python.address import Address
from interop.clients.python.driver import (
    BrokerError,
    Delivery,
    NackedError,
    Properties,
    QueueInfo,
    Returned,
)

#: "Message not delivered: NO_ROUTE (312) to queue 'key' from exchange ''"
_RETURN_TEXT = re.compile(r"Message not delivered: (\S+) \(\d+\) to queue '(.*)' from exchange")


@contextmanager
def broker_errors() -> Iterator[None]:
    """Turn AMQPStorm's report of a channel that the broker closed into a `BrokerError`."""
    try:
        yield
    except amqpstorm.AMQPMessageError:
        raise  # a returned message, which closes nothing
    except amqpstorm.AMQPChannelError as error:
        if error.error_code is None:
            raise
        _, _, text = str(error).partition(" was closed by remote server: ")
        raise BrokerError(error.error_code, text, type(error).__name__) from error


def to_properties(properties: Properties | None) -> dict[str, Any]:
    """AMQPStorm's names and types."""
    given = dict(properties or {})
    if "type" in given:
        given["message_type"] = given.pop("type")
    if "timestamp" in given:
        given["timestamp"] = datetime.fromtimestamp(given["timestamp"], UTC)
    return given


def to_delivery(message: amqpstorm.Message) -> Delivery:
    """A message of a consumer or of get."""
    method = message.method or {}
    properties = dict(message.properties)
    properties["type"] = properties.pop("message_type", None)
    if isinstance(stamp := properties.get("timestamp"), datetime):
        properties["timestamp"] = int(stamp.replace(tzinfo=UTC).timestamp())
    body = message.body
    return Delivery(
        body=body if isinstance(body, bytes) else (body or "").encode(),
        delivery_tag=message.delivery_tag or 0,
        redelivered=bool(method.get("redelivered")),
        exchange=method.get("exchange", ""),
        routing_key=method.get("routing_key", ""),
        properties=properties,
        message_count=method.get("message_count"),
        native=message,
    )


def _returned(error: amqpstorm.AMQPMessageError) -> Returned:
    """A return, which AMQPStorm reports as an error with the facts in its text."""
    match = _RETURN_TEXT.match(str(error))
    assert match is not None, f"AMQPStorm words its error for a return differently: {error}"
    return Returned(error.error_code or 0, match[1], match[2])


class StormChannel(driver.Channel):
    def __init__(self, channel: amqpstorm.Channel, confirm: bool) -> None:
        super().__init__()
        self._channel = channel
        self._confirm = confirm
        if confirm:
            channel.confirm_deliveries()

    def declare_queue(
        self,
        name: str,
        *,
        passive: bool = False,
        durable: bool = False,
        exclusive: bool = False,
        auto_delete: bool = False,
        arguments: dict[str, Any] | None = None,
    ) -> QueueInfo:
        with broker_errors():
            ok = self._channel.queue.declare(
                name,
                passive=passive,
                durable=durable,
                exclusive=exclusive,
                auto_delete=auto_delete,
                arguments=arguments,
            )
        return QueueInfo(ok["queue"], ok["message_count"], ok["consumer_count"])

    def delete_queue(self, name: str) -> int | None:
        with broker_errors():
            return self._channel.queue.delete(name)["message_count"]

    def purge_queue(self, name: str) -> int | None:
        with broker_errors():
            return self._channel.queue.purge(name)["message_count"]

    def bind_queue(
        self, queue: str, exchange: str, key: str = "", arguments: dict[str, Any] | None = None
    ) -> None:
        with broker_errors():
            self._channel.queue.bind(queue, exchange, key, arguments)

    def unbind_queue(self, queue: str, exchange: str, key: str = "") -> None:
        with broker_errors():
            self._channel.queue.unbind(queue, exchange, key)

    def declare_exchange(
        self, name: str, kind: str, *, durable: bool = False, auto_delete: bool = False
    ) -> None:
        with broker_errors():
            self._channel.exchange.declare(name, kind, durable=durable, auto_delete=auto_delete)

    def delete_exchange(self, name: str) -> None:
        with broker_errors():
            self._channel.exchange.delete(name)

    def bind_exchange(self, destination: str, source: str, key: str = "") -> None:
        with broker_errors():
            self._channel.exchange.bind(destination, source, key)

    def publish(
        self,
        exchange: str,
        key: str,
        body: bytes,
        properties: Properties | None = None,
        *,
        mandatory: bool = False,
    ) -> Returned | None:
        try:
            with broker_errors():
                accepted = self._channel.basic.publish(
                    body, key, exchange, to_properties(properties), mandatory=mandatory
                )
        except amqpstorm.AMQPMessageError as error:
            return _returned(error)
        if self._confirm and not accepted:
            raise NackedError
        return None

    def get(self, queue: str, *, no_ack: bool = False) -> Delivery | None:
        with broker_errors():
            message = self._channel.basic.get(queue, no_ack=no_ack, auto_decode=False)
        return None if message is None else to_delivery(message)

    def consume(self, queue: str, *, no_ack: bool = False) -> str:
        with broker_errors():
            return self._channel.basic.consume(
                lambda message: self.inbox.append(to_delivery(message)), queue, no_ack=no_ack
            )

    def cancel(self, consumer_tag: str) -> None:
        with broker_errors():
            self._channel.basic.cancel(consumer_tag)

    def ack(self, delivery: Delivery, *, multiple: bool = False) -> None:
        with broker_errors():
            self._channel.basic.ack(delivery.delivery_tag, multiple)

    def ack_tag(self, delivery_tag: int) -> None:
        with broker_errors():
            self._channel.basic.ack(delivery_tag)

    def nack(self, delivery: Delivery, *, requeue: bool, multiple: bool = False) -> None:
        with broker_errors():
            self._channel.basic.nack(delivery.delivery_tag, multiple, requeue)

    def reject(self, delivery: Delivery, *, requeue: bool) -> None:
        with broker_errors():
            self._channel.basic.reject(delivery.delivery_tag, requeue)

    def qos(self, prefetch_count: int) -> None:
        with broker_errors():
            self._channel.basic.qos(prefetch_count)

    def close(self) -> None:
        with broker_errors():
            self._channel.close()

    def poll(self, seconds: float) -> None:
        with broker_errors():
            self._channel.process_data_events(auto_decode=False)  # pauses 10 ms when there is none


class StormConnection(driver.Connection):
    def __init__(self, connection: amqpstorm.Connection) -> None:
        self._connection = connection

    def channel(self, *, confirm: bool = False) -> driver.Channel:
        return StormChannel(self._connection.channel(), confirm)

    def idle(self, seconds: float) -> None:
        time.sleep(seconds)

    def is_open(self) -> bool:
        return self._connection.is_open

    def close(self) -> None:
        self._connection.close()

    def abandon(self) -> None:
        # It learns of a lost socket from its heartbeat; until then close waits for an answer.
        threading.Thread(target=self._connection.close, daemon=True).start()


class AmqpStorm(driver.Driver):
    """AMQPStorm."""

    error_types: ClassVar[dict[int, str]] = dict.fromkeys((404, 405, 406), "AMQPChannelError")

    def connect(self, address: Address, *, heartbeat_s: int = 60) -> driver.Connection:
        return StormConnection(
            amqpstorm.Connection(
                address.host,
                address.user,
                address.password,
                address.port,
                virtual_host=address.vhost,
                heartbeat=heartbeat_s,
                timeout=5,
            )
        )
