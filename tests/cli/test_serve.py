"""The command line: what reaches the server, what is printed, and with which exit code."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from amqbroker import __version__, cli, errors
from amqbroker.cli import common
from amqbroker.config import (
    Config,
    ConfigError,
    Listener,
    TlsListener,
    environment_variables,
)
from amqbroker.server import startup


class FakeServer:
    """Stands for the server: keeps the configuration that it was started with."""

    def __init__(self) -> None:
        self.config = Config()
        self.error: Exception | None = None
        self.exit_code = 0
        self.reread: Callable[[], Config] | None = None

    def run(self, config: Config, reread: Callable[[], Config] | None) -> int:
        self.config = config
        self.reread = reread
        if self.error is not None:
            raise self.error
        return self.exit_code


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in environment_variables():
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(common, "SYSTEM_DATA_DIR", tmp_path / "none")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr("amqbroker.logs.configure", lambda level, log_format: None)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> FakeServer:
    fake = FakeServer()
    monkeypatch.setattr(startup, "run", fake.run)
    return fake


def invoke(*args: str, env: dict[str, str] | None = None) -> Result:
    return CliRunner().invoke(cli.main, list(args), env=env, prog_name="amqbroker")


@pytest.mark.parametrize("args", [[], ["serve"]])
def test_without_options_the_defaults_are_served(server: FakeServer, args: list[str]) -> None:
    assert invoke(*args).exit_code == 0
    assert server.config.listeners == Config().listeners
    assert server.config.limits == Config().limits


@pytest.mark.parametrize("command", [[], ["serve"]])
def test_options_win_over_the_environment_and_the_file(
    server: FakeServer, tmp_path: Path, command: list[str]
) -> None:
    file = tmp_path / "a.yaml"
    file.write_text("data_dir: /f\nlog: {level: error}\nlimits: {heartbeat_s: 7}\n")
    result = invoke(
        *command,
        *("--config", str(file)),
        *("--bind", "127.0.0.1:1", "--bind", "[::1]"),
        *("--data-dir", "/o", "--log-format", "json"),
        env={"AMQBROKER_DATA_DIR": "/e", "AMQBROKER_LOG_LEVEL": "debug"},
    )
    assert (result.exit_code, result.output) == (0, "")
    assert server.config.listeners == (Listener("127.0.0.1", 1), Listener("::1", 5672))
    assert server.config.data_dir == "/o"
    assert (server.config.log.level, server.config.log.format) == ("debug", "json")
    assert server.config.limits.heartbeat_s == 7


def test_the_exit_code_is_the_servers(server: FakeServer) -> None:
    server.exit_code = 1
    assert invoke().exit_code == 1


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (startup.StartError("cannot listen on 127.0.0.1:5672"), "cannot listen on 127.0.0.1:5672"),
        (PermissionError(13, "Permission denied", "/x"), "[Errno 13] Permission denied: '/x'"),
    ],
)
def test_a_failed_start_is_one_line(server: FakeServer, error: Exception, line: str) -> None:
    server.error = error
    result = invoke()
    assert (result.exit_code, result.stderr) == (1, f"amqbroker: {line}\n")


def test_a_bad_configuration_is_a_line_a_mistake(server: FakeServer, tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text("a: 1\nlog: {level: infoo}\n")
    for args in (["check-config", str(file)], ["--config", str(file)]):
        result = invoke(*args)
        assert result.exit_code == 2
        first, second = result.stderr.splitlines()
        assert first.startswith(f"amqbroker: {file}:1: unknown key 'a'")
        assert second.startswith(f"amqbroker: {file}:2: log.level: one of ")


def test_a_file_that_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    missing = invoke("check-config", str(file))
    assert (missing.exit_code, missing.stderr) == (
        2,
        f"amqbroker: {file}: cannot be read: No such file or directory\n",
    )
    file.write_bytes(b"\xff")
    binary = invoke("check-config", str(file))
    assert (binary.exit_code, binary.stderr) == (
        2,
        f"amqbroker: {file}: cannot be read: not UTF-8\n",
    )


def test_output_that_cannot_be_written_is_one_line() -> None:
    with open("/dev/full", "w") as full:
        result = subprocess.run(
            [sys.executable, "-m", "amqbroker", "check-config", "config/amqbroker.yaml"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            cwd=Path(__file__).parents[2],
        )
    assert (result.returncode, result.stderr) == (
        1,
        "amqbroker: the output cannot be written: No space left on device\n",
    )


def test_check_config_says_ok(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text("log: {level: debug}\n")
    result = invoke("check-config", str(file))
    assert (result.exit_code, result.output) == (0, f"{file}: ok\n")


def test_definitions_are_checked_with_the_configuration(tmp_path: Path) -> None:
    definitions, file = tmp_path / "definitions.json", tmp_path / "a.yaml"
    file.write_text(f"definitions: {{file: {definitions}}}\nvhosts: [{{name: v}}]\n")
    missing = invoke("check-config", str(file))
    assert (missing.exit_code, missing.stderr) == (
        2,
        f"amqbroker: {definitions}: cannot be read: No such file or directory\n",
    )
    queue = {"name": "q", "vhost": "v", "durable": True, "arguments": {"x-max-length": "many"}}
    definitions.write_text(json.dumps({"queues": [queue, {**queue, "vhost": "w"}]}))
    wrong = invoke("check-config", str(file))
    assert wrong.exit_code == 2
    path = f"amqbroker: {definitions}: queues"
    assert [line.partition(": ")[0] for line in wrong.stderr.splitlines()] == ["amqbroker"] * 3
    assert f"{path}[0].arguments.x-max-length: " in wrong.stderr
    assert f"{path}[1].vhost: there is no virtual host 'w'\n" in wrong.stderr
    stream = {**queue, "arguments": {"x-queue-type": "stream"}}
    definitions.write_text(json.dumps({"queues": [stream]}))
    noted = invoke("check-config", str(file))
    assert (noted.exit_code, noted.stdout) == (0, f"{file}: ok\n")
    assert "queue 'q' in vhost 'v' has the type 'stream', which is not known" in noted.stderr


@pytest.mark.parametrize(
    "args", [["--bind", ":1"], ["--bnd", "a"], ["--log-level", "loud"], ["nonsense"]]
)
def test_a_wrong_option_is_exit_code_2(server: FakeServer, args: list[str]) -> None:
    result = invoke(*args)
    assert result.exit_code == 2
    assert "Error: " in result.stderr


def test_the_data_folder_is_the_systems_if_it_is_writable(
    server: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    invoke()
    assert server.config.data_dir == str(tmp_path / "state" / "amqbroker")
    monkeypatch.setattr(common, "SYSTEM_DATA_DIR", tmp_path)
    invoke()
    assert server.config.data_dir == str(tmp_path)


def test_a_relative_state_folder_is_ignored(
    server: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "state")
    monkeypatch.setenv("HOME", str(tmp_path))
    invoke()
    assert server.config.data_dir == str(tmp_path / ".local" / "state" / "amqbroker")


def test_the_module_is_the_command_and_help_does_not_import_the_broker() -> None:
    help_code = (
        "import sys, runpy\n"
        "sys.argv = ['amqbroker', '--help']\n"
        "try:\n"
        "    runpy.run_module('amqbroker', run_name='__main__')\n"
        "finally:\n"
        "    assert not {'anyio', 'msgspec', 'yaml', 'pamqp'} & set(sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", help_code], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("Usage: amqbroker ")
    assert "Examples:\n" in done.stdout


def test_the_version_and_the_build_are_told() -> None:
    build = "interpreted" if errors.__file__.endswith(".py") else "compiled"
    assert invoke("--version").output == f"amqbroker {__version__} ({build})\n"


def test_tls_files_are_checked_with_the_configuration(server: FakeServer, tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text("log: {}\ntls:\n  certificate: /none\n  ciphers: none-such\n")
    for args in (
        ["--config", str(file), "--bind-tls", "127.0.0.1:0"],
        ["check-config", str(file)],
    ):
        result = invoke(*args, env={"AMQBROKER_TLS_LISTENERS": "localhost"})
        assert result.exit_code == 2
        assert result.stderr.splitlines() == [
            f"amqbroker: {file}:3: tls.certificate: /none cannot be read:"
            " No such file or directory",
            f"amqbroker: {file}:4: tls.ciphers: OpenSSL knows no cipher in 'none-such';"
            " ECDHE+AESGCM is a list",
        ]


def test_tls_addresses_are_options_too(server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("amqbroker.server.tls.make_context", lambda tls: None)
    result = invoke("--bind-tls", "[::1]", env={"AMQBROKER_TLS_CERTIFICATE": "a.pem"})
    assert (result.exit_code, result.output) == (0, "")
    assert server.config.tls_listeners == (TlsListener("::1", 5671),)
    assert server.config.tls.certificate == "a.pem"
    assert server.config.listeners == Config().listeners
    wrong = invoke("--bind-tls", ":1")
    assert wrong.exit_code == 2
    assert "':1' is no address: 0.0.0.0:5671 and [::]:5671 are" in wrong.stderr


def test_a_file_is_read_again_and_a_pipe_is_not(server: FakeServer, tmp_path: Path) -> None:
    file = tmp_path / "amqbroker.yaml"
    file.write_text("log: {level: error}")
    invoke("--config", str(file), "--bind", "127.0.0.1:1")
    assert server.reread is not None
    file.write_text("log: {level: debug}")
    again = server.reread()
    assert again.log.level == "debug"
    assert again.data_dir == server.config.data_dir != ""
    assert str(again.listeners[0]) == "127.0.0.1:1"
    file.write_text("log: {level: loud}")
    with pytest.raises(ConfigError, match="level"):
        server.reread()
    file.unlink()
    with pytest.raises(ConfigError):
        server.reread()


@pytest.mark.parametrize("args", [(), ("--config", "/dev/null")])
def test_what_is_no_file_is_not_read_again(server: FakeServer, args: tuple[str, ...]) -> None:
    invoke(*args)
    assert server.reread is None
