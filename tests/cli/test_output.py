"""Lists as tables, JSON, CSV and tabs."""

from __future__ import annotations

import json

from amqbroker.cli.output import formatted, printable, shown

COLUMNS = ["name", "durable", "arguments"]
ROWS: list[list[object]] = [["a b", True, {}], ["007\t", False, {"x-expires": 5}]]


def test_a_table_for_people() -> None:
    assert formatted(COLUMNS, ROWS, "table").splitlines() == [
        "name     durable    arguments",
        "-------  ---------  ----------------",
        "a b      true       {}",
        '007\\x09  false      {"x-expires": 5}',
    ]
    assert formatted(COLUMNS, ROWS[:1], "table", False) == "a b  true  {}"
    assert formatted(COLUMNS, [], "table", False) == ""


def test_json_for_programs() -> None:
    text = formatted(COLUMNS, ROWS, "json")
    assert json.loads(text) == [
        {"name": "a b", "durable": True, "arguments": {}},
        {"name": "007\t", "durable": False, "arguments": {"x-expires": 5}},
    ]
    assert json.loads(formatted(COLUMNS, [], "json")) == []


def test_csv_and_tabs() -> None:
    assert formatted(COLUMNS, ROWS, "csv").splitlines() == [
        "name,durable,arguments",
        "a b,true,{}",
        '007\t,false,"{""x-expires"": 5}"',
    ]
    assert formatted(COLUMNS, ROWS, "tsv", False).splitlines() == [
        "a b\ttrue\t{}",
        '007 \tfalse\t{"x-expires": 5}',
    ]


def test_values_in_cells() -> None:
    assert [shown(value) for value in (None, "é", 1.5, ["a"], {"b": "é"})] == [
        "",
        "é",
        "1.5",
        '["a"]',
        '{"b": "é"}',
    ]
    assert printable("a\udcff") == "a�"
