"""Every method a client may send on a channel is answered, refused, or known to be nothing."""

from __future__ import annotations

import pytest
from pamqp import base, commands

from amqbroker.core.handlers import HANDLERS
from amqbroker.wire import methods as m
from tests.core.house import House
from tests.semantics.peer import Channel

# What the connection itself sees to, or what does not come as a method.
ELSEWHERE = {"Channel.Open", "Channel.Close", "Channel.CloseOk", "Basic.Publish", "Basic.Ack"}
# What the broker says to clients only.
SAID_BY_THE_BROKER = {"Basic.Return", "Basic.Deliver", "Basic.GetOk", "Basic.GetEmpty"}


def _from_clients() -> list[type[base.Frame]]:
    """The classes of methods that a client may send on a channel."""
    found = []
    for name in vars(m):
        kind = getattr(m, name)
        if not isinstance(kind, type) or not issubclass(kind, base.Frame):
            continue
        known = kind.name
        if known.startswith("Connection") or known.endswith("Ok"):
            continue
        if known not in ELSEWHERE | SAID_BY_THE_BROKER:
            found.append(kind)
    return found


def test_no_method_is_forgotten() -> None:
    assert [kind.__name__ for kind in _from_clients() if kind not in HANDLERS] == []


@pytest.mark.parametrize(
    "method",
    [
        commands.Basic.GetEmpty(),
        commands.Queue.DeclareOk("q", 0, 0),
        commands.Channel.OpenOk(),
        commands.Basic.QosOk(),
        commands.Confirm.SelectOk(),
    ],
    ids=lambda method: str(method.name),
)
def test_what_only_the_broker_says_is_refused(ch: Channel, method: base.Frame) -> None:
    ch.send(method)
    ch.peer.expect_connection_close(503, "COMMAND_INVALID - unimplemented method")


@pytest.mark.parametrize(
    "method", [commands.Basic.CancelOk("t"), commands.Channel.CloseOk()], ids=["cancel", "close"]
)
def test_late_answers_are_borne(house: House, ch: Channel, method: base.Frame) -> None:
    ch.send(method)
    ch.expect_nothing()


def test_a_channel_cannot_be_stopped_but_asked_to_go_on(ch: Channel) -> None:
    assert ch.call(commands.Channel.Flow(True), commands.Channel.FlowOk).active
    ch.send(commands.Channel.Flow(False))
    ch.peer.expect_connection_close(
        540, "NOT_IMPLEMENTED - active=false", method=commands.Channel.Flow
    )
