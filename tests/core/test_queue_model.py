"""A whole node against a list-and-dict model of its queues, spoken to in AMQP.

Connections and channels come and go, publish, consume, get and settle in every way; restarts come
in between. After each step every delivery must be the next message of its queue, in order, with
the right mark, to somebody who had room for it; nothing that could go out is left; and the counts
are right.
"""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from pamqp import base
from pamqp.commands import Basic, Connection, Queue, Tx
from pamqp.commands import Channel as ChannelMethods
from pamqp.common import FieldTable

from amqbroker.core.dead_letters import is_marked
from tests.core.house import House, core
from tests.core.naive_broker import (
    NaiveBroker,
    NaiveChannel,
    NaiveConsumer,
    NaiveQueue,
    NaiveTransaction,
    Outcome,
    priority_of,
)
from tests.semantics.messages import Item, Message, show
from tests.semantics.peer import Channel, Peer

CONNECTIONS_MAX = 3
CHANNELS_MAX = 3
# Each name always means the same kind of queue.
KINDS: dict[str, dict[str, int | str]] = {
    "plain": {},
    "durable": {"durable": True, "dies_to": "dead"},
    "auto": {"auto_delete": True},
    "single": {"single_active": True},
    "own": {"exclusive": True},
    "prior": {"durable": True, "max_priority": 3},
    # No multiple of 100 milliseconds: time passes in those.
    "short": {"durable": True, "lifetime_ms": 250, "max_priority": 1, "dies_to": "late"},
    "full": {"durable": True, "limit": 5, "limit_bytes": 19, "dies_to": "over"},
    "shut": {"limit": 3, "refuses": True},
    # Each for the dead letters of one queue, so that their order is that queue's.
    "dead": {"durable": True},
    "late": {"durable": True},
    "over": {},
}
# What these have as arguments.
ARGUMENTS = {
    "max_priority": "x-max-priority",
    "lifetime_ms": "x-message-ttl",
    "limit": "x-max-length",
    "limit_bytes": "x-max-length-bytes",
}
NAMES = sorted(KINDS)
# Mostly the same few, so that steps meet.
PICK = st.sampled_from([0, 0, 0, 1, 1, 2, 3, 4])
# A step meets little of what there is: more examples than others need.
EXAMPLES = 4 * settings().max_examples


def _is_first(message: Message, queue: NaiveQueue) -> bool:
    """Whether a delivery is what its queue has to give next."""
    return bool(queue.ready) and queue.ready[0].identity() == (
        message.body,
        "x-death" in message.headers,
    )


def _number(kind: dict[str, int | str], name: str) -> int | None:
    value = kind.get(name)
    return value if isinstance(value, int) else None


class NodeMachine(RuleBasedStateMachine):
    """A node in memory and its model."""

    pages = False

    def __init__(self) -> None:
        super().__init__()
        self.house = self.make_house()
        self.model = NaiveBroker()
        self.peers: dict[int, Peer] = {}
        self.wires: dict[NaiveChannel, Channel] = {}
        self.bodies = 0
        self.made = 0

    def make_house(self) -> House:
        """The node to be tested."""
        return House()

    # What the steps are made of.

    def channel(self, pick: int) -> NaiveChannel:
        """One of the open channels."""
        return self.model.channels[pick % len(self.model.channels)]

    def visible(self, channel: NaiveChannel, pick: int) -> NaiveQueue | None:
        """A queue that this channel may use."""
        queues = [
            queue
            for _, queue in sorted(self.model.queues.items())
            if queue.owner in (None, channel.connection)
        ]
        return queues[pick % len(queues)] if queues else None

    def say(self, channel: NaiveChannel, *frames: base.Frame) -> list[Item]:
        """Send on a channel; what comes back on it, but for deliveries, confirms and cancels."""
        wire = self.wires[channel]
        self.house.paused = True
        for frame in frames:
            wire.send(frame)
        self.house.paused = False
        return self.hear().pop(channel, [])

    def answer(self, channel: NaiveChannel, frame: base.Frame, kind: type[base.Frame]) -> Item:
        """The one answer to a method; deliveries that came with it are kept for `settle`."""
        answers = self.say(channel, frame)
        assert len(answers) == 1, [show(item) for item in answers]
        answer = answers[0]
        method = answer.method if isinstance(answer, Message) else answer
        assert isinstance(method, kind), show(answer)
        return answer

    def hear(self) -> dict[NaiveChannel, list[Item]]:
        """All that has come: answers by channel, the rest is kept for `settle`."""
        answers: dict[NaiveChannel, list[Item]] = {}
        for channel, wire in self.wires.items():
            wire.peer.waiting()
            inbox = wire.peer._inbox.get(wire.number)
            while inbox:
                item = inbox.popleft()
                if isinstance(item, Message) and isinstance(item.method, Basic.Deliver):
                    self.deliveries.append((channel, item))
                elif isinstance(item, Basic.Cancel):
                    self.cancels.append((channel, str(item.consumer_tag)))
                elif isinstance(item, Basic.Ack | Basic.Nack):
                    self.confirm(channel, item)
                else:
                    answers.setdefault(channel, []).append(item)
        return answers

    def confirm(self, channel: NaiveChannel, answer: Basic.Ack | Basic.Nack) -> None:
        """Confirms come in order, each publish once; what was refused is nacked."""
        tag = answer.delivery_tag or 0
        if not answer.multiple:
            assert tag == channel.confirmed + 1
        assert channel.confirmed < tag
        for each in range(channel.confirmed + 1, tag + 1):
            assert (each in channel.refused) == isinstance(answer, Basic.Nack), show(answer)
        channel.confirmed = tag

    deliveries: list[tuple[NaiveChannel, Message]]
    cancels: list[tuple[NaiveChannel, str]]

    def settle(self) -> None:
        """The model is up to date: compare what came with what may come."""
        left = self.hear()
        assert not left, {n.number: [show(item) for item in each] for n, each in left.items()}
        pending = [delivery for delivery in self.deliveries if delivery[0] in self.wires]
        assert len(pending) == len(self.deliveries), "a delivery on a channel that is gone"
        # A turn begins with the dead letters of the one before.
        self.model.bury(self.house.now)
        self._round(pending)
        while self.model.bury(self.house.now):
            self._round(pending)
        assert not pending, f"not the first of their queues: {pending}"
        assert sorted(self._names(self.cancels)) == sorted(self._names(self.model.cancelled))
        self.deliveries = []
        self.cancels = []
        self.model.cancelled = []
        for channel in self.model.channels:
            channel.gives_room_in_turns = False

    def _round(self, pending: list[tuple[NaiveChannel, Message]]) -> None:
        """What is ready now is delivered, as far as there is room; the rest may die."""
        served: dict[NaiveQueue, list[NaiveConsumer]] = {}
        in_turns = any(channel.gives_room_in_turns for channel in self.model.channels)
        while pending:
            heads: dict[NaiveChannel, Message] = {}
            for channel, message in pending:
                heads.setdefault(channel, message)
            for queue in self.model.queues.values():
                queue.expire(self.house.now)
            for channel, message in heads.items():
                consumer = channel.consumers[str(message.method.consumer_tag)]  # type: ignore[attr-defined]
                if _is_first(message, consumer.queue):
                    break
            else:
                if self.pages and self._turn_between():
                    continue
                break
            pending.remove((channel, message))
            self._delivered(channel, consumer, message)
            served.setdefault(consumer.queue, []).append(consumer)
        for queue in self.model.queues.values():
            queue.expire(self.house.now)
            takers = queue.takers()
            assert not queue.ready or not takers, f"{queue.name} keeps {queue.ready} from {takers}"
            for consumer in served.get(queue, []):
                above = [each for each in takers if each.priority > consumer.priority]
                assert in_turns or not above, "served although a higher priority had room"
            queue.offered(self.house.now)

    def _turn_between(self) -> bool:
        """What is read from disk comes in several turns: what nobody could take dies, and dead
        letters arrive, in between. Whether any did."""
        for queue in self.model.queues.values():
            if not queue.takers():
                queue.offered(self.house.now)
        return self.model.bury(self.house.now)

    def _delivered(self, channel: NaiveChannel, consumer: NaiveConsumer, message: Message) -> None:
        queue = consumer.queue
        assert consumer in queue.takers(), f"{consumer.tag} has no room or is not active"
        assert message.redelivered == queue.ready[0].redelivered
        assert message.tag == channel.deliver(queue, consumer, consumer.no_ack)

    def _names(self, cancels: list[tuple[NaiveChannel, str]]) -> list[tuple[int, int, str]]:
        return [(c.connection, c.number, tag) for c, tag in cancels if c in self.wires]

    # Connections and channels.

    @initialize()
    def begin(self) -> None:
        """The first client."""
        self.deliveries = []
        self.cancels = []
        self.start()

    def start(self) -> None:
        """A connection with two queues that have messages, more than its consumers may take, and
        those that have rules."""
        self.connect()
        self._open(self.made)
        newest = len(self.model.channels) - 1
        self.qos(newest, 3, True)
        self._declare(self.model.channels[newest], "dead")
        for name in ("plain", "durable"):
            self._declare(self.model.channels[newest], name)
            self.publish(newest - 1, name, 6, True)
            self._consume(self.model.channels[newest], self.model.queues[name], False, 0)
        for name in ("short", "full", "shut"):
            self._declare(self.model.channels[newest], name)

    def connect(self) -> None:
        """One more connection, with a channel."""
        self.made += 1
        self.peers[self.made] = self.house.connect()
        self._open(self.made)

    def _open(self, connection: int) -> None:
        wire = self.peers[connection].open_channel()
        channel = NaiveChannel(connection, wire.number)
        self.model.channels.append(channel)
        self.wires[channel] = wire

    @rule(pick=PICK, connection=st.booleans())
    def come(self, pick: int, connection: bool) -> None:
        """One more connection, or one more channel."""
        if not self.peers or (connection and len(self.peers) < CONNECTIONS_MAX):
            self.connect()
            return
        chosen = sorted(self.peers)[pick % len(self.peers)]
        own = [each for each in self.model.channels if each.connection == chosen]
        if len(own) < CHANNELS_MAX:
            self._open(chosen)

    @rule(
        pick=PICK,
        what=st.sampled_from(["channel", "mistake", "close", "drop", "stop", "crash"]),
        tag=st.integers(0, 9),
        multiple=st.booleans(),
    )
    def go(self, pick: int, what: str, tag: int, multiple: bool) -> None:
        """A channel, a connection, or the broker itself, in good order or not.

        A channel's mistake is to settle a tag that is not out, if it is not.
        """
        if what in ("stop", "crash"):
            self.restart(what == "stop")
        elif what == "channel" and self.model.channels:
            channel = self.channel(pick)
            self.answer(channel, ChannelMethods.Close(200, "", 0, 0), ChannelMethods.CloseOk)
            del self.wires[channel]
            self.model.close_channel(channel)
        elif what == "mistake" and self.model.channels:
            self._settle(self.channel(pick), tag, "ack", multiple, False)
        elif self.peers:
            self._end_connection(sorted(self.peers)[pick % len(self.peers)], what == "close")
        self.settle()

    def _end_connection(self, connection: int, orderly: bool) -> None:
        peer = self.peers.pop(connection)
        if orderly:
            peer.send(0, Connection.Close(200, "", 0, 0))
            peer.expect(Connection.CloseOk)
        else:
            peer.drop()
        self.model.close_connection(connection)
        self.wires = {c: wire for c, wire in self.wires.items() if c.connection != connection}

    def restart(self, clean: bool) -> None:
        """Stop, or crash after all acks are written, and start again.

        A dead letter leaves its old queue as by an ack: a crash before that is written would double
        it (tests/core/test_dead_letter_cuts.py).
        """
        self.house.advance(0.1)
        self.settle()
        while core(self.house.node).journal.ranges:
            self.house.advance(0.1)
            self.settle()
        self.house.restart(clean=clean)
        self.wires = {}
        self.peers = {}
        self.model.restart(clean, self.house.now)
        self.start()

    @rule(tenths=st.integers(1, 4))
    def wait(self, tenths: int) -> None:
        """Time passes."""
        self.house.advance(tenths / 10)
        self.settle()

    # Queues.

    @precondition(lambda self: self.model.channels)
    @rule(
        pick=PICK,
        name=st.sampled_from(NAMES),
        what=st.sampled_from(["declare", "declare", "declare", "purge", "delete"]),
    )
    def change_queue(self, pick: int, name: str, what: str) -> None:
        """A new queue, or how one is doing; or its messages go, or all of it."""
        channel = self.channel(pick)
        queue = self.model.queues.get(name)
        if what == "declare":
            self._declare(channel, name)
        elif queue is not None and queue.owner in (None, channel.connection):
            self._empty(channel, queue, what == "delete")

    def _declare(self, channel: NaiveChannel, name: str) -> None:
        kind = KINDS[name]
        queue = self.model.queues.get(name)
        owner = channel.connection if kind.get("exclusive") else None
        if queue is not None and queue.owner != owner:
            return
        single = bool(kind.get("single_active"))
        arguments: FieldTable = {
            argument: kind[word] for word, argument in ARGUMENTS.items() if word in kind
        }
        if single:
            arguments["x-single-active-consumer"] = True
        if kind.get("refuses"):
            arguments["x-overflow"] = "reject-publish"
        if "dies_to" in kind:
            arguments["x-dead-letter-exchange"] = ""
            arguments["x-dead-letter-routing-key"] = kind["dies_to"]
        method = Queue.Declare(
            queue=name,
            durable=bool(kind.get("durable")),
            auto_delete=bool(kind.get("auto_delete")),
            exclusive=owner is not None,
            arguments=arguments,
        )
        ok = self.answer(channel, method, Queue.DeclareOk)
        if queue is None:
            lifetime_ms = _number(kind, "lifetime_ms")
            queue = NaiveQueue(
                name,
                durable=bool(kind.get("durable")),
                auto_delete=bool(kind.get("auto_delete")),
                single_active=single,
                max_priority=_number(kind, "max_priority") or 0,
                owner=owner,
                lifetime=lifetime_ms / 1000 if lifetime_ms is not None else None,
                limit=_number(kind, "limit"),
                limit_bytes=_number(kind, "limit_bytes"),
                refuses=bool(kind.get("refuses")),
                dies_to=str(kind.get("dies_to", "")),
            )
            self.model.declare(queue)
            if not queue.refuses:
                self.answer(channel, Queue.Bind(queue=name, exchange="amq.fanout"), Queue.BindOk)
        assert isinstance(ok, Queue.DeclareOk)
        assert (ok.message_count, ok.consumer_count) == (len(queue.ready), len(queue.consumers))
        self.settle()

    def _empty(self, channel: NaiveChannel, queue: NaiveQueue, delete: bool) -> None:
        if delete:
            ok = self.answer(channel, Queue.Delete(queue=queue.name), Queue.DeleteOk)
        else:
            ok = self.answer(channel, Queue.Purge(queue=queue.name), Queue.PurgeOk)
        assert ok.message_count == len(queue.ready)  # type: ignore[union-attr]
        queue.ready = []
        if delete:
            self.model.delete(queue)
        self.settle()

    # Publishing.

    @precondition(lambda self: self.model.channels)
    @rule(
        pick=PICK,
        name=st.sampled_from([*NAMES, "durable", "*", "*"]),
        count=st.integers(1, 6),
        persistent=st.sampled_from([True, True, False]),
        lifetime_ms=st.sampled_from([None, None, None, None, 0, 150, 450]),
    )
    def publish(
        self, pick: int, name: str, count: int, persistent: bool, lifetime_ms: int | None = None
    ) -> None:
        """To one queue by name, or to all that do not refuse; perhaps with a time to live."""
        channel = self.channel(pick)
        wire = self.wires[channel]
        named = [self.model.queues[name]] if name in self.model.queues else []
        open_queues = [each for each in self.model.queues.values() if not each.refuses]
        queues = open_queues if name == "*" else named
        if any(queue.refuses for queue in queues):
            # With consumers one at a time: what they take in between would count.
            if channel.transaction is not None:
                return
            if queues[0].consumers:
                count = 1
        lifetime = None if lifetime_ms is None else lifetime_ms / 1000
        self.house.paused = True
        for _ in range(count):
            self.bodies += 1
            body = b"%04d" % self.bodies
            properties = Basic.Properties(
                delivery_mode=2 if persistent else 1,
                priority=priority_of(body),
                expiration=None if lifetime_ms is None else str(lifetime_ms),
            )
            exchange = "amq.fanout" if name == "*" else ""
            wire.publish(body, exchange=exchange, key=name, properties=properties)
            if channel.publish_seq is not None:
                channel.publish_seq += 1
            if channel.transaction is not None:
                names = [queue.name for queue in queues]
                channel.transaction.publishes.append((body, persistent, lifetime, names))
                continue
            for queue in queues:
                taken = queue.publish(body, persistent, self.house.now, lifetime)
                if not taken and channel.publish_seq is not None:
                    channel.refused.add(channel.publish_seq)
        self.house.paused = False
        self.settle()
        assert channel.publish_seq is None or channel.confirmed == channel.publish_seq

    @precondition(lambda self: self.model.channels)
    @rule(pick=PICK, what=st.sampled_from(["confirm", "select", "commit", "commit", "rollback"]))
    def promise(self, pick: int, what: str) -> None:
        """Confirm mode, or a transaction: select, commit, roll back."""
        channel = self.channel(pick)
        if what == "confirm":
            if channel.transaction is None:
                self.wires[channel].confirm()
                channel.publish_seq = channel.publish_seq or 0
        elif channel.publish_seq is not None:
            return
        elif what == "select" or channel.transaction is None:
            self.answer(channel, Tx.Select(), Tx.SelectOk)
            channel.transaction = channel.transaction or NaiveTransaction()
        elif what == "commit":
            self.answer(channel, Tx.Commit(), Tx.CommitOk)
            channel.commit(self.model.queues, self.house.now)
        else:
            self.answer(channel, Tx.Rollback(), Tx.RollbackOk)
            channel.roll_back()
        self.settle()

    # Consuming.

    @precondition(lambda self: self.model.channels)
    @rule(
        pick=PICK,
        queue_pick=PICK,
        no_ack=st.sampled_from([False, False, False, False, True]),
        priority=st.sampled_from([0, 0, 1]),
        prefetch=st.sampled_from([None, 1, 2, 4]),
    )
    def consume(
        self, pick: int, queue_pick: int, no_ack: bool, priority: int, prefetch: int | None
    ) -> None:
        """A new consumer, perhaps with a prefetch of its own."""
        channel = self.channel(pick)
        queue = self.visible(channel, queue_pick)
        if queue is None:
            return
        if prefetch is not None:
            self.qos(pick, prefetch, False)
        self._consume(channel, queue, no_ack, priority)

    def _consume(
        self, channel: NaiveChannel, queue: NaiveQueue, no_ack: bool, priority: int
    ) -> None:
        self.made += 1
        tag = f"t{self.made}"
        method = Basic.Consume(
            queue=queue.name,
            consumer_tag=tag,
            no_ack=no_ack,
            arguments={"x-priority": priority} if priority else {},
        )
        self.answer(channel, method, Basic.ConsumeOk)
        consumer = NaiveConsumer(channel, queue, tag, no_ack, priority, channel.prefetch)
        channel.consumers[tag] = consumer
        queue.add(consumer)
        self.settle()

    @precondition(lambda self: any(each.consumers for each in self.model.channels))
    @rule(pick=PICK)
    def cancel(self, pick: int) -> None:
        """A consumer goes, what it holds stays out."""
        consumers = [c for each in self.model.channels for c in each.consumers.values()]
        consumer = consumers[pick % len(consumers)]
        self.answer(consumer.channel, Basic.Cancel(consumer_tag=consumer.tag), Basic.CancelOk)
        self.model.cancel(consumer)
        self.settle()

    @precondition(lambda self: self.model.channels)
    @rule(pick=PICK, count=st.integers(0, 3), whole=st.booleans())
    def qos(self, pick: int, count: int, whole: bool) -> None:
        """The limit of later consumers, or of the whole channel."""
        channel = self.channel(pick)
        self.answer(channel, Basic.Qos(prefetch_count=count, global_=whole), Basic.QosOk)
        if whole:
            channel.set_limit(count)
        else:
            channel.prefetch = count
            channel.set_limit(0)
        self.settle()

    @precondition(lambda self: self.model.channels)
    @rule(
        pick=PICK,
        queue_pick=PICK,
        no_ack=st.sampled_from([False, False, True]),
        count=st.integers(1, 4),
    )
    def get(self, pick: int, queue_pick: int, no_ack: bool, count: int) -> None:
        """Some messages, one by one."""
        channel = self.channel(pick)
        for _ in range(count):
            queue = self.visible(channel, queue_pick)
            if queue is not None:
                self._get(channel, queue, no_ack)

    def _get(self, channel: NaiveChannel, queue: NaiveQueue, no_ack: bool) -> None:
        method = Basic.Get(queue=queue.name, no_ack=no_ack)
        if not queue.ready:
            self.answer(channel, method, Basic.GetEmpty)
        else:
            message = self.answer(channel, method, Basic.GetOk)
            first = queue.ready[0]
            assert isinstance(message, Message)
            assert _is_first(message, queue)
            assert message.redelivered == first.redelivered
            assert message.tag == channel.deliver(queue, None, no_ack)
            at_most = len(queue.ready)
            queue.offered(self.house.now)
            left = message.method.message_count  # type: ignore[attr-defined]
            if self.pages:
                # What has expired on disk counts until it is read.
                assert len(queue.ready) <= left <= at_most
            else:
                assert left == len(queue.ready)
        self.settle()

    # Settling.

    @precondition(lambda self: any(each.unacked for each in self.model.channels))
    @rule(
        pick=PICK,
        place=st.integers(0, 20),
        how=st.sampled_from(["ack", "ack", "nack", "nack", "reject", "recover"]),
        multiple=st.booleans(),
        requeue=st.booleans(),
        everything=st.sampled_from([False, False, False, True]),
        times=st.integers(1, 3),
    )
    def settle_some(
        self,
        pick: int,
        place: int,
        how: str,
        multiple: bool,
        requeue: bool,
        everything: bool,
        times: int,
    ) -> None:
        """One delivery, all up to one, or all; some times over."""
        holders = [each for each in self.model.channels if each.unacked]
        channel = holders[pick % len(holders)]
        for _ in range(times):
            if how == "recover":
                self._recover(channel)
                continue
            tags = list(channel.unacked) or [0]
            tag = tags[place % len(tags)]
            if how == "reject":
                multiple = False
            if everything and multiple:
                tag = 0
            if tag or multiple:
                self._settle(channel, tag, how, multiple, requeue)

    def _recover(self, channel: NaiveChannel) -> None:
        self.answer(channel, Basic.Recover(requeue=True), Basic.RecoverOk)
        deliveries = list(channel.unacked.values())
        channel.unacked = {}
        channel.finish(deliveries, "requeue")
        self.settle()

    def _settle(
        self, channel: NaiveChannel, tag: int, how: str, multiple: bool, requeue: bool
    ) -> None:
        method: base.Frame
        outcome: Outcome = "requeue" if requeue else "reject"
        if how == "ack":
            method, outcome = Basic.Ack(tag, multiple), "ack"
        elif how == "nack":
            method = Basic.Nack(tag, multiple, requeue)
        else:
            method, multiple = Basic.Reject(tag, requeue), False
        deliveries = channel.named(tag, multiple)
        transaction = channel.transaction
        if transaction is not None and not transaction.can_settle(deliveries or [], outcome):
            return
        answers = self.say(channel, method)
        if deliveries is None:
            assert [type(item) for item in answers] == [ChannelMethods.Close]
            self.wires[channel].send(ChannelMethods.CloseOk())
            del self.wires[channel]
            self.model.close_channel(channel)
        else:
            assert answers == []
            channel.take(deliveries)
            channel.settle(deliveries, outcome)
        self.settle()

    @invariant()
    def the_counts_are_right(self) -> None:
        """Of every queue, inside."""
        queues = self.house.vhost().queues
        assert sorted(queues) == sorted(self.model.queues)
        for name, queue in queues.items():
            model = self.model.queues[name]
            assert (queue.ready_count(), queue.unacked_count) == (
                len(model.ready),
                model.outstanding,
            )
            in_memory = [
                (entry.message.body, is_marked(entry.message.header))
                for line in queue.lines()
                for entry in line.ready.entries()
            ]
            ready = [message.identity() for message in model.ready]
            assert len(set(ready)) == len(ready), "messages that cannot be told apart"
            if any(line.ready.paged for line in queue.lines()):
                ready = [identity for identity in ready if identity in in_memory]
            assert in_memory == ready


NodeMachine.TestCase.settings = settings(stateful_step_count=40, max_examples=EXAMPLES)
# Many examples: a busy machine takes its time.
TestNode = pytest.mark.timeout(200)(NodeMachine.TestCase)
