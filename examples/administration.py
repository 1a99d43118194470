"""A day of an administrator: a team moves in, gets limits, and is looked after, all with
`amqbroker ctl`.

python examples/administration.py        (needs: amqbroker, pika)
"""

from __future__ import annotations

import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

import pika

from amqbroker.testing import broker

# What another broker exported: RabbitMQ's definitions.
MOVED = """{"queues": [
  {"name": "history", "vhost": "team", "durable": true, "arguments": {"x-queue-type": "stream"}},
  {"name": "invoices", "vhost": "team", "durable": true, "arguments": {"x-max-priority": 5}}
]}"""


def ctl(folder: str, command: str) -> str:
    """Run a command as in a shell, show it, and give back what it printed."""
    print(f"\n$ amqbroker ctl {command}", flush=True)
    done = subprocess.run(
        [sys.executable, "-m", "amqbroker", "ctl", "--data-dir", folder, *shlex.split(command)],
        capture_output=True,
        text=True,
        check=False,
    )
    print(done.stdout + done.stderr, end="", flush=True)
    return done.stdout


def main() -> None:
    """From an empty broker to one whose queues are bounded."""
    with tempfile.TemporaryDirectory() as home, broker(data_dir=f"{home}/data") as amqp:
        folder, definitions = amqp.config.data_dir, Path(home, "definitions.json")
        ctl(folder, "add_vhost team --description 'orders and invoices' --tags production")
        ctl(folder, "add_user ann s3cret")
        ctl(folder, "set_permissions -p team ann '^' '.*' '.*'")
        ctl(folder, """set_user_limits ann '{"max-connections": 20}'""")
        definitions.write_text(MOVED)
        ctl(folder, f"import_definitions {definitions}")
        ctl(
            folder, """set_policy -p team bounded '^orders' '{"max-length": 2}' --apply-to queues"""
        )
        url = f"amqp://ann:s3cret@{amqp.host}:{amqp.port}/team"
        with pika.BlockingConnection(pika.URLParameters(url)) as connection:
            channel = connection.channel()
            channel.queue_declare("orders", durable=True)
            for number in range(3):
                channel.basic_publish("", "orders", f"order {number}".encode())
            ctl(folder, "list_connections user vhost peer_host channels state")
            listed = ctl(folder, "list_queues -p team name messages policy")
        peeked = ctl(folder, "peek -p team orders")
        ctl(folder, f"export_definitions {definitions}")
    assert "orders    2" in listed, "the policy keeps two"
    assert "order 1" in peeked
    assert "order 0" not in peeked


if __name__ == "__main__":
    main()
