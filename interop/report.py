"""The table of a run, as plain text that a terminal and a CI log both show well.

Checks are the rows and clients the columns, in as many blocks as the width needs; clients with
checks of their own have a block of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from interop.checklist import CHECKS, FAIL, NOT_APPLICABLE, OK
from interop.runner import Outcome

_GAP: Final = "  "
_COLOURS: Final = {OK: "\x1b[32m", FAIL: "\x1b[1;31m", NOT_APPLICABLE: "\x1b[2m"}
_RESET: Final = "\x1b[0m"


def render(outcomes: Sequence[Outcome], *, width: int, colour: bool) -> str:
    """The whole report: tables, skipped clients, reasons, and one line that sums up."""
    ran = [outcome for outcome in outcomes if not outcome.skipped]
    # A client that was not installed or not built has no row of results, only a failure.
    tabled = [o for o in ran if not o.results.keys().isdisjoint(o.client.checks)]
    common = [outcome for outcome in tabled if not outcome.client.has_own_checks]
    groups = _fit(common, width - max(map(len, CHECKS)))
    groups += [[outcome] for outcome in tabled if outcome.client.has_own_checks]
    blocks = [_table(group[0].client.checks, group, colour) for group in groups]
    for title, lines in (
        ("Not applicable", _reasons(ran, NOT_APPLICABLE)),
        ("Skipped", [f"{o.client.name}: {o.skipped}" for o in outcomes if o.skipped]),
        ("Failures", _reasons(ran, FAIL)),
    ):
        if lines:
            blocks.append("\n".join([f"{title}:", *(f"  {line}" for line in lines)]))
    blocks.append(_sum(outcomes))
    return "\n\n".join(blocks)


def _fit(outcomes: Sequence[Outcome], width: int) -> list[list[Outcome]]:
    """Split the columns into groups that fit side by side."""
    groups: list[list[Outcome]] = []
    used = 0
    for outcome in outcomes:
        need = len(_GAP) + _column_width(outcome)
        if not groups or used + need > width:
            groups.append([])
            used = 0
        groups[-1].append(outcome)
        used += need
    return groups


def _column_width(outcome: Outcome) -> int:
    return max(len(FAIL), *map(len, outcome.client.name.split()))


def _head(outcomes: Sequence[Outcome], label_width: int) -> list[str]:
    """The clients' names, their words one below the other, standing on the table."""
    height = max(len(outcome.client.name.split()) for outcome in outcomes)
    lines = []
    for row in range(height):
        cells = [" " * label_width]
        for outcome in outcomes:
            words = outcome.client.name.split()
            words = [""] * (height - len(words)) + words
            cells.append(words[row].ljust(_column_width(outcome)))
        lines.append(_GAP.join(cells).rstrip())
    return lines


def _table(checks: Sequence[str], outcomes: Sequence[Outcome], colour: bool) -> str:
    # What failed outside of the checks, as a build, is a row too.
    extra = [name for o in outcomes for name in o.results if name not in checks]
    rows = [*checks, *dict.fromkeys(extra)]
    label_width = max(map(len, rows))
    lines = _head(outcomes, label_width)
    for check in rows:
        cells = [check.ljust(label_width)]
        for outcome in outcomes:
            result = outcome.results.get(check)
            text = result.outcome if result else "-"
            cells.append(_paint(text, _column_width(outcome), colour))
        lines.append(_GAP.join(cells).rstrip())
    return "\n".join(lines)


def _paint(text: str, width: int, colour: bool) -> str:
    padding = " " * (width - len(text))
    if colour and text in _COLOURS:
        return f"{_COLOURS[text]}{text}{_RESET}{padding}"
    return text + padding


def _reasons(outcomes: Sequence[Outcome], kind: str) -> list[str]:
    """One line for each client and reason, which several checks may share."""
    lines = []
    for outcome in outcomes:
        by_reason: dict[str, list[str]] = {}
        for result in outcome.results.values():
            if result.outcome == kind:
                by_reason.setdefault(result.reason or "no reason given", []).append(result.check)
        lines += [
            f"{outcome.client.name}, {' '.join(checks)}: {reason}"
            for reason, checks in by_reason.items()
        ]
    return lines


def _sum(outcomes: Sequence[Outcome]) -> str:
    skipped = sum(bool(outcome.skipped) for outcome in outcomes)
    counts = [
        f"{sum(o.count(kind) for o in outcomes)} {kind}" for kind in (OK, FAIL, NOT_APPLICABLE)
    ]
    return f"{len(outcomes) - skipped} clients, {skipped} skipped: {', '.join(counts)}."
