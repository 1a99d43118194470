"""Logging: one line an event on standard error, as text or as JSON.

Everything is logged below the logger `amqbroker`; facts travel in `extra`, not in the message:

    logger.info("client connected", extra={"peer": "10.0.0.1:40000", "user": "ann"})

Text that clients choose (names, reasons) reaches the log, so control characters are escaped: one
event is one line, whatever a client calls itself.
"""

from __future__ import annotations

import logging
import sys
import time
from typing import Final, TextIO

ROOT_LOGGER: Final = "amqbroker"

# What a LogRecord has of its own; anything else came in `extra`.
_OWN_ATTRIBUTES: Final = frozenset(
    logging.LogRecord("", 0, "", 0, "", (), None).__dict__.keys()
    | {"asctime", "message", "taskName"}
)
_ESCAPES: Final = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160))} | {
    0x0A: "\\n",
    0x0D: "\\r",
    0x09: "\\t",
    0x2028: "\\u2028",
    0x2029: "\\u2029",
}


def configure(level: str, log_format: str, stream: TextIO | None = None) -> None:
    """Send the broker's log to `stream` (standard error), replacing what was configured before.

    `level` and `log_format` are those of the configuration: debug, info, warning, error; text,
    json.
    """
    handler = logging.StreamHandler(sys.stderr if stream is None else stream)
    handler.setFormatter(_json_formatter() if log_format == "json" else TextFormatter())
    logger = logging.getLogger(ROOT_LOGGER)
    logger.handlers[:] = [handler]
    set_level(level)
    logger.propagate = False


def set_level(level: str) -> None:
    """Log this and what is worse from now on."""
    logging.getLogger(ROOT_LOGGER).setLevel(level.upper())


class TextFormatter(logging.Formatter):
    """`2026-01-31T12:00:00.000Z INFO amqbroker.server client connected peer=10.0.0.1:40000`."""

    def format(self, record: logging.LogRecord) -> str:
        """One event as one line; a traceback stands on it too, with its line ends escaped."""
        words = [
            _timestamp(record.created),
            record.levelname,
            record.name,
            record.getMessage().translate(_ESCAPES),
        ]
        words += [
            f"{key}={_quoted(value)}"
            for key, value in record.__dict__.items()
            if key not in _OWN_ATTRIBUTES
        ]
        if record.exc_info:
            words.append(f"error={_quoted(self.formatException(record.exc_info))}")
        return " ".join(words)


def _timestamp(created: float) -> str:
    milliseconds = int(created * 1000)
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(milliseconds // 1000))
    return f"{whole}.{milliseconds % 1000:03d}Z"


def _quoted(value: object) -> str:
    text = str(value)
    if text and not any(character in text for character in ' ="\\\t\n\r'):
        return text.translate(_ESCAPES)
    text = text.replace("\\", "\\\\").replace('"', '\\"').translate(_ESCAPES)
    return f'"{text}"'


def _json_formatter() -> logging.Formatter:
    # Only here, so that nobody pays for what is not asked for.
    from pythonjsonlogger.json import JsonFormatter

    class Formatter(JsonFormatter):
        """The same events as JSON objects: time, level, logger, message, and the extra fields."""

        def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:
            return _timestamp(record.created)

    return Formatter(
        "%(asctime)s %(levelname)s %(name)s %(message)s",
        rename_fields={
            "asctime": "time",
            "levelname": "level",
            "name": "logger",
            "exc_info": "error",
        },
    )
