"""What a stream is fed to: the parser and a whole node, at once and octet by octet.

A target raises `Failure` for what must not be, and lets every exception of the broker through: a
peer's bytes may raise nothing. Beyond that it is checked that

- the parser reads the same commands and the same error however the stream is cut;
- what the parser accepted can be decoded, changed and encoded again;
- all that the node sends is whole frames;
- a node that starts from what the first wrote to its disk finds nothing unreadable.
"""

from __future__ import annotations

from random import Random
from typing import Final

from amqbroker.auth.passwords import verify
from amqbroker.config import Config
from amqbroker.message import Message
from amqbroker.node import Node, PeerInfo
from amqbroker.store.journal import Journal
from amqbroker.store.records import JOURNAL_MAGIC, file_header
from amqbroker.store.recovery import fold
from amqbroker.wire import properties
from amqbroker.wire.commands import Ack, Method
from amqbroker.wire.methods import encode_method
from amqbroker.wire.parser import Parser
from fuzz.streams import Stream

SINGLE: Final = tuple(bytes([octet]) for octet in range(256))
FRAME_SIZE_MAX: Final = 4096
MESSAGE_SIZE_MAX: Final = 1 << 16
CONFIG: Final = Config()
PEER: Final = PeerInfo("127.0.0.1", 50000, "127.0.0.1", 5672)
CLIENT: Final = 1
TURNS_MAX: Final = 200
DEADLINES: Final = 3


class Failure(Exception):
    """The broker did what it must not do."""


def fuzz_parser(stream: Stream) -> None:
    """The parser reads the tail, whole and octet by octet."""
    whole = Parser(FRAME_SIZE_MAX, MESSAGE_SIZE_MAX)
    commands = whole.receive(stream.tail)
    cut = Parser(FRAME_SIZE_MAX, MESSAGE_SIZE_MAX)
    pieces: list[object] = []
    for octet in stream.tail:
        found = cut.receive(SINGLE[octet])
        if found:
            pieces.extend(found)
    expect_equal("commands", [read(each) for each in commands], [read(each) for each in pieces])
    expect_equal("error", reason(whole), reason(cut))
    expect_equal("lost", whole.lost, cut.lost)
    expect_equal(
        "commands after the error",
        [read(each) for each in whole.after_error],
        [read(each) for each in cut.after_error],
    )


def read(command: object) -> tuple[object, ...]:
    """A command as plain values, everything in it decoded once."""
    if isinstance(command, Ack):
        return (command.channel, command.delivery_tag, command.multiple)
    if isinstance(command, Method):
        return (command.channel, encode_method(int(command.channel), command.frame))
    assert isinstance(command, Message), command
    header = command.header
    values = properties.decode_properties(header)
    if sum(properties.FLAGS[name] for name in values) != properties.flags_of(header) & 0xFFFC:
        raise Failure(f"properties lost: {header.hex()}")
    changed = properties.with_edited_headers(header, {"x-death": [values]}, ["CC"])
    if properties.check_properties(changed) is not command.persistent:
        raise Failure(f"persistence changed with the headers: {header.hex()}")
    return (command.channel, command.address, command.bits, header, command.body)


def reason(parser: Parser) -> tuple[object, ...]:
    """A parser's error as plain values."""
    error = parser.error
    if error is None:
        return ()
    return (error.reply_text, error.class_id, error.method_id)


def expect_equal(what: str, whole: object, pieces: object) -> None:
    """Two readings of one stream."""
    if whole != pieces:
        raise Failure(f"{what} differ: {whole!r} at once, {pieces!r} octet by octet")


def fuzz_node(stream: Stream) -> None:
    """A node meets the stream twice, as two clients one after the other, and starts again."""
    node = Node(CONFIG, Journal(), None, Random(0), 0.0)
    disk: list[bytes] = []
    session = Session(node, disk)
    session.receive(stream.start)
    session.receive(stream.tail)
    session.end()
    session = Session(node, disk)
    session.receive(stream.start)
    for octet in stream.tail:
        node.client_received(CLIENT, SINGLE[octet], session.now)
    session.turn()
    session.end()
    if disk:
        restart(b"".join(disk))


def restart(octets: bytes) -> None:
    """A new node begins with this journal file."""
    recovered = fold(None, [(1, file_header(JOURNAL_MAGIC, 1, bytes(8)) + octets)])
    if recovered.problems or recovered.torn_tail is not None:
        raise Failure(f"unreadable: {recovered.problems} {recovered.torn_tail} in {octets.hex()}")
    node = Node(CONFIG, Journal(recovered, 2), recovered, Random(0), 0.0)
    Session(node, []).end()


class Session:
    """One client of a node, and the edges around them; `disk` gets what the journal writes."""

    def __init__(self, node: Node, disk: list[bytes]) -> None:
        self.node = node
        self.disk = disk
        self.now = 1.0
        node.client_connected(CLIENT, PEER, self.now)

    def receive(self, data: bytes) -> None:
        """One read of the socket, and its turn."""
        if data:
            self.node.client_received(CLIENT, data, self.now)
            self.turn()

    def turn(self) -> None:
        """Settle and drain until there is nothing more to do."""
        node = self.node
        for _ in range(TURNS_MAX):
            node.settle(self.now)
            for connection_id in node.outputs():
                check_frames(b"".join(node.take_output(connection_id)))
            for check in node.take_password_checks(1):
                node.password_checked(check, verify(check.stored, check.password), self.now)
            batch = node.take_batch(self.now)
            if batch is not None:
                self.disk.extend(batch.chunks)
                node.journal_synced(batch.position)
            node.take_log_lines()
            if not node.has_work() and batch is None:
                return
        raise Failure(f"still busy after {TURNS_MAX} turns")

    def end(self) -> None:
        """A few deadlines pass, then the socket closes."""
        for _ in range(DEADLINES):
            deadline = self.node.next_deadline()
            if deadline is None:
                break
            self.now = max(self.now, deadline)
            self.node.on_time(self.now)
            self.turn()
        self.node.client_lost(CLIENT, "", self.now)
        self.turn()


def check_frames(output: bytes) -> None:
    """All that is sent must be whole frames, or the protocol header."""
    position = 0
    while position < len(output):
        if output[position : position + 4] == b"AMQP":
            position += 8
            continue
        size = int.from_bytes(output[position + 3 : position + 7], "big")
        end = position + 7 + size
        if output[position] not in (1, 2, 3, 8) or output[end : end + 1] != b"\xce":
            raise Failure(f"not a frame at octet {position} of the output {output.hex()}")
        position = end + 1
