"""Runtime parameters: JSON values by component and name in a virtual host, and global ones by name.

They are kept and listed for tools that look for them. No component of this broker reads any yet:
federation and shovels are not built in, and limits of virtual hosts and users have functions of
their own.

Source: RabbitMQ's `rabbit_runtime_parameters`.
"""

from __future__ import annotations

import json
from typing import Final

from amqbroker.core import definitions
from amqbroker.core.broker import Broker
from amqbroker.exchanges.base import Table
from amqbroker.management.errors import BAD_ARGUMENT, NOT_FOUND, ManagementError
from amqbroker.management.lookup import check_name, find_vhost
from amqbroker.management.values import DEPTH_MAX, is_too_deep

# Those of RabbitMQ and of the plugins that come with it.
COMPONENTS: Final = (
    "federation",
    "federation-upstream",
    "federation-upstream-set",
    "shovel",
)
POLICIES: Final = ("policy", "operator_policy")
VHOST_LIMITS: Final = "vhost-limits"


def set_parameter(broker: Broker, vhost: str, component: str, name: str, value: object) -> int:
    """Make or replace a parameter; the value is decoded JSON."""
    found = find_vhost(broker, vhost)
    if component in POLICIES:
        raise ManagementError(BAD_ARGUMENT, "policies may not be set using this method")
    if component == VHOST_LIMITS:
        raise ManagementError(BAD_ARGUMENT, "limits of a virtual host are set by set_vhost_limits")
    if component not in COMPONENTS:
        raise ManagementError(BAD_ARGUMENT, f"Validation failed\n\ncomponent {component} not found")
    check_name("a parameter", name)
    text = _encode(value)
    found.parameters[(component, name)] = text
    facts: Table = {"component": component, "name": name, "vhost": vhost}
    broker.events.emit("parameter.set", {**facts, "value": text})
    return broker.journal.define(
        definitions.parameter_key(vhost, component, name), definitions.parameter_value(text)
    )


def clear_parameter(broker: Broker, vhost: str, component: str, name: str) -> int:
    """Remove a parameter."""
    found = find_vhost(broker, vhost)
    if component in POLICIES:
        raise ManagementError(BAD_ARGUMENT, "policies may not be cleared using this method")
    if found.parameters.pop((component, name), None) is None:
        raise ManagementError(NOT_FOUND, "Parameter does not exist")
    facts: Table = {"component": component, "name": name, "vhost": vhost}
    broker.events.emit("parameter.cleared", facts)
    return broker.journal.undefine(definitions.parameter_key(vhost, component, name))


def list_parameters(broker: Broker, vhost: str) -> list[dict[str, object]]:
    """The parameters of a virtual host, by component and name."""
    found = find_vhost(broker, vhost)
    return [
        {"vhost": vhost, "component": component, "name": name, "value": json.loads(text)}
        for (component, name), text in sorted(found.parameters.items())
    ]


def set_global_parameter(broker: Broker, name: str, value: object) -> int:
    """Make or replace a global parameter; the value is decoded JSON."""
    check_name("a global parameter", name)
    text = _encode(value)
    broker.global_parameters[name] = text
    broker.events.emit("parameter.set", {"name": name, "value": text})
    return broker.journal.define(
        definitions.global_parameter_key(name), definitions.parameter_value(text)
    )


def clear_global_parameter(broker: Broker, name: str) -> int:
    """Remove a global parameter."""
    if broker.global_parameters.pop(name, None) is None:
        raise ManagementError(NOT_FOUND, "Parameter does not exist")
    broker.events.emit("parameter.cleared", {"name": name})
    return broker.journal.undefine(definitions.global_parameter_key(name))


def list_global_parameters(broker: Broker) -> list[dict[str, object]]:
    """The global parameters, by name."""
    return [
        {"name": name, "value": json.loads(text)}
        for name, text in sorted(broker.global_parameters.items())
    ]


def _encode(value: object) -> str:
    # What is not refused here could be kept, but not listed.
    if is_too_deep(value):
        raise ManagementError(BAD_ARGUMENT, f"the value is nested deeper than {DEPTH_MAX} levels")
    try:
        return json.dumps(value, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise ManagementError(BAD_ARGUMENT, f"the value is no JSON: {error}") from error
