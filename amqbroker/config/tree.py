"""Settings before they are checked: values that know where they were written.

Three sources become the same tree: the file's text (YAML), environment variables and options given
as plain Python values; `merged` lays one over another. Nothing is judged here but the YAML itself.
A leaf keeps the text that was written, so that `version: 3.13` and `name: no` can be the texts that
they look like.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import yaml

ENVIRONMENT_PREFIX: Final = "AMQBROKER_"


class Problem:
    """One thing that is wrong: where it was written, and what would be right."""

    __slots__ = ("text", "where")

    def __init__(self, where: str, text: str) -> None:
        self.where = where
        self.text = text

    def __str__(self) -> str:
        return f"{self.where}: {self.text}" if self.where else self.text


class ConfigError(Exception):
    """A configuration that cannot be used: every problem of it, in the order of the file."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = problems


class Leaf:
    """One value. `text` is how it was written; None for a null or an option that is no text."""

    __slots__ = ("text", "value", "where")

    def __init__(self, where: str, value: object, text: str | None) -> None:
        self.where = where
        self.value = value
        self.text = text


class Sequence:
    """A list of trees."""

    __slots__ = ("items", "where")

    def __init__(self, where: str, items: list[Tree]) -> None:
        self.where = where
        self.items = items


class Table:
    """Keys and their trees; `key_where` says where each key stands."""

    __slots__ = ("items", "key_where", "where")

    def __init__(self, where: str) -> None:
        self.where = where
        self.items: dict[str, Tree] = {}
        self.key_where: dict[str, str] = {}

    def put(self, key: str, where: str, value: Tree) -> None:
        """Set one key."""
        self.items[key] = value
        self.key_where[key] = where


Tree = Leaf | Sequence | Table


def from_yaml(text: str, source: str, problems: list[Problem]) -> Tree | None:
    """The tree of a YAML text, or None if it is empty or is no YAML (then `problems` says why)."""
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = source if mark is None else f"{source}:{mark.line + 1}"
        problems.append(Problem(where, f"not YAML: {error.problem or error.context}"))
        return None
    except yaml.YAMLError as error:
        problems.append(Problem(source, f"not YAML: {str(error).splitlines()[0]}"))
        return None
    if node is None:
        return None
    return _YamlReader(source, problems).tree(node)


class _YamlReader:
    """Turns YAML nodes into a tree, with `source:line` for each."""

    def __init__(self, source: str, problems: list[Problem]) -> None:
        self._source = source
        self._problems = problems
        self._scalars = yaml.SafeLoader("")
        self._open: list[yaml.Node] = []

    def tree(self, node: yaml.Node) -> Tree:
        where = self._where(node)
        if node in self._open:
            self._problems.append(Problem(where, "a value cannot contain itself"))
            return Leaf(where, None, None)
        self._open.append(node)
        try:
            if isinstance(node, yaml.MappingNode):
                return self._table(node, where)
            if isinstance(node, yaml.SequenceNode):
                return Sequence(where, [self.tree(item) for item in node.value])
            return self._leaf(node, where)
        finally:
            self._open.pop()

    def _table(self, node: yaml.MappingNode, where: str) -> Table:
        table = Table(where)
        for key_node, value_node in node.value:
            key_where = self._where(key_node)
            if not isinstance(key_node, yaml.ScalarNode):
                self._problems.append(Problem(key_where, "a key must be a word"))
                continue
            key = str(key_node.value)
            if key in table.items:
                before = table.key_where[key]
                self._problems.append(
                    Problem(key_where, f"{key!r} is there twice; first at {before}")
                )
                continue
            table.put(key, key_where, self.tree(value_node))
        return table

    def _leaf(self, node: yaml.Node, where: str) -> Leaf:
        try:
            value = self._scalars.construct_object(node)
        except (yaml.YAMLError, ValueError):
            # A tag or a date that is none; the text is all that there is.
            value = node.value
        return Leaf(where, value, None if value is None else str(node.value))

    def _where(self, node: yaml.Node) -> str:
        return f"{self._source}:{node.start_mark.line + 1}" if self._source else ""


def from_options(value: object, where: str) -> Tree:
    """The tree of plain Python values: mappings, lists, texts, numbers."""
    if isinstance(value, Mapping):
        table = Table(where)
        for key, item in value.items():
            table.put(str(key), where, from_options(item, where))
        return table
    if isinstance(value, list | tuple):
        return Sequence(where, [from_options(item, where) for item in value])
    return Leaf(where, value, value if isinstance(value, str) else None)


def merged(under: Tree, over: Tree) -> Tree:
    """`over` laid upon `under`: tables key by key, anything else as a whole."""
    if not isinstance(under, Table) or not isinstance(over, Table):
        return over
    table = Table(under.where)
    for source in (under, over):
        for key, value in source.items.items():
            before = table.items.get(key)
            table.put(key, source.key_where[key], merged(before, value) if before else value)
    return table
