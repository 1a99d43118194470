"""A broker inside your test: in this process, in a thread of its own, on a free port.

    from amqbroker.testing import broker

    with broker() as amqp:
        connection = pika.BlockingConnection(pika.URLParameters(amqp.url))

It is the broker that `amqbroker serve` starts, not an imitation. Its data lies in a temporary
folder that goes with it, unless `data_dir` is given. For pytest there is the fixture
`amqp_broker`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Final, final
from urllib.parse import quote

import anyio
from anyio.abc import TaskStatus
from anyio.from_thread import start_blocking_portal

from amqbroker.config import Config, User, load
from amqbroker.core.configured import GUEST
from amqbroker.server.listeners import Listeners
from amqbroker.server.startup import serve

STOP_TIMEOUT_S: Final = 20.0


@final
class Broker:
    """A running broker: where clients find it, and the configuration that it runs with.

    `host` and `port` are the first listener's, or the first TLS listener's if there is no other;
    `tls_port` is 0 without TLS listeners.
    """

    def __init__(self, host: str, port: int, tls_port: int, config: Config) -> None:
        self.host = host
        self.port = port
        self.tls_port = tls_port
        self.config = config

    @property
    def url(self) -> str:
        """`amqp://user:password@host:port/`, with the first user and the default virtual host.

        So Python's clients read it; to those of most other languages an empty path is an empty
        name: add `%2F`.
        """
        return self.url_of()

    def url_of(self, user: str | None = None, vhost: str = "/") -> str:
        """The URL for one of the configured users (the first; `guest` if there are none) and a
        virtual host."""
        users = self.config.users or (User(GUEST, password=GUEST),)
        known = next(item for item in users if user is None or item.name == user)
        login = f"{quote(known.name, safe='')}:{quote(known.password or '', safe='')}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        path = "" if vhost == "/" else quote(vhost, safe="")
        return f"amqp://{login}@{host}:{self.port}/{path}"


@contextmanager
def broker(**settings: object) -> Iterator[Broker]:
    """Start a broker, and stop it when the block is left.

    Settings are those of the configuration file, as plain values:
    `broker(limits={"heartbeat_s": 1}, data_dir=str(tmp_path))`. Whoever names virtual hosts names
    users with permissions there as well: the user `guest` may enter `/` only. Raises ConfigError
    for a wrong setting, StartError or DiskError if the broker cannot start.
    """
    with ExitStack() as stack:
        defaults: dict[str, object] = {"listeners": ["127.0.0.1:0"]}
        if "data_dir" not in settings:
            folder = tempfile.TemporaryDirectory(prefix="amqbroker-", ignore_cleanup_errors=True)
            defaults["data_dir"] = stack.enter_context(folder)
        config = load(options=defaults | settings)
        portal = stack.enter_context(start_blocking_portal("asyncio"))
        stop = portal.call(anyio.Event)
        running, (host, port, tls_port) = portal.start_task(_serve, config, stop)
        try:
            yield Broker(host, port, tls_port, config)
        finally:
            portal.call(stop.set)
            running.result(STOP_TIMEOUT_S)


async def _serve(
    config: Config, stop: anyio.Event, *, task_status: TaskStatus[tuple[str, int, int]]
) -> None:
    def on_ready(listeners: Listeners) -> None:
        host, port = [*listeners.addresses, *listeners.tls_addresses][0]
        tls_port = listeners.tls_addresses[0][1] if listeners.tls_addresses else 0
        task_status.started((host, port, tls_port))

    await serve(config, on_ready=on_ready, stop=stop)
