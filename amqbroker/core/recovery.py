"""Durable definitions and messages back into virtual hosts: what a restart finds on disk.

Definitions of virtual hosts that the configuration no longer names are kept: their virtual host is
made, so that nothing is lost by an edit, and the log says so.
"""

from __future__ import annotations

from mypy_extensions import i64

from amqbroker.core import definitions, log
from amqbroker.core.broker import Broker
from amqbroker.core.entry import QueueEntry
from amqbroker.core.line import Line
from amqbroker.core.policies import Policy
from amqbroker.core.policy_changes import apply_all
from amqbroker.core.queue import Queue
from amqbroker.core.vhost import VirtualHost
from amqbroker.exchanges.base import Table
from amqbroker.exchanges.registry import make_exchange
from amqbroker.message import Entry
from amqbroker.store.recovery import Recovered
from amqbroker.wire.tables import decode_table


def restore(broker: Broker, recovered: Recovered) -> None:
    """Fill an empty broker.

    Exchanges and queues first, then the bindings between them, then messages.
    """
    bindings: list[definitions.KeyReader] = []
    queues: list[Queue] = []
    for key, value in recovered.definitions.items():
        reader = definitions.KeyReader(key)
        if reader.kind == definitions.BINDING_KIND:
            bindings.append(reader)
            continue
        table: Table = dict(decode_table(value, 0))
        if reader.kind == definitions.GLOBAL_PARAMETER_KIND:
            broker.global_parameters[reader.name()] = str(table["json"])
            continue
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
    for vhost in broker.vhosts.values():
        if vhost.policies.by_name or vhost.operator_policies.by_name:
            apply_all(broker, vhost)
    for reader in bindings:
        vhost = _vhost(broker, reader.name())
        source, binding = definitions.read_binding(reader)
        vhost.restore_binding(source, binding)
    # It has seen the ids of the files' messages and those of all definitions.
    broker.next_queue_id = max(broker.next_queue_id, broker.journal.next_queue_id)
    dropped = broker.journal.drop_unclaimed()
    if dropped:
        broker.log(log.INFO, f"{dropped} messages of queues that were deleted are left out")
    for queue in queues:
        for line in queue.lines():
            _restore_messages(
                line, recovered.messages.pop(line.id, []), recovered.next_index.get(line.id, 0)
            )


def _vhost(broker: Broker, name: str) -> VirtualHost:
    vhost = broker.vhosts.get(name)
    if vhost is None:
        vhost = VirtualHost(name, broker.journal, 0, 0)
        broker.vhosts[name] = vhost
        broker.log(
            log.WARNING,
            f"vhost '{name}' is not in the configuration, but the data folder has queues of it",
        )
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


def _restore_queue(broker: Broker, vhost: VirtualHost, name: str, table: Table) -> Queue:
    arguments = table["arguments"]
    queue_id = table["id"]
    assert isinstance(arguments, dict), name
    assert isinstance(queue_id, int), name
    queue = Queue(broker.turn, queue_id, name, True, table["auto_delete"] is True, None, arguments)
    queue.open_log(broker.journal)
    broker.next_queue_id = max(broker.next_queue_id, queue_id + queue.ids())
    vhost.queues[name] = queue
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
    returned: list[QueueEntry] = []
    for entry in entries:
        restored = QueueEntry(entry.message, line, entry.index)
        restored.expires_at = entry.expires_at
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
