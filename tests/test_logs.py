"""One event, one line: as text and as JSON, whatever is in it."""

from __future__ import annotations

import io
import json
import logging
import re
from collections.abc import Iterator

import pytest

from amqbroker import logs


@pytest.fixture(autouse=True)
def _unconfigured() -> Iterator[None]:
    """Leave the logger as it was."""
    logger = logging.getLogger(logs.ROOT_LOGGER)
    before = (list(logger.handlers), logger.level, logger.propagate)
    yield
    logger.handlers[:], logger.level, logger.propagate = before[0], before[1], before[2]


def configured(log_format: str, level: str = "info") -> tuple[io.StringIO, logging.Logger]:
    stream = io.StringIO()
    logs.configure(level, log_format, stream)
    return stream, logging.getLogger("amqbroker.test")


def test_text_is_time_level_logger_message_and_fields() -> None:
    stream, logger = configured("text")
    logger.info("client %s", "connected", extra={"peer": "127.0.0.1:1", "user": "ann b", "n": 0})
    assert re.fullmatch(
        r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z INFO amqbroker\.test client connected"
        r' peer=127\.0\.0\.1:1 user="ann b" n=0\n',
        stream.getvalue(),
    )


def test_a_client_cannot_forge_a_line() -> None:
    stream, logger = configured("text")
    logger.info("hello\nworld", extra={"user": 'a\nb\x1b[2J\u2028 "x" \\', "empty": ""})
    line = stream.getvalue()
    assert line.splitlines() == [line.rstrip("\n")]
    assert r"hello\nworld" in line
    assert r'user="a\nb\x1b[2J\u2028 \"x\" \\"' in line
    assert 'empty=""' in line


def test_a_traceback_stays_on_the_line() -> None:
    stream, logger = configured("text")
    try:
        raise ValueError("no")
    except ValueError:
        logger.exception("failed")
    line = stream.getvalue()
    assert line.count("\n") == 1
    assert "ValueError: no" in line


def test_json_has_the_same_facts() -> None:
    stream, logger = configured("json")
    logger.warning("client connected", extra={"peer": "127.0.0.1:1", "channels": 3})
    event = json.loads(stream.getvalue())
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", event.pop("time"))
    assert event == {
        "level": "WARNING",
        "logger": "amqbroker.test",
        "message": "client connected",
        "peer": "127.0.0.1:1",
        "channels": 3,
    }


def test_json_carries_a_traceback() -> None:
    stream, logger = configured("json")
    try:
        raise ValueError("no")
    except ValueError:
        logger.exception("failed")
    assert "ValueError: no" in json.loads(stream.getvalue())["error"]


@pytest.mark.parametrize(
    ("level", "seen"), [("debug", 4), ("info", 3), ("warning", 2), ("error", 1)]
)
def test_the_level_decides_what_is_seen(level: str, seen: int) -> None:
    stream, logger = configured("text", level)
    for number in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR):
        logger.log(number, "event")
    assert len(stream.getvalue().splitlines()) == seen


def test_configuring_again_replaces_the_first_stream() -> None:
    first, _ = configured("text")
    second, logger = configured("text")
    logger.info("event")
    assert first.getvalue() == ""
    assert second.getvalue() != ""
