"""Whose turn it is: round robin, priorities, blocked consumers, single active consumer."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from amqbroker.core.consumer import Consumer, Consumers
from tests.core.house import House, items, make_channel, make_entry, make_queue
from tests.semantics.messages import Message
from tests.semantics.peer import Channel

NOBODY_ELSE_TWICE = 2


class Line:
    """The consumers of one queue, and who of them could take a message, told by the test.

    A consumer here has a prefetch of 1; `free` and `busy` set what it holds.
    """

    def __init__(self, single_active: bool = False) -> None:
        arguments: dict[str, object] = {"x-single-active-consumer": single_active}
        self.queue = make_queue(arguments=arguments)
        self.consumers: Consumers = self.queue.consumers
        self.channel = make_channel()
        self.there: list[Consumer] = []
        # How often each other consumer was served since this one could have been.
        self.passed: dict[str, dict[str, int]] = {}
        self.made = 0

    def add(self, priority: int) -> Consumer:
        """A new consumer, without messages."""
        tag = f"c{self.made}"
        self.made += 1
        consumer = Consumer(self.channel, self.queue, tag, False, False, priority, 1, {})
        self.consumers.add(consumer)
        self.there.append(consumer)
        self.passed[tag] = {}
        return consumer

    def remove(self, consumer: Consumer) -> None:
        """Cancel it; what it holds stays out."""
        self.consumers.remove(consumer)
        self.there.remove(consumer)
        del self.passed[consumer.tag]

    def busy(self, consumer: Consumer) -> None:
        """It holds all it may."""
        consumer.unacked = 1
        self.passed[consumer.tag] = {}

    def free(self, consumer: Consumer) -> None:
        """It settled what it held."""
        if consumer.unacked:
            consumer.unacked = 0
            consumer.unblock()
            self.passed[consumer.tag] = {}

    def serve(self) -> Consumer | None:
        """Ask whose turn it is, and check that nobody was passed over."""
        able = [consumer for consumer in self.there if consumer.unacked == 0]
        chosen = self.consumers.next()
        if chosen is None:
            assert able == [], [consumer.tag for consumer in able]
            return None
        assert chosen in able
        highest = max(consumer.priority for consumer in able)
        assert chosen.priority == highest
        self.passed[chosen.tag] = {}
        for consumer in able:
            if consumer.priority == highest and consumer is not chosen:
                passed = self.passed[consumer.tag]
                passed[chosen.tag] = passed.get(chosen.tag, 0) + 1
                assert passed[chosen.tag] <= NOBODY_ELSE_TWICE, (consumer.tag, chosen.tag)
        return chosen


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["add", "remove", "busy", "free", "free", "serve", "serve", "use"]),
        st.integers(0, 5),
        st.integers(-1, 1),
    ),
    max_size=60,
)


@given(st.integers(1, 4), STEPS)
def test_the_highest_that_can_is_served_and_nobody_is_passed_over(
    count: int, steps: list[tuple[str, int, int]]
) -> None:
    """Whatever comes, goes, blocks and comes back in between."""
    line = Line()
    for _ in range(count):
        line.add(0)
    for action, number, priority in steps:
        chosen = line.there[number % len(line.there)] if line.there else None
        if action == "add":
            line.add(priority)
        elif action == "serve":
            line.serve()
        elif action == "use":
            served = line.serve()
            if served is not None:
                line.busy(served)
        elif chosen is not None:
            getattr(line, action)(chosen)
    for _ in range(2 * len(line.there)):
        line.serve()


@given(st.integers(1, 5), st.integers(0, 12))
def test_with_all_free_the_turn_goes_round(count: int, start: int) -> None:
    line = Line()
    for _ in range(count):
        line.add(0)
    for _ in range(start):
        line.serve()
    served = [line.serve() for _ in range(count)]
    assert sorted(c.tag for c in served if c) == sorted(c.tag for c in line.there)
    assert [line.serve() for _ in range(count)] == served


def test_a_lower_priority_is_served_only_while_every_higher_one_is_blocked() -> None:
    line = Line()
    low, high, middle = line.add(-5), line.add(7), line.add(1)
    assert line.serve() is high
    line.busy(high)
    assert line.serve() is middle
    line.busy(middle)
    assert line.serve() is low
    line.free(middle)
    assert line.serve() is middle
    line.free(high)
    assert line.serve() is high


def test_a_blocked_consumer_is_not_asked_again_until_it_is_free() -> None:
    line = Line()
    first, second = line.add(0), line.add(0)
    line.busy(first)
    assert [line.serve() for _ in range(3)] == [second] * 3
    assert first.blocked
    assert not second.blocked
    line.free(first)
    assert {line.serve(), line.serve()} == {first, second}


def test_a_blocked_consumer_that_was_cancelled_does_not_come_back() -> None:
    line = Line()
    consumer = line.add(0)
    line.busy(consumer)
    assert line.serve() is None
    line.consumers.remove(consumer)
    consumer.unacked = 0
    consumer.unblock()
    assert line.consumers.next() is None


SINGLE_STEPS = st.lists(
    st.tuples(
        st.sampled_from(["add", "remove", "busy", "free", "serve"]),
        st.integers(0, 4),
        st.integers(-1, 1),
    ),
    max_size=40,
)


@given(st.lists(st.integers(-1, 1), max_size=4), SINGLE_STEPS)
def test_single_active_one_consumer_stays_until_it_goes(
    priorities: list[int], steps: list[tuple[str, int, int]]
) -> None:
    """Then the highest priority follows, the longest waiting among equals."""
    line = Line(single_active=True)
    added = [line.add(priority) for priority in priorities]
    active: Consumer | None = added[0] if added else None
    for action, number, priority in steps:
        chosen = line.there[number % len(line.there)] if line.there else None
        if action == "add":
            newest = line.add(priority)
            active = active or newest
        elif action == "serve":
            wanted = active if active is not None and active.unacked == 0 else None
            assert line.consumers.next() is wanted
        elif chosen is not None:
            getattr(line, action)(chosen)
            if action == "remove" and chosen is active:
                # max gives the first of equals.
                active = max(line.there, key=lambda c: c.priority, default=None)
        assert line.consumers.active is active


def test_the_limits_of_a_consumer_and_of_its_channel_both_apply() -> None:
    channel, queue = make_channel(), make_queue()
    consumer = Consumer(channel, queue, "t", False, False, 0, 2, {})
    greedy = Consumer(channel, queue, "u", True, False, 0, 2, {})
    channel.prefetch_global = 3
    channel.unacked_global = 2
    assert consumer.can_take()
    consumer.send(make_entry(queue, 0))
    assert (consumer.unacked, channel.unacked_global, queue.unacked_count) == (1, 3, 1)
    assert not consumer.can_take(), "the channel's limit"
    channel.prefetch_global = 0
    assert consumer.can_take()
    consumer.send(make_entry(queue, 1))
    assert not consumer.can_take(), "its own limit"
    assert greedy.can_take(), "without acks there is no limit"
    greedy.send(make_entry(queue, 2))
    assert (greedy.unacked, channel.unacked.count, channel.next_delivery_tag) == (0, 2, 4)


def test_a_full_output_buffer_stops_every_consumer() -> None:
    channel, queue = make_channel(), make_queue()
    consumer = Consumer(channel, queue, "t", True, False, 0, 0, {})
    channel.client.output_size_max = 100
    sent = 0
    while consumer.can_take():
        consumer.send(make_entry(queue, sent))
        sent += 1
    assert channel.client.output.size() >= 100
    assert 0 < sent < 10


def test_two_consumers_alternate_across_the_limit_of_a_turn(house: House, ch: Channel) -> None:
    """Whose turn it is outlives the turn of the broker."""
    ch.declare_queue("q")
    tags = [ch.consume("q", tag, no_ack=True) for tag in ("a", "b")]
    house.paused = True
    for _ in range(9_000):
        ch.publish(b"", key="q")
    house.paused = False
    served = [item.method.consumer_tag for item in items(ch) if isinstance(item, Message)]  # type: ignore[attr-defined]
    assert served == tags * 4_500
