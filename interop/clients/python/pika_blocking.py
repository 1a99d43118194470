"""pika's BlockingConnection."""

from __future__ import annotations

from typing import Any, ClassVar

import pika
import pika.exceptions

from interop.clients.python import driver, pika_common
from interop.clients.python.address import Address
from interop.clients.python.driver import Delivery, NackedError, Properties, QueueInfo, Returned
from interop.clients.python.pika_common import broker_errors, to_delivery, to_properties


class BlockingChannel(driver.Channel):
    def __init__(self, connection: pika.BlockingConnection, confirm: bool) -> None:
        super().__init__()
        self._connection = connection
        self._channel = connection.channel()
        if confirm:
            self._channel.confirm_delivery()

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
            ok = self._channel.queue_declare(
                name,
                passive=passive,
                durable=durable,
                exclusive=exclusive,
                auto_delete=auto_delete,
                arguments=arguments,
            ).method
        return QueueInfo(ok.queue, ok.message_count, ok.consumer_count)

    def delete_queue(self, name: str) -> int | None:
        with broker_errors():
            return self._channel.queue_delete(name).method.message_count

    def purge_queue(self, name: str) -> int | None:
        with broker_errors():
            return self._channel.queue_purge(name).method.message_count

    def bind_queue(
        self, queue: str, exchange: str, key: str = "", arguments: dict[str, Any] | None = None
    ) -> None:
        with broker_errors():
            self._channel.queue_bind(queue, exchange, key, arguments)

    def unbind_queue(self, queue: str, exchange: str, key: str = "") -> None:
        with broker_errors():
            self._channel.queue_unbind(queue, exchange, key)

    def declare_exchange(
        self, name: str, kind: str, *, durable: bool = False, auto_delete: bool = False
    ) -> None:
        with broker_errors():
            self._channel.exchange_declare(name, kind, durable=durable, auto_delete=auto_delete)

    def delete_exchange(self, name: str) -> None:
        with broker_errors():
            self._channel.exchange_delete(name)

    def bind_exchange(self, destination: str, source: str, key: str = "") -> None:
        with broker_errors():
            self._channel.exchange_bind(destination, source, key)

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
                self._channel.basic_publish(
                    exchange, key, body, to_properties(properties), mandatory
                )
        except pika.exceptions.UnroutableError as error:
            message = error.messages[0]
            method = message.method
            return Returned(method.reply_code, method.reply_text, method.routing_key, message.body)
        except pika.exceptions.NackError as error:
            raise NackedError from error
        return None

    def get(self, queue: str, *, no_ack: bool = False) -> Delivery | None:
        with broker_errors():
            method, properties, body = self._channel.basic_get(queue, auto_ack=no_ack)
        return None if method is None else to_delivery(method, properties, body)

    def consume(self, queue: str, *, no_ack: bool = False) -> str:
        def received(_channel: object, method: Any, properties: Any, body: bytes) -> None:
            self.inbox.append(to_delivery(method, properties, body))

        with broker_errors():
            return self._channel.basic_consume(queue, received, auto_ack=no_ack)

    def cancel(self, consumer_tag: str) -> None:
        with broker_errors():
            self._channel.basic_cancel(consumer_tag)

    def ack(self, delivery: Delivery, *, multiple: bool = False) -> None:
        with broker_errors():
            self._channel.basic_ack(delivery.delivery_tag, multiple)

    def ack_tag(self, delivery_tag: int) -> None:
        with broker_errors():
            self._channel.basic_ack(delivery_tag)

    def nack(self, delivery: Delivery, *, requeue: bool, multiple: bool = False) -> None:
        with broker_errors():
            self._channel.basic_nack(delivery.delivery_tag, multiple, requeue)

    def reject(self, delivery: Delivery, *, requeue: bool) -> None:
        with broker_errors():
            self._channel.basic_reject(delivery.delivery_tag, requeue)

    def qos(self, prefetch_count: int) -> None:
        with broker_errors():
            self._channel.basic_qos(prefetch_count=prefetch_count)

    def close(self) -> None:
        with broker_errors():
            self._channel.close()

    def poll(self, seconds: float) -> None:
        with broker_errors():
            self._connection.process_data_events(time_limit=seconds)


class BlockingConnection(driver.Connection):
    def __init__(self, connection: pika.BlockingConnection) -> None:
        self._connection = connection

    def channel(self, *, confirm: bool = False) -> driver.Channel:
        with broker_errors():
            return BlockingChannel(self._connection, confirm)

    def idle(self, seconds: float) -> None:
        self._connection.sleep(seconds)

    def is_open(self) -> bool:
        return self._connection.is_open

    def close(self) -> None:
        if self._connection.is_open:
            self._connection.close()

    def abandon(self) -> None:
        try:
            self._connection.process_data_events(time_limit=0.1)
            self._connection.close()
        except pika.exceptions.AMQPError:
            return


class PikaBlocking(driver.Driver):
    """pika, blocking adapter."""

    error_types: ClassVar[dict[int, str]] = pika_common.ERROR_TYPES

    def connect(self, address: Address, *, heartbeat_s: int = 60) -> driver.Connection:
        parameters = pika_common.parameters(address, heartbeat_s)
        return BlockingConnection(pika.BlockingConnection(parameters))
