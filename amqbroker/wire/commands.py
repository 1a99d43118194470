"""What the parser hands to the broker: one object a command, in the order of arrival.

A `Message` (amqbroker.message) is a basic.publish with its whole content, `Ack` is basic.ack, and
everything else is a `Method` with pamqp's own frame object; wire/methods.py lists their names.
"""

from __future__ import annotations

from typing import final

from mypy_extensions import i64
from pamqp.base import Frame


@final
class Ack:
    """basic.ack."""

    __slots__ = ("channel", "delivery_tag", "multiple")

    def __init__(self, channel: i64, delivery_tag: i64, multiple: bool) -> None:
        self.channel: i64 = channel
        self.delivery_tag: i64 = delivery_tag
        self.multiple = multiple


@final
class Method:
    """Any other method, decoded by pamqp."""

    __slots__ = ("channel", "frame")

    def __init__(self, channel: i64, frame: Frame) -> None:
        self.channel: i64 = channel
        self.frame = frame
