"""aio-pika, its asyncio loop in a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, ClassVar, TypeVar

import aio_pika
import aio_pika.abc
import aiormq.exceptions
from yarl import URL

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

T = TypeVar("T")

_CODES = {
    aiormq.exceptions.ChannelAccessRefused: 403,
    aiormq.exceptions.ChannelNotFoundEntity: 404,
    aiormq.exceptions.ChannelLockedResource: 405,
    aiormq.exceptions.ChannelPreconditionFailed: 406,
}

_SAME_NAME = (
    "content_type",
    "content_encoding",
    "headers",
    "delivery_mode",
    "priority",
    "correlation_id",
    "reply_to",
    "message_id",
    "type",
    "user_id",
    "app_id",
)


@contextmanager
def broker_errors() -> Iterator[None]:
    """Turn aio-pika's report of a channel that the broker closed into a `BrokerError`."""
    try:
        yield
    except aiormq.exceptions.ChannelClosed as error:
        text = str(error.args[-1]) if error.args else ""
        raise BrokerError(_CODES.get(type(error), 0), text, type(error).__name__) from error


def to_message(body: bytes, properties: Properties | None) -> aio_pika.Message:
    """aio-pika counts expiration in seconds and wants a datetime as timestamp."""
    given = dict(properties or {})
    if "expiration" in given:
        given["expiration"] = int(given["expiration"]) / 1000
    if "timestamp" in given:
        given["timestamp"] = datetime.fromtimestamp(given["timestamp"], UTC)
    return aio_pika.Message(body, **given)


def to_delivery(message: aio_pika.abc.AbstractIncomingMessage) -> Delivery:
    """A message of a consumer or of get."""
    properties = {name: getattr(message, name) for name in _SAME_NAME}
    properties["delivery_mode"] = int(message.delivery_mode or 0)
    if message.expiration is not None:
        properties["expiration"] = str(int(message.expiration * 1000))
    if message.timestamp is not None:
        properties["timestamp"] = int(message.timestamp.timestamp())
    return Delivery(
        body=message.body,
        delivery_tag=message.delivery_tag or 0,
        redelivered=bool(message.redelivered),
        exchange=message.exchange or "",
        routing_key=message.routing_key or "",
        properties=properties,
        message_count=message.message_count,
        native=message,
    )


class Loop:
    """An asyncio loop in a thread."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, name="aio-pika-loop", daemon=True).start()

    def run(self, call: Coroutine[Any, Any, T], timeout_s: float = ANSWER_S) -> T:
        """Run the coroutine there and wait for its result."""
        with broker_errors():
            return asyncio.run_coroutine_threadsafe(call, self._loop).result(timeout_s)

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)


class ChannelLoop:
    """The loop, as one channel's calls see it.

    A call that begins when the broker has closed the channel already is told only that the channel
    is closed; the reason goes to the close callback, a little later.
    """

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._reason: BaseException | None = None
        self._closed = threading.Event()

    def on_close(self, _sender: object, reason: BaseException | None) -> None:
        self._reason = reason
        self._closed.set()

    def run(self, call: Coroutine[Any, Any, T]) -> T:
        try:
            return self._loop.run(call)
        except aiormq.exceptions.ChannelInvalidStateError:
            self._closed.wait(1)
            if isinstance(self._reason, aiormq.exceptions.ChannelClosed):
                with broker_errors():
                    raise self._reason from None
            raise


class AioChannel(driver.Channel):
    def __init__(self, loop: Loop, channel: aio_pika.abc.AbstractChannel) -> None:
        super().__init__()
        self._loop = ChannelLoop(loop)
        self._channel = channel
        channel.close_callbacks.add(self._loop.on_close)
        self._consumed: dict[str, aio_pika.abc.AbstractQueue] = {}

    def _queue(self, name: str) -> aio_pika.abc.AbstractQueue:
        return self._loop.run(self._channel.get_queue(name, ensure=False))

    def _exchange(self, name: str) -> aio_pika.abc.AbstractExchange:
        return self._loop.run(self._channel.get_exchange(name, ensure=False))

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
        queue = self._loop.run(
            self._channel.declare_queue(
                name,
                passive=passive,
                durable=durable,
                exclusive=exclusive,
                auto_delete=auto_delete,
                arguments=arguments,
            )
        )
        ok = queue.declaration_result
        return QueueInfo(queue.name, ok.message_count or 0, ok.consumer_count or 0)

    def delete_queue(self, name: str) -> int | None:
        ok = self._loop.run(self._channel.queue_delete(name))
        return ok.message_count

    def purge_queue(self, name: str) -> int | None:
        return self._loop.run(self._queue(name).purge()).message_count

    def bind_queue(
        self, queue: str, exchange: str, key: str = "", arguments: dict[str, Any] | None = None
    ) -> None:
        self._loop.run(self._queue(queue).bind(exchange, key, arguments=arguments))

    def unbind_queue(self, queue: str, exchange: str, key: str = "") -> None:
        self._loop.run(self._queue(queue).unbind(exchange, key))

    def declare_exchange(
        self, name: str, kind: str, *, durable: bool = False, auto_delete: bool = False
    ) -> None:
        self._loop.run(
            self._channel.declare_exchange(name, kind, durable=durable, auto_delete=auto_delete)
        )

    def delete_exchange(self, name: str) -> None:
        self._loop.run(self._channel.exchange_delete(name))

    def bind_exchange(self, destination: str, source: str, key: str = "") -> None:
        self._loop.run(self._exchange(destination).bind(source, key))

    def publish(
        self,
        exchange: str,
        key: str,
        body: bytes,
        properties: Properties | None = None,
        *,
        mandatory: bool = False,
    ) -> Returned | None:
        target = self._exchange(exchange) if exchange else self._channel.default_exchange
        message = to_message(body, properties)
        try:
            result = self._loop.run(target.publish(message, key, mandatory=mandatory))
        except aiormq.exceptions.DeliveryError as error:
            raise NackedError from error
        delivery = getattr(result, "delivery", None)  # only what was returned has one
        if delivery is None:
            return None
        return Returned(delivery.reply_code, delivery.reply_text, delivery.routing_key, result.body)

    def get(self, queue: str, *, no_ack: bool = False) -> Delivery | None:
        message = self._loop.run(self._queue(queue).get(no_ack=no_ack, fail=False))
        return None if message is None else to_delivery(message)

    def consume(self, queue: str, *, no_ack: bool = False) -> str:
        async def received(message: aio_pika.abc.AbstractIncomingMessage) -> None:
            self.inbox.append(to_delivery(message))

        consumed = self._queue(queue)
        tag = self._loop.run(consumed.consume(received, no_ack=no_ack))
        self._consumed[tag] = consumed
        return tag

    def cancel(self, consumer_tag: str) -> None:
        self._loop.run(self._consumed.pop(consumer_tag).cancel(consumer_tag))

    def ack(self, delivery: Delivery, *, multiple: bool = False) -> None:
        self._loop.run(delivery.native.ack(multiple=multiple))

    def ack_tag(self, delivery_tag: int) -> None:
        # aio-pika's own messages refuse a second ack, so this goes through its lower layer.
        channel = self._loop.run(self._channel.get_underlay_channel())
        self._loop.run(channel.basic_ack(delivery_tag))

    def nack(self, delivery: Delivery, *, requeue: bool, multiple: bool = False) -> None:
        self._loop.run(delivery.native.nack(multiple=multiple, requeue=requeue))

    def reject(self, delivery: Delivery, *, requeue: bool) -> None:
        self._loop.run(delivery.native.reject(requeue=requeue))

    def qos(self, prefetch_count: int) -> None:
        self._loop.run(self._channel.set_qos(prefetch_count))

    def close(self) -> None:
        self._loop.run(self._channel.close())

    def poll(self, seconds: float) -> None:
        self._loop.run(asyncio.sleep(min(seconds, 0.005)))


class AioConnection(driver.Connection):
    def __init__(self, url: URL) -> None:
        self._loop = Loop()
        self._connection = self._loop.run(aio_pika.connect(url))

    def channel(self, *, confirm: bool = False) -> driver.Channel:
        async def open_channel() -> aio_pika.abc.AbstractChannel:
            return await self._connection.channel(publisher_confirms=confirm)

        return AioChannel(self._loop, self._loop.run(open_channel()))

    def idle(self, seconds: float) -> None:
        self._loop.run(asyncio.sleep(seconds), seconds + 1)

    def is_open(self) -> bool:
        return self._connection.connected.is_set() and not self._connection.is_closed

    def close(self) -> None:
        if self._connection.is_closed:
            return
        self._loop.run(self._connection.close())
        self._loop.stop()

    def abandon(self) -> None:
        try:
            self._loop.run(self._connection.close(), 2)
        except Exception:  # any of several, depending on what the client noticed first
            self._loop.stop()


class AioPika(driver.Driver):
    """aio-pika with a plain connection."""

    error_types: ClassVar[dict[int, str]] = {
        404: "ChannelNotFoundEntity",
        405: "ChannelLockedResource",
        406: "ChannelPreconditionFailed",
    }
    no_vhost_text = (
        "Expected one of ['Connection.OpenOk'], got <Connection.Close"  # code and text dropped
    )

    def connect(self, address: Address, *, heartbeat_s: int = 60) -> driver.Connection:
        return AioConnection(URL(address.uri()).update_query(heartbeat=heartbeat_s))
