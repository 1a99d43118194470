"""pika's callback adapters: SelectConnection on pika's own loop and AsyncioConnection on asyncio's.

Both have one programming interface, so they share everything here but the loop. The loop runs in
a thread; the checks' calls are posted to it and wait for the callback.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, ClassVar

import pika
import pika.channel
import pika.exceptions
from pika.adapters.asyncio_connection import AsyncioConnection
from pika.spec import Basic

from interop.clients.python import driver, pika_common
from interop.clients.python.address import Address
from interop.clients.python.driver import (
    ANSWER_S,
    Delivery,
    NackedError,
    Properties,
    QueueInfo,
    Returned,
)
from interop.clients.python.pika_common import broker_errors, to_delivery, to_properties

Start = Callable[[Callable[[Any], None]], object]
"""Begins an operation with the callback that it is given."""


class CallbackConnection(driver.Connection):
    """A connection whose loop runs in a thread of its own until it is closed."""

    def __init__(self) -> None:
        self.lost: BaseException | None = None
        self._opened: Future[object] = Future()
        self._closed = threading.Event()
        self._channels: list[CallbackChannel] = []
        self._connection: Any = None

    def start(self, run_loop: Callable[[], None]) -> None:
        """Run the loop until the connection is open; raises what kept it from opening."""
        threading.Thread(target=run_loop, name="pika-loop", daemon=True).start()
        self._opened.result(ANSWER_S)

    def post(self, call: Callable[[], None]) -> None:
        """Have the loop call this; the only pika methods that are safe from other threads."""
        raise NotImplementedError

    def stop_loop(self) -> None:
        """End the loop, from within it."""
        raise NotImplementedError

    # Callbacks of pika, in the loop's thread.

    def on_open(self, _connection: object) -> None:
        self._opened.set_result(None)

    def on_open_error(self, _connection: object, error: BaseException | str) -> None:
        self._opened.set_exception(error if isinstance(error, BaseException) else Exception(error))
        self.stop_loop()

    def on_close(self, _connection: object, reason: BaseException) -> None:
        self.lost = reason
        for channel in self._channels:
            channel.on_close(None, reason)
        self._closed.set()
        self.stop_loop()

    # The driver's side.

    def channel(self, *, confirm: bool = False) -> driver.Channel:
        channel = CallbackChannel(self)
        self._channels.append(channel)
        channel.open(self._connection, confirm)
        return channel

    def idle(self, seconds: float) -> None:
        time.sleep(seconds)

    def is_open(self) -> bool:
        return self._connection.is_open

    def close(self) -> None:
        if not self._closed.is_set():
            self.post(self._connection.close)
            if not self._closed.wait(ANSWER_S):
                raise TimeoutError("no close-ok")

    def abandon(self) -> None:
        self._closed.wait(1)


class CallbackChannel(driver.Channel):
    def __init__(self, connection: CallbackConnection) -> None:
        super().__init__()
        self._connection = connection
        self._channel: Any = None
        self._closed: BaseException | None = None
        self._waiting: Future[Any] | None = None
        self._confirm = False
        self._published = 0
        self._confirms: dict[int, Future[bool]] = {}
        self._returned: list[Returned] = []

    def open(self, connection: Any, confirm: bool) -> None:
        """Open the channel and set its callbacks."""
        self._channel = self._call(lambda done: connection.channel(on_open_callback=done))
        self._channel.add_on_close_callback(self.on_close)
        self._channel.add_on_return_callback(self._on_return)
        if confirm:
            self._call(lambda done: self._channel.confirm_delivery(self._on_confirm, done))
            self._confirm = True

    # Callbacks of pika, in the loop's thread.

    def on_close(self, _channel: object, reason: BaseException) -> None:
        self._closed = reason
        for future in [self._waiting, *self._confirms.values()]:
            if future is not None and not future.done():
                future.set_exception(reason)

    def _on_return(
        self, _channel: object, method: Any, _properties: pika.BasicProperties, body: bytes
    ) -> None:
        self._returned.append(
            Returned(method.reply_code, method.reply_text, method.routing_key, body)
        )

    def _on_confirm(self, frame: Any) -> None:
        method = frame.method
        accepted = isinstance(method, Basic.Ack)
        tags = [
            tag
            for tag in self._confirms
            if tag == method.delivery_tag or (method.multiple and tag < method.delivery_tag)
        ]
        for tag in tags:
            self._confirms.pop(tag).set_result(accepted)

    def _on_deliver(
        self, _channel: object, method: Any, properties: pika.BasicProperties, body: bytes
    ) -> None:
        self.inbox.append(to_delivery(method, properties, body))

    # The driver's side.

    def _call(self, start: Start) -> Any:
        """Start an operation in the loop and wait for its callback."""
        future: Future[Any] = Future()

        def begin() -> None:
            if self._closed is not None:
                future.set_exception(self._closed)
                return
            self._waiting = future
            try:
                start(lambda *result: None if future.done() else future.set_result(result[-1]))
            except Exception as error:
                future.set_exception(error)

        self._connection.post(begin)
        with broker_errors():
            return future.result(ANSWER_S)

    def _send(self, send: Callable[[], object]) -> None:
        """Do in the loop what has no answer."""

        def start(done: Callable[[Any], None]) -> None:
            send()
            done(None)

        self._call(start)

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
        ok = self._call(
            lambda done: self._channel.queue_declare(
                name,
                passive=passive,
                durable=durable,
                exclusive=exclusive,
                auto_delete=auto_delete,
                arguments=arguments,
                callback=done,
            )
        ).method
        return QueueInfo(ok.queue, ok.message_count, ok.consumer_count)

    def delete_queue(self, name: str) -> int | None:
        frame = self._call(lambda done: self._channel.queue_delete(name, callback=done))
        return frame.method.message_count

    def purge_queue(self, name: str) -> int | None:
        frame = self._call(lambda done: self._channel.queue_purge(name, callback=done))
        return frame.method.message_count

    def bind_queue(
        self, queue: str, exchange: str, key: str = "", arguments: dict[str, Any] | None = None
    ) -> None:
        self._call(
            lambda done: self._channel.queue_bind(queue, exchange, key, arguments, callback=done)
        )

    def unbind_queue(self, queue: str, exchange: str, key: str = "") -> None:
        self._call(lambda done: self._channel.queue_unbind(queue, exchange, key, callback=done))

    def declare_exchange(
        self, name: str, kind: str, *, durable: bool = False, auto_delete: bool = False
    ) -> None:
        self._call(
            lambda done: self._channel.exchange_declare(
                name, kind, durable=durable, auto_delete=auto_delete, callback=done
            )
        )

    def delete_exchange(self, name: str) -> None:
        self._call(lambda done: self._channel.exchange_delete(name, callback=done))

    def bind_exchange(self, destination: str, source: str, key: str = "") -> None:
        self._call(
            lambda done: self._channel.exchange_bind(destination, source, key, callback=done)
        )

    def publish(
        self,
        exchange: str,
        key: str,
        body: bytes,
        properties: Properties | None = None,
        *,
        mandatory: bool = False,
    ) -> Returned | None:
        confirmed: Future[bool] = Future()

        def send() -> None:
            if self._confirm:
                self._published += 1
                self._confirms[self._published] = confirmed
            else:
                confirmed.set_result(True)
            self._channel.basic_publish(exchange, key, body, to_properties(properties), mandatory)

        self._send(send)
        with broker_errors():
            accepted = confirmed.result(ANSWER_S)
        if not accepted:
            raise NackedError
        return self._returned.pop() if self._returned else None

    def get(self, queue: str, *, no_ack: bool = False) -> Delivery | None:
        def start(done: Callable[[Any], None]) -> None:
            # pika calls back for get-ok only, so get-empty needs a callback of its own.
            self._channel.add_callback(lambda _frame: done(None), [Basic.GetEmpty], one_shot=True)
            self._channel.basic_get(
                queue,
                lambda _channel, method, properties, body: done(
                    to_delivery(method, properties, body)
                ),
                auto_ack=no_ack,
            )

        return self._call(start)

    def consume(self, queue: str, *, no_ack: bool = False) -> str:
        frame = self._call(
            lambda done: self._channel.basic_consume(
                queue, self._on_deliver, auto_ack=no_ack, callback=done
            )
        )
        return frame.method.consumer_tag

    def cancel(self, consumer_tag: str) -> None:
        self._call(lambda done: self._channel.basic_cancel(consumer_tag, callback=done))

    def ack(self, delivery: Delivery, *, multiple: bool = False) -> None:
        self._send(lambda: self._channel.basic_ack(delivery.delivery_tag, multiple))

    def ack_tag(self, delivery_tag: int) -> None:
        self._send(lambda: self._channel.basic_ack(delivery_tag))

    def nack(self, delivery: Delivery, *, requeue: bool, multiple: bool = False) -> None:
        self._send(lambda: self._channel.basic_nack(delivery.delivery_tag, multiple, requeue))

    def reject(self, delivery: Delivery, *, requeue: bool) -> None:
        self._send(lambda: self._channel.basic_reject(delivery.delivery_tag, requeue))

    def qos(self, prefetch_count: int) -> None:
        self._call(
            lambda done: self._channel.basic_qos(prefetch_count=prefetch_count, callback=done)
        )

    def close(self) -> None:
        future: Future[object] = Future()

        def begin() -> None:
            self._channel.add_on_close_callback(lambda *_: future.set_result(None))
            self._channel.close()

        self._connection.post(begin)
        future.result(ANSWER_S)

    def poll(self, seconds: float) -> None:
        time.sleep(min(seconds, 0.005))  # the loop's thread fills the inbox
        if self._closed is not None:
            with broker_errors():
                raise self._closed


class SelectConnection(CallbackConnection):
    def __init__(self, parameters: pika.ConnectionParameters) -> None:
        super().__init__()
        self._connection = pika.SelectConnection(
            parameters, self.on_open, self.on_open_error, self.on_close
        )
        self.start(self._connection.ioloop.start)

    def post(self, call: Callable[[], None]) -> None:
        self._connection.ioloop.add_callback_threadsafe(call)

    def stop_loop(self) -> None:
        self._connection.ioloop.stop()


class LoopConnection(CallbackConnection):
    def __init__(self, parameters: pika.ConnectionParameters) -> None:
        super().__init__()
        self._loop = asyncio.new_event_loop()
        self._connection = AsyncioConnection(
            parameters, self.on_open, self.on_open_error, self.on_close, custom_ioloop=self._loop
        )
        self.start(self._loop.run_forever)

    def post(self, call: Callable[[], None]) -> None:
        self._loop.call_soon_threadsafe(call)

    def stop_loop(self) -> None:
        self._loop.stop()


class PikaSelect(driver.Driver):
    """pika, SelectConnection."""

    error_types: ClassVar[dict[int, str]] = pika_common.ERROR_TYPES

    def connect(self, address: Address, *, heartbeat_s: int = 60) -> driver.Connection:
        return SelectConnection(pika_common.parameters(address, heartbeat_s))


class PikaAsyncio(driver.Driver):
    """pika, AsyncioConnection."""

    error_types: ClassVar[dict[int, str]] = pika_common.ERROR_TYPES

    def connect(self, address: Address, *, heartbeat_s: int = 60) -> driver.Connection:
        return LoopConnection(pika_common.parameters(address, heartbeat_s))
