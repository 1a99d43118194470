"""A policy is set or cleared: every queue and exchange whose policy is another one by that.

Only what changes is looked at closely: a policy that is set is searched for once in each name, and
all others only for what it held for before. So fifty policies over ten thousand queues cost half a
million searches, not twelve.

Source: RabbitMQ's `rabbit_policy:update_matched_objects`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mypy_extensions import i64

from amqbroker.core import definitions
from amqbroker.core.arguments import queue_type
from amqbroker.core.policies import Policies, Policy
from amqbroker.core.rules import Rules
from amqbroker.exchanges.base import Table

if TYPE_CHECKING:
    from amqbroker.core.broker import Broker
    from amqbroker.core.queue import Queue
    from amqbroker.core.vhost import VirtualHost


def set_policy(broker: Broker, vhost: VirtualHost, policy: Policy, operator: bool) -> i64:
    """Make or replace a policy; the journal position to wait for."""
    policies = _policies(vhost, operator)
    replaced = policies.put(policy)
    for queue in vhost.queues.values():
        current = _current(queue, operator)
        if current is not None and current is replaced:
            found = policies.for_queue(queue.name, queue_type(queue.arguments))
        elif (current is None or policy.precedes(current)) and policy.matches_queue(
            queue.name, queue_type(queue.arguments)
        ):
            found = policy
        else:
            continue
        _give(broker, vhost, queue, found, operator)
    vhost.apply_alternates()
    facts: Table = {
        "name": policy.name,
        "vhost": vhost.name,
        "pattern": policy.pattern,
        "apply-to": policy.apply_to,
        "priority": int(policy.priority),
        "definition": dict(policy.definition),
    }
    broker.events.emit("operator_policy.set" if operator else "policy.set", facts)
    return broker.journal.define(
        definitions.policy_key(vhost.name, policy.name, operator), definitions.policy_value(policy)
    )


def clear_policy(broker: Broker, vhost: VirtualHost, name: str, operator: bool) -> i64:
    """Remove a policy that is there; the journal position to wait for."""
    policies = _policies(vhost, operator)
    removed = policies.remove(name)
    assert removed is not None, name
    for queue in vhost.queues.values():
        if _current(queue, operator) is removed:
            found = policies.for_queue(queue.name, queue_type(queue.arguments))
            _give(broker, vhost, queue, found, operator)
    vhost.apply_alternates()
    event = "operator_policy.cleared" if operator else "policy.cleared"
    broker.events.emit(event, {"name": name, "vhost": vhost.name})
    return broker.journal.undefine(definitions.policy_key(vhost.name, name, operator))


def apply_all(broker: Broker, vhost: VirtualHost) -> None:
    """Policies were restored: every queue and exchange that they hold for."""
    for queue in vhost.queues.values():
        broker.change_rules(vhost, queue, vhost.rules_for(queue))
    vhost.apply_alternates()


def _policies(vhost: VirtualHost, operator: bool) -> Policies:
    return vhost.operator_policies if operator else vhost.policies


def _current(queue: Queue, operator: bool) -> Policy | None:
    return queue.rules.operator_policy if operator else queue.rules.policy


def _give(
    broker: Broker, vhost: VirtualHost, queue: Queue, found: Policy | None, operator: bool
) -> None:
    """This policy holds for the queue from now on; the one of the other kind stays."""
    rules = queue.rules
    if operator:
        changed = Rules(queue.arguments, rules.policy, found)
    else:
        changed = Rules(queue.arguments, found, rules.operator_policy)
    broker.change_rules(vhost, queue, changed)
