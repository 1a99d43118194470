"""The Celery application: its configuration, from the environment, and its tasks.

All names on the broker begin with the run's prefix, so that a run neither sees nor disturbs
another.
"""

from __future__ import annotations

import os
import signal
import time
from typing import Any, Final

import celery

URI_VARIABLE: Final = "INTEROP_CELERY_URI"
PREFIX_VARIABLE: Final = "INTEROP_CELERY_PREFIX"
VARIANT_VARIABLE: Final = "INTEROP_CELERY_VARIANT"
RESULTS_VARIABLE: Final = "INTEROP_CELERY_RESULTS"

PREFIX: Final = os.environ.get(PREFIX_VARIABLE, "interop.celery")

CLASSIC: Final = "classic"
QUORUM: Final = "quorum"
PRIORITIES: Final = "priorities"
AUTOSCALE: Final = "autoscale"
RESTART: Final = "restart"

#: What each variant of the application changes in the configuration below.
VARIANTS: Final[dict[str, dict[str, Any]]] = {
    CLASSIC: {},
    # Delays go through the 28 exchanges and queues of native delayed delivery, and results into
    # files, which have chords.
    QUORUM: {
        "task_default_queue_type": "quorum",
        "task_default_exchange_type": "topic",
        "broker_transport_options": {"confirm_publish": True},
        "result_backend": f"file://{os.environ.get(RESULTS_VARIABLE, '/tmp')}",
    },
    PRIORITIES: {
        "task_queue_max_priority": 10,
        "task_default_priority": 5,
        "task_acks_late": True,
        "worker_prefetch_multiplier": 1,
    },
    AUTOSCALE: {"worker_prefetch_multiplier": 1},
    # What a team sets that wants to lose no task with a broker.
    RESTART: {
        "task_acks_late": True,
        "worker_cancel_long_running_tasks_on_connection_loss": True,
        "broker_transport_options": {"confirm_publish": True},
        "result_backend": f"file://{os.environ.get(RESULTS_VARIABLE, '/tmp')}",
    },
}

VARIANT: Final = os.environ.get(VARIANT_VARIABLE, CLASSIC)
# The broker delays by whole seconds only.
RETRY_S: Final = 1.0 if VARIANT == QUORUM else 0.2

app = celery.Celery(PREFIX)
app.conf.update(
    broker_url=os.environ.get(URI_VARIABLE, "amqp://guest:guest@127.0.0.1:5672//"),
    result_backend="rpc://",
    result_expires=120,
    task_default_queue=f"{PREFIX}.tasks",
    control_exchange=f"{PREFIX}.control",
    event_exchange=f"{PREFIX}.events",
    event_queue_prefix=f"{PREFIX}.events",
    broker_connection_retry_on_startup=True,
    broker_heartbeat=10,
    worker_prefetch_multiplier=2,
    worker_cancel_long_running_tasks_on_connection_loss=False,
    task_ignore_result=False,
    worker_hijack_root_logger=False,
)
app.conf.update(VARIANTS[VARIANT])


@app.task
def add(x: int, y: int) -> int:
    """The sum."""
    return x + y


@app.task
def total(numbers: list[int]) -> int:
    """The sum of many, which ends a chord."""
    return sum(numbers)


@app.task
def length(text: str) -> int:
    """The length of a large argument."""
    return len(text)


@app.task
def fail(text: str) -> None:
    """Raises an exception that the caller must see."""
    raise ValueError(text)


@app.task(bind=True, max_retries=3)
def flaky(self: Any, failures: int) -> int:
    """Fails so many times, is retried by a message with an ETA, and then tells how often it was."""
    if self.request.retries < failures:
        raise self.retry(countdown=RETRY_S)
    retries: int = self.request.retries
    return retries


@app.task
def sleep(seconds: float) -> str:
    """Keeps a worker process busy."""
    time.sleep(seconds)
    return "slept"


@app.task
def now() -> float:
    """The time at which the task ran."""
    return time.time()


@app.task(bind=True, acks_late=True, reject_on_worker_lost=True)
def killed_once(self: Any) -> bool:
    """Kills its process unless the broker says that the message is redelivered."""
    redelivered = bool(self.request.delivery_info["redelivered"])
    if not redelivered:
        os.kill(os.getpid(), signal.SIGKILL)
    return redelivered


@app.task(bind=True, acks_late=True)
def survive(self: Any) -> bool:
    """Runs for ever, unless the broker says that the message is redelivered."""
    redelivered = bool(self.request.delivery_info["redelivered"])
    if not redelivered:
        time.sleep(3600)
    return redelivered
