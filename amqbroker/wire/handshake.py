"""The start of a connection: protocol header, start, tune, open.

    HEADER_DUE --AMQP 0 0 9 1--> STARTING --start-ok--> SECURING --password right--> TUNING
               --anything else--> refused                                               |
                                               RUNNING <--open-- OPENING <--tune-ok-----+

`Handshake` knows the order and what a client may send; who it is and which virtual host it gets is
decided by its caller. A method out of order, a bad value or an unknown mechanism is a
`ConnectionException` with RabbitMQ's text. RabbitMQ answers none of them but the one for tune-ok
before the connection runs: it drops the socket.

Source: AMQP 0-9-1 sections 2.2.4 and 4.2.2; RabbitMQ's `rabbit_reader`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, final

from pamqp.base import Frame
from pamqp.common import FieldTable

from amqbroker.errors import (
    ACCESS_REFUSED,
    ConnectionException,
    channel_error,
    command_invalid,
    not_allowed,
)
from amqbroker.wire.frames import FRAME_SIZE_MIN
from amqbroker.wire.methods import (
    ConnectionOpen,
    ConnectionStart,
    ConnectionStartOk,
    ConnectionTune,
    ConnectionTuneOk,
)

# States, and RabbitMQ's names for them in the text of 504.
HEADER_DUE: Final = 0
STARTING: Final = 1
SECURING: Final = 2
TUNING: Final = 3
OPENING: Final = 4
RUNNING: Final = 5
STATE_NAMES: Final = ("pre_init", "starting", "securing", "tuning", "opening", "running")

# Verdicts on the first octets.
MORE: Final = 0
ACCEPTED: Final = 1
REFUSED: Final = 2

HEADER_SIZE: Final = 8
PROTOCOL_HEADER: Final = b"AMQP\x00\x00\x09\x01"
# What 0-9 clients send: the protocol is the same as far as it is used.
PROTOCOL_HEADER_0_9: Final = b"AMQP\x01\x01\x00\x09"

TLS_HANDSHAKE: Final = b"\x16\x03"
HTTP_STARTS: Final = (
    b"GET ",
    b"HEAD ",
    b"POST ",
    b"PUT ",
    b"DELETE ",
    b"OPTIONS ",
    b"CONNECT ",
    b"PATCH ",
    b"PRI * ",
)
PROXY_STARTS: Final = (b"PROXY ", b"\r\n\r\n\x00\r\n")

CAPABILITIES: Final = (
    "publisher_confirms",
    "exchange_exchange_bindings",
    "basic.nack",
    "consumer_cancel_notify",
    "connection.blocked",
    "consumer_priorities",
    "authentication_failure_close",
    "per_consumer_qos",
    "direct_reply_to",
)

CONNECTION_CLASS: Final = 10
TUNE_METHOD: Final = 30
# A channel number on the wire has 16 bits; 0 is the connection.
CHANNEL_MAX_MIN: Final = 1


@final
class HeaderVerdict:
    """What the first octets of a connection are.

    MORE: wait. ACCEPTED: `rest` is what came after the header. REFUSED: send `answer`, close, and
    log `diagnosis`.
    """

    __slots__ = ("answer", "diagnosis", "rest", "verdict")

    def __init__(self, verdict: int, rest: bytes, answer: bytes, diagnosis: str) -> None:
        self.verdict = verdict
        self.rest = rest
        self.answer = answer
        self.diagnosis = diagnosis


@final
class Offer:
    """What the server proposes to every client; 0 means no limit, for heartbeats none at all.

    `mechanisms` are the SASL mechanisms in the order of preference, `properties` the whole
    server-properties table.
    """

    def __init__(
        self,
        properties: FieldTable,
        mechanisms: list[str],
        channel_max: int,
        frame_max: int,
        heartbeat_s: int,
    ) -> None:
        self.properties = properties
        self.mechanisms = mechanisms
        self.channel_max = channel_max
        self.frame_max = frame_max
        self.heartbeat_s = heartbeat_s

    def with_mechanisms(self, mechanisms: list[str]) -> Offer:
        """The same with other mechanisms."""
        return Offer(
            self.properties, mechanisms, self.channel_max, self.frame_max, self.heartbeat_s
        )


@final
class Introduction:
    """What start-ok says about a client: its choice of mechanism, and what it can bear."""

    def __init__(self, frame: ConnectionStartOk) -> None:
        properties = frame.client_properties
        capabilities = properties.get("capabilities")
        if not isinstance(capabilities, dict):
            capabilities = {}
        self.properties = properties
        self.mechanism: str = frame.mechanism
        self.response: bytes = octets_of(frame.response)
        self.connection_name = text_of(properties, "connection_name")
        self.product = text_of(properties, "product")
        self.version = text_of(properties, "version")
        self.platform = text_of(properties, "platform")
        self.consumer_cancel_notify = capabilities.get("consumer_cancel_notify") is True
        self.connection_blocked = capabilities.get("connection.blocked") is True
        self.authentication_failure_close = capabilities.get("authentication_failure_close") is True


@final
class Tuning:
    """The negotiated limits; 0 means no limit, for heartbeats none at all."""

    def __init__(self, channel_max: int, frame_max: int, heartbeat_s: int) -> None:
        self.channel_max = channel_max
        self.frame_max = frame_max
        self.heartbeat_s = heartbeat_s


@final
class Handshake:
    """One connection until it runs."""

    def __init__(self, offer: Offer) -> None:
        self.offer = offer
        self.state = HEADER_DUE
        self._octets = b""

    def receive_header(self, data: bytes) -> HeaderVerdict:
        """The first octets, in any pieces. Once they are ACCEPTED, send `start()`."""
        self._octets += data
        verdict = check_header(self._octets)
        if verdict.verdict == ACCEPTED:
            self._octets = b""
            self.state = STARTING
        return verdict

    def start(self) -> ConnectionStart:
        """The first method."""
        return ConnectionStart(
            version_major=0,
            version_minor=9,
            server_properties=self.offer.properties,
            mechanisms=" ".join(self.offer.mechanisms),
            locales="en_US",
        )

    def start_ok_received(self, frame: Frame) -> Introduction:
        """The client's answer to start. Check its response, then call `authenticated`."""
        if self.state != STARTING or not isinstance(frame, ConnectionStartOk):
            raise self.out_of_order(frame)
        introduction = Introduction(frame)
        if introduction.mechanism not in self.offer.mechanisms:
            raise blame(
                command_invalid(f"unknown authentication mechanism '{introduction.mechanism}'"),
                frame,
            )
        self.state = SECURING
        return introduction

    def authenticated(self) -> ConnectionTune:
        """The password was right: the proposal to send."""
        assert self.state == SECURING, f"authenticated in state {self.state}"
        self.state = TUNING
        return ConnectionTune(
            channel_max=self.offer.channel_max,
            frame_max=self.offer.frame_max,
            heartbeat=self.offer.heartbeat_s,
        )

    def tune_ok_received(self, frame: Frame) -> Tuning:
        """The client's limits. 530 if they are over the offer, or under what AMQP demands."""
        if self.state != TUNING or not isinstance(frame, ConnectionTuneOk):
            raise self.out_of_order(frame)
        check_limit("frame_max", FRAME_SIZE_MIN, self.offer.frame_max, frame.frame_max)
        check_limit("channel_max", CHANNEL_MAX_MIN, self.offer.channel_max, frame.channel_max)
        self.state = OPENING
        return Tuning(frame.channel_max, frame.frame_max, frame.heartbeat)

    def open_received(self, frame: Frame) -> str:
        """The name of the virtual host that the client asks for."""
        if self.state != OPENING or not isinstance(frame, ConnectionOpen):
            raise self.out_of_order(frame)
        self.state = RUNNING
        return frame.virtual_host

    def out_of_order(self, frame: Frame) -> ConnectionException:
        """504 for a method that has no place in this state."""
        return blame(unexpected_method(self.state_name()), frame)

    def state_name(self) -> str:
        """RabbitMQ's name of the state."""
        return STATE_NAMES[self.state]


def check_header(octets: bytes) -> HeaderVerdict:
    """Judge the first octets of a connection."""
    if len(octets) < HEADER_SIZE:
        return HeaderVerdict(MORE, b"", b"", "")
    header = octets[:HEADER_SIZE]
    if header in (PROTOCOL_HEADER, PROTOCOL_HEADER_0_9):
        return HeaderVerdict(ACCEPTED, octets[HEADER_SIZE:], b"", "")
    return HeaderVerdict(REFUSED, b"", PROTOCOL_HEADER, diagnose(header))


def diagnose(header: bytes) -> str:
    """What it probably was that came instead of an AMQP 0-9-1 header, for the log."""
    if header.startswith(TLS_HANDSHAKE):
        return "a TLS client hello on a port without TLS"
    if header.startswith(HTTP_STARTS):
        return "an HTTP request on an AMQP port"
    if header.startswith(PROXY_STARTS):
        return "a PROXY protocol header, which is not supported"
    if header.startswith(b"AMQP"):
        version = " ".join(str(octet) for octet in header[4:])
        if header[5:] == b"\x01\x00\x00":
            return f"an AMQP 1.0 client (AMQP {version}), this is an AMQP 0-9-1 port"
        return f"an unsupported protocol version (AMQP {version})"
    return f"not AMQP, it began with {header!r}"


def server_properties(
    product: str, version: str, cluster_name: str, extra: Mapping[str, str]
) -> FieldTable:
    """The server-properties of start, keys sorted; `extra` overrides.

    Clients gate features on `capabilities`, kombu also on product and version.
    """
    capabilities: FieldTable = dict.fromkeys(CAPABILITIES, True)
    properties: FieldTable = {
        "capabilities": capabilities,
        "cluster_name": cluster_name,
        "copyright": "The amqbroker authors",
        "information": "Licensed under the Apache License 2.0",
        "platform": "Python",
        "product": product,
        "version": version,
    }
    properties.update(extra)
    return {key: properties[key] for key in sorted(properties)}


def check_limit(field: str, minimum: int, offered: int, wanted: int) -> None:
    """530 unless the client's value is between the minimum and the offer; 0 is more than any."""
    if wanted != 0 and wanted < minimum:
        relation, bound, limit = "lower", "minimum", minimum
    elif offered != 0 and (wanted == 0 or wanted > offered):
        relation, bound, limit = "higher", "maximum", offered
    else:
        return
    detail = " (no limit)" if field == "channel_max" and wanted == 0 else ""
    error = not_allowed(
        f"negotiated {field} = {wanted}{detail} is {relation} "
        f"than the {bound} allowed value ({limit})"
    )
    error.class_id = CONNECTION_CLASS
    error.method_id = TUNE_METHOD
    raise error


def unexpected_method(state: str) -> ConnectionException:
    """504 for a connection method in the wrong state."""
    return channel_error(f"unexpected method in connection state {state}")


def login_refused(mechanism: str) -> ConnectionException:
    """403 for a wrong user or password: only for clients with `authentication_failure_close`."""
    return ConnectionException(
        ACCESS_REFUSED,
        f"Login was refused using authentication mechanism {mechanism}. "
        "For details see the broker logfile.",
    )


def blame(error: ConnectionException, frame: Frame) -> ConnectionException:
    """Name the method to blame."""
    error.class_id = frame.index >> 16
    error.method_id = frame.index & 0xFFFF
    return error


def octets_of(long_string: str | None) -> bytes:
    """The octets of a method's long string, whether they were text or not."""
    return (long_string or "").encode(errors="surrogateescape")


def text_of(table: FieldTable, key: str) -> str:
    """A string of a table, empty if it is missing or anything else."""
    value = table.get(key)
    return value if isinstance(value, str) else ""
