"""Publisher confirms against a list of publishes and what each of them waits for."""

from __future__ import annotations

from itertools import groupby

from hypothesis import given
from hypothesis import strategies as st
from pamqp import commands, frame

from amqbroker.core.confirms import Confirms
from amqbroker.core.limits import REFUSED
from amqbroker.wire.outbox import Outbox


def _written(out: Outbox) -> list[tuple[str, int, bool]]:
    """What was written: method, tag and multiple of each."""
    data = b"".join(out.take())
    found = []
    while data:
        used, channel, method = frame.unmarshal(data)
        assert channel == 7
        assert isinstance(method, commands.Basic.Ack | commands.Basic.Nack)
        found.append((method.name, method.delivery_tag or 0, bool(method.multiple)))
        data = data[used:]
    return found


class Pair:
    """Confirms, and for each publish without an answer the position that it waits for."""

    def __init__(self) -> None:
        self.confirms = Confirms()
        self.out = Outbox([])
        self.waiting: list[int] = []
        self.answered = 0
        self.position = 1
        self.refused: set[int] = set()

    def publish(self, durable: bool) -> None:
        """One more publish."""
        position = self.position if durable else 0
        self.confirms.add(position)
        self.waiting.append(position)

    def refuse(self) -> None:
        """One more publish, that a queue has no room for."""
        self.confirms.add(REFUSED)
        self.waiting.append(0)
        self.refused.add(self.confirms.publish_seq)

    def flush(self, synced: int) -> None:
        """All publishes before the first that must wait are answered, each run of them that was
        accepted or refused by one ack or nack."""
        count = 0
        while count < len(self.waiting) and self.waiting[count] <= synced:
            count += 1
        something = self.confirms.flush(self.out, 7, synced)
        assert something == (count > 0)
        first = self.answered + 1
        self.answered += count
        self.waiting = self.waiting[count:]
        wanted = []
        for refused, run in groupby(range(first, first + count), self.refused.__contains__):
            tags = list(run)
            wanted.append(("Basic.Nack" if refused else "Basic.Ack", tags[-1], len(tags) > 1))
        assert _written(self.out) == wanted
        assert self.confirms.pending() == bool(self.waiting)


STEPS = ["durable", "transient", "refused", "batch", "synced", "turn"]


@given(st.lists(st.sampled_from(STEPS), max_size=60))
def test_every_publish_is_confirmed_once_and_in_order(steps: list[str]) -> None:
    """Never before its position is durable, and as soon as all before it may be confirmed too."""
    pair = Pair()
    for step in steps:
        if step == "batch":
            pair.position += 1
        elif step == "synced":
            pair.flush(pair.position - 1)
        elif step == "turn":
            pair.flush(max(0, pair.position - 2))
        elif step == "refused":
            pair.refuse()
        else:
            pair.publish(step == "durable")
    pair.flush(pair.position)
    assert pair.answered == pair.confirms.publish_seq
    assert not pair.confirms.flush(pair.out, 7, pair.position), "confirmed twice"


@given(st.lists(st.booleans(), max_size=8))
def test_a_journal_that_failed_refuses_what_waits(publishes: list[bool]) -> None:
    pair = Pair()
    pair.publish(True)
    pair.flush(1)
    pair.position = 2
    for durable in publishes:
        pair.publish(durable)
    pair.flush(1)
    left = len(pair.waiting)
    pair.confirms.refuse_pending(pair.out, 7)
    last = 1 + len(publishes)
    assert _written(pair.out) == ([("Basic.Nack", last, left > 1)] if left else [])
    assert not pair.confirms.pending()
    pair.confirms.refuse_pending(pair.out, 7)
    assert not pair.confirms.flush(pair.out, 7, 100)
    assert _written(pair.out) == []


def test_a_million_publishes_of_one_batch_are_one_run() -> None:
    """What waits costs memory by batches, not by publishes."""
    confirms = Confirms()
    for number in range(3000):
        confirms.add(1 + number // 1000)
    assert len(confirms._runs) == 3


def test_a_journal_that_failed_answers_what_was_refused_once() -> None:
    pair = Pair()
    pair.publish(True)
    pair.refuse()
    pair.confirms.refuse_pending(pair.out, 7)
    assert _written(pair.out) == [("Basic.Nack", 2, True)]
    pair.waiting = []
    pair.answered = 2
    pair.publish(False)
    pair.flush(0)
