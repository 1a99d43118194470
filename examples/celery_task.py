"""A Celery task: called here, run by a worker process, its result sent back by the broker.

python examples/celery_task.py        (needs: amqbroker, celery)

With a broker that runs already, the worker alone is, in this folder:
AMQP_URL=amqp://guest:guest@127.0.0.1:5672// celery -A celery_task worker
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from celery import Celery

from amqbroker.testing import broker

app = Celery("demo", broker=os.environ.get("AMQP_URL"), backend="rpc://")
app.conf.broker_connection_retry_on_startup = True


@app.task(name="add")
def add(x: int, y: int) -> int:
    """The sum."""
    return x + y


def main() -> None:
    """Start a worker, call the task in three ways."""
    with broker() as amqp:
        app.conf.broker_url = amqp.url
        worker = subprocess.Popen(
            [
                *(sys.executable, "-m", "celery", "-A", "celery_task", "worker"),
                *("--concurrency", "2", "--loglevel", "WARNING"),
            ],
            cwd=Path(__file__).parent,
            env={**os.environ, "AMQP_URL": amqp.url},
        )
        try:
            total = add.delay(2, 3).get(timeout=30)
            print(f"2 + 3 = {total}")
            later = add.apply_async((20, 22), countdown=1).get(timeout=30)
            print(f"20 + 22, a second later = {later}")
            chained = (add.s(1, 1) | add.s(1)).apply_async().get(timeout=30)
            print(f"1 + 1, and 1 more = {chained}")
        finally:
            worker.terminate()
            worker.wait(30)
    assert (total, later, chained) == (5, 42, 3)


if __name__ == "__main__":
    main()
