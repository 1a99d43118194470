"""Entries of a JSON document, and what is wrong with them."""

from __future__ import annotations

from amqbroker.management.reading import Reader


def problems_of(entry: object, *reads: tuple[str, tuple[object, ...]]) -> list[str]:
    """What is said when these are read."""
    problems: list[str] = []
    reader = Reader(entry, "queues[3]", problems)
    for method, arguments in reads:
        getattr(reader, method)(*arguments)
    return problems


def test_values_of_each_kind() -> None:
    entry: dict[str, object] = {
        "name": "q",
        "durable": False,
        "priority": 7,
        "arguments": {"a": 1},
        "limits": [["max-queues", 7]],
        "tags": "a, b",
        "value": None,
    }
    problems: list[str] = []
    reader = Reader(entry, "x", problems)
    assert reader.text("name") == "q"
    assert reader.text("vhost", "/") == "/"
    assert (reader.flag("durable", True), reader.flag("auto_delete", True)) == (False, True)
    assert (reader.number("priority", 0), reader.number("other", 3)) == (7, 3)
    assert reader.field_table("arguments") == {"a": 1}
    assert reader.pairs("limits") == {"max-queues": 7}
    assert reader.pairs("arguments") == {"a": 1}
    assert (reader.words("tags"), reader.words("other")) == (["a", "b"], [])
    assert Reader({"tags": ["", "a"]}, "x", problems).words("tags") == ["a"]
    assert reader.value("value") is None
    assert problems == []


def test_mistakes_have_a_path() -> None:
    assert problems_of([]) == ["queues[3]: an object is needed"]
    assert problems_of({}, ("text", ("name",)), ("value", ("v",))) == [
        "queues[3].name: is missing",
        "queues[3].v: is missing",
    ]
    entry = {
        "name": "",
        "vhost": "é" * 128,
        "user": "\ud800",
        "durable": 1,
        "priority": True,
        "arguments": {"x-a": [2**63]},
        "limits": [["a"]],
        "tags": [1],
    }
    assert problems_of(
        entry,
        ("text", ("name",)),
        ("text", ("vhost",)),
        ("text", ("user",)),
        ("flag", ("durable", True)),
        ("number", ("priority", 0)),
        ("field_table", ("arguments",)),
        ("pairs", ("limits",)),
        ("words", ("tags",)),
        ("wrong", ("", "all wrong")),
    ) == [
        "queues[3].name: is empty",
        "queues[3].vhost: longer than 255 bytes",
        "queues[3].user: a text is needed",
        "queues[3].durable: true or false is needed",
        "queues[3].priority: a whole number is needed",
        "queues[3].arguments.x-a[0]: no 64-bit number",
        "queues[3].limits: an object is needed",
        "queues[3].tags: a list of texts is needed",
        "queues[3]: all wrong",
    ]
