"""What all commands share: exit codes, configuration, the data folder, sizes for people."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn, TextIO, TypeVar

import click

from amqbroker.cli.output import printable

if TYPE_CHECKING:
    from amqbroker.config import Config, Problem

EXIT_FAILED: Final = 1
EXIT_USAGE: Final = 2

SYSTEM_DATA_DIR: Final = Path("/var/lib/amqbroker")

Command = TypeVar("Command", bound=Callable[..., None])


def folder_options(command: Command) -> Command:
    """Which data folder is meant: --data-dir, or the one that the broker would take."""
    command = click.option(
        "--data-dir", metavar="DIR", help="The data folder; as for serve if it is left out."
    )(command)
    return click.option(
        "--config", "config_file", metavar="FILE", help="Take the data folder from this YAML file."
    )(command)


def json_option(command: Command) -> Command:
    """--json."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON, an object a line.")(
        command
    )


def fail(code: int, *lines: str) -> NoReturn:
    """End with these lines on standard error."""
    for line in lines:
        click.echo(f"amqbroker: {line}", err=True)
    sys.exit(code)


def standard_input(wanted: str) -> TextIO:
    """Standard input, which a shell or a service manager may have closed."""
    found: TextIO | None = sys.stdin
    if found is None:
        raise click.UsageError(f"standard input is closed: {wanted}")
    return found


def load_config(file: str | None, options: dict[str, object]) -> Config:
    """The configuration of a file, the environment and these options."""
    from amqbroker.config import ConfigError

    try:
        return read_config(file, options)
    except ConfigError as error:
        fail(EXIT_USAGE, *map(str, error.problems))


def read_config(file: str | None, options: dict[str, object]) -> Config:
    """The same; raises ConfigError for what is wrong."""
    from amqbroker.config import ConfigError, Problem, load

    text = ""
    if file is not None:
        try:
            text = Path(file).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
            raise ConfigError([Problem(file, f"cannot be read: {reason}")]) from None
    config = load(text, file or "", os.environ, options)
    problems = _tls_problems(config, text, file or "", options)
    if problems:
        raise ConfigError(problems)
    return config


def _tls_problems(
    config: Config, text: str, source: str, options: dict[str, object]
) -> list[Problem]:
    """What is wrong with the files that the configuration names."""
    if not config.tls_listeners:
        return []
    from amqbroker.config import Problem, where_of
    from amqbroker.server.tls import TlsError, make_context

    try:
        make_context(config.tls)
    except TlsError as error:
        return [
            Problem(where_of(("tls", key), text, source, os.environ, options), f"tls.{key}: {what}")
            for key, what in error.problems
        ]
    return []


def find_data_dir(config_file: str | None, data_dir: str | None) -> Path:
    """The data folder that the broker would take with these options."""
    config = load_config(config_file, {"data_dir": data_dir} if data_dir else {})
    return Path(config.data_dir) if config.data_dir else default_data_dir()


def default_data_dir() -> Path:
    """Where data goes if nobody says: the system's folder if we may write it, or the user's."""
    if os.access(SYSTEM_DATA_DIR, os.W_OK | os.X_OK):
        return SYSTEM_DATA_DIR
    state = os.environ.get("XDG_STATE_HOME", "")
    # The XDG specification has relative paths ignored.
    base = Path(state) if Path(state).is_absolute() else Path.home() / ".local" / "state"
    return base / "amqbroker"


def print_json(kind: str, **fields: object) -> None:
    """One object, on a line of its own."""
    text = json.dumps({"kind": kind, **fields}, ensure_ascii=False, default=str)
    click.echo(printable(text))


def shown_size(size: int) -> str:
    """A size for people."""
    amount = float(size)
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if amount < 1024:
            return f"{size} bytes" if unit == "bytes" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} TiB"


def shown_count(count: int, what: str) -> str:
    """`1 message`, `2,000 messages`."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"
