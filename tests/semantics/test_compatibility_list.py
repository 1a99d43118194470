"""`docs/COMPATIBILITY.md` and the tests marked with `fact` must tell the same story."""

from __future__ import annotations

import ast
import re
from pathlib import Path

HERE = Path(__file__).parent
DOCUMENT = HERE.parents[1] / "docs" / "COMPATIBILITY.md"
LAST_FACT = 245
STATES = {"holds", "differs on purpose", "not yet"}
ROW = re.compile(r"^\| (\d+) \| (.+) \| ([^|]+) \|([^|]*)\|$", re.MULTILINE)


def _rows() -> dict[int, tuple[str, list[str]]]:
    rows: dict[int, tuple[str, list[str]]] = {}
    for number, _, state, tests in ROW.findall(DOCUMENT.read_text(encoding="utf-8")):
        assert int(number) not in rows, f"{number} is listed twice"
        rows[int(number)] = (state, re.findall(r"`(\w+)`", tests))
    return rows


def _marked_tests(mark_name: str = "fact") -> dict[str, set[int | str]]:
    """Every test function of this folder with the arguments of one of its marks."""
    tests: dict[str, set[int | str]] = {}
    for path in sorted(HERE.glob("test_*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                assert node.name not in tests, f"{node.name} is there twice"
                tests[node.name] = {
                    argument.value
                    for mark in node.decorator_list
                    if isinstance(mark, ast.Call) and ast.unparse(mark.func) == mark_name
                    for argument in mark.args
                    if isinstance(argument, ast.Constant) and isinstance(argument.value, int | str)
                }
    return tests


def test_no_number_is_missing() -> None:
    assert sorted(_rows()) == list(range(1, LAST_FACT + 1))


def test_states_are_known() -> None:
    assert {state for state, _ in _rows().values()} <= STATES


def test_what_holds_names_tests_that_carry_its_number() -> None:
    tests = _marked_tests()
    for number, (state, names) in _rows().items():
        assert state == "not yet" or names, f"{number} {state} without a test"
        for name in names:
            assert number in tests.get(name, set()), f"{number} names {name}"


def test_what_holds_has_a_test_that_passes() -> None:
    missing = _marked_tests("not_yet")
    for number, (state, names) in _rows().items():
        proven = any(not missing[name] for name in names)
        assert proven or state == "not yet", f"{number} {state}, but its tests wait for something"


def test_every_marked_test_is_listed() -> None:
    rows = _rows()
    for name, numbers in _marked_tests().items():
        for number in numbers:
            assert isinstance(number, int)
            assert name in rows[number][1], f"{name} proves {number}, which does not name it"


def test_names_begin_with_one_of_their_numbers() -> None:
    for name, numbers in _marked_tests().items():
        if numbers:
            found = re.match(r"test_fact_(\d{3})_", name)
            assert found, name
            assert int(found[1]) in numbers, name
