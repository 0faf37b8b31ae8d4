"""README.md from README.in.md: every `@@NAME@@` becomes what commands really printed, a table as it stands.

    python docs/make_readme.py            with the package installed; run it where a command's output has changed

Commands run in an empty folder that holds the shipped generator as `g.pth`.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from gan_export._lib.fs import atomic_file
from gan_export.bench import report, summary

ROOT = Path(__file__).resolve().parents[1]
COMMANDS: dict[str, tuple[str, ...]] = {
    "EXPORT": ("gan-export onnx g.pth",),
    "INSPECT": ("gan-export inspect g.pth",),
    "SAMPLE": ("gan-sample g.onnx -n 64 --seed 7 -o grid.png", "gan-sample g.pth -n 1000 --seed 7 -o digits.npz"),
    "TRAIN": ("gan-train list",),
}
TABLES: dict[str, str] = {"FORMATS": "gan-export list --markdown"}


def main() -> None:
    text = (ROOT / "docs" / "README.in.md").read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as folder:
        shutil.copyfile(ROOT / "exported" / "mnist32" / "generator.pth", Path(folder) / "g.pth")

        def output(name: str) -> str:
            if name == "SPEED":
                return speed()
            return printed(TABLES[name], folder).rstrip() if name in TABLES else shown(COMMANDS[name], folder)

        made = re.sub(r"(?m)^@@([A-Z]+)@@$", lambda m: output(m[1]), text)
    with atomic_file(ROOT / "README.md") as temporary:
        temporary.write_text(made, encoding="utf-8")


def speed() -> str:
    """A table of each suite's newest run in benchmarks/results: images a second, by runtime and batch."""
    tables = []
    runs = sorted(report.read_all(ROOT / "benchmarks" / "results").values(), key=lambda run: run.created)
    for run in {run.suite: run for run in runs if run.suite}.values():
        lines = [line for line in summary.lines(run) if line.quantity == "model"]
        batches = sorted({line.batch for line in lines})
        size = "x".join(str(n) for n in (*run.model.image[1:], run.model.image[0]))
        where = run.machine.gpu if run.settings.device == "cuda" else None
        where = where or f"{run.machine.cpu}, {run.settings.threads} threads"
        tables += [f"Images per second, {run.model.name} {size}, {where}:", ""]
        tables += ["| batch | " + " | ".join(str(b) for b in batches) + " |", "|---|" + "---:|" * len(batches)]
        for title in dict.fromkeys(summary.title(line.entry) for line in lines):
            rates = {line.batch: line.rate for line in lines if summary.title(line.entry) == title}
            cells = (summary.rate_text(rate.value) if (rate := rates.get(b)) else "" for b in batches)
            tables.append(f"| {title} | " + " | ".join(cells) + " |")
        tables.append("")
    return "\n".join(tables).rstrip()


def shown(commands: tuple[str, ...], folder: str) -> str:
    """A block of the commands with their output, as a reader would see them in a terminal of 100 columns."""
    lines = ["```"]
    for command in commands:
        lines += [f"$ {command}", *(line.rstrip() for line in printed(command, folder).rstrip().splitlines())]
    return "\n".join([*lines, "```"])


def printed(command: str, folder: str) -> str:
    """What one command prints on its standard output."""
    environment = os.environ | {"COLUMNS": "100", "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(command.split(), cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{command}: exit code {done.returncode}\n{done.stderr}")
    return done.stdout


if __name__ == "__main__":
    main()
