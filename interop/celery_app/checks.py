"""What a Celery worker must be able to do on the broker."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import celery
from celery.exceptions import TaskRevokedError
from celery.result import AsyncResult
from kombu import Exchange

from interop.celery_app import app as tasks
from interop.checklist import NotApplicableError
from interop.clients.python.relay import Relay

RESULT_S: Final = 10.0
_REPLY_S: Final = 2.0
_POOL_SIZE: Final = 2


class Worker:
    """A worker process with a prefork pool, which reaches the broker through a relay."""

    def __init__(self, prefix: str, log: Path, *options: str) -> None:
        self.name = f"{prefix}@interop"
        self.options = options or ("--concurrency", str(_POOL_SIZE))
        self._log = log
        self.start()

    def start(self) -> None:
        """Start it, or start it again when it has ended."""
        with self._log.open("ab") as output:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "celery", "-A", "interop.celery_app.app", "worker"),
                    *("--pool", "prefork", *self.options),
                    *("--hostname", self.name, "--loglevel", "INFO"),
                ],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def stop(self) -> None:
        """End it if it still runs: in order first, then at once, then by force."""
        for end in (self.process.terminate, self.process.terminate, self.process.kill):
            if self.process.poll() is not None:
                return
            end()
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                continue

    def log_tail(self, lines: int = 40) -> str:
        """The end of its log."""
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-lines:])


class Checks:
    """The checks, by their names in `client.yaml`; they share one worker and run in that order."""

    def __init__(self, worker: Worker, relay: Relay) -> None:
        self._worker = worker
        self._relay = relay
        self._app: Any = tasks.app
        self._only = [worker.name]
        self._extra_queue = f"{tasks.PREFIX}.extra"

    def _inspect(self) -> Any:
        return self._app.control.inspect(destination=self._only, timeout=_REPLY_S)

    def _control(self, command: str, *arguments: Any, **options: Any) -> Any:
        """Send a remote control command and return the worker's reply."""
        replies = getattr(self._app.control, command)(
            *arguments, destination=self._only, reply=True, timeout=_REPLY_S, **options
        )
        assert replies, f"no reply to {command}"
        reply = replies[0][self._worker.name]
        assert "ok" in reply, f"the reply to {command} is {reply}"
        return reply["ok"]

    # Tasks and results.

    def worker_ready(self) -> None:
        wait_until(lambda: bool(self._inspect().ping()), 20, "the worker answers no ping")

    def task(self) -> None:
        expect(tasks.add.delay(2, 3).get(RESULT_S), 5, "result")

    def task_error(self) -> None:
        try:
            tasks.fail.delay("as it should").get(RESULT_S)
        except ValueError as error:
            expect(str(error), "as it should", "text of the error")
        else:
            raise AssertionError("the task's error did not arrive")

    def many_tasks(self) -> None:
        results = [tasks.add.delay(n, n) for n in range(100)]
        expect([result.get(RESULT_S) for result in results], [2 * n for n in range(100)], "results")

    def big_task(self) -> None:
        expect(tasks.length.delay("x" * 1_000_000).get(RESULT_S), 1_000_000, "result")

    def chain(self) -> None:
        work = celery.chain(tasks.add.s(1, 2), tasks.add.s(3), tasks.add.s(4))
        expect(work.apply_async().get(RESULT_S), 10, "result")

    def group(self) -> None:
        work = celery.group(tasks.add.s(n, 1) for n in range(10))
        expect(work.apply_async().get(RESULT_S), list(range(1, 11)), "results")

    def chord(self) -> None:
        work = celery.chord([tasks.add.s(n, n) for n in range(5)], tasks.total.s())
        try:
            result = work.apply_async()
        except NotImplementedError as error:
            raise NotApplicableError("the rpc:// result backend has no chords") from error
        expect(result.get(2 * RESULT_S), 20, "result")

    def retry(self) -> None:
        expect(tasks.flaky.delay(2).get(RESULT_S), 2, "retries")

    def eta(self) -> None:
        # More of them than the prefetch limit: the worker raises it by basic.qos as they arrive.
        sent = time.time()
        results = [tasks.now.apply_async(countdown=1.5) for _ in range(3 * _POOL_SIZE * 2)]
        expect(tasks.add.delay(1, 1).get(RESULT_S), 2, "result of a task that overtakes them")
        assert time.time() - sent < 1.4, "the task without countdown waited for those with one"
        for result in results:
            after = result.get(RESULT_S) - sent
            assert 1.4 < after < 6, f"a task with a countdown of 1.5 s ran after {after:.1f} s"

    def expires(self) -> None:
        expect_revoked(tasks.add.apply_async((1, 1), countdown=0.5, expires=0.1))

    def revoke(self) -> None:
        result = tasks.add.apply_async((1, 1), countdown=2)
        self._control("revoke", result.id)
        expect_revoked(result)
        assert result.id in (self._inspect().revoked() or {})[self._worker.name], "not in revoked()"

    def revoke_terminate(self) -> None:
        result = tasks.sleep.delay(60)
        wait_until(lambda: result.id in self._active(), 5, "the task did not start")
        self._control("revoke", result.id, terminate=True, signal="SIGKILL")
        expect_revoked(result)

    def reject_on_worker_lost(self) -> None:
        expect(tasks.killed_once.delay().get(RESULT_S), True, "redelivered at the second run")

    def worker_killed(self) -> None:
        """All of the worker is killed while it runs a task that is acknowledged late."""
        result = tasks.survive.delay()
        wait_until(lambda: result.id in self._active(), 5, "the task did not start")
        for pid in (self._worker.process.pid, *self._pids()):
            os.kill(pid, signal.SIGKILL)
        self._worker.process.wait()
        self._worker.start()
        expect(result.get(3 * RESULT_S), True, "redelivered at the second run")
        self.worker_ready()

    # Remote control.

    def inspect_ping(self) -> None:
        expect(self._inspect().ping(), {self._worker.name: {"ok": "pong"}}, "reply")
        broadcast = self._app.control.ping(timeout=_REPLY_S)
        expect(broadcast, [{self._worker.name: {"ok": "pong"}}], "reply to a broadcast")

    def inspect_registered(self) -> None:
        registered = self._inspect().registered()[self._worker.name]
        assert tasks.add.name in registered, f"registered tasks are {registered}"

    def _active(self) -> list[str]:
        reply = self._inspect().active() or {}
        return [task["id"] for task in reply.get(self._worker.name, [])]

    def inspect_active(self) -> None:
        result = tasks.sleep.delay(1.5)
        wait_until(lambda: result.id in self._active(), 5, "the running task is not in active()")
        expect(result.get(RESULT_S), "slept", "result")
        wait_until(lambda: not self._active(), 5, "the finished task is still in active()")

    def inspect_scheduled(self) -> None:
        result = tasks.add.apply_async((1, 2), countdown=3)

        def scheduled() -> bool:
            reply = (self._inspect().scheduled() or {}).get(self._worker.name, [])
            return result.id in [entry["request"]["id"] for entry in reply]

        wait_until(scheduled, 3, "the task with a countdown is not in scheduled()")
        expect(result.get(RESULT_S), 3, "result")

    def inspect_stats(self) -> None:
        stats = self._inspect().stats()[self._worker.name]
        expect(stats["pid"], self._worker.process.pid, "process id in stats()")
        expect(stats["broker"]["transport"], "amqp", "transport in stats()")
        queues = self._inspect().active_queues()[self._worker.name]
        expect([queue["name"] for queue in queues], [f"{tasks.PREFIX}.tasks"], "active_queues()")

    def rate_limit(self) -> None:
        self._control("rate_limit", tasks.now.name, "2/s")
        try:
            times = [r.get(RESULT_S) for r in [tasks.now.delay() for _ in range(4)]]
            took = max(times) - min(times)
            assert took > 1, f"four tasks at 2/s ran within {took:.1f} s"
        finally:
            self._control("rate_limit", tasks.now.name, "0")

    def pool_grow(self) -> None:
        self._control("pool_grow", 1)
        wait_until(lambda: self._processes() == _POOL_SIZE + 1, 5, "pool_grow had no effect")
        self._control("pool_shrink", 1)
        wait_until(lambda: self._processes() == _POOL_SIZE, 5, "pool_shrink had no effect")

    def _processes(self) -> int:
        return len(self._pids())

    def _pids(self) -> list[int]:
        pids: list[int] = self._inspect().stats()[self._worker.name]["pool"]["processes"]
        return pids

    def add_consumer(self) -> None:
        self._control("add_consumer", self._extra_queue)
        result = tasks.add.apply_async((20, 1), queue=self._extra_queue)
        expect(result.get(RESULT_S), 21, "result")

    def cancel_consumer(self) -> None:
        self._control("cancel_consumer", self._extra_queue)
        result = tasks.add.apply_async((30, 1), queue=self._extra_queue)
        try:
            result.get(1)
        except celery.exceptions.TimeoutError:
            pass
        else:
            raise AssertionError("the task ran though the queue's consumer was cancelled")
        self._control("add_consumer", self._extra_queue)
        expect(result.get(RESULT_S), 31, "result once the queue is consumed again")

    def events(self) -> None:
        self._control("enable_events")
        seen: dict[str, list[str]] = {}
        with self._app.connection_for_read() as connection:
            receiver = self._app.events.Receiver(
                connection,
                handlers={
                    "*": lambda event: seen.setdefault(event.get("uuid"), []).append(event["type"])
                },
            )

            def capture() -> None:
                try:
                    receiver.capture(limit=None, timeout=4, wakeup=False)
                except TimeoutError:
                    return

            thread = threading.Thread(target=capture, daemon=True)
            thread.start()
            time.sleep(0.5)  # the receiver's queue is bound by then
            result = tasks.add.delay(1, 1)
            expect(result.get(RESULT_S), 2, "result")
            wait_until(
                lambda: "task-succeeded" in seen.get(result.id, []),
                5,
                "the event task-succeeded did not arrive",
            )
            receiver.should_stop = True
            thread.join(6)
        self._control("disable_events")
        expect(seen[result.id][:2], ["task-received", "task-started"], "events of the task")

    # The end.

    def lost_connection(self) -> None:
        running = tasks.sleep.delay(2)
        wait_until(lambda: running.id in self._active(), 5, "the task did not start")
        self._relay.cut()
        wait_until(lambda: bool(self._inspect().ping()), 15, "the worker did not come back")
        expect(tasks.add.delay(4, 5).get(RESULT_S), 9, "result after the loss")
        expect(running.get(RESULT_S), "slept", "result of the task that ran meanwhile")

    def shutdown(self) -> None:
        self._app.control.shutdown(destination=self._only)
        try:
            expect(self._worker.process.wait(30), 0, "exit code of the worker")
        except subprocess.TimeoutExpired:
            raise AssertionError("the worker did not end within 30 s") from None
        with self._app.connection_for_write() as connection:
            declared = connection.default_channel.queue_declare(
                f"{tasks.PREFIX}.tasks", passive=True
            )
        expect(declared.consumer_count, 0, "consumers left")
        expect(declared.message_count, 0, "messages left")


def delete_all(app: Any) -> None:
    """Delete the queues and exchanges that the run's prefix names and Celery leaves."""
    with app.connection_for_write() as connection:
        channel = connection.default_channel
        for queue in ("tasks", "extra"):
            channel.queue_delete(f"{tasks.PREFIX}.{queue}")
        control = app.conf.control_exchange
        for exchange in (
            f"{tasks.PREFIX}.tasks",
            f"{tasks.PREFIX}.extra",
            f"{control}.pidbox",
            f"reply.{control}.pidbox",
            app.conf.event_exchange,
        ):
            Exchange(exchange).bind(channel).delete()


def expect(got: object, want: object, what: str) -> None:
    """Fail with both values in the reason."""
    assert got == want, f"{what}: {got!r}, expected {want!r}"


def expect_revoked(result: AsyncResult[Any]) -> None:
    """The task ends as revoked, and its caller is told."""
    try:
        value = result.get(RESULT_S)
    except TaskRevokedError:
        return
    raise AssertionError(f"the revoked task returned {value!r}")


def wait_until(condition: Callable[[], bool], timeout_s: float, otherwise: str) -> None:
    """Poll a condition, and fail with the text if it does not come true in time."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, otherwise
        time.sleep(0.1)
