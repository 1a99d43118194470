"""The drawings in docs/formats/ are read as a stranger would, and read what the code writes."""

from __future__ import annotations

import re
import zlib
from pathlib import Path

import pytest

from amqbroker.message import PENDING, Entry, Message
from amqbroker.store import records
from amqbroker.store.records import (
    FORMAT_VERSION,
    JOURNAL_MAGIC,
    SNAPSHOT_MAGIC,
    BlockWriter,
    SegmentPart,
    file_header,
    header_crc,
)
from amqbroker.store.segments import SEGMENT_MAGIC, SegmentWriter, segment_header

FORMATS = Path(__file__).parents[2] / "docs" / "formats"
JOURNAL, SNAPSHOT, SEGMENTS = (
    (FORMATS / name).read_text() for name in ("journal.md", "definitions.md", "segments.md")
)
SEED = b"seedseed"
MESSAGE = Message(1, b"\x01x\x03key", 0, b"header", b"the body", True)


def fields(text: str, kind: str) -> list[str]:
    """The fields of a record as its drawing names them, its kind first."""
    found = re.search(rf"^ ?\d+ {kind} +(\|.*?\|)(?: {{2}}.*)?\n((?:  +\|.*\|\n)*)", text, re.M)
    assert found is not None, kind
    drawn = found[1] + found[2].replace("\n", " ")
    return [part.strip() for part in drawn.split("|") if part.strip()]


def read(drawn: list[str], data: bytes) -> dict[str, object]:
    """Read bytes by a drawing: names with i16, i32 or i64, or bytes with a length before."""
    values: dict[str, object] = {}
    at = 0
    for field in drawn:
        name, _, kind = field.rpartition(" ")
        if field.isdigit():
            assert data[at] == int(field)
            at += 1
        elif kind in ("i16", "i32", "i64"):
            size = int(kind[1:]) // 8
            values[name] = int.from_bytes(data[at : at + size], "big", signed=True)
            at += size
        elif kind == "8":
            values[name] = data[at : at + 8]
            at += 8
        else:
            length = values[f"{field} length"]
            assert isinstance(length, int)
            values[field] = data[at : at + length]
            at += length
    assert at == len(data), (drawn, at, len(data))
    return values


def record(write: str, *arguments: object) -> bytes:
    """The bytes of one record, without its block's header."""
    writer = BlockWriter(0)
    writer.begin(0)
    getattr(writer, write)(*arguments)
    return b"".join(writer.take())[records.BLOCK_HEADER_BYTES :]


def entry() -> Entry:
    made = Entry(MESSAGE, 5, 6)
    made.expires_at = 7
    made.deliveries = 8
    made.state = PENDING
    return made


PLACE = {"queue": 5, "index": 6, "expires at": 7, "deliveries": 8}
LENGTHS = {"address length": 6, "header length": 6, "body length": 8}
BYTES = {"address": b"\x01x\x03key", "header": b"header", "body": b"the body"}
PART = SegmentPart(1, 2, SEED, 3, 4, 5, 6, 7, 8, 9, 10)


@pytest.mark.parametrize(
    ("text", "kind", "data", "expected"),
    [
        (JOURNAL, "MESSAGE", record("message", entry()), PLACE | LENGTHS | BYTES),
        (
            JOURNAL,
            "DEFINE",
            record("define", b"the key", b"value"),
            {"key length": 7, "value length": 5, "key": b"the key", "value": b"value"},
        ),
        (JOURNAL, "UNDEFINE", record("undefine", b"key"), {"key length": 3, "key": b"key"}),
        (JOURNAL, "STOPPED", record("stopped"), {}),
        (
            JOURNAL,
            "SEGMENT",
            record("segment", PART),
            {
                **{"queue": 1, "segment": 2, "seed": SEED, "first": 3, "last": 4, "from": 5},
                **{"count": 6, "size": 7, "bodies": 8, "expires from": 9, "expires until": 10},
            },
        ),
        (SNAPSHOT, "NEXT_QUEUE", record("next_queue", 5), {"queue": 5}),
        (SNAPSHOT, "NEXT_INDEX", record("next_index", 5, 6), {"queue": 5, "index": 6}),
        (
            SNAPSHOT,
            "DEFINE",
            record("define", b"k", b"value"),
            {"key length": 1, "value length": 5, "key": b"k", "value": b"value"},
        ),
        (SNAPSHOT, "END", record("end"), {}),
    ],
)
def test_a_record_is_what_is_drawn(
    text: str, kind: str, data: bytes, expected: dict[str, object]
) -> None:
    assert read(fields(text, kind), data) == expected


def test_same_is_what_is_drawn() -> None:
    writer = BlockWriter(0)
    writer.begin(0)
    writer.message(entry())
    alone = len(writer._records)
    writer.same(entry())
    data = b"".join(writer.take())[records.BLOCK_HEADER_BYTES + alone :]
    assert read(fields(JOURNAL, "SAME"), data) == PLACE


@pytest.mark.parametrize(
    ("kind", "number", "pair"),
    [
        ("SETTLED", records.SETTLED_RANGES, "( first i64 | last i64 )"),
        ("REDELIVERED", records.REDELIVERED_RANGES, "( first i64 | last i64 )"),
        ("DELIVERIES", records.DELIVERIES, "( index i64 | deliveries i64 )"),
    ],
)
def test_ranges_are_what_is_drawn(kind: str, number: int, pair: str) -> None:
    line = re.search(rf"^ ?{number} {kind} .*$", JOURNAL, re.M)
    assert line is not None
    assert f"| {number} | queue i64 | count i32 | count " in line[0]
    assert line[0].endswith(f" {pair} |")
    data = record("ranges", number, 5, [(1, 2), (30, 40)])
    assert data[0] == number
    words = [5, 2, 1, 2, 30, 40]
    sizes = [8, 4, 8, 8, 8, 8]
    assert data[1:] == b"".join(
        word.to_bytes(size, "big") for word, size in zip(words, sizes, strict=True)
    )


def offsets(text: str, begin: str) -> list[int]:
    """The offsets above a drawing whose second line begins so."""
    found = re.search(rf"^ (0 [ \d]+)\n \+[-+]+\n \| {begin}", text, re.M)
    assert found is not None, begin
    return [int(offset) for offset in found[1].split()]


def pieces(data: bytes, at: list[int]) -> list[bytes]:
    """The bytes between these offsets."""
    return [data[one:two] for one, two in zip(at, [*at[1:], len(data)], strict=True)]


@pytest.mark.parametrize(
    ("text", "magic"),
    [(JOURNAL, JOURNAL_MAGIC), (SEGMENTS, SEGMENT_MAGIC)],
    ids=["file", "segment"],
)
def test_a_file_header_is_what_is_drawn(text: str, magic: bytes) -> None:
    header = file_header(magic, 9, SEED)
    assert f"`{magic.decode()}`" in text
    assert f"*version*: {FORMAT_VERSION}" in text
    found = pieces(header, offsets(text, "magic"))
    crc = zlib.crc32(header[:28]).to_bytes(4, "big")
    assert found == [magic, FORMAT_VERSION.to_bytes(4, "big"), bytes(7) + b"\t", SEED, crc, b""]


def test_the_snapshot_has_the_magic_that_is_named() -> None:
    assert f"`{SNAPSHOT_MAGIC.decode()}`" in SNAPSHOT


def test_a_block_is_what_is_drawn() -> None:
    header = file_header(JOURNAL_MAGIC, 9, SEED)
    writer = BlockWriter(41)
    writer.begin(header_crc(header))
    writer.stopped()
    data = b"".join(writer.take())
    marker, length, sequence, records_crc, crc, content = pieces(data, offsets(JOURNAL, '"blok"'))
    assert (marker, content) == (b"blok", b"\x07")
    assert (int.from_bytes(length, "big"), int.from_bytes(sequence, "big")) == (1, 42)
    assert int.from_bytes(records_crc, "big") == zlib.crc32(content)
    assert int.from_bytes(crc, "big") == zlib.crc32(data[:20], zlib.crc32(header[:28]))


def test_a_segment_is_what_is_drawn() -> None:
    header = segment_header(5, SEED)
    writer = SegmentWriter()
    writer.begin(header_crc(header))
    one = entry()
    one.redelivered = True
    writer.add(one)
    data = b"".join(writer.take())
    marker, length, count, first, last, records_crc, crc, content = pieces(
        data, offsets(SEGMENTS, '"segb"')
    )
    assert marker == b"segb"
    assert [int.from_bytes(each, "big") for each in (length, count, first, last)] == [
        len(content),
        1,
        6,
        6,
    ]
    assert int.from_bytes(records_crc, "big") == zlib.crc32(content)
    assert int.from_bytes(crc, "big") == zlib.crc32(data[:32], zlib.crc32(header[:28]))
    *fixed, rest = pieces(content, offsets(SEGMENTS, "index"))
    # Kept, redelivered and persistent.
    assert [int.from_bytes(each, "big") for each in fixed] == [6, 7, 8, 7, 8, 6, 6]
    assert rest == MESSAGE.address + MESSAGE.header + MESSAGE.body
