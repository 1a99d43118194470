"""A virtual host against an obvious model without caches, and the corners of its routing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pamqp.commands import Basic

from amqbroker.core import vhost as vhost_module
from amqbroker.core.definitions import short
from amqbroker.core.vhost import Route, VirtualHost
from amqbroker.errors import ChannelException
from amqbroker.exchanges.base import EXCHANGE, QUEUE, Binding, Destination, Exchange, Table
from amqbroker.exchanges.registry import make_exchange
from tests.core.house import House, Restartable, make_queue
from tests.core.naive_vhost import NaiveBinding, NaiveExchange, NaiveVhost
from tests.semantics.peer import Channel

EXCHANGES = ["a", "b", "c"]
QUEUES = ["p", "q"]
KEYS = ["p", "q", "#"]
ADDRESSES = [(exchange, key) for exchange in ["", *EXCHANGES] for key in KEYS]


def _address(exchange: str, key: str) -> bytes:
    return short(exchange) + short(key)


def _binding(binding: NaiveBinding) -> Binding:
    kind = EXCHANGE if binding.to_exchange else QUEUE
    return Binding(Destination(kind, binding.destination), binding.key, binding.arguments())


class Pair:
    """A virtual host and its model, kept in step; `check` compares all that they say."""

    def __init__(self) -> None:
        self.home = Restartable()
        self.model = NaiveVhost()
        # What channels do: keep a route as long as the version stays the same.
        self.kept: dict[bytes, tuple[int, Route]] = {}

    @property
    def vhost(self) -> VirtualHost:
        """The one under test."""
        return self.home.vhost

    def declare_exchange(self, name: str, new: NaiveExchange) -> None:
        """Declare an exchange that is not there."""
        if name in self.model.exchanges:
            return
        self.model.exchanges[name] = new
        arguments: Table = {} if new.alternate is None else {"alternate-exchange": new.alternate}
        self.vhost.add_exchange(
            make_exchange(name, new.type_name, new.durable, new.auto_delete, False, arguments)
        )

    def delete_exchange(self, name: str) -> None:
        """Delete an exchange that is there."""
        if name in self.model.exchanges:
            self.model.delete_exchange(name)
            self.vhost.remove_exchange(self.vhost.exchange(name))

    def declare_queue(self, name: str, durable: bool) -> None:
        """Declare a queue that is not there."""
        if name not in self.model.queues:
            self.model.queues[name] = durable
            self.home.broker.create_queue(self.vhost, name, durable, False, None, {})

    def delete_queue(self, name: str) -> None:
        """Delete a queue that is there."""
        if name in self.model.queues:
            self.model.delete_queue(name)
            self.home.broker.delete_queue(self.vhost, self.vhost.queue(name))

    def bind(self, binding: NaiveBinding) -> None:
        """Bind, if both ends are there."""
        ends = self.model.exchanges if binding.to_exchange else self.model.queues
        if binding.source in self.model.exchanges and binding.destination in ends:
            self.model.bind(binding)
            self.vhost.bind(self.vhost.exchange(binding.source), _binding(binding))

    def unbind(self, binding: NaiveBinding) -> None:
        """Unbind, whether it was bound or not."""
        if binding.source in self.model.exchanges:
            self.model.unbind(binding)
            self.vhost.unbind(self.vhost.exchange(binding.source), _binding(binding))

    def restart(self) -> None:
        """Start again from the journal."""
        self.model.restart()
        self.home.restart()
        self.kept = {}

    def check(self) -> None:
        """Definitions, bindings from both ends, and the route of every address."""
        vhost, model = self.vhost, self.model
        own = {name: each for name, each in vhost.exchanges.items() if name in EXCHANGES}
        assert {name: _described(exchange) for name, exchange in own.items()} == model.exchanges
        assert {name: queue.durable for name, queue in vhost.queues.items()} == model.queues
        for name, exchange in own.items():
            there = [_naive(name, binding) for binding in exchange.bindings()]
            assert set(there) == {each for each in model.bindings if each.source == name}
            assert len(there) == len(set(there))
        for kind, names in ((EXCHANGE, EXCHANGES), (QUEUE, QUEUES)):
            for name in names:
                found = vhost.bindings_to(Destination(kind, name))
                assert {_naive(source, binding) for source, binding in found} == {
                    each
                    for each in model.bindings
                    if each.to_exchange == (kind == EXCHANGE) and each.destination == name
                }
        for exchange_name, key in ADDRESSES:
            self._check_route(exchange_name, key)

    def _check_route(self, exchange: str, key: str) -> None:
        vhost, address = self.vhost, _address(exchange, key)
        if exchange and exchange not in self.model.exchanges:
            with pytest.raises(ChannelException, match="no exchange"):
                vhost.route(address)
            return
        wanted = self.model.route(exchange, key)
        version, route = self.kept.get(address, (-1, None))
        if route is None or version != vhost.version:
            route = vhost.route(address)
            self.kept[address] = (vhost.version, route)
        queues = route.queues
        if route.by_headers:
            queues = list(vhost.walk(route.exchange, [key], {}).queues.values())
        assert sorted(queue.name for queue in queues) == sorted(wanted), (exchange, key)
        assert all(queue is vhost.queues[queue.name] for queue in queues)


def _described(exchange: Exchange) -> NaiveExchange:
    alternate = exchange.arguments.get("alternate-exchange")
    assert alternate is None or isinstance(alternate, str)
    return NaiveExchange(exchange.type_name, exchange.durable, exchange.auto_delete, alternate)


def _naive(source: str, binding: Binding) -> NaiveBinding:
    destination = binding.destination
    to_exchange = destination.kind == EXCHANGE
    return NaiveBinding(source, to_exchange, destination.name, binding.key, bool(binding.arguments))


NEW_EXCHANGES = st.builds(
    NaiveExchange,
    st.sampled_from(["direct", "fanout", "topic", "headers"]),
    durable=st.booleans(),
    auto_delete=st.booleans(),
    alternate=st.sampled_from([None, None, "", *EXCHANGES]),
)
BINDINGS = st.one_of(
    st.builds(
        NaiveBinding,
        st.sampled_from(EXCHANGES),
        st.just(False),
        st.sampled_from(QUEUES),
        st.sampled_from(KEYS),
        st.booleans(),
    ),
    st.builds(
        NaiveBinding,
        st.sampled_from(EXCHANGES),
        st.just(True),
        st.sampled_from(EXCHANGES),
        st.sampled_from(KEYS),
        st.just(False),
    ),
)
STEPS = st.one_of(
    st.tuples(st.just("declare exchange"), st.sampled_from(EXCHANGES), NEW_EXCHANGES),
    st.tuples(st.just("delete exchange"), st.sampled_from(EXCHANGES)),
    st.tuples(st.just("declare queue"), st.sampled_from(QUEUES), st.booleans()),
    st.tuples(st.just("delete queue"), st.sampled_from(QUEUES)),
    st.tuples(st.just("bind"), BINDINGS),
    st.tuples(st.just("bind"), BINDINGS),
    st.tuples(st.just("unbind"), BINDINGS),
    st.tuples(st.just("restart")),
)


@given(
    exchanges=st.lists(NEW_EXCHANGES, min_size=3, max_size=3),
    bindings=st.lists(BINDINGS, max_size=6),
    steps=st.lists(STEPS, max_size=12),
)
def test_a_virtual_host_agrees_with_its_model(
    exchanges: list[NaiveExchange], bindings: list[NaiveBinding], steps: list[tuple[object, ...]]
) -> None:
    """Cached routes are those of a walk without a cache, after any change and after a restart."""
    pair = Pair()
    actions = {
        "declare exchange": pair.declare_exchange,
        "delete exchange": pair.delete_exchange,
        "declare queue": pair.declare_queue,
        "delete queue": pair.delete_queue,
        "bind": pair.bind,
        "unbind": pair.unbind,
        "restart": pair.restart,
    }
    for name, exchange in zip(EXCHANGES, exchanges, strict=True):
        pair.declare_exchange(name, exchange)
    for name in QUEUES:
        pair.declare_queue(name, True)
    for binding in bindings:
        pair.bind(binding)
    pair.check()
    for action, *arguments in steps:
        actions[str(action)](*arguments)  # type: ignore[operator]
        pair.check()
    pair.restart()
    pair.check()


def _fanout(vhost: VirtualHost, name: str, *, auto_delete: bool = False) -> Exchange:
    exchange = make_exchange(name, "fanout", False, auto_delete, False, {})
    vhost.add_exchange(exchange)
    return exchange


def test_a_chain_of_auto_delete_exchanges_is_longer_than_the_stack() -> None:
    vhost = VirtualHost("/", None)
    queue = make_queue()
    vhost.add_queue(queue)
    previous = Destination(QUEUE, "q")
    for number in range(3000):
        name = f"x{number}"
        vhost.bind(_fanout(vhost, name, auto_delete=True), Binding(previous, "", {}))
        previous = Destination(EXCHANGE, name)
    assert len(vhost.walk(vhost.exchange("x2999"), [""], None).queues) == 1
    vhost.remove_queue(queue)
    assert not [name for name in vhost.exchanges if name.startswith("x")]


def test_a_ring_of_auto_delete_exchanges_goes_as_a_whole() -> None:
    vhost = VirtualHost("/", None)
    ring = [_fanout(vhost, name, auto_delete=True) for name in ("x", "y", "z")]
    for source, destination in zip(ring, [*ring[1:], ring[0]], strict=True):
        vhost.bind(source, Binding(Destination(EXCHANGE, destination.name), "", {}))
    vhost.remove_exchange(ring[1])
    assert not {"x", "y", "z"}.intersection(vhost.exchanges)


def test_an_exchange_bound_to_itself_can_be_deleted() -> None:
    vhost = VirtualHost("/", None)
    exchange = _fanout(vhost, "x", auto_delete=True)
    vhost.bind(exchange, Binding(Destination(EXCHANGE, "x"), "", {}))
    vhost.remove_exchange(exchange)
    assert "x" not in vhost.exchanges
    assert vhost.bindings_to(Destination(EXCHANGE, "x")) == []


def test_a_binding_is_found_by_value_not_by_the_octets_of_its_arguments(
    house: House, ch: Channel
) -> None:
    """What was unbound with arguments in other types must not be back after a restart."""
    ch.declare_exchange("x", "headers", durable=True)
    ch.declare_queue("q", durable=True)
    for bound, unbound in (
        ("text", bytearray(b"text")),
        ({"m": 1, "n": [2]}, {"n": [2], "m": 1}),
    ):
        ch.bind("q", "x", "key", {"h": bound})  # type: ignore[dict-item]
        ch.unbind("q", "x", "key", {"h": unbound})  # type: ignore[dict-item]
    assert house.vhost().exchanges["x"].bindings() == []
    house.restart(clean=False)
    assert house.vhost().exchanges["x"].bindings() == []


def test_hashing_a_property_works_behind_another_exchange(ch: Channel) -> None:
    """The address is the same for all of them: no route may be kept."""
    ch.declare_exchange("hash", "x-consistent-hash", arguments={"hash-property": "message_id"})
    ch.bind_exchange("hash", "amq.fanout")
    for queue in ("p", "q"):
        ch.declare_queue(queue)
        ch.bind(queue, "hash", "1")
    numbers = [b"%d" % (number % 20) for number in range(40)]
    for number in numbers:
        properties = Basic.Properties(message_id=number.decode())
        ch.publish(number, exchange="amq.fanout", properties=properties)
    taken = [ch.get_bodies(queue) for queue in ("p", "q")]
    assert sorted(taken[0] + taken[1]) == sorted(numbers)
    assert all(taken)
    assert not set(taken[0]) & set(taken[1])


def test_hashing_the_routing_key_leaves_the_route_cached() -> None:
    vhost = VirtualHost("/", None)
    exchange = make_exchange("x", "x-consistent-hash", True, False, False, {})
    vhost.add_exchange(exchange)
    queues = [make_queue("p"), make_queue("q")]
    for queue in queues:
        vhost.add_queue(queue)
        vhost.bind(exchange, Binding(Destination(QUEUE, queue.name), "1", {}))
    route = vhost.route(_address("x", "key"))
    assert not route.by_headers
    assert vhost.route(_address("x", "key")) is route
    (owner,) = route.queues
    vhost.remove_queue(owner)
    assert vhost.route(_address("x", "key")).queues == [one for one in queues if one is not owner]


@pytest.mark.parametrize("kind", ["x-consistent-hash", "x-modulus-hash"])
def test_a_key_is_in_its_queue_after_a_restart(house: House, ch: Channel, kind: str) -> None:
    """Whatever became of the bindings before it: only what is bound now counts."""
    ch.declare_exchange("x", kind, durable=True)
    for queue in ("r", "p", "s", "q"):
        ch.declare_queue(queue, durable=True)
        ch.bind(queue, "x", "2")
    ch.unbind("p", "x", "2")
    ch.delete_queue("s")
    ch.bind("p", "x", "1")
    for _ in range(2):
        for number in range(30):
            ch.publish(b"%d" % number, exchange="x", key=f"key{number}")
        found = [ch.get_bodies(queue) for queue in ("p", "q", "r")]
        house.restart(clean=False)
        ch = house.channel()
        for number in range(30):
            ch.publish(b"%d" % number, exchange="x", key=f"key{number}")
        assert [ch.get_bodies(queue) for queue in ("p", "q", "r")] == found
        assert all(found)


def test_the_cache_of_routes_has_a_limit() -> None:
    vhost = VirtualHost("/", None)
    limit = vhost_module.ROUTES_MAX
    for number in range(limit + 10):
        vhost.route(_address("amq.direct", str(number)))
        assert len(vhost.routes) <= limit


def test_names_that_are_not_utf_8_route_like_any_other() -> None:
    vhost = VirtualHost("/", None)
    key = b"\xff\xfe".decode("utf-8", "surrogateescape")
    queue = make_queue(key)
    assert vhost.route(_address("", key)).queues == []
    vhost.add_queue(queue)
    assert vhost.route(b"\0\2\xff\xfe").queues == [queue]
    vhost.remove_queue(queue)
    assert vhost.route(b"\0\2\xff\xfe").queues == []


@pytest.mark.parametrize("how", ["delete", "expire", "lose"])
def test_a_queue_that_listens_to_its_own_end_hears_nothing_of_it(house: House, how: str) -> None:
    """Its bindings go with it, and that is told to the others only."""
    ch, other = house.channel(), house.channel()
    other.declare_queue("all")
    ch.declare_queue("q", exclusive=how == "lose", arguments={"x-expires": 1000})
    for queue, channel in (("all", other), ("q", ch)):
        for key in ("binding.deleted", "queue.deleted"):
            channel.bind(queue, "amq.rabbitmq.event", key)
    if how == "delete":
        ch.delete_queue("q")
    elif how == "expire":
        house.advance(1.1)
    else:
        ch.peer.drop()
    assert not other.queue_exists("q")
    told = [other.must_get("all").routing_key for _ in range(3)]
    assert told == ["binding.deleted", "binding.deleted", "queue.deleted"]
