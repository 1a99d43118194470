"""The rules of the house, read off the source with `ast`.

A floor imports only floors below it, or its own package; floors 0 to 4 are pure: no tasks, sockets,
files, threads, clock or randomness of their own. Each third-party package has its places. Every
module says what it is for, has tests and is used; functions and files stay readable.

The checks are functions on source text, and the last tests here prove that each can fail.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = "amqbroker"

# From the longest name that fits. Floor 5 is the edges; they may import each other.
FLOORS = {
    "amqbroker": 0,
    "amqbroker.errors": 0,
    "amqbroker.message": 0,
    "amqbroker.config": 0,
    "amqbroker.wire": 1,
    "amqbroker.exchanges": 1,
    "amqbroker.auth": 1,
    "amqbroker.store": 1,
    "amqbroker.core": 2,
    "amqbroker.management": 3,
    "amqbroker.node": 4,
    "amqbroker.store.backup": 5,
    "amqbroker.store.files": 5,
    "amqbroker.server": 5,
    "amqbroker.logs": 5,
    "amqbroker.cli": 5,
    "amqbroker.testing": 5,
    "amqbroker.pytest_plugin": 5,
    "amqbroker.__main__": 5,
}
EDGES = 5

# Where a third-party module may be imported: by these modules, and what is in them.
THIRD_PARTY = {
    "pamqp": ["amqbroker.wire"],
    # What the parser hands to the core: a decoded method, by its base class alone.
    "pamqp.base": ["amqbroker.wire", "amqbroker.core"],
    "msgspec": ["amqbroker.config"],
    "yaml": ["amqbroker.config"],
    "anyio": ["amqbroker.server", "amqbroker.store.files", "amqbroker.testing"],
    "aiofiles": ["amqbroker.store.files"],
    "click": ["amqbroker.cli"],
    "tabulate": ["amqbroker.cli"],
    "pythonjsonlogger": ["amqbroker.logs"],
    "pytest": ["amqbroker.pytest_plugin"],
    "librt": ["amqbroker"],
    "mypy_extensions": ["amqbroker"],
}

# Modules that reach out of the process, or differ from run to run.
IMPURE = {
    *("asyncio", "concurrent", "contextvars", "multiprocessing", "queue", "sched", "threading"),
    *("ctypes", "fcntl", "mmap", "os", "pathlib", "shutil", "subprocess", "sys", "tempfile"),
    *("select", "selectors", "signal", "socket", "socketserver", "ssl"),
    *("calendar", "datetime", "random", "secrets", "time", "uuid"),
}
# Timestamps as values; `random.Random` as the type of a generator that the caller made.
PURE_NAMES = {"datetime.datetime", "datetime.timedelta", "datetime.UTC", "random.Random"}
IMPURE_CALLS = {"open", "input", "breakpoint", "getLogger", "now", "utcnow", "today", "Random"}

FUNCTION_LINES_MAX = 70
FILE_LINES_MAX = 700

# Modules that no module imports: they are started.
STARTED = {
    *("amqbroker.__main__", "amqbroker.pytest_plugin", "amqbroker.testing"),
    *("amqbroker.management.users", "amqbroker.management.vhosts"),
}

# Modules without a test file of their own name, and the file that tests them.
TESTED_BY = {
    "server/lists.py": "server/test_operations.py",
    "core/events.py": "semantics/test_events.py",
    "core/tracing.py": "semantics/test_tracing.py",
    "store/batch.py": "store/test_journal.py",
    "__main__.py": "cli/test_serve.py",
    "pytest_plugin.py": "test_testing.py",
}


def sources(*folders: str) -> list[Path]:
    """Every Python file in these folders of the repository."""
    return [
        file
        for folder in folders
        for file in sorted((ROOT / folder).rglob("*.py"))
        if not {"node_modules", "build", ".venv"}.intersection(file.parts)
    ]


MODULES = sources(PACKAGE)


def module_name(file: Path) -> str:
    """`amqbroker/wire/frames.py` is amqbroker.wire.frames."""
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def floor_of(module: str) -> int:
    """The floor of a module of ours."""
    while module not in FLOORS:
        module = module.rpartition(".")[0]
    return FLOORS[module]


def room_of(module: str) -> str:
    """The package in which a module lies, or the module itself at the top."""
    return ".".join(module.split(".")[:2])


def imports_of(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """Every imported name, `a.b` for `from a import b`, but those for type checkers only."""
    skipped: set[ast.AST] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            skipped.update(child for part in node.body for child in ast.walk(part))
        if node in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: relative import"
            yield from ((f"{node.module}.{alias.name}", node.lineno) for alias in node.names)


def within(name: str, package: str) -> bool:
    """Whether `name` is `package` or in it."""
    return name == package or name.startswith(f"{package}.")


def import_problems(module: str, text: str) -> list[str]:
    """Imports upwards, across, and of third-party packages out of their place."""
    problems = []
    for name, line in imports_of(ast.parse(text)):
        if within(name, PACKAGE):
            here, there = floor_of(module), floor_of(name)
            same_room = room_of(module) == room_of(name) or there == here == EDGES
            if there > here or (there == here != 0 and not same_room):
                problems.append(f"line {line}: floor {here} imports {name}, floor {there}")
            continue
        known = [package for package in THIRD_PARTY if within(name, package)]
        if known:
            places = THIRD_PARTY[max(known, key=len)]
            if not any(within(module, place) for place in places):
                problems.append(f"line {line}: {name} is only for {', '.join(places)}")
    return problems


def purity_problems(text: str) -> list[str]:
    """What a pure module must not do."""
    tree = ast.parse(text)
    problems = [
        f"line {line}: imports {name}"
        for name, line in imports_of(tree)
        if name.split(".")[0] in IMPURE and name not in PURE_NAMES
    ]
    for node in ast.walk(tree):
        if isinstance(node, ast.AsyncFunctionDef | ast.Await | ast.AsyncFor | ast.AsyncWith):
            problems.append(f"line {node.lineno}: async")
        elif isinstance(node, ast.Call):
            called = ast.unparse(node.func).rpartition(".")[2]
            if called in IMPURE_CALLS and not _is_attribute_of_self(node.func):
                problems.append(f"line {node.lineno}: calls {called}()")
    return problems


def _is_attribute_of_self(function: ast.expr) -> bool:
    return ast.unparse(function).startswith("self.")


def size_problems(text: str) -> list[str]:
    """Functions and files that are too long to be read at one go."""
    problems = []
    lines = text.count("\n")
    if lines > FILE_LINES_MAX:
        problems.append(f"{lines} lines")
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > FUNCTION_LINES_MAX:
                problems.append(f"line {node.lineno}: {node.name} has {length} lines")
    return problems


def word_problems(text: str) -> list[str]:
    """Notes to oneself, and modules that do not say what they are for."""
    problems = [] if ast.get_docstring(ast.parse(text)) else ["no docstring"]
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT and re.search(r"\b(FIXME|TODO|XXX|HACK)\b", token.string):
            problems += [f"line {token.start[0]}: {token.string}"]
    return problems


def print_problems(text: str) -> list[str]:
    """Output that is neither the log nor the command line's."""
    return [
        f"line {node.lineno}: print"
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "print"
    ]


def by_path(file: Path) -> str:
    return str(file.relative_to(ROOT))


@pytest.mark.parametrize("file", MODULES, ids=by_path)
def test_imports_go_down(file: Path) -> None:
    assert import_problems(module_name(file), file.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "file", [file for file in MODULES if floor_of(module_name(file)) < EDGES], ids=by_path
)
def test_pure_floors_are_pure(file: Path) -> None:
    assert purity_problems(file.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("file", MODULES, ids=by_path)
def test_nothing_is_printed(file: Path) -> None:
    assert print_problems(file.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "file", sources(PACKAGE, "tests", "interop", "fuzz", "benchmarks", "examples"), ids=by_path
)
def test_files_are_short_and_say_what_they_are_for(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    if text or file.name != "__init__.py":
        assert size_problems(text) + word_problems(text) == []


@pytest.mark.parametrize(
    "file", [file for file in MODULES if file.name != "__init__.py"], ids=by_path
)
def test_every_module_has_its_tests(file: Path) -> None:
    path = file.relative_to(ROOT / PACKAGE)
    own = path.with_name(f"test_{path.name}")
    test = TESTED_BY.get(path.as_posix(), own.as_posix())
    assert (ROOT / "tests" / own).exists() or (ROOT / "tests" / test).exists(), f"no tests/{test}"


def test_the_table_of_exceptions_names_modules_that_exist() -> None:
    assert [path for path in TESTED_BY if not (ROOT / PACKAGE / path).exists()] == []
    assert [name for name in STARTED if not (ROOT / f"{name.replace('.', '/')}.py").exists()] == []


def test_every_module_is_used() -> None:
    used = set(STARTED)
    for file in MODULES:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                used.update(alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                used.add(str(node.module))
                used.update(f"{node.module}.{alias.name}" for alias in node.names)
    unused = [
        name
        for name in map(module_name, MODULES)
        if name not in used and not any(within(other, name) for other in used)
    ]
    assert unused == []


@pytest.mark.parametrize(
    ("module", "text"),
    [
        ("amqbroker.wire.frames", "from amqbroker.core import queue"),
        ("amqbroker.wire.frames", "import amqbroker.server.startup"),
        ("amqbroker.wire.frames", "from amqbroker.exchanges.base import Table"),
        ("amqbroker.store.journal", "from amqbroker.store.files import open_data_folder"),
        ("amqbroker.config.load", "def f():\n    from amqbroker import cli"),
        ("amqbroker.exchanges.topic", "import pamqp.commands"),
        ("amqbroker.core.client", "from pamqp import commands"),
        ("amqbroker.core.client", "import anyio"),
        ("amqbroker.server.runner", "import yaml"),
    ],
)
def test_a_wrong_import_is_found(module: str, text: str) -> None:
    assert len(import_problems(module, text)) == 1


@pytest.mark.parametrize(
    ("module", "text"),
    [
        ("amqbroker.core.client", "from amqbroker.core.queue import Queue"),
        ("amqbroker.core.client", "from amqbroker.wire import frames"),
        ("amqbroker.core.client", "from pamqp.base import Frame"),
        ("amqbroker.server.startup", "from amqbroker.store.files import open_data_folder"),
        ("amqbroker.cli", "from amqbroker import logs"),
        ("amqbroker.message", "from mypy_extensions import i64"),
        (
            "amqbroker.wire.frames",
            "if TYPE_CHECKING:\n    from amqbroker.server.runner import Runner",
        ),
    ],
)
def test_a_right_import_passes(module: str, text: str) -> None:
    assert import_problems(module, text) == []


@pytest.mark.parametrize(
    "text",
    [
        "import time",
        "from os import path",
        "from random import choice",
        "async def f(): pass",
        "f = open('x')",
        "moment = datetime.now()",
        "log = logging.getLogger('x')",
        "generator = Random(1)",
    ],
)
def test_impurity_is_found(text: str) -> None:
    assert len(purity_problems(text)) == 1


def test_length_words_and_print_are_found() -> None:
    body = "    pass\n" * FUNCTION_LINES_MAX
    assert size_problems(f"def f():\n{body}") == ["line 1: f has 71 lines"]
    assert size_problems("\n" * (FILE_LINES_MAX + 1)) == ["701 lines"]
    assert word_problems("x = 1  # TO" + "DO later\n") == [
        "no docstring",
        "line 1: # TO" + "DO later",
    ]
    assert print_problems("print('x')") == ["line 1: print"]
