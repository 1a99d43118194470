"""What a test client receives: messages with their content, methods in words, closes to check."""

from __future__ import annotations

from pamqp import base, commands
from pamqp.common import FieldTable


class Message:
    """A delivery, an answer to `basic.get` or a returned message, with its content."""

    __slots__ = ("body", "body_frames", "method", "properties")

    def __init__(
        self,
        method: base.Frame,
        properties: commands.Basic.Properties,
        data: bytes,
        body_frames: int,
    ) -> None:
        self.method = method
        self.properties = properties
        self.body = data
        self.body_frames = body_frames

    @property
    def tag(self) -> int:
        """The delivery tag."""
        tag = self.method.delivery_tag  # type: ignore[attr-defined]
        assert isinstance(tag, int)
        return tag

    @property
    def routing_key(self) -> str:
        """The routing key that it came with."""
        return str(self.method.routing_key)  # type: ignore[attr-defined]

    @property
    def redelivered(self) -> bool:
        """The redelivered flag."""
        return bool(self.method.redelivered)  # type: ignore[attr-defined]

    @property
    def headers(self) -> FieldTable:
        """The header table; empty when the message has none."""
        return self.properties.headers or {}

    def __repr__(self) -> str:
        return f"<Message {show(self.method)} {self.body[:40]!r}>"


Item = base.Frame | Message


def show(item: object) -> str:
    """A frame or message in words, for failures."""
    if isinstance(item, base.Frame):
        return f"{item.name}({', '.join(f'{k}={v!r}' for k, v in item)})"
    return repr(item)


def check_close(
    close: commands.Connection.Close | commands.Channel.Close,
    code: int,
    text: str | None,
    method: type[base.Frame] | None,
) -> None:
    """Check the code of a close and, where given, its whole text and the method it blames."""
    assert close.reply_code == code, f"expected {code}, got {show(close)}"
    if text is not None:
        assert close.reply_text == text, f"\nexpected {text}\ngot      {close.reply_text}"
    if method is not None:
        wanted = (method.index >> 16, method.index & 0xFFFF)
        assert (close.class_id, close.method_id) == wanted, f"expected {wanted}, got {show(close)}"
