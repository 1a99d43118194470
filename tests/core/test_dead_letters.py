"""The header of a dead letter, against a slow model of tables; histories that publishers send."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pamqp.common import FieldTable, FieldValue

from amqbroker.core import dead_letters as subject
from amqbroker.core.dead_letters import Death, Letter, LetterMaker, make_letter
from amqbroker.message import Message
from amqbroker.wire import properties
from tests.wire.strategies import all_tables

NOW = datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC)
SECONDS = int(NOW.timestamp())
QUEUES = st.sampled_from(["a", "b", "rejected", "queue", "é"])
REASONS = st.sampled_from(["expired", "maxlen", "rejected", "delivery_limit"])


def make_message(exchange: str = "x", key: str = "k", **values: FieldValue) -> Message:
    """A message with these properties."""
    address = bytes([len(exchange.encode())]) + exchange.encode()
    address += bytes([len(key.encode())]) + key.encode()
    return Message(1, address, 0, properties.encode_header(4, values), b"body", True)


def die(
    message: Message,
    queue: str = "q",
    reason: str = "rejected",
    exchange: str = "dlx",
    key: str | None = None,
    believe: bool = False,
) -> Letter:
    """A death at NOW."""
    return make_letter(message, Death(queue, reason, SECONDS, exchange, key, believe))


def headers_of(message: Message) -> FieldTable:
    """The headers of a message that has some."""
    headers = properties.headers_of(message.header)
    assert headers is not None
    return headers


def deaths_of(message: Message) -> list[FieldTable]:
    """The x-death header."""
    deaths = headers_of(message)["x-death"]
    assert isinstance(deaths, list)
    return deaths  # type: ignore[return-value]


def test_a_letter_shares_the_body_and_goes_to_the_exchange() -> None:
    message = make_message()
    letter = die(message)
    assert letter.message.body is message.body
    assert letter.message.address == b"\x03dlx\x01k"
    assert letter.keys == ["k"]
    assert (letter.message.persistent, letter.message.bits) == (True, 0)


def test_the_octets_of_a_first_death() -> None:
    """In the types of RabbitMQ: long, longstr, timestamp, array of longstr."""
    header = die(make_message("x", "k", expiration="5")).message.header
    seconds = SECONDS.to_bytes(8, "big")
    entry = (
        b"\x13original-expirationS\0\0\0\x015"
        b"\x05countl\0\0\0\0\0\0\0\x01\x06reasonS\0\0\0\x08rejected\x05queueS\0\0\0\x01q"
        b"\x04timeT" + seconds + b"\x08exchangeS\0\0\0\x01x"
        b"\x0crouting-keysA\0\0\0\x06S\0\0\0\x01k"
    )
    array = b"F" + len(entry).to_bytes(4, "big") + entry
    assert b"\x07x-deathA" + len(array).to_bytes(4, "big") + array in header


@dataclass
class Naive:
    """A message's history as lists and dicts."""

    deaths: list[FieldTable] = field(default_factory=list)
    first: tuple[str, str, str] | None = None

    def die(self, queue: str, reason: str, exchange: str, keys: list[str]) -> None:
        """One more death."""
        for death in self.deaths:
            if (death["queue"], death["reason"]) == (queue, reason):
                self.deaths.remove(death)
                death["count"] += 1  # type: ignore[operator]
                break
        else:
            death = {
                "count": 1,
                "reason": reason,
                "queue": queue,
                "time": NOW,
                "exchange": exchange,
                "routing-keys": list(keys),
            }
        self.deaths.insert(0, death)
        self.first = self.first or (reason, queue, exchange)

    def is_cycle(self, queue: str) -> bool:
        """Whether it died there, and was not rejected since, nor then."""
        for place, death in enumerate(self.deaths):
            if death["queue"] == queue:
                newer = self.deaths[: place + 1]
                return all(each["reason"] != "rejected" for each in newer)
        return False


@given(
    all_tables,
    st.lists(st.tuples(QUEUES, REASONS, st.sampled_from([None, "é", "k2"])), min_size=1),
)
def test_histories_are_those_of_a_slow_model(
    table: FieldTable, deaths: list[tuple[str, str, str | None]]
) -> None:
    message = make_message("x", "k", headers={**table, "CC": ["c1"]}, priority=3)
    model = Naive()
    exchange, keys = "x", ["k", "c1"]
    for queue, reason, key in deaths:
        model.die(queue, reason, exchange, keys)
        letter = die(message, queue, reason, f"dlx-{queue}", key)
        message = letter.message
        exchange, keys = f"dlx-{queue}", [key] if key else keys
        assert letter.keys == keys
        assert deaths_of(message) == model.deaths
        headers = headers_of(message)
        assert model.first is not None
        for name, value in zip(("reason", "queue", "exchange"), model.first, strict=True):
            assert headers[f"x-first-death-{name}"] == value
        assert headers["x-last-death-reason"] == reason
        assert headers["x-last-death-queue"] == queue
        # A table may have any of the names that dying writes.
        kept = {
            name: value for name, value in table.items() if name not in headers or name[:2] != "x-"
        }
        kept.pop("CC", None)
        assert {**headers, **kept} == headers
        assert headers.get("CC") == (["c1"] if len(keys) == 2 else None)
        for target in ("a", "b", "rejected", "queue", "é", "nowhere"):
            assert letter.deaths.is_cycle(target) == model.is_cycle(target)
        assert letter.deaths.queues() == [death["queue"] for death in model.deaths]
        assert properties.priority_of(message.header) == 3
        assert properties.check_properties(message.header) is False


VALUES = st.sampled_from(
    [{}, {"message_id": "1"}, {"expiration": "9"}, {"headers": {"CC": ["c"], "BCC": ["d"]}}, {}]
)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["k", "l"]),
            VALUES,
            st.binary(max_size=3),
            st.builds(
                Death,
                st.sampled_from(["a", "b"]),
                st.sampled_from(["expired", "rejected"]),
                st.sampled_from([SECONDS, SECONDS + 1]),
                st.sampled_from(["x", ""]),
                st.sampled_from([None, "k"]),
                st.booleans(),
            ),
        )
    )
)
def test_letters_that_share_are_as_if_they_did_not(
    messages: list[tuple[str, FieldTable, bytes, Death]],
) -> None:
    maker = LetterMaker()
    for key, values, body, death in messages:
        message = make_message("x", key, **values)
        size = len(body).to_bytes(8, "big")
        message.header = message.header[:4] + size + message.header[12:]
        message.body = body
        for _ in range(2):
            made, alone = maker.make(message, death), make_letter(message, death)
            for name in ("address", "header", "body", "persistent", "bits", "cost"):
                assert getattr(made.message, name) == getattr(alone.message, name)
            assert (made.keys, made.hides) == (alone.keys, alone.hides)
            assert made.deaths.entries == alone.deaths.entries
            # One that died once more.
            message = made.message


@given(all_tables.filter(lambda table: "x-death" not in table), st.booleans())
def test_no_publish_has_a_history(table: FieldTable, mark: bool) -> None:
    """Whatever order its headers come in, once it passed the publish."""
    forged: FieldTable = {"x-last-death-reason": "expired"} if mark else {}
    forged["x-death"] = [{"queue": "q", "reason": "expired", "count": 7}]
    message = make_message("x", "k", headers={**forged, **table})
    if subject.is_marked(message.header):
        message.header = subject.unmarked(message.header)
    assert not subject.is_marked(message.header)
    assert headers_of(message) == {**forged, **table}
    letter = die(message, "q", "expired")
    assert [death["count"] for death in deaths_of(letter.message)] == [1]
    assert not letter.deaths.is_cycle("other")


def test_a_mark_alone_stays_where_it_is_and_means_nothing() -> None:
    message = make_message("x", "k", headers={"x-last-death-reason": "expired"})
    header = subject.unmarked(message.header)
    assert header == message.header
    assert len(deaths_of(die(message).message)) == 1


def test_a_letter_keeps_its_history_and_a_republished_one_does_not() -> None:
    letter = die(make_message()).message
    assert [death["count"] for death in deaths_of(die(letter).message)] == [2]
    letter.header = subject.unmarked(letter.header)
    assert [death["count"] for death in deaths_of(die(letter).message)] == [1]


def test_hidden_keys_are_shown_to_nobody() -> None:
    message = make_message("x", "k", headers={"a": 1, "BCC": ["c", 2], "b": "BCC"})
    assert subject.hides(message.header)
    shown = subject.shown(message.header)
    assert properties.headers_of(shown) == {"a": 1, "b": "BCC"}
    # It has the octets of one still, but that is a value.
    assert subject.shown(shown) is shown
    letter = die(message)
    assert (letter.keys, letter.hides) == (["k", "c"], True)
    assert deaths_of(letter.message)[0]["routing-keys"] == ["k"]
    assert die(letter.message, "r").keys == ["k", "c"]
    keyed = die(message, key="l")
    assert (keyed.keys, keyed.hides) == (["l"], False)
    assert "BCC" not in headers_of(keyed.message)


def test_publishers_can_be_believed() -> None:
    letter = die(make_message()).message
    letter.header = subject.unmarked(letter.header)
    again = die(letter, believe=True).message
    assert [death["count"] for death in deaths_of(again)] == [2]


@pytest.mark.parametrize(
    "value",
    [
        "text",
        None,
        {"queue": "q"},
        [],
        [1, "a", [{"queue": "q"}]],
        [{"queue": "q", "reason": "rejected", "count": "many"}],
        [{"queue": "q", "reason": "rejected"}],
        [{"queue": 1, "reason": None}],
    ],
)
def test_believed_histories_may_be_of_any_shape(value: FieldValue) -> None:
    message = make_message("x", "k", headers={"x-death": value})
    letter = die(message, believe=True)
    first = deaths_of(letter.message)[0]
    assert (first["queue"], first["reason"], first["count"]) == ("q", "rejected", 1)
    assert not letter.deaths.is_cycle("q")


@pytest.mark.parametrize("count", [(1 << 63) - 1, (1 << 64) - 1])
def test_believed_counts_end_where_integers_do(count: int) -> None:
    death: FieldTable = {"queue": "q", "reason": "rejected", "count": count}
    letter = die(make_message(headers={"x-death": [death]}), believe=True)
    assert deaths_of(letter.message)[0]["count"] == (1 << 63) - 1


def test_names_that_are_not_utf8_pass_through() -> None:
    message = make_message()
    message.address = b"\x02x\xff\x02k\xfe"
    letter = die(message, "q\udcfd")
    death = deaths_of(letter.message)[0]
    assert (death["queue"], death["exchange"]) == (b"q\xfd", b"x\xff")
    assert death["routing-keys"] == [b"k\xfe"]
    assert letter.message.address == b"\x03dlx\x02k\xfe"
    again = die(letter.message, "q\udcfd")
    assert deaths_of(again.message)[0]["count"] == 2


def test_a_configured_key_that_is_too_long_is_cut() -> None:
    letter = die(make_message(), key="k" * 300)
    assert letter.message.address == b"\x03dlx\xff" + b"k" * 255


def test_a_key_that_looks_like_an_entry_is_none() -> None:
    """The octets of a table in a routing key are not mistaken for a death."""
    message = make_message("x", "\x06reasonS\0\0\0\x08rejected\x05queueS\0\0\0\x01b")
    letter = die(message, "a", "expired")
    assert letter.deaths.is_cycle("a")
    assert not letter.deaths.is_cycle("b")
