"""`python -m interop.clients.python CLIENT --uri URI --prefix PREFIX`: one client's checklist."""

from __future__ import annotations

import argparse
import importlib
import logging
import os
import sys
from typing import Final

from interop import checklist
from interop.clients.python.address import Address
from interop.clients.python.checks import Checks

#: Client name to its driver; imported on use, since not every library need be installed.
DRIVERS: Final = {
    "pika-blocking": "pika_blocking:PikaBlocking",
    "pika-select": "pika_callbacks:PikaSelect",
    "pika-asyncio": "pika_callbacks:PikaAsyncio",
    "aio-pika": "aio_pika_driver:AioPika",
    "amqpstorm": "amqpstorm_driver:AmqpStorm",
    "kombu": "kombu_driver:Kombu",
}


def main() -> int:
    """Run the checks and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m interop.clients.python")
    parser.add_argument("client", choices=sorted(DRIVERS))
    parser.add_argument("--uri", default="amqp://guest:guest@127.0.0.1:5672/%2F")
    parser.add_argument("--prefix", default=f"interop.{os.getpid()}")
    parser.add_argument("--only", nargs="+", metavar="CHECK", help="run these checks alone")
    parser.add_argument("--log", default="CRITICAL", help="level of the library's log on stderr")
    options = parser.parse_args()
    logging.basicConfig(level=options.log)
    module, _, name = DRIVERS[options.client].partition(":")
    driver = getattr(importlib.import_module(f"interop.clients.python.{module}"), name)()
    checks = Checks(driver, Address.parse(options.uri), options.prefix).all()
    if options.only:
        checks = {name: checks[name] for name in options.only}
    return 0 if checklist.run(checks) else 1


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code)  # not sys.exit: a check that was given up may have left threads that never end
