"""Check gan-bench on this machine in two ways, and write the results to SELF_CHECK.md beside this file.

1. Its median agrees within 5 % with a hand-written loop of ten lines, for eager PyTorch, ONNX Runtime and native.
   Loop and bench take turns, so that drift of the machine affects both.
2. If it is run against itself 20 times, its 95 % interval contains 1.0 at least 18 times.

    python benchmarks/self_check.py            about 10 minutes; exits with 1 if a check fails
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from gan_export.bench import environment, measure, record, stats, summary  # noqa: E402
from gan_export.bench.compare import compare  # noqa: E402
from gan_export.bench.models import find, write_checkpoint  # noqa: E402
from gan_export.bench.plan import Plan  # noqa: E402
from gan_export.bench.target import Source, built_in  # noqa: E402

BATCH = 64
TURNS = 5
SELF_RUNS = 20
# for runs that are compared although made at different times: the interval must include differences of processes
SELF_PLAN = Plan(
    batches=(BATCH,), runtimes=("onnxruntime",), rounds=3, processes=3, block_seconds=0.3, warm_seconds=1.5,
    roofline=False,
)  # fmt: skip

# What a user would write. FILE and BATCH are filled in; each prints seconds per call.
EAGER = """
import statistics, time, torch
from torch import nn
c = (100, 512, 256, 128, 1)
layers = []
for i in range(4):
    layers += [nn.ConvTranspose2d(c[i], c[i + 1], 4, 1 if i == 0 else 2, 0 if i == 0 else 1)]
    layers += [nn.BatchNorm2d(c[i + 1]), nn.ReLU()] if i < 3 else [nn.Tanh()]
model = nn.Sequential(*layers).eval()
model.load_state_dict({k.removeprefix("model."): v for k, v in torch.load(FILE).items()})
torch.set_num_threads(THREADS)
z = torch.randn(BATCH, 100, 1, 1)
times = []
with torch.inference_mode():
    for i in range(CALLS + 3):
        before = time.perf_counter()
        model(z)
        times.append(time.perf_counter() - before)
print(statistics.median(times[3:]))
"""
ONNXRUNTIME = """
import statistics, time, numpy as np, onnxruntime as ort
options = ort.SessionOptions()
options.intra_op_num_threads = THREADS
session = ort.InferenceSession(FILE, options, providers=["CPUExecutionProvider"])
z = np.random.default_rng(0).standard_normal((BATCH, 100), dtype=np.float32)
times = []
for i in range(CALLS + 3):
    before = time.perf_counter()
    session.run(None, {"z": z})
    times.append(time.perf_counter() - before)
print(statistics.median(times[3:]))
"""
NATIVE = """
import statistics, time, numpy as np
from gan_export.runtimes.native import Model
model = Model(FILE)
z = np.random.default_rng(0).standard_normal((BATCH, 100), dtype=np.float32)
times = []
for i in range(CALLS + 3):
    before = time.perf_counter()
    model.generate_floats(latents=z, threads=THREADS)
    times.append(time.perf_counter() - before)
print(statistics.median(times[3:]))
"""


def main() -> int:
    """Run both checks and write the results."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        checkpoint = folder / "classic.pth"
        write_checkpoint(find("classic"), checkpoint)
        subject = built_in("classic", folder)
        from gan_export.bench.backends import find as contender

        onnx, gan = subject.file_for(contender("onnxruntime")), subject.file_for(contender("native"))
        source = Source(checkpoint, {"onnx": onnx, "gan": gan})
        agreements = [
            agreement("eager", EAGER, checkpoint, source),
            agreement("onnxruntime", ONNXRUNTIME, onnx, source),
            agreement("native", NATIVE, gan, source),
        ]
        covered, doubts = coverage(Source(None, {"onnx": onnx}))
    passed = covered >= SELF_RUNS - 2 and all(abs(bench / loop - 1) <= 0.05 for _, loop, bench in agreements)
    text = page(agreements, covered, doubts, passed)
    (HERE / "SELF_CHECK.md").write_text(text)
    print(text)
    return 0 if passed else 1


def agreement(name: str, code: str, file: Path, source: Source) -> tuple[str, float, float]:
    """Return (backend, seconds per call by the loop, by the bench): medians over TURNS turns of each."""
    plan = Plan(batches=(BATCH,), rounds=3, block_seconds=1.0, roofline=False, runtimes=(name,))
    loops, benches = [], []
    for turn in range(TURNS):
        print(f"{name}: turn {turn + 1} of {TURNS}", file=sys.stderr)
        calls = 10
        filled = code.replace("FILE", repr(str(file))).replace("BATCH", str(BATCH)).replace("CALLS", str(calls))
        filled = filled.replace("THREADS", str(plan.resolved_threads()))
        done = subprocess.run([sys.executable, "-c", filled], capture_output=True, text=True, check=True)
        loops.append(float(done.stdout))
        run = measure.run(plan, source, lambda _: None)
        benches.append(stats.median_seconds(run.rows[0].blocks).value)
    return name, statistics.median(loops), statistics.median(benches)


def coverage(source: Source) -> tuple[int, int]:
    """Return (the number of pairs whose interval contains 1, the number of runs that are unstable)."""
    covered = unstable = 0
    for pair in range(SELF_RUNS):
        print(f"A against A: {pair + 1} of {SELF_RUNS}", file=sys.stderr)
        runs: list[record.Run] = [measure.run(SELF_PLAN, source, lambda _: None) for _ in range(2)]
        (found,) = compare(*runs).pairs
        covered += found.ratio is not None and found.ratio.low <= 1 <= found.ratio.high
        unstable += sum(bool(summary.doubts(run)) for run in runs)
    return covered, unstable


def page(agreements: list[tuple[str, float, float]], covered: int, unstable: int, passed: bool) -> str:
    """Return the results, with the machine."""
    here = environment.describe()
    lines = [
        "# Does gan-bench tell the truth?",
        "",
        "Written by `python benchmarks/self_check.py`.",
        "",
        f"{here.cpu}, {here.usable} processors; commit {environment.commit()}; classic generator, batch {BATCH}.",
        "",
        "| runtime | hand-written loop | gan-bench | ratio |",
        "| --- | ---: | ---: | ---: |",
    ]
    for name, loop, bench in agreements:
        shown = f"{summary.seconds_text(loop)} | {summary.seconds_text(bench)} | {bench / loop:.3f}"
        lines.append(f"| {name} | {shown} |")
    lines += [
        "",
        f"Run against itself: the 95 % interval covers 1.0 in {covered} of {SELF_RUNS} comparisons "
        f"({unstable} of those {2 * SELF_RUNS} runs called themselves unstable).",
        "",
        f"{'Passed' if passed else 'Failed'}: within 5 % of the loop, and at least {SELF_RUNS - 2} of {SELF_RUNS}.",
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
