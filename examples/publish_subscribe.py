"""Publish and subscribe: a fanout exchange copies every message to each subscriber's own queue.

python examples/publish_subscribe.py        (needs: amqbroker, pika)
"""

from __future__ import annotations

import threading

import pika

from amqbroker.testing import broker

HEADLINES = ("it rains", "it shines", "the end")


def subscribe(url: str, name: str, ready: threading.Barrier, heard: dict[str, list[str]]) -> None:
    """Listen until the last headline."""
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        channel = connection.channel()
        channel.exchange_declare("news", "fanout")
        # A name made up by the broker, and a queue that goes with this connection.
        queue = channel.queue_declare("", exclusive=True).method.queue
        channel.queue_bind(queue, "news")
        ready.wait()
        for _, _, body in channel.consume(queue, auto_ack=True):
            # One write, as two threads print.
            print(f"{name} hears: {body.decode()}\n", end="", flush=True)
            heard[name].append(body.decode())
            if body.decode() == HEADLINES[-1]:
                break


def main() -> None:
    """Two subscribers and a publisher, which knows neither."""
    heard: dict[str, list[str]] = {"Ann": [], "Bob": []}
    ready = threading.Barrier(len(heard) + 1)
    with broker() as amqp:
        threads = [
            threading.Thread(target=subscribe, args=(amqp.url, name, ready, heard))
            for name in heard
        ]
        for thread in threads:
            thread.start()
        ready.wait()
        with pika.BlockingConnection(pika.URLParameters(amqp.url)) as connection:
            channel = connection.channel()
            for headline in HEADLINES:
                channel.basic_publish("news", "", headline.encode())
        for thread in threads:
            thread.join()
    assert all(tuple(each) == HEADLINES for each in heard.values()), heard


if __name__ == "__main__":
    main()
