"""What the documents name is there: files, headings, commands with their options, settings."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import msgspec
import pytest

from amqbroker.cli import main
from amqbroker.config import Config

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), ROOT / "interop" / "README.md"])
SECTIONS = {
    section.name: {field.name for field in msgspec.structs.fields(section.type)}
    for section in msgspec.structs.fields(Config)
    if isinstance(section.type, type) and issubclass(section.type, msgspec.Struct)
}
SETTING = re.compile(rf"`({'|'.join(SECTIONS)})\.([a-z_]+)[`:]")
# Pages on which such a name may be a file's or a scenario's.
OTHER_NAMES = ("DIFFERENCES.md", "journal.md", "definitions.md", "control.md")

every_document = pytest.mark.parametrize(
    "document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT))
)


def anchors(document: Path) -> set[str]:
    """The headings of a page, as links name them."""
    headings = re.findall(r"^#+ (.*)$", document.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@every_document
def test_links_lead_somewhere(document: Path) -> None:
    for link in re.findall(r"\]\(([^)]+)\)", document.read_text()):
        if not link.startswith("https://"):
            name, _, anchor = link.partition("#")
            target = document.parent / name if name else document
            assert target.exists(), link
            assert not anchor or anchor in anchors(target), link


def blocks(document: Path, language: str) -> list[str]:
    """The blocks of code in a language; without one, of lines for a shell."""
    found = re.findall(r"^```(\w*)\n(.*?)^```$", document.read_text(), re.MULTILINE | re.DOTALL)
    return [code for name, code in found if name == language]


def commands(document: Path) -> Iterator[list[str]]:
    """The words of every line that is a command of ours."""
    for block in blocks(document, ""):
        for line in block.splitlines():
            if line.startswith("amqbroker "):
                words = shlex.split(line.partition(" | ")[0], comments=True)
                yield words[1:]


@every_document
def test_commands_and_their_options_are_there(document: Path) -> None:
    for words in commands(document):
        command: click.Command = main
        context = click.Context(main, info_name="amqbroker")
        while isinstance(command, click.Group):
            _, words, _ = command.make_parser(context).parse_args(words)
            name, *words = words
            assert name in command.commands, name
            command = command.commands[name]
            context = click.Context(command, context, name)
        command.make_parser(context).parse_args(words)


@every_document
def test_settings_are_there(document: Path) -> None:
    found = [] if document.name in OTHER_NAMES else SETTING.findall(document.read_text())
    for section, key in found:
        assert key in SECTIONS[section], f"{section}.{key}"


def test_examples_are_named() -> None:
    readme = (ROOT / "README.md").read_text()
    assert [file.name for file in (ROOT / "examples").glob("*.py") if file.name not in readme] == []


@every_document
def test_python_is_python(document: Path) -> None:
    for block in blocks(document, "python"):
        compile(block, str(document), "exec")
