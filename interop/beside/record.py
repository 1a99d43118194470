"""What a scenario's clients saw, as lines that can be compared.

Lines are kept by stream: the answers of one channel are one, its deliveries and returns another,
for the order between the two is the broker's to choose. What differs from run to run is written
the same way each time: made-up names, the run's own prefix of names, the virtual host, the time.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

from pika import spec

from interop.beside import tables

_BODY_CHARS: Final = 60
_MADE_UP: Final = re.compile(r"(amq\.gen-|amq\.ctag-)[A-Za-z0-9_-]{22}(?![A-Za-z0-9_-])")
#: 3.10 does not say which access it is that it refuses; later ones do.
_ACCESS: Final = re.compile(r"(?:configure|write|read) (access to )")
#: Headers that dead letters have since 3.13.
_LAST_DEATH: Final = re.compile(r", x-last-death-(?:exchange|queue|reason)=S:[^,}]*")
#: Headers of the firehose that tell where it comes from.
_WHERE: Final = re.compile(r"\b(connection|node)=S:[^,}]*")
_REPLY_TO: Final = re.compile(r"(amq\.rabbitmq\.reply-to)\.[A-Za-z0-9_.=+/-]+")


class Record:
    """The lines of one scenario on one broker."""

    def __init__(self, prefix: str, vhost: str) -> None:
        self.streams: dict[str, list[str]] = {}
        #: What all names of streams begin with from now on: a walk's step.
        self.chapter = ""
        self._prefix = prefix
        self._vhost = f"vhost '{vhost}'"

    def add(self, stream: str, text: str) -> None:
        """One more line, once what is accidental has been taken out of it."""
        text = text.replace(self._prefix, "").replace(self._vhost, "vhost '/'")
        text = _ACCESS.sub(r"\1", _MADE_UP.sub(r"\1?", _LAST_DEATH.sub("", text)))
        # Which of two alarms came first is known to RabbitMQ alone.
        text = text.replace("low on disk & memory", "low on memory & disk")
        text = _WHERE.sub(r"\1=S:?", text)
        self.streams.setdefault(self.chapter + stream, []).append(_REPLY_TO.sub(r"\1.?", text))

    def lines(self) -> list[str]:
        """All lines, stream by stream."""
        return [f"{name}: {line}" for name in sorted(self.streams) for line in self.streams[name]]


Recorder = Callable[[str, str], None]
"""What a client calls with a stream and a line."""


def describe(method: Any) -> str:
    """A method and its fields, in the order of the specification."""
    fields = " ".join(f"{name}={value!r}" for name, value in vars(method).items())
    return f"{method.NAME} {fields}".rstrip()


def describe_content(method: Any, header: bytes, body: bytes) -> str:
    """A method, the properties of its content as they are on the wire, and its body."""
    text = body[:_BODY_CHARS].decode(errors="backslashreplace")
    if len(body) > _BODY_CHARS:
        text += f"... of {len(body)}, checksum {sum(body)}"
    return f"{describe(method)} {_properties(header)} body={text!r}"


def _properties(header: bytes) -> str:
    """The properties that are set, by name; `header` is the payload of a content header frame."""
    properties = spec.BasicProperties()
    properties.decode(header[12:])
    values = {name: repr(value) for name, value in vars(properties).items() if value is not None}
    if "headers" in values:
        values["headers"] = tables.render(header[_headers_at(header) :])
    return " ".join(f"{name}={value}" for name, value in values.items())


def _headers_at(header: bytes) -> int:
    """Where the headers' table begins: after the flags and two optional short strings."""
    flags = int.from_bytes(header[12:14], "big")
    offset = 14
    for bit in (15, 14):
        if flags & (1 << bit):
            offset += 1 + header[offset]
    return offset
