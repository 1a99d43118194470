"""The direct exchange: a message goes where the binding key equals its routing key.

One dict lookup a message, however many bindings there are.
Source: AMQP 0-9-1 section 3.1.3.1, RabbitMQ's `rabbit_exchange_type_direct`.
"""

from __future__ import annotations

from typing import final

from amqbroker.exchanges.base import Binding, Bucket, Destination, Exchange, Table


@final
class DirectExchange(Exchange):
    """Routes by equality of the key."""

    def __init__(
        self,
        name: str,
        type_name: str,
        durable: bool,
        auto_delete: bool,
        internal: bool,
        arguments: Table,
    ) -> None:
        super().__init__(name, type_name, durable, auto_delete, internal, arguments)
        self._by_key: dict[str, Bucket] = {}

    def route(self, routing_key: str, headers: Table | None) -> list[Destination]:
        bucket = self._by_key.get(routing_key)
        return [] if bucket is None else bucket.destinations()

    def _added(self, binding: Binding) -> None:
        bucket = self._by_key.get(binding.key)
        if bucket is None:
            bucket = Bucket()
            self._by_key[binding.key] = bucket
        bucket.add(binding)

    def _removed(self, binding: Binding) -> None:
        bucket = self._by_key[binding.key]
        bucket.remove(binding)
        if not bucket.bindings:
            del self._by_key[binding.key]
