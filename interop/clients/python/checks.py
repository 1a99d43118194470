"""The checklist as calls of a `Driver`: what each check does, once for all Python clients.

Every check opens its own connections and uses queues and exchanges of its own names, which are
deleted when it ends, passed or not. Expectations are `assert`s whose text becomes the reason in
the table.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Final

from interop.checklist import CHECKS
from interop.clients.python.address import Address
from interop.clients.python.driver import BrokerError, Channel, Driver
from interop.clients.python.relay import CONNECTION_CLOSE, CONNECTION_CLOSE_OK, Relay
from interop.clients.python.scope import (
    Scope,
    digest,
    drain,
    expect,
    expect_count,
    expect_left,
    expect_next,
    expect_quiet,
    expect_refused,
    expect_works,
    publish_all,
    wait_until,
)

HEARTBEAT_S: Final = 1
PERSISTENT: Final = {"delivery_mode": 2}


class Checks:
    """The checks of one client."""

    def __init__(self, driver: Driver, address: Address, prefix: str) -> None:
        self._driver = driver
        self._address = address
        self._prefix = prefix

    def all(self) -> dict[str, Callable[[], None]]:
        """Every check of the checklist by name."""
        return {name: self._with_scope(getattr(self, name)) for name in CHECKS}

    def _with_scope(self, check: Callable[[Scope], None]) -> Callable[[], None]:
        def run() -> None:
            with Scope(self._driver, self._address, f"{self._prefix}.{check.__name__}") as scope:
                check(scope)

        return run

    # Connections and declarations.

    def connect(self, scope: Scope) -> None:
        connection = scope.connect()
        first, second = connection.channel(), connection.channel()
        for channel in (first, second):
            info = channel.declare_queue("", exclusive=True)
            assert info.name.startswith("amq.gen-"), f"server-named queue is called {info.name!r}"
        first.close()
        second.declare_queue("", exclusive=True)
        assert connection.is_open(), "the connection is not open"

        address = self._address
        wrong_password = Address(
            address.host, address.port, address.user, "wrong-" + address.password, address.vhost
        )
        expect_refused(scope, wrong_password, "ACCESS_REFUSED")
        no_vhost = Address(
            address.host, address.port, address.user, address.password, scope.name("no-vhost")
        )
        expect_refused(scope, no_vhost, self._driver.no_vhost_text)

    def declare(self, scope: Scope) -> None:
        channel = scope.channel(confirm=True)
        queue = scope.queue(channel, durable=True)
        again = channel.declare_queue(queue, durable=True)
        expect(again.name, queue, "name in declare-ok")
        expect((again.messages, again.consumers), (0, 0), "counts in declare-ok")
        scope.queue(channel, exclusive=True)
        scope.queue(channel, auto_delete=True)
        scope.queue(channel, durable=True, arguments={"x-max-length": 10, "x-message-ttl": 60_000})
        for kind in ("direct", "fanout", "topic", "headers"):
            exchange = scope.exchange(channel, kind, durable=True)
            channel.declare_exchange(exchange, kind, durable=True)
            channel.bind_queue(queue, exchange, "key")
            channel.unbind_queue(queue, exchange, "key")

        source = scope.exchange(channel, "fanout")
        target = scope.exchange(channel, "direct")
        channel.bind_exchange(target, source)
        channel.bind_queue(queue, target, "key")
        channel.publish(source, "key", b"through two exchanges")
        channel.publish(source, "other", b"not bound")
        publish_all(channel, queue, [b"1", b"2"])
        expect(channel.declare_queue(queue, passive=True).messages, 3, "messages in the queue")
        expect_count(channel.purge_queue(queue), 3, "messages purged")
        publish_all(channel, queue, [b"1", b"2"])
        expect_count(channel.delete_queue(queue), 2, "messages deleted with the queue")
        expect(channel.declare_queue(queue, durable=True).messages, 0, "messages in the new queue")

    def confirm(self, scope: Scope) -> None:
        channel = scope.channel(confirm=True)
        queue = scope.queue(channel, durable=True)
        publish_all(channel, queue, [b"%d" % n for n in range(100)], PERSISTENT)
        channel.publish("", scope.name("nowhere"), b"confirmed though unroutable")
        expect(channel.declare_queue(queue, passive=True).messages, 100, "messages in the queue")

    # Consumers.

    def consume(self, scope: Scope) -> None:
        channel = scope.channel(confirm=True)
        queue = scope.queue(channel)
        properties = every_property(self._address.user)
        tag = channel.consume(queue)
        for n in range(50):
            channel.publish("", queue, b"body %d" % n, properties)
        for n in range(50):
            delivery = expect_next(channel, b"body %d" % n)
            expect(delivery.redelivered, False, "redelivered")
            expect((delivery.exchange, delivery.routing_key), ("", queue), "exchange and key")
            for name, value in properties.items():
                expect(delivery.properties.get(name), value, f"property {name}")
            channel.ack(delivery)
        channel.cancel(tag)
        channel.publish("", queue, b"after the cancel")
        expect_quiet(channel)
        channel.consume(queue, no_ack=True)
        expect_next(channel, b"after the cancel")
        channel.close()
        expect_left(scope, queue, [])

    def ack_each(self, scope: Scope) -> None:
        channel = scope.channel(confirm=True)
        queue = scope.queue(channel)
        bodies = [b"%d" % n for n in range(20)]
        publish_all(channel, queue, bodies)
        channel.consume(queue)
        for body in bodies:
            channel.ack(expect_next(channel, body))
        expect_quiet(channel)
        channel.close()
        expect_left(scope, queue, [])

    def ack_multiple(self, scope: Scope) -> None:
        channel = scope.channel(confirm=True)
        queue = scope.queue(channel)
        bodies = [b"%d" % n for n in range(10)]
        publish_all(channel, queue, bodies)
        channel.consume(queue)
        deliveries = [expect_next(channel, body) for body in bodies]
        channel.ack(deliveries[6], multiple=True)
        channel.close()
        expect_left(scope, queue, [(body, True) for body in bodies[7:]])

    def nack_requeue(self, scope: Scope) -> None:
        channel = scope.channel(confirm=True)
        queue = scope.queue(channel)
        bodies = [b"%d" % n for n in range(5)]
        publish_all(channel, queue, bodies)
        channel.consume(queue)
        deliveries = [expect_next(channel, body) for body in bodies]
        channel.nack(deliveries[1], requeue=True)
        again = expect_next(channel, bodies[1])
        expect(again.redelivered, True, "redelivered after basic.nack")
        channel.reject(again, requeue=True)
        again = expect_next(channel, bodies[1])
        expect(again.redelivered, True, "redelivered after basic.reject")
        channel.nack(again, requeue=False)
        channel.reject(deliveries[0], requeue=False)
        if channel.nacks_multiple:
            channel.nack(deliveries[3], requeue=False, multiple=True)  # settles 2 and 3
        else:
            channel.nack(deliveries[2], requeue=False)
            channel.nack(deliveries[3], requeue=False)
        channel.close()
        expect_left(scope, queue, [(bodies[4], True)])

        # A requeued message goes back to its place, not to the end.
        channel = scope.channel(confirm=True)
        publish_all(channel, queue, [b"a", b"b", b"c"])
        first = channel.get(queue)
        assert first is not None, "get from a filled queue returned nothing"
        expect(first.body, b"a", "body")
        channel.reject(first, requeue=True)
        channel.close()
        expect_left(scope, queue, [(b"a", True), (b"b", False), (b"c", False)])

    def redelivered(self, scope: Scope) -> None:
        channel = scope.channel(confirm=True)
        queue = scope.queue(channel, durable=True)
        bodies = [b"%d" % n for n in range(5)]
        publish_all(channel, queue, bodies, PERSISTENT)
        with Relay(self._address) as relay:
            connection = self._driver.connect(relay.address)
            consumer = connection.channel()
            consumer.qos(3)
            consumer.consume(queue)
            deliveries = [expect_next(consumer, body) for body in bodies[:3]]
            consumer.ack(deliveries[0])
            expect_next(consumer, bodies[3])  # so the broker has seen the ack
            relay.cut()
            connection.abandon()
        wait_until(lambda: channel.declare_queue(queue, passive=True).messages == 4)
        expect_left(scope, queue, [(body, body != b"4") for body in bodies[1:]])

    def prefetch(self, scope: Scope) -> None:
        channel = scope.channel(confirm=True)
        queue = scope.queue(channel)
        bodies = [b"%d" % n for n in range(10)]
        publish_all(channel, queue, bodies)
        consumer = scope.channel()
        consumer.qos(3)
        consumer.consume(queue)
        deliveries = [expect_next(consumer, body) for body in bodies[:3]]
        expect_quiet(consumer)
        consumer.ack(deliveries[0])
        deliveries.append(expect_next(consumer, bodies[3]))
        expect_quiet(consumer)
        consumer.ack(deliveries[3], multiple=True)
        deliveries += [expect_next(consumer, body) for body in bodies[4:7]]
        expect_quiet(consumer)
        info = channel.declare_queue(queue, passive=True)
        expect((info.messages, info.consumers), (3, 1), "ready messages and consumers")

    # Exchanges.

    def fanout(self, scope: Scope) -> None:
        channel = scope.channel(confirm=True)
        exchange = scope.exchange(channel, "fanout")
        queues = [scope.queue(channel) for _ in range(3)]
        for queue in queues:
            channel.bind_queue(queue, exchange, "the key does not matter")
        channel.publish(exchange, "", b"to all")
        channel.unbind_queue(queues[2], exchange, "the key does not matter")
        channel.publish(exchange, "x", b"to two")
        for queue in queues[:2]:
            expect(drain(channel, queue), [b"to all", b"to two"], "a queue that stayed bound")
        expect(drain(channel, queues[2]), [b"to all"], "the queue that was unbound")

    def topic(self, scope: Scope) -> None:
        channel = scope.channel(confirm=True)
        exchange = scope.exchange(channel, "topic")
        keys = ["stock", "stock.usd", "stock.usd.nyse", "stock.eur.nyse", "usd.nyse", "stock..nyse"]
        expected = {
            "#": keys,
            "stock.#": ["stock", "stock.usd", "stock.usd.nyse", "stock.eur.nyse", "stock..nyse"],
            "stock.*": ["stock.usd"],
            "stock.*.nyse": ["stock.usd.nyse", "stock.eur.nyse", "stock..nyse"],
            "#.nyse": ["stock.usd.nyse", "stock.eur.nyse", "usd.nyse", "stock..nyse"],
            "*": ["stock"],
            "*.usd.#": ["stock.usd", "stock.usd.nyse"],
            "stock.usd": ["stock.usd"],
        }
        queues = {}
        for pattern in expected:
            queues[pattern] = scope.queue(channel)
            channel.bind_queue(queues[pattern], exchange, pattern)
        twice = queues["*"]
        channel.bind_queue(twice, exchange, "stock")  # two bindings that match give one copy
        for key in keys:
            channel.publish(exchange, key, key.encode())
        for pattern, want in expected.items():
            got = [body.decode() for body in drain(channel, queues[pattern])]
            expect(got, want, f"binding key {pattern!r}")

    def headers(self, scope: Scope) -> None:
        channel = scope.channel(confirm=True)
        exchange = scope.exchange(channel, "headers")
        match_all, match_any, default = (scope.queue(channel) for _ in range(3))
        wanted = {"format": "pdf", "pages": 3}
        channel.bind_queue(match_all, exchange, "", {**wanted, "x-match": "all"})
        channel.bind_queue(match_any, exchange, "", {**wanted, "x-match": "any"})
        channel.bind_queue(default, exchange, "", wanted)
        for body, headers in (
            (b"both", {"format": "pdf", "pages": 3, "more": True}),
            (b"one", {"format": "pdf", "pages": 4}),
            (b"none", {"format": "txt"}),
        ):
            channel.publish(exchange, "key", body, {"headers": headers})
        expect(drain(channel, match_all), [b"both"], "x-match all")
        expect(drain(channel, match_any), [b"both", b"one"], "x-match any")
        expect(drain(channel, default), [b"both"], "no x-match, which means all")

    # Single messages.

    def get(self, scope: Scope) -> None:
        channel = scope.channel(confirm=True)
        queue = scope.queue(channel)
        assert channel.get(queue) is None, "get from an empty queue returned a message"
        publish_all(channel, queue, [b"1", b"2", b"3"], {"headers": {"n": 1}})
        for body, left in ((b"1", 2), (b"2", 1)):
            delivery = channel.get(queue)
            assert delivery is not None, "get from a filled queue returned nothing"
            expect(delivery.body, body, "body")
            expect(delivery.routing_key, queue, "routing key")
            expect(delivery.properties.get("headers"), {"n": 1}, "headers")
            if delivery.message_count is not None:
                expect(delivery.message_count, left, "messages left")
            channel.ack(delivery)
        last = channel.get(queue, no_ack=True)
        assert last is not None, "get from a filled queue returned nothing"
        expect(last.body, b"3", "body")
        channel.close()
        expect_left(scope, queue, [])

    def mandatory(self, scope: Scope) -> None:
        channel = scope.channel(confirm=True)
        queue = scope.queue(channel)
        nowhere = scope.name("nowhere")
        returned = channel.publish("", nowhere, b"come back", mandatory=True)
        assert returned is not None, "the unroutable message was not returned"
        expect((returned.code, returned.text), (312, "NO_ROUTE"), "code and text of the return")
        expect(returned.routing_key, nowhere, "routing key of the return")
        if returned.body is not None:
            expect(returned.body, b"come back", "body of the return")
        routed = channel.publish("", queue, b"stay", mandatory=True)
        assert routed is None, f"a routable message was returned: {routed}"
        dropped = channel.publish("", nowhere, b"vanish")
        assert dropped is None, f"a message that is not mandatory was returned: {dropped}"
        expect(drain(channel, queue), [b"stay"], "the queue")

    def body_10mib(self, scope: Scope) -> None:
        channel = scope.channel(confirm=True)
        queue = scope.queue(channel, durable=True)
        body = os.urandom(10 * 1024 * 1024)
        publish_all(channel, queue, [body, b""], PERSISTENT)
        channel.consume(queue)
        big = channel.next()
        assert big is not None, "the large message did not arrive"
        expect(len(big.body), len(body), "size of the large body")
        expect(digest(big.body), digest(body), "digest of the large body")
        channel.ack(big)
        channel.ack(expect_next(channel, b""))

    # Errors.

    def error_404(self, scope: Scope) -> None:
        connection = scope.connect()
        missing = scope.name("missing")
        vhost = self._address.vhost
        no_queue = f"NOT_FOUND - no queue '{missing}' in vhost '{vhost}'"
        no_exchange = f"NOT_FOUND - no exchange '{missing}' in vhost '{vhost}'"
        for text, call in (
            (no_queue, lambda channel: channel.declare_queue(missing, passive=True)),
            (no_queue, lambda channel: channel.consume(missing)),
            (no_queue, lambda channel: channel.get(missing)),
            (no_exchange, lambda channel: channel.publish(missing, "key", b"lost")),
        ):
            self._expect_error(connection.channel(confirm=True), call, 404, text)
        expect_works(connection)

    def error_405(self, scope: Scope) -> None:
        queue = scope.name("exclusive")
        scope.channel().declare_queue(queue, exclusive=True)
        connection = scope.connect()
        text = "RESOURCE_LOCKED - cannot obtain exclusive access to locked queue"
        for call in (
            lambda channel: channel.declare_queue(queue, passive=True),
            lambda channel: channel.consume(queue),
            lambda channel: channel.delete_queue(queue),
        ):
            self._expect_error(connection.channel(), call, 405, f"{text} '{queue}'")
        expect_works(connection)

    def error_406(self, scope: Scope) -> None:
        queue = scope.queue(scope.channel(), durable=True)
        exchange = scope.exchange(scope.channel(), "direct")
        connection = scope.connect()
        failed = "PRECONDITION_FAILED -"

        def ack_unknown(channel: Channel) -> None:
            channel.ack_tag(99)
            channel.declare_queue(queue, passive=True)

        for text, call in (
            (
                f"{failed} inequivalent arg 'durable' for queue '{queue}'",
                lambda channel: channel.declare_queue(queue),
            ),
            (
                f"{failed} inequivalent arg 'x-max-length' for queue '{queue}'",
                lambda channel: channel.declare_queue(
                    queue, durable=True, arguments={"x-max-length": 1}
                ),
            ),
            (
                f"{failed} inequivalent arg 'type' for exchange '{exchange}'",
                lambda channel: channel.declare_exchange(exchange, "fanout"),
            ),
            (f"{failed} unknown delivery tag 99", ack_unknown),
        ):
            self._expect_error(connection.channel(), call, 406, text)
        expect_works(connection)

    def _expect_error(
        self, channel: Channel, call: Callable[[Channel], object], code: int, text: str
    ) -> None:
        """The call closes its channel with this code and text, in the client's own type."""
        try:
            call(channel)
        except BrokerError as error:
            reported = error
        else:
            raise AssertionError(f"no error where {code} {text!r} was due")
        expect(reported.code, code, "reply code")
        assert reported.text.startswith(text), f"reply text is {reported.text!r}, not {text!r}"
        expect(reported.reported_as, self._driver.error_types[code], "type of the error")

    # Life and end of a connection.

    def heartbeat(self, scope: Scope) -> None:
        with Relay(self._address) as relay:
            connection = self._driver.connect(relay.address, heartbeat_s=HEARTBEAT_S)
            channel = connection.channel()
            queue = scope.queue(channel)
            channel.consume(queue)
            before = relay.from_broker.heartbeats, relay.from_client.heartbeats
            connection.idle(HEARTBEAT_S * 4.5)
            after = relay.from_broker.heartbeats, relay.from_client.heartbeats
            assert connection.is_open(), "the idle connection was closed"
            # Two each interval is the custom, one the least that keeps the other side content.
            for side, count in zip(
                ("broker", "client"),
                (a - b for a, b in zip(after, before, strict=True)),
                strict=True,
            ):
                assert count >= 3, f"{count} heartbeats from the {side} in {HEARTBEAT_S * 4.5} s"
            channel.publish("", queue, b"still here")
            channel.ack(expect_next(channel, b"still here"))
            connection.close()

    def close(self, scope: Scope) -> None:
        watcher = scope.channel(confirm=True)
        queue = scope.queue(watcher)
        exclusive = scope.name("exclusive")
        auto_delete = scope.name("auto-delete")
        watcher.publish("", queue, b"held")
        with Relay(self._address) as relay:
            connection = self._driver.connect(relay.address)
            channel = connection.channel()
            channel.declare_queue(exclusive, exclusive=True)
            channel.declare_queue(auto_delete, auto_delete=True)
            channel.consume(auto_delete)
            channel.consume(queue)
            expect_next(channel, b"held")
            connection.close()
            assert not connection.is_open(), "the closed connection calls itself open"
            asked, answered = relay.from_client.methods, relay.from_broker.methods
            assert CONNECTION_CLOSE in asked, "the client sent no connection.close"
            assert CONNECTION_CLOSE_OK in answered, "the broker sent no connection.close-ok"
            assert CONNECTION_CLOSE not in answered, "the broker sent a connection.close"
        for name in (exclusive, auto_delete):
            self._expect_error(
                scope.channel(),
                lambda channel, name=name: channel.declare_queue(name, passive=True),
                404,
                f"NOT_FOUND - no queue '{name}'",
            )
        expect_left(scope, queue, [(b"held", True)])


def every_property(user: str) -> dict[str, Any]:
    """One value for each property of basic, and headers of all types that every client has."""
    return {
        "content_type": "application/octet-stream",
        "content_encoding": "binary",
        "headers": {
            "text": "größer",
            "small": 7,
            "negative": -7,
            "large": 2**40,
            "yes": True,
            "nothing": None,
            "table": {"inner": "value", "deep": {"n": 1}},
            "list": ["a", 2, {"b": False}],
        },
        "delivery_mode": 2,
        "priority": 4,
        "correlation_id": "correlation",
        "reply_to": "reply.queue",
        "expiration": "60000",
        "message_id": "message-1",
        "timestamp": 1_700_000_000,
        "type": "kind",
        "user_id": user,
        "app_id": "interop",
    }
