"""The command line: `amqbroker` and its commands.

`serve` (the default) and `check-config` are in serve.py, `journal` (journal.py) reads the data
folder of a node that is stopped. `ctl` (ctl.py) and its commands talk to one that runs; `status`
and `backup` are there without `ctl` as well.

Exit codes: 0 when all went well, 1 when it did not, 2 for a wrong option or configuration; those of
the commands that talk to a broker are in client.py. What
went wrong is a line on standard error, never a traceback. Imports of the broker itself happen in
the commands, so that `--help` is instant.
"""

from __future__ import annotations

from amqbroker.cli.control import backup, status
from amqbroker.cli.ctl import ctl
from amqbroker.cli.journal import journal_commands
from amqbroker.cli.serve import main as main

main.add_command(journal_commands)
main.add_command(ctl)
main.add_command(status)
main.add_command(backup)
