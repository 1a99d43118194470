"""Where values stand, what is no YAML, and how sources are laid over each other."""

from __future__ import annotations

import pytest

from amqbroker.config.tree import Leaf, Problem, Sequence, Table, from_options, from_yaml, merged


def read(text: str) -> tuple[Table | None, list[str]]:
    problems: list[Problem] = []
    tree = from_yaml(text, "f.yaml", problems)
    assert tree is None or isinstance(tree, Table)
    return tree, [str(problem) for problem in problems]


def test_values_know_their_line() -> None:
    table, problems = read("a: 1\nb:\n  - x\n  - y\n")
    assert problems == []
    assert table is not None
    assert table.key_where == {"a": "f.yaml:1", "b": "f.yaml:2"}
    b = table.items["b"]
    assert isinstance(b, Sequence)
    assert [item.where for item in b.items] == ["f.yaml:3", "f.yaml:4"]


def test_a_leaf_keeps_what_was_written() -> None:
    table, _ = read("version: 3.10\nname: no\nday: 2024-02-30\nempty:\n")
    assert table is not None
    texts = [leaf.text for leaf in table.items.values() if isinstance(leaf, Leaf)]
    assert texts == ["3.10", "no", "2024-02-30", None]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: 1\nb: [1\n", "f.yaml:3: not YAML: "),
        ("a: 1\nb:\t- x: {\n", "f.yaml:2: not YAML: "),
        ("a: \x07\n", "f.yaml: not YAML: "),
        ("a: 1\n---\nb: 2\n", "f.yaml:2: not YAML: "),
        ("a: 1\n\na: 2\n", "f.yaml:3: 'a' is there twice; first at f.yaml:1"),
        ("[a]: 1\n", "f.yaml:1: a key must be a word"),
        ("a: &a [*a]\n", "f.yaml:1: a value cannot contain itself"),
    ],
)
def test_what_is_wrong_with_the_text_is_a_problem_with_its_line(text: str, problem: str) -> None:
    _, problems = read(text)
    assert len(problems) == 1
    assert problems[0].startswith(problem)


@pytest.mark.parametrize("text", ["", "# only a comment\n", "\n\n"])
def test_an_empty_text_has_no_tree(text: str) -> None:
    assert read(text) == (None, [])


def test_no_python_object_is_ever_made() -> None:
    table, _ = read("a: !!python/object/apply:os.getcwd []\nb: !!python/name:os.getcwd x\n")
    assert table is not None
    b = table.items["b"]
    assert isinstance(b, Leaf)
    assert (b.value, b.text) == ("x", "x")


def test_tables_merge_key_by_key_and_the_later_one_wins() -> None:
    under = from_options({"log": {"level": "info", "format": "text"}, "list": [1, 2]}, "under")
    over = from_options({"log": {"level": "debug"}, "list": [3]}, "over")
    table = merged(under, over)
    assert isinstance(table, Table)
    log, numbers = table.items["log"], table.items["list"]
    assert isinstance(log, Table)
    assert isinstance(numbers, Sequence)
    assert log.key_where == {"level": "over", "format": "under"}
    assert [item.value for item in numbers.items if isinstance(item, Leaf)] == [3]
