"""The clients of the suite, as their `client.yaml` files describe them.

    name: pika blocking                    how the client is called in the table
    command: ["{python}", run.py]          the program; --uri and --prefix are added to it
    needs: '{python} -c "import pika"'     shell test that succeeds where the client is installed
    build: [make]                          command that compiles it, optional
    install: pip install pika              told to a person who lacks it
    timeout_s: 60                          the program is stopped after so long
    checks: [connect, ...]                 only where they are not those of the checklist

`{python}` stands for the running interpreter and `{dir}` for the client's folder, in which all
commands run. A file may hold several YAML documents, one a client.
"""

from __future__ import annotations

import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from interop.checklist import CHECKS

SUITE: Final = Path(__file__).resolve().parent

_DEFAULT_TIMEOUT_S: Final = 60.0
_KEYS: Final = {"name", "command", "needs", "build", "install", "timeout_s", "checks"}


@dataclass(frozen=True, slots=True)
class Client:
    """One row of the catalogue, its placeholders filled in."""

    name: str
    folder: Path
    command: tuple[str, ...]
    needs: str
    build: tuple[str, ...]
    install: str
    timeout_s: float
    checks: tuple[str, ...]

    @property
    def has_own_checks(self) -> bool:
        """Whether the client runs other checks than the checklist."""
        return self.checks != tuple(CHECKS)


def load(suite: Path = SUITE) -> list[Client]:
    """All clients below the folder: the Python ones first, then by name of their folder."""
    files = sorted(
        suite.glob("clients/*/client.yaml"), key=lambda f: (f.parent.name != "python", f)
    )
    files += sorted(suite.glob("*/client.yaml"))
    clients = [
        _client(document, file)
        for file in files
        for document in yaml.safe_load_all(file.read_text(encoding="utf-8"))
        if document is not None
    ]
    names = [client.name for client in clients]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"two clients are called {name!r}")
    return clients


def _client(document: Any, file: Path) -> Client:
    if not isinstance(document, dict) or not {"name", "command"} <= document.keys():
        raise ValueError(f"{file}: a client has at least a name and a command")
    if unknown := document.keys() - _KEYS:
        raise ValueError(f"{file}: unknown keys {', '.join(sorted(unknown))}")
    folder = file.parent

    def words(key: str) -> tuple[str, ...]:
        value = document.get(key) or []
        if isinstance(value, str):
            value = shlex.split(value)
        return tuple(
            str(word).replace("{python}", sys.executable).replace("{dir}", str(folder))
            for word in value
        )

    return Client(
        name=str(document["name"]),
        folder=folder,
        command=words("command"),
        needs=str(document.get("needs") or "true")
        .replace("{python}", shlex.quote(sys.executable))
        .replace("{dir}", shlex.quote(str(folder))),
        build=words("build"),
        install=str(document.get("install") or "see its folder"),
        timeout_s=float(document.get("timeout_s", _DEFAULT_TIMEOUT_S)),
        checks=tuple(document.get("checks") or CHECKS),
    )
