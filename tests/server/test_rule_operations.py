"""Users, virtual hosts, policies and parameters at an administrator's word, in a broker process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from .process import BrokerProcess, broker_process
from .test_operations import ask, error_of, rows


@pytest.fixture
def process(tmp_path: Path) -> Iterator[BrokerProcess]:
    with broker_process(tmp_path / "data") as made:
        yield made


def done(process: BrokerProcess, command: str, **arguments: object) -> object:
    """The result of a command that works."""
    answer = ask(process, command, **arguments)
    assert "result" in answer, answer
    return answer["result"]


def test_what_was_answered_outlives_a_crash(process: BrokerProcess, tmp_path: Path) -> None:
    done(process, "add_vhost", name="v", description="mine", default_queue_type="quorum")
    done(process, "add_user", name="ann", password="s3cret", tags=["monitoring"])
    done(process, "set_permissions", vhost="v", name="ann", configure=".*", write=".*", read=".*")
    topic = {"exchange": "amq.topic", "write": "^a", "read": ".*"}
    done(process, "set_topic_permissions", vhost="v", name="ann", **topic)
    done(process, "set_user_limits", name="ann", limits={"max-connections": 9})
    done(process, "set_vhost_limits", name="v", limits={"max-queues": 5})
    definition = {"max-length": 5}
    done(process, "set_policy", vhost="v", name="p", pattern="^q", definition=definition)
    done(process, "set_operator_policy", vhost="v", name="o", pattern="", definition=definition)
    done(process, "set_parameter", vhost="v", component="shovel", name="s", value=[1])
    done(process, "set_global_parameter", name="g", value=None)
    process.end()
    with broker_process(tmp_path / "data") as again:
        assert ["ann", ["monitoring"]] in rows(again, "list_users")
        assert rows(again, "list_user_permissions", name="ann") == [["v", ".*", ".*", ".*"]]
        topics = rows(again, "list_user_topic_permissions", name="ann")
        assert topics == [["v", "amq.topic", "^a", ".*"]]
        assert rows(again, "list_user_limits") == [["ann", {"max-connections": 9}]]
        assert rows(again, "list_vhost_limits") == [["v", {"max-queues": 5}]]
        assert rows(again, "list_policies", columns=["name", "definition"]) == [["p", definition]]
        assert rows(again, "list_operator_policies", columns=["name"]) == [["o"]]
        assert rows(again, "list_parameters") == [["shovel", "s", [1]]]
        assert ["g", None] in rows(again, "list_global_parameters")
        assert done(again, "authenticate_user", name="ann", password="s3cret") == {}
        again.raw().handshake("ann", "s3cret", "v")


def test_everything_can_be_taken_back(process: BrokerProcess) -> None:
    done(process, "add_vhost", name="v")
    done(process, "add_user", name="ann", password="one")
    done(process, "change_password", name="ann", password="two")
    assert error_of(ask(process, "authenticate_user", name="ann", password="one")) == (
        "bad-data",
        "user 'ann' - invalid credentials",
    )
    done(process, "authenticate_user", name="ann", password="two")
    done(process, "clear_password", name="ann")
    assert error_of(ask(process, "authenticate_user", name="ann", password="two"))[0] == "bad-data"
    done(process, "set_user_tags", name="ann", tags=["a", "b"])
    done(process, "clear_user_limits", name="ann")
    done(process, "set_permissions", vhost="v", name="ann", configure="", write="", read="")
    done(process, "clear_permissions", vhost="v", name="ann")
    done(process, "clear_topic_permissions", vhost="v", name="ann")
    done(process, "clear_vhost_limits", name="v")
    for kind in ("policy", "operator_policy"):
        done(process, f"set_{kind}", vhost="v", name="p", pattern="", definition={"expires": 9})
        done(process, f"clear_{kind}", vhost="v", name="p")
        assert error_of(ask(process, f"clear_{kind}", vhost="v", name="p"))[0] == "not-found"
    done(process, "set_parameter", vhost="v", component="shovel", name="s", value=1)
    done(process, "clear_parameter", vhost="v", component="shovel", name="s")
    done(process, "set_global_parameter", name="g", value=1)
    done(process, "clear_global_parameter", name="g")
    done(process, "delete_vhost", name="v")
    done(process, "delete_user", name="ann")
    assert error_of(ask(process, "delete_user", name="ann")) == (
        "no-such-user",
        'User "ann" does not exist',
    )
    assert rows(process, "list_vhosts") == [["/"]]


def test_a_password_or_a_hash_of_one(process: BrokerProcess) -> None:
    code, text = error_of(ask(process, "add_user", name="ann"))
    assert (code, text) == (
        "bad-argument",
        "a password that is not empty, or a hash of one, is needed",
    )
    # The password is test12: the example of RabbitMQ's documentation.
    stored = "kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR"
    done(process, "add_user", name="ann", password_hash=stored)
    done(process, "authenticate_user", name="ann", password="test12")
    assert error_of(ask(process, "add_user", name="bob", password_hash="x"))[0] == "bad-argument"


def test_a_change_that_the_configuration_will_undo_says_so(tmp_path: Path) -> None:
    users = [{"name": "ann", "password": "a"}]
    with broker_process(tmp_path / "data", users=users, vhosts=[{"name": "v"}]) as process:
        for command, arguments in (
            ("set_user_tags", {"name": "ann", "tags": ["x"]}),
            ("set_vhost_limits", {"name": "v", "limits": {}}),
        ):
            result = done(process, command, **arguments)
            assert isinstance(result, dict)
            assert "is named in the configuration" in result["note"]
