"""`python -m interop.definitions`: definitions out of RabbitMQ into amqbroker, and the other way.

RabbitMQ and amqbroker are started beside each other. What rabbitmqctl exports, amqbroker imports:
it must have every user, virtual host, permission, policy, parameter, queue, exchange and binding
then, and the users must log in with their old passwords. What amqbroker exports, with what was made
there, RabbitMQ imports, and must have all of it as well.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import pika

from interop import broker
from interop.beside import brokers
from interop.beside.definitions import USERS
from interop.clients.python.address import Address

Document = dict[str, list[dict[str, Any]]]

# What names an entry of a section, and what of it both must say alike.
SECTIONS: Final = {
    "vhosts": (),
    "users": ("tags", "limits"),
    "permissions": ("configure", "write", "read"),
    "topic_permissions": ("write", "read"),
    "parameters": ("value",),
    "policies": ("pattern", "apply-to", "definition", "priority"),
    "queues": ("durable", "auto_delete", "arguments"),
    # RabbitMQ exports no internal exchange, and so does not say of others that they are not.
    "exchanges": ("type", "durable", "auto_delete", "arguments"),
    "bindings": ("arguments",),
}
NAMES: Final = (
    *("vhost", "name", "user", "component", "source", "destination_type", "destination"),
    *("exchange", "routing_key"),
)
QUEUES: Final = 40
PASSWORD: Final = "only here"


def main() -> int:
    """Exit code 0 if both took over all of the other; 1 if not."""
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    problems: list[str] = []
    with (
        TemporaryDirectory(prefix="definitions-") as folder,
        brokers.rabbitmq() as reference,
        broker.started() as ours,
    ):
        assert reference.controls is not None
        address = Address.parse(ours.uri)
        theirs, back = Path(folder, "theirs.json"), Path(folder, "ours.json")
        furnish(reference.address, "/")
        set_rules(reference.controls.control)
        reference.controls.control("export_definitions", str(theirs))
        print(ours.control("import_definitions", str(theirs)), end="")
        ours.control("export_definitions", str(back))
        problems += missing("amqbroker", read(theirs), read(back))
        problems += refused("amqbroker", address, [*USERS, "ann"])

        ours.control("add_vhost", "ours")
        ours.control("set_permissions", "-p", "ours", "guest", ".*", ".*", ".*")
        furnish(address, "ours")
        ours.control("set_policy", "-p", "ours", "p", "^q", '{"max-length": 7}', "--priority", "2")
        ours.control("set_operator_policy", "-p", "ours", "o", "^q", '{"expires": 60000}')
        ours.control("set_vhost_limits", "-p", "ours", '{"max-queues": 1000}')
        ours.control("add_user", "own", PASSWORD)
        ours.control("set_user_tags", "own", "monitoring")
        ours.control("export_definitions", str(back))
        reference.controls.control("import_definitions", str(back))
        reference.controls.control("export_definitions", str(theirs))
        problems += missing("RabbitMQ", read(back), read(theirs))
        problems += refused("RabbitMQ", reference.address, [*USERS, "ann"])
        # RabbitMQ does not know how amqbroker hashes a password that was set there.
        if may_log_in(reference.address, "own", PASSWORD):
            problems.append("RabbitMQ: own has a password that it cannot have")
    for problem in problems:
        print(problem)
    print(f"definitions: {len(problems) or 'no'} difference{'' if len(problems) == 1 else 's'}")
    return 1 if problems else 0


def set_rules(control: Any) -> None:
    """What a client cannot make."""
    control("add_user", "ann", "ann")
    control("set_permissions", "ann", "^q", ".*", "")
    control("set_topic_permissions", "ann", "amq.topic", "^a", "^b")
    control("set_user_limits", "ann", '{"max-connections": 100}')
    control("set_operator_policy", "few", "^q-1", '{"max-length": 1000}', "--priority", "1")
    control("set_vhost_limits", '{"max-queues": 5000}')


def furnish(address: Address, vhost: str) -> None:
    """A hundred and more exchanges, queues and bindings."""
    parameters = pika.URLParameters(
        Address(address.host, address.port, "guest", "guest", vhost).uri()
    )
    with pika.BlockingConnection(parameters) as connection:
        channel = connection.channel()
        for number, kind in enumerate(("direct", "fanout", "topic", "headers")):
            channel.exchange_declare(
                f"x-{kind}",
                kind,
                durable=True,
                auto_delete=kind == "fanout",
                arguments={"alternate-exchange": "amq.fanout"} if number else None,
            )
            channel.exchange_bind(f"x-{kind}", "amq.direct", f"to.{kind}")
        for number in range(QUEUES):
            name = f"q-{number}é"
            arguments = dict(list(ARGUMENTS.items())[: number % (len(ARGUMENTS) + 1)])
            channel.queue_declare(name, durable=True, arguments=arguments)
            channel.queue_bind(name, "x-topic", f"a.{number}.#")
            channel.queue_bind(name, "x-headers", "", {"x-match": "any", "number": number})
        channel.queue_declare("strong", durable=True, arguments={"x-queue-type": "quorum"})


ARGUMENTS: Final = {
    "x-max-length": 1000,
    "x-message-ttl": 60_000_000,
    "x-dead-letter-exchange": "x-fanout",
    "x-dead-letter-routing-key": "dead",
    "x-overflow": "reject-publish",
    "x-max-priority": 3,
    "x-single-active-consumer": True,
}


def read(file: Path) -> Document:
    """A file of definitions."""
    document: Document = json.loads(file.read_text())
    return document


def missing(name: str, exported: Document, found: Document) -> list[str]:
    """What this broker has not, or not as it was exported."""
    problems: list[str] = []
    there = dict(entries(found))
    for key, value in entries(exported):
        if key not in there:
            problems.append(f"{name} lacks {key}")
        elif there[key] != value:
            problems.append(f"{name} has {key} as {there[key]}, not as {value}")
    return problems


def entries(document: Document) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every entry, by what names it, with what both must say alike."""
    for section, compared in SECTIONS.items():
        for entry in document[section]:
            names = {key: entry[key] for key in NAMES if key in entry and key not in compared}
            values = {key: plain(entry.get(key)) for key in compared}
            if section == "users" and entry.get("amqbroker_password_hash") is None:
                values["password_hash"] = entry["password_hash"]
            elif section == "users":
                values["password_hash"] = ""
            yield f"{section} {names}", values


def plain(value: Any) -> Any:
    """RabbitMQ exports some objects as lists of pairs, and some values in two forms."""
    if isinstance(value, list) and value and all(isinstance(item, list) for item in value):
        value = dict(value)
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return value


def refused(name: str, address: Address, users: list[str]) -> list[str]:
    """Whom this broker does not let in; a user's password is the user's name."""
    return [
        f"{name} refuses {user}'s password" for user in users if not may_log_in(address, user, user)
    ]


def may_log_in(address: Address, user: str, password: str) -> bool:
    """Whether this is the password; a user whom no virtual host lets in may have one too."""
    uri = Address(address.host, address.port, user, password, "/").uri()
    try:
        pika.BlockingConnection(pika.URLParameters(uri)).close()
    except pika.exceptions.ProbableAuthenticationError:
        return False
    except pika.exceptions.ProbableAccessDeniedError:
        return True
    return True


if __name__ == "__main__":
    sys.exit(main())
