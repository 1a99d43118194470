"""Attempts with real sockets: from another address, by the thousand, and by another user of the
machine.
"""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from pamqp import frame
from pamqp.commands import Connection

from amqbroker.store.folder import SOCKET_NAME
from tests.semantics.peer import PROTOCOL_HEADER, Peer
from tests.semantics.transports import SocketTransport
from tests.server.process import BrokerProcess, broker_process

ROOT = Path(__file__).parents[2]
NOBODY = 65_534
ATTACKERS = 300
WRONG = frame.marshal(
    Connection.StartOk(
        client_properties={"capabilities": {"authentication_failure_close": True}},
        mechanism="PLAIN",
        response="\0guest\0wrong",
        locale="en_US",
    ),
    0,
)


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[BrokerProcess]:
    with broker_process(tmp_path / "data") as process:
        yield process


def from_address(host: str, broker: BrokerProcess) -> socket.socket:
    """A connection from one of this machine's own addresses, whose login is wrong."""
    raw = socket.create_connection((broker.host, broker.port), timeout=15, source_address=(host, 0))
    raw.sendall(PROTOCOL_HEADER + WRONG)
    return raw


def is_answered(raw: socket.socket) -> bool:
    """Whether the login was refused; connection.start came at once."""
    raw.setblocking(False)
    try:
        return b"ACCESS_REFUSED" in raw.recv(65_536, socket.MSG_PEEK)
    except BlockingIOError:
        return False


def test_failed_logins_hold_up_nobody(broker: BrokerProcess) -> None:
    """While hundreds of wrong passwords wait for their hash, who is connected is served, and who
    comes from elsewhere gets in."""
    ch = broker.channel()
    ch.declare_queue("q")
    attackers = [from_address("127.0.0.3", broker) for _ in range(ATTACKERS)]
    for number in range(50):
        ch.publish(b"%d" % number, key="q")
        ch.wait_ready("q", 1)
        assert ch.must_get("q", no_ack=True).body == b"%d" % number
    # guest's password is not known yet to be wrong from 127.0.0.2: it takes a hash of its own.
    other = Peer(SocketTransport(broker.host, broker.port))
    other.greet()
    other.log_in("guest", "another")
    assert other.expect(Connection.Close, timeout_s=5.0).reply_code == 403
    waiting = [raw for raw in attackers if not is_answered(raw)]
    assert waiting, "all were answered before the others: nothing was proven"
    for raw in attackers:
        raw.close()
    other.drop()


NETWORK = f"""
set -e
ip link set lo up
ip address add 192.0.2.1/32 dev lo
exec {sys.executable} -m tests.security.network
"""


def test_guest_from_an_address_that_is_not_loopback() -> None:
    """In a network of its own, whose only other address is made for this test."""
    if subprocess.run(["unshare", "--net", "true"], capture_output=True, check=False).returncode:
        pytest.skip("a network of its own is not allowed here")
    done = subprocess.run(
        ["unshare", "--net", "sh", "-c", NETWORK],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=18,
        check=False,
    )
    assert done.stdout == "192.0.2.1 refused\n127.0.0.1 let in\n", done.stderr


def test_the_control_socket_of_another_user() -> None:
    """The folders above it are open here, so that it is the socket itself that says no."""
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder, "data")
        with broker_process(data):
            path = data / SOCKET_NAME
            assert path.stat().st_mode & 0o777 == 0o600
            if os.geteuid() != 0:
                pytest.skip("only root can try it as somebody else")
            Path(folder).chmod(0o755)
            data.chmod(0o755)
            assert connect(path) == 0
            os.seteuid(NOBODY)
            try:
                error = connect(path)
            finally:
                os.seteuid(0)
            assert error == errno.EACCES


def connect(path: Path) -> int:
    """The error of a connection to a Unix socket; 0 for none."""
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(str(path))


def test_the_data_folder_is_for_nobody_else(broker: BrokerProcess) -> None:
    ch = broker.channel()
    ch.declare_queue("q", durable=True)
    ch.peer.close()
    assert broker.data_dir.stat().st_mode & 0o077 == 0
    for file in broker.data_dir.rglob("*"):
        assert file.stat().st_mode & 0o077 == 0, file
