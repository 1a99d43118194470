"""Logs `guest` in from an address that is not loopback, and from one that is; prints what came of
it.

For a network of its own in which 192.0.2.1 is this machine: see `test_on_the_machine.py`.
"""

from __future__ import annotations

import sys

import pika
from pika.exceptions import ProbableAuthenticationError

from amqbroker.testing import broker


def main() -> None:
    """One line an address."""
    with broker(listeners=["0.0.0.0:0"]) as running:
        for host in ("192.0.2.1", "127.0.0.1"):
            try:
                pika.BlockingConnection(pika.ConnectionParameters(host, running.port)).close()
            except ProbableAuthenticationError:
                sys.stdout.write(f"{host} refused\n")
            else:
                sys.stdout.write(f"{host} let in\n")


if __name__ == "__main__":
    main()
