"""The two brokers: started on free loopback ports, in temporary folders, ended by process id."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from interop import broker as amqbroker
from interop.beside import definitions
from interop.clients.python.address import Address

_RABBITMQ: Final = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
_START_S: Final = 60.0
_STOP_S: Final = 20.0
_POLL_S: Final = 0.1


class NoBrokerError(Exception):
    """A broker did not start, or did not obey; the text says why."""


class Broker:
    """A broker that scenarios run on. One that was started for the run has `controls`."""

    def __init__(self, name: str, address: Address, controls: Controls | None = None) -> None:
        self.name = name
        self.address = address
        self.controls = controls


class Controls(ABC):
    """What an operator does to a broker that runs."""

    @abstractmethod
    def control(self, *arguments: str) -> str:
        """Run a command of rabbitmqctl, or of amqbroker ctl, and return what it printed."""

    @abstractmethod
    def set_policy(
        self,
        name: str,
        pattern: str,
        definition: dict[str, Any] | None,
        *,
        of_operator: bool = False,
    ) -> None:
        """Set a policy of the virtual host `/`, or take it away."""

    @abstractmethod
    def limit_memory(self, tight: bool) -> None:
        """Let all memory be too much, or none."""

    @abstractmethod
    def limit_disk(self, tight: bool) -> None:
        """Let no disk be enough, or any."""

    @abstractmethod
    def trace(self, on: bool) -> None:
        """Turn the firehose of the virtual host `/` on or off."""


class Node(Controls):
    """A RabbitMQ node of ours, on which Erlang functions can be called."""

    def __init__(self, name: str, cookie: str, environment: dict[str, str]) -> None:
        self._name = name
        self._cookie = cookie
        self._environment = environment

    def control(self, *arguments: str) -> str:
        """Run rabbitmqctl on it and return what it printed."""
        done = subprocess.run(
            [str(_RABBITMQ.with_name("rabbitmqctl")), "-q", "-n", self._name, *arguments],
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=_START_S,
        )
        if done.returncode:
            raise NoBrokerError(f"rabbitmqctl {' '.join(arguments)}\n{done.stdout}")
        return done.stdout

    def call(self, expression: str) -> str:
        """Evaluate an Erlang expression there and return its value, as Erlang prints it."""
        done = subprocess.run(
            ["erl_call", "-sname", self._name, "-c", self._cookie, "-e"],
            input=f"{expression}.\n",
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=_START_S,
            check=True,
        )
        if not done.stdout.startswith("{ok,"):
            raise NoBrokerError(f"{expression}: {done.stdout}")
        return done.stdout

    def set_policy(
        self,
        name: str,
        pattern: str,
        definition: dict[str, Any] | None,
        *,
        of_operator: bool = False,
    ) -> None:
        # As rabbitmqctl does it, which takes seconds to start.
        kind = "_op" if of_operator else ""
        if definition is None:
            done = self.call(f"rabbit_policy:delete{kind}({_binary('/')}, {_binary(name)}, <<>>)")
        else:
            values = ("/", name, pattern, json.dumps(definition), "0", "all", "")
            done = self.call(f"rabbit_policy:parse_set{kind}({', '.join(map(_binary, values))})")
        if "ok" not in done.partition(",")[2]:
            raise NoBrokerError(f"policy {name} {definition}: {done}")

    def limit_memory(self, tight: bool) -> None:
        share = "0.00001" if tight else "0.6"
        self.call(f"vm_memory_monitor:set_vm_memory_high_watermark({share})")

    def limit_disk(self, tight: bool) -> None:
        limit = "{mem_relative, 100000.0}" if tight else "1000000"
        self.call(f"rabbit_disk_monitor:set_disk_free_limit({limit})")

    def trace(self, on: bool) -> None:
        self.call(f'rabbit_trace:{"start" if on else "stop"}(<<"/">>)')


class Own(Controls):
    """An amqbroker of ours, with its configuration file."""

    def __init__(self, broker: amqbroker.Broker, settings: Path) -> None:
        self._broker = broker
        self._settings = settings
        self._memory = self._disk = False

    @staticmethod
    def configuration(memory: bool = False, disk: bool = False) -> str:
        """The file's contents; x-death is believed as in RabbitMQ before 4.0."""
        return (
            "dead_letters: {published_history: believed}\n"
            "log: {level: warning}\n"
            f"memory: {{high_watermark: {'1MiB' if memory else '1.0'}}}\n"
            f"disk: {{free_limit: {'1000000GiB' if disk else '1MiB'}}}\n"
        )

    def control(self, *arguments: str) -> str:
        return self._broker.control(*arguments)

    def set_policy(
        self,
        name: str,
        pattern: str,
        definition: dict[str, Any] | None,
        *,
        of_operator: bool = False,
    ) -> None:
        kind = "operator_policy" if of_operator else "policy"
        if definition is None:
            self.control(f"clear_{kind}", name)
        else:
            self.control(f"set_{kind}", name, pattern, json.dumps(definition))

    def limit_memory(self, tight: bool) -> None:
        self._memory = tight
        self._reload()

    def limit_disk(self, tight: bool) -> None:
        self._disk = tight
        self._reload()

    def _reload(self) -> None:
        self._settings.write_text(self.configuration(self._memory, self._disk))
        self.control("reload")

    def trace(self, on: bool) -> None:
        self.control("trace_on" if on else "trace_off")


@contextmanager
def rabbitmq() -> Iterator[Broker]:
    """RabbitMQ as the system has it, as a node of its own with its own epmd."""
    if not _RABBITMQ.exists():
        raise NoBrokerError("rabbitmq-server is not installed: apt-get install rabbitmq-server")
    with TemporaryDirectory(prefix="beside-rabbitmq-") as name, ExitStack() as stack:
        folder = Path(name)
        port, distribution, epmd = (_free_port() for _ in range(3))
        node = f"beside{os.getpid()}@localhost"
        environment = _environment(folder, node, port, distribution, epmd)
        stack.enter_context(_running(["epmd", "-address", "127.0.0.1", "-port", str(epmd)], folder))
        log = folder / "out"
        process = stack.enter_context(_running([str(_RABBITMQ)], folder, environment, log))
        _wait_answers(port, process, log)
        cookie = (folder / ".erlang.cookie").read_text().strip()
        yield Broker(
            "RabbitMQ",
            Address("127.0.0.1", port, "guest", "guest", "/"),
            Node(node, cookie, environment),
        )


@contextmanager
def ours() -> Iterator[Broker]:
    """amqbroker as it is in this checkout, with the same definitions."""
    with TemporaryDirectory(prefix="beside-amqbroker-") as folder:
        settings = Path(folder, "amqbroker.yaml")
        settings.write_text(Own.configuration())
        contents = Path(folder, "definitions.json")
        contents.write_text(json.dumps(definitions.definitions()))
        with amqbroker.started(f"{amqbroker.DEFAULT_COMMAND} --config {settings}") as running:
            running.control("import_definitions", str(contents))
            yield Broker("amqbroker", Address.parse(running.uri), Own(running, settings))


def _environment(
    folder: Path, node: str, port: int, distribution: int, epmd: int
) -> dict[str, str]:
    """What makes it a node apart from the system's, with what `definitions` names."""
    plugins = folder / "plugins"
    plugins.write_text("[rabbitmq_consistent_hash_exchange].\n")
    contents = folder / "definitions.json"
    contents.write_text(json.dumps(definitions.definitions()))
    settings = folder / "rabbitmq.conf"
    settings.write_text(
        f"load_definitions = {contents}\n"
        "loopback_users.guest = true\n"
        "vm_memory_high_watermark.relative = 0.6\n"
        "disk_free_limit.absolute = 1MB\n"
    )
    nothing = folder / "rabbitmq-env.conf"
    nothing.touch()
    return {
        "HOME": str(folder),
        "PATH": os.environ["PATH"],
        "LANG": "C.UTF-8",
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        "ERL_EPMD_PORT": str(epmd),
        "RABBITMQ_NODENAME": node,
        "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
        "RABBITMQ_NODE_PORT": str(port),
        "RABBITMQ_DIST_PORT": str(distribution),
        "RABBITMQ_BASE": str(folder),
        "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
        "RABBITMQ_LOG_BASE": str(folder / "log"),
        "RABBITMQ_PID_FILE": str(folder / "pid"),
        "RABBITMQ_CONFIG_FILE": str(settings),
        "RABBITMQ_CONF_ENV_FILE": str(nothing),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(plugins),
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": (
            "-kernel inet_dist_use_interface {127,0,0,1} +sbwt none"
        ),
    }


@contextmanager
def _running(
    command: list[str],
    folder: Path,
    environment: dict[str, str] | None = None,
    log: Path | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    """A process in a session of its own, ended with all its children."""
    with (log or Path(os.devnull)).open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(process.pid, number)
                process.wait(_STOP_S)
            except (ProcessLookupError, subprocess.TimeoutExpired):
                continue


def _binary(text: str) -> str:
    """A text as Erlang writes a binary."""
    return f"<<{','.join(map(str, text.encode()))}>>"


def _wait_answers(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _START_S
    while not amqbroker.answers(port):
        if process.poll() is not None or time.monotonic() > deadline:
            raise NoBrokerError(f"RabbitMQ does not start\n{log.read_text(errors='replace')}")
        time.sleep(_POLL_S)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port
