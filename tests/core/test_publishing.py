"""Publishing: properties that have rules, and routes that channels remember."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pamqp.commands import Basic, Exchange, Queue

from amqbroker.core.arguments import TIME_MS_MAX
from amqbroker.core.publishing import check_expiration, copies, has_copies
from amqbroker.errors import PRECONDITION_FAILED, ChannelException
from amqbroker.exchanges.base import Table
from amqbroker.wire.properties import encode_header
from tests.core.house import House
from tests.core.test_paging_model import SmallHouse
from tests.semantics.peer import Channel


@pytest.mark.parametrize("text", ["0", "1", "00010", "+5", "-0", str(TIME_MS_MAX)])
def test_an_expiration_is_a_whole_number_of_milliseconds(text: str) -> None:
    check_expiration(text)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no_integer"),
        ("s", "no_integer"),
        ("-", "no_integer"),
        (" 1", "no_integer"),
        ("٣", "no_integer"),
        ("10s", '{leftover_string,"s"}'),
        ("1.5", '{leftover_string,".5"}'),
        ("-1", "{value_negative,-1}"),
        (str(TIME_MS_MAX + 1), f"{{value_too_large,{TIME_MS_MAX + 1}}}"),
    ],
)
def test_another_expiration_is_refused(text: str, reason: str) -> None:
    with pytest.raises(ChannelException) as caught:
        check_expiration(text)
    assert caught.value.explanation == f"invalid expiration '{text}': {reason}"


@given(st.text(max_size=255) | st.from_regex(r"[+-]?[0-9]{1,255}", fullmatch=True))
def test_any_expiration_is_accepted_or_refused(text: str) -> None:
    try:
        check_expiration(text)
    except ChannelException:
        accepted = False
    else:
        accepted = True
    digits = text[1:] if text[:1] in ("+", "-") else text
    is_number = digits.isascii() and digits.isdigit()
    assert accepted == (is_number and 0 <= int(text) <= TIME_MS_MAX)


@pytest.mark.parametrize(
    ("value", "keys"),
    [(None, []), ([], []), (["a", 1, "b", None, ["c"], b"\xff"], ["a", "b"])],
)
def test_copies_are_the_texts_of_an_array(value: object, keys: list[str]) -> None:
    headers: Table = {} if value is None else {"CC": value}
    assert copies(headers, "CC") == keys


@pytest.mark.parametrize(
    ("value", "kind"), [("a", "longstr"), ({"a": 1}, "table"), (1, "signedint")]
)
def test_copies_in_anything_else_are_refused(value: object, kind: str) -> None:
    with pytest.raises(ChannelException) as caught:
        copies({"BCC": value}, "BCC")
    assert caught.value.code == PRECONDITION_FAILED
    assert caught.value.explanation == (
        f'invalid message: {{unacceptable_type_in_header,"BCC",{kind}}}'
    )


@given(st.dictionaries(st.sampled_from(["CC", "BCC", "cc", "XCC", "a"]), st.just(["k"])))
def test_no_copies_are_overlooked(headers: dict[str, list[str]]) -> None:
    """A false alarm costs time; a miss would lose a copy, or show a BCC."""
    header = encode_header(0, {"headers": headers})  # type: ignore[dict-item]
    if "CC" in headers or "BCC" in headers:
        assert has_copies(header)


class TestRememberedRoute:
    """A channel keeps the route of its last publish: nothing that changes may be missed."""

    def test_a_queue_that_comes_and_goes(self, ch: Channel) -> None:
        ch.publish(b"0", key="q")
        ch.declare_queue("q")
        ch.publish(b"1", key="q")
        ch.delete_queue("q")
        ch.publish(b"2", key="q", mandatory=True)
        assert ch.expect_return().body == b"2"
        ch.declare_queue("q")
        ch.publish(b"3", key="q")
        assert ch.get_bodies("q") == [b"3"]

    def test_a_binding_made_on_another_channel(self, house: House, ch: Channel) -> None:
        other = house.channel()
        other.declare_queue("q")
        ch.publish(b"0", exchange="amq.direct", key="k")
        other.bind("q", "amq.direct", "k")
        ch.publish(b"1", exchange="amq.direct", key="k")
        other.unbind("q", "amq.direct", "k")
        ch.publish(b"2", exchange="amq.direct", key="k")
        assert other.get_bodies("q") == [b"1"]

    def test_an_exchange_that_is_another_one_now(self, ch: Channel) -> None:
        ch.declare_queue("q")
        ch.declare_exchange("x", "fanout")
        ch.bind("q", "x")
        ch.publish(b"0", exchange="x")
        ch.call(Exchange.Delete(exchange="x"), Exchange.DeleteOk)
        ch.declare_exchange("x", "fanout", internal=True)
        ch.publish(b"1", exchange="x")
        ch.expect_channel_close(403)
        ch.open()
        ch.call(Exchange.Delete(exchange="x"), Exchange.DeleteOk)
        ch.publish(b"2", exchange="x")
        ch.expect_channel_close(404, "NOT_FOUND - no exchange 'x' in vhost '/'")
        ch.open()
        assert ch.get_bodies("q") == [b"0"]

    def test_a_permission_is_checked_for_each_exchange(self, house: House) -> None:
        ch = house.connect("alice").open_channel()
        ch.declare_exchange("mine-x", "fanout")
        ch.publish(b"0", exchange="mine-x")
        ch.publish(b"1", exchange="amq.fanout")
        ch.expect_channel_close(403)

    def test_an_exclusive_queue_that_goes_with_its_connection(
        self, house: House, ch: Channel
    ) -> None:
        owner = house.channel()
        owner.declare_queue("own", exclusive=True)
        ch.publish(b"0", key="own", mandatory=True)
        ch.expect_nothing()
        owner.peer.drop()
        ch.publish(b"1", key="own", mandatory=True)
        assert ch.expect_return().body == b"1"


def test_messages_of_one_route_share_their_address(house: House, ch: Channel) -> None:
    """One object for all of them, not one a message."""
    ch.declare_queue("q")
    ch.fill("q", b"0", b"1", b"2")
    messages = [entry.message for entry in house.queue("q").line.ready.entries()]
    assert len({id(message.address) for message in messages}) == 1


def test_bcc_is_gone_in_every_queue(ch: Channel) -> None:
    for queue in ("to", "copy", "blind"):
        ch.declare_queue(queue)
    ch.publish(b"m", key="to", headers={"CC": ["copy"], "BCC": ["blind"], "a": 1})
    for queue in ("to", "copy", "blind"):
        assert ch.must_get(queue, no_ack=True).headers == {"CC": ["copy"], "a": 1}


def test_a_refused_publish_counts_for_no_confirm(ch: Channel) -> None:
    """It closes the channel; the next channel counts from 1 again."""
    ch.declare_queue("q")
    ch.confirm()
    ch.publish(b"0", key="q")
    ch.expect_confirms(1)
    ch.publish(b"1", key="q", properties=Basic.Properties(expiration="soon"))
    ch.expect_channel_close(406)
    ch.open()
    ch.confirm()
    ch.publish(b"2", key="q")
    ch.expect_confirms(1)
    assert ch.get_bodies("q") == [b"0", b"2"]


def test_a_return_comes_before_its_confirm(ch: Channel) -> None:
    ch.confirm()
    ch.publish(b"0", key="nowhere", mandatory=True)
    assert ch.expect_return().body == b"0"
    ch.expect_confirms(1)


def test_a_message_to_many_queues_is_one_message(house: House, ch: Channel) -> None:
    """Its bytes are shared, its places are not."""
    for number in range(3):
        ch.declare_queue(f"q{number}")
        ch.bind(f"q{number}", "amq.fanout")
    ch.publish(b"m", exchange="amq.fanout")
    entries = [house.queue(f"q{number}").line.ready.entries()[0] for number in range(3)]
    assert len({id(entry.message) for entry in entries}) == 1
    ch.nack(ch.must_get("q0").tag)
    ch.sync()
    assert [entry.redelivered for entry in entries] == [True, False, False]
    assert isinstance(ch.call(Queue.Purge(queue="q1"), Queue.PurgeOk), Queue.PurgeOk)
    assert house.queue("q2").line.ready.count == 1


HIDDEN = Basic.Properties(delivery_mode=2, headers={"BCC": ["dead"], "mine": 1})


@pytest.mark.parametrize("on_disk", [False, True])
def test_hidden_keys_outlive_a_restart_and_stay_hidden(on_disk: bool) -> None:
    house = SmallHouse() if on_disk else House()
    ch = house.channel()
    ch.declare_queue("q", durable=True, arguments={"x-dead-letter-exchange": ""})
    ch.fill("q", b"1", b"2", properties=HIDDEN)
    house.advance(1)
    house.restart(clean=False)
    ch = house.channel()
    ch.declare_queue("dead")
    assert house.queue("q").line.is_loaded() is not on_disk
    consumer = house.channel()
    consumer.qos(1)
    consumer.consume("q")
    message = consumer.expect_delivery(b"1")
    assert message.headers == {"mine": 1}
    message = ch.must_get("q")
    assert (message.body, message.headers) == (b"2", {"mine": 1})
    ch.reject(message.tag, requeue=False)
    ch.wait_ready("dead", 1)
    assert "BCC" not in ch.must_get("dead").headers


def test_hidden_keys_are_returned_to_nobody(house: House, ch: Channel) -> None:
    ch.publish(b"1", key="nowhere", properties=HIDDEN, mandatory=True)
    assert ch.expect_return().headers == {"mine": 1}


def test_a_queue_without_hidden_keys_sends_messages_as_they_are(house: House, ch: Channel) -> None:
    ch.declare_queue("q")
    ch.fill("q", b"1", properties=Basic.Properties(headers={"CC": ["c"]}))
    assert not house.queue("q").edits
    ch.fill("q", b"2", properties=HIDDEN)
    assert house.queue("q").edits
