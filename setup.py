"""Builds the wheel: the pure floors are compiled to C by mypyc, everything else stays Python.

Compiled and interpreted are the same source and behave the same; compiled is several times
faster. Without a C compiler (or if compiling fails) the package is installed interpreted, with a
warning.

    AMQBROKER_PURE=1              do not compile
    AMQBROKER_REQUIRE_COMPILED=1  a build that cannot compile is an error
    AMQBROKER_OPT_LEVEL=0..3      how hard the C compiler tries (3)

Editable installs are interpreted; `make compile` compiles in place.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import CompileError, LinkError

PACKAGE = "amqbroker"
COMPILED = ("errors.py", "message.py", "auth", "core", "exchanges", "node.py", "store", "wire")
# Edges that lie in a compiled package, and classes that mypyc cannot make.
INTERPRETED = ("store/backup.py", "store/files.py", "wire/methods.py")

PURE = bool(os.environ.get("AMQBROKER_PURE"))
REQUIRED = bool(os.environ.get("AMQBROKER_REQUIRE_COMPILED"))
OPT_LEVEL = os.environ.get("AMQBROKER_OPT_LEVEL", "3")

BUILDING = {"bdist_wheel", "build", "build_ext", "install"}


def modules() -> list[str]:
    """The files that mypyc compiles."""
    files: list[str] = []
    for name in COMPILED:
        path = Path(PACKAGE, name)
        sources = [path] if path.suffix else sorted(path.rglob("*.py"))
        files += [str(source) for source in sources if source.name != "__init__.py"]
    return [file for file in files if file not in {str(Path(PACKAGE, n)) for n in INTERPRETED}]


def give_up(why: str) -> None:
    """Go on interpreted, unless compiled modules are insisted on."""
    if REQUIRED:
        sys.exit(f"amqbroker: cannot compile: {why}")
    sys.stderr.write(f"amqbroker: WARNING: not compiled, which is several times slower: {why}\n")


def can_compile() -> bool:
    """Whether there is a C compiler, with Python's headers."""
    # setuptools' own copy of distutils; Python has had none since 3.12.
    from distutils.ccompiler import new_compiler
    from distutils.sysconfig import customize_compiler, get_python_inc

    compiler = new_compiler()
    customize_compiler(compiler)
    with tempfile.TemporaryDirectory() as folder:
        probe = Path(folder, "probe.c")
        probe.write_text("#include <Python.h>\n")
        try:
            compiler.compile([str(probe)], output_dir=folder, include_dirs=[get_python_inc()])
        except (CompileError, OSError):
            return False
    return True


def extensions() -> list[Extension]:
    """The compiled modules: one C library, so that calls between them are C calls."""
    if PURE or not BUILDING.intersection(sys.argv):
        return []
    if not can_compile():
        give_up("no C compiler with Python's headers")
        return []
    try:
        from mypyc.build import mypycify

        # An empty --config-file: how strict we are with ourselves must not decide what builds.
        arguments = ["--config-file=", "--ignore-missing-imports", *modules()]
        return list(mypycify(arguments, opt_level=OPT_LEVEL, debug_level="0"))
    except (ImportError, SystemExit) as error:
        give_up(f"mypyc: {error}")
        return []


class BuildExtensions(build_ext):
    """build_ext that leaves nothing half compiled."""

    def run(self) -> None:
        """Compile all modules, or none."""
        try:
            super().run()
        except (CompileError, LinkError, OSError) as error:
            for module in self.made():
                module.unlink(missing_ok=True)
            self.extensions.clear()
            give_up(str(error))
        # Newer than their sources even if nothing had to be done: tests refuse stale modules.
        for module in self.made():
            os.utime(module)

    def made(self) -> list[Path]:
        """The compiled modules, where this command puts them."""
        return [Path(self.get_ext_fullpath(extension.name)) for extension in self.extensions]


setup(ext_modules=extensions(), cmdclass={"build_ext": BuildExtensions})
