"""Which queues a message reaches (facts 92, 94 and 101 to 108)."""

from __future__ import annotations

import struct
from datetime import UTC, datetime

import pytest
from pamqp.commands import Basic, Exchange, Queue
from pamqp.common import FieldTable

from . import wire
from .conftest import Bench
from .marks import differs_on_reference, fact
from .peer import Channel


def _queue(bench: Bench, ch: Channel, exchange: str, *keys: str) -> str:
    queue = bench.name()
    ch.declare_queue(queue)
    for key in keys:
        ch.bind(queue, exchange, key)
    return queue


def _reaches(
    ch: Channel, queue: str, exchange: str, key: str = "", headers: FieldTable | None = None
) -> bool:
    """Publish with mandatory and confirms, and see whether the message was returned."""
    ch.publish(b"probe", exchange=exchange, key=key, headers=headers, mandatory=True)
    item = ch.peer.next_item(ch.number)
    if isinstance(item, Basic.Ack):
        assert ch.get_bodies(queue) == [b"probe"]
        return True
    ch.expect(Basic.Ack)
    return False


@fact(92)
def test_fact_092_alternate_exchange_takes_what_found_no_queue(bench: Bench) -> None:
    ch = bench.channel()
    x, alternate = bench.name("x"), bench.name("alt")
    ch.declare_exchange(alternate, "fanout")
    ch.declare_exchange(x, arguments={"alternate-exchange": alternate})
    found = _queue(bench, ch, x, "k")
    rest = _queue(bench, ch, alternate, "")
    ch.confirm()
    ch.publish(b"1", exchange=x, key="k")
    ch.publish(b"2", exchange=x, key="other", mandatory=True)
    ch.expect_confirms(2)
    assert ch.get_bodies(found) == [b"1"]
    message = ch.must_get(rest)
    assert message.body == b"2"
    assert (message.method["exchange"], message.method["routing_key"]) == (x, "other")


@fact(92)
def test_fact_092_missing_alternate_exchange_is_ignored(bench: Bench) -> None:
    ch = bench.channel()
    x = bench.name("x")
    ch.declare_exchange(x, arguments={"alternate-exchange": bench.name("missing")})
    ch.confirm()
    ch.publish(exchange=x, key="k")
    ch.expect_confirms(1)


@fact(92)
def test_fact_092_default_exchange_as_an_alternate_leads_nowhere(bench: Bench) -> None:
    ch = bench.channel()
    x, queue = bench.name("x"), bench.name()
    ch.declare_exchange(x, arguments={"alternate-exchange": ""})
    ch.declare_queue(queue)
    ch.publish(b"m", exchange=x, key=queue, mandatory=True)
    assert ch.expect_return().body == b"m"
    assert ch.get_bodies(queue) == []


@fact(92)
def test_fact_092_alternate_applies_to_each_exchange_of_a_chain(bench: Bench) -> None:
    ch = bench.channel()
    outer, inner, alternate = bench.name("o"), bench.name("i"), bench.name("alt")
    ch.declare_exchange(alternate, "fanout")
    ch.declare_exchange(outer, "fanout")
    ch.declare_exchange(inner, "direct", arguments={"alternate-exchange": alternate})
    ch.bind_exchange(inner, outer)
    queue = _queue(bench, ch, alternate, "")
    ch.confirm()
    ch.publish(b"m", exchange=outer, key="nobody", mandatory=True)
    ch.expect_confirms(1)
    assert ch.get_bodies(queue) == [b"m"]


@fact(94)
def test_fact_094_one_copy_a_queue_whatever_the_paths(bench: Bench) -> None:
    ch = bench.channel()
    a, b, c = bench.name("a"), bench.name("b"), bench.name("c")
    for exchange in (a, b, c):
        ch.declare_exchange(exchange, "topic")
    queue = _queue(bench, ch, b, "#", "k", "*")
    ch.bind(queue, c, "k")
    ch.bind(queue, a, "k")
    ch.bind_exchange(b, a, "#")
    ch.bind_exchange(c, a, "#")
    ch.bind_exchange(a, c, "#")
    ch.confirm()
    ch.publish(b"m", exchange=a, key="k")
    ch.expect_confirms(1)
    assert ch.get_bodies(queue) == [b"m"]


@fact(101)
def test_fact_101_direct_matches_the_whole_key(bench: Bench) -> None:
    ch = bench.channel()
    x = bench.name("x")
    ch.declare_exchange(x, "direct")
    queue = _queue(bench, ch, x, "k", "l")
    ch.confirm()
    assert _reaches(ch, queue, x, "k")
    assert _reaches(ch, queue, x, "l")
    assert not _reaches(ch, queue, x, "k.x")
    assert not _reaches(ch, queue, x, "")


@fact(101)
def test_fact_101_fanout_ignores_keys(bench: Bench) -> None:
    ch = bench.channel()
    x = bench.name("x")
    ch.declare_exchange(x, "fanout")
    queue = _queue(bench, ch, x, "k")
    ch.confirm()
    assert _reaches(ch, queue, x, "anything")


@fact(102)
@pytest.mark.parametrize(
    ("pattern", "matching", "others"),
    [
        ("#", ["", "a", "a.b.c"], []),
        ("a.#", ["a", "a.b", "a.b.c"], ["", "b", "ab"]),
        ("#.c", ["c", "b.c", "a.b.c"], ["", "c.d"]),
        ("a.#.c", ["a.c", "a.b.c", "a.b.b.c"], ["a", "c", "a.b"]),
        ("*", ["a"], ["", "a.b"]),
        ("a.*", ["a.b", "a."], ["a", "a.b.c"]),
        ("*.*", ["a.b", "."], ["", "a", "a.b.c"]),
        ("#.*", ["a", "a.b"], [""]),
        ("a.b", ["a.b"], ["a", "a.b.", "A.b"]),
        ("", [""], ["a"]),
    ],
)
def test_fact_102_topic_patterns(
    bench: Bench, pattern: str, matching: list[str], others: list[str]
) -> None:
    ch = bench.channel()
    x = bench.name("x")
    ch.declare_exchange(x, "topic")
    queue = _queue(bench, ch, x, pattern)
    ch.confirm()
    for key in matching:
        assert _reaches(ch, queue, x, key), f"{pattern} must match {key!r}"
    for key in others:
        assert not _reaches(ch, queue, x, key), f"{pattern} must not match {key!r}"


@fact(103)
@pytest.mark.parametrize("mode", ["all", "any", "all-with-x", "any-with-x"])
def test_fact_103_modes_of_a_headers_binding(bench: Bench, mode: str) -> None:
    ch = bench.channel()
    queue = bench.name()
    ch.declare_queue(queue)
    ch.bind(queue, "amq.headers", "", {"x-match": mode, "a": "1"})


@fact(103)
def test_fact_103_bad_mode(bench: Bench) -> None:
    ch = bench.channel()
    queue = bench.name()
    ch.declare_queue(queue)
    close = ch.fails(
        Queue.Bind(
            queue=queue, exchange="amq.headers", routing_key="", arguments={"x-match": "some"}
        ),
        406,
    )
    assert close.reply_text.startswith("PRECONDITION_FAILED - Invalid x-match field value")
    close = ch.fails(
        Queue.Bind(queue=queue, exchange="amq.headers", routing_key="", arguments={"x-match": 1}),
        406,
    )
    assert close.reply_text.startswith("PRECONDITION_FAILED - Invalid x-match field type")


def _headers_case(bench: Bench, binding: FieldTable) -> tuple[Channel, str, str]:
    ch = bench.channel()
    queue, x = bench.name(), bench.name("x")
    ch.declare_exchange(x, "headers")
    ch.declare_queue(queue)
    ch.bind(queue, x, "", binding)
    ch.confirm()
    return ch, queue, x


@fact(103)
def test_fact_103_all_is_the_default(bench: Bench) -> None:
    ch, queue, x = _headers_case(bench, {"a": "1", "b": "2"})
    assert _reaches(ch, queue, x, headers={"a": "1", "b": "2", "c": "3"})
    assert not _reaches(ch, queue, x, headers={"a": "1"})
    assert not _reaches(ch, queue, x)


@fact(103)
def test_fact_103_any_needs_one(bench: Bench) -> None:
    ch, queue, x = _headers_case(bench, {"x-match": "any", "a": "1", "b": "2"})
    assert _reaches(ch, queue, x, headers={"a": "1"})
    assert _reaches(ch, queue, x, headers={"b": "2", "a": "other"})
    assert not _reaches(ch, queue, x, headers={"a": "2"})


@fact(104)
def test_fact_104_keys_with_x_are_skipped(bench: Bench) -> None:
    ch, queue, x = _headers_case(bench, {"x-match": "all", "a": "1", "x-ignored": "y"})
    assert _reaches(ch, queue, x, headers={"a": "1"})
    ch, queue, x = _headers_case(bench, {"x-match": "any", "x-ignored": "y"})
    assert not _reaches(ch, queue, x, headers={"x-ignored": "y"})


@fact(104)
def test_fact_104_with_x_modes_compare_them_too(bench: Bench) -> None:
    ch, queue, x = _headers_case(bench, {"x-match": "all-with-x", "a": "1", "x-b": "2"})
    assert not _reaches(ch, queue, x, headers={"a": "1"})
    assert _reaches(ch, queue, x, headers={"a": "1", "x-b": "2"})
    ch, queue, x = _headers_case(bench, {"x-match": "any-with-x", "a": "1", "x-b": "2"})
    assert _reaches(ch, queue, x, headers={"x-b": "2"})


@fact(104)
def test_fact_104_no_usable_keys(bench: Bench) -> None:
    ch, queue, x = _headers_case(bench, {"x-match": "all"})
    assert _reaches(ch, queue, x)
    assert _reaches(ch, queue, x, headers={"a": "1"})
    ch, queue, x = _headers_case(bench, {"x-match": "any"})
    assert not _reaches(ch, queue, x, headers={"a": "1"})


@fact(105)
def test_fact_105_void_means_present(bench: Bench) -> None:
    ch, queue, x = _headers_case(bench, {"a": None})
    assert _reaches(ch, queue, x, headers={"a": "anything"})
    assert not _reaches(ch, queue, x, headers={"b": "anything"})


@fact(105)
def test_fact_105_values_are_compared_not_widths(bench: Bench) -> None:
    ch, queue, x = _headers_case(bench, {"n": 5})
    for typed in (wire.int32(5), wire.int64(5), wire.int8(5)):
        ch.peer.send_raw(
            wire.publish(ch.number, x, "", 1)
            + wire.content(ch.number, wire.headers_only({"n": typed}), b"probe")
        )
        ch.expect(Basic.Ack)
        assert ch.get_bodies(queue) == [b"probe"]


@fact(105)
def test_fact_105_a_timestamp_is_its_seconds(bench: Bench) -> None:
    ch, queue, x = _headers_case(bench, {"h": datetime.fromtimestamp(5, UTC)})
    assert _reaches(ch, queue, x, headers={"h": 5})
    assert not _reaches(ch, queue, x, headers={"h": 6})


@fact(105)
@differs_on_reference("3.10 takes 1 and 1.0 for equal")
def test_fact_105_integer_and_float_differ(bench: Bench) -> None:
    ch, _, x = _headers_case(bench, {"n": 1})
    double = ("d", struct.pack(">d", 1.0))
    ch.peer.send_raw(
        wire.publish(ch.number, x, "", 1)
        + wire.content(ch.number, wire.headers_only({"n": double}), b"probe")
    )
    ch.expect_return()
    ch.expect(Basic.Ack)


@fact(106, 101)
def test_fact_106_cc_and_bcc_add_routing_keys(bench: Bench) -> None:
    ch = bench.channel()
    x = bench.name("x")
    ch.declare_exchange(x, "direct")
    queues = [_queue(bench, ch, x, key) for key in ("main", "cc", "bcc")]
    ch.confirm()
    ch.publish(b"m", exchange=x, key="main", headers={"CC": ["cc"], "BCC": ["bcc"]})
    ch.expect_confirms(1)
    for queue in queues:
        message = ch.must_get(queue)
        assert message.method["routing_key"] == "main"
        assert message.headers == {"CC": ["cc"]}


@fact(106)
def test_fact_106_other_elements_are_ignored(bench: Bench) -> None:
    ch = bench.channel()
    queue = bench.name()
    ch.declare_queue(queue)
    ch.confirm()
    ch.publish(b"m", key="nowhere", headers={"CC": [1, queue, True]})
    ch.expect_confirms(1)
    assert ch.get_bodies(queue) == [b"m"]


@fact(106)
@pytest.mark.parametrize("name", ["CC", "BCC"])
@pytest.mark.parametrize(("value", "kind"), [("text", "longstr"), (None, "void")])
def test_fact_106_not_an_array(ch: Channel, name: str, value: str | None, kind: str) -> None:
    ch.publish(exchange="amq.direct", key="k", headers={name: value})
    ch.expect_channel_close(
        406,
        f'PRECONDITION_FAILED - invalid message: {{unacceptable_type_in_header,"{name}",{kind}}}',
        method=Basic.Publish,
    )


@fact(107)
def test_fact_107_default_exchange_takes_each_key_as_a_queue(bench: Bench) -> None:
    ch = bench.channel()
    one, two = bench.name(), bench.name()
    ch.declare_queue(one)
    ch.declare_queue(two)
    ch.confirm()
    ch.publish(b"m", key=one, headers={"CC": [two, bench.name("missing")], "BCC": [one]})
    ch.expect_confirms(1)
    assert ch.get_bodies(one) == [b"m"]
    assert ch.get_bodies(two) == [b"m"]


NO_PLUGIN = "the plug-in is not enabled there"


def _assert_keys_keep_to_their_queues(bench: Bench, kind: str, *binding_keys: str) -> None:
    """Fifty routing keys, three messages each: every queue has some, and none has another's."""
    ch = bench.channel()
    x = bench.name("x")
    ch.declare_exchange(x, kind)
    queues = [_queue(bench, ch, x, key) for key in binding_keys]
    ch.confirm()
    for number in range(150):
        ch.publish(b"%d" % (number % 50), exchange=x, key=f"key{number % 50}")
    ch.expect_confirms(150)
    taken = [ch.get_bodies(queue) for queue in queues]
    assert sum(map(len, taken)) == 150
    assert all(taken)
    assert not set(taken[0]) & set(taken[1])


@fact(108)
@differs_on_reference(NO_PLUGIN)
def test_fact_108_consistent_hash_keeps_a_key_in_its_queue(bench: Bench) -> None:
    _assert_keys_keep_to_their_queues(bench, "x-consistent-hash", "1", "2")


@fact(108)
@differs_on_reference(NO_PLUGIN)
def test_fact_108_consistent_hash_shares_follow_the_weights(bench: Bench) -> None:
    ch = bench.channel()
    x = bench.name("x")
    ch.declare_exchange(x, "x-consistent-hash")
    light, heavy = _queue(bench, ch, x, "1"), _queue(bench, ch, x, "3")
    ch.confirm()
    for number in range(400):
        ch.publish(exchange=x, key=f"key{number}")
    ch.expect_confirms(400)
    counts = [len(ch.get_bodies(queue)) for queue in (light, heavy)]
    assert sum(counts) == 400
    assert 50 < counts[0] < 150


@fact(108)
@differs_on_reference(NO_PLUGIN)
@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("heavy", 'The binding key must be an integer: <<"heavy">>'),
        ("", "The binding key must be an integer: <<>>"),
        ("1.5", 'The binding key must be an integer: <<"1.5">>'),
        ("0", "The binding key must be greater than 0"),
        ("-3", "The binding key must be greater than 0"),
    ],
)
def test_fact_108_consistent_hash_weight_must_be_a_number(
    bench: Bench, key: str, text: str
) -> None:
    ch = bench.channel()
    x, queue = bench.name("x"), bench.name()
    ch.declare_exchange(x, "x-consistent-hash")
    ch.declare_queue(queue)
    bind = Queue.Bind(queue=queue, exchange=x, routing_key=key)
    ch.fails(bind, 406, f"PRECONDITION_FAILED - {text}")


@fact(108)
@differs_on_reference(NO_PLUGIN)
def test_fact_108_consistent_hash_by_header(bench: Bench) -> None:
    ch = bench.channel()
    x = bench.name("x")
    ch.declare_exchange(x, "x-consistent-hash", arguments={"hash-header": "user"})
    queues = [_queue(bench, ch, x, "1"), _queue(bench, ch, x, "1")]
    ch.confirm()
    for number in range(20):
        ch.publish(b"m", exchange=x, key=str(number), headers={"user": "always the same"})
    ch.expect_confirms(20)
    assert sorted(len(ch.get_bodies(queue)) for queue in queues) == [0, 20]
    for number in range(40):
        ch.publish(b"m", exchange=x, key="same", headers={"user": f"user {number}"})
    ch.expect_confirms(60, first=21)
    counts = [len(ch.get_bodies(queue)) for queue in queues]
    assert sum(counts) == 40
    assert min(counts) > 0


@fact(108)
@differs_on_reference(NO_PLUGIN)
@pytest.mark.parametrize("name", ["message_id", "correlation_id", "timestamp"])
def test_fact_108_consistent_hash_by_property(bench: Bench, name: str) -> None:
    ch = bench.channel()
    x = bench.name("x")
    ch.declare_exchange(x, "x-consistent-hash", arguments={"hash-property": name})
    queues = [_queue(bench, ch, x, "1"), _queue(bench, ch, x, "1")]
    ch.confirm()

    def publish(number: int, key: str) -> None:
        moment = datetime.fromtimestamp(1_700_000_000 + number, UTC)
        properties = Basic.Properties()
        setattr(properties, name, moment if name == "timestamp" else f"value {number}")
        ch.publish(b"m", exchange=x, key=key, properties=properties)

    for number in range(20):
        publish(7, str(number))
    ch.expect_confirms(20)
    assert sorted(len(ch.get_bodies(queue)) for queue in queues) == [0, 20]
    for number in range(40):
        publish(number, "same")
    ch.expect_confirms(60, first=21)
    counts = [len(ch.get_bodies(queue)) for queue in queues]
    assert sum(counts) == 40
    assert min(counts) > 0


@fact(108)
@differs_on_reference(NO_PLUGIN)
@pytest.mark.parametrize("argument", [{"hash-header": "user"}, {"hash-property": "message_id"}])
def test_fact_108_what_has_nothing_to_hash_stays_together(
    bench: Bench, argument: FieldTable
) -> None:
    ch = bench.channel()
    x = bench.name("x")
    ch.declare_exchange(x, "x-consistent-hash", arguments=argument)
    queues = [_queue(bench, ch, x, "1"), _queue(bench, ch, x, "1")]
    ch.confirm()
    for number in range(20):
        ch.publish(b"m", exchange=x, key=str(number))
    ch.expect_confirms(20)
    assert sorted(len(ch.get_bodies(queue)) for queue in queues) == [0, 20]


@fact(108)
@differs_on_reference(NO_PLUGIN)
@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (
            {"hash-header": "user", "hash-property": "message_id"},
            "hash-header and hash-property are mutually exclusive",
        ),
        ({"hash-property": "app_id"}, "Unsupported property: app_id"),
    ],
)
def test_fact_108_what_cannot_be_hashed(bench: Bench, arguments: FieldTable, text: str) -> None:
    ch = bench.channel()
    declare = Exchange.Declare(
        exchange=bench.name("x"), exchange_type="x-consistent-hash", arguments=arguments
    )
    ch.fails(declare, 406, f"PRECONDITION_FAILED - {text}")


@fact(108)
@differs_on_reference(NO_PLUGIN)
@pytest.mark.parametrize("kind", ["x-consistent-hash", "x-modulus-hash"])
def test_fact_108_copies_add_no_queue(bench: Bench, kind: str) -> None:
    ch = bench.channel()
    x = bench.name("x")
    ch.declare_exchange(x, kind)
    queues = [_queue(bench, ch, x, "1"), _queue(bench, ch, x, "1")]
    ch.confirm()
    ch.publish(b"m", exchange=x, key="k", headers={"CC": [str(number) for number in range(30)]})
    ch.expect_confirms(1)
    assert sorted(len(ch.get_bodies(queue)) for queue in queues) == [0, 1]


@fact(108)
@differs_on_reference(NO_PLUGIN)
def test_fact_108_modulus_hash_keeps_a_key_in_its_queue(bench: Bench) -> None:
    _assert_keys_keep_to_their_queues(bench, "x-modulus-hash", "not a number", "")


@fact(108)
@differs_on_reference("RabbitMQ compares neither, so that two publishers may disagree unseen")
def test_fact_108_a_redeclaration_hashes_the_same(bench: Bench) -> None:
    ch = bench.channel()
    x = bench.name("x")
    ch.declare_exchange(x, "x-consistent-hash", arguments={"hash-header": "user"})
    ch.declare_exchange(x, "x-consistent-hash", arguments={"hash-header": "user"})
    other = Exchange.Declare(
        exchange=x, exchange_type="x-consistent-hash", arguments={"hash-header": "order"}
    )
    ch.fails(
        other,
        406,
        f"PRECONDITION_FAILED - inequivalent arg 'hash-header' for exchange '{x}' in vhost '/': "
        "received 'order' but current is 'user'",
    )
