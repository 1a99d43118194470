"""Lists of users, permissions, virtual hosts, policies and parameters."""

from __future__ import annotations

import pytest

from amqbroker.management import parameters, policies, users, vhosts
from amqbroker.management.errors import ManagementError
from amqbroker.management.listing_rules import RULE_KINDS
from tests.core.house import House, core

KINDS = {kind.name: kind for kind in RULE_KINDS}


def rows(house: House, name: str, *columns: str, vhost: str = "/") -> list[list[object]]:
    """A whole list."""
    return list(KINDS[name].rows(core(house.node), list(columns), vhost))


@pytest.fixture
def house() -> House:
    """A node with one of everything."""
    made = House()
    broker = core(made.node)
    users.set_topic_permissions(broker, "/", "alice", "amq.topic", "^a", "^b")
    users.set_user_limits(broker, "alice", {"max-channels": 5})
    vhosts.set_vhost_limits(broker, "other", {"max-queues": 7})
    policies.set_policy(broker, "/", "p", "^q", {"max-length": 10}, 3, "queues")
    policies.set_operator_policy(broker, "other", "o", ".*", {"expires": 1000})
    parameters.set_parameter(broker, "/", "shovel", "s", {"a": [1]})
    parameters.set_global_parameter(broker, "g", "v")
    return made


def test_each_list_has_rabbitmqctls_columns(house: House) -> None:
    assert ["alice", []] in rows(house, "users")
    assert rows(house, "vhosts", vhost="") == [["/"], ["other"]]
    assert ["alice", "^mine-", "^mine-", "^mine-"] in rows(house, "permissions")
    assert rows(house, "topic_permissions") == [["alice", "amq.topic", "^a", "^b"]]
    assert rows(house, "vhost_limits", vhost="") == [["other", {"max-queues": 7}]]
    assert rows(house, "vhost_limits") == []
    assert rows(house, "policies") == [["/", "p", "^q", "queues", {"max-length": 10}, 3]]
    assert rows(house, "operator_policies", "vhost", "name", vhost="") == [["other", "o"]]
    assert rows(house, "parameters") == [["shovel", "s", {"a": [1]}]]
    assert ["g", "v"] in rows(house, "global_parameters")


def test_all_virtual_hosts_at_once(house: House) -> None:
    found = rows(house, "permissions", "vhost", "user", vhost="")
    assert ["other", "stranger"] in found
    assert ["/", "guest"] in found


@pytest.mark.parametrize("name", KINDS)
def test_every_column_has_a_value(house: House, name: str) -> None:
    columns = list(KINDS[name].columns)
    (row, *_) = rows(house, name, *columns, vhost="")
    assert len(row) == len(columns)
    with pytest.raises(ManagementError, match="have no column 'x'"):
        rows(house, name, "x")
