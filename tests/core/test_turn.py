"""The lists of a turn: each name is on them once, and they are empty once the turn is over."""

from __future__ import annotations

from pamqp.commands import Basic

from amqbroker.core.turn import Turn
from tests.core.house import House, core
from tests.semantics.peer import Channel


def test_a_new_turn_has_nothing_to_do() -> None:
    turn = Turn()
    assert (turn.queues, turn.confirming, turn.outputs, turn.served) == ([], [], [], 0)


def test_whoever_has_something_to_do_is_listed_once(house: House, ch: Channel) -> None:
    ch.declare_queue("q")
    ch.consume("q", no_ack=True)
    ch.confirm()
    house.paused = True
    for _ in range(3):
        ch.publish(key="q")
        ch.send(Basic.Qos(prefetch_count=1))
    house.hand_over()
    turn = core(house.node).turn
    assert [queue.name for queue in turn.queues] == ["q"]
    assert [channel.number for channel in turn.confirming] == [ch.number]
    assert turn.outputs == [house.core_client(ch.peer)]
    house.paused = False
    house.run()
    assert (turn.queues, turn.confirming, turn.outputs) == ([], [], [])
