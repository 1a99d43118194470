"""Policies that come and go: the rules of queues and the alternates of exchanges follow."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from amqbroker.core.policies import ALL, Policy
from amqbroker.core.policy_changes import clear_policy, set_policy
from amqbroker.core.queue import Queue
from amqbroker.core.rules import NO_LIMIT
from amqbroker.exchanges.base import Table
from amqbroker.exchanges.registry import make_exchange
from tests.core.house import House, Restartable, core
from tests.semantics.peer import Channel


def _policy(name: str, pattern: str, priority: int = 0, **definition: object) -> Policy:
    settings: Table = {key.replace("_", "-"): value for key, value in definition.items()}
    return Policy(name, pattern, ALL, priority, settings)


def _queue(home: Restartable, name: str, arguments: Table | None = None) -> Queue:
    queue, _ = home.broker.create_queue(home.vhost, name, True, False, None, arguments or {})
    return queue


def test_what_is_there_and_what_comes_gets_the_policy() -> None:
    home = Restartable()
    before = _queue(home, "a-1")
    other = _queue(home, "b-1")
    set_policy(home.broker, home.vhost, _policy("p", "^a", max_length=3), False)
    after = _queue(home, "a-2")
    assert before.rules.max_length == after.rules.max_length == 3
    assert other.rules.max_length == NO_LIMIT
    assert other.rules.policy is None
    clear_policy(home.broker, home.vhost, "p", False)
    assert before.rules.max_length == after.rules.max_length == NO_LIMIT


def test_the_next_best_policy_takes_over() -> None:
    home = Restartable()
    queue = _queue(home, "q")
    set_policy(home.broker, home.vhost, _policy("low", "q", 1, max_length=1), False)
    set_policy(home.broker, home.vhost, _policy("high", "q", 2, max_length=2), False)
    assert queue.rules.max_length == 2
    set_policy(home.broker, home.vhost, _policy("high", "q", 0, max_length=2), False)
    assert queue.rules.max_length == 1
    set_policy(home.broker, home.vhost, _policy("low", "other", 1, max_length=1), False)
    assert queue.rules.max_length == 2


def test_users_and_operators_have_a_policy_each() -> None:
    home = Restartable()
    queue = _queue(home, "q")
    set_policy(home.broker, home.vhost, _policy("p", "q", 9, max_length=9), False)
    set_policy(home.broker, home.vhost, _policy("p", "q", 1, max_length=5), True)
    assert queue.rules.max_length == 5
    assert queue.rules.policy is not queue.rules.operator_policy
    clear_policy(home.broker, home.vhost, "p", False)
    assert queue.rules.max_length == 5
    clear_policy(home.broker, home.vhost, "p", True)
    assert queue.rules.max_length == NO_LIMIT


def test_a_restart_finds_policies_and_gives_them_to_queues() -> None:
    home = Restartable()
    _queue(home, "q")
    set_policy(home.broker, home.vhost, _policy("p", "q", 4, max_length=3), False)
    set_policy(home.broker, home.vhost, _policy("o", "q", 0, max_length=2, expires=9000), True)
    set_policy(home.broker, home.vhost, _policy("gone", "q", 5, max_length=1), False)
    clear_policy(home.broker, home.vhost, "gone", False)
    set_policy(
        home.broker, home.vhost, _policy("ae", "amq.fanout", 9, alternate_exchange="x"), False
    )
    home.restart()
    queue = home.vhost.queues["q"]
    assert (queue.rules.max_length, queue.rules.expires_ms) == (2, 9000)
    assert queue.expiry is not None
    policy = home.vhost.policies.by_name["p"]
    assert (policy.pattern, policy.apply_to, policy.priority) == ("q", ALL, 4)
    assert sorted(home.vhost.policies.by_name) == ["ae", "p"]
    assert home.vhost.exchanges["amq.fanout"].alternate == "x"


def test_a_queue_expires_by_a_policy_that_came_later(house: House, ch: Channel) -> None:
    """The time begins when the policy is set; another policy of the same time does not restart
    it."""
    broker, vhost = core(house.node), house.vhost()
    ch.declare_queue("q")
    house.advance(60.0)
    set_policy(broker, vhost, _policy("p", "q", expires=10_000), False)
    house.advance(6.0)
    set_policy(broker, vhost, _policy("p", "q", expires=10_000, max_length=1), False)
    house.advance(3.0)
    assert ch.queue_exists("q")
    house.advance(10.5)
    assert not ch.queue_exists("q")


def test_a_queue_without_the_policy_does_not_expire_any_more(house: House, ch: Channel) -> None:
    broker, vhost = core(house.node), house.vhost()
    ch.declare_queue("q")
    set_policy(broker, vhost, _policy("p", "q", expires=10_000), False)
    clear_policy(broker, vhost, "p", False)
    house.advance(60.0)
    assert ch.queue_exists("q")


def test_a_shorter_expiry_begins_at_once(house: House, ch: Channel) -> None:
    ch.declare_queue("q", arguments={"x-expires": 50_000})
    set_policy(core(house.node), house.vhost(), _policy("p", "q", expires=5_000), False)
    house.advance(6.0)
    assert not ch.queue_exists("q")


def test_an_alternate_exchange_by_policy_changes_routes_at_once(house: House, ch: Channel) -> None:
    """Routes that are cached included, and back again."""
    broker, vhost = core(house.node), house.vhost()
    ch.declare_exchange("e")
    ch.declare_exchange("lost", "fanout")
    ch.declare_queue("q")
    ch.bind("q", "lost")
    ch.publish(b"0", exchange="e", key="k")
    set_policy(broker, vhost, _policy("p", "^e$", alternate_exchange="lost"), False)
    ch.publish(b"1", exchange="e", key="k")
    ch.declare_exchange("e2")
    set_policy(broker, vhost, _policy("p", "^e", alternate_exchange="lost"), False)
    ch.publish(b"2", exchange="e2", key="k")
    clear_policy(broker, vhost, "p", False)
    ch.publish(b"3", exchange="e", key="k")
    assert ch.get_bodies("q") == [b"1", b"2"]


def test_the_argument_of_an_exchange_overrules_its_policy() -> None:
    home = Restartable()
    set_policy(home.broker, home.vhost, _policy("p", "", alternate_exchange="b"), False)
    for name, arguments in (("argued", {"alternate-exchange": "a"}), ("plain", {})):
        table: Table = dict(arguments)
        home.vhost.add_exchange(make_exchange(name, "direct", False, False, False, table))
    assert home.vhost.exchanges["argued"].alternate == "a"
    assert home.vhost.exchanges["plain"].alternate == "b"


SETS = st.tuples(
    st.sampled_from(["p1", "p2", "p3"]),
    st.sampled_from(["a", "b", "", "x"]),
    st.integers(-1, 1),
    st.booleans(),
)
CHANGES = st.lists(
    st.one_of(SETS, st.sampled_from(["p1", "p2", "p3"]), st.sampled_from([True, False]))
)


@given(CHANGES)
def test_changes_one_by_one_lead_where_a_look_at_all_leads(
    changes: list[tuple[str, str, int, bool] | str | bool],
) -> None:
    """A queue always has the policies that a queue of its name would get that is declared now."""
    home = Restartable()
    queues = [_queue(home, name) for name in ("a", "b", "ab", "c")]
    operator = False
    for change in changes:
        if isinstance(change, bool):
            operator = change
        elif isinstance(change, tuple):
            name, pattern, priority, operator = change
            policy = _policy(name, pattern, priority, max_length=1)
            set_policy(home.broker, home.vhost, policy, operator)
        else:
            policies = home.vhost.operator_policies if operator else home.vhost.policies
            if change in policies.by_name:
                clear_policy(home.broker, home.vhost, change, operator)
        for queue in queues:
            fresh = home.vhost.rules_for(queue)
            assert queue.rules.policy is fresh.policy
            assert queue.rules.operator_policy is fresh.operator_policy
