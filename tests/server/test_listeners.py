"""The addresses that the broker listens on."""

from __future__ import annotations

import re
import socket
from pathlib import Path

import pytest

from tests.semantics.peer import Peer
from tests.semantics.transports import SocketTransport

from .process import broker_process


def has_ipv6() -> bool:
    """Whether this machine has the loopback address of IPv6."""
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


def test_clients_come_by_every_address(tmp_path: Path) -> None:
    listeners = ["127.0.0.1:0", "127.0.0.2:0", *(["[::1]:0"] if has_ipv6() else [])]
    with broker_process(tmp_path, listeners=listeners) as process:
        ready = re.search(r" ready on (.*) after ", process.find_log(" ready on "))
        assert ready is not None
        addresses = ready[1].split(", ")
        assert [address.rpartition(":")[0] for address in addresses] == [
            listener.rpartition(":")[0] for listener in listeners
        ]
        for address in addresses:
            host, _, port = address.rpartition(":")
            transport = SocketTransport(host.strip("[]"), int(port))
            peer = Peer(transport)
            peer.handshake()
            assert peer.is_alive()
            peer.close()


@pytest.mark.parametrize(
    ("listener", "reason"),
    [
        ("203.0.113.1:0", r"Cannot assign requested address: .* --bind"),
        ("no-such-host.invalid:5672", r".*: the name is not known here"),
    ],
)
def test_an_address_that_cannot_be_had_is_named(tmp_path: Path, listener: str, reason: str) -> None:
    with broker_process(tmp_path, listeners=[listener]) as process:
        assert process.failed
        assert process.wait() == 1
        assert re.search(f"amqbroker: cannot listen on {listener}: {reason}", process.lines[-2])
        assert process.lines[-1] == ""


def test_without_one_address_none_is_served(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, socket.create_server(("", 0)) as free:
        port = free.getsockname()[1]
        free.close()
        listeners = [f"127.0.0.1:{port}", f"127.0.0.1:{taken.getsockname()[1]}"]
        with broker_process(tmp_path, listeners=listeners) as process:
            assert process.failed
            assert process.wait() == 1
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port))
    # The data folder was let go.
    with broker_process(tmp_path) as process:
        assert not process.failed
