"""All scenarios. A scenario is a function of a `Stage`; its name is its module's and its own.

    @scenario
    def nack_without_requeue(s): ...            queues.nack_without_requeue

    @scenario(0, -1, "1")
    def ttl(s, value): ...                      queues.ttl(0), queues.ttl(-1), queues.ttl('1')

Functions that begin with the same few lines are better one function with several values.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from interop.beside.stage import Stage


@dataclass(frozen=True, slots=True)
class Scenario:
    """One scenario. `alone`: it controls the whole broker, so that no other runs beside it."""

    name: str
    play: Callable[[Stage], None]
    alone: bool = False


_scenarios: list[Scenario] = []


def scenario(*values: Any, alone: bool = False) -> Any:
    """Add a function to the catalogue, once or for each value; a tuple is several arguments."""
    if len(values) == 1 and callable(values[0]):
        return scenario()(values[0])

    def add(function: Callable[..., None]) -> Callable[..., None]:
        name = f"{function.__module__.rpartition('.')[2]}.{function.__name__}"
        if not values:
            _scenarios.append(Scenario(name, function, alone))
        for value in values:
            arguments = value if isinstance(value, tuple) else (value,)
            _scenarios.append(
                Scenario(f"{name}({_shown(arguments)})", _with(function, arguments), alone)
            )
        return function

    return add


def _with(function: Callable[..., None], arguments: tuple[Any, ...]) -> Callable[[Stage], None]:
    return lambda stage: function(stage, *arguments)


def _shown(arguments: tuple[Any, ...]) -> str:
    return ", ".join(repr(argument) for argument in arguments).replace("|", "\\x7c")


def load() -> list[Scenario]:
    """All scenarios of the package `scenarios`, in the order of their modules."""
    package = importlib.import_module("interop.beside.scenarios")
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"{package.__name__}.{module.name}")
    names = [each.name for each in _scenarios]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"two scenarios are called {name}")
    return list(_scenarios)
