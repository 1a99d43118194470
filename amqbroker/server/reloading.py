"""The configuration read again while the broker runs: on SIGHUP, and by `amqbroker ctl reload`.

All or nothing: with a mistake in it, or a certificate that is no good, everything stays as it was.
What can change does: the log, limits, alarms, certificates, users and virtual hosts. What is made
once at the start is named, if it differs.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final, final

from amqbroker import logs
from amqbroker.config import Config, ConfigError
from amqbroker.config.changes import (
    NEEDS_RESTART,
    changed_settings,
    taken_over,
    with_log_level,
)
from amqbroker.management.errors import BAD_ARGUMENT, REFUSED, ManagementError
from amqbroker.server.control import Arguments, Commands, Parameter, Result
from amqbroker.server.guest import warn_of_guest
from amqbroker.server.listeners import Listeners
from amqbroker.server.measuring import set_limits
from amqbroker.server.rule_operations import BAD_DATA
from amqbroker.server.runner import Runner

logger = logging.getLogger("amqbroker")

# Reads the configuration again. Raises ConfigError.
Reread = Callable[[], Config]

LEVELS: Final = ("debug", "info", "warning", "error")


@final
class Reloading:
    """The configuration of one broker. Without `reread` only certificates are read again."""

    def __init__(
        self, runner: Runner, listeners: Listeners, commands: Commands, reread: Reread | None
    ) -> None:
        self._runner = runner
        self._listeners = listeners
        self._reread = reread
        commands.add("reload", self.reload_command)
        commands.add("set_log_level", self.set_log_level, Parameter("level"))

    def hang_up(self) -> None:
        """SIGHUP: what was done is in the log."""
        try:
            self.reload()
        except ManagementError as error:
            for line in error.text.splitlines():
                logger.error("configuration not reloaded: %s", line)

    async def reload_command(self, _arguments: Arguments) -> Result:
        """Read everything again."""
        changed, restart, position = self.reload()
        await self._runner.wait_durable(position)
        return {"changed": changed, "needs_restart": restart}

    def reload(self) -> tuple[list[str], list[str], int]:
        """The settings that were changed, those that need a restart, and the journal position to
        wait for. Raises ManagementError if nothing was done."""
        if self._reread is None:
            logger.info(
                "the configuration was not read from a file: only certificates are read again"
            )
            self._reload_certificates(None)
            return [], [], 0
        before = self._runner.node.broker.config
        try:
            after = self._reread()
        except ConfigError as error:
            text = "\n".join(str(problem) for problem in error.problems)
            raise ManagementError(BAD_DATA, text) from None
        self._reload_certificates(after)
        differing = changed_settings(before, after)
        restart = [path for path in differing if path in NEEDS_RESTART]
        changed = [path for path in differing if path not in NEEDS_RESTART]
        position = self._take_over(before, taken_over(before, after))
        if "loopback_users" in changed or "users" in changed:
            warn_of_guest(self._runner.node.broker)
        logger.info("configuration reloaded: %s", ", ".join(changed) or "nothing has changed")
        if restart:
            logger.warning("configuration: needs a restart: %s", ", ".join(restart))
        return changed, restart, position

    def _reload_certificates(self, config: Config | None) -> None:
        # A file that has no TLS listeners any more may have no certificates either.
        tls = config.tls if config is not None and config.tls_listeners else None
        problem = self._listeners.reload_certificates(tls)
        if problem:
            raise ManagementError(REFUSED, problem)

    def _take_over(self, before: Config, config: Config) -> int:
        runner = self._runner
        if config.log != before.log:
            logs.configure(config.log.level, config.log.format)
        set_limits(runner.node, config)
        self._listeners.change_handshake_timeout(config.limits.handshake_timeout_s)
        position = runner.node.reconfigure(config, runner.now)
        runner.end_turn()
        return position

    async def set_log_level(self, arguments: Arguments) -> Result:
        """Log more or less, until the next start or reload."""
        level = arguments.text("level")
        if level not in LEVELS:
            known = ", ".join(LEVELS)
            raise ManagementError(BAD_ARGUMENT, f"no level '{level}': {known} are levels")
        broker = self._runner.node.broker
        broker.config = with_log_level(broker.config, level)
        logs.set_level(level)
        return {}
