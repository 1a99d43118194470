"""Policies: rules for queues and exchanges by name, which can be changed while the broker runs.

A virtual host has two sets, of users and of operators. At most one policy of each set holds for a
queue or an exchange: among those whose pattern is found in the name, that apply to its kind and
have no setting that its type of queue does not know, the one with the highest priority, and of
equal ones the one whose name sorts first (RabbitMQ leaves that open). What the two define is
merged; both may limit a number, and the smaller one holds.

Patterns are searched for when a policy or a queue changes, never for a message.

Source: RabbitMQ's `rabbit_policy`, `rabbit_policies`, and `unsupported_policies` of the queue
types.
"""

from __future__ import annotations

import re
from typing import Final, final

from mypy_extensions import i64

from amqbroker.core.arguments import CLASSIC, QUORUM
from amqbroker.exchanges.base import Table

ALL: Final = "all"
QUEUES: Final = "queues"
EXCHANGES: Final = "exchanges"
CLASSIC_QUEUES: Final = "classic_queues"
QUORUM_QUEUES: Final = "quorum_queues"
STREAMS: Final = "streams"
APPLY_TO: Final = (QUEUES, CLASSIC_QUEUES, QUORUM_QUEUES, STREAMS, EXCHANGES, ALL)

ALTERNATE_EXCHANGE: Final = "alternate-exchange"

_STREAM_SETTINGS: Final = ("initial-cluster-size", "max-age", "stream-max-segment-size-bytes")
# Of RabbitMQ 3's mirrored queues.
MIRRORING: Final = (
    "ha-mode",
    "ha-params",
    "ha-promote-on-failure",
    "ha-promote-on-shutdown",
    "ha-sync-batch-size",
    "ha-sync-mode",
)
# A policy with one of these does not hold for queues of that type. Classic queues know
# `delivery-limit` and `dead-letter-strategy` here, unlike RabbitMQ's.
UNKNOWN_TO_CLASSIC: Final = (
    *_STREAM_SETTINGS,
    "max-in-memory-bytes",
    "max-in-memory-length",
    "target-group-size",
)
UNKNOWN_TO_QUORUM: Final = (
    *_STREAM_SETTINGS,
    *MIRRORING,
    "queue-master-locator",
    "queue-mode",
    "queue-version",
)
# Numbers of which the smaller one holds, wherever they are given.
SMALLER_WINS: Final = (
    "consumer-timeout",
    "delivery-limit",
    "expires",
    "max-in-memory-bytes",
    "max-in-memory-length",
    "max-length",
    "max-length-bytes",
    "message-ttl",
)


@final
class Policy:
    """One policy. ValueError if the pattern is not a regular expression."""

    __slots__ = (
        "_for_exchanges",
        "_for_types",
        "_pattern",
        "apply_to",
        "definition",
        "name",
        "pattern",
        "priority",
    )

    def __init__(
        self, name: str, pattern: str, apply_to: str, priority: int, definition: Table
    ) -> None:
        self.name = name
        self.pattern = pattern
        self.apply_to = apply_to
        self.priority = priority
        self.definition = definition
        self._pattern = compile_pattern(pattern)
        self._for_exchanges = apply_to in (ALL, EXCHANGES)
        # The types of queue that it can hold for.
        self._for_types: list[str] = []
        if apply_to in (ALL, QUEUES, CLASSIC_QUEUES) and not _has_any(
            definition, UNKNOWN_TO_CLASSIC
        ):
            self._for_types.append(CLASSIC)
        if apply_to in (ALL, QUEUES, QUORUM_QUEUES) and not _has_any(definition, UNKNOWN_TO_QUORUM):
            self._for_types.append(QUORUM)

    def matches_queue(self, name: str, queue_type: str) -> bool:
        """Whether this policy can hold for a queue of this name and type."""
        return queue_type in self._for_types and self._pattern.search(name) is not None

    def matches_exchange(self, name: str) -> bool:
        """Whether this policy can hold for an exchange of this name."""
        return self._for_exchanges and self._pattern.search(name) is not None

    def precedes(self, other: Policy) -> bool:
        """Which of two that match holds."""
        if self.priority != other.priority:
            return self.priority > other.priority
        return self.name < other.name


def compile_pattern(pattern: str) -> re.Pattern[str]:
    """A pattern of names. ValueError, with Erlang's form of a reason, if there is none."""
    try:
        return re.compile(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        reason, position = str(error), 0
        if isinstance(error, re.error):
            reason, position = error.msg, error.pos or 0
        raise ValueError(f'{{"{reason}",{position}}}') from error


def _has_any(definition: Table, settings: tuple[str, ...]) -> bool:
    return any(setting in definition for setting in settings)


@final
class Policies:
    """The policies of users, or those of operators, of one virtual host."""

    __slots__ = ("_ranked", "by_name")

    def __init__(self) -> None:
        self.by_name: dict[str, Policy] = {}
        # The one that holds first.
        self._ranked: list[Policy] = []

    def put(self, policy: Policy) -> Policy | None:
        """Add a policy; the one of its name that it replaces."""
        replaced = self.remove(policy.name)
        self.by_name[policy.name] = policy
        place: i64 = 0
        while place < len(self._ranked) and self._ranked[place].precedes(policy):
            place += 1
        self._ranked.insert(place, policy)
        return replaced

    def remove(self, name: str) -> Policy | None:
        """Remove the policy of this name, and return it; None if there is none."""
        removed = self.by_name.pop(name, None)
        if removed is not None:
            self._ranked = [policy for policy in self._ranked if policy is not removed]
        return removed

    def ranked(self) -> list[Policy]:
        """All of them, the one that holds first at the front."""
        return self._ranked.copy()

    def for_queue(self, name: str, queue_type: str) -> Policy | None:
        """The policy that holds for this queue."""
        for policy in self._ranked:
            if policy.matches_queue(name, queue_type):
                return policy
        return None

    def for_exchange(self, name: str) -> Policy | None:
        """The policy that holds for this exchange."""
        for policy in self._ranked:
            if policy.matches_exchange(name):
                return policy
        return None

    def sets_alternates(self) -> bool:
        """Whether any of them names an alternate exchange."""
        return any(ALTERNATE_EXCHANGE in policy.definition for policy in self._ranked)


def effective_definition(policy: Policy | None, operator_policy: Policy | None) -> Table:
    """What the two define together: smaller limits win, else the operator does."""
    if operator_policy is None:
        return {} if policy is None else policy.definition
    if policy is None:
        return operator_policy.definition
    merged: Table = dict(policy.definition)
    for key, value in operator_policy.definition.items():
        given = merged.get(key)
        if key in SMALLER_WINS and isinstance(given, int) and isinstance(value, int):
            merged[key] = min(given, value)
        else:
            merged[key] = value
    return merged
