"""What routing one message costs, with few and with many bindings of which exactly one matches.

    python benchmarks/routing.py [--json]

Microseconds a message, the best of several rounds. Each row should be flat: bindings that do not
match must not cost anything. "topic #" has a `#` at both ends of every key.
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

SIZES = (10, 1_000, 100_000)
MESSAGES = 20_000
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
    expected = [Destination(QUEUE, f"queue-{number}")]
    if exchange.route(key, headers) != expected:
        raise SystemExit(f"{kind}: the message went to {exchange.route(key, headers)}")
    best = float("inf")
    for _ in range(ROUNDS):
        started = time.perf_counter()
        for _ in range(MESSAGES):
            exchange.route(key, headers)
        best = min(best, time.perf_counter() - started)
    return best / MESSAGES * 1e6, binding * 1e6


def main() -> None:
    compiled = not (base.__file__ or "").endswith(".py")
    figures: dict[str, dict[int, tuple[float, float]]] = {}
    for kind in ("direct", "topic", "topic #", "headers"):
        figures[kind] = {count: measure(kind, count) for count in SIZES}
    if "--json" in sys.argv[1:]:
        print(json.dumps({"compiled": compiled, "route_us_and_bind_us": figures}))
        return
    print(f"Routing, µs a message ({'compiled' if compiled else 'interpreted'})")
    print(f"{'bindings':<10}" + "".join(f"{count:>10,}" for count in SIZES) + f"{'bind':>10}")
    for kind, row in figures.items():
        cells = "".join(f"{row[count][0]:>10.2f}" for count in SIZES)
        print(f"{kind:<10}{cells}{row[SIZES[-1]][1]:>10.2f}")


if __name__ == "__main__":
    main()
