"""The broker's side of one connection: its start, its channels, its end.

States: the handshake's own until it is RUNNING (wire/handshake.py); then running, closing (the
broker sent connection.close and waits for close-ok) and done (the edge sends what is left and
closes the socket).

The one place where a peer's mistake is caught: `receive` answers a ChannelException with
channel.close and a ConnectionException with connection.close. During the handshake nothing is sent
but 530 and, to clients that can take it, 403; any other mistake is met with silence and a closed
socket after 3 seconds.

Source: RabbitMQ's `rabbit_reader`.
"""

from __future__ import annotations

from typing import Final, final

from mypy_extensions import i64
from pamqp.base import Frame

from amqbroker.auth.certificates import TlsPeer
from amqbroker.auth.sasl import Credentials
from amqbroker.auth.users import NO_LIMIT, User
from amqbroker.core import connection_methods, log
from amqbroker.core.broker import Broker
from amqbroker.core.channel import Channel
from amqbroker.core.discard import DISCARDED_MAX
from amqbroker.core.handlers import HANDLERS
from amqbroker.core.heartbeat import Heartbeat
from amqbroker.core.publishing import publish
from amqbroker.core.queue import Queue
from amqbroker.core.settling import ack
from amqbroker.core.timers import Timer, TimerTarget
from amqbroker.core.vhost import VirtualHost
from amqbroker.errors import (
    CONNECTION_FORCED,
    NOT_ALLOWED,
    AmqpError,
    ChannelException,
    ConnectionException,
    channel_error,
    command_invalid,
    not_allowed,
    reply_text,
)
from amqbroker.message import Message
from amqbroker.wire import frames, handshake
from amqbroker.wire import methods as m
from amqbroker.wire.commands import Ack, Method
from amqbroker.wire.handshake import Handshake, Introduction
from amqbroker.wire.outbox import Outbox
from amqbroker.wire.parser import Parser

RUNNING: Final = 0
CLOSING: Final = 1
DONE: Final = 2

HANDSHAKE_TIMER: Final = 0
DROP_TIMER: Final = 1
EXPIRY_TIMER: Final = 2

# RabbitMQ's silence after a mistake in the handshake or a frame that cannot be read, and its
# patience for close-ok.
SILENT_CLOSE_S: Final = 3.0
CLOSE_OK_S_MAX: Final = 30.0
# What a client may send behind a method that waits for the journal, until it is not read any more.
DEFERRED_BYTES_MAX: Final = 1_048_576
# Both sides negotiated frames without a limit: bodies go out in one.
UNLIMITED_PAYLOAD: Final = 0x7FFFFFFF

PUBLISH_CLASS: Final = frames.BASIC_PUBLISH >> 16
PUBLISH_METHOD: Final = frames.BASIC_PUBLISH & 0xFFFF
ACK_METHOD: Final = frames.BASIC_ACK & 0xFFFF


@final
class Client(TimerTarget):
    """One connection."""

    def __init__(
        self,
        broker: Broker,
        connection_id: int,
        name: str,
        host: str,
        now: float,
        tls: TlsPeer | None = None,
    ) -> None:
        limits = broker.config.limits
        self.broker = broker
        self.id = connection_id
        # `address:port -> address:port`, as RabbitMQ names connections.
        self.name = name
        self.host = host
        self.tls = tls
        # When the certificate that logged the user in ends; 0 without one.
        self.credential_until = 0.0
        self.handshake = Handshake(broker.offer)
        self.introduction: Introduction | None = None
        # Until tune-ok, the smallest frame that a client may insist on is also the largest.
        self.parser = Parser(frames.FRAME_SIZE_MIN, limits.message_size_bytes_max)
        self.state = RUNNING
        self.user = User("", None, (), {})
        self.vhost_name = ""
        self.credentials: Credentials | None = None
        self.vhost: VirtualHost | None = None
        self.channels: dict[int, Channel] = {}
        # Channels that the broker closed: settlements that were under way then are no mistake.
        self._closed_channels: dict[int, bool] = {}
        self._channel: Channel | None = None
        self.exclusive_queues: dict[int, Queue] = {}
        # Commands that came while a password is being checked.
        self._held: list[object] = []
        self.output = Outbox(broker.grown)
        self.output_size_max: i64 = limits.outbox_bytes_max
        self.has_output = False
        # Consumers wait for room in the output buffer.
        self.awaits_room = False
        self.message_size_max: i64 = limits.message_size_bytes_max
        self.payload_size_max: i64 = frames.FRAME_SIZE_MIN - frames.OVERHEAD
        self.channel_max = limits.channel_max
        # What the channels keep until a reply that waits for the journal is sent.
        self.deferred_bytes: i64 = 0
        # An alarm stops the reading of connections that publish.
        self.reading_blocked = False
        self.publishes = False
        self.heartbeat_s = 0
        self._received_any = False
        self._heartbeat: Heartbeat | None = None
        # Why the connection ended, for the log, and whether that was said already.
        self.end = ""
        self.refused = False
        self._timer: Timer | None = broker.timers.set(
            now + limits.handshake_timeout_s - (0.0 if tls is None else tls.handshake_s),
            self,
            HANDSHAKE_TIMER,
        )

    def offer(self, mechanisms: list[str]) -> None:
        """Before the first byte: offer these SASL mechanisms and not the usual ones."""
        self.handshake = Handshake(self.broker.offer.with_mechanisms(mechanisms))

    # Output.

    def has_room(self) -> bool:
        """Whether the output buffer is below its limit."""
        return self.output.size() < self.output_size_max

    def consumer_blocked(self) -> None:
        """A consumer left its queue's line.

        If it was for want of room, it comes back when the output is taken.
        """
        if not self.has_room() and not self.awaits_room:
            self.awaits_room = True
            self.broker.awaiting_room += 1

    def mark_output(self) -> None:
        """There are bytes to send."""
        if not self.has_output:
            self.has_output = True
            self.broker.turn.outputs.append(self)

    def encode(self, channel: int, frame: Frame) -> bytes:
        """A method frame as bytes."""
        return m.encode_method(channel, frame)

    def send(self, channel: int, frame: Frame) -> None:
        """Write a method."""
        self.output.small.write(m.encode_method(channel, frame))
        self.mark_output()

    def send_bytes(self, data: bytes) -> None:
        """Write whole frames."""
        self.output.small.write(data)
        self.mark_output()

    def take_output(self) -> list[bytes]:
        """All that waits to be sent, in pieces.

        Consumers that waited for room go on in the next turn.
        """
        pieces = self.output.take()
        self.has_output = False
        if self._heartbeat is not None:
            self._heartbeat.sent_at = self.broker.now
        if self.awaits_room:
            self._room_came()
            for channel in self.channels.values():
                channel.unblock_consumers()
        return pieces

    def _room_came(self) -> None:
        if self.awaits_room:
            self.awaits_room = False
            self.broker.awaiting_room -= 1

    def must_pause(self) -> bool:
        """Whether reading must wait: an alarm, a client that does not read its answers, a password
        that is being checked, a slow disk, or dead letters that come faster than they go."""
        if self.state != RUNNING:
            return False
        if self.reading_blocked or self.output.size() > 2 * self.output_size_max:
            return True
        if self.credentials is not None or self.deferred_bytes > DEFERRED_BYTES_MAX:
            return True
        if not self.publishes:
            return False
        broker = self.broker
        return broker.is_disk_behind() or broker.turn.discarded > DISCARDED_MAX

    # Input.

    def receive(self, data: bytes) -> None:
        """Bytes from the peer. Raises nothing for what they are."""
        self._received_any = True
        if self._heartbeat is not None:
            self._heartbeat.received = True
        if self.state == DONE:
            return
        if self.handshake.state == handshake.HEADER_DUE:
            data = connection_methods.receive_header(self, data)
            if not data:
                return
        commands = self.parser.receive(data)
        if self.credentials is not None:
            self._held.extend(commands)
        else:
            self.run(commands)
        error = self.parser.error
        if error is not None and self.state == RUNNING:
            self._connection_error(error, SILENT_CLOSE_S if self.parser.lost else CLOSE_OK_S_MAX)
        if self.parser.after_error:
            after = self.parser.after_error
            self.parser.after_error = []
            self.run(after)

    def run(self, commands: list[object]) -> None:
        """Carry out commands in order; what comes after a login waits for the password. What a
        channel has kept came before a login that is under way already."""
        before = self.credentials
        for done, command in enumerate(commands, 1):
            try:
                self._handle(command)
            except ChannelException as error:
                self._soft_error(command, error)
            except AmqpError as hard:  # mypyc gives one name one type: not `error` again
                blame(hard, command)
                self._connection_error(hard, CLOSE_OK_S_MAX)
            if self.state == DONE:
                return
            if self.credentials is not before:
                self._held.extend(commands[done:])
                return

    def _handle(self, command: object) -> None:
        if isinstance(command, Message):
            channel = self._find_channel(command.channel, command)
            if channel is not None:
                if self.broker.alarm:
                    self._alarm_met()
                self.publishes = True
                publish(channel, command)
        elif isinstance(command, Ack):
            channel = self._find_channel(command.channel, command)
            if channel is not None:
                ack(channel, command)
        elif isinstance(command, Method):
            if command.channel == 0:
                connection_methods.handle(self, command.frame)
            else:
                self._channel_method(command)

    def _find_channel(self, number: i64, command: object) -> Channel | None:
        """The open channel that is to carry out this command now; None if nobody is.

        Raises 504 if there is no such channel, and for a command during a commit.
        """
        if self.state != RUNNING:
            return None
        channel = self._channel
        if channel is None or channel.number != number:
            channel = self.channels.get(number)
            if channel is None:
                if self.is_late(number, command):
                    return None
                raise channel_error("expected 'channel.open'")
            self._channel = channel
        if channel.closing:
            return None
        if channel.waiting_position != 0:
            if channel.committing:
                raise channel_error("unexpected command while processing 'tx.commit'")
            channel.defer(command)
            return None
        return channel

    def is_late(self, number: i64, command: object) -> bool:
        """Whether this settles deliveries of a channel that the broker has closed: dropped, as
        LavinMQ does."""
        if number not in self._closed_channels:
            return False
        if isinstance(command, Method):
            return isinstance(command.frame, (m.BasicNack, m.BasicReject))
        return isinstance(command, Ack)

    def _channel_method(self, command: Method) -> None:
        frame = command.frame
        number = int(command.channel)
        if self.handshake.state != handshake.RUNNING:
            raise self.handshake.out_of_order(frame)
        if isinstance(frame, m.ChannelOpen):
            self._open_channel(number)
            return
        known = self.channels.get(number)
        if known is not None and known.closing:
            self._closing_channel_method(known, frame)
            return
        channel = self._find_channel(command.channel, command)
        if channel is None:
            return
        if isinstance(frame, m.ChannelClose):
            self._forget_channel(channel)
            self.send(number, m.ChannelCloseOk())
            return
        handler = HANDLERS.get(type(frame))
        if handler is not None:
            handler(channel, frame)
        elif not isinstance(frame, (m.BasicCancelOk, m.ChannelCloseOk)):
            raise command_invalid("unimplemented method")

    def _open_channel(self, number: int) -> None:
        if self.state != RUNNING:
            return
        if number in self.channels:
            raise channel_error("second 'channel.open' seen")
        text = self._channel_limit()
        if text:
            # RabbitMQ blames no method for it.
            self._connection_error(not_allowed(text), CLOSE_OK_S_MAX)
            return
        assert self.vhost is not None
        self._closed_channels.pop(number, None)
        self.channels[number] = Channel(self, number, self.vhost)
        self.user.channels += 1
        self.broker.events.channel_created(self.channels[number])
        self.send(number, m.ChannelOpenOk())

    def _channel_limit(self) -> str:
        """Which limit one more channel would break; empty if none."""
        if self.channel_max and len(self.channels) >= self.channel_max:
            return (
                f"number of channels opened ({len(self.channels)}) has reached "
                f"the negotiated channel_max ({self.channel_max})"
            )
        user = self.user
        if user.max_channels != NO_LIMIT and user.channels >= user.max_channels:
            return (
                f"number of channels opened for user '{user.name}' has reached "
                f"the maximum allowed user limit of ({user.max_channels})"
            )
        return ""

    def _closing_channel_method(self, channel: Channel, frame: Frame) -> None:
        """After channel.close was sent: close-ok ends it, a close that crossed ours is answered,
        all else is late."""
        number = int(channel.number)
        if isinstance(frame, m.ChannelClose):
            self.send(number, m.ChannelCloseOk())
        elif isinstance(frame, m.ChannelCloseOk):
            self._forget_channel(channel)
            self._closed_channels[number] = True

    def _forget_channel(self, channel: Channel) -> None:
        del self.channels[int(channel.number)]
        self.user.channels -= 1
        if self._channel is channel:
            self._channel = None
        self.parser.forget_channel(channel.number)
        channel.tear_down()
        self.broker.events.channel_closed(channel)

    def resume(self, channel: Channel) -> None:
        """The journal has reached what a reply on this channel waited for: send it, and go on."""
        channel.waiting_position = 0
        channel.committing = False
        self.send_bytes(channel.waiting_reply)
        self.run(channel.take_deferred())

    def consumer_cancelled(self, channel: Channel, tag: str) -> None:
        """The queue of a consumer is gone: tell the client, if it can bear that."""
        if self.hears_cancels():
            self.send(int(channel.number), m.BasicCancel(tag, True))

    def hears_cancels(self) -> bool:
        """Whether this client said that it understands a basic.cancel from the broker."""
        return self.introduction is not None and self.introduction.consumer_cancel_notify

    # Mistakes and ends.

    def _soft_error(self, command: object, error: ChannelException) -> None:
        """Close the channel; on channel 0 there is only the connection to close."""
        blame(error, command)
        channel = self.channels.get(channel_of(command))
        if channel is None or self.state != RUNNING:
            self._connection_error(error, CLOSE_OK_S_MAX)
            return
        self.close_channel(channel, error)

    def close_channel(self, channel: Channel, error: ChannelException) -> None:
        """End a channel with channel.close, and what is outstanding on it goes back."""
        self.broker.log(
            log.ERROR,
            f"connection {self.name}, channel {channel.number}: {error.reply_text}",
            connection=self.name,
            channel=int(channel.number),
            user=self.user.name,
        )
        channel.closing = True
        channel.confirms = None
        channel.tear_down()
        self.send(
            int(channel.number),
            m.ChannelClose(error.code, error.reply_text, error.class_id, error.method_id),
        )

    def _connection_error(self, error: AmqpError, patience_s: float) -> None:
        """Close the connection, with a word if the peer is past the handshake."""
        if self.handshake.state != handshake.RUNNING and error.code != NOT_ALLOWED:
            self.refuse(f"{error.reply_text}, during the handshake (state {self._state_name()})")
            self.drop_silently()
            return
        self.close(error, patience_s)

    def close(self, error: AmqpError, patience_s: float = CLOSE_OK_S_MAX) -> None:
        """Send connection.close and wait for close-ok, at most `patience_s` seconds."""
        self.end = f"closed by the broker: {error.reply_text}"
        self.broker.log(
            log.ERROR if error.code != CONNECTION_FORCED else log.INFO,
            f"connection {self.name}: {error.reply_text}",
            connection=self.name,
            user=self.user.name,
        )
        self.tear_down()
        self.send(
            0, m.ConnectionClose(error.code, error.reply_text, error.class_id, error.method_id)
        )
        self.state = CLOSING
        if 0 < self.heartbeat_s < patience_s:
            patience_s = float(self.heartbeat_s)
        self._set_timer(patience_s, DROP_TIMER)

    def force_close(self, explanation: str) -> None:
        """An operator, or the broker's own stop, ends the connection: 320."""
        if self.handshake.state == handshake.RUNNING and self.state == RUNNING:
            self.close(ConnectionException(CONNECTION_FORCED, explanation))
        else:
            self.end = self.end or reply_text(CONNECTION_FORCED, explanation)
            self.finish()

    def tear_down(self) -> None:
        """Everything that lives on this connection ends; exclusive queues are gone when this
        returns."""
        channels = list(self.channels.values())
        self.channels = {}
        self._channel = None
        self.user.channels -= len(channels)
        for channel in channels:
            channel.tear_down()
            self.broker.events.channel_closed(channel)
        assert self.vhost is not None or not channels
        if self.vhost is not None:
            for queue in list(self.exclusive_queues.values()):
                # What came back from the channels may have expired meanwhile, and dies before it.
                queue.catch_up()
                self.broker.delete_queue(self.vhost, queue)
            self.vhost.connections -= 1
            self.user.connections -= 1
            self.broker.open_connections -= 1
            self.vhost = None
            self.broker.events.connection_closed(self)

    def lost(self) -> None:
        """The socket is closed, by whomever."""
        self.tear_down()
        self.state = DONE
        self._cancel_timers()
        self._room_came()

    def finish(self) -> None:
        """Nothing more is to come or go, but what is in the output buffer."""
        self.state = DONE
        self._cancel_timers()
        self.mark_output()

    def drop_silently(self) -> None:
        """Let the peer wait before the socket is closed, so that guessing passwords is slow."""
        self.state = CLOSING
        self._set_timer(SILENT_CLOSE_S, DROP_TIMER)

    def closed_by_peer(self, code: int, text: str) -> None:
        """connection.close from the client: all ends before close-ok goes out."""
        if self.state == RUNNING:
            self.end = "closed by the client" + (f": {code} {text}" if text else "")
        self.tear_down()
        self.send(0, m.ConnectionCloseOk())
        if self.state == RUNNING:
            self.finish()

    def refuse(self, why: str) -> None:
        """The connection never came to run: one line that says why."""
        self.end = why
        self.refused = True
        self.broker.log(log.WARNING, f"connection {self.name} refused: {why}", connection=self.name)

    def started(self) -> bool:
        """Whether the peer sent anything at all."""
        return self._received_any

    def is_closing(self) -> bool:
        """Whether the broker has closed, or is about to."""
        return self.state != RUNNING

    def _state_name(self) -> str:
        return handshake.STATE_NAMES[self.handshake.state]

    # Steps of the handshake, taken by connection_methods.py.

    def run_held(self) -> None:
        """The password was checked: carry out what came meanwhile."""
        held = self._held
        self._held = []
        self.run(held)

    def tuned(self, frame_size_max: int, channel_max: int, heartbeat_s: int) -> None:
        """Both sides know the limits now."""
        self.parser.limit_frames(frame_size_max)
        self.payload_size_max = (
            frame_size_max - frames.OVERHEAD if frame_size_max else UNLIMITED_PAYLOAD
        )
        self.channel_max = channel_max
        self.heartbeat_s = heartbeat_s

    def frame_size_max(self) -> int:
        """The largest frame that may go to this client; 0 if there is no limit."""
        size = self.payload_size_max
        return 0 if size == UNLIMITED_PAYLOAD else int(size) + frames.OVERHEAD

    def opened(self, vhost: VirtualHost) -> None:
        """The connection runs."""
        self.vhost = vhost
        self.vhost_name = vhost.name
        vhost.connections += 1
        self.user.connections += 1
        self.broker.open_connections += 1
        self.broker.events.connection_created(self)
        self._cancel_timers()
        if self.credential_until:
            self._timer = self.broker.timers.set(self.credential_until, self, EXPIRY_TIMER)
        if self.heartbeat_s > 0:
            self._heartbeat = Heartbeat(self, self.broker.timers, self.heartbeat_s, self.broker.now)

    # Timers.

    def _cancel_timers(self) -> None:
        if self._timer is not None:
            self.broker.timers.cancel(self._timer)
            self._timer = None
        if self._heartbeat is not None:
            self._heartbeat.stop()
            self._heartbeat = None

    def _set_timer(self, seconds: float, kind: int) -> None:
        self._cancel_timers()
        self._timer = self.broker.timers.set(self.broker.now + seconds, self, kind)

    def on_timer(self, kind: int, now: float) -> None:
        """The deadline of the handshake, of a close, or of the certificate."""
        self._timer = None
        if kind == EXPIRY_TIMER:
            self.force_close("credential expired")
            return
        if kind == HANDSHAKE_TIMER:
            self.refuse(
                f"no connection.open within {self.broker.config.limits.handshake_timeout_s} s "
                f"(state {self._state_name()})"
            )
        self.finish()

    # Alarms.

    def _alarm_met(self) -> None:
        """The first publish after an alarm: this connection is not read until the alarm is over."""
        if not self.reading_blocked:
            self.reading_blocked = True
            self.broker.log(
                log.WARNING,
                f"connection {self.name} is blocked: it publishes while the broker is "
                f"{self.broker.alarm}",
                connection=self.name,
                user=self.user.name,
            )
            if self.introduction is not None and self.introduction.connection_blocked:
                self.send(0, m.ConnectionBlocked(self.broker.alarm))

    def alarm_over(self) -> None:
        """No alarm is on any more: this connection is read again, if it was not."""
        if not self.reading_blocked:
            return
        self.reading_blocked = False
        if self.state != RUNNING:
            return
        self.broker.log(
            log.INFO,
            f"connection {self.name} is no longer blocked",
            connection=self.name,
            user=self.user.name,
        )
        if self.introduction is not None and self.introduction.connection_blocked:
            self.send(0, m.ConnectionUnblocked())


def channel_of(command: object) -> int:
    """The channel number that a command came on."""
    if isinstance(command, Message):
        return int(command.channel)
    if isinstance(command, Ack):
        return int(command.channel)
    assert isinstance(command, Method), command
    return int(command.channel)


def blame(error: AmqpError, command: object) -> None:
    """Name the offending method in the error, if it does not yet."""
    if error.class_id or error.method_id:
        return
    if isinstance(command, Message):
        error.class_id, error.method_id = PUBLISH_CLASS, PUBLISH_METHOD
    elif isinstance(command, Ack):
        error.class_id, error.method_id = PUBLISH_CLASS, ACK_METHOD
    elif isinstance(command, Method):
        error.class_id, error.method_id = command.frame.index >> 16, command.frame.index & 0xFFFF
