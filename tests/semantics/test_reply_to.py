"""Direct reply-to: answers without a queue (facts 170 and 222 to 227)."""

from __future__ import annotations

from pamqp.commands import Basic, Queue, Tx

from . import wire
from .conftest import Bench
from .marks import differs_on_reference, fact
from .peer import Channel

PSEUDO = "amq.rabbitmq.reply-to"
PASSIVE = 1


def _requester(bench: Bench) -> tuple[Channel, Channel, str, str]:
    """A channel with a reply consumer, a responder's channel, the request queue and the reply
    address.
    """
    ch, responder = bench.channel(), bench.channel()
    queue = bench.name()
    responder.declare_queue(queue)
    ch.consume(PSEUDO, "replies", no_ack=True)
    ch.publish(b"question", key=queue, properties=Basic.Properties(reply_to=PSEUDO))
    responder.wait_ready(queue, 1)
    address = responder.must_get(queue, no_ack=True).properties.reply_to or ""
    return ch, responder, queue, address


@fact(222)
def test_fact_222_reply_consumer_cannot_acknowledge(ch: Channel) -> None:
    ch.fails(
        Basic.Consume(queue=PSEUDO),
        406,
        "PRECONDITION_FAILED - reply consumer cannot acknowledge",
    )


@fact(222)
def test_fact_222_one_reply_consumer_a_channel(ch: Channel) -> None:
    ch.consume(PSEUDO, no_ack=True)
    ch.fails(
        Basic.Consume(queue=PSEUDO, no_ack=True),
        406,
        "PRECONDITION_FAILED - reply consumer already set",
    )
    other = ch.peer.open_channel()
    other.consume(PSEUDO, no_ack=True)


@fact(223, 224)
def test_fact_223_request_and_reply(bench: Bench) -> None:
    ch, responder, _, address = _requester(bench)
    assert address.startswith(PSEUDO + ".")
    responder.confirm()
    responder.publish(
        b"answer", key=address, properties=Basic.Properties(correlation_id="7", headers={"h": 1})
    )
    responder.expect_confirms(1)
    reply = ch.expect_delivery(b"answer", "replies")
    assert (reply.method["exchange"], reply.method["routing_key"]) == ("", address)
    assert reply.properties.correlation_id == "7"
    assert reply.headers == {"h": 1}


@fact(223)
def test_fact_223_no_reply_consumer_on_this_channel(bench: Bench) -> None:
    ch = bench.channel()
    other = ch.peer.open_channel()
    other.consume(PSEUDO, no_ack=True)
    ch.publish(exchange="amq.direct", properties=Basic.Properties(reply_to=PSEUDO))
    ch.expect_channel_close(
        406,
        "PRECONDITION_FAILED - fast reply consumer does not exist",
        method=Basic.Publish,
    )


@fact(223)
def test_fact_223_other_reply_addresses_are_left_alone(bench: Bench) -> None:
    ch = bench.channel()
    queue = bench.name()
    ch.declare_queue(queue)
    ch.consume(PSEUDO, no_ack=True)
    ch.fill(queue, b"m", properties=Basic.Properties(reply_to="my-queue"))
    assert ch.must_get(queue).properties.reply_to == "my-queue"


@fact(224)
def test_fact_224_replies_to_the_gone_are_dropped(bench: Bench) -> None:
    ch, responder, _, address = _requester(bench)
    ch.peer.close()
    responder.confirm()
    responder.publish(b"answer", key=address)
    responder.expect_confirms(1)
    responder.expect_nothing()


@fact(224)
@differs_on_reference("3.10 delivers the reply and returns it as well")
def test_fact_224_mandatory_replies_to_the_living_are_routed(bench: Bench) -> None:
    ch, responder, _, address = _requester(bench)
    responder.publish(b"answer", key=address, mandatory=True)
    ch.expect_delivery(b"answer")
    responder.expect_nothing()


@fact(224)
def test_fact_224_mandatory_replies_to_the_gone_are_returned(bench: Bench) -> None:
    ch, responder, _, address = _requester(bench)
    ch.peer.close()
    responder.publish(b"answer", key=address, mandatory=True)
    assert responder.expect_return().body == b"answer"


@fact(224)
def test_fact_224_replies_do_not_wait_for_a_commit(bench: Bench) -> None:
    ch, responder, _, address = _requester(bench)
    responder.call(Tx.Select(), Tx.SelectOk)
    responder.publish(b"answer", key=address)
    ch.expect_delivery(b"answer")
    responder.call(Tx.Commit(), Tx.CommitOk)
    ch.expect_nothing()


@fact(224)
def test_fact_224_every_routing_key_may_be_an_address(bench: Bench) -> None:
    ch, responder, queue, address = _requester(bench)
    for name in ("CC", "BCC"):
        responder.publish(
            b"answer", key=queue, properties=Basic.Properties(headers={name: [address]})
        )
        reply = ch.expect_delivery(b"answer", "replies")
        assert (reply.method["routing_key"], "BCC" in (reply.headers or {})) == (queue, False)
        responder.wait_ready(queue, 1)
        responder.must_get(queue, no_ack=True)


@fact(225)
def test_fact_225_declaring_the_address_asks_whether_it_lives(bench: Bench) -> None:
    ch, responder, _, address = _requester(bench)
    for bits in (PASSIVE, 0):
        responder.peer.send_raw(wire.queue_declare(responder.number, address, {}, bits))
        ok = responder.expect(Queue.DeclareOk)
        assert (ok.queue, ok.message_count, ok.consumer_count) == (address, 0, 1)
    ch.peer.close()
    responder.declare_queue(PSEUDO)
    responder.peer.send_raw(wire.queue_declare(responder.number, address, {}, PASSIVE))
    responder.expect_channel_close(404, f"NOT_FOUND - no queue '{address}' in vhost '/'")


@fact(226)
@differs_on_reference("3.10 looks for a queue of that name and finds none")
def test_fact_226_binding_the_address_is_ignored(bench: Bench) -> None:
    ch, responder, _, address = _requester(bench)
    arguments = b"\0\0" + wire.short_string(address) + wire.short_string("amq.fanout")
    responder.peer.send_raw(wire.method(responder.number, 50, 20, arguments + bytes(6)))
    responder.expect(Queue.BindOk)
    responder.publish(b"m", exchange="amq.fanout")
    responder.expect_nothing()
    ch.expect_nothing()


@fact(227)
def test_fact_227_cancelling_ends_it(bench: Bench) -> None:
    ch, responder, _, address = _requester(bench)
    ch.cancel("replies")
    responder.publish(b"late", key=address)
    responder.expect_nothing()
    ch.expect_nothing()
    ch.publish(exchange="amq.direct", properties=Basic.Properties(reply_to=PSEUDO))
    ch.expect_channel_close(406)


@fact(227)
def test_fact_227_closing_the_channel_ends_it(bench: Bench) -> None:
    ch, responder, _, address = _requester(bench)
    ch.close()
    ch.open()
    ch.sync()
    responder.peer.send_raw(wire.queue_declare(responder.number, address, {}, PASSIVE))
    responder.expect_channel_close(404)


@fact(170)
def test_fact_170_replies_do_not_count_as_deliveries(bench: Bench) -> None:
    ch, responder, queue, address = _requester(bench)
    responder.fill(queue, b"1", b"2")
    assert ch.must_get(queue).tag == 1
    responder.publish(b"answer", key=address)
    ch.expect_delivery(b"answer", "replies")
    assert ch.must_get(queue).tag == 2
