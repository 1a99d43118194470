"""Lines for the log carry what structured logs need."""

from __future__ import annotations

from amqbroker.core import log
from tests.core.house import make_broker


def test_levels_are_those_of_logging_and_in_order() -> None:
    assert [log.DEBUG, log.INFO, log.WARNING, log.ERROR] == [10, 20, 30, 40]


def test_a_line_keeps_its_fields_beside_its_text() -> None:
    broker = make_broker()
    broker.log(log.WARNING, "connection a -> b: late", connection="a -> b", channel=3)
    line = broker.log_lines[0]
    assert (line.level, line.text) == (log.WARNING, "connection a -> b: late")
    assert line.fields == {"connection": "a -> b", "channel": 3}
