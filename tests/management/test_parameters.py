"""Runtime parameters: kept as they are, over restarts."""

from __future__ import annotations

import pytest

from amqbroker.management import parameters
from amqbroker.management.errors import BAD_ARGUMENT, NOT_FOUND, ManagementError
from tests.core.house import Restartable

VALUES: list[object] = [
    {"uri": "amqp://", "x" * 300: [1, 2.5, None, True]},
    [],
    "text \ud800",
    2**70,
    None,
]


@pytest.mark.parametrize("value", VALUES)
def test_any_json_value_comes_back(value: object) -> None:
    home = Restartable()
    parameters.set_parameter(home.broker, "/", "shovel", "s", value)
    parameters.set_global_parameter(home.broker, "g", value)
    home.restart()
    assert parameters.list_parameters(home.broker, "/") == [
        {"vhost": "/", "component": "shovel", "name": "s", "value": value}
    ]
    assert parameters.list_global_parameters(home.broker) == [{"name": "g", "value": value}]


def test_clearing() -> None:
    home = Restartable()
    parameters.set_parameter(home.broker, "/", "shovel", "s", 1)
    parameters.set_global_parameter(home.broker, "g", 1)
    parameters.clear_parameter(home.broker, "/", "shovel", "s")
    parameters.clear_global_parameter(home.broker, "g")
    home.restart()
    assert parameters.list_parameters(home.broker, "/") == []
    assert parameters.list_global_parameters(home.broker) == []


def test_clearing_what_is_not_there() -> None:
    home = Restartable()
    with pytest.raises(ManagementError) as caught:
        parameters.clear_parameter(home.broker, "/", "shovel", "s")
    assert (caught.value.code, caught.value.text) == (NOT_FOUND, "Parameter does not exist")
    with pytest.raises(ManagementError, match="Parameter does not exist"):
        parameters.clear_global_parameter(home.broker, "g")


@pytest.mark.parametrize("component", ["policy", "operator_policy"])
def test_policies_have_their_own_functions(component: str) -> None:
    home = Restartable()
    with pytest.raises(ManagementError, match="policies may not be set using this method"):
        parameters.set_parameter(home.broker, "/", component, "p", {})
    with pytest.raises(ManagementError, match="policies may not be cleared using this method"):
        parameters.clear_parameter(home.broker, "/", component, "p")


def test_components_that_there_are_not() -> None:
    home = Restartable()
    with pytest.raises(ManagementError) as caught:
        parameters.set_parameter(home.broker, "/", "shovels", "s", {})
    assert caught.value.code == BAD_ARGUMENT
    assert caught.value.text == "Validation failed\n\ncomponent shovels not found"


def test_limits_of_virtual_hosts_have_a_function_of_their_own() -> None:
    home = Restartable()
    with pytest.raises(ManagementError, match="set_vhost_limits"):
        parameters.set_parameter(home.broker, "/", "vhost-limits", "limits", {})


def test_what_is_no_json() -> None:
    home = Restartable()
    for value in (float("nan"), {1}, b""):
        with pytest.raises(ManagementError, match="the value is no JSON"):
            parameters.set_global_parameter(home.broker, "g", value)


def test_values_that_are_nested_too_deep() -> None:
    home = Restartable()
    value: list[object] = []
    for _ in range(64):
        value = [value]
    with pytest.raises(ManagementError, match="nested deeper than 64 levels"):
        parameters.set_global_parameter(home.broker, "g", {"in": value[0]})
    assert parameters.list_global_parameters(home.broker) == []
    parameters.set_global_parameter(home.broker, "g", value[0])
    assert parameters.list_global_parameters(home.broker) == [{"name": "g", "value": value[0]}]
