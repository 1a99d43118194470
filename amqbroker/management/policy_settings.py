"""The settings of policies: which there are, and which values they take.

Settings that concern several nodes, memory or leaders are checked and kept, and have no effect on
one node: see `WITHOUT_EFFECT`.

Source: RabbitMQ's `rabbit_policies`, `rabbit_mirror_queue_misc`, `rabbit_queue_location_validator`,
for the texts too.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final

from amqbroker.core.arguments import DEAD_LETTER_STRATEGIES, LEADER_LOCATORS, OVERFLOWS
from amqbroker.core.policies import MIRRORING
from amqbroker.management.erlang import json_term, pairs_term
from amqbroker.management.lookup import is_text

INTEGER_MAX: Final = 2**63 - 1

# Says whether a value is acceptable.
Check = Callable[[object], bool]


def _is_integer(value: object, smallest: int) -> bool:
    return (
        isinstance(value, int) and not isinstance(value, bool) and smallest <= value <= INTEGER_MAX
    )


def _count(value: object) -> bool:
    return _is_integer(value, 0)


def _limit(value: object) -> bool:
    """-1 is no limit."""
    return _is_integer(value, -1)


def _positive(value: object) -> bool:
    return _is_integer(value, 1)


def _age(value: object) -> bool:
    """As `7D`: a number of years, months, days, hours, minutes or seconds."""
    return isinstance(value, str) and re.fullmatch(r"[0-9]+[YMDhms]", value) is not None


def _one_of(*choices: object) -> Check:
    return lambda value: not isinstance(value, bool) and value in choices


_MASTER_LOCATORS: Final = ("client-local", "min-masters", "random")

# What each setting takes, and how RabbitMQ calls what it does not take.
SETTINGS: Final[dict[str, tuple[Check, str]]] = {
    "alternate-exchange": (is_text, "is not a valid alternate exchange name"),
    "consumer-timeout": (_positive, "is not a valid consumer timeout"),
    "dead-letter-exchange": (is_text, "is not a valid dead letter exchange name"),
    "dead-letter-routing-key": (is_text, "is not a valid dead letter routing key"),
    "dead-letter-strategy": (
        _one_of(*DEAD_LETTER_STRATEGIES),
        "is not a valid dead letter strategy",
    ),
    "delivery-limit": (_limit, "is not a valid delivery limit"),
    "expires": (_positive, "is not a valid queue expiry"),
    "initial-cluster-size": (_count, "is not a valid cluster size"),
    "max-age": (_age, "is not a valid max age"),
    "max-in-memory-bytes": (_count, "is not a valid maximum memory in bytes"),
    "max-in-memory-length": (_count, "is not a valid maximum memory in bytes"),
    "max-length": (_count, "is not a valid maximum length"),
    "max-length-bytes": (_count, "is not a valid maximum length in bytes"),
    "message-ttl": (_count, "is not a valid message TTL"),
    "overflow": (_one_of(*OVERFLOWS), "is not a valid overflow value"),
    "queue-leader-locator": (
        _one_of(*LEADER_LOCATORS),
        "is not a valid queue leader locator value",
    ),
    "queue-master-locator": (
        _one_of(*_MASTER_LOCATORS),
        "is not a valid queue location value",
    ),
    "queue-mode": (_one_of("default", "lazy"), "is not a valid queue-mode value"),
    "queue-version": (_one_of(1, 2), "is not a valid queue-version value"),
    "stream-max-segment-size-bytes": (_count, "is not a valid segment size"),
    "target-group-size": (_positive, "is not a valid target count"),
}
OPERATOR_SETTINGS: Final = (
    "delivery-limit",
    "expires",
    "ha-mode",
    "ha-params",
    "ha-sync-mode",
    "max-in-memory-bytes",
    "max-in-memory-length",
    "max-length",
    "max-length-bytes",
    "message-ttl",
    "target-group-size",
)
WITHOUT_EFFECT: Final = (
    *MIRRORING,
    "initial-cluster-size",
    "max-age",
    "max-in-memory-bytes",
    "max-in-memory-length",
    "queue-leader-locator",
    "queue-master-locator",
    "queue-mode",
    "queue-version",
    "stream-max-segment-size-bytes",
    "target-group-size",
)


def definition_error(definition: Mapping[str, object], operator: bool) -> str:
    """Why this definition is refused, in RabbitMQ's words; empty if it is not."""
    if not definition:
        return "no policy provided"
    known = OPERATOR_SETTINGS if operator else (*SETTINGS, *MIRRORING)
    given = {key: value for key, value in definition.items() if key in known}
    for key, value in given.items():
        if key in SETTINGS:
            acceptable, complaint = SETTINGS[key]
            if not acceptable(value):
                return f"{json_term(value)} {complaint}"
    error = _mirroring_error(given)
    if error:
        return error
    unknown = {key: value for key, value in definition.items() if key not in known}
    return f"{pairs_term(unknown)} are not recognised policy settings" if unknown else ""


def _mirroring_error(given: dict[str, object]) -> str:
    """Of the settings of mirrored queues, which are checked together."""
    named = [key for key in MIRRORING if key in given]
    if not named:
        return ""
    if "ha-mode" not in given:
        return (
            "ha-mode must be specified to specify ha-params, ha-sync-mode or ha-promote-on-shutdown"
        )
    mode = given["ha-mode"]
    if mode not in ("all", "exactly", "nodes"):
        return f"{json_term(mode)} is not a valid ha-mode value"
    error = _mirrors_error(str(mode), given.get("ha-params"), "ha-params" in given)
    if error:
        return error
    for key in named:
        value = given[key]
        if key == "ha-sync-mode" and value not in ("manual", "automatic"):
            return f'ha-sync-mode must be "manual" or "automatic", got {json_term(value)}'
        if key == "ha-sync-batch-size" and not _positive(value):
            return f"ha-sync-batch-size takes an integer greater than 0, {json_term(value)} given"
        if key.startswith("ha-promote") and value not in ("always", "when-synced"):
            return f'{key} must be "always" or "when-synced", got {json_term(value)}'
    return ""


def _mirrors_error(mode: str, params: object, given: bool) -> str:
    """Of `ha-params`, whose form depends on the mode."""
    shown = json_term(params) if given else "none"
    if mode == "all":
        return 'ha-mode="all" does not take parameters' if given else ""
    if mode == "exactly":
        return "" if _positive(params) else f'ha-mode="exactly" takes an integer, {shown} given'
    if not isinstance(params, list):
        return f'ha-mode="nodes" takes a list, {shown} given'
    if not params:
        return 'ha-mode="nodes" list must be non-empty'
    invalid = [item for item in params if not is_text(item)]
    return (
        f'ha-mode="nodes" takes a list of strings, {json_term(invalid)} was not a string'
        if invalid
        else ""
    )
