"""Brokers that run already: whether they answer, and have what scenarios count on."""

from __future__ import annotations

from typing import Final

from pika import spec

from interop.beside import definitions
from interop.beside.brokers import Broker, NoBrokerError
from interop.beside.peer import Connection, NothingCameError
from interop.clients.python.address import Address

_HASH_TYPE: Final = "x-consistent-hash"


def running(name: str, uri: str, *, defined: bool) -> Broker:
    """A broker that runs already, and has all that `definitions` names if it must be `defined`.

    Raises NoBrokerError, which says what is missing and where it comes from.
    """
    try:
        address = Address.parse(uri)
        _open(name, address).drop()
        if defined:
            _check_definitions(name, address)
    except ValueError as error:
        raise NoBrokerError(f"{name}: {error}") from None
    except (OSError, NothingCameError) as error:
        raise NoBrokerError(f"{name}: no answer from {uri}: {error}") from None
    return Broker(name, address)


def _check_definitions(name: str, address: Address) -> None:
    missing = []
    for user in definitions.USERS:
        connection = _connect(address)
        if not isinstance(
            connection.log_in(user, None if user == address.user else user), spec.Connection.Tune
        ):
            missing.append(user)
        connection.drop()
    if missing:
        raise NoBrokerError(
            f"{name}: {', '.join(missing)} cannot log in, so it lacks what scenarios count on: "
            "import what `python -m interop.beside --definitions` prints, by "
            "`rabbitmqctl import_definitions FILE` or `amqbroker ctl import_definitions FILE`"
        )
    channel = _open(name, address).channel()
    kind = channel.exchange("beside-hash", _HASH_TYPE, auto_delete=True)
    known = isinstance(kind, spec.Exchange.DeclareOk)
    if known:
        channel.delete_exchange("beside-hash")
    channel.connection.drop()
    if not known:
        raise NoBrokerError(
            f"{name}: it has no exchanges of type {_HASH_TYPE}: "
            "`rabbitmq-plugins enable rabbitmq_consistent_hash_exchange`"
        )


def _connect(address: Address) -> Connection:
    connection = Connection(address, lambda *_: None, "control")
    connection.start()
    return connection


def _open(name: str, address: Address) -> Connection:
    connection = _connect(address)
    if not isinstance(connection.log_in(), spec.Connection.Tune):
        wrong = f"{address.user} cannot log in with this password"
    elif not isinstance(connection.open(), spec.Connection.OpenOk):
        wrong = f"{address.user} may not enter virtual host {address.vhost}"
    else:
        return connection
    connection.drop()
    raise NoBrokerError(f"{name}: {wrong}")
