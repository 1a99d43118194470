"""The application's other variants: quorum queues, priorities, a pool that scales by itself, and a
broker that ends and comes back."""

from __future__ import annotations

import time
from typing import Any, Final

from kombu import Exchange
from kombu.transport.native_delayed_delivery import MAX_LEVEL, level_name

from interop.broker import Broker
from interop.celery_app import app as tasks
from interop.celery_app.checks import RESULT_S, Checks, Worker, delete_all, expect, wait_until
from interop.clients.python.relay import Relay

_POOL_MAX: Final = 3


class QuorumChecks(Checks):
    """Quorum queues: prefetch for each consumer, confirms, and delays by the broker."""

    def delayed(self) -> None:
        """A countdown of 3 s is 2 + 1: two of the delay queues hold the message, not the worker."""
        sent = time.time()
        result = tasks.now.apply_async(countdown=3)
        wait_until(lambda: self._held(1), 1.5, "the task is not in the queue of 2 s")
        wait_until(lambda: self._held(0), 2.5, "the task is not in the queue of 1 s")
        after = result.get(RESULT_S) - sent
        assert 2.9 < after < 6, f"a task with a countdown of 3 s ran after {after:.1f} s"

    def many_delayed(self) -> None:
        sent = time.time()
        results = [tasks.now.apply_async(countdown=delay) for delay in (1, 2, 1, 2, 1)]
        times = [result.get(RESULT_S) - sent for result in results]
        wanted = (1, 2, 1, 2, 1)
        for delay, after in zip(wanted, times, strict=True):
            assert delay - 0.1 < after < delay + 3, f"delays of {wanted} s took {times}"

    def _held(self, level: int) -> bool:
        with self._app.connection_for_write() as connection:
            declared = connection.default_channel.queue_declare(level_name(level), passive=True)
        held: bool = declared.message_count > 0
        return held


class PriorityChecks(Checks):
    """A queue with priorities, and a worker that takes one task at a time."""

    def priorities(self) -> None:
        """While the worker is busy tasks gather; then they run in the order of their priority."""
        blocker = tasks.sleep.delay(1.5)
        wait_until(lambda: blocker.id in self._active(), 5, "the first task did not start")
        order = (1, 9, 5, 3, 9, 0)
        results = [tasks.now.apply_async(priority=priority) for priority in order]
        times = [result.get(RESULT_S) for result in results]
        ran = [order[n] for n in sorted(range(len(order)), key=times.__getitem__)]
        # The worker holds the first of them already.
        expect(ran[1:], sorted(ran[1:], reverse=True), f"order after the first of {order}")
        expect(blocker.get(RESULT_S), "slept", "result")


class AutoscaleChecks(Checks):
    """A worker with --autoscale: the prefetch follows the size of its pool."""

    def autoscale(self) -> None:
        results = [tasks.sleep.delay(2) for _ in range(3 * _POOL_MAX)]
        wait_until(lambda: self._processes() == _POOL_MAX, 10, "the pool did not grow")
        expect([result.get(3 * RESULT_S) for result in results], ["slept"] * 9, "results")
        wait_until(lambda: self._processes() == 1, 20, "the pool did not shrink")
        expect(tasks.add.delay(2, 3).get(RESULT_S), 5, "result afterwards")


class RestartChecks(Checks):
    """A broker of their own, which ends under the worker and is started again."""

    def __init__(self, worker: Worker, relay: Relay, broker: Broker) -> None:
        super().__init__(worker, relay)
        self._broker = broker

    def broker_restarted(self) -> None:
        self._restart(kill=False)

    def broker_killed(self) -> None:
        self._restart(kill=True)

    def _restart(self, *, kill: bool) -> None:
        """A task that runs, tasks that wait in the queue and one that waits for its time in the
        worker: none is lost."""
        running = tasks.survive.delay()
        wait_until(lambda: running.id in self._active(), 10, "the first task did not start")
        later = tasks.now.apply_async(countdown=4)
        sent = time.time()
        waiting = [tasks.add.delay(n, n) for n in range(50)]
        self._broker.restart(kill=kill)
        expect(running.get(6 * RESULT_S), True, "whether the running task was redelivered")
        expect([each.get(3 * RESULT_S) for each in waiting], [2 * n for n in range(50)], "results")
        after = later.get(3 * RESULT_S) - sent
        assert after > 3.5, f"a task with a countdown of 4 s ran after {after:.1f} s"
        wait_until(self._answers, 15, "the worker answers no ping")

    def _answers(self) -> bool:
        try:
            return bool(self._inspect().ping())
        except OSError:
            return False  # a pooled connection of this side, which the broker has ended


#: Variant of the application → its checks, and options of its worker beside the usual ones.
CHECKS: Final[dict[str, tuple[type[Checks], tuple[str, ...]]]] = {
    tasks.CLASSIC: (Checks, ()),
    tasks.QUORUM: (QuorumChecks, ()),
    tasks.PRIORITIES: (PriorityChecks, ("--concurrency", "1")),
    tasks.AUTOSCALE: (AutoscaleChecks, ("--autoscale", f"{_POOL_MAX},1")),
    tasks.RESTART: (RestartChecks, ()),
}


def delete_variant(app: Any, variant: str) -> None:
    """Delete all that a run leaves; native delayed delivery has names without a prefix."""
    delete_all(app)
    if variant != tasks.QUORUM:
        return
    with app.connection_for_write() as connection:
        channel = connection.default_channel
        for level in range(MAX_LEVEL + 1):
            channel.queue_delete(level_name(level))
            Exchange(level_name(level)).bind(channel).delete()
        Exchange("celery_delayed_delivery").bind(channel).delete()
