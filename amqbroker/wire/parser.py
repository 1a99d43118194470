"""Bytes in, commands out: frames, content assembly, and the two hot methods decoded by hand.

`Parser.receive` never raises for what a peer sent. It returns the commands that were complete, in
order, and keeps the first error in `error`. After that only the close handshake is read, into
`after_error`; nothing at all if the error was in the framing (`lost`), as such a stream has no next
frame.

Each channel is in one of three states, held by its `Assembly`:

    METHOD_DUE --basic.publish--> HEADER_DUE --body size 0--> METHOD_DUE
                                  HEADER_DUE --body size n--> BODY_DUE --n octets--> METHOD_DUE

Frames of different channels may interleave freely; within a channel any other frame is 505.

basic.publish and basic.ack are read here with librt, everything else by wire/methods.py through
pamqp. A body in one frame is sliced once; one in many frames is joined once. The bytes of an
unfinished frame are kept as they came and joined when the frame is whole, so that a client that
sends octet by octet costs one copy, not one an octet.

Source: AMQP 0-9-1 section 4.2; RabbitMQ's `rabbit_command_assembler`, `rabbit_reader`.
"""

from __future__ import annotations

from typing import Final, final

from librt.strings import read_i16_be, read_i32_be, read_i64_be
from mypy_extensions import i64

from amqbroker.errors import (
    AmqpError,
    channel_error,
    frame_error,
    syntax_error,
    unexpected_frame,
)
from amqbroker.message import Message
from amqbroker.wire import frames
from amqbroker.wire.commands import Ack, Method
from amqbroker.wire.methods import decode_method
from amqbroker.wire.properties import check_properties

METHOD_DUE: Final = 0
HEADER_DUE: Final = 1
BODY_DUE: Final = 2

# class, method and ticket before the first argument of basic.publish.
PUBLISH_ADDRESS: Final = 6
HEADER_SIZE_MIN: Final = 14
ACK_SIZE: Final = 13
LARGE_FRAME_BYTES: Final = 16_384
# Octets of a frame that an error text shows.
SNIPPET_SIZE: Final = 16


@final
class Assembly:
    """The message that one channel is in the middle of."""

    __slots__ = (
        "address",
        "bits",
        "channel",
        "discard",
        "header",
        "parts",
        "persistent",
        "remaining",
        "state",
    )

    def __init__(self, channel: i64) -> None:
        self.channel: i64 = channel
        self.state: i64 = METHOD_DUE
        self.address = b""
        self.bits: i64 = 0
        self.header = b""
        self.persistent = False
        self.remaining: i64 = 0
        self.parts: list[bytes] = []
        # The body is larger than the broker takes: it is counted, not kept.
        self.discard = False


@final
class Parser:
    """The receiving half of one connection, after the protocol header."""

    __slots__ = (
        "_assemblies",
        "_assembly",
        "_commands",
        "_needed",
        "_parts",
        "_parts_size",
        "after_error",
        "error",
        "lost",
        "message_size_max",
        "payload_size_max",
    )

    def __init__(self, frame_size_max: int, message_size_max: int) -> None:
        self.error: AmqpError | None = None
        self.after_error: list[object] = []
        self.lost = False
        self.payload_size_max: i64 = 0
        self.message_size_max: i64 = message_size_max
        self.limit_frames(frame_size_max)
        self._assembly = Assembly(0)
        self._assemblies: dict[int, Assembly] = {0: self._assembly}
        self._commands: list[object] = []
        # An unfinished frame: its bytes as they came, and how many there must be before it is worth
        # a look.
        self._parts: list[bytes] = []
        self._parts_size: i64 = 0
        self._needed: i64 = 0

    def limit_frames(self, frame_size_max: int) -> None:
        """Set the negotiated frame size, overhead included; 0 means no limit."""
        self.payload_size_max = frame_size_max - frames.OVERHEAD if frame_size_max else 0x7FFFFFFF

    def awaits_large_frame(self) -> bool:
        """Whether the rest of a large frame is due: then it pays to read more at once."""
        return self._needed >= LARGE_FRAME_BYTES and self._parts_size > 0

    def unfinished_bytes(self) -> i64:
        """What is kept of a frame and of contents that are not whole yet."""
        size = self._parts_size
        for assembly in self._assemblies.values():
            for part in assembly.parts:
                size += len(part)
        return size

    def forget_channel(self, channel: i64) -> None:
        """The channel was closed or reopened: whatever it was in the middle of is gone."""
        known = self._assemblies.get(channel)
        if known is not None:
            known.state = METHOD_DUE
            known.parts = []
            if channel != 0 and known is not self._assembly:
                del self._assemblies[channel]

    def receive(self, data: bytes) -> list[object]:
        """The commands that these bytes complete: `Message`, `Ack` and `Method` objects, in order
        of arrival.

        Heartbeats leave no trace: any bytes show that the peer lives. Look at `error` afterwards.
        """
        if self.lost:
            return []
        commands: list[object] = []
        self._commands = commands
        try:
            start = self._finish_frame(data)
            if start < len(data):
                self._scan(data, start)
        except AmqpError as error:
            self.lost = True
            if self.error is None:
                self.error = error
        return commands

    def _finish_frame(self, data: bytes) -> i64:
        """Complete the unfinished frame, if there is one, with what it lacks; where in `data` the
        next one begins.

        Only these bytes are joined: a read may hold many more frames.
        """
        start: i64 = 0
        size: i64 = len(data)
        while self._parts_size > 0:
            end: i64 = start + self._needed - self._parts_size
            if end > size:
                if start < size:
                    self._parts.append(data[start:] if start > 0 else data)
                    self._parts_size += size - start
                return size
            self._parts.append(data[start:end])
            start = end
            frame = b"".join(self._parts)
            self._parts = []
            self._parts_size = 0
            # Seven octets only tell how many there must be: then the frame is kept again.
            self._scan(frame, 0)
        return start

    def _scan(self, data: bytes, position: i64) -> None:
        """Read every whole frame from `position` on, keep the rest."""
        size: i64 = len(data)
        needed: i64 = frames.PREFIX_SIZE
        while size - position >= frames.PREFIX_SIZE:
            length: i64 = i64(read_i32_be(data, position + 3)) & 0xFFFFFFFF
            if length > self.payload_size_max + frames.SIZE_LENIENCY:
                raise self._frame_too_large(data[position], length)
            end: i64 = position + frames.PREFIX_SIZE + length
            if end >= size:
                needed = length + frames.OVERHEAD
                break
            if data[end] != frames.END:
                raise bad_frame(
                    data[position],
                    data[position + 7 : end],
                    f"{{invalid_frame_end_marker,{data[end]}}}",
                )
            if self.error is not None:
                self._frame_after_error(data, position, end)
                if self.lost:
                    return
            else:
                try:
                    self._frame(data, position, end)
                except AmqpError as error:
                    self.error = error
            position = end + 1
        if position < size:
            rest = data if position == 0 else data[position:]
            self._parts.append(rest)
            self._parts_size = len(rest)
            self._needed = needed

    def _frame(self, data: bytes, position: i64, end: i64) -> None:
        kind: i64 = data[position]
        channel: i64 = i64(read_i16_be(data, position + 1)) & 0xFFFF
        assembly = self._assembly
        if assembly.channel != channel:
            assembly = self._switch(channel)
        start: i64 = position + frames.PREFIX_SIZE
        if kind == frames.METHOD:
            if assembly.state != METHOD_DUE:
                raise expected_content(assembly)
            self._method(assembly, data, start, end)
        elif kind == frames.HEADER:
            if channel == 0:
                raise unexpected_frame(f"type {kind}, {snippet(data[start:end])}")
            if assembly.state == METHOD_DUE:
                raise unexpected_frame("expected method frame, got non method frame instead")
            if assembly.state == BODY_DUE:
                raise expected_content(assembly)
            self._header(assembly, data, start, end)
        elif kind == frames.BODY:
            if channel == 0:
                raise unexpected_frame(f"type {kind}, {snippet(data[start:end])}")
            if assembly.state == METHOD_DUE:
                raise unexpected_frame("expected method frame, got non method frame instead")
            if assembly.state == HEADER_DUE:
                raise expected_content(assembly)
            self._body(assembly, data, start, end)
        elif kind == frames.HEARTBEAT:
            if channel != 0:
                raise unexpected_frame(f"type {kind}, {snippet(data[start:end])}")
            if start != end:
                raise bad_frame(kind, data[start:end], "unknown_frame")
        else:
            raise bad_frame(kind, data[start:end], "unknown_frame")

    def _frame_after_error(self, data: bytes, position: i64, end: i64) -> None:
        """The connection is being closed: only the close handshake counts."""
        start: i64 = position + frames.PREFIX_SIZE
        if data[position] != frames.METHOD or end - start < 4:
            return
        method: i64 = i64(read_i32_be(data, start))
        if method == frames.CONNECTION_CLOSE or method == frames.CONNECTION_CLOSE_OK:
            try:
                self.after_error.append(Method(0, decode_method(data[start:end])))
            except AmqpError:
                # A close that cannot be read is still a close.
                self.lost = True

    def _switch(self, channel: i64) -> Assembly:
        """The assembly of another channel than the last frame's."""
        found = self._assemblies.get(channel)
        if found is None:
            found = Assembly(channel)
            self._assemblies[channel] = found
        self._assembly = found
        return found

    def _method(self, assembly: Assembly, data: bytes, start: i64, end: i64) -> None:
        if end - start < 4:
            raise syntax_error(f"method frame of {end - start} octets has no class and method")
        method: i64 = i64(read_i32_be(data, start))
        if method == frames.BASIC_PUBLISH:
            if assembly.channel == 0:
                raise of_publish(channel_error("unexpected method in connection state running"))
            self._publish(assembly, data, start, end)
        elif method == frames.BASIC_ACK:
            if end - start != ACK_SIZE:
                raise syntax_error(f"basic.ack of {end - start} octets instead of {ACK_SIZE}")
            multiple = data[start + 12] & 1 != 0
            self._commands.append(Ack(assembly.channel, read_i64_be(data, start + 4), multiple))
        else:
            self._commands.append(Method(assembly.channel, decode_method(data[start:end])))

    def _publish(self, assembly: Assembly, data: bytes, start: i64, end: i64) -> None:
        """basic.publish: ticket, exchange, routing key, bits.

        The two strings stay one slice, the address.
        """
        address: i64 = start + PUBLISH_ADDRESS
        if address >= end:
            raise syntax_error("basic.publish is cut short")
        routing_key: i64 = address + 1 + i64(data[address])
        if routing_key >= end:
            raise syntax_error("basic.publish is cut short in its exchange")
        bits: i64 = routing_key + 1 + i64(data[routing_key])
        if bits + 1 != end:
            raise syntax_error("basic.publish has a routing key of another length than it says")
        assembly.address = data[address:bits]
        assembly.bits = data[bits]
        assembly.state = HEADER_DUE

    def _header(self, assembly: Assembly, data: bytes, start: i64, end: i64) -> None:
        if end - start < HEADER_SIZE_MIN:
            raise syntax_error(f"content header of {end - start} octets")
        class_id: i64 = i64(read_i16_be(data, start)) & 0xFFFF
        if class_id != frames.CLASS_BASIC:
            raise of_publish(
                unexpected_frame(
                    f"expected content header for class {frames.CLASS_BASIC}, "
                    f"got one for class {class_id} instead"
                )
            )
        if read_i16_be(data, start + 2) != 0:
            raise expected_content(assembly)
        body_size = read_i64_be(data, start + 4)
        if body_size < 0 or body_size > frames.BODY_SIZE_MAX:
            raise frame_error(
                f"content body size {unsigned(body_size)} exceeds maximum allowed size "
                f"{frames.BODY_SIZE_MAX}"
            )
        header = data[start:end]
        assembly.persistent = check_properties(header)
        assembly.header = header
        assembly.discard = body_size > self.message_size_max
        if body_size == 0:
            self._complete(assembly, b"")
        else:
            assembly.remaining = body_size
            assembly.state = BODY_DUE

    def _body(self, assembly: Assembly, data: bytes, start: i64, end: i64) -> None:
        length: i64 = end - start
        if length > assembly.remaining:
            raise frame_error("content body frame exceeds remaining content size")
        if length == assembly.remaining and not assembly.parts:
            self._complete(assembly, b"" if assembly.discard else data[start:end])
            return
        assembly.remaining -= length
        if not assembly.discard:
            assembly.parts.append(data[start:end])
        if assembly.remaining == 0:
            body = b"".join(assembly.parts)
            assembly.parts = []
            self._complete(assembly, body)

    def _complete(self, assembly: Assembly, body: bytes) -> None:
        assembly.state = METHOD_DUE
        self._commands.append(
            Message(
                assembly.channel,
                assembly.address,
                assembly.bits,
                assembly.header,
                body,
                assembly.persistent,
            )
        )

    def _frame_too_large(self, kind: int, length: i64) -> AmqpError:
        return frame_error(
            f"type {kind}, all octets = <<>>: {{frame_too_large,{length},{self.payload_size_max}}}"
        )


def unsigned(value: i64) -> int:
    """A 64-bit number that was read as signed."""
    return int(value) & 0xFFFFFFFFFFFFFFFF


def expected_content(assembly: Assembly) -> AmqpError:
    """505 for a frame that breaks into a message, in RabbitMQ's words."""
    text = "expected content body, got non content body frame instead"
    if assembly.state == HEADER_DUE:
        text = (
            f"expected content header for class {frames.CLASS_BASIC}, "
            "got non content header frame instead"
        )
    return of_publish(unexpected_frame(text))


def of_publish(error: AmqpError) -> AmqpError:
    """Name basic.publish as the method to blame."""
    error.class_id = frames.CLASS_BASIC
    error.method_id = frames.BASIC_PUBLISH & 0xFFFF
    return error


def bad_frame(kind: int, payload: bytes, reason: str) -> AmqpError:
    """501 with the first octets of the frame."""
    return frame_error(f"type {kind}, {snippet(payload)}: {reason}")


def snippet(payload: bytes) -> str:
    """The first octets of a frame, as RabbitMQ prints them: as text if all can be printed."""
    which = "all" if len(payload) <= SNIPPET_SIZE else f"first {SNIPPET_SIZE}"
    first = payload[:SNIPPET_SIZE]
    octets = ",".join(str(octet) for octet in first)
    if first and all(32 <= octet <= 126 and octet not in b'"\\' for octet in first):
        octets = f'"{first.decode()}"'
    return f"{which} octets = <<{octets}>>"
