"""Each command in a block of the documentation is one that exists, with flags that it has."""

from __future__ import annotations

import importlib
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from gan_export.exporters import EXPORTERS
from tests.conftest import ROOT

DEFAULTS = {"gan-export": "export", "gan-sample": "sample", "gan-bench": "bench", "gan-train": "run"}
PAGES = sorted([*(ROOT / "docs").rglob("*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md"])
_BLOCK = re.compile(r"(?ms)^ *```(?:sh)?\n(.*?)^ *```$")


def commands(text: str) -> Iterator[list[str]]:
    """The words of each command of a page, up to what a shell or a column of remarks adds."""
    for block in _BLOCK.findall(text):
        for line in block.replace("\\\n", " ").splitlines():
            for part in re.split(r"&&|\|\||;|\|", re.sub(r"\s#.*| {3,}\S.*", "", line)):
                words = part.strip().removeprefix("$ ")
                if words.split(" ")[0] in DEFAULTS:
                    yield shlex.split(words)


def group(program: str) -> Any:
    return typer.main.get_command(importlib.import_module(f"gan_export.cli.{program.removeprefix('gan-')}").app)


GROUPS = {program: group(program) for program in DEFAULTS}


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_commands_and_flags_exist(page: Path) -> None:
    for program, *words in commands(page.read_text(encoding="utf-8")):
        known = GROUPS[program].commands
        name = words[0] if words and words[0] in known else DEFAULTS[program]
        if program == "gan-export" and name == "export" and not words[0].isupper():
            assert words[0] in {exporter.name for exporter in EXPORTERS}, (page, words)
        flags = {option for parameter in known[name].params for option in (*parameter.opts, *parameter.secondary_opts)}
        for word in words:
            if re.match(r"--?[a-zA-Z]", word):
                assert word.split("=", maxsplit=1)[0] in flags | {"-h", "--help"}, (page.name, words)


def test_flags_in_prose_exist() -> None:
    known = {name for g in GROUPS.values() for c in g.commands.values() for p in c.params for name in p.opts}
    of_others = {"--help", "--bf16", "--trunc", "--margin", "--at-once"}  # scripts of this repository and of others
    for page in PAGES:
        prose = re.sub(r"(?ms)^ *(```|~~~).*?^ *\1$", "", page.read_text(encoding="utf-8"))
        named = {flag for code in re.findall(r"`(--[^`]*)`", prose) for flag in re.findall(r"--[a-z][\w-]*", code)}
        assert named <= known | of_others, page


def test_a_wrong_flag_would_be_seen() -> None:
    (words,) = commands("```sh\n$ gan-sample g.onnx --sed 7 -o grid.png    # a remark with --flags\n```\n")
    assert words == ["gan-sample", "g.onnx", "--sed", "7", "-o", "grid.png"]
    assert len(list(commands((ROOT / "README.md").read_text(encoding="utf-8")))) >= 8
