"""Reads entries of a JSON document, and notes what is wrong with them by its path.

A value that is not right is replaced by one that is, so that one look finds every mistake.
"""

from __future__ import annotations

from typing import Final, final

from amqbroker.exchanges.base import Table
from amqbroker.management.lookup import NAME_BYTES_MAX, is_text
from amqbroker.management.values import problem_of

Item = dict[str, object]

# Names and keys are short strings on the wire.
SHORT: Final = ("name", "vhost", "user", "source", "destination", "routing_key", "exchange", "type")


@final
class Reader:
    """One entry: `item`, found at `path`. Mistakes go to `problems`."""

    def __init__(self, value: object, path: str, problems: list[str]) -> None:
        self.path = path
        self.problems = problems
        self.is_table = isinstance(value, dict)
        self.item: Item = dict(value) if isinstance(value, dict) else {}
        if not self.is_table:
            problems.append(f"{path}: an object is needed")

    def wrong(self, key: str, what: str) -> None:
        """This value is wrong; the whole entry without a key."""
        self.problems.append(f"{self.path}.{key}: {what}" if key else f"{self.path}: {what}")

    def text(self, key: str, default: str | None = None) -> str:
        """A string; it must be there unless there is a default, which null stands for as well."""
        value = self.item.get(key, default)
        if value is None and default is not None:
            return default
        if value is None and key not in self.item:
            self.wrong(key, "is missing")
            return ""
        if not isinstance(value, str) or not is_text(value):
            self.wrong(key, "a text is needed")
            return ""
        if key in SHORT and len(value.encode()) > NAME_BYTES_MAX:
            self.wrong(key, f"longer than {NAME_BYTES_MAX} bytes")
            return ""
        if key == "name" and not value and default is None:
            self.wrong(key, "is empty")
        return value

    def flag(self, key: str, default: bool) -> bool:
        """True or false."""
        value = self.item.get(key, default)
        if not isinstance(value, bool):
            self.wrong(key, "true or false is needed")
            return default
        return value

    def number(self, key: str, default: int) -> int:
        """A whole number."""
        value = self.item.get(key, default)
        if not isinstance(value, int) or isinstance(value, bool):
            self.wrong(key, "a whole number is needed")
            return default
        return value

    def value(self, key: str) -> object:
        """Any value that is there."""
        if key not in self.item:
            self.wrong(key, "is missing")
        return self.item.get(key)

    def table(self, key: str, default: Item) -> Item:
        """An object."""
        value = self.item.get(key, default)
        if not isinstance(value, dict):
            self.wrong(key, "an object is needed")
            return default
        return value

    def pairs(self, key: str) -> Item:
        """An object, or as RabbitMQ exports some of them, a list of pairs."""
        value = self.item.get(key, {})
        if isinstance(value, list) and all(
            isinstance(pair, list) and len(pair) == 2 and isinstance(pair[0], str) for pair in value
        ):
            return {pair[0]: pair[1] for pair in value}
        return self.table(key, {})

    def words(self, key: str) -> list[str]:
        """A list of strings, or as old files have them, words between commas; null is none. An
        empty one is left out: RabbitMQ has it of who sets no tags by `set_user_tags ann ""`."""
        value = self.item.get(key, [])
        if value is None:
            return []
        if isinstance(value, str):
            value = [word.strip() for word in value.split(",") if word.strip()]
        if not isinstance(value, list) or not all(
            isinstance(word, str) and is_text(word) for word in value
        ):
            self.wrong(key, "a list of texts is needed")
            return []
        return [word for word in value if word]

    def field_table(self, key: str) -> Table:
        """Arguments: an object whose values can be AMQP's. As in RabbitMQ, an empty list will do:
        languages whose tables are lists write that."""
        value = {} if self.item.get(key) == [] else self.table(key, {})
        problem = problem_of(value, f"{self.path}.{key}")
        if problem is not None:
            self.problems.append(f"{problem[0]}: {problem[1]}")
            return {}
        return dict(value)
