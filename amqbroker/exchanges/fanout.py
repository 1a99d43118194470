"""The fanout exchange: every destination gets every message.

Keys and headers do not matter; several bindings to one destination still give it one copy.
Source: AMQP 0-9-1 section 3.1.3.2, RabbitMQ's `rabbit_exchange_type_fanout`.
"""

from __future__ import annotations

from typing import final

from amqbroker.exchanges.base import Binding, Bucket, Destination, Exchange, Table


@final
class FanoutExchange(Exchange):
    """Routes to every destination that it has."""

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
        self._all = Bucket()

    def route(self, routing_key: str, headers: Table | None) -> list[Destination]:
        return self._all.destinations()

    def _added(self, binding: Binding) -> None:
        self._all.add(binding)

    def _removed(self, binding: Binding) -> None:
        self._all.remove(binding)
