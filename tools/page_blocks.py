"""Run the blocks of a page of the documentation, in order, in one folder.

    python tools/page_blocks.py docs/start/dcgan.md FOLDER [NAME=COPY ...]

A block ```sh is run by bash, and ends the page if a command fails.  A block with a title, such as
```python title="tower.py", is written to the file of that name.  A block ```text after a ```sh has lines that the
block prints, apart from the digits of numbers.  A block after a comment `<!-- not run: reason -->` is not run.
`<!-- needs: WHAT -->` skips the rest of the page if the next block fails.  `$CLONE` is the folder of the repository.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
_PART = re.compile(r"(?ms)^<!-- (not run|needs): ([^\n]*?) -->$|^```(\w+)?(?: title=\"([^\"]+)\")?\n(.*?)^```$")
_NUMBER = re.compile(r"\d[\d.,]*(?:e[+-]?\d+)?")
_SNIPPET = re.compile(r'(?m)^--8<-- "([^"]+)"$')


@dataclass(frozen=True, slots=True)
class Step:
    """One part of a page: what to do with it and its text, or the lines that the step before must print."""

    kind: str  # run, write, prints; needs: a run whose failure skips the rest
    text: str
    file: str = ""


class BlockError(Exception):
    """A block that failed or printed something else than the page shows."""


def steps(page: str) -> Iterator[Step]:
    """Yield the steps of a page in order."""
    skip, after_run, kind = False, False, "run"
    for part in _PART.finditer(page):
        directive, _reason, language, title, body = part.groups()
        if directive == "needs":
            kind = "needs"
            continue
        if directive == "not run":
            skip = True
            continue
        if skip:
            skip, after_run = False, False
            continue
        if title:
            yield Step("write", _SNIPPET.sub(lambda m: (ROOT / m[1]).read_text(encoding="utf-8"), body), title)
        elif language == "sh":
            yield Step(kind, body)
            kind = "run"
        elif language == "text" and after_run:
            yield Step("prints", body)
        after_run = language == "sh" and not title


def run(page: str, folder: Path, done_before: Mapping[str, Path] | None = None) -> list[str]:
    """Run a page in `folder`; return why a part of it was skipped, a line each.

    done_before: the results of blocks that begin with a command and were run elsewhere: a folder to link to
    Raises BlockError.
    """
    skipped: list[str] = []
    printed = ""
    for step in steps(page):
        if step.kind == "write":
            (folder / step.file).write_text(step.text, encoding="utf-8")
        elif step.kind == "prints":
            _compare(step.text, printed)
        elif known := [made for command, made in (done_before or {}).items() if step.text.startswith(command)]:
            (folder / known[0].name).symlink_to(known[0])
        else:
            done = _bash(step.text, folder)
            printed = done.stdout
            if done.returncode and step.kind == "needs":
                skipped.append(f"{step.text.strip()}: {printed.strip()[-300:]}")
                break
            if done.returncode:
                raise BlockError(f"exit code {done.returncode} of\n{step.text}\n{printed}")
    return skipped


def _bash(text: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a text with standard error and output together; a wide terminal keeps lines whole."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"PATH": path, "CLONE": str(ROOT), "COLUMNS": "110", "PYTHONPATH": ""}
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", text], cwd=folder, env=environment, text=True, check=False,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=500,
    )  # fmt: skip


def _compare(shown: str, printed: str) -> None:
    """Raise BlockError for a line of the page that was not printed; lengths of spaces and digits don't count."""

    def plain(line: str) -> str:
        return " ".join(_NUMBER.sub("#", line).split())

    lines = {plain(line) for line in printed.splitlines()}
    for line in shown.splitlines():
        if line.strip() and set(line.strip()) - {"─", "-"} and plain(line) not in lines:
            raise BlockError(f"the page shows a line that is not printed:\n{line}\nprinted:\n{printed}")


def main(arguments: list[str]) -> None:
    """Run one page, and copy files that it made."""
    page, folder, *keep = arguments
    Path(folder).mkdir(parents=True, exist_ok=True)
    for line in run(Path(page).read_text(encoding="utf-8"), Path(folder)):
        print(f"skipped: {line}")
    for pair in keep:
        name, _, target = pair.partition("=")
        Path(target).write_bytes((Path(folder) / name).read_bytes())


if __name__ == "__main__":
    main(sys.argv[1:])
