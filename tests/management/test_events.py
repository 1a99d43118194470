"""What administrators do is told by the event exchange."""

from __future__ import annotations

from amqbroker.management import parameters, policies, users, vhosts
from tests.core.house import House, core
from tests.semantics.peer import Channel


def _names(ch: Channel) -> list[str]:
    found: list[str] = []
    while (message := ch.get("events", no_ack=True)) is not None:
        found.append(message.routing_key)
    return found


def test_every_change_is_an_event() -> None:
    house = House()
    ch = house.channel()
    ch.declare_queue("events")
    ch.bind("events", "amq.rabbitmq.event", "#")
    _names(ch)
    broker = core(house.node)
    users.add_user(broker, "ann", None)
    users.set_user_tags(broker, "ann", ["monitoring"])
    users.clear_password(broker, "ann")
    users.set_permissions(broker, "/", "ann", "", "", ".*")
    users.set_topic_permissions(broker, "/", "ann", "amq.topic", ".*", ".*")
    users.clear_topic_permissions(broker, "/", "ann")
    users.clear_permissions(broker, "/", "ann")
    users.set_user_limits(broker, "ann", {"max-channels": 5})
    users.clear_user_limits(broker, "ann")
    users.delete_user(broker, "ann")
    vhosts.add_vhost(broker, "v")
    vhosts.set_vhost_limits(broker, "v", {"max-queues": 5})
    vhosts.clear_vhost_limits(broker, "v")
    policies.set_policy(broker, "v", "p", ".*", {"max-length": 5})
    policies.clear_policy(broker, "v", "p")
    policies.set_operator_policy(broker, "v", "p", ".*", {"max-length": 5})
    policies.clear_operator_policy(broker, "v", "p")
    parameters.set_parameter(broker, "v", "shovel", "s", {})
    parameters.clear_parameter(broker, "v", "shovel", "s")
    parameters.set_global_parameter(broker, "g", 1)
    parameters.clear_global_parameter(broker, "g")
    names = _names(ch)
    assert names == [
        "user.created",
        "user.tags.set",
        "user.password.cleared",
        "permission.created",
        "topic.permission.created",
        "topic.permission.deleted",
        "permission.deleted",
        "user.limits.set",
        "user.limits.cleared",
        "user.deleted",
        "vhost.created",
        "vhost.limits.set",
        "vhost.limits.cleared",
        "policy.set",
        "policy.cleared",
        "operator_policy.set",
        "operator_policy.cleared",
        "parameter.set",
        "parameter.cleared",
        "parameter.set",
        "parameter.cleared",
    ]
    vhosts.delete_vhost(broker, "v")
    assert _names(ch)[-1] == "vhost.deleted"
