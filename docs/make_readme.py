"""Make README.md from README.in.md: each `@@NAME@@` is replaced by the output of commands, or by a table.

    python docs/make_readme.py            with the package installed; run it after a command's output has changed

Commands run in an empty folder that contains the bundled generator as `g.pth`.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from gan_export._lib.escape import markdown_text
from gan_export._lib.fs import atomic_file
from gan_export.pipeline import table
from gan_export.recognize.registry import ARCHS

ROOT = Path(__file__).resolve().parents[1]
COMMANDS: dict[str, tuple[str, ...]] = {
    "EXPORT": ("gan-export onnx g.pth",),
    "SAMPLE": ("gan-sample g.onnx -n 64 --seed 7 -o grid.png", "gan-sample g.pth -n 1000 --seed 7 -o digits.npz"),
}


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        shutil.copyfile(ROOT / "exported" / "mnist32" / "generator.pth", Path(folder) / "g.pth")
        made = filled(lambda name: shown(COMMANDS[name], folder))
    with atomic_file(ROOT / "README.md") as temporary:
        temporary.write_text(made, encoding="utf-8")


def filled(block: Callable[[str], str]) -> str:
    """Return the text of README.md, in which `block` gives what the commands of a name print."""
    text = (ROOT / "docs" / "README.in.md").read_text(encoding="utf-8")
    return re.sub(r"(?m)^@@([A-Z]+)@@$", lambda m: TABLES[m[1]]() if m[1] in TABLES else block(m[1]), text)


def formats() -> str:
    """Return the table of formats."""
    return str(table.markdown()).rstrip()


def families() -> str:
    """Return the table of families."""
    rows = [
        f"| `{family.name}` | {markdown_text(family.source)!s}{' (a generic reading)' if family.generic else ''} |"
        for family in ARCHS
    ]
    return "\n".join(["| Family | Whose files |", "|---|---|", *rows])


TABLES: dict[str, Callable[[], str]] = {"FORMATS": formats, "FAMILIES": families}


def shown(commands: tuple[str, ...], folder: str) -> str:
    """Return a block of the commands with their output, as in a terminal of 100 columns."""
    lines = ["```"]
    for command in commands:
        lines += [f"$ {command}", *(line.rstrip() for line in printed(command, folder).rstrip().splitlines())]
    return "\n".join([*lines, "```"])


def printed(command: str, folder: str) -> str:
    """Return the standard output of a command; exit if it fails."""
    environment = os.environ | {"COLUMNS": "100", "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(command.split(), cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{command}: exit code {done.returncode}\n{done.stderr}")
    return done.stdout


if __name__ == "__main__":
    main()
