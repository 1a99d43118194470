"""Policies as an administrator sets, lists and clears them."""

from __future__ import annotations

import pytest

from amqbroker.management import policies
from amqbroker.management.errors import BAD_ARGUMENT, NOT_FOUND, ManagementError
from tests.core.house import Restartable


@pytest.fixture
def home() -> Restartable:
    """A broker without clients."""
    return Restartable()


def test_set_list_and_clear(home: Restartable) -> None:
    """Each kind has its own; what is listed is what was set, the weakest first."""
    broker = home.broker
    policies.set_policy(broker, "/", "high", "^q", {"max-length": 5}, 7, "queues")
    policies.set_policy(broker, "/", "low", "", {"alternate-exchange": "x"}, -7)
    policies.set_operator_policy(broker, "/", "o", ".*", {"expires": 5})
    home.restart()
    broker = home.broker
    assert policies.list_policies(broker, "/") == [
        {
            "vhost": "/",
            "name": "low",
            "pattern": "",
            "apply-to": "all",
            "definition": {"alternate-exchange": "x"},
            "priority": -7,
        },
        {
            "vhost": "/",
            "name": "high",
            "pattern": "^q",
            "apply-to": "queues",
            "definition": {"max-length": 5},
            "priority": 7,
        },
    ]
    assert [each["name"] for each in policies.list_operator_policies(broker, "/")] == ["o"]
    assert policies.clear_policy(broker, "/", "high") > 0
    assert policies.clear_operator_policy(broker, "/", "o") > 0
    home.restart()
    assert [each["name"] for each in policies.list_policies(home.broker, "/")] == ["low"]
    assert policies.list_operator_policies(home.broker, "/") == []


def test_a_change_is_durable_after_its_position(home: Restartable) -> None:
    position = policies.set_policy(home.broker, "/", "p", "q", {"max-length": 1})
    assert not home.broker.is_durable(position)
    batch = home.broker.journal.take_batch()
    assert batch is not None
    home.broker.journal.synced(batch.position)
    assert home.broker.is_durable(position)


def test_which_policies_hold(home: Restartable) -> None:
    broker, vhost = home.broker, home.vhost
    queue, _ = broker.create_queue(vhost, "q", True, False, None, {})
    policies.set_policy(broker, "/", "p", "^q$", {"max-length": 5, "overflow": "drop-head"})
    policies.set_operator_policy(broker, "/", "o", "", {"max-length": 3})
    assert policies.policy_of_queue(queue) == {
        "policy": "p",
        "operator_policy": "o",
        "effective_policy_definition": {"max-length": 3, "overflow": "drop-head"},
    }
    exchange = vhost.exchanges["amq.topic"]
    assert policies.policy_of_exchange(vhost, exchange) == {
        "policy": "",
        "operator_policy": "o",
        "effective_policy_definition": {"max-length": 3},
    }


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"definition": {"foo": 1}}, '[{<<"foo">>,1}] are not recognised policy settings'),
        ({"definition": [1]}, "definition must be a dictionary: [1]"),
        ({"pattern": 5}, "pattern should be a binary but was 5"),
        ({"pattern": "("}, "pattern should be regular expression but is invalid: "),
        ({"priority": "1"}, 'priority should be a number, actually was <<"1">>'),
        ({"priority": True}, "priority should be a number, actually was true"),
        ({"priority": 2**64}, "priority should be a number, actually was 18446744073709551616"),
        ({"apply_to": "all queues"}, "apply-to 'all queues' unrecognised; should be one of: "),
        ({"apply_to": None}, "apply-to 'None' unrecognised; "),
        ({"name": ""}, "a policy must have a name"),
    ],
)
def test_what_is_refused_changes_nothing(
    home: Restartable, given: dict[str, object], text: str
) -> None:
    arguments: dict[str, object] = {"name": "p", "pattern": "", "definition": {"expires": 1}}
    arguments.update(given)
    with pytest.raises(ManagementError) as caught:
        policies.set_policy(home.broker, "/", **arguments)  # type: ignore[arg-type]
    assert caught.value.code == BAD_ARGUMENT
    assert text in caught.value.text
    assert policies.list_policies(home.broker, "/") == []


def test_all_reasons_are_named(home: Restartable) -> None:
    with pytest.raises(ManagementError) as caught:
        policies.set_policy(home.broker, "/", "p", 1, {}, priority="x")
    assert caught.value.text == (
        "Validation failed\n\nno policy provided\npattern should be a binary but was 1\n"
        'priority should be a number, actually was <<"x">>'
    )


def test_clearing_what_is_not_there(home: Restartable) -> None:
    for clear in (policies.clear_policy, policies.clear_operator_policy):
        with pytest.raises(ManagementError) as caught:
            clear(home.broker, "/", "p")
        assert (caught.value.code, caught.value.text) == (NOT_FOUND, "Parameter does not exist")


def test_the_virtual_host_must_exist(home: Restartable) -> None:
    with pytest.raises(ManagementError, match="does not exist"):
        policies.set_policy(home.broker, "nope", "p", "", {"expires": 1})
