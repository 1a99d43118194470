"""The checklist: what each client proves, and the lines in which it tells the result.

A client is a program of any language. It goes through the checks in this order and prints one
line for each of them on its standard output:

    CHECK <name> ok
    CHECK <name> FAIL <reason, one line>
    CHECK <name> n/a <reason, one line>        the client library has no way to express the check

All other lines are ignored. A check that prints no line counts as failed. The runner needs only
`parse_line`; clients in Python also use `run`, which keeps a check that hangs from taking the
rest with it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

#: Name and meaning of each check, in the order in which clients run them.
CHECKS: Final[dict[str, str]] = {
    "connect": "log in, open channels; a wrong password and an unknown virtual host are refused",
    "declare": "declare, bind, purge and delete queues and exchanges; the counts are right",
    "confirm": "publish in confirm mode, every message is confirmed",
    "consume": "messages arrive once, in order, with body, properties and headers unchanged",
    "ack_each": "acknowledge one by one, the queue ends empty",
    "ack_multiple": "one acknowledgement settles all up to its tag and none after it",
    "nack_requeue": "a refused message comes back to its place, marked redelivered, or goes away",
    "redelivered": "messages unacked when the TCP connection is lost come back marked redelivered",
    "fanout": "every bound queue gets a copy",
    "topic": "`*` and `#` in binding keys",
    "headers": "headers exchange with x-match all and any",
    "get": "basic.get from an empty and from a filled queue",
    "mandatory": "an unroutable mandatory message is returned with 312 NO_ROUTE",
    "prefetch": "never more unacked messages than the prefetch count",
    "body_10mib": "a body of 10 MiB arrives byte for byte, and so does an empty one",
    "error_404": "missing queue and missing exchange, as this client reports them",
    "error_405": "another connection's exclusive queue, as this client reports it",
    "error_406": "other arguments at declare, an unknown tag at ack, as this client reports them",
    "heartbeat": "an idle connection lives on for more than three heartbeat intervals",
    "close": "close and close-ok; what belonged to the connection is gone afterwards",
}

OK: Final = "ok"
FAIL: Final = "FAIL"
NOT_APPLICABLE: Final = "n/a"

_MAX_REASON_CHARS: Final = 400


class Result(NamedTuple):
    """The outcome of one check; `reason` is empty when it passed."""

    check: str
    outcome: str
    reason: str = ""

    def line(self) -> str:
        """The result as a client prints it."""
        return f"CHECK {self.check} {self.outcome} {self.reason}".rstrip()


class NotApplicableError(Exception):
    """Raised by a check that the client library cannot express."""


def parse_line(line: str) -> Result | None:
    """Read one line of a client's output; None if it is no result."""
    words = line.rstrip("\r\n").split(" ", 3)
    if len(words) < 3 or words[0] != "CHECK" or words[2] not in (OK, FAIL, NOT_APPLICABLE):
        return None
    return Result(words[1], words[2], words[3].strip() if len(words) > 3 else "")


def run(
    checks: Mapping[str, Callable[[], None]],
    *,
    check_s: float | None = 20.0,
    total_s: float = 55.0,
) -> bool:
    """Run the checks in order, print their lines, and return whether none failed.

    Each runs in a thread of its own so that one that hangs is given up after `check_s` seconds and
    the rest still runs. With None they run in the caller's thread, for a library that cannot do
    without; then each must end by itself.
    """
    deadline = time.monotonic() + total_s
    failed = False
    for name, check in checks.items():
        left = deadline - time.monotonic()
        if left <= 0:
            result = Result(name, FAIL, "not run: the checks before it took all the time")
        elif check_s is None:
            result = _outcome(name, check)
        else:
            result = _outcome_within(name, check, min(check_s, left))
        failed = failed or result.outcome == FAIL
        print(result.line(), flush=True)
    return not failed


def _outcome(name: str, check: Callable[[], None]) -> Result:
    try:
        check()
    except NotApplicableError as error:
        return Result(name, NOT_APPLICABLE, _one_line(str(error)))
    except Exception as error:  # a failing check must not keep the next ones from running
        return Result(name, FAIL, describe(error))
    return Result(name, OK)


def _outcome_within(name: str, check: Callable[[], None], limit_s: float) -> Result:
    results: list[Result] = []
    thread = threading.Thread(
        target=lambda: results.append(_outcome(name, check)), name=f"check-{name}", daemon=True
    )
    thread.start()
    thread.join(limit_s)
    return results[0] if results else Result(name, FAIL, f"no answer within {limit_s:.0f} s")


def describe(error: BaseException) -> str:
    """An exception in one line: a failed expectation's text, anything else with its type."""
    if isinstance(error, AssertionError) and error.args:
        return _one_line(str(error))
    return _one_line(f"{type(error).__name__}: {error}".removesuffix(": "))


def _one_line(text: str) -> str:
    joined = " ".join(text.split())
    return joined if len(joined) <= _MAX_REASON_CHARS else joined[: _MAX_REASON_CHARS - 3] + "..."
