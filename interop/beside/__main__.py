"""`python -m interop.beside`: RabbitMQ and amqbroker side by side; every difference is printed.

Differences that are meant stand in docs/DIFFERENCES.md. One that is not listed there is a failure,
and so is a listed one that is no more.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from interop.beside import brokers, catalogue, compare, definitions, walks
from interop.beside.brokers import Broker
from interop.beside.running import running
from interop.broker import BrokerFailedError

DIFFERENCES: Final = Path(__file__).parents[2] / "docs" / "DIFFERENCES.md"
#: Random walks after all scenarios: less than half a minute.
_WALKS: Final = 60
_ROW: Final = re.compile(r"^\| `(.+?)` \| (.+) \|$", re.MULTILINE)


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0 if nothing differs but what is listed."""
    options = _parser().parse_args(arguments)
    scenarios = catalogue.load()
    listed = dict(_ROW.findall(DIFFERENCES.read_text(encoding="utf-8")))
    if wrong := [name for name in listed if not any(_is_for(name, s.name) for s in scenarios)]:
        print(f"{DIFFERENCES.name} lists scenarios that are not there: {', '.join(wrong)}")
        return 1

    def is_listed(name: str) -> bool:
        return any(_is_for(entry, name) for entry in listed)

    if options.only:
        scenarios = [s for s in scenarios if any(word in s.name for word in options.only)]
    if options.list:
        print("\n".join(each.name for each in scenarios))
        return 0
    if options.definitions:
        print(json.dumps(definitions.definitions(), indent=2))
        return 0
    started = time.monotonic()
    try:
        with ExitStack() as stack:
            defined = not options.walks
            theirs = _broker("RabbitMQ", options.rabbitmq, stack, defined)
            ours = _broker("amqbroker", options.ours, stack, defined)
            if theirs.controls is None or ours.controls is None:
                scenarios = [each for each in scenarios if not each.alone]
            print(f"both ready after {time.monotonic() - started:.0f} s", flush=True)
            found = [] if options.walks else compare.run(theirs, ours, scenarios, is_listed)
            count = options.walks or (0 if options.only else _WALKS)
            failures = _walk(theirs, ours, options.seed, count)
    except (brokers.NoBrokerError, BrokerFailedError) as error:
        print(error, file=sys.stderr)
        return 1
    if options.show:
        for each in found:
            print(f"\n{each.scenario.name}")
            print("\n".join(f"      {line}" for line in each.theirs.lines))
    failures += _report(found, listed)
    print(
        f"\n{len(found)} scenarios and {count} walks in {time.monotonic() - started:.0f} s, "
        f"{failures} failures"
    )
    return 1 if failures else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m interop.beside", description=__doc__)
    parser.add_argument(
        "--only", nargs="+", metavar="WORD", help="scenarios with this in their names"
    )
    parser.add_argument(
        "--definitions", action="store_true", help="print what a running RabbitMQ must import first"
    )
    parser.add_argument("--list", action="store_true", help="list the scenarios' names")
    parser.add_argument("--show", action="store_true", help="print all that RabbitMQ's clients saw")
    parser.add_argument(
        "--rabbitmq", metavar="URI", help="one that runs; without what needs an operator"
    )
    parser.add_argument("--ours", metavar="URI", help="an amqbroker that runs already")
    parser.add_argument(
        "--walks",
        type=int,
        metavar="N",
        help=f"play N random walks and no scenarios; else {_WALKS} after all scenarios",
    )
    parser.add_argument("--seed", type=int, default=1, help="of the first of the walks")
    return parser


def _walk(theirs: Broker, ours: Broker, seed: int, count: int) -> int:
    """Play walks by their seeds; print those that differ, as short as they can be, and return how
    many do."""
    seeds = {f"walk {number}": number for number in range(seed, seed + count)}
    scenarios = [walks.scenario_of(name, walks.steps_of(n)) for name, n in seeds.items()]
    found = compare.run(theirs, ours, scenarios)
    failures = 0
    for each in [each for each in found if each.differs]:
        name = each.scenario.name

        def again(steps: Sequence[walks.Step], name: str = name) -> compare.Comparison:
            return compare.run(theirs, ours, [walks.scenario_of(name, steps)])[0]

        steps = walks.shorten(walks.steps_of(seeds[name]), lambda tried: again(tried).differs)
        short = again(steps)
        if not short.differs:
            continue  # a broker was late
        failures += 1
        print(f"\n{name} differs", *steps, sep="\n  ")
        print(short.text(), flush=True)
    return failures


def _broker(name: str, uri: str | None, stack: ExitStack, defined: bool) -> Broker:
    if uri:
        return running(name, uri, defined=defined)
    start = brokers.rabbitmq if name == "RabbitMQ" else brokers.ours
    return stack.enter_context(start())


def _is_for(listed: str, name: str) -> bool:
    return name.startswith(listed[:-1]) if listed.endswith("*") else name == listed


def _report(found: list[compare.Comparison], listed: dict[str, str]) -> int:
    """Print what is wrong and return how much it is."""
    failures = 0
    seen: dict[str, bool] = {}
    for each in found:
        name = each.scenario.name
        entries = [entry for entry in listed if _is_for(entry, name)]
        for entry in entries:
            seen[entry] = seen.get(entry, False) or each.differs
        if each.theirs.stopped and each.ours.stopped:
            print(f"\n{name} waits for what neither sends")
        elif each.differs and not entries:
            print(f"\n{name} differs")
        else:
            continue
        failures += 1
        print(each.text() or "\n".join(f"    {line}" for line in each.theirs.lines))
    for entry in [entry for entry, differs in seen.items() if not differs]:
        failures += 1
        print(f"\n{entry} is listed, yet differs no more: {listed[entry]}")
    if not found:
        return failures
    slow = sorted(
        (max(each.theirs.seconds, each.ours.seconds), each.scenario.name) for each in found
    )
    print("\nslowest: " + ", ".join(f"{name} {seconds:.1f} s" for seconds, name in slow[-3:]))
    return failures


if __name__ == "__main__":
    sys.exit(main())
