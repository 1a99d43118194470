"""Types by name, and what every virtual host starts with."""

from __future__ import annotations

import pytest

from amqbroker.errors import PRECONDITION_FAILED, ChannelException
from amqbroker.exchanges.registry import (
    DEFAULT_EXCHANGE,
    EXCHANGE_TYPES,
    check_type,
    make_exchange,
    predeclared_exchanges,
)


@pytest.mark.parametrize("type_name", EXCHANGE_TYPES)
def test_an_exchange_keeps_its_definition(type_name: str) -> None:
    exchange = make_exchange("x", type_name, False, True, False, {"alternate-exchange": "y"})
    assert (exchange.name, exchange.type_name) == ("x", type_name)
    assert (exchange.durable, exchange.auto_delete, exchange.internal) == (False, True, False)
    assert exchange.arguments == {"alternate-exchange": "y"}
    assert exchange.bindings() == []


@pytest.mark.parametrize("type_name", ["nope", "", "Direct", "x-delayed-message"])
def test_an_unknown_type_is_refused(type_name: str) -> None:
    for refusing in (
        lambda: make_exchange("x", type_name, True, False, False, {}),
        lambda: check_type(type_name),
    ):
        with pytest.raises(ChannelException) as refused:
            refusing()
        assert refused.value.code == PRECONDITION_FAILED
        assert refused.value.explanation == f"unknown exchange type '{type_name}'"


def test_predeclared_exchanges() -> None:
    made = predeclared_exchanges()
    assert [(exchange.name, exchange.type_name) for exchange in made] == [
        (DEFAULT_EXCHANGE, "direct"),
        ("amq.direct", "direct"),
        ("amq.fanout", "fanout"),
        ("amq.headers", "headers"),
        ("amq.match", "headers"),
        ("amq.rabbitmq.trace", "topic"),
        ("amq.topic", "topic"),
    ]
    assert all(exchange.durable and not exchange.auto_delete for exchange in made)
    assert [exchange.name for exchange in made if exchange.internal] == ["amq.rabbitmq.trace"]
    assert made[1] is not predeclared_exchanges()[1]
