"""One virtual host: its exchanges, queues and bindings, and where a message goes.

Routes are cached by address, the exchange and routing key as they stand in basic.publish. A cached
route is forgotten when anything changes that it could depend on. Routed anew each time is a message
that carries CC or BCC, or that passes an exchange which looks at headers or a property.

Routing walks exchange-to-exchange bindings and visits each exchange once; each queue gets at most
one copy. An exchange that finds no destination at all passes the message to its alternate exchange,
if it has one that exists. The default exchange knows queues by name only for what is published to
it: as an alternate exchange it has no bindings and leads nowhere.

Source: RabbitMQ's `rabbit_exchange:route`, `rabbit_binding`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from mypy_extensions import i64

from amqbroker.core import definitions
from amqbroker.core.arguments import CLASSIC, queue_type
from amqbroker.core.names import exchange_resource, queue_resource
from amqbroker.core.policies import ALTERNATE_EXCHANGE, Policies
from amqbroker.core.queue import Queue
from amqbroker.core.reply_to import is_reply_address
from amqbroker.core.rules import NO_LIMIT, Rules
from amqbroker.errors import not_found
from amqbroker.exchanges.base import EXCHANGE, QUEUE, Binding, Destination, Exchange, Table
from amqbroker.exchanges.registry import (
    DEFAULT_EXCHANGE,
    EVENT_EXCHANGE,
    event_exchange,
    predeclared_exchanges,
)
from amqbroker.store.journal import Journal
from amqbroker.wire.properties import property_as_text

if TYPE_CHECKING:
    from amqbroker.core.events import Events

# The virtual host whose exchange tells of events (events.py).
EVENT_VHOST: Final = "/"
# Routes by address that are kept; unlimited routing keys must not become unlimited memory.
ROUTES_MAX: Final = 20_000


@final
class Route:
    """Where the messages of one address go.

    With `by_headers` each message must be routed by itself. With `is_reply` the routing key is an
    address of direct replies.
    """

    __slots__ = ("address", "by_headers", "exchange", "is_reply", "queues", "routing_key")

    def __init__(
        self,
        address: bytes,
        exchange: Exchange,
        routing_key: str,
        queues: list[Queue],
        by_headers: bool,
        is_reply: bool,
    ):
        self.address = address
        self.exchange = exchange
        self.routing_key = routing_key
        self.queues = queues
        self.by_headers = by_headers
        self.is_reply = is_reply


@final
class Walk:
    """What one walk through the exchanges found."""

    __slots__ = ("by_headers", "queues")

    def __init__(self) -> None:
        self.queues: dict[str, Queue] = {}
        self.by_headers = False


@final
class VirtualHost:
    """Everything with a name in one virtual host."""

    def __init__(self, name: str, journal: Journal | None, events: Events | None = None) -> None:
        self.name = name
        self.journal = journal
        self._events = events
        self.description = ""
        self.tags: tuple[str, ...] = ()
        # That of queues that are declared without a type.
        self.default_queue_type = CLASSIC
        self.max_connections: int = NO_LIMIT
        self.max_queues: int = NO_LIMIT
        self.connections = 0
        self.exchanges: dict[str, Exchange] = {}
        self.queues: dict[str, Queue] = {}
        self.policies = Policies()
        self.operator_policies = Policies()
        # Runtime parameters by component and name: JSON.
        self.parameters: dict[tuple[str, str], str] = {}
        # Whether copies of all messages go to the trace exchange.
        self.traced = False
        self.routes: dict[bytes, Route] = {}
        # Grows whenever a route may have changed; channels that keep a route compare it.
        self.version: i64 = 0
        self._alternates_by_policy = False
        # Which exchanges have bindings to a destination, and how many.
        self._sources: dict[Destination, dict[str, int]] = {}
        for exchange in predeclared_exchanges():
            self.exchanges[exchange.name] = exchange
        if name == EVENT_VHOST:
            self.exchanges[EVENT_EXCHANGE] = event_exchange()

    def exchange(self, name: str) -> Exchange:
        """The exchange of this name. Raises 404."""
        found = self.exchanges.get(name)
        if found is None:
            raise not_found(f"no {exchange_resource(name, self.name)}")
        return found

    def queue(self, name: str) -> Queue:
        """The queue of this name. Raises 404."""
        found = self.queues.get(name)
        if found is None:
            raise not_found(f"no {queue_resource(name, self.name)}")
        return found

    def add_exchange(self, exchange: Exchange) -> int:
        """Add a new exchange; the journal position to wait for, 0 for none."""
        self.exchanges[exchange.name] = exchange
        if self.policies.by_name:
            exchange.alternate = self._alternate(exchange)
        self.forget_routes()
        if self._events is not None:
            self._events.exchange_created(self.name, exchange)
        if exchange.durable and self.journal is not None:
            key = definitions.exchange_key(self.name, exchange.name)
            return self.journal.define(key, definitions.exchange_value(exchange))
        return 0

    def remove_exchange(self, exchange: Exchange) -> int:
        """Remove an exchange with every binding of it; the journal position to wait for."""
        return self._remove_exchanges([exchange])

    def _remove_exchanges(self, doomed: list[Exchange]) -> int:
        """Remove exchanges, and the auto-delete exchanges that lose their last binding by that.

        A loop, as a client may make a chain of them that is longer than the stack is deep.
        """
        position = 0
        while doomed:
            exchange = doomed.pop()
            if exchange.name not in self.exchanges:
                continue
            for binding in exchange.bindings():
                position = max(position, self._unbound(exchange, binding))
            del self.exchanges[exchange.name]
            destination = Destination(EXCHANGE, exchange.name)
            position = max(
                position, self._remove_bindings_to(destination, exchange.durable, doomed)
            )
            self.forget_routes()
            if self._events is not None:
                self._events.exchange_deleted(self.name, exchange)
            if exchange.durable and self.journal is not None:
                position = self.journal.undefine(definitions.exchange_key(self.name, exchange.name))
        return position

    def add_queue(self, queue: Queue) -> int:
        """Add a new queue; the journal position to wait for, 0 for none."""
        if self.policies.by_name or self.operator_policies.by_name:
            queue.set_rules(self.rules_for(queue))
        self.queues[queue.name] = queue
        queue.vhost = self
        self._forget_queue_route(queue.name)
        if queue.durable and self.journal is not None:
            queue.open_log(self.journal)
            key = definitions.queue_key(self.name, queue.name)
            return self.journal.define(key, definitions.queue_value(queue))
        return 0

    def remove_queue(self, queue: Queue) -> int:
        """Remove a queue with its bindings; the journal position to wait for."""
        del self.queues[queue.name]
        self._forget_queue_route(queue.name)
        doomed: list[Exchange] = []
        position = self._remove_bindings_to(Destination(QUEUE, queue.name), queue.durable, doomed)
        position = max(position, self._remove_exchanges(doomed))
        if queue.durable and self.journal is not None:
            position = self.journal.undefine(definitions.queue_key(self.name, queue.name))
        return position

    def bind(self, source: Exchange, binding: Binding) -> int:
        """Add a binding, if it is not there; the journal position to wait for. Raises 406 if it is
        not acceptable."""
        if not source.bind(binding.destination, binding.key, binding.arguments):
            return 0
        sources = self._sources.setdefault(binding.destination, {})
        sources[source.name] = sources.get(source.name, 0) + 1
        self.forget_routes()
        if self._events is not None:
            self._events.binding_created(self.name, source.name, binding)
        if self.journal is not None and self.is_durable(source, binding.destination):
            return self.journal.define(
                definitions.binding_key(self.name, source.name, binding), b"\0\0\0\0"
            )
        return 0

    def restore_binding(self, source_name: str, binding: Binding) -> None:
        """A binding from the journal, both of whose ends are there again."""
        source = self.exchanges[source_name]
        source.bind(binding.destination, binding.key, binding.arguments)
        sources = self._sources.setdefault(binding.destination, {})
        sources[source_name] = sources.get(source_name, 0) + 1

    def unbind(self, source: Exchange, binding: Binding) -> int:
        """Remove a binding, if it is there; the journal position to wait for."""
        made = source.find(binding.destination, binding.key, binding.arguments)
        if made is None:
            return 0
        source.unbind(made.destination, made.key, made.arguments)
        # The journal knows it by the octets that it was made with.
        position = self._unbound(source, made)
        self.forget_routes()
        if _is_forsaken(source):
            position = max(position, self.remove_exchange(source))
        return position

    def _remove_bindings_to(
        self, destination: Destination, durable: bool, doomed: list[Exchange]
    ) -> int:
        """The destination was deleted: remove every binding to it; the journal position to wait
        for.

        Auto-delete exchanges that lose their last binding are added to `doomed`.
        """
        sources = self._sources.pop(destination, None)
        if sources is None:
            return 0
        position = 0
        gone: list[tuple[str, Binding]] = []
        for name in list(sources):
            source = self.exchanges.get(name)
            if source is None:
                continue
            in_journal = durable and source.durable and self.journal is not None
            if in_journal or self._events is not None:
                for binding in source.bindings_to(destination):
                    gone.append((name, binding))
                    if in_journal and self.journal is not None:
                        position = self.journal.undefine(
                            definitions.binding_key(self.name, name, binding)
                        )
            source.unbind_destination(destination)
            if _is_forsaken(source):
                doomed.append(source)
        self.forget_routes()
        if self._events is not None:
            # Last: no event may go to what is no more.
            for name, binding in gone:
                self._events.binding_deleted(self.name, name, binding)
        return position

    def _unbound(self, source: Exchange, binding: Binding) -> int:
        """A binding is gone: forget who is bound to whom, here and in the journal."""
        if self._events is not None:
            self._events.binding_deleted(self.name, source.name, binding)
        sources = self._sources.get(binding.destination)
        if sources is not None and source.name in sources:
            sources[source.name] -= 1
            if sources[source.name] == 0:
                del sources[source.name]
                if not sources:
                    del self._sources[binding.destination]
        if self.journal is not None and self.is_durable(source, binding.destination):
            return self.journal.undefine(definitions.binding_key(self.name, source.name, binding))
        return 0

    def is_durable(self, source: Exchange, destination: Destination) -> bool:
        """A binding outlives a restart if both its ends do."""
        if not source.durable:
            return False
        if destination.kind == QUEUE:
            queue = self.queues.get(destination.name)
            return queue is not None and queue.durable
        exchange = self.exchanges.get(destination.name)
        return exchange is not None and exchange.durable

    def rules_for(self, queue: Queue) -> Rules:
        """What its arguments and the policies that match it make."""
        kind = queue_type(queue.arguments)
        return Rules(
            queue.arguments,
            self.policies.for_queue(queue.name, kind),
            self.operator_policies.for_queue(queue.name, kind),
        )

    def apply_alternates(self) -> None:
        """Policies changed: alternate exchanges that are others by that."""
        sets_alternates = self.policies.sets_alternates()
        if not sets_alternates and not self._alternates_by_policy:
            return
        self._alternates_by_policy = sets_alternates
        for exchange in self.exchanges.values():
            exchange.alternate = self._alternate(exchange)
        self.forget_routes()

    def _alternate(self, exchange: Exchange) -> str | None:
        """The alternate exchange by argument, else by policy; operator policies name none."""
        declared = exchange.arguments.get(ALTERNATE_EXCHANGE)
        if isinstance(declared, str):
            return declared
        policy = self.policies.for_exchange(exchange.name)
        named = None if policy is None else policy.definition.get(ALTERNATE_EXCHANGE)
        return named if isinstance(named, str) else None

    def bindings_to(self, destination: Destination) -> list[tuple[str, Binding]]:
        """Every binding to this destination, with its source's name."""
        return [
            (name, binding)
            for name in self._sources.get(destination, {})
            for binding in self.exchanges[name].bindings_to(destination)
        ]

    def trace(self, on: bool) -> None:
        """Begin or end to copy messages to the trace exchange (tracing.py)."""
        self.traced = on
        self.forget_routes()

    def forget_routes(self) -> None:
        """Something changed that any route may depend on."""
        self.routes = {}
        self.version += 1

    def permissions_changed(self) -> None:
        """What a user may do here is another: channels look for their route again."""
        self.version += 1

    def _forget_queue_route(self, name: str) -> None:
        """A queue came or went: only the default exchange can know it by name."""
        self.routes.pop(b"\0" + definitions.short(name), None)
        self.version += 1

    def route(self, address: bytes) -> Route:
        """The route of an address, from the cache or made now.

        Raises 404 if there is no such exchange.
        """
        route = self.routes.get(address)
        if route is None:
            route = self._make_route(address)
            if len(self.routes) >= ROUTES_MAX:
                self.routes = {}
            self.routes[address] = route
        return route

    def _make_route(self, address: bytes) -> Route:
        end: i64 = 1 + i64(address[0])
        exchange = self.exchange(address[1:end].decode("utf-8", "surrogateescape"))
        routing_key = address[end + 1 :].decode("utf-8", "surrogateescape")
        walk = self.walk(exchange, [routing_key], None)
        by_headers = walk.by_headers or self.traced
        queues = list(walk.queues.values())
        return Route(address, exchange, routing_key, queues, by_headers, is_reply_address(address))

    def walk(
        self,
        exchange: Exchange,
        routing_keys: list[str],
        headers: Table | None,
        header: bytes | None = None,
    ) -> Walk:
        """Every queue that a message to this exchange with these keys and headers reaches.

        `header` is its content header, for exchanges that look at a property.
        """
        found = Walk()
        if exchange.name == DEFAULT_EXCHANGE:
            for name in routing_keys:
                queue = self.queues.get(name)
                if queue is not None:
                    found.queues[name] = queue
            return found
        seen = {exchange.name: True}
        work = [exchange]
        while work:
            current = work.pop()
            text: str | None = None
            if current.needs_property and header is not None:
                text = property_as_text(header, current.needs_property)
            destinations = current.route_all(routing_keys, headers, text)
            found.by_headers = found.by_headers or current.needs_headers
            if not destinations:
                alternate = current.alternate
                if alternate is not None:
                    destinations = [Destination(EXCHANGE, alternate)]
            for destination in destinations:
                if destination.kind == QUEUE:
                    found.queues[destination.name] = self.queues[destination.name]
                elif destination.name not in seen:
                    seen[destination.name] = True
                    target = self.exchanges.get(destination.name)
                    if target is not None:
                        work.append(target)
        return found


def _is_forsaken(source: Exchange) -> bool:
    """Whether an exchange that has just lost a binding must go with it."""
    return source.auto_delete and not source.has_bindings()
