"""Runs scenarios on both brokers and says where their clients saw different things."""

from __future__ import annotations

import difflib
import os
import time
import zlib
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from interop.beside.brokers import Broker
from interop.beside.catalogue import Scenario
from interop.beside.peer import NothingCameError
from interop.beside.stage import Stage

#: Scenarios that run at the same time on each broker; most of them wait for something.
_JOBS: Final = 4
_LINE_CHARS: Final = 400
#: How often a scenario is tried again by itself before what it shows is believed.
_AGAIN: Final = 2
#: A scenario's last words when what it waits for did not come.
STOPPED: Final = "stopped"


@dataclass(frozen=True, slots=True)
class Seen:
    """What the clients of one scenario saw on one broker."""

    lines: list[str]
    seconds: float

    @property
    def stopped(self) -> bool:
        """Whether something that the scenario waits for did not come."""
        return any(line.startswith(f"{STOPPED}: ") for line in self.lines)


@dataclass(frozen=True, slots=True)
class Comparison:
    """One scenario on both brokers."""

    scenario: Scenario
    theirs: Seen
    ours: Seen

    @property
    def differs(self) -> bool:
        """Whether the clients saw different things."""
        return self.theirs.lines != self.ours.lines

    def text(self) -> str:
        """The lines that differ, theirs with a minus and ours with a plus."""
        lines = difflib.unified_diff(self.theirs.lines, self.ours.lines, lineterm="", n=1)
        shown = (line[:_LINE_CHARS] for line in list(lines)[2:] if not line.startswith("@@"))
        return "\n".join(f"    {line}" for line in shown)


def run(
    theirs: Broker,
    ours: Broker,
    scenarios: Sequence[Scenario],
    is_expected: Callable[[str], bool] = lambda name: False,
) -> list[Comparison]:
    """Each scenario on both brokers, both at once; what is not as expected, that is without a
    difference but for those whose names are said to have one, is tried again by itself.

    A machine under load can delay one broker's answer until what it answers is no longer so; such
    a difference does not show again, one of behaviour does. One of behaviour may depend on who is
    faster as well, and so not show the first time.
    """
    found = dict(zip(scenarios, zip(*_on_both(theirs, ours, scenarios), strict=True), strict=True))
    comparisons = []
    for scenario, (their, our) in found.items():
        comparison = Comparison(scenario, their, our)
        expected = is_expected(scenario.name)
        for attempt in range(_AGAIN):
            if comparison.differs == expected and (expected or not comparison.theirs.stopped):
                break
            again = [_play(broker, scenario, f"again{attempt}") for broker in (theirs, ours)]
            comparison = Comparison(scenario, *again)
        comparisons.append(comparison)
    return comparisons


def _on_both(theirs: Broker, ours: Broker, scenarios: Sequence[Scenario]) -> Iterable[list[Seen]]:
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(lambda broker: _run_on(broker, scenarios), (theirs, ours)))


def _run_on(broker: Broker, scenarios: Sequence[Scenario]) -> list[Seen]:
    together = [each for each in scenarios if not each.alone]
    alone = [each for each in scenarios if each.alone]
    with ThreadPoolExecutor(_JOBS) as pool:
        seen = dict(zip(together, pool.map(lambda s: _play(broker, s), together), strict=True))
    seen |= {each: _play(broker, each) for each in alone}
    return [seen[each] for each in scenarios]


def _play(broker: Broker, scenario: Scenario, attempt: str = "") -> Seen:
    name = "".join(c if c.isalnum() else "-" for c in scenario.name)
    prefix = f"beside{os.getpid()}{attempt}.{name[:60]}-{zlib.crc32(scenario.name.encode()):x}."
    stage = Stage(broker, prefix)
    started = time.monotonic()
    try:
        scenario.play(stage)
    except NothingCameError as error:
        stage.record.add(STOPPED, f"no {error}")
    except Exception as error:  # an answer that it cannot go on with is an observation as well
        stage.record.add(STOPPED, f"by {type(error).__name__}: {error}")
    finally:
        seconds = time.monotonic() - started
        lines = stage.record.lines()
        stage.tidy()
    return Seen(lines, seconds)
