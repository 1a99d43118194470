"""Direct reply-to."""

from __future__ import annotations

from interop.beside.catalogue import scenario
from interop.beside.peer import Channel
from interop.beside.stage import Stage

_NAME = "amq.rabbitmq.reply-to"


@scenario
def request_and_reply(s: Stage) -> None:
    client, server = s.channel(), s.channel()
    server.declare(s.q())
    client.consume(_NAME, "r", no_ack=True)
    client.publish("", s.q(), b"request", reply_to=_NAME, correlation_id="c")
    s.settle()
    request = server.get(s.q())
    name = request.properties.reply_to
    server.publish("", name, b"reply", correlation_id="c", mandatory=True)
    client.deliveries(1)
    server.publish("", name, b"another", delivery_mode=2, headers={"a": 1})
    client.deliveries(1)
    server.declare(name, passive=True)
    server.declare(name)
    client.cancel("r")
    server.publish("", name, b"too late")
    server.publish("", name, b"too late", mandatory=True)
    server.wait_returns(1)
    server.declare(name, passive=True)


@scenario
def mistakes(s: Stage) -> None:
    ch = s.channel()
    ch.declare(s.q())
    ch.consume(_NAME, "r")
    ch.publish("", s.q(), b"1", reply_to=_NAME)
    ch.wait_closed()
    ch.consume(_NAME, "r", no_ack=True)
    ch.consume(_NAME, "second", no_ack=True)
    ch.declare(_NAME)
    ch.declare(_NAME, passive=True)
    ch.get(_NAME)
    ch.bind(_NAME, "amq.direct", "k")
    ch.purge(_NAME)
    ch.delete(_NAME)
    ch.declare(f"{_NAME}.nonsense", passive=True)
    ch.publish("", f"{_NAME}.nonsense", b"1", mandatory=True)
    ch.wait_returns(1)
    ch.publish("", _NAME, b"1", mandatory=True)
    ch.wait_returns(1)


def _requested(s: Stage) -> tuple[Channel, Channel, str]:
    """A client that waits for a reply, the server that has its request, and where replies go."""
    client, server = s.channel(), s.channel()
    server.declare(s.q())
    client.consume(_NAME, "r", no_ack=True)
    client.publish("", s.q(), b"request", reply_to=_NAME)
    s.settle()
    name = server.get(s.q()).properties.reply_to
    return client, server, name


@scenario
def after_the_client_has_gone(s: Stage) -> None:
    client, server, name = _requested(s)
    client.close()
    server.publish("", name, b"to nobody", mandatory=True)
    server.wait_returns(1)
    server.confirm()
    server.publish("", name, b"to nobody")
    server.confirms()


@scenario
def confirmed(s: Stage) -> None:
    client, server = s.channel(), s.channel()
    server.declare(s.q())
    client.consume(_NAME, "r", no_ack=True)
    client.confirm()
    client.publish("", s.q(), b"request", reply_to=_NAME)
    client.confirms()
    name = server.get(s.q()).properties.reply_to
    server.confirm()
    server.publish("", name, b"reply")
    server.confirms()
    client.deliveries(1)


@scenario
def other_names(s: Stage) -> None:
    """Any other reply-to is left as it is."""
    ch = s.channel()
    ch.declare(s.q())
    for name in ("amq.rabbitmq.reply-to.x", "my-replies", "amq.rabbitmq.reply-t"):
        ch.publish("", s.q(), b"1", reply_to=name)
        s.settle()
        ch.get(s.q())


@scenario
def in_a_transaction(s: Stage) -> None:
    """Requests wait for the commit, replies do not; one to nobody is returned then."""
    client, server = s.channel(), s.channel()
    server.declare(s.q())
    client.consume(_NAME, "r", no_ack=True)
    client.select()
    client.publish("", s.q(), b"request", reply_to=_NAME)
    s.settle()
    s.counts(s.q())
    client.commit()
    s.settle()
    name = server.get(s.q()).properties.reply_to
    server.select()
    for end in (server.commit, server.rollback):
        server.publish("", name, b"reply")
        client.deliveries(1)
        end()
        s.settle()
    client.close()
    server.publish("", name, b"too late", mandatory=True)
    s.settle()
    server.commit()
    s.settle()


@scenario
def tags_of_replies(s: Stage) -> None:
    """Replies and other deliveries on one channel."""
    client, server = s.channel(), s.channel()
    server.declare(s.q())
    server.declare(s.q("other"))
    client.consume(_NAME, "r", no_ack=True)
    client.consume(s.q("other"), "o")
    client.publish("", s.q(), b"request", reply_to=_NAME)
    s.settle()
    name = server.get(s.q()).properties.reply_to
    for n in range(2):
        s.publish(server, s.q("other"), f"other {n}")
        s.publish(server, name, f"reply {n}")
    client.ack(1)
    client.ack(2)
    client.ack(3)
    s.settle()


@scenario
def by_extra_keys(s: Stage) -> None:
    """Copies to reply addresses, and to a queue beside one; nobody gets two."""
    server = s.channel()
    server.declare(s.q())
    names = []
    for client in (s.channel(), s.channel()):
        client.consume(_NAME, "r", no_ack=True)
        client.publish("", s.q(), b"request", reply_to=_NAME)
        s.settle()
        names.append(server.get(s.q()).properties.reply_to)
    first, second = names
    for key, headers in (
        (s.q(), {"BCC": [first]}),
        (first, {"CC": [s.q()]}),
        (first, {"CC": [second, first], "BCC": [second, f"{_NAME}.nonsense"]}),
        (s.q(), {"CC": [_NAME, second], "BCC": [first], "h": 1}),
    ):
        server.publish(
            "", key, b"reply", mandatory=s.q() in (key, *headers.get("CC", [])), headers=headers
        )
        s.settle()
        server.publish("amq.direct", key, b"elsewhere", mandatory=True, headers=headers)
        s.empty(server, "q")


@scenario
def by_a_dead_letter(s: Stage) -> None:
    """What has died goes to no requester."""
    _, server, name = _requested(s)
    server.declare(s.q("dying"), {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": name})
    s.publish(server, s.q("dying"), "1")
    server.get(s.q("dying"), no_ack=False)
    server.reject(2, requeue=False)
    s.settle()
