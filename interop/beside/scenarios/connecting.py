"""Connections, channels, and the errors that end them."""

from __future__ import annotations

import struct

from pika import data, frame, spec

from interop.beside.catalogue import scenario
from interop.beside.stage import Stage


@scenario
def start(s: Stage) -> None:
    method = s.raw().start()
    properties = method.server_properties
    s.note(method.version_major, method.version_minor, method.locales)
    s.note(sorted(method.mechanisms.split()))  # their order differs from one RabbitMQ to another
    s.note(sorted(properties["capabilities"].items()))
    s.note("product", properties["product"], type(properties["version"]).__name__)
    wanted = ("capabilities", "cluster_name", "copyright", "information", "platform", "product")
    s.note([key for key in wanted if key in properties])


@scenario
def tune(s: Stage) -> None:
    connection = s.raw()
    connection.start()
    tune = connection.log_in()
    s.note(vars(tune))
    s.note(vars(connection.open()))


@scenario
def amqplain(s: Stage) -> None:
    connection = s.raw()
    connection.start()
    pieces: list[bytes] = []
    data.encode_table(pieces, {"LOGIN": "guest", "PASSWORD": "guest"})
    response = b"".join(pieces)[4:]
    s.note(connection.log_in(mechanism="AMQPLAIN", response=response).NAME)
    s.note(connection.open().NAME)


@scenario(("guest", "wrong"), ("nobody", "x"), ("", ""))
def wrong_login(s: Stage, user: str, password: str) -> None:
    connection = s.raw()
    connection.start()
    connection.log_in(user, password)
    s.note(connection.closed)


@scenario("/none", "", "beside-other")
def vhost(s: Stage, vhost: str) -> None:
    connection = s.connection("reader", vhost=vhost)
    s.note(connection.closed)


@scenario
def vhost_without_permissions(s: Stage) -> None:
    s.note(s.connection("stranger").closed)


@scenario(
    {"channel_max": 0},
    {"channel_max": 2048},
    {"channel_max": 10},
    {"frame_max": 0},
    {"frame_max": 131073},
    {"frame_max": 4095},
    {"frame_max": 4096},
    {"heartbeat": 1000},
)
def tune_ok(s: Stage, values: dict[str, int]) -> None:
    connection = s.connection(**values)
    s.note(connection.closed, [method.NAME for method in connection.methods])


@scenario
def many_channels(s: Stage) -> None:
    connection = s.connection(channel_max=20)
    channels = [connection.channel() for _ in range(20)]
    for channel in channels:
        channel.declare(s.q(), auto_delete=True)
    channels[3].close()
    channels[3].open()
    channels[3].declare(s.q(), passive=True, auto_delete=True)
    connection.unopened_channel(21).open()


@scenario
def channel_number_without_order(s: Stage) -> None:
    connection = s.connection()
    for number in (2047, 1, 1000):
        connection.channel(number).declare("", exclusive=True)


@scenario
def channel_not_open(s: Stage) -> None:
    channel = s.connection().unopened_channel(5)
    channel.connection.send(5, spec.Queue.Declare(queue=s.q(), arguments={}))
    channel.wait_closed()


@scenario
def channel_opened_twice(s: Stage) -> None:
    channel = s.channel()
    channel.call(spec.Channel.Open())


@scenario
def channel_after_its_close(s: Stage) -> None:
    """A closed channel's number may be opened again, and nothing else."""
    channel = s.channel()
    channel.close()
    channel.open()
    channel.declare(s.q())
    channel.close()
    channel.connection.send(1, spec.Queue.Declare(queue=s.q(), arguments={}))
    channel.wait_closed()


@scenario
def channel_recovers(s: Stage) -> None:
    """An error ends one channel; the others and the connection go on."""
    one = s.channel()
    two = one.connection.channel()
    two.declare(s.q())
    two.publish("", s.q(), b"1")
    two.get(s.q(), no_ack=False)
    for _ in range(3):
        one.declare(s.q("none"), passive=True)
    two.ack(1)
    two.declare(s.q())
    one.declare(s.q())


@scenario
def channel_error_requeues(s: Stage) -> None:
    ch = s.channel()
    ch.declare(s.q())
    ch.publish("", s.q(), b"1")
    s.settle()
    ch.consume(s.q())
    ch.deliveries(1)
    ch.declare(s.q("none"), passive=True)
    s.until(s.q(), 1, 0)
    ch.get(s.q())


@scenario
def channel_in_error_is_deaf(s: Stage) -> None:
    """All that was sent before the close was seen is ignored."""
    ch = s.channel()
    ch.connection.send_bytes(
        b"".join(
            frame.Method(1, method).marshal()
            for method in (
                spec.Queue.Declare(queue=s.q("none"), passive=True, arguments={}),
                spec.Queue.Declare(queue=s.q(), arguments={}),
                spec.Basic.Ack(5),
            )
        )
    )
    ch.wait_closed()
    s.counts(s.q())


@scenario
def flow(s: Stage) -> None:
    ch = s.channel()
    s.note(vars(ch.call(spec.Channel.Flow(True))))
    ch.call(spec.Channel.Flow(False))


@scenario
def access_request(s: Stage) -> None:
    s.channel().call(spec.Access.Request("/data", active=True))


@scenario
def close(s: Stage) -> None:
    connection = s.connection()
    connection.channel()
    connection.close()
    s.note(connection.closed)


@scenario(10, 11, 20, 30, 31, 40, 41, 50)
def connection_method_out_of_turn(s: Stage, number: int) -> None:
    """Methods of the class connection on an open connection."""
    connection = s.connection()
    payload = struct.pack(">HH", 10, number) + _ARGUMENTS.get(number, b"")
    connection.send_bytes(_frame(1, 0, payload))
    s.note(getattr(connection.next_method(), "NAME", None), connection.closed)


_ARGUMENTS = {
    10: b"\0\x09" + b"\0\0\0\0" + b"\0\0\0\0" + b"\0\0\0\0",
    11: b"\0\0\0\0" + b"\x05PLAIN" + b"\0\0\0\0" + b"\x05en_US",
    20: b"\0\0\0\0",
    30: b"\0\0" + b"\0\0\0\0" + b"\0\0",
    31: b"\0\0" + b"\0\0\0\0" + b"\0\0",
    40: b"\x01/" + b"\0" + b"\0",
    41: b"\0",
    50: b"\0\xc8" + b"\0" + b"\0\0\0\0",
}


def _frame(kind: int, channel: int, payload: bytes, end: bytes = b"\xce") -> bytes:
    return struct.pack(">BHI", kind, channel, len(payload)) + payload + end


_PUBLISH = struct.pack(">HHH", 60, 40, 0) + b"\0\0\0"
_HEADER = struct.pack(">HHQH", 60, 0, 5, 0)


_BAD = {
    "unknown frame type": _frame(9, 1, b""),
    "frame end": _frame(1, 1, struct.pack(">HH", 20, 40), b"\0"),
    "too large": struct.pack(">BHI", 1, 1, 200_000),
    "header out of turn": _frame(2, 1, _HEADER),
    "body out of turn": _frame(3, 1, b"abc"),
    "method in a content": _frame(1, 1, _PUBLISH) + _frame(1, 1, struct.pack(">HHB", 20, 20, 1)),
    "method in a body": _frame(1, 1, _PUBLISH) + _frame(2, 1, _HEADER) + _frame(1, 1, _PUBLISH),
    "body too long": _frame(1, 1, _PUBLISH) + _frame(2, 1, _HEADER) + _frame(3, 1, b"123456"),
    "header of another class": _frame(1, 1, _PUBLISH) + _frame(2, 1, b"\0\x32" + _HEADER[2:]),
    "weight": _frame(1, 1, _PUBLISH) + _frame(2, 1, b"\0\x3c\0\1" + _HEADER[4:]),
    "content on channel 0": _frame(1, 0, _PUBLISH),
    "header on channel 0": _frame(2, 0, _HEADER),
    "method on channel 0": _frame(1, 0, struct.pack(">HHB", 20, 10, 0)),
    "heartbeat on channel 1": _frame(8, 1, b""),
    "heartbeat with payload": _frame(8, 0, b"x"),
    "unknown method": _frame(1, 1, struct.pack(">HH", 60, 999)),
    "unknown class": _frame(1, 1, struct.pack(">HH", 99, 10)),
    "method of servers": _frame(1, 1, struct.pack(">HH", 60, 72) + b"\0"),
    "method cut short": _frame(1, 1, struct.pack(">HHH", 50, 10, 0)),
    "empty method": _frame(1, 1, b""),
}


@scenario(*_BAD)
def bad_frames(s: Stage, what: str) -> None:
    ch = s.channel()
    ch.connection.send_bytes(_BAD[what])
    ch.connection.wait(lambda: False, "the end of the connection", 2.0)
    s.note(ch.connection.closed)


@scenario
def body_in_empty_frames(s: Stage) -> None:
    ch = s.channel()
    ch.connection.send_bytes(_frame(1, 1, _PUBLISH) + _frame(2, 1, _HEADER))
    for part in (b"", b"123", b"", b"45"):
        ch.connection.send_bytes(_frame(3, 1, part))
    ch.sync()
    s.note(ch.connection.closed)


@scenario("one-channel", "one-connection")
def user_limit(s: Stage, user: str) -> None:
    connection = s.connection(user)
    connection.channel()
    second = s.connection(user)
    s.note(second.closed)
    connection.unopened_channel().open()


@scenario
def vhost_limits(s: Stage) -> None:
    ch = s.channel(vhost="beside-small")
    for n in range(3):
        ch.declare(str(n), exclusive=True)
    ch.declare("1", exclusive=True)
    s.connection(vhost="beside-small")
    s.note(s.connection(vhost="beside-small").closed)
