"""Files of a small generator, one real run of it, and helpers that measure."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock

from gan_export.bench import measure, record
from gan_export.bench.plan import Plan
from gan_export.bench.record import Run
from gan_export.bench.target import Source
from tests.runtimes.small import small_files

REPOSITORY = Path(__file__).resolve().parents[2]
BRIEF = Plan(
    batches=(4,), runtimes=("onnxruntime",), rounds=7, block_seconds=0.05, warm_seconds=0.5, threads=1, roofline=False
)
Command = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def files() -> dict[str, Path]:
    """Return the files of the small generator by format."""
    return small_files()


@pytest.fixture(scope="session")
def measured(files: dict[str, Path], shared: Path) -> Run:
    """Return a real run of both quantities, two runtimes and two batch sizes, verified against the checkpoint."""
    kept = shared / "measured.json"
    with FileLock(shared / "measured.lock"):
        if not kept.exists():
            record.write(_measured(files), kept)
    return record.read(kept)


def _measured(files: dict[str, Path]) -> Run:
    plan = Plan(
        batches=(1, 3),
        runtimes=("eager", "onnxruntime", "eager-fp16"),
        quantities=("model", "end_to_end"),
        rounds=3,
        block_seconds=0.03,
        warm_seconds=0.3,
        threads=1,
        device="cpu",
    )
    source = Source(files["checkpoint"], {"onnx": files["onnx"]})
    return measure.run(plan, source, lambda _: None, command="gan-bench small.pth")


@pytest.fixture(scope="session")
def planted(files: dict[str, Path]) -> Callable[..., Run]:
    """Return a function that measures the small generator's ONNX file with a fault in the workers' ONNX Runtime."""

    def run(fault: str, plan: Plan = BRIEF, report: measure.Report = lambda _: None) -> Run:
        registry = measure.Registry(f"tests.runtimes.planted.{fault}", (str(REPOSITORY),))
        return measure.run(plan, Source(None, {"onnx": files["onnx"]}), report, registry=registry)

    return run


@pytest.fixture(scope="session")
def gan_bench() -> Command:
    """Return a function that runs the real command in a process of its own."""

    def run(*arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        code = f"import sys; sys.path.insert(0, {str(REPOSITORY)!r}); from gan_export.cli.bench import main; main()"
        command = [sys.executable, "-P", "-c", code, *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd)

    return run
