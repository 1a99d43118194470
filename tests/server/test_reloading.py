"""The configuration of a broker process read again, on SIGHUP and by command."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from pamqp import commands as amqp

from .certificates import Authority
from .process import BrokerProcess, broker_process, wait_until
from .test_operations import ask, error_of, rows
from .test_tls import serial_of

Settings = dict[str, object]


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """Who issues certificates."""
    return Authority(tmp_path)


def write(file: Path, **settings: object) -> None:
    """A configuration file."""
    file.write_text(json.dumps({"listeners": ["127.0.0.1:0"], **settings}))


@contextmanager
def started(tmp_path: Path, **settings: object) -> Iterator[tuple[BrokerProcess, Path]]:
    """A broker with a configuration file."""
    file = tmp_path / "amqbroker.yaml"
    write(file, **settings)
    with broker_process(tmp_path / "data", arguments=("--config", str(file))) as process:
        yield process, file


def reload(process: BrokerProcess) -> object:
    """The result of the command."""
    answer = ask(process, "reload")
    assert "result" in answer, answer
    return answer["result"]


def is_quiet(process: BrokerProcess) -> bool:
    """Whether only warnings are logged."""
    environment = ask(process, "environment")["result"]
    return environment["log"]["level"] == "warning"  # type: ignore[index, no-any-return]


def test_limits_hold_for_connections_that_come(tmp_path: Path) -> None:
    with started(tmp_path, limits={"heartbeat_s": 7}) as (process, file):
        write(file, limits={"heartbeat_s": 9, "frame_max": 8192}, memory={"high_watermark": 0.5})
        assert reload(process) == {
            "changed": ["limits.frame_max", "limits.heartbeat_s", "memory.high_watermark"],
            "needs_restart": [],
        }
        process.expect_log("configuration reloaded: limits.frame_max, limits.heartbeat_s")
        peer = process.raw()
        peer.greet()
        peer.log_in("guest", "guest")
        tune = peer.expect(amqp.Connection.Tune)
        assert (tune.heartbeat, tune.frame_max) == (9, 8192)
        environment = ask(process, "environment")["result"]
        assert environment["limits"]["heartbeat_s"] == 9  # type: ignore[index]
        assert reload(process) == {"changed": [], "needs_restart": []}
        process.expect_log("configuration reloaded: nothing has changed")


def test_users_and_virtual_hosts_come_and_go(tmp_path: Path) -> None:
    everything = {"configure": ".*", "write": ".*", "read": ".*"}
    ann = {"name": "ann", "password": "a", "permissions": {"/": everything}}
    with started(tmp_path, users=[ann], vhosts=[{"name": "/"}]) as (process, file):
        peer = process.raw()
        peer.handshake("ann", "a", "/")
        bob = {"name": "bob", "password": "b", "permissions": {"v": everything}}
        write(file, users=[bob], vhosts=[{"name": "/"}, {"name": "v"}])
        assert reload(process) == {"changed": ["users", "vhosts"], "needs_restart": []}
        close = peer.expect(amqp.Connection.Close)
        assert "user 'ann' is no longer in the configuration" in close.reply_text
        process.raw().handshake("bob", "b", "v")
        assert rows(process, "list_users") == [["bob", []]]


def test_what_needs_a_restart_is_named(tmp_path: Path) -> None:
    with started(tmp_path) as (process, file):
        settings: Settings = {"store": {"settle_delay_ms": 9}, "data_dir": "/elsewhere"}
        write(file, listeners=["127.0.0.1:1"], **settings)
        restart = ["listeners", "store.settle_delay_ms"]
        # The environment names the folder, and wins.
        assert reload(process) == {"changed": [], "needs_restart": restart}
        process.expect_log(f"WARNING .* needs a restart: {', '.join(restart)}")
        environment = ask(process, "environment")["result"]
        assert environment["listeners"] == ["127.0.0.1:0"]  # type: ignore[index]
        process.channel()


def test_a_broken_file_changes_nothing_and_says_why(tmp_path: Path) -> None:
    with started(tmp_path) as (process, file):
        write(file, limits={"heartbeat_s": "x"}, log={"level": "debug"})
        code, text = error_of(ask(process, "reload"))
        assert code == "bad-data"
        assert str(text).startswith(f"{file}:1: limits.heartbeat_s: a whole number")
        start = len(process.lines)
        process.send_signal(signal.SIGHUP)
        process.expect_log("ERROR .* configuration not reloaded: .* limits.heartbeat_s", start)
        file.unlink()
        process.send_signal(signal.SIGHUP)
        process.expect_log("configuration not reloaded: .*: cannot be read: No such file", start)
        environment = ask(process, "environment")["result"]
        assert environment["log"]["level"] == "info"  # type: ignore[index]


def test_the_log_changes_at_once(tmp_path: Path) -> None:
    with started(tmp_path) as (process, file):
        write(file, log={"format": "json", "level": "warning"})
        process.send_signal(signal.SIGHUP)
        wait_until(lambda: is_quiet(process), "the log has only warnings")
        write(file, log={"format": "json"})
        process.send_signal(signal.SIGHUP)
        line = process.expect_log("configuration reloaded: log.level")
        assert json.loads(line)["level"] == "INFO"
        assert ask(process, "set_log_level", level="debug")["result"] == {}
        process.raw().transport.close()
        process.expect_log("closed without a byte: a health check")
        assert error_of(ask(process, "set_log_level", level="loud")) == (
            "bad-argument",
            "no level 'loud': debug, info, warning, error are levels",
        )


def test_certificates_of_other_settings(authority: Authority, tmp_path: Path) -> None:
    certificate, key = authority.issue("broker")
    listeners: Settings = {"tls_listeners": ["127.0.0.1:0"]}
    with started(tmp_path, tls={"certificate": certificate, "key": key}, **listeners) as (
        process,
        file,
    ):
        first = serial_of(process.tls_port, authority)
        other = [shutil.copy(path, f"{path}.old") for path in (certificate, key)]
        tls = dict(zip(("certificate", "key"), authority.issue("broker"), strict=True))
        write(file, tls=tls | {"version_min": "1.3"}, **listeners)
        assert reload(process) == {"changed": ["tls.version_min"], "needs_restart": []}
        assert serial_of(process.tls_port, authority) != first
        os.truncate(key, 0)
        code, text = error_of(ask(process, "reload"))
        assert code == "bad-data"
        assert f"tls.key: there is not a private key in {key}" in str(text)
        write(file, tls={"certificate": other[0], "key": other[1]}, **listeners)
        reload(process)
        assert serial_of(process.tls_port, authority) == first
        write(file)
        assert reload(process) == {
            "changed": ["tls.certificate", "tls.key"],
            "needs_restart": ["tls_listeners"],
        }
        assert serial_of(process.tls_port, authority) == first


def test_a_configuration_from_a_pipe_is_read_once(tmp_path: Path) -> None:
    with broker_process(tmp_path / "data", limits={"heartbeat_s": 7}) as process:
        assert reload(process) == {"changed": [], "needs_restart": []}
        process.expect_log("not read from a file: only certificates are read again")
        environment = ask(process, "environment")["result"]
        assert environment["limits"]["heartbeat_s"] == 7  # type: ignore[index]


@pytest.mark.parametrize("timeout_ms", [0, 60_000])
def test_a_consumer_timeout_holds_for_consumers_that_are_there(
    tmp_path: Path, timeout_ms: int
) -> None:
    with started(tmp_path, limits={"consumer_timeout_ms": 100_000}) as (process, file):
        ch = process.channel()
        ch.declare_queue("q")
        ch.consume("q")
        write(file, limits={"consumer_timeout_ms": timeout_ms})
        assert reload(process) == {
            "changed": ["limits.consumer_timeout_ms"],
            "needs_restart": [],
        }
        assert ch.queue_exists("q")
