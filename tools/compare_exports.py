"""Export the same checkpoints with two source trees and compare the files byte by byte.

    python tools/compare_exports.py BEFORE AFTER [--checkpoint FILE ...] [--work DIR] [--format NAME ...]

BEFORE and AFTER are checkouts, each with its own `.venv` (`make .venv/tested gan_export/libgan.so`) of equal versions.
Without --checkpoint: restatements from `tests/originals` of BEFORE, at their smallest width, and what `exported/` has.
Every export goes through `gan-export`, verified as always.  Reports beside an export hold measurements: left out.
A scripted TorchScript file names the modules of its classes: it counts as equal if it differs by their new names alone.
Exits with 1 if a byte differs or an export fails in one tree alone.  Standard library only.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from house_tables import MOVES

# What is exported of each checkpoint: name, arguments of `gan-export`, the file or folder that it makes.
EXPORTS: tuple[tuple[str, tuple[str, ...], str], ...] = (
    ("onnx", ("onnx",), "g.onnx"),
    ("onnx-fp16", ("onnx", "--precision", "fp16"), "half.onnx"),
    ("onnx-sampler", ("onnx", "--sampler"), "sampler.onnx"),
    ("native", ("native",), "g.gan"),
    ("c", ("c",), "g-c"),
    ("safetensors", ("safetensors",), "g.safetensors"),
    ("torchscript", ("torchscript",), "g.pt"),
    ("torchscript-script", ("torchscript", "--method", "script"), "script.pt"),
    ("torchscript-sampler", ("torchscript", "--sampler"), "sampler.pt"),
    ("pt2", ("pt2",), "g.pt2"),
    ("openvino", ("openvino",), "g.xml"),
    ("ncnn", ("ncnn",), "net.param"),
)

# Layouts that between them have most kinds of layers: residual blocks, one-hot labels, a sigmoid that is rescaled.
ORIGINALS = ("mimicry-32", "one-hot", "caogang")
FLAGS = {"one-hot": ("--classes", "10")}

MAKE = """
import sys
from pathlib import Path
from tests.originals import ORIGINALS
wanted, folder = sys.argv[2:], Path(sys.argv[1])
for original in ORIGINALS:
    if original.name in wanted:
        original.save(original.model(original.other_width), folder / f"{original.name}.pth")
"""

EXPORT = """
import json, sys, traceback
from gan_export.cli.export import app
for words in json.loads(sys.argv[1]):
    print("gan-export", *words, flush=True)
    try:
        app(words, standalone_mode=False)
    except BaseException as e:
        print(f"failed: {e!r}", flush=True)
"""


def python(tree: Path, code: str, *words: str, log: Path) -> subprocess.Popen[bytes]:
    """Start `code` with the interpreter and the package of `tree`."""
    environment = {**os.environ, "PYTHONPATH": str(tree), "OMP_NUM_THREADS": "1"}
    command = [str(tree / ".venv/bin/python"), "-c", code, *words]
    with log.open("wb") as out:
        return subprocess.Popen(command, cwd=tree, env=environment, stdout=out, stderr=subprocess.STDOUT)


def files(folder: Path) -> dict[str, Path]:
    """Every file below `folder` by its name from there, without reports."""
    found = (p for p in sorted(folder.rglob("*")) if p.is_file() and not p.name.endswith(".report.json"))
    return {str(p.relative_to(folder)): p for p in found}


def members(path: Path) -> dict[str, bytes]:
    """What a zip archive holds, without the name of its root."""
    with zipfile.ZipFile(path) as archive:
        return {n.partition("/")[2]: archive.read(n) for n in archive.namelist()}


def renamed(archive: dict[str, bytes]) -> dict[str, bytes]:
    """Return the members of a TorchScript archive with the modules' names after the move, without torch's numbers."""
    names = {k.removesuffix(".py"): v.removesuffix(".py") for k, v in MOVES.items() if k.endswith(".py")}
    names |= {k.replace("/", "."): v.replace("/", ".") for k, v in names.items()}
    longest = sorted((n for n in names if n.startswith("gan_export")), key=len, reverse=True)
    pattern = re.compile("(?<=__torch__.)(" + "|".join(map(re.escape, longest)) + r")(?!\w)")

    def clean(text: str) -> str:
        return re.sub(r"[./]?___torch_mangle_\d+", "", pattern.sub(lambda m: names[m[1]], text))

    made: dict[str, bytes] = {}
    for name, data in archive.items():
        if name.endswith("serialization_id"):  # a hash over names and contents
            continue
        key = clean(name)
        text = clean(data.decode("latin-1")) if key.startswith(("code/", "extra/")) or key == "data.pkl" else ""
        text = re.sub(r'("content_sha256": ?")[0-9a-f]{64}', r"\1", text)
        text = re.sub(r"[X\x8c].{1,4}?(?=__torch__)", "", text, flags=re.DOTALL)  # the length of a pickled name
        made[key] = made.get(key, b"") + (text.encode("latin-1") if text else data)
    return made


def difference(a: Path, b: Path) -> str:
    """Return where two files differ; empty if they don't."""
    before, after = a.read_bytes(), b.read_bytes()
    if before == after:
        return ""
    if zipfile.is_zipfile(a) and zipfile.is_zipfile(b):
        x, y = members(a), members(b)
        if a.suffix == ".pt":
            x, y = renamed(x), renamed(y)
        names = [n for n in sorted({*x, *y}) if x.get(n) != y.get(n)]
        if not names and a.suffix == ".pt":
            return ""
        return f"members: {', '.join(names) or 'equal; the archives differ'}"
    at = next((i for i, (p, q) in enumerate(zip(before, after, strict=False)) if p != q), min(len(before), len(after)))
    sizes = f"{len(before)} and {len(after)} bytes"
    return f"{sizes}, first at byte {at}: {before[at : at + 40]!r}, {after[at : at + 40]!r}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    parser.add_argument("--checkpoint", type=Path, action="append", default=[])
    parser.add_argument("--format", action="append", default=[], choices=[name for name, _, _ in EXPORTS])
    parser.add_argument("--work", type=Path)
    chosen = parser.parse_args()
    work = (chosen.work or Path(tempfile.mkdtemp(prefix="exports-"))).resolve()
    trees = {"before": chosen.before.resolve(), "after": chosen.after.resolve()}
    checkpoints = [p.resolve() for p in chosen.checkpoint]
    if not checkpoints:
        made = work / "checkpoints"
        made.mkdir(parents=True, exist_ok=True)
        if python(trees["before"], MAKE, str(made), *ORIGINALS, log=work / "made.log").wait():
            raise SystemExit((work / "made.log").read_text())
        kept = trees["before"] / "exported/mnist32-conditional/generator.pth"
        checkpoints = [*sorted(made.glob("*.pth")), *([kept] if kept.is_file() else [])]
    exports = [e for e in EXPORTS if not chosen.format or e[0] in chosen.format]
    running = []
    for side, tree in trees.items():
        jobs = []
        for checkpoint in checkpoints:
            folder = work / side / checkpoint.stem
            folder.mkdir(parents=True, exist_ok=True)
            flags = FLAGS.get(checkpoint.stem, ())
            jobs += [[*words, str(checkpoint), "-o", str(folder / out), *flags] for _, words, out in exports]
        running.append(python(tree, EXPORT, json.dumps(jobs), log=work / f"{side}.log"))
    if any(process.wait() for process in running):
        raise SystemExit(f"a tree's exports ended early; see the logs in {work}")
    before, after = files(work / "before"), files(work / "after")
    differ = 0
    for name in sorted({*before, *after}):
        if name not in before or name not in after:
            print(f"{name}: only {'before' if name in before else 'after'}")
            differ += 1
        elif found := difference(before[name], after[name]):
            print(f"{name}: {found}")
            differ += 1
    print(f"{len({*before, *after})} files, {differ} differ; logs and files: {work}")
    return 1 if differ or not before else 0


if __name__ == "__main__":
    sys.exit(main())
