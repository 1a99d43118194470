"""The connection class: protocol header, start-ok, tune-ok, open, close, update-secret.

Source: RabbitMQ's `rabbit_reader` (`handle_method0`), `rabbit_access_control`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pamqp.base import Frame

from amqbroker.auth.sasl import EXTERNAL, Credentials, read_response
from amqbroker.auth.users import NO_LIMIT
from amqbroker.core import log
from amqbroker.core.logins import PasswordCheck
from amqbroker.core.vhost import VirtualHost
from amqbroker.errors import AmqpError, not_allowed
from amqbroker.wire import handshake
from amqbroker.wire import methods as m
from amqbroker.wire.tables import decode_table

if TYPE_CHECKING:
    from amqbroker.core.client import Client


def receive_header(client: Client, data: bytes) -> bytes:
    """The first octets of a connection; what came after the protocol header."""
    verdict = client.handshake.receive_header(data)
    if verdict.verdict == handshake.ACCEPTED:
        client.send(0, client.handshake.start())
        return verdict.rest
    if verdict.verdict == handshake.REFUSED:
        client.refuse(verdict.diagnosis)
        client.send_bytes(verdict.answer)
        client.finish()
    return b""


def handle(client: Client, frame: Frame) -> None:
    """One method on channel 0. Raises 504 for what has no place in this state."""
    if isinstance(frame, m.ConnectionStartOk):
        _start_ok(client, frame)
    elif isinstance(frame, m.ConnectionTuneOk):
        _tune_ok(client, frame)
    elif isinstance(frame, m.ConnectionOpen):
        _open(client, frame)
    elif isinstance(frame, m.ConnectionCloseOk) and client.is_closing():
        client.finish()
    elif client.handshake.state != handshake.RUNNING:
        raise client.handshake.out_of_order(frame)
    elif isinstance(frame, m.ConnectionClose):
        client.closed_by_peer(frame.reply_code or 0, frame.reply_text)
    elif isinstance(frame, m.ConnectionUpdateSecret) and not client.is_closing():
        _update_secret(client, frame)
    elif not client.is_closing():
        raise client.handshake.out_of_order(frame)


def _start_ok(client: Client, frame: Frame) -> None:
    client.introduction = client.handshake.start_ok_received(frame)
    mechanism = client.introduction.mechanism
    if mechanism == EXTERNAL:
        _log_in_by_certificate(client)
        return
    credentials = read_response(mechanism, client.introduction.response, decode_table)
    users = client.broker.users
    user = credentials.user
    # Who may not come from there is told so after the same work as anybody else, and never learns
    # whether the password was right.
    if users.may_come_from(user, client.host) and users.recall(user, credentials.password):
        _login_accepted(client, credentials)
    else:
        client.credentials = credentials
        check = PasswordCheck(client.id, users.password_hash(user), credentials.password)
        client.broker.logins.add(client.host, user, check)


def _log_in_by_certificate(client: Client) -> None:
    """EXTERNAL was offered because the client has a verified certificate; its response says no
    more."""
    assert client.tls is not None
    assert client.tls.has_certificate
    credentials = Credentials(client.tls.user, b"")
    users = client.broker.users
    if not credentials.user:
        _login_refused(client, credentials, "the client's certificate has no name of a user")
    elif not users.may_come_from(credentials.user, client.host):
        _login_refused(client, credentials, _loopback_only(credentials.user))
    elif users.get(credentials.user) is None:
        _login_refused(client, credentials, f"user '{credentials.user}' does not exist")
    else:
        client.credential_until = client.broker.now + client.tls.valid_s
        _login_accepted(client, credentials)


def _loopback_only(user: str) -> str:
    return f"user '{user}' can only connect from this host (loopback)"


def password_checked(client: Client, stored: str | None, right: bool) -> None:
    """The answer to a PasswordCheck: go on with the handshake, or refuse the login; or take a new
    secret, or refuse it."""
    credentials = client.credentials
    client.credentials = None
    if credentials is None or client.is_closing():
        return
    users = client.broker.users
    if client.handshake.state == handshake.RUNNING:
        _secret_checked(client, credentials, stored, right)
    elif not users.may_come_from(credentials.user, client.host):
        _login_refused(client, credentials, _loopback_only(credentials.user))
    elif right and stored is not None:
        users.remember(credentials.user, stored, credentials.password)
        _login_accepted(client, credentials)
    else:
        _login_refused(client, credentials, f"user '{credentials.user}' - invalid credentials")
    client.run_held()


def _login_accepted(client: Client, credentials: Credentials) -> None:
    user = client.broker.users.get(credentials.user)
    if user is None:
        _login_refused(client, credentials, f"user '{credentials.user}' was deleted")
        return
    client.user = user
    client.broker.events.login(client, user.name)
    client.send(0, client.handshake.authenticated())


def _login_refused(client: Client, credentials: Credentials, why: str) -> None:
    """403 for clients that can bear it, silence for others."""
    introduction = client.introduction
    assert introduction is not None
    client.refuse(f"login with {introduction.mechanism} refused: {why}")
    client.broker.events.login(client, credentials.user, why)
    if introduction.authentication_failure_close:
        error = handshake.login_refused(introduction.mechanism)
        client.send(0, m.ConnectionClose(error.code, error.reply_text, 0, 0))
    client.drop_silently()


def _tune_ok(client: Client, frame: Frame) -> None:
    tuning = client.handshake.tune_ok_received(frame)
    client.tuned(tuning.frame_max, tuning.channel_max, tuning.heartbeat_s)


def _open(client: Client, frame: Frame) -> None:
    name = client.handshake.open_received(frame)
    try:
        vhost = _enter(client, name)
    except AmqpError as error:
        client.refuse(error.reply_text)
        raise
    client.opened(vhost)
    client.send(0, m.ConnectionOpenOk())
    introduction = client.introduction
    assert introduction is not None
    fields = {} if client.tls is None else {"tls": client.tls.version, "cipher": client.tls.cipher}
    client.broker.log(
        log.INFO,
        f"connection {client.name} opened: user '{client.user.name}', vhost '{vhost.name}', "
        f"client {introduction.product or 'unknown'} {introduction.version}".rstrip()
        + (f", name '{introduction.connection_name}'" if introduction.connection_name else "")
        + (f", {client.tls.version} with {client.tls.cipher}" if client.tls else ""),
        connection=client.name,
        user=client.user.name,
        vhost=vhost.name,
        **fields,
    )


def _enter(client: Client, name: str) -> VirtualHost:
    """The virtual host, if this user may open one more connection; the order is RabbitMQ's."""
    broker = client.broker
    limit = broker.config.limits.connections_max
    text = f"access to vhost '{name}' refused for user '{client.user.name}'"
    if limit and broker.open_connections >= limit:
        raise not_allowed(f"{text}: node connection limit ({limit}) is reached")
    vhost = broker.vhosts.get(name)
    if vhost is None:
        raise not_allowed(f"vhost {name} not found")
    if vhost.max_connections != NO_LIMIT and vhost.connections >= vhost.max_connections:
        raise not_allowed(f"{text}: connection limit ({vhost.max_connections}) is reached")
    user = client.user
    if user.max_connections != NO_LIMIT and user.connections >= user.max_connections:
        raise not_allowed(
            f"connection refused for user '{user.name}': user connection limit "
            f"({user.max_connections}) is reached"
        )
    if not client.user.may_enter(name):
        raise not_allowed(text)
    return vhost


def _update_secret(client: Client, frame: m.ConnectionUpdateSecret) -> None:
    """A new secret is the user's password as it is now; it may have changed since the login."""
    users = client.broker.users
    name = client.user.name
    secret = handshake.octets_of(frame.new_secret)
    if users.recall(name, secret):
        client.send(0, m.ConnectionUpdateSecretOk())
    else:
        client.credentials = Credentials(name, secret)
        check = PasswordCheck(client.id, users.password_hash(name), secret)
        client.broker.logins.add(client.host, name, check)


def _secret_checked(
    client: Client, credentials: Credentials, stored: str | None, right: bool
) -> None:
    if right and stored is not None:
        client.broker.users.remember(credentials.user, stored, credentials.password)
        client.send(0, m.ConnectionUpdateSecretOk())
        return
    error = not_allowed("New secret was refused by one of the backends")
    error.class_id = m.ConnectionUpdateSecret.index >> 16
    error.method_id = m.ConnectionUpdateSecret.index & 0xFFFF
    client.close(error)
