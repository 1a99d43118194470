"""Hypothesis strategies: field values, property sets, method frames, whole conversations."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from itertools import pairwise
from typing import Final

from hypothesis import strategies as st
from pamqp import body, commands, frame, header, heartbeat
from pamqp.base import Frame
from pamqp.common import FieldTable, FieldValue

from amqbroker.wire import methods

CHANNELS: Final = st.integers(1, 65535) | st.integers(1, 3)

names = st.text(max_size=60).filter(lambda text: len(text.encode()) <= 120)
keys = st.text(max_size=25).filter(lambda text: len(text.encode()) <= 100)
datetimes = st.integers(0, 4_294_967_295).map(lambda seconds: datetime.fromtimestamp(seconds, UTC))
decimals = st.builds(
    lambda mantissa, scale: Decimal(mantissa).scaleb(-scale),
    st.integers(-(2**31), 2**31 - 1),
    st.integers(0, 20),
)
# What pamqp can write as well: floats of 32 bits, no octets that are not text.
plain_values: st.SearchStrategy[FieldValue] = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(width=32, allow_nan=False)
    | names
    | datetimes
    | decimals
    | st.binary(max_size=20).map(bytearray)
)
pamqp_values: st.SearchStrategy[FieldValue] = st.recursive(
    plain_values,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=10,
)
pamqp_tables: st.SearchStrategy[FieldTable] = st.dictionaries(keys, pamqp_values, max_size=5)


def _not_text(octets: bytes) -> bool:
    try:
        octets.decode()
    except UnicodeDecodeError:
        return True
    return False


all_values: st.SearchStrategy[FieldValue] = st.recursive(
    plain_values
    | st.floats(allow_nan=False)
    | st.integers(2**63, 2**64 - 1)
    | st.binary(min_size=1, max_size=20).filter(_not_text),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=10,
)
all_tables: st.SearchStrategy[FieldTable] = st.dictionaries(
    st.text(max_size=255).filter(lambda text: len(text.encode()) <= 255), all_values, max_size=5
)

_BY_KIND: Final[dict[str, st.SearchStrategy[object]]] = {
    "octet": st.integers(0, 255),
    "short": st.integers(0, 65535),
    "long": st.integers(0, 2**32 - 1),
    "longlong": st.integers(0, 2**63 - 1),
    "bit": st.booleans(),
    "shortstr": names,
    "longstr": st.text(max_size=300),
    "table": pamqp_tables,
}


def _frame_of(frame_class: type[Frame]) -> st.SearchStrategy[Frame]:
    names_of = list(frame_class.attributes())

    def build(values: tuple[object, ...]) -> Frame:
        made = frame_class.__new__(frame_class)
        for name, value in zip(names_of, values, strict=True):
            setattr(made, name, value)
        return made

    return st.tuples(*(_BY_KIND[frame_class.amqp_type(name)] for name in names_of)).map(build)


# basic.publish needs content; access.request is unknown to pamqp.
METHOD_CLASSES: Final = tuple(
    each
    for each in methods.ALL
    if each
    not in (methods.BasicPublish, methods.BasicAck, methods.AccessRequest, methods.AccessRequestOk)
)
method_frames: st.SearchStrategy[Frame] = st.sampled_from(METHOD_CLASSES).flatmap(_frame_of)

properties = st.builds(
    commands.Basic.Properties,
    content_type=st.none() | names,
    content_encoding=st.none() | names,
    headers=st.none() | pamqp_tables.filter(bool),
    delivery_mode=st.sampled_from([None, 1, 2]),
    priority=st.none() | st.integers(0, 255),
    correlation_id=st.none() | names,
    reply_to=st.none() | names,
    expiration=st.none() | names,
    message_id=st.none() | names,
    timestamp=st.none() | datetimes,
    message_type=st.none() | names,
    user_id=st.none() | names,
    app_id=st.none() | names,
)


def values_of(made: Frame) -> dict[str, object]:
    """A frame's arguments by name."""
    return {name: getattr(made, name) for name in made.attributes()}


@st.composite
def publishes(draw: st.DrawFn, channel: int) -> list[bytes]:
    """The frames of one basic.publish, marshalled by pamqp, the body in any pieces."""
    octets = draw(st.binary(max_size=200))
    publish = methods.BasicPublish(
        exchange=draw(names),
        routing_key=draw(names),
        mandatory=draw(st.booleans()),
        immediate=draw(st.booleans()),
    )
    content = header.ContentHeader(body_size=len(octets), properties=draw(properties))
    frames = [frame.marshal(publish, channel), frame.marshal(content, channel)]
    cuts = draw(st.lists(st.integers(0, len(octets)), max_size=3)) if octets else []
    bounds = sorted({0, len(octets), *cuts})
    for start, end in pairwise(bounds):
        frames.append(frame.marshal(body.ContentBody(octets[start:end]), channel))
    return frames


@st.composite
def _commands(draw: st.DrawFn, channel: int) -> list[bytes]:
    """The frames of one command on a channel."""
    kind = draw(st.integers(0, 3))
    if kind == 0:
        return draw(publishes(channel))
    if kind == 1:
        ack = methods.BasicAck(draw(st.integers(0, 2**63 - 1)), draw(st.booleans()))
        return [frame.marshal(ack, channel)]
    if kind == 2:
        return [frame.marshal(heartbeat.Heartbeat(), 0)]
    return [frame.marshal(draw(method_frames), channel)]


@st.composite
def conversations(draw: st.DrawFn) -> bytes:
    """Commands of a few channels, their frames interleaved."""
    channels = draw(st.lists(CHANNELS, min_size=1, max_size=3, unique=True))
    lanes = [
        [each for command in draw(st.lists(_commands(channel), max_size=4)) for each in command]
        for channel in channels
    ]
    stream = []
    while any(lanes):
        lane = draw(st.sampled_from([lane for lane in lanes if lane]))
        stream.append(lane.pop(0))
    return b"".join(stream)


@st.composite
def chunked(draw: st.DrawFn, stream: bytes) -> list[bytes]:
    """The stream in pieces: any cuts, or single octets."""
    if draw(st.booleans()) or len(stream) < 2:
        cuts = draw(st.lists(st.integers(0, len(stream)), max_size=12))
        bounds = sorted({0, len(stream), *cuts})
    else:
        bounds = list(range(len(stream) + 1))
    return [stream[start:end] for start, end in pairwise(bounds)]
