"""Reply codes of AMQP 0-9-1 and the two exceptions that carry them.

A peer's mistake is a `ChannelException` (closes the channel) or a `ConnectionException` (closes the
connection); both are raised anywhere in the pure floors and caught in one place, `Client.receive`,
which answers with the close method. Which codes are soft and which are hard follows RabbitMQ's
table, not the caller's wish: the constructors below are the only way the broker raises them.

Source: AMQP 0-9-1 section 1.1 (constants), RabbitMQ's `rabbit_framing_amqp_0_9_1`.
"""

from __future__ import annotations

from typing import Final

REPLY_SUCCESS: Final = 200
CONTENT_TOO_LARGE: Final = 311
NO_ROUTE: Final = 312
NO_CONSUMERS: Final = 313
CONNECTION_FORCED: Final = 320
INVALID_PATH: Final = 402
ACCESS_REFUSED: Final = 403
NOT_FOUND: Final = 404
RESOURCE_LOCKED: Final = 405
PRECONDITION_FAILED: Final = 406
FRAME_ERROR: Final = 501
SYNTAX_ERROR: Final = 502
COMMAND_INVALID: Final = 503
CHANNEL_ERROR: Final = 504
UNEXPECTED_FRAME: Final = 505
RESOURCE_ERROR: Final = 506
NOT_ALLOWED: Final = 530
NOT_IMPLEMENTED: Final = 540
INTERNAL_ERROR: Final = 541

REPLY_NAMES: Final[dict[int, str]] = {
    CONTENT_TOO_LARGE: "CONTENT_TOO_LARGE",
    NO_ROUTE: "NO_ROUTE",
    NO_CONSUMERS: "NO_CONSUMERS",
    CONNECTION_FORCED: "CONNECTION_FORCED",
    INVALID_PATH: "INVALID_PATH",
    ACCESS_REFUSED: "ACCESS_REFUSED",
    NOT_FOUND: "NOT_FOUND",
    RESOURCE_LOCKED: "RESOURCE_LOCKED",
    PRECONDITION_FAILED: "PRECONDITION_FAILED",
    FRAME_ERROR: "FRAME_ERROR",
    SYNTAX_ERROR: "SYNTAX_ERROR",
    COMMAND_INVALID: "COMMAND_INVALID",
    CHANNEL_ERROR: "CHANNEL_ERROR",
    UNEXPECTED_FRAME: "UNEXPECTED_FRAME",
    RESOURCE_ERROR: "RESOURCE_ERROR",
    NOT_ALLOWED: "NOT_ALLOWED",
    NOT_IMPLEMENTED: "NOT_IMPLEMENTED",
    INTERNAL_ERROR: "INTERNAL_ERROR",
}

# A short string holds 255 bytes; RabbitMQ cuts at 252 and says so with three dots.
REPLY_TEXT_BYTES_MAX: Final = 255


class AmqpError(Exception):
    """A peer's mistake: what to answer with.

    `class_id` and `method_id` are 0 where no method is to blame.
    """

    def __init__(self, code: int, explanation: str, class_id: int = 0, method_id: int = 0) -> None:
        super().__init__(code, explanation)
        self.code = code
        self.explanation = explanation
        self.class_id = class_id
        self.method_id = method_id

    @property
    def reply_text(self) -> str:
        """The close method's text: `NAME - explanation`, at most 255 bytes of UTF-8."""
        return reply_text(self.code, self.explanation)


class ChannelException(AmqpError):
    """Closes the channel; the connection lives on."""


class ConnectionException(AmqpError):
    """Closes the connection."""


def reply_text(code: int, explanation: str) -> str:
    """`NAME - explanation`, cut to 255 bytes with RabbitMQ's three dots."""
    # A routing key that is not UTF-8 shows its bad octets as question marks.
    raw = f"{REPLY_NAMES[code]} - {explanation}".encode(errors="replace")
    if len(raw) <= REPLY_TEXT_BYTES_MAX:
        return raw.decode()
    return raw[: REPLY_TEXT_BYTES_MAX - 3].decode(errors="ignore") + "..."


def access_refused(explanation: str) -> ChannelException:
    """403: permissions, reserved names, exclusive consumers, internal exchanges."""
    return ChannelException(ACCESS_REFUSED, explanation)


def not_found(explanation: str) -> ChannelException:
    """404: no such queue or exchange."""
    return ChannelException(NOT_FOUND, explanation)


def resource_locked(explanation: str) -> ChannelException:
    """405: another connection's exclusive queue."""
    return ChannelException(RESOURCE_LOCKED, explanation)


def precondition_failed(explanation: str) -> ChannelException:
    """406: inequivalent or bad arguments, unknown delivery tags, in use, not empty."""
    return ChannelException(PRECONDITION_FAILED, explanation)


def broken_journal() -> ConnectionException:
    """541: the disk failed, so that nothing will be durable any more."""
    return ConnectionException(
        INTERNAL_ERROR, "the broker's disk failed: nothing can be made durable, see its log"
    )


def frame_error(explanation: str) -> ConnectionException:
    """501: a frame that cannot be read."""
    return ConnectionException(FRAME_ERROR, explanation)


def syntax_error(explanation: str) -> ConnectionException:
    """502: method fields that cannot be read."""
    return ConnectionException(SYNTAX_ERROR, explanation)


def command_invalid(explanation: str) -> ConnectionException:
    """503: an unknown method."""
    return ConnectionException(COMMAND_INVALID, explanation)


def channel_error(explanation: str) -> ConnectionException:
    """504: a channel that is not open or already is, a method in the wrong connection state."""
    return ConnectionException(CHANNEL_ERROR, explanation)


def unexpected_frame(explanation: str) -> ConnectionException:
    """505: method, header and body out of order."""
    return ConnectionException(UNEXPECTED_FRAME, explanation)


def not_allowed(explanation: str) -> ConnectionException:
    """530: virtual hosts, limits, tune values out of range, a consumer tag used twice."""
    return ConnectionException(NOT_ALLOWED, explanation)


def not_implemented(explanation: str) -> ConnectionException:
    """540: what RabbitMQ does not implement either."""
    return ConnectionException(NOT_IMPLEMENTED, explanation)


class DiskError(Exception):
    """The disk refused a write, a sync or a read: the world's fault, an input like any other."""


class DiskFullError(DiskError):
    """There is no room for a write. Nothing is lost by it, and it can be tried again."""
