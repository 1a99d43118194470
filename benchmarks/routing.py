"""What routing one message costs, with few and with many bindings of which one gets the message.

    python benchmarks/routing.py [--json]

Microseconds a message, the best of several rounds. Each row should be flat: bindings that do not
match must not cost anything. "topic #" has a `#` at both ends of every key. The hash exchanges are
measured with a key that was seen before; "first" is a new key of the consistent-hash exchange each
time, which looks at every queue: that row is to grow.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from amqbroker.exchanges import base
from amqbroker.exchanges.base import QUEUE, Destination, Exchange, Table
from amqbroker.exchanges.registry import make_exchange

KINDS = (
    *("direct", "topic", "topic #", "headers"),
    *("x-consistent-hash", "x-consistent-hash first", "x-modulus-hash"),
)
SIZES = (10, 1_000, 100_000)
MESSAGES = 20_000
# A new key with very many queues takes long.
FIRST = 10
ROUNDS = 5


def add_bindings(kind: str, exchange: Exchange, count: int) -> None:
    """Bind `count` queues, each so that it matches other messages than the rest."""
    for number in range(count):
        destination = Destination(QUEUE, f"queue-{number}")
        if kind == "direct":
            exchange.bind(destination, f"orders.eu.{number}.created", {})
        elif kind == "topic":
            exchange.bind(destination, f"orders.*.{number}.created", {})
        elif kind == "topic #":
            exchange.bind(destination, f"#.{number}.#", {})
        elif kind.startswith("x-"):
            exchange.bind(destination, "1", {})
        else:
            exchange.bind(destination, "", {"type": "order", "region": "eu", "id": number})


def measure(kind: str, count: int) -> tuple[float, float]:
    """Microseconds for routing a message, and for making a binding."""
    exchange = make_exchange("bench", kind.split()[0], True, False, False, {})
    started = time.perf_counter()
    add_bindings(kind, exchange, count)
    binding = (time.perf_counter() - started) / count
    number = count // 2
    key = f"orders.eu.{number}.created"
    headers: Table = {"type": "order", "region": "eu", "id": number, "trace": "4711"}
    found = exchange.route(key, headers)
    expected = [Destination(QUEUE, f"queue-{number}")]
    if found != expected and not (kind.startswith("x-") and len(found) == 1):
        raise SystemExit(f"{kind}: the message went to {found}")
    best = float("inf")
    for keys in rounds(kind, key):
        started = time.perf_counter()
        for one in keys:
            exchange.route(one, headers)
        best = min(best, (time.perf_counter() - started) / len(keys))
    return best * 1e6, binding * 1e6


def rounds(kind: str, key: str) -> list[list[str]]:
    """The keys of the messages of each round."""
    if kind.endswith(" first"):
        return [[f"{kind} {number} {one}" for one in range(FIRST)] for number in range(ROUNDS)]
    return [[key] * MESSAGES] * ROUNDS


def main() -> None:
    compiled = not (base.__file__ or "").endswith(".py")
    figures: dict[str, dict[int, tuple[float, float]]] = {}
    for kind in KINDS:
        figures[kind] = {count: measure(kind, count) for count in SIZES}
    if "--json" in sys.argv[1:]:
        print(json.dumps({"compiled": compiled, "route_us_and_bind_us": figures}))
        return
    print(f"Routing, µs a message ({'compiled' if compiled else 'interpreted'})")
    print(f"{'bindings':<24}" + "".join(f"{count:>10,}" for count in SIZES) + f"{'bind':>10}")
    for kind, row in figures.items():
        cells = "".join(f"{row[count][0]:>10.2f}" for count in SIZES)
        print(f"{kind:<24}{cells}{row[SIZES[-1]][1]:>10.2f}")


if __name__ == "__main__":
    main()
