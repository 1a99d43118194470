"""Random walks: sequences of steps over a few queues, exchanges and channels, chosen by a seed.

A walk is a scenario like the others. After every step both brokers are left to come to rest, so
that what the clients saw in a step, and what is in the queues after it, can be compared step by
step. A walk whose clients saw different things is shortened until no step can be left out.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, NamedTuple

from interop.beside.catalogue import Scenario
from interop.beside.peer import Channel, Content
from interop.beside.stage import Stage

_QUEUES: Final = ("a", "b", "c")
_EXCHANGES: Final = ("x", "y")
#: Whose messages die, where they go, and the exchange that leads there. They die once: in which
#: order 3.10 lists several deaths, and so which circles it finds, is not what later versions do.
#: And no message takes two ways to one queue: which comes first is nobody's choice.
_MORTAL: Final = "a"
_GRAVE: Final = "c"
_DEAD: Final = "d"
_KEYS: Final = (*_QUEUES, "k", "k.l")
_KINDS: Final = ("direct", "fanout", "topic", "headers")
_STEPS: Final = 30
#: Clients, by connection: the last two are one connection's.
_CLIENTS: Final = (0, 1, 1)
#: A time to live that ends within its step, and one that ends within no walk.
_SHORT_MS: Final = 15
_LONG_MS: Final = 600_000
_REST_S: Final = 0.045


class Step(NamedTuple):
    """What one client does: the name of a method of `_Walker` and its arguments."""

    client: int
    name: str
    arguments: tuple[Any, ...] = ()

    def __str__(self) -> str:
        return f"{self.name}({', '.join(map(repr, self.arguments))}) by {self.client}"


# Choosing.


def steps_of(seed: int) -> list[Step]:
    """The walk of a seed, the same each time."""
    choose = random.Random(seed)
    steps = [_exchange(choose, name) for name in _EXCHANGES]
    steps += [_queue(choose, name) for name in _QUEUES]
    steps.append(Step(0, "exchange", (_DEAD, "fanout", None, {})))
    steps.append(Step(0, "bind", (_GRAVE, _DEAD, "", {}, None)))
    steps += [_bind(choose) for _ in range(4)]
    if choose.random() < 0.3:
        steps.append(Step(choose.randrange(3), choose.choice(("confirm", "select"))))
    weights = _WEIGHTS
    if choose.random() < 0.4:
        weights = _TURN_WEIGHTS
        steps = [_plain_queue(step) if step.name == "declare" else step for step in steps]
    kinds = choose.choices([kind for kind, _ in weights], [w for _, w in weights], k=_STEPS)
    steps += [kind(choose) for kind in kinds]
    return [_lasting(step) for step in steps] if choose.random() < 0.6 else [*map(_plain, steps)]


def _lasting(step: Step) -> Step:
    """The step without short lives."""
    if step.name == "declare":
        name, arguments, *rest = step.arguments
        if "x-message-ttl" in arguments:
            arguments = arguments | {"x-message-ttl": _LONG_MS}
        return step._replace(arguments=(name, arguments, *rest))
    if step.name == "publish":
        *rest, properties = step.arguments
        if "expiration" in properties:
            properties = properties | {"expiration": str(_LONG_MS)}
        return step._replace(arguments=(*rest, properties))
    return step


def _plain(step: Step) -> Step:
    """The step without priorities of queues: RabbitMQ looks late at what has expired in these."""
    if step.name != "declare":
        return step
    name, arguments, *rest = step.arguments
    arguments = {key: value for key, value in arguments.items() if key != "x-max-priority"}
    return step._replace(arguments=(name, arguments, *rest))


def _client(choose: random.Random) -> int:
    return choose.randrange(len(_CLIENTS))


def _exchange(choose: random.Random, name: str | None = None) -> Step:
    other = choose.choice((*_EXCHANGES, "missing", None, None, None))
    kind = choose.choice(_KINDS)
    flags = {"auto_delete": choose.random() < 0.1, "internal": choose.random() < 0.05}
    return Step(0, "exchange", (name or choose.choice(_EXCHANGES), kind, other, flags))


_ARGUMENTS: Final[dict[str, tuple[Any, ...]]] = {
    "x-max-length": (0, 1, 2, 3),
    "x-max-length-bytes": (0, 4, 8),
    "x-overflow": ("drop-head", "reject-publish", "reject-publish", "reject-publish-dlx"),
    "x-max-priority": (1, 3, 255),
    "x-message-ttl": (0, _SHORT_MS, _LONG_MS),
    "x-single-active-consumer": (True,),
    "x-expires": (_LONG_MS,),
}


def _queue(choose: random.Random, name: str | None = None) -> Step:
    keys = choose.sample(sorted(_ARGUMENTS), choose.choice((0, 0, 1, 1, 2, 3)))
    arguments = {key: choose.choice(_ARGUMENTS[key]) for key in keys}
    name = name or choose.choice(_QUEUES)
    target = None
    if name == _MORTAL and choose.random() < 0.7:
        target = choose.choice((("", _GRAVE), (_DEAD, None), (_DEAD, "k"), ("missing", None)))
    if name == _GRAVE:
        # A dead letter that it refuses waits with us, and is dropped by RabbitMQ. And of several
        # that die at once RabbitMQ sends the first while the others are on their way; with us all
        # are there, and the one with the highest priority is the first.
        if arguments.get("x-overflow") != "drop-head":
            arguments.pop("x-overflow", None)
        arguments.pop("x-max-priority", None)
    flags = {
        "durable": choose.random() < 0.2,
        "auto_delete": choose.random() < 0.15,
        "exclusive": choose.random() < 0.1,
    }
    return Step(_client(choose), "declare", (name, arguments, target, flags))


_HEADERS: Final[tuple[dict[str, Any], ...]] = (
    {},
    {"h": 1},
    {"h": 1, "i": "two"},
    {"i": None},
    {"x-match": "any", "h": 1},
)


def _bind(choose: random.Random) -> Step:
    to = choose.choice(("a", "b", "a", "b", *_EXCHANGES))
    name = choose.choice(("bind", "bind", "bind", "unbind"))
    arguments = (choose.choice(_HEADERS), choose.choice(("any", "all", None)))
    key = choose.choice((*_KEYS, "#", "*", "k.*"))
    return Step(_client(choose), name, (to, choose.choice(_EXCHANGES), key, *arguments))


def _publish(choose: random.Random) -> Step:
    properties: dict[str, Any] = {}
    if choose.random() < 0.3:
        properties["priority"] = choose.choice((0, 1, 2, 3, 9))
    if choose.random() < 0.2:
        properties["expiration"] = str(choose.choice((0, _SHORT_MS, _LONG_MS)))
    if choose.random() < 0.2:
        properties["delivery_mode"] = 2
    headers: dict[str, Any] = dict(choose.choice((_HEADERS[0], *_HEADERS)))
    for extra in ("CC", "BCC"):
        if choose.random() < 0.1:
            headers[extra] = [
                choose.choice(("a", "b", "k", "k.l")) for _ in range(choose.randint(1, 2))
            ]
    if headers:
        properties["headers"] = headers
    exchange = choose.choice(("", "", *_EXCHANGES))
    key = choose.choice(_KEYS[:3] if not exchange else _KEYS)
    if _MORTAL in (*headers.get("CC", ()), *headers.get("BCC", ())) and key == _GRAVE:
        key = _MORTAL
    count, mandatory = choose.choice((1, 1, 2, 3, 5)), choose.random() < 0.2
    return Step(_client(choose), "publish", (exchange, key, count, mandatory, properties))


def _get(choose: random.Random) -> Step:
    return Step(_client(choose), "get", (choose.choice(_QUEUES), choose.random() < 0.3))


def _consume(choose: random.Random) -> Step:
    priority = choose.choice((None, None, None, -1, 1, 5))
    flags = {"no_ack": choose.random() < 0.2, "exclusive": choose.random() < 0.05}
    return Step(_client(choose), "consume", (choose.choice(_QUEUES), priority, flags))


def _settle(choose: random.Random) -> Step:
    name = choose.choice(("ack", "ack", "nack", "nack", "reject"))
    which, multiple = choose.randrange(8), choose.random() < 0.25
    return Step(_client(choose), name, (which, multiple, choose.random() < 0.5))


def _qos(choose: random.Random) -> Step:
    return Step(_client(choose), "qos", (choose.choice((0, 1, 1, 2, 3)), choose.random() < 0.3))


_OTHERS: Final = (
    "cancel",
    "cancel",
    "recover",
    "purge",
    "delete",
    "delete_exchange",
    "commit",
    "rollback",
    "close_channel",
    "close_connection",
    "drop_connection",
    "passive",
    "ack_of_nothing",
)


def _other(choose: random.Random) -> Step:
    name = choose.choice(_OTHERS)
    argument: tuple[Any, ...] = ()
    if name in ("purge", "passive"):
        argument = (choose.choice(_QUEUES),)
    elif name == "delete":
        flags = {"if_unused": choose.random() < 0.3, "if_empty": choose.random() < 0.3}
        argument = (choose.choice(_QUEUES), flags)
    elif name == "delete_exchange":
        argument = (choose.choice(_EXCHANGES), choose.random() < 0.5)
    elif name == "cancel":
        argument = (choose.randrange(4),)
    return Step(_client(choose), name, argument)


_WEIGHTS: Final[tuple[tuple[Callable[[random.Random], Step], int], ...]] = (
    (_publish, 30),
    (_settle, 22),
    (_get, 10),
    (_consume, 12),
    (_qos, 5),
    (_other, 14),
    (_bind, 3),
    (_queue, 3),
    (_exchange, 1),
)


# Of walks in which many consumers want what is in one queue.


def _plain_queue(step: Step) -> Step:
    name, arguments, *_ = step.arguments
    if name != _QUEUES[0]:
        return step
    kept = {key: value for key, value in arguments.items() if key in _OF_CONSUMERS}
    return step._replace(arguments=(name, kept, None, {}))


def _publish_there(choose: random.Random) -> Step:
    return Step(_client(choose), "publish", ("", _QUEUES[0], choose.randint(1, 5), False, {}))


def _consume_there(choose: random.Random) -> Step:
    return _consume(choose)._replace(
        arguments=(_QUEUES[0], choose.choice((None, None, 1)), {"no_ack": choose.random() < 0.1})
    )


_OF_CONSUMERS: Final = ("x-single-active-consumer", "x-max-priority")
_TURN_WEIGHTS: Final[tuple[tuple[Callable[[random.Random], Step], int], ...]] = (
    (_publish_there, 22),
    (_consume_there, 22),
    (_settle, 36),
    (_qos, 12),
    (_other, 6),
    (_get, 2),
)


# Shortening.


def shorten(steps: Sequence[Step], differs: Callable[[Sequence[Step]], bool]) -> list[Step]:
    """What is left of a walk that differs when no step can be left out any more."""
    left = list(steps)
    size = len(left) // 2
    while size:
        place = 0
        is_shorter = False
        while place < len(left):
            without = left[:place] + left[place + size :]
            if differs(without):
                left, is_shorter = without, True
            else:
                place += size
        if size > 1 or not is_shorter:
            size //= 2
    return left


# Playing.


def scenario_of(name: str, steps: Sequence[Step]) -> Scenario:
    """A scenario that plays these steps."""
    return Scenario(name, lambda stage: _Walker(stage).walk(steps))


class _Client:
    """A channel, its consumers, and the delivery tags that it has to settle."""

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self.tags: list[str] = []
        self.without_acks: set[str] = set()
        #: What it has to settle, and what its transaction holds back: by delivery tag, the consumer
        #: that got it, or the tag once more.
        self.unsettled: dict[int, str] = {}
        self.held: dict[int, str] = {}
        #: The queues of these consumers and tags.
        self.queues: dict[str, str] = {}
        self.has_got = False
        self.in_transaction = False
        self.has_published = self.has_requeued = False
        self.told = 0

    def note(self, tag: int, source: str, queue: str) -> None:
        """One more delivery that wants to be settled."""
        self.unsettled[tag] = source
        self.queues[source] = queue

    def is_torn(self) -> bool:
        """Whether its end would send dead letters of one queue and what returns to another on their
        way at the same time: which comes first is nobody's choice."""
        sources = (*self.unsettled.values(), *self.held.values())
        queues = {self.queues[source] for source in sources}
        return _MORTAL in queues and len(queues) > 1

    def ended_transaction(self, is_undone: bool) -> None:
        """What it held back is settled, or outstanding again."""
        if is_undone:
            self.unsettled |= self.held
        self.held = {}
        self.has_published = self.has_requeued = False


class _Walker:
    """Plays steps on one stage. Each method is a kind of step."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._clients: dict[int, _Client] = {}
        self._consumers = self._messages = 0
        self._is_short_lived = False
        self._single_active: set[str] = set()
        for name in _QUEUES:
            stage.q(name)
        for name in (*_EXCHANGES, _DEAD):
            stage.x(name)

    def walk(self, steps: Sequence[Step]) -> None:
        """All steps; then what is left in the queues, once all clients have gone."""
        for number, step in enumerate(steps, 1):
            self._stage.record.chapter = f"{number:02} {step} | "
            getattr(self, step.name)(self._client(step.client), *step.arguments)
            self._rest()
        self._stage.record.chapter = "at the end | "
        for client in self._clients.values():
            self._leave(client)
        for client in self._clients.values():
            client.channel.connection.close()
        self._stage.settle()
        reader = self._stage.channel()
        for name in _QUEUES:
            while isinstance(reader.get(self._stage.q(name)), Content):
                continue

    def _client(self, number: int) -> _Client:
        """A client, with a new connection and channel if it has lost them."""
        client = self._clients.get(number)
        if client is None or client.channel.connection.closed:
            place = _CLIENTS[number]
            connection = next(
                (
                    c.channel.connection
                    for n, c in self._clients.items()
                    if _CLIENTS[n] == place and not c.channel.connection.closed
                ),
                None,
            )
            client = _Client((connection or self._stage.connection()).channel())
            self._clients[number] = client
        elif client.channel.closed:
            client.channel.open()
            client = self._clients[number] = _Client(client.channel)
        return client

    def _leave(self, client: _Client) -> None:
        """Close a channel, once nothing is left of it that could race."""
        channel = client.channel
        if channel.closed or channel.connection.closed:
            return
        self.rollback(client)
        if client.is_torn():
            for tag in reversed(client.tags):
                channel.cancel(tag)
            self._rest()
            for number, source in client.unsettled.items():
                if client.queues[source] != _MORTAL:
                    channel.ack(number)
            self.commit(client)
        channel.close()
        self._rest()

    def _rest(self) -> None:
        """Let all effects come, take what was delivered, and note what is where."""
        if self._is_short_lived:
            self._stage.wait(_REST_S)
        self._stage.settle()
        for number, client in self._clients.items():
            channel = client.channel
            if channel.closed or channel.connection.closed:
                continue
            if channel.published > len(channel.outcomes):
                channel.confirms()
            for content in channel.delivered:
                consumer = content.method.consumer_tag
                if consumer not in client.without_acks:
                    client.unsettled[content.tag] = consumer
            channel.delivered.clear()
            client.tags = [tag for tag in client.tags if tag not in channel.cancelled]
            self._note_confirms(number, client)
        for name in _QUEUES:
            self._stage.counts(self._stage.q(name))

    def _note_confirms(self, number: int, client: _Client) -> None:
        outcomes = client.channel.outcomes
        news = {n: outcomes[n] for n in sorted(outcomes) if n > client.told}
        if news:
            self._stage.note(f"client {number}: {news}")
            client.told = max(news)

    # Steps.

    def exchange(
        self, client: _Client, name: str, kind: str, alternate: str | None, flags: dict[str, bool]
    ) -> None:
        arguments = {"alternate-exchange": self._stage.x(alternate)} if alternate else {}
        client.channel.exchange(self._stage.x(name), kind, arguments, **flags)

    def delete_exchange(self, client: _Client, name: str, if_unused: bool) -> None:
        client.channel.delete_exchange(self._stage.x(name), if_unused=if_unused)

    def declare(
        self,
        client: _Client,
        name: str,
        arguments: dict[str, Any],
        target: tuple[str, str | None] | None,
        flags: dict[str, bool],
    ) -> None:
        if target is not None:
            exchange, key = target
            dead = {"x-dead-letter-exchange": self._stage.x(exchange) if exchange else ""}
            arguments = arguments | dead
            if key is not None:
                key = self._key(key)
                arguments["x-dead-letter-routing-key"] = key
        if arguments.get("x-message-ttl") == _SHORT_MS:
            self._is_short_lived = True
        if "x-single-active-consumer" in arguments:
            self._single_active.add(name)
        client.channel.declare(self._stage.q(name), arguments, **flags)

    def passive(self, client: _Client, name: str) -> None:
        client.channel.declare(self._stage.q(name), passive=True)

    def delete(self, client: _Client, name: str, flags: dict[str, bool]) -> None:
        client.channel.delete(self._stage.q(name), **flags)

    def purge(self, client: _Client, name: str) -> None:
        client.channel.purge(self._stage.q(name))

    def bind(self, client: _Client, to: str, *arguments: Any) -> None:
        self._bind_or_not(client, to, "bind", *arguments)

    def unbind(self, client: _Client, to: str, *arguments: Any) -> None:
        self._bind_or_not(client, to, "unbind", *arguments)

    def _bind_or_not(
        self,
        client: _Client,
        to: str,
        what: str,
        source: str,
        key: str,
        headers: dict[str, Any],
        match: str | None,
    ) -> None:
        arguments = dict(headers) | ({"x-match": match} if match else {})
        if to in _QUEUES:
            call = getattr(client.channel, what)
            call(self._stage.q(to), self._stage.x(source), self._key(key), arguments)
        elif what == "bind":
            client.channel.bind_exchange(
                self._stage.x(to), self._stage.x(source), self._key(key), arguments
            )
        else:
            client.channel.unbind_exchange(self._stage.x(to), self._stage.x(source), self._key(key))

    def _key(self, key: str) -> str:
        return self._stage.q(key) if key in _QUEUES else key

    def publish(
        self,
        client: _Client,
        exchange: str,
        key: str,
        count: int,
        mandatory: bool,
        properties: dict[str, Any],
    ) -> None:
        if client.in_transaction and client.has_requeued:
            return  # RabbitMQ sends the one before the other comes back
        client.has_published = True
        properties = dict(properties)
        if properties.get("expiration") == str(_SHORT_MS):
            self._is_short_lived = True
        if headers := dict(properties.get("headers", {})):
            for extra in ("CC", "BCC"):
                if extra in headers:
                    headers[extra] = [self._key(each) for each in headers[extra]]
            properties["headers"] = headers
        for _ in range(count):
            self._messages += 1
            client.channel.publish(
                self._stage.x(exchange) if exchange else "",
                self._key(key),
                b"%03d" % self._messages,
                mandatory=mandatory,
                **properties,
            )

    def get(self, client: _Client, name: str, no_ack: bool) -> None:
        content = client.channel.get(self._stage.q(name), no_ack=no_ack)
        if isinstance(content, Content) and not no_ack:
            client.note(content.tag, str(content.tag), name)
            client.has_got = True

    def consume(
        self, client: _Client, name: str, priority: int | None, flags: dict[str, bool]
    ) -> None:
        if any(client.queues[tag] != name for tag in client.tags):
            return  # which of two queues sends first is nobody's choice
        self._consumers += 1
        tag = f"t{self._consumers}"
        client.queues[tag] = name
        if flags["no_ack"]:
            client.without_acks.add(tag)
        arguments = {} if priority is None else {"x-priority": priority}
        client.channel.consume(self._stage.q(name), tag, arguments, **flags)
        client.tags.append(tag)

    def cancel(self, client: _Client, which: int) -> None:
        if not client.tags:
            return
        tag = client.tags[which % len(client.tags)]
        queue = client.queues[tag]
        waiting, _ = self._stage.look(self._stage.q(queue)) or (0, 0)
        if waiting and queue in self._single_active:
            return  # RabbitMQ gives the next one what waits only when something else happens
        client.tags.remove(tag)
        client.channel.cancel(tag)

    def ack(self, client: _Client, which: int, multiple: bool, _: bool) -> None:
        for tag in self._pick(client, which, multiple):
            client.channel.ack(tag, multiple=multiple)

    def nack(self, client: _Client, which: int, multiple: bool, requeue: bool) -> None:
        for tag in self._pick(client, which, multiple, requeue):
            client.channel.nack(tag, multiple=multiple, requeue=requeue)

    def reject(self, client: _Client, which: int, _: bool, requeue: bool) -> None:
        for tag in self._pick(client, which, False, requeue):
            client.channel.reject(tag, requeue=requeue)

    def _pick(
        self, client: _Client, which: int, multiple: bool, requeue: bool | None = None
    ) -> Iterator[int]:
        """One of the unsettled tags, if there is any; all up to it are settled if `multiple`.

        What several consumers give back at once comes back consumer by consumer in RabbitMQ; the
        walks leave it out.
        """
        tags = sorted(client.unsettled)
        if not tags:
            return
        place = which % len(tags)
        chosen = {tag: client.unsettled[tag] for tag in tags[0 if multiple else place : place + 1]}
        if requeue is not None:
            held = client.held.values() if client.in_transaction else ()
            if len({*chosen.values(), *held}) > 1:
                return
            if requeue and client.in_transaction:
                if client.has_published:
                    return
                client.has_requeued = True
        for tag in chosen:
            del client.unsettled[tag]
        if client.in_transaction:
            client.held |= chosen
        yield tags[place]

    def ack_of_nothing(self, client: _Client) -> None:
        if client.in_transaction:
            client.held |= client.unsettled
        client.channel.ack(0, multiple=True)
        client.unsettled.clear()

    def recover(self, client: _Client) -> None:
        if len(set(client.unsettled.values())) > 1:
            return
        client.unsettled.clear()
        client.channel.recover()

    def qos(self, client: _Client, count: int, everywhere: bool) -> None:
        # RabbitMQ counts what was got before, and does not take it back when it is settled; and it
        # takes back what a transaction has settled before, which it has not counted.
        is_counted = not client.has_got and not client.held
        client.channel.qos(count, everywhere=everywhere and is_counted)

    def confirm(self, client: _Client) -> None:
        client.channel.confirm()

    def select(self, client: _Client) -> None:
        client.channel.select()
        client.in_transaction = True

    def commit(self, client: _Client) -> None:
        if client.in_transaction:
            client.channel.commit()
            client.ended_transaction(False)

    def rollback(self, client: _Client) -> None:
        if client.in_transaction:
            client.channel.rollback()
            client.ended_transaction(True)

    def close_channel(self, client: _Client) -> None:
        if not client.is_torn():
            client.channel.close()

    def close_connection(self, client: _Client) -> None:
        if self._is_alone(client):
            client.channel.connection.close()

    def drop_connection(self, client: _Client) -> None:
        if self._is_alone(client):
            client.channel.connection.drop()
            self._stage.wait(_REST_S)

    def _is_alone(self, client: _Client) -> bool:
        """Whether a connection can end: with one channel, for which of two ends first is nobody's
        choice; others are closed before."""
        connection = client.channel.connection
        others = [
            each
            for each in self._clients.values()
            if each is not client and each.channel.connection is connection
        ]
        if any(each.is_torn() for each in (client, *others)):
            return False
        for each in others:
            if not each.channel.closed:
                each.channel.close()
                self._rest()
        return not client.is_torn()
