"""The settings of policies, and RabbitMQ's words for those that it refuses."""

from __future__ import annotations

import pytest

from amqbroker.core.policies import MIRRORING
from amqbroker.management.policy_settings import (
    OPERATOR_SETTINGS,
    SETTINGS,
    WITHOUT_EFFECT,
    definition_error,
)


@pytest.mark.parametrize(
    "definition",
    [
        {"message-ttl": 0, "expires": 1, "max-length": 0, "max-length-bytes": 0},
        {"overflow": "reject-publish-dlx", "dead-letter-exchange": "", "delivery-limit": -1},
        {"dead-letter-routing-key": "k", "dead-letter-strategy": "at-least-once"},
        {"alternate-exchange": "a", "consumer-timeout": 5},
        {"queue-mode": "lazy", "queue-version": 2, "queue-master-locator": "min-masters"},
        {"queue-leader-locator": "balanced", "max-age": "7D", "initial-cluster-size": 3},
        {"ha-mode": "all", "ha-sync-mode": "automatic", "ha-sync-batch-size": 1},
        {"ha-mode": "exactly", "ha-params": 2, "ha-promote-on-shutdown": "always"},
        {"ha-mode": "nodes", "ha-params": ["a@b"], "ha-promote-on-failure": "when-synced"},
    ],
)
def test_what_is_accepted(definition: dict[str, object]) -> None:
    assert definition_error(definition, False) == ""


@pytest.mark.parametrize(
    ("definition", "text"),
    [
        ({}, "no policy provided"),
        ({"foo": 1}, '[{<<"foo">>,1}] are not recognised policy settings'),
        ({"foo": 1, "expires": 0}, "0 is not a valid queue expiry"),
        ({"message-ttl": -1}, "-1 is not a valid message TTL"),
        ({"message-ttl": True}, "true is not a valid message TTL"),
        ({"message-ttl": 1.5}, "1.5 is not a valid message TTL"),
        ({"max-length": "5"}, '<<"5">> is not a valid maximum length'),
        ({"max-length-bytes": None}, "null is not a valid maximum length in bytes"),
        ({"max-length": 2**63}, "9223372036854775808 is not a valid maximum length"),
        ({"overflow": "x"}, '<<"x">> is not a valid overflow value'),
        ({"dead-letter-exchange": 1}, "1 is not a valid dead letter exchange name"),
        ({"dead-letter-routing-key": []}, "[] is not a valid dead letter routing key"),
        ({"alternate-exchange": 5}, "5 is not a valid alternate exchange name"),
        ({"consumer-timeout": 0}, "0 is not a valid consumer timeout"),
        ({"delivery-limit": -2}, "-2 is not a valid delivery limit"),
        ({"queue-mode": "eager"}, '<<"eager">> is not a valid queue-mode value'),
        ({"queue-version": True}, "true is not a valid queue-version value"),
        ({"max-age": "7"}, '<<"7">> is not a valid max age'),
        (
            {"ha-params": 2},
            "ha-mode must be specified to specify ha-params, ha-sync-mode or "
            "ha-promote-on-shutdown",
        ),
        ({"ha-mode": "some"}, '<<"some">> is not a valid ha-mode value'),
        ({"ha-mode": ["all"]}, '[<<"all">>] is not a valid ha-mode value'),
        ({"ha-mode": "all", "ha-params": 1}, 'ha-mode="all" does not take parameters'),
        ({"ha-mode": "exactly"}, 'ha-mode="exactly" takes an integer, none given'),
        ({"ha-mode": "exactly", "ha-params": 0}, 'ha-mode="exactly" takes an integer, 0 given'),
        ({"ha-mode": "nodes"}, 'ha-mode="nodes" takes a list, none given'),
        ({"ha-mode": "nodes", "ha-params": []}, 'ha-mode="nodes" list must be non-empty'),
        (
            {"ha-mode": "nodes", "ha-params": ["a", 1]},
            'ha-mode="nodes" takes a list of strings, [1] was not a string',
        ),
        (
            {"ha-mode": "all", "ha-sync-mode": "x"},
            'ha-sync-mode must be "manual" or "automatic", got <<"x">>',
        ),
        (
            {"ha-mode": "all", "ha-sync-batch-size": 0},
            "ha-sync-batch-size takes an integer greater than 0, 0 given",
        ),
        (
            {"ha-mode": "all", "ha-promote-on-failure": "x"},
            'ha-promote-on-failure must be "always" or "when-synced", got <<"x">>',
        ),
    ],
)
def test_what_is_refused(definition: dict[str, object], text: str) -> None:
    assert definition_error(definition, False) == text


def test_operator_policies_set_limits_only() -> None:
    assert definition_error({"max-length": 5, "expires": 1}, True) == ""
    assert definition_error({"max-length": 5, "dead-letter-exchange": "x"}, True) == (
        '[{<<"dead-letter-exchange">>,<<"x">>}] are not recognised policy settings'
    )


def test_the_lists_name_settings_that_there_are() -> None:
    known = {*SETTINGS, *MIRRORING}
    assert {*OPERATOR_SETTINGS, *WITHOUT_EFFECT} <= known
