"""The command `amqbroker` itself, `amqbroker serve` (the default) and `amqbroker check-config`.

It reads the file and the environment, and hands a finished `Config` to the server. Exit codes: 0
after a stop that was asked for, 1 when the broker could not start or go on, 2 for a wrong option or
configuration (then with a line a mistake).
"""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

import click

from amqbroker import __version__
from amqbroker.cli.common import (
    EXIT_FAILED,
    EXIT_USAGE,
    default_data_dir,
    fail,
    load_config,
    read_config,
)
from amqbroker.cli.output import printable

if TYPE_CHECKING:
    from amqbroker.config import Config

_EXAMPLES: Final = """
\b
Examples:
  amqbroker                                    listen on 127.0.0.1:5672, user guest/guest
  amqbroker --bind 0.0.0.0:5672 --bind [::]:5672
  amqbroker --config amqbroker.yaml --data-dir /srv/amqbroker
  amqbroker --log-format json --log-level debug
  amqbroker check-config amqbroker.yaml
  AMQBROKER_LOG_LEVEL=debug amqbroker          every setting has its variable
"""


# What a file or a device refuses to take.
_UNWRITABLE: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


class _ServeByDefault(click.Group):
    """A group whose command `serve` may be left out."""

    def invoke(self, ctx: click.Context) -> Any:
        """Carry out the command. Output that cannot be written is a line as well; a character that
        the terminal's encoding does not have is a question mark."""
        if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
            sys.stdout.reconfigure(errors="replace")
        try:
            return super().invoke(ctx)
        except OSError as error:
            if error.errno not in _UNWRITABLE:
                raise
            # What is left in the buffer would be written, and refused, once more.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            fail(EXIT_FAILED, f"the output cannot be written: {error.strerror}")

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put `serve` before options that are not the group's own."""
        own = ("--help", "-h", "--version")
        if not args or (args[0].startswith("-") and args[0] not in own):
            args = ["serve", *args]
        return super().parse_args(ctx, args)


def _show_version(context: click.Context, _option: click.Parameter, asked: bool) -> None:
    if asked:
        from amqbroker import errors

        build = "interpreted" if errors.__file__.endswith(".py") else "compiled"
        click.echo(f"amqbroker {__version__} ({build})")
        context.exit()


def _check_bind(
    _context: click.Context, option: click.Parameter, addresses: tuple[str, ...]
) -> tuple[str, ...]:
    """Refuse what is no address, in the words of the command line."""
    from amqbroker.config import parse_listener

    port = 5671 if option.name == "bind_tls" else 5672
    for address in addresses:
        if parse_listener(address) is None:
            raise click.BadParameter(
                f"{address!r} is no address: 0.0.0.0:{port} and [::]:{port} are"
            )
    return addresses


@click.group(
    cls=_ServeByDefault,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=_EXAMPLES,
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_show_version,
    help="Show the version, and whether it is compiled.",
)
def main() -> None:
    """An AMQP 0-9-1 message broker for RabbitMQ's clients.

    Without a command it serves, and takes the options of serve; `amqbroker serve --help` lists
    them.
    """


@main.command(epilog=_EXAMPLES)
@click.option("--config", "config_file", metavar="FILE", help="Read settings from this YAML file.")
@click.option(
    "--bind",
    metavar="HOST:PORT",
    multiple=True,
    callback=_check_bind,
    help="Listen here; may be given more than once.",
)
@click.option(
    "--bind-tls",
    metavar="HOST:PORT",
    multiple=True,
    callback=_check_bind,
    help="Listen here for TLS; may be given more than once. AMQBROKER_TLS_CERTIFICATE and "
    "AMQBROKER_TLS_KEY, or the configuration file, name the certificate.",
)
@click.option("--data-dir", metavar="DIR", help="Keep messages and definitions in this folder.")
@click.option(
    "--log-format",
    type=click.Choice(["text", "json"], case_sensitive=False),
    help="One line, or one JSON object, an event.",
)
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"], case_sensitive=False),
    help="Log this and what is worse.",
)
def serve(
    config_file: str | None,
    bind: tuple[str, ...],
    bind_tls: tuple[str, ...],
    data_dir: str | None,
    log_format: str | None,
    log_level: str | None,
) -> None:
    """Start the broker. Ctrl-C or SIGTERM stops it."""
    log = {"format": log_format, "level": log_level}
    options: dict[str, object] = {
        "listeners": list(bind) or None,
        "tls_listeners": list(bind_tls) or None,
        "data_dir": data_dir,
        "log": {key: value for key, value in log.items() if value} or None,
    }
    given = {key: value for key, value in options.items() if value}
    config = load_config(config_file, given)
    if not config.data_dir:
        given["data_dir"] = str(default_data_dir())
        config = load_config(config_file, given)
    # A pipe can be read once only.
    is_file = config_file is not None and Path(config_file).is_file()
    _serve(config, (lambda: read_config(config_file, given)) if is_file else None)


@main.command("check-config")
@click.argument("file")
def check_config(file: str) -> None:
    """Check a configuration file, with the certificates and the definitions that it names.

    The AMQBROKER_ variables of the environment are checked with it.
    """
    config = load_config(file, {})
    if config.definitions.file:
        from amqbroker.server.definitions import check_file

        problems, notes = check_file(config)
        if problems:
            fail(EXIT_USAGE, *problems)
        for note in notes:
            click.echo(f"amqbroker: {printable(note)}", err=True)
    click.echo(f"{file}: ok")


def _serve(config: Config, reread: Callable[[], Config] | None) -> NoReturn:
    from amqbroker import logs
    from amqbroker.server import startup

    logs.configure(config.log.level, config.log.format)
    try:
        sys.exit(startup.run(config, reread))
    except (startup.StartError, OSError) as error:
        fail(EXIT_FAILED, str(error))
