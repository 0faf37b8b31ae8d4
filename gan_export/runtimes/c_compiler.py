"""Compile exported C source on this machine, and load it with its weights."""

from __future__ import annotations

import ctypes
import os
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from gan_export._lib.escape import C, Text
from gan_export._lib.fs import write_text
from gan_export.errors import GanExportError, UnavailableError, printable
from gan_export.runtimes.base import SessionInfo

FLAGS = ("-std=c99", "-O3", "-march=native", "-Wall", "-Wextra", "-Werror", "-pedantic", "-shared", "-fPIC")


def compiler() -> list[str]:
    """Return the command of the C compiler: CC, or the first that is installed; empty if there is none."""
    if named := shlex.split(os.environ.get("CC", "")):
        return named if shutil.which(named[0]) else []
    found = next((name for name in ("cc", "gcc", "clang") if shutil.which(name)), None)
    return [found] if found else []


def info_of() -> SessionInfo:
    """Return the properties of a session: the compiler and its flags."""
    version = _ask([*compiler(), "-dumpversion"])
    flags = " ".join(flag for flag in FLAGS if flag.startswith(("-O", "-m")))
    return SessionInfo("c", version, "cpu", f"{Path(compiler()[0]).name} {flags}", 1)


def compiled(path: Path, symbol: Text[C], caller: Text[C], embedded: bool) -> ctypes.CDLL:
    """Return the library of a folder's source and of `caller`, which has `weights_size`.

    Raises GanExportError, with the compiler's first error, if it can't be compiled or loaded.
    """
    with tempfile.TemporaryDirectory(prefix="gan-c-") as folder:
        write_text(Path(folder) / "caller.c", caller)
        library = Path(folder) / "generator.so"
        sources = [
            path / f"{symbol!s}.c",
            *([path / f"{symbol!s}_weights.c"] if embedded else []),
            f"{folder}/caller.c",
        ]
        arguments = [*FLAGS, f"-I{path.resolve()}", *map(str, sources), "-lm", "-o", str(library)]
        _ask([*compiler(), *arguments])
        try:
            loaded = ctypes.CDLL(str(library))
        except OSError as e:
            raise GanExportError(f"{printable(str(path))}: the compiled source can't be loaded: {e}") from None
    loaded.weights_size.restype = ctypes.c_uint64
    return loaded


def weights_of(library: Any, path: Path, symbol: Text[C], embedded: bool) -> tuple[Any, Any]:
    """Return a pointer to the weights, and what keeps those of a file alive.

    Raises GanExportError if they are damaged, or don't belong to the source.
    """
    held: Any = None
    if embedded:
        weights: Any = ctypes.byref(ctypes.c_char.in_dll(library, f"{symbol!s}_embedded"))
    else:
        file, size = path / f"{symbol!s}.weights", int(library.weights_size())
        try:
            held = np.fromfile(file, np.uint8)
        except OSError as e:
            raise GanExportError(f"{printable(str(file))} can't be read: {e.strerror}") from None
        if len(held) != size:
            raise GanExportError(f"{printable(str(file))}: {len(held)} bytes of weights instead of {size}")
        weights = ctypes.c_void_p(held.ctypes.data)
    if not getattr(library, f"{symbol!s}_check")(weights):
        raise GanExportError(f"{printable(str(path))}: the weights don't belong to the source, or are damaged")
    return weights, held


def _ask(command: list[str]) -> str:
    """Return the standard output of a compiler; raise GanExportError with its first line if it fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, errors="replace")
    except OSError as e:
        raise UnavailableError(f"c: {printable(command[0])} can't be run: {e.strerror}") from None
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if "error" in line] or done.stderr.splitlines() or ["?"]
        why = printable(lines[0], limit=300)
        raise GanExportError(f"{printable(command[0])} can't compile the exported source: {why}")
    return done.stdout.strip()
