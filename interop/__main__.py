"""`python -m interop`: put every client through the checklist and print who passed what."""

from __future__ import annotations

import argparse
import os
import re
import secrets
import shutil
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace

from interop import broker, catalog, report, runner
from interop.checklist import FAIL, Result
from interop.runner import Outcome


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0 if nothing failed, 1 if a check failed, 2 if there was nothing to run."""
    options = _parser().parse_args(arguments)
    clients = catalog.load()
    if options.list:
        for client in clients:
            print(f"{_key(client.name):28} {client.install}")
        return 0
    if options.client:
        wanted = {_key(name) for name in options.client}
        if unknown := wanted - {name for client in clients for name in _names(client)}:
            print(f"no such client: {', '.join(sorted(unknown))}; see --list", file=sys.stderr)
            return 2
        clients = [client for client in clients if not wanted.isdisjoint(_names(client))]
    try:
        outcomes = _run_all(clients, options)
    except broker.BrokerFailedError as error:
        print(f"{error}", file=sys.stderr)
        return 1
    colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    width = shutil.get_terminal_size((120, 24)).columns
    print()
    print(report.render(outcomes, width=width, colour=colour))
    return 1 if any(outcome.failures for outcome in outcomes) else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m interop", description=__doc__)
    parser.add_argument(
        "--uri", help="a running broker; without it amqbroker is started for the run"
    )
    parser.add_argument(
        "--client",
        nargs="+",
        action="extend",
        metavar="NAME",
        help="run these alone: names, or folders of clients",
    )
    parser.add_argument(
        "--require-all", action="store_true", help="a client that is not installed is a failure"
    )
    parser.add_argument(
        "--broker",
        default=broker.DEFAULT_COMMAND,
        metavar="COMMAND",
        help="how to start the broker, with {python}, {bind} and {data} filled in (%(default)s)",
    )
    parser.add_argument(
        "--list", action="store_true", help="list the clients and how to install them"
    )
    return parser


def _run_all(clients: list[catalog.Client], options: argparse.Namespace) -> list[Outcome]:
    outcomes: list[Outcome] = []
    with ExitStack() as stack:
        own = None if options.uri else stack.enter_context(broker.started(options.broker))
        uri = options.uri or (own.uri if own else "")
        print(f"Broker: {uri if own is None else f'{options.broker} at {uri}'}", flush=True)
        for client in clients:
            outcome = _run_one(client, uri, options.require_all)
            outcomes.append(outcome)
            if own is not None:
                own.check()  # a broker that has died would fail all that follow, and less clearly
    return outcomes


def _run_one(client: catalog.Client, uri: str, require_all: bool) -> Outcome:
    prefix = f"interop.{_key(client.name)}.{secrets.token_hex(4)}"
    outcome = runner.run(client, uri, prefix)
    if outcome.skipped and require_all:
        outcome = replace(
            outcome, skipped="", results={"installed": Result("installed", FAIL, outcome.skipped)}
        )
    print(f"{time.strftime('%H:%M:%S')} {client.name}: {outcome.summary()}", flush=True)
    if outcome.failures:
        for line in outcome.output:
            print(f"    {line}")
    return outcome


def _key(name: str) -> str:
    """A client's name as people may type it and as it stands in names on the broker."""
    return re.sub(r"[^a-z0-9.]+", "-", name.lower()).strip("-")


def _names(client: catalog.Client) -> tuple[str, str]:
    """What `--client` takes for it: its name or its folder, which may hold several."""
    return _key(client.name), _key(client.folder.name)


if __name__ == "__main__":
    sys.exit(main())
