"""Commands of `amqbroker ctl` in this process, with the broker that they are for."""

from __future__ import annotations

from click.testing import CliRunner, Result

from amqbroker import cli
from amqbroker.testing import Broker


def invoke(running: Broker, *args: str, stdin: str | bytes = "") -> Result:
    """Run a command of ctl on this broker."""
    given = ["ctl", "--data-dir", running.config.data_dir, *args]
    return CliRunner().invoke(cli.main, given, input=stdin)
