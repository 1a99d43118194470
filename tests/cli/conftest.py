"""A broker for the commands to talk to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from amqbroker.testing import Broker, broker


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Broker]:
    """A broker with its data in the folder `data`."""
    with broker(data_dir=str(tmp_path / "data")) as amqp:
        yield amqp
