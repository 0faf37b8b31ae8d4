"""Measure the machine's peak: its fastest matrix product and its fastest copy.

Runs in a process of its own, so that threads and memory of the parent don't interfere.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

from gan_export.errors import GanExportError, printable
from gan_export.runtimes.subprocess_session import THREAD_VARIABLES

_SECONDS = 0.4  # of measuring, per quantity
_COPY_BYTES = 1 << 28  # several times the size of any last-level cache
_CPU_SIDE, _CUDA_SIDE = 1536, 8192  # side of the square matrices, large enough that arithmetic bounds the product
_START = "import sys; sys.path.append(sys.argv[1]); from gan_export.bench.roofline import main; main(sys.argv[2:])"


@dataclass(frozen=True, slots=True)
class Peak:
    """The machine's peak per second.

    flops: of the best matrix product, by precision; bytes: read and written by a copy
    """

    flops: dict[str, float]
    bytes: float


def measure_peak(device: str, threads: int) -> Peak:
    """Measure the peak in a fresh process; raise GanExportError if that process fails."""
    home = str(Path(__file__).resolve().parents[2])
    command = [sys.executable, "-P", "-c", _START, home, device, str(threads)]
    environment = os.environ | dict.fromkeys(THREAD_VARIABLES, str(threads))
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or ["no reason given"]
        raise GanExportError(f"the machine's peak can't be measured: {printable(lines[-1])}")
    data = json.loads(done.stdout.strip().splitlines()[-1])
    return Peak(flops=data["flops"], bytes=data["bytes"])


def main(arguments: list[str]) -> None:
    """Measure the peak, as the child process, and print it."""
    device, threads = arguments[0], int(arguments[1])
    peak = _of_cuda() if device == "cuda" else _of_cpu(threads)
    print(json.dumps(asdict(peak)))


def _of_cpu(threads: int) -> Peak:
    """Measure NumPy's BLAS, whose threads the environment sets, and as many threads that each copy a share."""
    import numpy as np

    a = np.random.default_rng(0).standard_normal((_CPU_SIDE, _CPU_SIDE), dtype=np.float32)
    b, out = a.copy(), np.empty_like(a)
    product = 2 * _CPU_SIDE**3 / _fastest(lambda: np.matmul(a, b, out=out))
    source = [np.ones(_COPY_BYTES // threads, np.uint8) for _ in range(threads)]
    target = [np.empty_like(s) for s in source]
    with ThreadPoolExecutor(threads) as pool:
        copied = 2 * sum(s.nbytes for s in source) / _fastest(lambda: list(pool.map(np.copyto, target, source)))
    return Peak({"fp32": product}, copied)


def _of_cuda() -> Peak:
    import torch

    def synchronized(call: Callable[[], object]) -> Callable[[], object]:
        def both() -> None:
            call()
            torch.cuda.synchronize()

        return both

    best = {}
    for name, dtype in (
        ("fp32", torch.float32),
        ("tf32", torch.float32),
        ("bf16", torch.bfloat16),
        ("fp16", torch.float16),
    ):
        torch.backends.cuda.matmul.allow_tf32 = name == "tf32"
        a = torch.randn(_CUDA_SIDE, _CUDA_SIDE, dtype=dtype, device="cuda")
        b, out = a.clone(), torch.empty_like(a)
        call = synchronized(lambda a=a, b=b, out=out: torch.mm(a, b, out=out))  # type: ignore[misc]
        best[name] = 2 * _CUDA_SIDE**3 / _fastest(call)
    source = torch.ones(_COPY_BYTES, dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    return Peak(best, 2 * _COPY_BYTES / _fastest(synchronized(lambda: target.copy_(source))))


def _fastest(call: Callable[[], object]) -> float:
    """Return the seconds of the fastest call, because a peak is the machine's best, not its average."""
    call()
    end = time.perf_counter() + _SECONDS
    best = math.inf
    while time.perf_counter() < end:
        before = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - before)
    return best
