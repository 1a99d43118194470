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

from amqbroker.config import load
from amqbroker.config.changes import NEEDS_RESTART
from amqbroker.config.load import environment_variables
from amqbroker.config.shown import HIDDEN, SECRETS, shown

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
    file.write_text(json.dumps({"listeners": ["127.0.0.1:0"]} | settings))


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


EVERYTHING = {"configure": ".*", "write": ".*", "read": ".*"}
# Another value for every setting.
OTHERS: Settings = {
    "listeners": ["127.0.0.3:0"],
    "tls_listeners": ["127.0.0.3:0"],
    "tls.certificate": "",
    "tls.key": "",
    "tls.key_password": "p",
    "tls.ca_certificates": "none.pem",
    "tls.client_certificates": "optional",
    "tls.certificate_name": "dns",
    "tls.mechanisms": ["PLAIN"],
    "tls.version_min": "1.3",
    "tls.ciphers": "ECDHE+AESGCM",
    "data_dir": "/elsewhere",
    "vhosts": [{"name": "/"}, {"name": "other", "description": "d"}],
    "users": [{"name": "guest", "password": "guest", "permissions": {"other": EVERYTHING}}],
    "loopback_users": [],
    "limits.frame_max": 8192,
    "limits.channel_max": 77,
    "limits.heartbeat_s": 11,
    "limits.handshake_timeout_s": 1,
    "limits.message_size_bytes_max": 1000,
    "limits.connections_max": 3,
    "limits.consumer_timeout_ms": 60_000,
    "limits.outbox_bytes_max": 8192,
    "store.journal_file_size_bytes": 1_000_000,
    "store.settle_delay_ms": 9,
    "store.journal_pending_bytes_max": 1_000_000,
    "memory.high_watermark": 0.5,
    "memory.queue_bytes_max": 2_000_000,
    "dead_letters.published_history": "believed",
    "disk.free_limit": 100.0,
    "server_properties.product": "other",
    "server_properties.version": "4.0.0",
    "server_properties.cluster_name": "cluster",
    "server_properties.extra": {"a": "b"},
    "definitions.file": "/definitions.json",
    "log.level": "warning",
    "log.format": "json",
}
# The certificates' files are tried above.
FILES = ("tls.certificate", "tls.key", "tls.ca_certificates", "tls.client_certificates")


def tree(settings: Settings) -> dict[str, object]:
    """Settings by their paths, as the file has them."""
    made: dict[str, object] = {}
    for path, value in settings.items():
        section, _, key = path.partition(".")
        if key:
            inner = made.setdefault(section, {})
            assert isinstance(inner, dict)
            inner[key] = value
        else:
            made[section] = value
    return made


def at(settings: object, path: str) -> object:
    """A setting by its path."""
    for name in path.split("."):
        assert isinstance(settings, dict)
        settings = settings[name]
    return settings


def test_every_setting_holds_or_is_named_and_what_is_shown_is_what_holds(tmp_path: Path) -> None:
    assert set(OTHERS) == {".".join(path) for path in environment_variables().values()}
    # The environment names the data folder of a broker process, and wins.
    given = {key: OTHERS[key] for key in OTHERS if key != "data_dir" and key not in FILES}
    new = shown(load(options=tree({**given, "tls_listeners": []})))
    # The broker has no TLS listener, so that no file is read.
    del given["tls_listeners"]
    with started(tmp_path) as (process, file):
        before = ask(process, "environment")["result"]
        file.write_text(json.dumps(tree(given)))
        restart = sorted(key for key in given if key in NEEDS_RESTART)
        changed = sorted(key for key in given if key not in NEEDS_RESTART)
        assert reload(process) == {"changed": changed, "needs_restart": restart}
        after = ask(process, "environment")["result"]
        for key in changed:
            hidden = key.split(".")[-1] in SECRETS
            assert at(after, key) == (HIDDEN if hidden else at(new, key)), key
            assert at(after, key) != at(before, key), key
        for key in restart:
            assert at(after, key) == at(before, key), key
        check_effects(process)
        file.write_text(json.dumps(tree({**given, "disk.free_limit": 0})))
        assert at(reload(process), "changed") == ["disk.free_limit"]
        process.drop_clients()
        peer = process.raw()
        peer.handshake(vhost="other", channel_max=77, frame_max=8192)
        ch = peer.open_channel()
        ch.publish(b"x" * 1001)
        ch.expect_channel_close(406)


def check_effects(process: BrokerProcess) -> None:
    """What clients see of other settings."""
    peer = process.raw()
    peer.greet()
    properties = peer.server_properties
    names = ("product", "version", "cluster_name", "a")
    assert [properties[name] for name in names] == ["other", "4.0.0", "cluster", "b"]
    peer.log_in()
    peer.tune_ok(channel_max=77, frame_max=8192, heartbeat=0)
    assert peer.tune is not None
    assert (peer.tune.channel_max, peer.tune.frame_max, peer.tune.heartbeat) == (77, 8192, 11)
    peer.open("other")
    silent = process.raw()
    silent.greet()
    silent.expect_dropped()
    process.expect_log("no connection.open within 1 s")
    wait_until(
        lambda: "disk" in str(ask(process, "status")["result"]["alarm"]),  # type: ignore[index]
        "an alarm",
    )
    others = [process.raw() for _ in range(3)]
    for other in others[:2]:
        other.handshake(vhost="other", channel_max=77, frame_max=8192)
    others[2].greet()
    others[2].log_in()
    others[2].tune_ok(channel_max=77, frame_max=8192)
    others[2].send(0, amqp.Connection.Open(virtual_host="other"))
    others[2].expect_connection_close(530)


def test_guest_is_warned_of_when_a_reload_lets_it_in(tmp_path: Path) -> None:
    # An address of this host, written so that only the system knows it.
    opened: Settings = {"listeners": ["127.1:0"]}
    with started(tmp_path, **opened) as (process, file):
        process.expect_log("WARNING .* user 'guest' .* may log in from this host only")
        assert not process.find_log("may log in from anywhere")
        write(file, **opened, loopback_users=[])
        reload(process)
        process.expect_log("WARNING .* user 'guest' .* may log in from anywhere")
