"""A process that opens file after file by the commands: `python -m tests.security.doors JOBS LOG`.

JOBS is JSON: a list of [name, program, words]; a program is a command of ours, or a module with a `main`.  Between two
jobs, a line is added to the log of `watch`.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import os
import sys
from pathlib import Path

from tests.security import watched_calls

# Loaded before the first file is opened, with all dependencies: later imports are caused by a file.
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
    calls = watched_calls.install(calls_too="GAN_WATCH_CALLS" in os.environ)
    for name, program, words in jobs:
        module = importlib.import_module(program if "." in program else f"gan_export.cli.{program}")
        calls.refresh()
        _mark(name)
        sys.argv = [f"gan-{program}", *words]
        output, code = io.StringIO(), 0
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
            try:
                module.main()
            except SystemExit as e:
                code = e.code if isinstance(e.code, int) else 1
            except BaseException as e:
                code, _ = -1, output.write(f"{type(e).__name__}: {e}")
        results.append([name, code, output.getvalue()[-2000:]])
    _mark("end")
    out.write_text(json.dumps(results))


def _mark(name: str) -> None:
    with open(os.environ["GAN_WATCH"], "a") as f:
        f.write(json.dumps(["job", name]) + "\n")


if __name__ == "__main__":
    main()
