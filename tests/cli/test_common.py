"""What the commands share: sizes and counts for people, and JSON lines."""

from __future__ import annotations

import json

import pytest

from amqbroker.cli.common import fail, print_json, shown_count, shown_size


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 bytes"),
        (1023, "1023 bytes"),
        (1024, "1.0 KiB"),
        (67_108_864, "64.0 MiB"),
        (3 * 1024**3 // 2, "1.5 GiB"),
        (5 * 1024**4, "5.0 TiB"),
        (5000 * 1024**4, "5000.0 TiB"),
    ],
)
def test_sizes(size: int, text: str) -> None:
    assert shown_size(size) == text


def test_counts() -> None:
    assert [shown_count(count, "message") for count in (0, 1, 2000)] == [
        "0 messages",
        "1 message",
        "2,000 messages",
    ]


def test_json_is_a_line_an_object(capsys: pytest.CaptureFixture[str]) -> None:
    print_json("a", name="é\n", other=[1])
    print_json("b", value=b"x")
    first, second = capsys.readouterr().out.splitlines()
    assert json.loads(first) == {"kind": "a", "name": "é\n", "other": [1]}
    assert json.loads(second) == {"kind": "b", "value": "b'x'"}


def test_a_failure_is_a_line_for_each_reason(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        fail(2, "one", "two")
    assert caught.value.code == 2
    assert capsys.readouterr().err == "amqbroker: one\namqbroker: two\n"
