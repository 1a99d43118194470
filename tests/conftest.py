"""What every test runs under: hypothesis profiles, and no compiled module older than its source.

Profiles: `dev` (default) 50 examples; `ci` the same ones each time; `night` 10,000. Choose one with
`HYPOTHESIS_PROFILE=night`.
"""

from __future__ import annotations

import os
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import pytest
from hypothesis import settings

import amqbroker

settings.register_profile("dev", max_examples=50, deadline=None)
settings.register_profile("ci", max_examples=50, deadline=None, derandomize=True)
settings.register_profile("night", max_examples=10_000, deadline=None)
PROFILE = os.environ.get("HYPOTHESIS_PROFILE", "ci" if os.environ.get("CI") else "dev")
settings.load_profile(PROFILE)

PACKAGE = Path(amqbroker.__file__).parent


def _compiled() -> list[tuple[Path, Path]]:
    """Each compiled module of the package beside its source."""
    pairs = []
    for source in sorted(PACKAGE.rglob("*.py")):
        for suffix in EXTENSION_SUFFIXES:
            module = source.with_name(source.stem + suffix)
            if module.exists():
                pairs.append((module, source))
    return pairs


def pytest_report_header() -> str:
    """Say which of the two builds is being tested."""
    return f"amqbroker: {'compiled' if _compiled() else 'interpreted'}, from {PACKAGE}"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Ten thousand examples take as long as they take."""
    if PROFILE == "night":
        for item in items:
            item.add_marker(pytest.mark.timeout(0), append=False)


def pytest_configure() -> None:
    """Refuse to test stale code: Python prefers a compiled module to the source beside it."""
    for module, source in _compiled():
        if module.stat().st_mtime < source.stat().st_mtime:
            raise pytest.UsageError(
                f"{module.name} is older than {source.name}: run `make compile` or `make clean`"
            )
