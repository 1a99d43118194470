"""The fuzzer repeats itself, reaches deliveries and restarts, and reports what breaks."""

from __future__ import annotations

from random import Random

import pytest

from amqbroker.wire.frames import BASIC_DELIVER, BASIC_GET_OK, BASIC_RETURN
from amqbroker.wire.parser import Parser
from fuzz import __main__ as command
from fuzz import targets
from fuzz.streams import Stream, make_stream
from fuzz.targets import Failure, check_frames, fuzz_node, fuzz_parser

HEARTBEAT = b"\x08\x00\x00\x00\x00\x00\x00\xce"


def test_a_seed_is_always_the_same_stream() -> None:
    for number in range(50):
        first, second = command.stream_of(7, number), command.stream_of(7, number)
        assert (first.start, first.tail) == (second.start, second.tail)
    assert command.stream_of(7, 1).tail != command.stream_of(8, 1).tail


def test_a_few_streams_find_nothing() -> None:
    reports = [command.run_one(5, number) for number in range(150)]
    assert [report for report in reports if report] == []


def test_streams_reach_deliveries_returns_and_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    methods: dict[int, int] = {}
    restarts: list[bytes] = []
    real = targets.restart

    def count(output: bytes) -> None:
        check_frames(output)
        position = 0
        while position < len(output):
            if output[position] == 1:
                index = int.from_bytes(output[position + 7 : position + 11], "big")
                methods[index] = methods.get(index, 0) + 1
            position += 8 + int.from_bytes(output[position + 3 : position + 7], "big")

    def remember(octets: bytes) -> None:
        restarts.append(octets)
        real(octets)

    monkeypatch.setattr(targets, "check_frames", count)
    monkeypatch.setattr(targets, "restart", remember)
    for number in range(400):
        stream = make_stream(Random(number))
        if stream.start:
            fuzz_node(stream)
    close, channel_close, open_ok = 0x000A0032, 0x00140028, 0x000A0029
    for index in (BASIC_DELIVER, BASIC_GET_OK, BASIC_RETURN, close, channel_close, open_ok):
        assert methods.get(index, 0) > 0, hex(index)
    assert restarts


def test_a_failure_names_the_stream_that_replays_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(stream: Stream) -> None:
        raise KeyError(stream.tail)

    monkeypatch.setattr(command, "fuzz_parser", broken)
    report = command.run_one(3, 14)
    assert "KeyError" in report
    assert "replay: python -m fuzz --seed 3 --first 14 --streams 1" in report


def test_a_parser_that_depends_on_the_cuts_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    class Forgetful:
        """Sees only what comes in one read."""

        def __init__(self, frame_size_max: int, message_size_max: int) -> None:
            self._sizes = (frame_size_max, message_size_max)
            self.error = None

        def receive(self, data: bytes) -> list[object]:
            return Parser(*self._sizes).receive(data)

    monkeypatch.setattr(targets, "Parser", Forgetful)
    ack = b"\x01\x00\x01\x00\x00\x00\x0d\x00\x3c\x00\x50" + bytes(9) + b"\xce"
    with pytest.raises(Failure, match="commands differ"):
        fuzz_parser(Stream(b"", ack))


@pytest.mark.parametrize("output", [b"\x01", HEARTBEAT[:-1], HEARTBEAT + b"\x04" + HEARTBEAT[1:]])
def test_an_output_that_is_no_frame_is_seen(output: bytes) -> None:
    check_frames(b"AMQP\x00\x00\x09\x01" + HEARTBEAT)
    with pytest.raises(Failure, match="not a frame"):
        check_frames(output)
