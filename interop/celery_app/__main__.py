"""`python -m interop.celery_app --uri URI --prefix PREFIX`: a worker and the checks on it."""

from __future__ import annotations

import argparse
import os
import sys
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from interop import checklist
from interop.broker import started
from interop.catalog import load
from interop.clients.python.address import Address
from interop.clients.python.relay import Relay

_TOTAL_S = 130.0


def main() -> int:
    """Run the checks and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m interop.celery_app")
    parser.add_argument("--uri", default="amqp://guest:guest@127.0.0.1:5672/%2F")
    parser.add_argument("--prefix", default=f"interop.{os.getpid()}")
    parser.add_argument("--variant", default="classic", help="of the application, see app.py")
    parser.add_argument("--only", nargs="+", metavar="CHECK", help="run these checks alone")
    options = parser.parse_args()
    here = Path(__file__).resolve().parent
    names = next(c.checks for c in load() if c.folder == here and options.variant in c.command)
    with ExitStack() as stack:
        own = stack.enter_context(started()) if options.variant == "restart" else None
        uri = options.uri if own is None else own.uri
        relay = stack.enter_context(Relay(Address.parse(uri)))
        folder = stack.enter_context(TemporaryDirectory())
        # The application reads both when it is imported, here as in the worker.
        os.environ["INTEROP_CELERY_PREFIX"] = options.prefix
        os.environ["INTEROP_CELERY_URI"] = relay.address.uri() if own is None else uri
        os.environ["INTEROP_CELERY_VARIANT"] = options.variant
        os.environ["INTEROP_CELERY_RESULTS"] = folder
        # So that a pool that has grown shrinks while somebody looks.
        os.environ.setdefault("AUTOSCALE_KEEPALIVE", "2")
        from interop.celery_app import app, checks, variants

        app.app.conf.broker_url = uri  # this side goes to the broker directly
        kind, worker_options = variants.CHECKS[options.variant]
        worker = checks.Worker(options.prefix, Path(folder, "worker.log"), *worker_options)
        try:
            suite = kind(worker, relay) if own is None else kind(worker, relay, own)
            passed = checklist.run(
                {name: getattr(suite, name) for name in options.only or names},
                check_s=None,  # results of rpc:// belong to the thread that asked for them
                total_s=_TOTAL_S,
            )
        finally:
            worker.stop()
            variants.delete_variant(app.app, options.variant)
        if not passed:
            print(worker.log_tail())
    return 0 if passed else 1


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code)  # not sys.exit: a check that was given up may have left threads that never end
