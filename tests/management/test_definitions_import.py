"""Import of definitions: what is accepted, what is refused and where, what is named."""

from __future__ import annotations

import pytest

from amqbroker.auth.passwords import verify
from amqbroker.management import vhosts
from amqbroker.management.definitions_import import DefinitionsImport
from tests.core.house import House, core


def check(house: House, document: object, vhost: str = "") -> DefinitionsImport:
    """A document that was looked at."""
    work = DefinitionsImport(core(house.node), document, vhost)
    for _ in work.check():
        pass
    return work


def done(house: House, document: object, vhost: str = "") -> DefinitionsImport:
    """A document without mistakes that was imported."""
    work = check(house, document, vhost)
    assert work.problems == []
    for _ in work.apply():
        pass
    house.run()
    return work


# As `rabbitmqctl export_definitions` of RabbitMQ 3.10 writes it.
RABBITMQ: dict[str, object] = {
    "rabbit_version": "3.10.8",
    "users": [
        {
            "name": "ann",
            "password_hash": "kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR",
            "hashing_algorithm": "rabbit_password_hashing_sha256",
            "tags": ["administrator"],
            "limits": {"max-connections": 5},
        },
        {"name": "old", "password_hash": "", "tags": "monitoring, policymaker"},
    ],
    "vhosts": [
        {
            "name": "v",
            "limits": [["max-queues", 7]],
            "metadata": {"description": "", "tags": ""},
        }
    ],
    "permissions": [{"user": "ann", "vhost": "v", "configure": ".*", "write": ".*", "read": ".*"}],
    "topic_permissions": [
        {"user": "ann", "vhost": "v", "exchange": "amq.topic", "write": "^a", "read": "^b"}
    ],
    "parameters": [
        {
            "component": "operator_policy",
            "name": "o",
            "vhost": "v",
            "value": {
                "apply-to": "all",
                "definition": [["max-length", 3]],
                "pattern": "^q",
                "priority": 0,
            },
        },
        {"component": "vhost-limits", "name": "limits", "vhost": "v", "value": {"max-queues": 8}},
    ],
    "global_parameters": [{"name": "cluster_name", "value": "rabbit@here"}],
    "policies": [
        {
            "vhost": "v",
            "name": "p",
            "pattern": "^q",
            "apply-to": "queues",
            "definition": {"max-length": 5},
            "priority": 1,
        }
    ],
    "exchanges": [
        {
            "name": "x",
            "vhost": "v",
            "type": "direct",
            "durable": True,
            "auto_delete": False,
            "internal": False,
            "arguments": {},
        }
    ],
    "queues": [
        {"name": "q", "vhost": "v", "durable": True, "auto_delete": False, "arguments": {}},
        {
            "name": "strong",
            "vhost": "v",
            "durable": True,
            "auto_delete": False,
            "type": "quorum",
            "arguments": {},
        },
    ],
    "bindings": [
        {
            "source": "x",
            "vhost": "v",
            "destination": "q",
            "destination_type": "queue",
            "routing_key": "k",
            "arguments": {},
        },
        {
            "source": "amq.fanout",
            "vhost": "v",
            "destination": "x",
            "destination_type": "exchange",
            "routing_key": "",
            "arguments": {},
        },
    ],
}


def test_a_file_of_rabbitmqs() -> None:
    house = House()
    work = done(house, RABBITMQ)
    assert work.notes == []
    assert work.failures == []
    broker = core(house.node)
    ann = broker.users.get("ann")
    assert ann is not None
    assert verify(ann.password_hash, b"test12")
    assert (ann.tags, ann.max_connections) == (("administrator",), 5)
    old = broker.users.get("old")
    assert old is not None
    assert (old.password_hash, old.tags) == (None, ("monitoring", "policymaker"))
    vhost = broker.vhosts["v"]
    assert vhost.max_queues == 8
    assert vhost.queues["q"].rules.max_length == 3
    assert vhost.queues["strong"].arguments == {"x-queue-type": "quorum"}
    assert vhost.bindings_to(vhost.exchanges["x"].bindings()[0].destination)[0][0] == "x"
    assert work.counts["queues"] == 2
    house.restart(clean=False)
    assert list(core(house.node).vhosts["v"].queues) == ["q", "strong"]
    again = done(house, RABBITMQ)
    assert again.notes == []
    assert "queues" not in again.counts


WRONG: list[tuple[dict[str, object], str]] = [
    ({"queues": {}}, "queues: a list is needed"),
    ({"queues": [7]}, "queues[0]: an object is needed"),
    ({"vhosts": [{}]}, "vhosts[0].name: is missing"),
    (
        {"vhosts": [{"name": "v", "limits": {"max-queues": "x"}}]},
        "vhosts[0].limits: max-queues should be a number, actually was 'x'",
    ),
    (
        {"users": [{"name": "u", "password_hash": "x"}]},
        "users[0].password_hash: no password hash: RabbitMQ's (base64 of 20, 36 or 68 bytes) "
        "or $argon2id$... is needed",
    ),
    (
        {
            "users": [
                {
                    "name": "u",
                    "password_hash": "kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR",
                    "hashing_algorithm": "rabbit_password_hashing_md5",
                }
            ]
        },
        "users[0].hashing_algorithm: the hash is of rabbit_password_hashing_sha256, not "
        "rabbit_password_hashing_md5",
    ),
    (
        {"permissions": [{"user": "x", "vhost": "/", "configure": "", "write": "", "read": ""}]},
        "permissions[0].user: there is no user 'x'",
    ),
    (
        {
            "permissions": [
                {"user": "guest", "vhost": "/", "configure": "(", "write": "", "read": ""}
            ]
        },
        "permissions[0]: bad permission pattern",
    ),
    (
        {
            "topic_permissions": [
                {"user": "guest", "vhost": "x", "exchange": "", "write": "", "read": ""}
            ]
        },
        "topic_permissions[0].vhost: there is no virtual host 'x'",
    ),
    (
        {
            "policies": [
                {"vhost": "/", "name": "p", "pattern": "(", "definition": {"max-length": "x"}}
            ]
        },
        "policies[0].pattern: not a regular expression",
    ),
    (
        {
            "parameters": [
                {
                    "vhost": "/",
                    "component": "operator_policy",
                    "name": "o",
                    "value": {"pattern": "", "definition": {"max-length": "x"}},
                }
            ]
        },
        "parameters[0].value.definition: ",
    ),
    (
        {"users": [{"name": "u", "password": "p", "password_hash": "h"}]},
        "users[0].password: there is a password_hash as well",
    ),
    ({"exchanges": [{"name": "x", "vhost": "/"}]}, "exchanges[0].type: is missing"),
    (
        {
            "exchanges": [
                {
                    "name": "x",
                    "vhost": "/",
                    "type": "direct",
                    "arguments": {"alternate-exchange": 1},
                }
            ]
        },
        "exchanges[0].arguments.alternate-exchange: a text is needed",
    ),
    (
        {"queues": [{"name": "q", "vhost": "/", "arguments": {"x-max-length": -1}}]},
        "queues[0].arguments.x-max-length: {value_negative,-1}",
    ),
    (
        {"queues": [{"name": "q", "vhost": "/", "arguments": {"x-dead-letter-exchange": 1}}]},
        "queues[0].arguments.x-dead-letter-exchange: a text is needed",
    ),
    (
        {"queues": [{"name": "q", "vhost": "/", "durable": False, "type": "quorum"}]},
        "queues[0]: a quorum queue is durable and not auto_delete",
    ),
    (
        {
            "queues": [{"name": "q", "vhost": "/"}],
            "bindings": [
                {
                    "source": "amq.headers",
                    "vhost": "/",
                    "destination": "q",
                    "destination_type": "queue",
                    "arguments": {"x-match": "none"},
                }
            ],
        },
        "bindings[0].arguments: ",
    ),
]


@pytest.mark.parametrize(("document", "problem"), WRONG, ids=lambda value: str(value)[:40])
def test_a_mistake_is_named_with_its_path_and_nothing_is_changed(
    document: dict[str, object], problem: str
) -> None:
    house = House()
    whole = {**document, "global_parameters": [{"name": "g", "value": 1}]}
    work = check(house, whole)
    assert any(found.startswith(problem) for found in work.problems), work.problems
    assert core(house.node).global_parameters == {}


def test_no_definitions_at_all() -> None:
    assert check(House(), []).problems == [
        "definitions are a JSON object with lists such as queues"
    ]


def binding(source: str, destination: str, kind: str = "queue") -> dict[str, object]:
    """A binding of the virtual host "/"."""
    return {
        "source": source,
        "vhost": "/",
        "destination": destination,
        "destination_type": kind,
        "routing_key": "",
        "arguments": {},
    }


def test_what_cannot_be_honoured_is_named() -> None:
    house = House()
    work = done(
        house,
        {
            "exchanges": [{"name": "late", "vhost": "/", "type": "x-delayed-message"}],
            "queues": [
                {"name": "s", "vhost": "/", "arguments": {"x-queue-type": "stream"}},
                {"name": "q", "vhost": "/", "arguments": {"x-color": "red"}},
            ],
            "bindings": [
                binding("late", "q"),
                binding("amq.direct", "s"),
                binding("amq.direct", "late", "exchange"),
                binding("", "q"),
                binding("amq.direct", "q"),
                binding("hidden", "q"),
                binding("amq.direct", "hidden"),
                binding("amq.direct", "hidden", "exchange"),
            ],
            "policies": [
                {
                    "vhost": "/",
                    "name": "ha",
                    "pattern": "",
                    "definition": {"ha-mode": "all", "federation-upstream-set": "all"},
                },
                {"vhost": "/", "name": "fed", "pattern": "", "definition": {"shards-per-node": 2}},
            ],
            "parameters": [
                {"vhost": "/", "component": "shovel", "name": "s", "value": {}},
                {"vhost": "/", "component": "mqtt", "name": "m", "value": {}},
            ],
            "vhosts": [{"name": "v", "default_queue_type": "stream"}],
            "moons": [],
        },
    )
    assert work.notes == [
        "moons: no such definitions are known; left out",
        "vhosts[0]: default queue type 'stream' is not known here; classic in its place",
        "parameters[0]: shovel 's' is kept and has no effect",
        "parameters[1]: component 'mqtt' is not known; 'm' is left out",
        "policies[0]: federation-upstream-set of policy 'ha' is not known; left out",
        "policies[0]: ha-mode of policy 'ha' has no effect",
        "policies[1]: shards-per-node of policy 'fed' is not known; left out",
        "exchanges[0]: exchange 'late' in vhost '/' has the type 'x-delayed-message', which is "
        "not known; left out, with its bindings",
        "queues[0]: queue 's' in vhost '/' has the type 'stream', which is not known; left out, "
        "with its bindings",
        "queues[1]: argument x-color of queue 'q' in vhost '/' is kept and has no effect",
        "bindings[5]: there is no exchange 'hidden' in vhost '/'; left out",
        "bindings[6]: there is no queue 'hidden' in vhost '/'; left out",
        "bindings[7]: there is no exchange 'hidden' in vhost '/'; left out",
    ]
    assert work.counts["bindings"] == 1
    assert list(house.vhost().policies.by_name) == ["ha"]


def test_what_is_there_stays_or_is_brought_up_to_date() -> None:
    house = House()
    ch = house.channel()
    ch.declare_queue("q", durable=True)
    ch.declare_exchange("x", durable=True)
    work = done(
        house,
        {
            "users": [{"name": "alice", "password": "new", "tags": ["a"]}],
            "queues": [{"name": "q", "vhost": "/", "arguments": {"x-max-length": 5}}],
            "exchanges": [{"name": "x", "vhost": "/", "type": "topic"}],
        },
    )
    assert "queues[0]: queue 'q' in vhost '/' is there already and differs; it stays as it is" in (
        work.notes
    )
    assert any(note.startswith("exchanges[0]: exchange 'x'") for note in work.notes)
    assert any("named in the configuration" in note for note in work.notes)
    alice = core(house.node).users.get("alice")
    assert alice is not None
    assert verify(alice.password_hash, b"new")
    assert alice.tags == ("a",)
    assert alice.may_enter("/")


def test_a_key_that_is_not_known_is_named() -> None:
    """A default in the place of what was spelt wrong is no surprise then."""
    work = done(
        House(),
        {
            "queues": [{"name": "q", "vhost": "/", "autodelete": True}],
            "users": [{"name": "u", "permissions": {}}],
        },
    )
    assert work.notes == [
        "users[0]: permissions is not known; left out",
        "queues[0]: autodelete is not known; left out",
    ]


def test_of_two_with_one_name_which_counts_is_named() -> None:
    """The first where what is there stays as it is, else the last."""
    house = House()
    work = done(
        house,
        {
            "queues": [
                {"name": "q", "vhost": "/", "arguments": {"x-max-length": 1}},
                {"name": "q", "vhost": "other"},
                {"name": "q", "vhost": "/", "arguments": {"x-max-length": 2}},
                {"name": "q", "vhost": "/", "arguments": {"x-max-length": 1}},
            ],
            "exchanges": [
                {"name": "x", "vhost": "/", "type": "headers"},
                {"name": "x", "vhost": "/", "type": "direct"},
            ],
            "bindings": [binding("x", "q"), binding("x", "q")],
            "users": [{"name": "u", "tags": ["a"]}, {"name": "u", "tags": ["b"]}],
        },
    )
    assert work.notes == [
        "users[1]: has the name of users[0], and differs; the last counts",
        "exchanges[1]: has the name of exchanges[0], and differs; the first counts",
        "queues[2]: has the name of queues[0], and differs; the first counts",
    ]
    assert house.queue("q").arguments == {"x-max-length": 1}
    assert house.vhost().exchanges["x"].type_name == "headers"
    user = core(house.node).users.get("u")
    assert user is not None
    assert user.tags == ("b",)
    assert (work.counts["queues"], work.counts["bindings"]) == (2, 1)


def test_reserved_names_are_left_out_as_by_rabbitmq() -> None:
    """Clients cannot make them; those of queues are made up, and made up anew."""
    house = House()
    work = done(
        house,
        {
            "queues": [{"name": "amq.gen-a", "vhost": "/"}],
            "exchanges": [
                {"name": "amq.new", "vhost": "/", "type": "direct"},
                {"name": "amq.direct", "vhost": "/", "type": "topic"},
            ],
            "bindings": [binding("amq.direct", "amq.gen-a"), binding("amq.new", "amq.gen-a")],
        },
    )
    assert work.notes == [
        "exchanges[0]: names that begin with amq. are the broker's own; left out",
        "queues[0]: names that begin with amq. are the broker's own; left out",
    ]
    assert "amq.new" not in house.vhost().exchanges
    assert house.vhost().queues == {}


def test_a_virtual_host_that_is_there_keeps_its_type_of_queue() -> None:
    house = House()
    vhosts.update_vhost(core(house.node), "/", default_queue_type="quorum")
    done(house, {"vhosts": [{"name": "/"}]})
    assert house.vhost().default_queue_type == "quorum"
    done(house, {"vhosts": [{"name": "/", "metadata": {"default_queue_type": "classic"}}]})
    assert house.vhost().default_queue_type == "classic"


def test_what_stands_for_nothing() -> None:
    """null where a text has a default, and an empty list as the arguments: RabbitMQ takes both."""
    house = House()
    queue = {"name": "q", "vhost": "/", "arguments": []}
    done(house, {"vhosts": [{"name": "w", "description": None, "tags": None}], "queues": [queue]})
    assert house.queue("q").arguments == {}
    assert house.vhost("w").description == ""
    assert house.vhost("w").tags == ()


def test_no_more_queues_than_a_virtual_host_may_have() -> None:
    """As in RabbitMQ; what the document says about limits comes first."""
    house = House()
    vhosts.set_vhost_limits(core(house.node), "/", {"max-queues": 2})
    house.channel().declare_queue("a")
    queues = [{"name": name, "vhost": "/"} for name in ("a", "b", "c")]
    assert check(house, {"queues": queues}).problems == [
        "queues: adding 2 to virtual host '/', which has 1, would exceed its limit of 2"
    ]
    limits = {"vhost": "/", "component": "vhost-limits", "name": "limits"}
    done(house, {"queues": queues[:2]})
    done(house, {"queues": queues, "parameters": [{**limits, "value": {"max-queues": 3}}]})
    assert list(house.vhost().queues) == ["a", "b", "c"]


def test_partitions_count_as_queues() -> None:
    house = House()
    vhosts.set_vhost_limits(core(house.node), "/", {"max-queues": 1})
    assert check(house, _partitioned([])).problems == [
        "queues: adding 2 to virtual host '/', which has 0, would exceed its limit of 1"
    ]


def test_a_file_of_one_virtual_host() -> None:
    house = House()
    document = {"queues": [{"name": "q", "durable": True}]}
    assert check(house, document).problems == ["queues[0].vhost: is missing"]
    done(house, document, "other")
    assert list(house.vhost("other").queues) == ["q"]


def test_what_changed_meanwhile_is_a_failure_of_its_own() -> None:
    house = House()
    broker = core(house.node)
    document = {
        "queues": [{"name": "q", "vhost": "/"}],
        "policies": [
            {"vhost": "other", "name": "p", "pattern": "", "definition": {"max-length": 1}}
        ],
    }
    work = check(house, document)
    vhosts.delete_vhost(broker, "other")
    for _ in work.apply():
        pass
    assert work.failures == ["policies[0]: Virtual host 'other' does not exist"]
    assert "q" in house.vhost().queues


def _partitioned(queues: list[object], **arguments: object) -> dict[str, object]:
    exchange = {"vhost": "/", "name": "orders", "type": "x-consistent-hash"}
    table = {"x-partitions": 2, **{name.replace("_", "-"): arguments[name] for name in arguments}}
    return {"exchanges": [{**exchange, "arguments": table}], "queues": queues}


def test_a_partitioned_exchange_gets_the_queues_that_are_not_named(house: House) -> None:
    named = {"vhost": "/", "name": "orders-1", "arguments": {"x-partition-of": "orders"}}
    work = done(house, _partitioned([named]))
    assert work.notes == []
    assert work.failures == []
    assert sorted(house.vhost().queues) == ["orders-0", "orders-1"]
    exchange = house.vhost().exchanges["orders"]
    assert [each.destination.name for each in exchange.bindings()] == ["orders-0"]
    assert "partitions" in work.counts


def test_a_queue_that_has_the_name_of_a_partition_stays(house: House) -> None:
    done(house, _partitioned([{"vhost": "/", "name": "orders-1", "arguments": {}}]))
    assert "x-partition-of" not in house.queue("orders-1").arguments
    assert house.queue("orders-0").arguments["x-partition-of"] == "orders"


def test_partitions_that_cannot_be(house: House) -> None:
    work = check(house, _partitioned([], x_partition_arguments={"x-expires": 0}))
    assert work.problems == [
        "exchanges[0].arguments: invalid arg 'x-expires' for exchange 'orders' in vhost '/': "
        "{value_zero,0}"
    ]
