"""Policies and operator policies: set, cleared, listed, and which of them holds for what.

The names are rabbitmqctl's, and so are the texts of refusals. A definition is a decoded JSON
object; what is listed has the keys that rabbitmqctl and definition files use.

Source: RabbitMQ's `rabbit_policy`, `rabbit_runtime_parameters`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from amqbroker.core import policy_changes
from amqbroker.core.broker import Broker
from amqbroker.core.policies import ALL, APPLY_TO, Policies, Policy, effective_definition
from amqbroker.core.queue import Queue
from amqbroker.core.vhost import VirtualHost
from amqbroker.exchanges.base import Exchange, Table
from amqbroker.management.erlang import json_term
from amqbroker.management.errors import BAD_ARGUMENT, NOT_FOUND, ManagementError
from amqbroker.management.lookup import check_name, find_vhost, is_text
from amqbroker.management.policy_settings import INTEGER_MAX, definition_error

VALIDATION_FAILED: Final = "Validation failed\n\n"


def set_policy(
    broker: Broker,
    vhost: str,
    name: str,
    pattern: object,
    definition: object,
    priority: object = 0,
    apply_to: object = ALL,
) -> int:
    """Make or replace a policy. It holds at once, for what is there and what comes."""
    return _set(broker, vhost, name, pattern, definition, priority, apply_to, False)


def set_operator_policy(
    broker: Broker,
    vhost: str,
    name: str,
    pattern: object,
    definition: object,
    priority: object = 0,
    apply_to: object = ALL,
) -> int:
    """Make or replace an operator policy, which can only set limits."""
    return _set(broker, vhost, name, pattern, definition, priority, apply_to, True)


def clear_policy(broker: Broker, vhost: str, name: str) -> int:
    """Remove a policy."""
    found = find_vhost(broker, vhost)
    _check_there(found.policies, name)
    return policy_changes.clear_policy(broker, found, name, False)


def clear_operator_policy(broker: Broker, vhost: str, name: str) -> int:
    """Remove an operator policy."""
    found = find_vhost(broker, vhost)
    _check_there(found.operator_policies, name)
    return policy_changes.clear_policy(broker, found, name, True)


def list_policies(broker: Broker, vhost: str) -> list[dict[str, object]]:
    """The policies of a virtual host, the weakest first."""
    found = find_vhost(broker, vhost)
    return [_listed(found, policy) for policy in reversed(found.policies.ranked())]


def list_operator_policies(broker: Broker, vhost: str) -> list[dict[str, object]]:
    """The operator policies of a virtual host, the weakest first."""
    found = find_vhost(broker, vhost)
    return [_listed(found, policy) for policy in reversed(found.operator_policies.ranked())]


def policy_of_queue(queue: Queue) -> dict[str, object]:
    """Which policies hold for a queue, by name and empty for none, and what they define
    together."""
    return _in_force(queue.rules.policy, queue.rules.operator_policy)


def policy_of_exchange(vhost: VirtualHost, exchange: Exchange) -> dict[str, object]:
    """Which policies hold for an exchange, and what they define together."""
    return _in_force(
        vhost.policies.for_exchange(exchange.name),
        vhost.operator_policies.for_exchange(exchange.name),
    )


def _set(
    broker: Broker,
    vhost: str,
    name: str,
    pattern: object,
    definition: object,
    priority: object,
    apply_to: object,
    operator: bool,
) -> int:
    found = find_vhost(broker, vhost)
    check_name("a policy", name)
    errors: list[str] = []
    checked: Table = {}
    if isinstance(definition, Mapping):
        checked = dict(definition)
        errors.append(definition_error(checked, operator))
    else:
        errors.append(f"definition must be a dictionary: {json_term(definition)}")
    if not isinstance(apply_to, str) or apply_to not in APPLY_TO:
        errors.append(
            f"apply-to '{apply_to}' unrecognised; should be one of: 'queues', 'classic_queues', "
            " 'quorum_queues', 'streams', 'exchanges', or 'all'"
        )
    if not is_text(pattern):
        errors.append(f"pattern should be a binary but was {json_term(pattern)}")
    if (
        not isinstance(priority, int)
        or isinstance(priority, bool)
        or not -INTEGER_MAX <= priority <= INTEGER_MAX
    ):
        errors.append(f"priority should be a number, actually was {json_term(priority)}")
    policy: Policy | None = None
    if not any(errors):
        assert isinstance(pattern, str)
        assert isinstance(apply_to, str)
        assert isinstance(priority, int)
        try:
            policy = Policy(name, pattern, apply_to, priority, checked)
        except ValueError as error:
            errors.append(f"pattern should be regular expression but is invalid: {error}")
    if policy is None:
        reasons = "\n".join([error for error in errors if error])
        raise ManagementError(BAD_ARGUMENT, f"{VALIDATION_FAILED}{reasons}")
    return policy_changes.set_policy(broker, found, policy, operator)


def _check_there(policies: Policies, name: str) -> None:
    if name not in policies.by_name:
        raise ManagementError(NOT_FOUND, "Parameter does not exist")


def _listed(vhost: VirtualHost, policy: Policy) -> dict[str, object]:
    return {
        "vhost": vhost.name,
        "name": policy.name,
        "pattern": policy.pattern,
        "apply-to": policy.apply_to,
        "definition": dict(policy.definition),
        "priority": policy.priority,
    }


def _in_force(policy: Policy | None, operator_policy: Policy | None) -> dict[str, object]:
    return {
        "policy": "" if policy is None else policy.name,
        "operator_policy": "" if operator_policy is None else operator_policy.name,
        "effective_policy_definition": dict(effective_definition(policy, operator_policy)),
    }
