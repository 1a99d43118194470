"""Durable definitions and messages back into virtual hosts: what a restart finds on disk.

Queues of a virtual host that has no record of its own (older versions wrote none) bring it back.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from mypy_extensions import i64

from amqbroker.auth.permissions import Permissions, TopicPermission
from amqbroker.auth.users import User
from amqbroker.config.hashes import check_hash
from amqbroker.core import definitions, log
from amqbroker.core.broker import Broker
from amqbroker.core.dead_letters import hides
from amqbroker.core.entry import QueueEntry
from amqbroker.core.line import Line
from amqbroker.core.policies import Policy
from amqbroker.core.policy_changes import apply_all
from amqbroker.core.queue import Queue
from amqbroker.core.vhost import VirtualHost
from amqbroker.errors import DiskError
from amqbroker.exchanges.base import Table
from amqbroker.exchanges.registry import make_exchange
from amqbroker.message import Entry
from amqbroker.store.recovery import Recovered
from amqbroker.wire.tables import decode_table

# Where messages go whose queue is not known.
LOST_VHOST: Final = "lost+found"
# Who and what the rest depends on.
RULERS: Final = (definitions.VHOST_KIND, definitions.USER_KIND, definitions.NODE_KIND)


def restore(broker: Broker, recovered: Recovered) -> None:
    """Fill an empty broker.

    Virtual hosts and users first, then exchanges and queues, then the bindings between them, then
    messages. DiskError for a definition that makes no sense here.
    """
    queues: list[Queue] = []
    _restore_all(broker, recovered, _restore_ruler, queues)
    _restore_all(broker, recovered, _restore_definition, queues)
    for vhost in broker.vhosts.values():
        if vhost.policies.by_name or vhost.operator_policies.by_name:
            apply_all(broker, vhost)
    _restore_all(broker, recovered, _restore_binding, queues)
    # It has seen the ids of the files' messages and those of all definitions.
    broker.next_queue_id = max(broker.next_queue_id, broker.journal.next_queue_id)
    if recovered.problems:
        _find_lost(broker, recovered, queues)
    dropped = broker.journal.drop_unclaimed()
    if dropped:
        broker.log(log.INFO, f"{dropped} messages of queues that were deleted are left out")
    for queue in queues:
        for line in queue.lines():
            _restore_messages(
                line, recovered.messages.pop(line.id, []), recovered.next_index.get(line.id, 0)
            )


def _find_lost(broker: Broker, recovered: Recovered, queues: list[Queue]) -> None:
    """Queues whose definitions are in what is damaged: their messages go to queues of made-up names
    in a virtual host where nobody has permissions.

    A queue that was deleted was defined before: in what the snapshot covers, or by a definition
    that was found.
    """
    deleted: list[tuple[int, int]] = []
    for key, value in recovered.undone:
        if key[:1] == definitions.QUEUE_KIND:
            gone = _make_queue(broker, "", dict(decode_table(value, 0)))
            deleted.append((gone.id, gone.id + gone.ids()))
    for queue_id in sorted(broker.journal.unclaimed()):
        if queue_id < recovered.snapshot_queue_id or any(
            first <= queue_id < end for first, end in deleted
        ):
            continue
        name = f"queue-{queue_id}"
        vhost = _vhost(broker, LOST_VHOST)
        table: Table = {"id": queue_id, "auto_delete": False, "arguments": {}}
        queue = _restore_queue(broker, vhost, name, table)
        broker.journal.define(
            definitions.queue_key(LOST_VHOST, name), definitions.queue_value(queue)
        )
        queues.append(queue)
        broker.log(
            log.ERROR,
            f"the definition of a queue is lost, perhaps in what is damaged: its messages are in "
            f"queue '{name}' in vhost '{LOST_VHOST}', for which somebody needs permissions",
        )


def _restore_all(
    broker: Broker,
    recovered: Recovered,
    restore_one: Callable[[Broker, definitions.KeyReader, bytes, list[Queue]], None],
    queues: list[Queue],
) -> None:
    for key, value in recovered.definitions.items():
        try:
            restore_one(broker, definitions.KeyReader(key), value, queues)
        except Exception as error:
            # Sound by its CRC, yet of any shape: readers of keys and tables raise all sorts.
            raise DiskError(
                f"a definition in the data folder cannot be used, {key!r}: {error!r}. Another "
                "version may have written it: start that one, or restore the folder from a copy"
            ) from error


def _restore_definition(
    broker: Broker, reader: definitions.KeyReader, value: bytes, queues: list[Queue]
) -> None:
    """An exchange, a queue, a policy or a parameter."""
    if reader.kind in RULERS or reader.kind == definitions.BINDING_KIND:
        return
    table: Table = dict(decode_table(value, 0))
    if reader.kind == definitions.GLOBAL_PARAMETER_KIND:
        broker.global_parameters[reader.name()] = str(table["json"])
        return
    vhost = _vhost(broker, reader.name())
    name = reader.name()
    if reader.kind == definitions.EXCHANGE_KIND:
        _restore_exchange(vhost, name, table)
    elif reader.kind == definitions.QUEUE_KIND:
        queues.append(_restore_queue(broker, vhost, name, table))
    elif reader.kind == definitions.POLICY_KIND:
        vhost.policies.put(_restore_policy(name, table))
    elif reader.kind == definitions.OPERATOR_POLICY_KIND:
        vhost.operator_policies.put(_restore_policy(name, table))
    elif reader.kind == definitions.PARAMETER_KIND:
        vhost.parameters[(name, reader.name())] = str(table["json"])


def _restore_binding(
    broker: Broker, reader: definitions.KeyReader, value: bytes, queues: list[Queue]
) -> None:
    """A binding; the exchanges and queues are there."""
    if reader.kind == definitions.BINDING_KIND:
        vhost = _vhost(broker, reader.name())
        source, binding = definitions.read_binding(reader)
        vhost.restore_binding(source, binding)


def _restore_ruler(
    broker: Broker, reader: definitions.KeyReader, value: bytes, queues: list[Queue]
) -> None:
    """What the rest depends on: virtual hosts, users, and what the node remembers."""
    if reader.kind == definitions.VHOST_KIND:
        _restore_vhost(broker, reader.name(), dict(decode_table(value, 0)))
    elif reader.kind == definitions.USER_KIND:
        broker.users.put(_read_user(broker, reader.name(), dict(decode_table(value, 0))))
    elif reader.kind == definitions.NODE_KIND and reader.name() == definitions.DEFAULTS_MADE:
        broker.defaults_made = True


def _restore_vhost(broker: Broker, name: str, table: Table) -> None:
    vhost = VirtualHost(name, broker.journal, broker.events)
    vhost.description = str(table["description"])
    vhost.tags = _texts(table["tags"])
    vhost.default_queue_type = str(table["default_queue_type"])
    vhost.max_connections = _number(table["max_connections"])
    vhost.max_queues = _number(table["max_queues"])
    broker.vhosts[name] = vhost


def _read_user(broker: Broker, name: str, table: Table) -> User:
    stored = _password_hash(broker, name, table["password_hash"])
    permissions: dict[str, Permissions] = {}
    for vhost, patterns in _table(table["permissions"]).items():
        configure, write, read = _texts(patterns)
        permissions[vhost] = Permissions(configure, write, read)
    user = User(name, stored, _texts(table["tags"]), permissions)
    for vhost, exchanges in _table(table["topic_permissions"]).items():
        allowed: dict[str, TopicPermission] = {}
        for exchange, patterns in _table(exchanges).items():
            write, read = _texts(patterns)
            allowed[exchange] = TopicPermission(write, read, name, vhost)
        user.topic_permissions[vhost] = allowed
    user.max_connections = _number(table["max_connections"])
    user.max_channels = _number(table["max_channels"])
    return user


def _password_hash(broker: Broker, name: str, stored: object) -> str | None:
    """A hash that would cost too much now was accepted by a version with other limits."""
    if stored is None:
        return None
    try:
        check_hash(str(stored))
    except ValueError as error:
        what = f"user '{name}' has no password until one is set, as the stored one is {error}"
        broker.log(log.ERROR, what, user=name)
        return None
    return str(stored)


def _table(value: object) -> Table:
    assert isinstance(value, dict), value
    return value


def _texts(value: object) -> tuple[str, ...]:
    assert isinstance(value, list), value
    return tuple([str(text) for text in value])


def _number(value: object) -> int:
    assert isinstance(value, int), value
    return value


def _vhost(broker: Broker, name: str) -> VirtualHost:
    vhost = broker.vhosts.get(name)
    if vhost is None:
        vhost = VirtualHost(name, broker.journal, broker.events)
        broker.vhosts[name] = vhost
        broker.journal.define(definitions.vhost_key(name), definitions.vhost_value(vhost))
    return vhost


def _restore_exchange(vhost: VirtualHost, name: str, table: Table) -> None:
    arguments = table["arguments"]
    assert isinstance(arguments, dict), name
    vhost.exchanges[name] = make_exchange(
        name,
        str(table["type"]),
        True,
        table["auto_delete"] is True,
        table["internal"] is True,
        arguments,
    )


def _make_queue(broker: Broker, name: str, table: Table) -> Queue:
    arguments = table["arguments"]
    queue_id = table["id"]
    assert isinstance(arguments, dict), name
    assert isinstance(queue_id, int), name
    return Queue(broker.turn, queue_id, name, True, table["auto_delete"] is True, None, arguments)


def _restore_queue(broker: Broker, vhost: VirtualHost, name: str, table: Table) -> Queue:
    queue = _make_queue(broker, name, table)
    queue.open_log(broker.journal)
    broker.next_queue_id = max(broker.next_queue_id, queue.id + queue.ids())
    vhost.queues[name] = queue
    queue.vhost = vhost
    broker.start_expiry(vhost, queue)
    return queue


def _restore_policy(name: str, table: Table) -> Policy:
    definition = table["definition"]
    priority = table["priority"]
    assert isinstance(definition, dict), name
    assert isinstance(priority, int), name
    return Policy(name, str(table["pattern"]), str(table["apply_to"]), priority, definition)


def _restore_messages(line: Line, entries: list[Entry], next_index: i64) -> None:
    backlog = line.log.backlog if line.log is not None else None
    last: i64 = -1
    if backlog is not None and backlog.unread > 0:
        line.backlog = backlog
        line.ready.recover(backlog.unread, backlog.next_index)
        last = backlog.segments[-1].last
        for segment in backlog.segments:
            if segment.expires_from != 0:
                line.queue.expect_expiry()
    returned: list[QueueEntry] = []
    for entry in entries:
        restored = QueueEntry(entry.message, line, entry.index)
        restored.expires_at = entry.expires_at
        if entry.expires_at != 0:
            line.queue.expect_expiry()
        if hides(entry.message.header):
            line.queue.hide_copies()
        restored.deliveries = entry.deliveries
        restored.state = entry.state
        restored.file = entry.file
        restored.redelivered = entry.redelivered
        line.memory.hold(entry.message)
        if entry.index > last:
            line.ready.append(restored)
        else:
            returned.append(restored)
    if returned:
        line.ready.put_back(returned)
    line.next_index = next_index
    line.seen_index = next_index
    if line.queue.has_rules:
        line.queue.wake()
