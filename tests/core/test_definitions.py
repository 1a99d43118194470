"""Definitions as bytes: what is written is what is read, whatever the names and arguments."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from amqbroker.core import definitions
from amqbroker.core.queue import Queue
from amqbroker.core.turn import Turn
from amqbroker.exchanges.base import (
    EXCHANGE,
    QUEUE,
    Binding,
    Destination,
    Table,
    binding_identity,
)
from amqbroker.exchanges.registry import make_exchange
from amqbroker.wire.tables import decode_table

# Short strings as they come off the wire: any octets, what is not UTF-8 as surrogates.
NAMES = st.binary(max_size=255).map(lambda raw: raw.decode("utf-8", "surrogateescape")) | st.text(
    st.characters(exclude_categories=["Cs"]), max_size=60
)
KEYS = st.text(st.characters(max_codepoint=0x2FF), max_size=8)
VALUES: st.SearchStrategy[object] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
    | st.binary(max_size=5).map(bytearray),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=6,
)
TABLES: st.SearchStrategy[Table] = st.dictionaries(KEYS, VALUES, max_size=4)


@given(NAMES, NAMES)
def test_keys_give_back_their_names(vhost: str, name: str) -> None:
    for kind, key in (
        (definitions.EXCHANGE_KIND, definitions.exchange_key(vhost, name)),
        (definitions.QUEUE_KIND, definitions.queue_key(vhost, name)),
    ):
        reader = definitions.KeyReader(key)
        assert (reader.kind, reader.name(), reader.name()) == (kind, vhost, name)


@given(NAMES, NAMES, st.sampled_from([QUEUE, EXCHANGE]), NAMES, NAMES, TABLES)
def test_a_binding_is_all_in_its_key(
    vhost: str, source: str, kind: int, destination: str, key: str, arguments: Table
) -> None:
    binding = Binding(Destination(kind, destination), key, arguments)
    raw = definitions.binding_key(vhost, source, binding)
    reader = definitions.KeyReader(raw)
    assert (reader.kind, reader.name()) == (definitions.BINDING_KIND, vhost)
    found_source, found = definitions.read_binding(reader)
    assert (found_source, found.destination, found.key) == (source, binding.destination, key)
    assert binding_identity(found.key, found.arguments) == binding_identity(key, arguments)
    assert definitions.binding_key(vhost, found_source, found) == raw, "unbound by other octets"


@given(TABLES)
def test_the_order_of_arguments_does_not_make_another_binding(arguments: Table) -> None:
    turned = dict(reversed(arguments.items()))
    keys = [
        definitions.binding_key("/", "x", Binding(Destination(QUEUE, "q"), "k", table))
        for table in (arguments, turned)
    ]
    assert keys[0] == keys[1]


@given(TABLES, st.booleans())
def test_values_hold_the_rest(arguments: Table, auto_delete: bool) -> None:
    queue = Queue(Turn(), 2**40, "q", True, auto_delete, None, arguments)
    table: Table = dict(decode_table(definitions.queue_value(queue), 0))
    assert (table["id"], table["auto_delete"]) == (2**40, auto_delete)
    assert binding_identity("", dict(table)) is not None
    exchange = make_exchange("x", "topic", True, auto_delete, True, arguments)
    table = dict(decode_table(definitions.exchange_value(exchange), 0))
    assert (table["type"], table["auto_delete"], table["internal"]) == ("topic", auto_delete, True)
    again = make_exchange("x", "topic", True, auto_delete, True, _table(table["arguments"]))
    assert definitions.exchange_value(again) == definitions.exchange_value(exchange)


def _table(value: object) -> Table:
    assert isinstance(value, dict)
    return value
