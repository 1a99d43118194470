"""What was promised, and whether a queue's contents keep it.

A message has a number: its publisher's, and its place in what that one published. Its body can be
made from the number alone, so that a changed body is seen.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

NUMBERS_A_PUBLISHER = 10**9
_HEAD_BYTES = 24


class Found(NamedTuple):
    """A message in a queue after a restart."""

    number: int
    redelivered: bool


class Message:
    """One message in one queue."""

    __slots__ = ("ack_sent", "confirmed", "delivered", "persistent", "settled_at")

    def __init__(self, persistent: bool) -> None:
        self.persistent = persistent
        self.confirmed = False
        # A client has had it at least once.
        self.delivered = False
        self.ack_sent = False
        # When the broker is known to have had the ack; never, if that is not known.
        self.settled_at = math.inf


class QueueLedger:
    """One durable queue: every message that may be in it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.messages: dict[int, Message] = {}

    def published(self, number: int, persistent: bool, confirmed: bool) -> None:
        """A message was sent to this queue."""
        message = Message(persistent)
        message.confirmed = confirmed
        self.messages[number] = message

    def delivered(self, numbers: Iterable[int]) -> None:
        """A client has had these."""
        for number in numbers:
            self.messages[number].delivered = True

    def acked(self, numbers: Iterable[int]) -> None:
        """An ack of these was sent."""
        for number in numbers:
            self.messages[number].ack_sent = True

    def settled(self, numbers: Iterable[int], at: float) -> None:
        """The broker had the acks of these by then."""
        for number in numbers:
            self.messages[number].settled_at = at

    def check(self, found: list[Found], acks_until: float) -> list[str]:
        """What is wrong with these contents after a restart.

        Acks that the broker had before `acks_until` were on disk when it ended.
        """
        problems = []
        numbers = [each.number for each in found]
        distinct = set(numbers)
        if len(distinct) != len(numbers):
            problems.append(f"{len(numbers) - len(distinct)} messages are there twice")
        missing = [
            number
            for number, message in self.messages.items()
            if _is_owed(message) and number not in distinct
        ]
        problems += _named(missing, "confirmed messages are lost")
        aliens = [number for number in numbers if number not in self.messages]
        problems += _named(aliens, "messages come from nowhere, or were gone already")
        known = [
            (each, self.messages[each.number]) for each in found if each.number in self.messages
        ]
        transient = [each.number for each, message in known if not message.persistent]
        problems += _named(transient, "transient messages outlived the broker")
        acked = [each.number for each, message in known if message.settled_at <= acks_until]
        problems += _named(acked, "messages came back long after their ack")
        unmarked = [
            each.number for each, message in known if message.delivered and not each.redelivered
        ]
        problems += _named(unmarked, "messages were delivered before and do not say redelivered")
        problems += _order(numbers)
        return [f"{self.name}: {problem}" for problem in problems]

    def keep(self, found: list[Found]) -> None:
        """Go on from what the queue has now: it was confirmed by being there, and is delivered."""
        kept = {}
        for each in found:
            message = Message(persistent=True)
            message.confirmed = message.delivered = True
            kept[each.number] = message
        self.messages = kept


def _is_owed(message: Message) -> bool:
    return message.persistent and message.confirmed and not message.ack_sent


def _named(numbers: list[int], what: str) -> list[str]:
    return [f"{len(numbers)} {what}, first {numbers[0]}"] if numbers else []


def _order(numbers: Iterable[int]) -> list[str]:
    """Whether each publisher's messages are in their order."""
    last: dict[int, int] = {}
    for number in numbers:
        publisher = number // NUMBERS_A_PUBLISHER
        if number < last.get(publisher, -1):
            return [f"{number} is behind {last[publisher]}"]
        last[publisher] = number
    return []


def make_body(number: int, size: int) -> bytes:
    """The body of a message: its number, its size, and bytes that follow from them."""
    head = b"%015d %07d " % (number, size)
    pattern = bytes((number + step) & 0xFF for step in range(251))
    return head + (pattern * (size // 251 + 1))[:size]


def read_body(body: bytes) -> int:
    """The number of a message. Raises ValueError if it is not what was published."""
    number, size = int(body[:15]), int(body[16:23])
    if len(body) != _HEAD_BYTES + size or body != make_body(number, size):
        raise ValueError(f"the body of message {number} was changed")
    return number
