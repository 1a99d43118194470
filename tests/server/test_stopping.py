"""SIGTERM and Ctrl-C: clients are told, what was confirmed is on disk, and it is quick."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest
from pamqp import commands

from .process import broker_process

PERSISTENT = commands.Basic.Properties(delivery_mode=2)
STOPPED = "CONNECTION_FORCED - broker forced connection closure with reason 'shutdown'"
both_signals = pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])


@both_signals
def test_clients_are_told_and_what_was_confirmed_is_kept(
    tmp_path: Path, number: signal.Signals
) -> None:
    with broker_process(tmp_path) as process:
        publisher, consumer = process.channel(), process.channel()
        publisher.declare_queue("q", durable=True)
        publisher.confirm()
        for body in (b"1", b"2", b"3"):
            publisher.publish(body, key="q", properties=PERSISTENT)
        publisher.expect_confirms(3)
        consumer.ack(consumer.must_get("q").tag)
        assert consumer.must_get("q").body == b"2"
        consumer.sync()
        publisher.publish(b"4", key="q", properties=PERSISTENT)
        publisher.sync()
        process.send_signal(number)
        for ch in (publisher, consumer):
            close = ch.peer.expect_connection_close(320, STOPPED)
            assert (close.class_id, close.method_id) == (0, 0)
        assert process.wait() == 0
        process.expect_log(f"INFO .* stopping on {number.name}")
        process.expect_log("INFO .* amqbroker stopped$")
        assert not process.find_log("ERROR|Traceback")
    with broker_process(tmp_path) as process:
        ch = process.channel()
        messages = [ch.must_get("q") for _ in range(3)]
        assert [message.body for message in messages] == [b"2", b"3", b"4"]
        # A clean stop remembers who was delivered before.
        assert [message.redelivered for message in messages] == [True, False, False]


@both_signals
def test_an_idle_broker_stops_at_once(tmp_path: Path, number: signal.Signals) -> None:
    with broker_process(tmp_path) as process:
        started_at = time.monotonic()
        assert process.stop(number) == 0
        assert time.monotonic() - started_at < 3


@both_signals
def test_a_second_signal_does_no_harm(tmp_path: Path, number: signal.Signals) -> None:
    with broker_process(tmp_path) as process:
        ch = process.channel()
        ch.declare_queue("q", durable=True)
        ch.confirm()
        ch.publish(b"1", key="q", properties=PERSISTENT)
        ch.expect_confirms(1)
        process.send_signal(number)
        # This client does not answer, so that the stop takes its time.
        ch.peer.expect(commands.Connection.Close)
        process.send_signal(number)
        assert process.wait() == 0
        assert not process.find_log("ERROR|Traceback")
    with broker_process(tmp_path) as process:
        assert process.channel().get_bodies("q") == [b"1"]


def test_clients_that_do_not_answer_or_read_hold_it_up_for_seconds_only(tmp_path: Path) -> None:
    with broker_process(tmp_path) as process:
        silent = process.channel()
        silent.declare_queue("q")
        for _ in range(200):
            silent.publish(bytes(100_000), key="q")
        silent.sync("q")
        deaf = process.channel()
        deaf.send(commands.Basic.Consume(queue="q"))
        in_handshake = process.raw()
        in_handshake.greet()
        process.raw()
        started_at = time.monotonic()
        assert process.stop() == 0
        assert time.monotonic() - started_at < 8
        assert silent.peer.expect(commands.Connection.Close).reply_code == 320
        assert not process.find_log("ERROR|Traceback")


def test_new_clients_are_not_accepted_while_it_stops(tmp_path: Path) -> None:
    with broker_process(tmp_path) as process:
        ch = process.channel()
        process.send_signal(signal.SIGTERM)
        ch.peer.expect(commands.Connection.Close)
        with pytest.raises(OSError, match=r"refused|reset"):
            process.transport()
        ch.peer.send(0, commands.Connection.CloseOk())
        assert process.wait() == 0


def test_a_port_in_use_is_named(tmp_path: Path) -> None:
    with broker_process(tmp_path / "one") as first:
        address = f"127.0.0.1:{first.port}"
        with broker_process(tmp_path / "two", listeners=[address]) as second:
            assert second.failed
            assert second.wait() == 1
            assert second.lines[0] == (
                f"amqbroker: cannot listen on {address}: Address already in use: is another broker "
                "running? Choose another port with --bind HOST:PORT"
            )
        first.channel().peer.close()
