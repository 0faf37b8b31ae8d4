"""The programs in embed/ that run an export by a library from C and C++, each built as its README says."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from .programs import COUNT, LABEL, SEED, as_written, drew, refuses, same

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(
        not (shutil.which("cc") and shutil.which("c++")), reason="no compiler (apt-get install gcc g++)"
    ),
]
ALL = -2


@pytest.mark.parametrize("name", ["c-onnx", "cpp-onnx"])
def test_onnxruntime(
    name: str, samplers: Path, want: np.ndarray, want_labels: dict[int, np.ndarray], tmp_path: Path
) -> None:
    folder = as_written(name, tmp_path)
    sample, graph, labelled = folder / "sample", samplers / "g.sampler.onnx", samplers / "l.sampler.onnx"
    same(drew(sample, graph, SEED, COUNT), want)
    same(drew(sample, labelled, SEED, COUNT), want_labels[-1])
    same(drew(sample, labelled, SEED, COUNT, LABEL), want_labels[LABEL])
    for file in ("junk", "missing", "cut.onnx"):
        refuses(sample, samplers / file, SEED, COUNT, said=file)
    for seed, count in ((-1, 4), (2**63, 4), (SEED, -1)):
        refuses(sample, graph, seed, count, said="0 to 2^63-1")
    for count in (0, 4097):
        refuses(sample, graph, SEED, count, said="1 to 4096")
    refuses(sample, graph, SEED, COUNT, LABEL, said="label 3: this generator has none")
    refuses(sample, labelled, SEED, COUNT, 10, said="out of data bounds")

    refuses("env", "ONNXRUNTIME=/none.so", sample, graph, SEED, COUNT, said="/none.so: no ONNX Runtime")

    draw, graph, latents = folder / "draw", samplers / "g.onnx", samplers / "latents.raw"
    same(drew(draw, graph, latents), want)
    same(drew(draw, samplers / "l.onnx", latents), want_labels[ALL])
    same(drew(draw, samplers / "l.onnx", latents, LABEL), want_labels[LABEL])
    refuses(draw, graph, latents, LABEL, said="label 3: there are none")
    refuses(draw, samplers / "l.onnx", latents, 10, said="label 10: 0 to 9 are possible")
    refuses(draw, samplers / "g.sampler.onnx", latents, said="first input is no latents")
    refuses(draw, samplers / "junk", latents, said="junk")
    refuses(draw, graph, samplers / "missing", said="missing: can't be read")
    too_many = tmp_path / "many.raw"
    np.zeros((4097, 100), np.float32).tofile(too_many)
    for file in (samplers / "junk", too_many, Path("/dev/null")):
        refuses(draw, graph, file, said="1 to 4096 whole rows of 100 floats")
