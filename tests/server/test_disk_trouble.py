"""Disks that are full, slow, in use or not to be written: real ones."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from pamqp import commands

from amqbroker.store.files import RealFile
from amqbroker.testing import broker
from tests.semantics.peer import Channel, Peer
from tests.semantics.transports import SocketTransport

from .process import BrokerProcess, broker_process, wait_until

PERSISTENT = commands.Basic.Properties(delivery_mode=2)
BODY_BYTES = 10_000
SMALL_DISK_BYTES = 2 * 1024 * 1024


# Folders that cannot be had.


def test_a_data_folder_in_use_names_the_process(tmp_path: Path) -> None:
    with broker_process(tmp_path) as first, broker_process(tmp_path) as second:
        assert second.failed
        assert second.wait() == 1
        assert second.lines[0] == (
            f"amqbroker: the data folder {tmp_path} is in use by process {first.pid}"
        )
        first.channel().peer.close()


@contextmanager
def small_disk(folder: Path, options: str) -> Iterator[Callable[[str], None]]:
    """A file system in memory, with a function that changes its options; without the right to mount
    a developer's machine skips, CI does not.
    """
    mount = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        assert not os.environ.get("CI"), "CI is root, and may mount"
        pytest.skip("mounting is not allowed here")
    try:
        yield lambda changed: _run("mount", "-o", f"remount,{changed}", str(folder))
    finally:
        _run("umount", "--lazy", str(folder))


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)


def test_a_read_only_data_folder_is_refused(tmp_path: Path) -> None:
    with small_disk(tmp_path, "ro"), broker_process(tmp_path) as process:
        assert process.wait() == 1
        assert process.lines[0] == f"amqbroker: cannot lock {tmp_path}/lock: Read-only file system"


def test_a_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"")
    with broker_process(path) as process:
        assert process.wait() == 1
        assert process.lines[0] == f"amqbroker: cannot create {path}: File exists"


# A full disk.


def publish(ch: Channel, number: int) -> None:
    """A message of some size, which begins with its number."""
    ch.publish(b"%06d" % number + bytes(BODY_BYTES), key="kept", properties=PERSISTENT)


def fill_disk(broker: BrokerProcess) -> tuple[Channel, int, int]:
    """Publish until the broker takes no more: the channel, how many messages were confirmed, and
    how many were sent.
    """
    ch = broker.channel()
    ch.declare_queue("kept", durable=True)
    ch.confirm()
    confirmed = 0
    for number in range(100_000):
        publish(ch, number)
        while not (item := ch.peer.next_item(ch.number, 0.1)):
            if broker.find_log("ERROR"):
                return ch, confirmed, number + 1
        if isinstance(item, commands.Basic.Nack):
            return ch, confirmed, number + 1
        assert isinstance(item, commands.Basic.Ack)
        confirmed = item.delivery_tag or 0
    raise AssertionError("the disk is never full")


def numbers_in(ch: Channel, queue: str) -> list[bytes]:
    """All messages of a queue, acked."""
    return [body[:6] for body in ch.get_bodies(queue)]


def check_blocked(broker: BrokerProcess) -> Channel:
    """Publishers are blocked and told why, everybody else goes on: a publisher."""
    start = len(broker.lines)
    late = broker.channel()
    late.publish(b"late", key="kept", properties=PERSISTENT)
    assert late.peer.expect(commands.Connection.Blocked).reason == "low on disk"
    broker.expect_log("WARNING .* is blocked: it publishes while the broker is low on disk", start)
    assert broker.connect().is_alive()
    return late


def drain(broker: BrokerProcess, first: int, count: int) -> None:
    """So many messages, in order, acked."""
    consumer = broker.channel()
    consumer.qos(100)
    consumer.consume("kept", "c")
    for number in range(first, first + count):
        message = consumer.expect_delivery()
        assert message.body[:6] == b"%06d" % number
        consumer.ack(message.tag)
    consumer.cancel("c")
    consumer.peer.close()


FULL = "ERROR .* the disk is full: cannot (write to|create) .*: No space left on device"
ROOM = "INFO .* the disk has room again"
SMALL_FILES = {"journal_file_size_bytes": 1024 * 1024}


@contextmanager
def full_disk(folder: Path, **settings: object) -> Iterator[tuple[BrokerProcess, Path]]:
    """A broker on a small disk, part of which is a file that can go."""
    with small_disk(folder, "size=14m"):
        ballast = folder / "ballast"
        ballast.write_bytes(bytes(4 * 1024 * 1024))
        with broker_process(folder / "data", disk={"free_limit": 0}, **settings) as process:
            yield process, ballast


def test_a_full_disk_blocks_until_there_is_room(tmp_path: Path) -> None:
    with full_disk(tmp_path) as (process, ballast):
        ch, confirmed, sent = fill_disk(process)
        assert confirmed * BODY_BYTES > 8 * 1024 * 1024
        process.expect_log(FULL)
        late = check_blocked(process)
        drain(process, 0, 50)
        assert not process.find_log(ROOM)
        ballast.unlink()
        process.expect_log(ROOM)
        late.peer.expect(commands.Connection.Unblocked)
        while confirmed < sent:
            confirmed = ch.expect(commands.Basic.Ack).delivery_tag or 0
        publish(ch, sent)
        assert ch.expect(commands.Basic.Ack).delivery_tag == sent + 1
        process.send_signal(9)
        process.wait()
        with broker_process(tmp_path / "data", disk={"free_limit": 0}) as again:
            found = numbers_in(again.channel(), "kept")
            expected = [b"%06d" % number for number in range(50, sent)]
            assert [number for number in found if number >= b"000050"] == [
                *expected,
                b"late\0\0"[:4],
                b"%06d" % sent,
            ]


def test_consumers_make_room_on_a_full_disk(tmp_path: Path) -> None:
    with full_disk(tmp_path, store=SMALL_FILES) as (process, _):
        ch, confirmed, sent = fill_disk(process)
        drain(process, 0, sent)
        process.expect_log(ROOM)
        while confirmed < sent:
            confirmed = ch.expect(commands.Basic.Ack).delivery_tag or 0
        for number in range(sent, sent + 500):
            publish(ch, number)
        ch.expect_confirms(sent + 500, first=sent + 1)


@pytest.mark.parametrize("settings", [{}, {"memory": {"queue_bytes_max": "1MiB"}}])
def test_a_kill_on_a_full_disk_loses_nothing(tmp_path: Path, settings: dict[str, object]) -> None:
    with full_disk(tmp_path, store=SMALL_FILES, **settings) as (process, ballast):
        _, confirmed, sent = fill_disk(process)
        process.expect_log(FULL)
        process.send_signal(9)
        process.wait()
        process.drop_clients()
        with broker_process(tmp_path / "data", disk={"free_limit": 0}) as again:
            # Still full: the reserve has room for a start.
            assert not again.failed
            found = again.channel().declare_queue("kept", passive=True).message_count or 0
            assert confirmed <= found <= sent
            drain(again, 0, found)
            again.send_signal(9)
            again.wait()
        ballast.unlink()
        with broker_process(tmp_path / "data", disk={"free_limit": 0}) as last:
            publisher = last.channel()
            publisher.confirm()
            publish(publisher, 0)
            publisher.expect_confirms(1)


def test_an_alarm_comes_before_the_disk_is_full(tmp_path: Path) -> None:
    with small_disk(tmp_path, "size=24m"):
        ballast = tmp_path / "ballast"
        ballast.write_bytes(bytes(16 * 1024 * 1024))
        limit = {"free_limit": "12MiB"}
        with broker_process(tmp_path / "data", disk=limit) as process:
            process.expect_log("WARNING amqbroker low on disk: publishers are blocked")
            late = check_blocked(process)
            ballast.unlink()
            late.peer.expect(commands.Connection.Unblocked)
            late.sync()


def test_a_limit_on_files_is_a_broken_disk(tmp_path: Path) -> None:
    with broker_process(tmp_path, file_size_bytes_max=SMALL_DISK_BYTES) as process:
        ch, confirmed, sent = fill_disk(process)
        assert confirmed > 100
        process.expect_log("ERROR .* the journal cannot be written: cannot write to .*/journal-")
        check_blocked(process)
        drain(process, 0, sent)
        ch.peer.drop()
        process.send_signal(9)
        process.wait()
    with broker_process(tmp_path) as process:
        expected = [b"%06d" % number for number in range(confirmed)]
        assert numbers_in(process.channel(), "kept")[:confirmed] == expected


# A slow disk.


class SlowDisk:
    """Syncs that wait until they may go on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.go = threading.Event()
        self.go.set()
        self.waiting = threading.Event()
        sync = RealFile.sync

        def slow_sync(file: RealFile) -> None:
            if not self.go.is_set():
                self.waiting.set()
                self.go.wait(15)
            sync(file)

        monkeypatch.setattr(RealFile, "sync", slow_sync)


def test_a_slow_disk_holds_publishers_back_and_nobody_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    disk = SlowDisk(monkeypatch)
    with broker(store={"journal_pending_bytes_max": 1_000_000}) as running:
        transport = SocketTransport(running.host, running.port)
        watching = SocketTransport(running.host, running.port)
        peer, watcher = Peer(transport), Peer(watching)
        try:
            for each in (peer, watcher):
                each.handshake()
            ch, other = peer.open_channel(), watcher.open_channel()
            ch.declare_queue("q", durable=True)
            other.declare_queue("transient")
            # The watcher publishes nothing itself: whoever publishes is held back.
            ch.publish(b"quick", key="transient")
            ch.confirm()
            disk.go.clear()
            published = _publish_until_blocked(ch, transport)
            assert disk.waiting.is_set()
            # What the broker took is bounded: the rest waits in the sockets.
            taken = other.declare_queue("q", passive=True).message_count or 0
            assert taken * 100_000 < 4_000_000
            assert other.must_get("transient").body == b"quick"
            disk.go.set()
            ch.expect_confirms(published)
            wait_until(
                lambda: other.declare_queue("q", passive=True).message_count == published,
                "all messages are in the queue",
            )
        finally:
            disk.go.set()
            transport.close()
            watching.close()


def _publish_until_blocked(ch: Channel, transport: SocketTransport) -> int:
    """Publish until the socket takes no more for a while; the broken message is sent to its end
    later, by a thread.
    """
    whole = _published_bytes(ch)
    sock = transport._socket
    for count in range(1000):
        sock.settimeout(0.5)
        position = 0
        while position < len(whole):
            try:
                position += sock.send(whole[position:])
            except TimeoutError:
                rest = whole[position:]
                sock.settimeout(15)
                threading.Thread(target=sock.sendall, args=(rest,), daemon=True).start()
                return count + 1
    raise AssertionError("the broker takes everything")


def _published_bytes(ch: Channel) -> bytes:
    """A persistent message of 100,000 bytes to the queue q."""
    kept: list[bytes] = []

    class Sink:
        exact = False
        closed = False

        def send(self, data: bytes) -> None:
            kept.append(data)

        def receive(self, timeout_s: float) -> bytes:
            return b""

        def close(self) -> None:
            pass

    Peer(Sink()).channel(ch.number).publish(bytes(100_000), key="q", properties=PERSISTENT)
    return b"".join(kept)


def test_delivery_does_not_wait_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    disk = SlowDisk(monkeypatch)
    with broker() as running:
        transport = SocketTransport(running.host, running.port)
        peer = Peer(transport)
        try:
            peer.handshake()
            ch = peer.open_channel()
            ch.declare_queue("q", durable=True)
            ch.consume("q", "c")
            ch.confirm()
            disk.go.clear()
            ch.publish(b"first", key="q", properties=PERSISTENT)
            ch.expect_delivery(b"first", "c")
            assert not any(isinstance(item, commands.Basic.Ack) for _, item in peer.waiting())
            disk.go.set()
            ch.expect_confirms(1)
        finally:
            disk.go.set()
            transport.close()
