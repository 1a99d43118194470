"""What comes through the control socket and in definitions, names that are to end up in the log,
and limits that somebody tries to outrun.
"""

from __future__ import annotations

import io
import json
import logging
import socket
from pathlib import Path

import pytest
from pamqp import frame
from pamqp.commands import Channel as ChannelClass
from pamqp.commands import Connection, Queue

from amqbroker import logs
from amqbroker.config import ConfigError, load
from amqbroker.management import users, vhosts
from amqbroker.management.definitions_import import DefinitionsImport
from amqbroker.management.errors import ManagementError
from tests.core.house import House, core
from tests.semantics.peer import PROTOCOL_HEADER, Peer
from tests.server.process import broker_process
from tests.server.test_operations import ask, error_of

SALT = "c29tZXNhbHRzb21lc2FsdA"
DIGEST = "A" * 43


def crafted(memory: int, passes: int, lanes: int = 1) -> str:
    """A hash that costs what its author likes whoever checks a password against it."""
    return f"$argon2id$v=19$m={memory},t={passes},p={lanes}${SALT}${DIGEST}"


@pytest.mark.parametrize(
    "stored",
    [
        crafted(4_194_304, 1),
        crafted(262_144, 5),
        crafted(1024, 4_000),
        crafted(1_048_576, 100),
        crafted(8 * 17, 1, 17),
        crafted(262_145, 1),
    ],
)
def test_a_hash_of_too_much_work(stored: str) -> None:
    broker = core(House().node)
    with pytest.raises(ManagementError, match="argon2id"):
        users.add_user(broker, "ann", stored)
    with pytest.raises(ManagementError, match="argon2id"):
        users.change_password(broker, "alice", stored)
    with pytest.raises(ConfigError):
        load(options={"users": [{"name": "ann", "password_hash": stored}]})
    entry = {"name": "ann", "tags": [], "amqbroker_password_hash": stored}
    work = DefinitionsImport(broker, {"users": [entry]})
    for _ in work.check():
        pass
    assert len(work.problems) == 1
    assert "ann" not in broker.users.users


def nested(depth: int) -> str:
    """An array in an array in an array ..."""
    return "[" * depth + "]" * depth


def setting(name: str, value: str) -> str:
    """A request that makes a virtual host with this text."""
    return f'"command": "add_vhost", "arguments": {{"name": "v", "{name}": "{value}"}}'


DEEP = nested(600)
BOMBS = {
    "nested id": f'"id": {nested(100_000)}, "command": "ping"',
    "nested value": '"command": "set_global_parameter", "arguments": {"name": "n", "value": '
    + nested(50_000)
    + "}",
    "nested policy": '"command": "set_policy", "arguments": {"vhost": "/", "name": "n", '
    '"pattern": "", "definition": {"max-length": ' + DEEP + "}}",
    "nested definitions": '"command": "import_definitions", "arguments": {"definitions": '
    '{"queues": [{"name": "q", "vhost": "/", "arguments": {"a": ' + DEEP + "}}]}}",
    "a long number": f'"id": {"9" * 100_000}, "command": "ping"',
    "half a character": setting("description", "\\ud800"),
    "an octet of no text": setting("description", "\\udcff"),
    "half a name": '"command": "add_user", "arguments": {"name": "\\ud800", "password": "x"}',
    "half a password": '"command": "add_user", "arguments": {"name": "u", "password": "\\ud800"}',
    "an octet of no pattern": '"command": "set_permissions", "arguments": {"vhost": "/", "name": '
    '"guest", "configure": "\\udcff", "write": "", "read": ""}',
    "no folder": '"command": "backup", "arguments": {"destination": "/"}',
    "a folder of no name": '"command": "backup", "arguments": {"destination": "/a\\u0000b"}',
}


def test_bombs_on_the_control_socket(tmp_path: Path) -> None:
    with broker_process(tmp_path / "data") as process:
        for name, fields in BOMBS.items():
            with socket.socket(socket.AF_UNIX) as client:
                client.settimeout(10)
                client.connect(str(tmp_path / "data" / "control.sock"))
                client.sendall(b'{"version": 1, ' + fields.encode() + b"}\n")
                answer = json.loads(client.makefile("rb").readline())
            assert error_of(answer)[0] in ("bad-request", "bad-argument", "bad-data"), name
        assert not process.find_log("a bug in the broker")
        vhosts_left = ask(process, "list_vhosts")
        assert vhosts_left["result"] == {"columns": ["name"], "rows": 1}
        process.channel().declare_queue("q")
    with broker_process(tmp_path / "data") as process:
        process.channel().declare_queue("q")


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_a_name_that_would_be_a_line_of_the_log(log_format: str) -> None:
    stream = io.StringIO()
    logger = logging.getLogger("amqbroker")
    before = (logger.handlers[:], logger.level, logger.propagate)
    logs.configure("info", log_format, stream)
    try:
        house = House()
        name = (
            "x\r\n2026-01-01T00:00:00.000Z INFO amqbroker user 'root' was added\x1b[2J\x9b2J\u2028"
        )
        users.add_user(core(house.node), name, None)
        vhosts.add_vhost(core(house.node), name, description=name)
        house.run()
        peer = Peer(house.transport())
        peer.greet()
        peer.log_in(name, "wrong", properties={"connection_name": name, "product": name})
        peer.expect(Connection.Close)
        for line in house.log_lines:
            logger.info(line)
        lines = stream.getvalue().split("\n")
    finally:
        logger.handlers[:], logger.level, logger.propagate = before[0], before[1], before[2]
    assert len(lines) == len(house.log_lines) + 1
    assert len(house.log_lines) >= 3
    for line in lines[:-1]:
        assert "was added\\" in line or "root" not in line
        assert line.isprintable()


def test_queues_beyond_a_limit_that_come_at_once() -> None:
    """All in one read, so that they are carried out in one turn."""
    house = House()
    vhosts.set_vhost_limits(core(house.node), "/", {"max-queues": 3})
    peers = [house.connect() for _ in range(4)]
    channels = [peer.open_channel() for peer in peers]
    house.paused = True
    for number, ch in enumerate(channels):
        declares = [Queue.Declare(queue=f"q{number}-{each}") for each in range(3)]
        ch.peer.send_raw(b"".join(frame.marshal(declare, ch.number) for declare in declares))
    house.paused = False
    house.run()
    assert len(house.vhost().queues) == 3


def test_connections_and_channels_beyond_a_limit_that_come_at_once() -> None:
    house = House()
    broker = core(house.node)
    vhosts.set_vhost_limits(broker, "other", {"max-connections": 3})
    users.set_user_limits(broker, "guest", {"max-connections": 2, "max-channels": 3})
    for user, vhost, let_in in (("stranger", "other", 3), ("guest", "/", 2)):
        peers = []
        for _ in range(6):
            peer = Peer(house.transport())
            peer.greet(PROTOCOL_HEADER)
            peer.log_in(user, "guest" if user == "guest" else f"{user}-pw")
            peer.expect(Connection.Tune)
            peers.append(peer)
        house.paused = True
        for peer in peers:
            opened = (Connection.TuneOk(100, 131_072, 0), Connection.Open(vhost))
            peer.send_raw(b"".join(frame.marshal(each, 0) for each in opened))
        house.paused = False
        house.run()
        assert sum(client.vhost_name == vhost for client in broker.clients.values()) == let_in
    house.paused = True
    peers[0].expect(Connection.OpenOk)
    peers[0].send_raw(b"".join(frame.marshal(ChannelClass.Open(), each) for each in range(1, 9)))
    house.paused = False
    house.run()
    for number in range(1, 4):
        peers[0].expect(ChannelClass.OpenOk, number)
    assert peers[0].expect(Connection.Close).reply_code == 530
