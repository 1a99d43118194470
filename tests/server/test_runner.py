"""What the node's tasks do for it: the journal, the clock, the password checks."""

from __future__ import annotations

import socket

import pika
import pytest
from pika.exceptions import ProbableAuthenticationError

from amqbroker.testing import Broker

PERSISTENT = pika.BasicProperties(delivery_mode=2)


def test_the_journal_confirms_what_it_has_written(amqp_broker: Broker) -> None:
    with pika.BlockingConnection(pika.URLParameters(amqp_broker.url)) as connection:
        channel = connection.channel()
        channel.queue_declare("q", durable=True)
        channel.confirm_delivery()
        for number in range(20):
            channel.basic_publish("", "q", str(number).encode(), PERSISTENT)
        bodies = [channel.basic_get("q", auto_ack=True)[2] for _ in range(20)]
        assert bodies == [str(number).encode() for number in range(20)]


@pytest.mark.amqp_broker(limits={"handshake_timeout_s": 1})
def test_the_clock_ends_a_handshake_that_does_not_go_on(amqp_broker: Broker) -> None:
    with socket.create_connection((amqp_broker.host, amqp_broker.port), timeout=10) as client:
        assert client.recv(1) == b""


def test_a_wrong_password_is_refused_and_a_right_one_is_not(amqp_broker: Broker) -> None:
    parameters = pika.URLParameters(amqp_broker.url)
    parameters.credentials = pika.PlainCredentials("guest", "wrong")
    with pytest.raises(ProbableAuthenticationError):
        pika.BlockingConnection(parameters)
    pika.BlockingConnection(pika.URLParameters(amqp_broker.url)).close()
