"""A work queue whose first worker crashes: what it held is delivered again, to the next one.

python examples/work_queue.py        (needs: amqbroker, pika)
"""

from __future__ import annotations

import multiprocessing
import os

import pika

from amqbroker.testing import broker


def publish(url: str) -> None:
    """Five tasks, each kept on disk before this returns."""
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        channel = connection.channel()
        channel.queue_declare("tasks", durable=True)
        channel.confirm_delivery()
        for number in range(1, 6):
            properties = pika.BasicProperties(delivery_mode=2)
            channel.basic_publish("", "tasks", f"task {number}".encode(), properties)


def work(url: str, name: str, crash_at: str) -> None:
    """Take one task at a time until the queue is empty; crash in the middle of the one named."""
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        channel = connection.channel()
        channel.basic_qos(prefetch_count=1)
        for method, _, body in channel.consume("tasks", inactivity_timeout=0.5):
            if method is None:
                break
            again = " (delivered again)" if method.redelivered else ""
            print(f"{name} has {body.decode()}{again}", flush=True)
            if body.decode() == crash_at:
                print(f"{name} crashes", flush=True)
                os._exit(1)
            channel.basic_ack(method.delivery_tag)


def main() -> None:
    """Publish, let one worker crash, let another finish."""
    processes = multiprocessing.get_context("spawn")
    with broker() as amqp:
        publish(amqp.url)
        for name, crash_at in (("worker 1", "task 3"), ("worker 2", "")):
            worker = processes.Process(target=work, args=(amqp.url, name, crash_at))
            worker.start()
            worker.join()
        with pika.BlockingConnection(pika.URLParameters(amqp.url)) as connection:
            left = connection.channel().queue_declare("tasks", passive=True).method.message_count
        print(f"tasks left: {left}")
        assert left == 0


if __name__ == "__main__":
    main()
