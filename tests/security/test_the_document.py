"""docs/SECURITY.md names every attempt that is tested here, and no other."""

from __future__ import annotations

import ast
import re
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
DOCUMENT = ROOT / "docs" / "SECURITY.md"
TEST = re.compile(r"`(?:(tests/\w+): )?(test_\w+)`")


def names_in(folder: Path) -> set[str]:
    """The test functions in a folder, but those of this module."""
    return {
        node.name
        for path in folder.glob("test_*.py")
        if path != Path(__file__)
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }


def test_every_test_has_its_row_and_every_row_its_test() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    table = [line for line in text.splitlines() if line.startswith("| ")][1:]
    named: dict[str, set[str]] = {}
    for line in table:
        found = TEST.findall(line.rpartition(" | ")[2])
        assert found, f"a row without a test: {line}"
        for folder, name in found:
            named.setdefault(folder or "tests/security", set()).add(name)
    assert named.pop("tests/security") == names_in(HERE)
    for folder, names in named.items():
        assert names <= names_in(ROOT / folder), folder
