"""kombu on py-amqp, the pair below Celery."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import amqp.exceptions
import kombu

from interop.clients.python import driver
from interop.clients.python.address import Address
from interop.clients.python.driver import (
    ANSWER_S,
    BrokerError,
    Delivery,
    NackedError,
    Properties,
    QueueInfo,
    Returned,
)

#: kombu takes these as arguments of publish of its own; the others are AMQP properties.
_DEFAULTS = {"content_type": "application/octet-stream", "content_encoding": "binary"}


@contextmanager
def broker_errors() -> Iterator[None]:
    """Turn py-amqp's report of a channel that the broker closed into a `BrokerError`."""
    try:
        yield
    except amqp.exceptions.ChannelError as error:
        raise BrokerError(error.reply_code, error.reply_text, type(error).__name__) from error


def to_delivery(message: Any) -> Delivery:
    """A message of a consumer or of get."""
    properties = {k: v for k, v in message.properties.items() if k != "application_headers"}
    properties["headers"] = message.headers
    body = message.body
    info = message.delivery_info
    return Delivery(
        body=bytes(body) if not isinstance(body, str) else body.encode(),
        delivery_tag=message.delivery_tag,
        redelivered=bool(info.get("redelivered")),
        exchange=info.get("exchange", ""),
        routing_key=info.get("routing_key", ""),
        properties=properties,
        message_count=info.get("message_count"),
        native=message,
    )


class KombuChannel(driver.Channel):
    nacks_multiple = False  # py-amqp has basic.reject only

    def __init__(self, connection: kombu.Connection) -> None:
        super().__init__()
        self._connection = connection
        self._channel = connection.channel()
        self._returned: list[Returned] = []
        self._producer = kombu.Producer(self._channel, on_return=self._on_return)
        self._consumers: dict[str, kombu.Queue] = {}

    def _on_return(self, error: Any, exchange: str, routing_key: str, message: Any) -> None:
        body = message.body if isinstance(message.body, bytes) else message.body.encode()
        self._returned.append(Returned(error.reply_code, error.reply_text, routing_key, body))

    def _queue(self, name: str, **options: Any) -> Any:
        return kombu.Queue(name, **options).bind(self._channel)

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
        queue = self._queue(
            name,
            durable=durable,
            exclusive=exclusive,
            auto_delete=auto_delete,
            queue_arguments=arguments,
        )
        if exclusive:  # kombu makes an exclusive queue auto-delete too, unless it is told
            queue.auto_delete = auto_delete
        # Queue.queue_declare would return the name alone.
        with broker_errors():
            ok = self._channel.queue_declare(
                queue=queue.name,
                passive=passive,
                durable=queue.durable,
                exclusive=queue.exclusive,
                auto_delete=queue.auto_delete,
                arguments=queue.queue_arguments,
            )
        return QueueInfo(ok.queue, ok.message_count, ok.consumer_count)

    def delete_queue(self, name: str) -> int | None:
        with broker_errors():
            return self._queue(name).delete()

    def purge_queue(self, name: str) -> int | None:
        with broker_errors():
            return self._queue(name).purge()

    def bind_queue(
        self, queue: str, exchange: str, key: str = "", arguments: dict[str, Any] | None = None
    ) -> None:
        with broker_errors():
            self._queue(queue).bind_to(exchange, key, arguments)

    def unbind_queue(self, queue: str, exchange: str, key: str = "") -> None:
        with broker_errors():
            self._queue(queue).unbind_from(kombu.Exchange(exchange), key)

    def declare_exchange(
        self, name: str, kind: str, *, durable: bool = False, auto_delete: bool = False
    ) -> None:
        exchange = kombu.Exchange(name, kind, durable=durable, auto_delete=auto_delete)
        with broker_errors():
            exchange.bind(self._channel).declare()

    def delete_exchange(self, name: str) -> None:
        with broker_errors():
            kombu.Exchange(name).bind(self._channel).delete()

    def bind_exchange(self, destination: str, source: str, key: str = "") -> None:
        with broker_errors():
            kombu.Exchange(destination).bind(self._channel).bind_to(source, key)

    def publish(
        self,
        exchange: str,
        key: str,
        body: bytes,
        properties: Properties | None = None,
        *,
        mandatory: bool = False,
    ) -> Returned | None:
        given = {**_DEFAULTS, "delivery_mode": 1, **(properties or {})}
        if "expiration" in given:  # kombu counts it in seconds
            given["expiration"] = int(given["expiration"]) / 1000
        try:
            with broker_errors():
                self._producer.publish(
                    body,
                    routing_key=key,
                    exchange=exchange,
                    mandatory=mandatory,
                    timeout=ANSWER_S,
                    **given,
                )
        except amqp.exceptions.MessageNacked as error:
            raise NackedError from error
        return self._returned.pop() if self._returned else None

    def get(self, queue: str, *, no_ack: bool = False) -> Delivery | None:
        with broker_errors():
            message = self._queue(queue).get(no_ack=no_ack)
        return None if message is None else to_delivery(message)

    def consume(self, queue: str, *, no_ack: bool = False) -> str:
        tag = f"kombu-{len(self._consumers) + 1}"
        consumed = self._queue(queue)
        with broker_errors():
            consumed.consume(tag, self._on_message, no_ack=no_ack)
        self._consumers[tag] = consumed
        return tag

    def _on_message(self, raw: Any) -> None:
        self.inbox.append(to_delivery(self._channel.message_to_python(raw)))

    def cancel(self, consumer_tag: str) -> None:
        with broker_errors():
            self._consumers.pop(consumer_tag).cancel(consumer_tag)

    def ack(self, delivery: Delivery, *, multiple: bool = False) -> None:
        with broker_errors():
            delivery.native.ack(multiple)

    def ack_tag(self, delivery_tag: int) -> None:
        with broker_errors():
            self._channel.basic_ack(delivery_tag)

    def nack(self, delivery: Delivery, *, requeue: bool, multiple: bool = False) -> None:
        assert not multiple, "py-amqp has no basic.nack"
        self.reject(delivery, requeue=requeue)

    def reject(self, delivery: Delivery, *, requeue: bool) -> None:
        with broker_errors():
            if requeue:
                delivery.native.requeue()
            else:
                delivery.native.reject()

    def qos(self, prefetch_count: int) -> None:
        with broker_errors():
            self._channel.basic_qos(0, prefetch_count, False)

    def close(self) -> None:
        with broker_errors():
            self._channel.close()

    def poll(self, seconds: float) -> None:
        try:
            with broker_errors():
                self._connection.drain_events(timeout=seconds)
        except TimeoutError:
            return


class KombuConnection(driver.Connection):
    def __init__(self, connection: kombu.Connection) -> None:
        self._connection = connection
        connection.connect()

    def channel(self, *, confirm: bool = False) -> driver.Channel:
        # kombu sets confirms for a whole connection, so every channel confirms.
        return KombuChannel(self._connection)

    def idle(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self._connection.heartbeat_check()
            try:
                self._connection.drain_events(timeout=0.25)
            except TimeoutError:
                continue

    def is_open(self) -> bool:
        return bool(self._connection.connected)

    def close(self) -> None:
        self._connection.close()

    def abandon(self) -> None:
        self._connection.collect()


class Kombu(driver.Driver):
    """kombu with its default transport, py-amqp."""

    error_types: ClassVar[dict[int, str]] = {
        404: "NotFound",
        405: "ResourceLocked",
        406: "PreconditionFailed",
    }

    def connect(self, address: Address, *, heartbeat_s: int = 60) -> driver.Connection:
        connection = kombu.Connection(
            address.uri(),
            heartbeat=heartbeat_s,
            connect_timeout=5,
            transport_options={"confirm_publish": True},
        )
        return KombuConnection(connection)
