"""Import of definitions: RabbitMQ's, or ours, which have its form.

The whole document is checked before anything is changed, with the path of each mistake in the JSON
(`queues[3].arguments.x-max-length`). What this broker cannot honour is no mistake: it is left out,
or kept without effect, and named. What is there already is brought to what the document says if it
is a user, a virtual host or a rule; a queue or an exchange stays as it is.

Check and import are iterators, so that whoever runs them can do so a piece at a time:

    work = DefinitionsImport(broker, document)
    for _ in work.check(): ...
    if not work.problems:
        for position in work.apply(): ...

Source: RabbitMQ's `rabbit_definitions:apply_defs`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Final, final

from amqbroker.auth.passwords import (
    RABBIT_PREFIX,
    hashing_algorithm,
    rabbit_hash,
)
from amqbroker.auth.permissions import Permissions, TopicPermission
from amqbroker.auth.users import NO_LIMIT
from amqbroker.config.hashes import check_hash, is_argon2
from amqbroker.core.arguments import (
    CLASSIC,
    CLASSIC_ARGUMENTS,
    KNOWN_ARGUMENTS,
    QUORUM,
    QUORUM_ARGUMENTS,
    check_queue_arguments,
    queue_type,
    reason_against,
)
from amqbroker.core.broker import Broker
from amqbroker.core.names import exchange_resource, queue_resource
from amqbroker.core.partitions import PARTITION_OF, make_partitions, partition_names
from amqbroker.core.policies import MIRRORING, Policy
from amqbroker.errors import AmqpError
from amqbroker.exchanges.base import EXCHANGE, QUEUE, Binding, Destination, Exchange, Table
from amqbroker.exchanges.registry import DEFAULT_EXCHANGE, EXCHANGE_TYPES, make_exchange
from amqbroker.management import parameters, policies, users, vhosts
from amqbroker.management.definitions_file import (
    OPERATOR_POLICY,
    OWN_HASH,
    PREDECLARED_NAMES,
    SECTIONS,
    VHOST_LIMITS,
)
from amqbroker.management.errors import ManagementError
from amqbroker.management.limits import checked_limits
from amqbroker.management.policy_settings import (
    OPERATOR_SETTINGS,
    SETTINGS,
    WITHOUT_EFFECT,
    definition_error,
)
from amqbroker.management.reading import Item, Reader

PASSED_OVER: Final = (
    "rabbit_version",
    "rabbitmq_version",
    "product_name",
    "product_version",
    "rabbitmq_definition_format",
    "original_vhost_name",
    "original_cluster_name",
    "explanation",
    "metadata",
)
# By which keys the entries of a section are told apart, and what else they may have.
NAMED_BY: Final[dict[str, tuple[str, ...]]] = {
    "vhosts": ("name",),
    "users": ("name",),
    "permissions": ("user", "vhost"),
    "topic_permissions": ("user", "vhost", "exchange"),
    "parameters": ("vhost", "component", "name"),
    "global_parameters": ("name",),
    "policies": ("vhost", "name"),
    "exchanges": ("vhost", "name"),
    "queues": ("vhost", "name"),
    "bindings": ("vhost", "source", "destination", "destination_type", "routing_key", "arguments"),
}
MORE_KEYS: Final[dict[str, tuple[str, ...]]] = {
    "vhosts": ("description", "tags", "default_queue_type", "limits", "metadata"),
    "users": ("password", "password_hash", "hashing_algorithm", "tags", "limits", OWN_HASH),
    "permissions": ("configure", "write", "read"),
    "topic_permissions": ("write", "read"),
    "parameters": ("value",),
    "global_parameters": ("value",),
    "policies": ("pattern", "apply-to", "priority", "definition"),
    "exchanges": ("type", "durable", "auto_delete", "internal", "arguments"),
    "queues": ("type", "durable", "auto_delete", "arguments"),
    "bindings": (),
}
# What is there stays as it is, and so does what comes first.
STAY: Final = ("exchanges", "queues", "bindings")
# Names that clients may not give, and that RabbitMQ imports neither.
RESERVED: Final = "amq."
QUEUE_TYPES: Final = (CLASSIC, QUORUM)
NO_QUEUE_TYPE: Final = "undefined"
SALT_SIZE: Final = 4

# A change that the import makes; the journal position to wait for.
Step = Callable[[], int]


@final
class DefinitionsImport:
    """One import. `problems` are paths with what is wrong, `notes` name what is not honoured."""

    def __init__(self, broker: Broker, document: object, vhost: str = "") -> None:
        """`vhost` is that of everything which names none."""
        self.problems: list[str] = []
        self.notes: list[str] = []
        self.counts: dict[str, int] = {}
        self.failures: list[str] = []
        self._broker = broker
        self._document = document
        self._vhost = vhost
        # What there will be, so far as it was checked.
        self._vhosts = dict.fromkeys(broker.vhosts, True)
        self._users = dict.fromkeys(broker.users.users, True)
        self._exchanges: dict[tuple[str, str], Exchange] = {}
        self._queues: dict[tuple[str, str], bool] = {}
        self._partitioned: list[tuple[str, str, Exchange]] = []
        # How many queues come, by virtual host, and which of these get limits.
        self._added: dict[str, int] = {}
        self._limited: dict[str, bool] = {}
        # What was left out, so that its bindings are left out too.
        self._left_out: dict[tuple[int, str, str], bool] = {}
        self._steps: list[tuple[str, Step]] = []
        # Every entry by its section and what names it, with its path.
        self._entries: dict[tuple[str, ...], tuple[str, Item]] = {}
        self._checks: dict[str, Callable[[Reader], None]] = {
            "vhosts": self._check_vhost,
            "users": self._check_user,
            "permissions": self._check_permissions,
            "topic_permissions": self._check_topic_permissions,
            "parameters": self._check_parameter,
            "global_parameters": self._check_global_parameter,
            "policies": self._check_policy,
            "exchanges": self._check_exchange,
            "queues": self._check_queue,
            "bindings": self._check_binding,
        }

    def check(self) -> Iterator[None]:
        """Look at every entry; fills `problems` and `notes`."""
        document = self._document
        if not isinstance(document, dict):
            self.problems.append("definitions are a JSON object with lists such as queues")
            return
        for name in document:
            if name not in SECTIONS and name not in PASSED_OVER:
                self.notes.append(f"{name}: no such definitions are known; left out")
        for section in SECTIONS:
            entries = document.get(section, [])
            if not isinstance(entries, list):
                self.problems.append(f"{section}: a list is needed")
                continue
            for place, entry in enumerate(entries):
                reader = Reader(entry, f"{section}[{place}]", self.problems)
                if reader.is_table:
                    self._note_unknown(section, reader)
                    if not self._is_passed_over(section, reader):
                        self._checks[section](reader)
                yield None
        for path, vhost, exchange in self._partitioned:
            there = self._broker.vhosts[vhost].queues if vhost in self._broker.vhosts else {}
            names = partition_names(exchange)
            lacking = [n for n in names if n not in there and (vhost, n) not in self._queues]
            if lacking:
                self._added[vhost] = self._added.get(vhost, 0) + len(lacking)
                self._steps.append((path, partial(self._make_partitions, vhost, exchange.name)))
        self._check_room()

    def _check_room(self) -> None:
        """No more queues than a virtual host may have, unless the document limits it anew."""
        for name, count in self._added.items():
            vhost = self._broker.vhosts.get(name)
            if vhost is None or name in self._limited or vhost.max_queues == NO_LIMIT:
                continue
            if len(vhost.queues) + count > vhost.max_queues:
                self.problems.append(
                    f"queues: adding {count} to virtual host '{name}', which has "
                    f"{len(vhost.queues)}, would exceed its limit of {vhost.max_queues}"
                )

    def apply(self) -> Iterator[int]:
        """Make every change; the journal positions to wait for. What fails all the same, as the
        broker changed meanwhile, is in `failures`."""
        assert not self.problems, self.problems
        for path, step in self._steps:
            position = 0
            try:
                position = step()
            except ManagementError as error:
                self.failures.append(f"{path}: {error.text}")
            except AmqpError as error:
                self.failures.append(f"{path}: {error.explanation}")
            else:
                section = path.partition("[")[0]
                self.counts[section] = self.counts.get(section, 0) + 1
            yield position

    def _will(self, reader: Reader, step: Step) -> None:
        self._steps.append((reader.path, step))

    def _note(self, reader: Reader, text: str) -> None:
        self.notes.append(f"{reader.path}: {text}")

    def _note_unknown(self, section: str, reader: Reader) -> None:
        """A key that is not known is one that has no effect, or one that is spelt wrong."""
        known = NAMED_BY[section] + MORE_KEYS[section]
        for key in reader.item:
            if key not in known:
                self._note(reader, f"{key} is not known; left out")

    def _is_passed_over(self, section: str, reader: Reader) -> bool:
        """Whether an entry of this name came before, and counts."""
        values = [reader.item.get(key, self._vhost) for key in NAMED_BY[section]]
        path, first = self._entries.setdefault(
            (section, *map(repr, values)), (reader.path, reader.item)
        )
        if path == reader.path:
            return False
        stays = section in STAY
        if first != reader.item:
            which = "the first" if stays else "the last"
            self._note(reader, f"has the name of {path}, and differs; {which} counts")
        return stays

    # Virtual hosts.

    def _check_vhost(self, reader: Reader) -> None:
        name = reader.text("name")
        metadata = reader.table("metadata", {})
        for key in ("description", "tags", "default_queue_type"):
            if key not in reader.item and key in metadata:
                reader.item[key] = metadata[key]
        description = reader.text("description", "")
        tags = reader.words("tags")
        kind = reader.text("default_queue_type", NO_QUEUE_TYPE)
        if kind not in (*QUEUE_TYPES, NO_QUEUE_TYPE):
            self._note(
                reader, f"default queue type '{kind}' is not known here; classic in its place"
            )
            kind = CLASSIC
        limits = reader.pairs("limits")
        self._check_limits(reader, "limits", limits, vhosts.LIMITS)
        self._vhosts[name] = True
        note = vhosts.note(self._broker, name)
        if note:
            self._note(reader, note)
        # A virtual host that is there keeps the type that the document says nothing about.
        asked = None if kind == NO_QUEUE_TYPE else kind
        self._will(reader, partial(vhosts.add_vhost, self._broker, name, description, tags, asked))
        if limits:
            self._limited[name] = True
            self._will(reader, partial(vhosts.set_vhost_limits, self._broker, name, limits))

    def _check_limits(self, reader: Reader, key: str, limits: Item, known: tuple[str, ...]) -> None:
        try:
            checked_limits(key, limits, known)
        except ManagementError as error:
            reader.wrong(key, error.text)

    # Users.

    def _check_user(self, reader: Reader) -> None:
        name = reader.text("name")
        stored = self._password_hash(reader)
        tags = reader.words("tags")
        limits = reader.pairs("limits")
        self._check_limits(reader, "limits", limits, users.LIMITS)
        self._users[name] = True
        note = users.note(self._broker, name)
        if note:
            self._note(reader, note)
        self._will(reader, partial(_put_user, self._broker, name, stored, tags, limits))

    def _password_hash(self, reader: Reader) -> str | None:
        """The hash as it is stored; None if no password lets the user in."""
        if OWN_HASH in reader.item:
            stored = reader.text(OWN_HASH)
            if not is_argon2(stored):
                reader.wrong(OWN_HASH, "no hash that starts with $argon2id$")
                return None
            return self._checked_hash(reader, OWN_HASH, stored)
        password = reader.text("password", "")
        if password and reader.item.get("password_hash"):
            reader.wrong("password", "there is a password_hash as well")
        if password:
            # It stood in a file to be read: there is nothing to hide by a slow hash.
            return rabbit_hash(password.encode(), self._broker.random.randbytes(SALT_SIZE))
        stored = reader.text("password_hash", "")
        if not stored:
            return None
        return self._checked_hash(reader, "password_hash", stored)

    def _checked_hash(self, reader: Reader, key: str, stored: str) -> str | None:
        try:
            check_hash(stored)
        except ValueError as error:
            reader.wrong(key, str(error))
            return None
        algorithm = reader.text("hashing_algorithm", "")
        found = hashing_algorithm(stored)
        if key != OWN_HASH and algorithm and algorithm != found:
            known = algorithm.startswith(RABBIT_PREFIX)
            what = f"the hash is of {found}" if known else "no hashing algorithm that is known here"
            reader.wrong("hashing_algorithm", f"{what}, not {algorithm}" if known else what)
        return stored

    def _check_permissions(self, reader: Reader) -> None:
        user, vhost = self._user(reader), self._vhost_of(reader)
        patterns = [reader.text(key) for key in ("configure", "write", "read")]
        try:
            Permissions(*patterns)
        except ValueError as error:
            reader.wrong("", str(error))
        self._will(reader, partial(users.set_permissions, self._broker, vhost, user, *patterns))

    def _check_topic_permissions(self, reader: Reader) -> None:
        user, vhost = self._user(reader), self._vhost_of(reader)
        exchange, write, read = (reader.text(key) for key in ("exchange", "write", "read"))
        try:
            TopicPermission(write, read, user, vhost)
        except ValueError as error:
            reader.wrong("", str(error))
        self._will(
            reader,
            partial(users.set_topic_permissions, self._broker, vhost, user, exchange, write, read),
        )

    def _user(self, reader: Reader) -> str:
        name = reader.text("user")
        if name and name not in self._users:
            reader.wrong("user", f"there is no user '{name}'")
        return name

    def _vhost_of(self, reader: Reader) -> str:
        name = reader.text("vhost", self._vhost or None)
        if name and name not in self._vhosts:
            reader.wrong("vhost", f"there is no virtual host '{name}'")
        return name

    # Rules.

    def _check_parameter(self, reader: Reader) -> None:
        vhost, component = self._vhost_of(reader), reader.text("component")
        name = reader.text("name")
        if component == OPERATOR_POLICY:
            inner = Reader(reader.item.get("value"), f"{reader.path}.value", self.problems)
            if inner.is_table:
                inner.item["name"] = name
                self._check_rule(inner, reader, vhost, True)
        elif component == VHOST_LIMITS:
            limits = reader.pairs("value")
            self._limited[vhost] = True
            self._check_limits(reader, "value", limits, vhosts.LIMITS)
            self._will(reader, partial(vhosts.set_vhost_limits, self._broker, vhost, limits))
        elif component in parameters.COMPONENTS:
            value = reader.value("value")
            self._note(reader, f"{component} '{name}' is kept and has no effect")
            self._will(
                reader,
                partial(parameters.set_parameter, self._broker, vhost, component, name, value),
            )
        else:
            self._note(reader, f"component '{component}' is not known; '{name}' is left out")

    def _check_global_parameter(self, reader: Reader) -> None:
        name, value = reader.text("name"), reader.value("value")
        self._will(reader, partial(parameters.set_global_parameter, self._broker, name, value))

    def _check_policy(self, reader: Reader) -> None:
        self._check_rule(reader, reader, self._vhost_of(reader), False)

    def _check_rule(self, reader: Reader, whole: Reader, vhost: str, operator: bool) -> None:
        name, pattern = reader.text("name"), reader.text("pattern")
        definition = dict(reader.pairs("definition"))
        priority = reader.number("priority", 0)
        apply_to = reader.text("apply-to", "all")
        known = OPERATOR_SETTINGS if operator else (*SETTINGS, *MIRRORING)
        for key in [key for key in definition if key not in known]:
            self._note(reader, f"{key} of policy '{name}' is not known; left out")
            del definition[key]
            if not definition:
                return
        error = definition_error(definition, operator)
        if error:
            reader.wrong("definition", error)
        try:
            Policy(name, pattern, apply_to, priority, dict(definition))
        except ValueError as wrong:
            reader.wrong("pattern", f"not a regular expression: {wrong}")
        for key in definition:
            if key in WITHOUT_EFFECT:
                self._note(reader, f"{key} of policy '{name}' has no effect")
        setter = policies.set_operator_policy if operator else policies.set_policy
        arguments = (vhost, name, pattern, definition, priority, apply_to)
        self._will(whole, partial(setter, self._broker, *arguments))

    # Exchanges, queues, bindings.

    def _check_exchange(self, reader: Reader) -> None:
        vhost, name, kind = self._vhost_of(reader), reader.text("name", ""), reader.text("type")
        durable, auto_delete = reader.flag("durable", True), reader.flag("auto_delete", False)
        internal, arguments = reader.flag("internal", False), reader.field_table("arguments")
        if name in PREDECLARED_NAMES:
            return
        if name.startswith(RESERVED):
            self._leave_out(reader, EXCHANGE, vhost, name)
            return
        if kind not in EXCHANGE_TYPES:
            self._left_out[(EXCHANGE, vhost, name)] = True
            what = f"{exchange_resource(name, vhost)} has the type '{kind}', which is not known"
            self._note(reader, f"{what}; left out, with its bindings")
            return
        alternate = arguments.get("alternate-exchange", "")
        if not isinstance(alternate, str):
            reader.wrong("arguments.alternate-exchange", "a text is needed")
        try:
            made = make_exchange(name, kind, durable, auto_delete, internal, arguments)
            check_queue_arguments(exchange_resource(name, vhost), made.partition_arguments)
        except AmqpError as error:
            reader.wrong("arguments", error.explanation)
            return
        self._exchanges[(vhost, name)] = made
        there = self._exchange_there(vhost, name)
        if there is not None:
            if not _alike(there, made):
                what = f"{exchange_resource(name, vhost)} is there already and differs"
                self._note(reader, f"{what}; it stays as it is")
            return
        self._will(reader, partial(self._add_exchange, vhost, made))
        if made.partitions:
            place = f"partitions[{len(self._partitioned)}]"
            self._partitioned.append((place, vhost, made))

    def _leave_out(self, reader: Reader, kind: int, vhost: str, name: str) -> None:
        """A name that only a broker gives: whoever wants it makes it anew."""
        self._left_out[(kind, vhost, name)] = True
        self._note(reader, f"names that begin with {RESERVED} are the broker's own; left out")

    def _exchange_there(self, vhost: str, name: str) -> Exchange | None:
        found = self._broker.vhosts.get(vhost)
        return None if found is None else found.exchanges.get(name)

    def _add_exchange(self, vhost: str, exchange: Exchange) -> int:
        found = self._broker.vhosts[vhost]
        return 0 if exchange.name in found.exchanges else found.add_exchange(exchange)

    def _make_partitions(self, vhost: str, name: str) -> int:
        """The queues of a partitioned exchange that the document does not name."""
        found = self._broker.vhosts[vhost]
        return make_partitions(self._broker, found, found.exchange(name))

    def _check_queue(self, reader: Reader) -> None:
        vhost, name = self._vhost_of(reader), reader.text("name")
        durable, auto_delete = reader.flag("durable", True), reader.flag("auto_delete", False)
        arguments = reader.field_table("arguments")
        if "type" in reader.item and "x-queue-type" not in arguments:
            kind = reader.text("type")
            if kind != CLASSIC:
                arguments["x-queue-type"] = kind
        resource = queue_resource(name, vhost)
        if name.startswith(RESERVED):
            self._leave_out(reader, QUEUE, vhost, name)
            return
        if isinstance(arguments.get("x-queue-type", ""), str):
            kind = queue_type(arguments)
            if kind not in QUEUE_TYPES:
                self._left_out[(QUEUE, vhost, name)] = True
                what = f"{resource} has the type '{kind}', which is not known"
                self._note(reader, f"{what}; left out, with its bindings")
                return
        self._check_queue_arguments(reader, resource, durable, auto_delete, arguments)
        self._queues[(vhost, name)] = durable
        found = self._broker.vhosts.get(vhost)
        there = None if found is None else found.queues.get(name)
        if there is not None:
            if (there.durable, there.auto_delete, there.arguments) != (
                durable,
                auto_delete,
                arguments,
            ):
                self._note(reader, f"{resource} is there already and differs; it stays as it is")
            return
        self._added[vhost] = self._added.get(vhost, 0) + 1
        self._will(reader, partial(self._add_queue, vhost, name, durable, auto_delete, arguments))

    def _check_queue_arguments(
        self, reader: Reader, resource: str, durable: bool, auto_delete: bool, arguments: Table
    ) -> None:
        kind = queue_type(arguments)
        accepted = QUORUM_ARGUMENTS if kind == QUORUM else CLASSIC_ARGUMENTS
        for key, value in arguments.items():
            reason = reason_against(key, value, arguments)
            if reason:
                reader.wrong(f"arguments.{key}", reason)
            elif key in KNOWN_ARGUMENTS and key not in accepted:
                reader.wrong(f"arguments.{key}", f"not for queues of type {kind}")
            elif key.startswith("x-") and key not in (PARTITION_OF, *KNOWN_ARGUMENTS):
                self._note(reader, f"argument {key} of {resource} is kept and has no effect")
        exchange = arguments.get("x-dead-letter-exchange", "")
        if not isinstance(exchange, str):
            reader.wrong("arguments.x-dead-letter-exchange", "a text is needed")
        if kind == QUORUM and (not durable or auto_delete):
            reader.wrong("", "a quorum queue is durable and not auto_delete")

    def _add_queue(
        self, vhost: str, name: str, durable: bool, auto_delete: bool, arguments: Table
    ) -> int:
        found = self._broker.vhosts[vhost]
        if name in found.queues:
            return 0
        return self._broker.create_queue(found, name, durable, auto_delete, None, arguments)[1]

    def _check_binding(self, reader: Reader) -> None:
        vhost, source = self._vhost_of(reader), reader.text("source", "")
        name, key = reader.text("destination"), reader.text("routing_key", "")
        kind = {"queue": QUEUE, "exchange": EXCHANGE}.get(reader.text("destination_type"))
        arguments = reader.field_table("arguments")
        if kind is None:
            reader.wrong("destination_type", "queue or exchange is needed")
            return
        if source == DEFAULT_EXCHANGE:
            return
        if (EXCHANGE, vhost, source) in self._left_out or (kind, vhost, name) in self._left_out:
            return
        exchange = self._find_exchange(vhost, source)
        if exchange is None or not self._is_there(kind, vhost, name):
            # RabbitMQ exports bindings of internal exchanges, but not those exchanges.
            resource = (
                queue_resource(name, vhost) if kind == QUEUE else exchange_resource(name, vhost)
            )
            lacking = exchange_resource(source, vhost) if exchange is None else resource
            self._note(reader, f"there is no {lacking}; left out")
            return
        try:
            exchange.check_binding(key, arguments)
        except AmqpError as error:
            reader.wrong("arguments", error.explanation)
        binding = Binding(Destination(kind, name), key, arguments)
        self._will(reader, partial(self._bind, vhost, source, binding))

    def _find_exchange(self, vhost: str, name: str) -> Exchange | None:
        """What is there, or will be; a virtual host to be made has its own from the start."""
        found = self._exchange_there(vhost, name) or self._exchanges.get((vhost, name))
        if found is None and name in PREDECLARED_NAMES and vhost in self._vhosts:
            for known in self._broker.vhosts.values():
                return known.exchanges[name]
        return found

    def _is_there(self, kind: int, vhost: str, name: str) -> bool:
        if kind == EXCHANGE:
            return self._find_exchange(vhost, name) is not None
        found = self._broker.vhosts.get(vhost)
        return (vhost, name) in self._queues or (found is not None and name in found.queues)

    def _bind(self, vhost: str, source: str, binding: Binding) -> int:
        found = self._broker.vhosts[vhost]
        if binding.destination.kind == QUEUE:
            found.queue(binding.destination.name)
        else:
            found.exchange(binding.destination.name)
        return found.bind(found.exchange(source), binding)


def _put_user(broker: Broker, name: str, stored: str | None, tags: list[str], limits: Item) -> int:
    """Add a user, or make the one of this name what it should be."""
    if broker.users.get(name) is None:
        position = users.add_user(broker, name, stored, tags)
    else:
        if stored is None:
            users.clear_password(broker, name)
        else:
            users.change_password(broker, name, stored)
        position = users.set_user_tags(broker, name, tags)
    if limits:
        position = users.set_user_limits(broker, name, limits)
    return position


def _alike(left: Exchange, right: Exchange) -> bool:
    return (
        left.type_name == right.type_name
        and left.durable == right.durable
        and left.auto_delete == right.auto_delete
        and left.internal == right.internal
        and left.arguments == right.arguments
    )
