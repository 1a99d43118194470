"""The pytest fixture `amqp_broker`: a real broker for one test, on a free port, gone afterwards.

    def test_it(amqp_broker):
        connection = pika.BlockingConnection(pika.URLParameters(amqp_broker.url))

Installing amqbroker is enough: pytest finds this module by its entry point. Settings come from the
marker, as for `amqbroker.testing.broker`: `@pytest.mark.amqp_broker(limits={"heartbeat_s": 1})`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from amqbroker.testing import Broker


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker."""
    config.addinivalue_line(
        "markers", "amqp_broker(**settings): settings of the broker of the fixture amqp_broker"
    )


@pytest.fixture
def amqp_broker(request: pytest.FixtureRequest) -> Iterator[Broker]:
    """A running broker with `url`, `host` and `port`."""
    # Imported here, so that suites that do not use the fixture do not pay for it.
    from amqbroker.testing import broker

    marker = request.node.get_closest_marker("amqp_broker")
    with broker(**(marker.kwargs if marker else {})) as running:
        yield running
