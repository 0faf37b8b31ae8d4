"""A process that opens file after file by the commands themselves: `python -m tests.security.doors JOBS LOG`.

JOBS is JSON: a list of [name, program, words].  Between two of them the log of `watch` gets a line of its own.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import os
import sys
from pathlib import Path

# Loaded before the first file is opened, with all that they need: what is imported later is a file's doing.
_ROOMS = (
    "cli.export", "cli.sample", "cli.bench", "cli.train", "pipeline.publish", "checkpoint.summary",
    "verification.batchnorm", "sampling.generator", "training.report", "sampling.interpolate", "checkpoint.reader",
    "bench.measure", "bench.plan", "bench.compare", "bench.report", "datasets.check", "datasets.run",
    "training.trainer", "training.processes",
)  # fmt: skip


def main() -> None:
    jobs = json.loads(Path(sys.argv[1]).read_text())
    out = Path(sys.argv[2])
    for room in _ROOMS:
        importlib.import_module(f"gan_export.{room}")
    results = []
    for name, program, words in jobs:
        _mark(name)
        module = importlib.import_module(f"gan_export.cli.{program}")
        sys.argv = [f"gan-{program}", *words]
        said, code = io.StringIO(), 0
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            try:
                module.main()
            except SystemExit as e:
                code = e.code if isinstance(e.code, int) else 1
            except BaseException as e:
                code, _ = -1, said.write(f"{type(e).__name__}: {e}")
        results.append([name, code, said.getvalue()[-2000:]])
    _mark("end")
    out.write_text(json.dumps(results))


def _mark(name: str) -> None:
    with open(os.environ["GAN_WATCH"], "a") as f:
        f.write(json.dumps(["job", name]) + "\n")


if __name__ == "__main__":
    main()
