"""The broker in a test: it serves, it goes, and it takes settings."""

from __future__ import annotations

import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pika
import pytest

from amqbroker.config import ConfigError
from amqbroker.server.startup import StartError
from amqbroker.testing import Broker, broker

pytest_plugins = ["pytester"]


def say_hello(url: str) -> bytes:
    """Send a message through a queue, and what comes out."""
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        channel = connection.channel()
        channel.queue_declare("hello")
        channel.basic_publish("", "hello", b"world")
        _, _, body = channel.basic_get("hello", auto_ack=True)
        assert isinstance(body, bytes)
        return body


def test_a_client_can_use_it() -> None:
    with broker() as running:
        assert say_hello(running.url) == b"world"


def test_it_is_gone_after_the_block() -> None:
    with broker() as running:
        folder = Path(running.config.data_dir)
        assert folder.is_dir()
    assert not folder.exists()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((running.host, running.port))


def test_it_is_gone_after_an_error_too() -> None:
    with pytest.raises(ZeroDivisionError), broker() as running:
        raise ZeroDivisionError
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((running.host, running.port))


def test_two_do_not_meet() -> None:
    with broker() as one, broker() as other:
        assert one.port != other.port
        say_hello(one.url)
        assert say_hello(other.url) == b"world"


def send_and_get(url: str, octet: bytes) -> None:
    """Messages of one octet, again and again, come out as they came in."""
    body = octet * 100_000
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        channel = connection.channel()
        channel.queue_declare("many")
        for _ in range(200):
            channel.basic_publish("", "many", body)
        for _ in range(200):
            assert channel.basic_get("many", auto_ack=True)[2] == body


def test_two_that_read_at_once_do_not_mix() -> None:
    with broker() as one, broker() as other, ThreadPoolExecutor() as threads:
        sends = [threads.submit(send_and_get, one.url, b"1")]
        sends.append(threads.submit(send_and_get, other.url, b"2"))
        for send in sends:
            send.result()


def test_settings_are_those_of_the_file() -> None:
    with broker(
        vhosts=[{"name": "/"}, {"name": "a/b"}],
        users=[
            {"name": "ann:1", "password": "p@ss", "permissions": {"a/b": dict.fromkeys(ALL, ".*")}}
        ],
    ) as running:
        assert say_hello(running.url_of("ann:1", "a/b")) == b"world"


ALL = ("configure", "write", "read")


def test_messages_outlive_it_in_a_folder_of_ones_own(tmp_path: Path) -> None:
    with (
        broker(data_dir=str(tmp_path)) as running,
        pika.BlockingConnection(pika.URLParameters(running.url)) as connection,
    ):
        channel = connection.channel()
        channel.confirm_delivery()
        channel.queue_declare("kept", durable=True)
        channel.basic_publish("", "kept", b"x", pika.BasicProperties(delivery_mode=2))
    with (
        broker(data_dir=str(tmp_path)) as running,
        pika.BlockingConnection(pika.URLParameters(running.url)) as connection,
    ):
        assert connection.channel().basic_get("kept", auto_ack=True)[2] == b"x"


def test_a_wrong_setting_is_a_config_error() -> None:
    with pytest.raises(ConfigError, match="did you mean 'limits'"), broker(limit={}):
        pass


def test_a_port_in_use_is_a_start_error() -> None:
    with (
        broker() as running,
        pytest.raises(StartError, match=f"127.0.0.1:{running.port}"),
        broker(listeners=[f"127.0.0.1:{running.port}"]),
    ):
        pass


def test_the_url_is_written_for_any_client() -> None:
    with broker(listeners=["[::1]:0"]) as running:
        assert running.url == f"amqp://guest:guest@[::1]:{running.port}/"


@pytest.mark.amqp_broker(server_properties={"product": "Test"})
def test_the_fixture_takes_settings_from_the_marker(amqp_broker: Broker) -> None:
    assert amqp_broker.config.server_properties.product == "Test"


def test_the_fixture_is_there_by_installation(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_it(amqp_broker):\n    assert amqp_broker.url\n")
    pytester.runpytest_inprocess("-p", "no:cacheprovider").assert_outcomes(passed=1)
