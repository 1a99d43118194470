"""Deadlines against a sorted list."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amqbroker.core import timers as timers_module
from amqbroker.core.timers import COMPACT_MIN, Timer, Timers, TimerTarget

pytestmark = pytest.mark.skipif(
    not str(timers_module.__file__).endswith(".py"),
    reason="a compiled class has no interpreted subclasses",
)


class Log(TimerTarget):
    """Keeps what fired."""

    def __init__(self) -> None:
        self.fired: list[tuple[int, float]] = []

    def on_timer(self, kind: int, now: float) -> None:
        """Note it."""
        self.fired.append((kind, now))


class Again(TimerTarget):
    """Sets itself again, a given number of times."""

    def __init__(self, timers: Timers, delay: float, times: int) -> None:
        self.timers = timers
        self.delay = delay
        self.times = times
        self.fired: list[float] = []

    def on_timer(self, kind: int, now: float) -> None:
        """Fire and set the next one."""
        self.fired.append(now)
        if len(self.fired) < self.times:
            self.timers.set(now + self.delay, self, kind)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("set"), st.integers(0, 10)),
        st.tuples(st.just("cancel"), st.integers(0, 30)),
        st.tuples(st.just("fire"), st.integers(0, 4)),
    ),
    max_size=50,
)


@given(STEPS)
def test_they_fire_in_order_of_deadline_then_age(steps: list[tuple[str, int]]) -> None:
    timers, log = Timers(), Log()
    made: list[Timer] = []
    waiting: list[tuple[float, int]] = []
    now = 0.0
    for action, number in steps:
        if action == "set":
            made.append(timers.set(now + number, log, len(made)))
            waiting.append((now + number, len(made) - 1))
        elif action == "cancel" and number < len(made):
            timers.cancel(made[number])
            waiting = [each for each in waiting if each[1] != number]
        elif action == "fire":
            now += number
            due = sorted(each for each in waiting if each[0] <= now)
            waiting = [each for each in waiting if each[0] > now]
            log.fired = []
            timers.fire(now)
            assert log.fired == [(kind, now) for _, kind in due]
        assert timers.next_deadline() == min((deadline for deadline, _ in waiting), default=None)


def test_a_timer_set_while_firing_waits_for_its_own_deadline() -> None:
    timers = Timers()
    again = Again(timers, 1.0, 3)
    timers.set(1.0, again, 0)
    timers.fire(1.5)
    assert again.fired == [1.5]
    timers.fire(2.5)
    timers.fire(9.0)
    assert again.fired == [1.5, 2.5, 9.0]


def test_a_timer_set_while_firing_that_is_due_fires_too() -> None:
    timers = Timers()
    again = Again(timers, 0.0, 3)
    timers.set(1.0, again, 0)
    timers.fire(1.0)
    assert again.fired == [1.0, 1.0, 1.0]


def test_a_timer_can_be_cancelled_by_one_that_fires_before_it() -> None:
    class Canceller(TimerTarget):
        def __init__(self) -> None:
            self.victim: Timer | None = None

        def on_timer(self, kind: int, now: float) -> None:
            assert self.victim is not None
            timers.cancel(self.victim)

    timers, log, canceller = Timers(), Log(), Canceller()
    timers.set(1.0, canceller, 0)
    canceller.victim = timers.set(1.0, log, 1)
    timers.fire(2.0)
    assert log.fired == []
    assert timers.next_deadline() is None


def test_what_was_cancelled_is_let_go_of_before_its_time() -> None:
    """A connection that is gone must not stay in memory until its next heartbeat."""
    timers, log = Timers(), Log()
    kept = [timers.set(1000.0 + number, log, number) for number in range(50)]
    for number in range(5000):
        timers.cancel(timers.set(500.0 + number, log, -1))
    assert len(timers._heap) <= 2 * (COMPACT_MIN + len(kept))
    for timer in kept[::2]:
        timers.cancel(timer)
        timers.cancel(timer)
    timers.fire(9999.0)
    assert [kind for kind, _ in log.fired] == list(range(1, 50, 2))


def test_a_target_must_say_what_it_does() -> None:
    with pytest.raises(NotImplementedError):
        TimerTarget().on_timer(0, 0.0)
