"""Which policy holds for a name, and what two of them define together."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amqbroker.core.arguments import CLASSIC, QUORUM
from amqbroker.core.policies import (
    ALL,
    CLASSIC_QUEUES,
    EXCHANGES,
    QUEUES,
    QUORUM_QUEUES,
    STREAMS,
    Policies,
    Policy,
    effective_definition,
)
from amqbroker.exchanges.base import Table


def make(
    name: str = "p",
    pattern: str = "",
    apply_to: str = ALL,
    priority: int = 0,
    definition: Table | None = None,
) -> Policy:
    """A policy, by default for everything."""
    return Policy(name, pattern, apply_to, priority, definition or {"max-length": 1})


@pytest.mark.parametrize(
    ("apply_to", "classic", "quorum", "exchange"),
    [
        (ALL, True, True, True),
        (QUEUES, True, True, False),
        (CLASSIC_QUEUES, True, False, False),
        (QUORUM_QUEUES, False, True, False),
        (STREAMS, False, False, False),
        (EXCHANGES, False, False, True),
    ],
)
def test_a_policy_holds_for_its_kinds(
    apply_to: str, classic: bool, quorum: bool, exchange: bool
) -> None:
    policy = make(apply_to=apply_to)
    assert policy.matches_queue("q", CLASSIC) is classic
    assert policy.matches_queue("q", QUORUM) is quorum
    assert policy.matches_exchange("q") is exchange


def test_a_pattern_is_searched_for_anywhere() -> None:
    """Unless it is anchored."""
    assert make(pattern="b").matches_queue("abc", CLASSIC)
    assert not make(pattern="^b").matches_queue("abc", CLASSIC)


@pytest.mark.parametrize("pattern", ["(", "*", "a{99999999999}"])
def test_a_bad_pattern_is_an_error_with_a_reason(pattern: str) -> None:
    with pytest.raises(ValueError, match=r'^\{".+",\d+\}$'):
        make(pattern=pattern)


@pytest.mark.parametrize(
    ("setting", "classic", "quorum"),
    [
        ("max-length", True, True),
        ("delivery-limit", True, True),
        ("queue-mode", True, False),
        ("ha-mode", True, False),
        ("max-in-memory-length", False, True),
        ("max-age", False, False),
    ],
)
def test_a_setting_that_a_type_does_not_know_keeps_the_policy_from_it(
    setting: str, classic: bool, quorum: bool
) -> None:
    policy = make(definition={"max-length": 1, setting: 1})
    assert policy.matches_queue("q", CLASSIC) is classic
    assert policy.matches_queue("q", QUORUM) is quorum
    assert policy.matches_exchange("q")


def test_the_highest_priority_holds_then_the_first_name() -> None:
    policies = Policies()
    for name, priority in (("c", 1), ("b", 5), ("a", 5), ("d", -1)):
        policies.put(make(name, priority=priority))
    assert [policy.name for policy in policies.ranked()] == ["a", "b", "c", "d"]
    holds = policies.for_queue("q", CLASSIC)
    assert holds is not None
    assert holds.name == "a"


def test_a_policy_of_the_same_name_replaces() -> None:
    policies = Policies()
    first, second = make(priority=1), make(priority=2)
    assert policies.put(first) is None
    assert policies.put(second) is first
    assert policies.ranked() == [second]
    assert policies.remove("p") is second
    assert policies.remove("p") is None
    assert policies.for_exchange("e") is None


def test_whether_any_policy_names_an_alternate_exchange() -> None:
    policies = Policies()
    policies.put(make())
    assert not policies.sets_alternates()
    policies.put(make("other", definition={"alternate-exchange": "e"}))
    assert policies.sets_alternates()


def test_an_operator_policy_makes_limits_smaller_never_larger() -> None:
    user = make(definition={"max-length": 5, "expires": 10, "overflow": "drop-head"})
    operator = make(definition={"max-length": 9, "expires": 3, "message-ttl": 7})
    assert effective_definition(user, operator) == {
        "max-length": 5,
        "expires": 3,
        "overflow": "drop-head",
        "message-ttl": 7,
    }
    assert effective_definition(user, None) is user.definition
    assert effective_definition(None, operator) is operator.definition
    assert effective_definition(None, None) == {}


def test_of_what_is_no_limit_the_operators_value_holds() -> None:
    user, operator = make(definition={"ha-mode": "all"}), make(definition={"ha-mode": "nodes"})
    assert effective_definition(user, operator) == {"ha-mode": "nodes"}


NAMES = st.sampled_from("abcd")


@given(st.lists(st.tuples(NAMES, st.integers(-2, 2), st.sampled_from(["a", "b", ""]))), NAMES)
def test_the_policy_that_holds_is_the_best_of_all_that_match(
    puts: list[tuple[str, int, str]], queue: str
) -> None:
    policies = Policies()
    naive: dict[str, Policy] = {}
    for name, priority, pattern in puts:
        naive[name] = make(name, pattern, priority=priority)
        policies.put(naive[name])
    matching = [policy for policy in naive.values() if policy.pattern in queue]
    expected = min(matching, key=lambda each: (-each.priority, each.name), default=None)
    assert policies.for_queue(queue, CLASSIC) is expected
