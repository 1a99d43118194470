"""What a broker has, in the form of RabbitMQ's definitions, and back."""

from __future__ import annotations

import json

from amqbroker.auth.passwords import SALT_SIZE, hash_password, verify
from amqbroker.core.broker import Broker
from amqbroker.management import parameters, policies, users, vhosts
from amqbroker.management.definitions_file import SECTIONS, counted, head, items
from amqbroker.management.definitions_import import DefinitionsImport
from tests.core.house import House, core


def document_of(broker: Broker) -> dict[str, list[dict[str, object]]]:
    """A whole file."""
    document: dict[str, list[dict[str, object]]] = {name: [] for name in SECTIONS}
    for section, item in items(broker):
        document[section].append(item)
    found = json.loads(json.dumps(document))
    assert isinstance(found, dict)
    return found


def furnished() -> House:
    """A node with something of everything."""
    house = House()
    broker = core(house.node)
    vhosts.add_vhost(broker, "v", "mine", ["a"], "quorum")
    vhosts.set_vhost_limits(broker, "v", {"max-queues": 7})
    users.add_user(broker, "ann", hash_password(b"s3cret", bytes(SALT_SIZE)), ["monitoring"])
    users.add_user(broker, "bob", None)
    users.set_permissions(broker, "v", "ann", "^c", "^w", "^r")
    users.set_topic_permissions(broker, "v", "ann", "amq.topic", "^a", "^b")
    users.set_user_limits(broker, "ann", {"max-channels": 5})
    policies.set_policy(broker, "/", "p", "^q", {"max-length": 10}, 3, "queues")
    policies.set_operator_policy(broker, "v", "o", ".*", {"expires": 1000})
    parameters.set_parameter(broker, "/", "shovel", "s", {"a": [1]})
    parameters.set_global_parameter(broker, "g", "v")
    ch = house.channel()
    ch.declare_exchange("x", "topic", durable=True, arguments={"alternate-exchange": "amq.fanout"})
    ch.declare_exchange("gone", durable=False)
    ch.declare_queue("q", durable=True, arguments={"x-max-length": 5, "x-note": "é"})
    ch.declare_queue("mine", exclusive=True)
    ch.declare_queue("transient")
    ch.bind("q", "x", "a.#")
    ch.bind("q", "amq.headers", "", {"x-match": "all", "k": 1})
    ch.bind("transient", "x", "t")
    ch.bind("mine", "x", "m")
    ch.bind_exchange("x", "amq.fanout")
    return house


def test_what_is_durable_is_in_it() -> None:
    document = document_of(core(furnished().node))
    assert [queue["name"] for queue in document["queues"]] == ["q"]
    assert document["queues"][0]["arguments"] == {"x-max-length": 5, "x-note": "é"}
    assert document["exchanges"] == [
        {
            "name": "x",
            "vhost": "/",
            "type": "topic",
            "durable": True,
            "auto_delete": False,
            "internal": False,
            "arguments": {"alternate-exchange": "amq.fanout"},
        }
    ]
    bindings = [
        (each["source"], each["destination_type"], each["destination"], each["routing_key"])
        for each in document["bindings"]
    ]
    assert bindings == [
        ("amq.fanout", "exchange", "x", ""),
        ("amq.headers", "queue", "q", ""),
        ("x", "queue", "q", "a.#"),
    ]
    assert {
        "vhost": "v",
        "component": "vhost-limits",
        "name": "limits",
        "value": {"max-queues": 7},
    } in document["parameters"]
    components = {str(each["component"]) for each in document["parameters"]}
    assert components == {"vhost-limits", "operator_policy", "shovel"}
    assert [policy["name"] for policy in document["policies"]] == ["p"]


def test_a_hash_that_rabbitmq_does_not_know_is_apart() -> None:
    document = document_of(core(furnished().node))
    by_name = {str(user["name"]): user for user in document["users"]}
    ann, bob, guest = by_name["ann"], by_name["bob"], by_name["guest"]
    assert (ann["password_hash"], ann["hashing_algorithm"]) == (
        "",
        "rabbit_password_hashing_sha256",
    )
    assert str(ann["amqbroker_password_hash"]).startswith("$argon2id$")
    assert ann["limits"] == {"max-channels": 5}
    assert bob["password_hash"] == ""
    assert "amqbroker_password_hash" not in bob
    assert verify(str(guest["password_hash"]), b"guest")


def test_the_head_names_the_version_that_rabbitmq_goes_by() -> None:
    assert head(core(House().node), "1.2") == {
        "rabbit_version": "3.13.7",
        "rabbitmq_version": "3.13.7",
        "product_name": "amqbroker",
        "product_version": "1.2",
    }


def test_what_was_exported_makes_the_same_broker() -> None:
    document = document_of(core(furnished().node))
    house = House()
    broker = core(house.node)
    work = DefinitionsImport(broker, {**head(broker, "1"), **document})
    assert list(work.check())
    assert work.problems == []
    list(work.apply())
    house.run()
    assert work.failures == []
    assert document_of(broker) == document
    house.restart(clean=False)
    after = document_of(core(house.node))
    # The users of the configuration have other salts after each start.
    for name in ("users", "permissions"):
        assert len(after[name]) == len(document[name])
        after[name] = document[name]
    assert after == document


def test_counts_for_people() -> None:
    assert counted({"users": 2, "policies": 1, "queues": 1, "vhosts": 0}) == (
        "2 users, 1 policy, 1 queue"
    )
    assert counted({"policies": 3, "global_parameters": 1}) == "3 policies, 1 global_parameter"
