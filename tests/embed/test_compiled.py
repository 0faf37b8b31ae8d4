"""The programs in embed/ that run an export by a library from C and C++, each built as its README says."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from gan_export import checkpoint
from gan_export.exporters import find
from gan_export.exporters.base import Options

from .programs import (
    ALL,
    COUNT,
    LABEL,
    SEED,
    STRICT,
    applies_to_an_image,
    as_written,
    built,
    drew,
    refuses,
    same,
    stops_at_a_full_disk,
)

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(
        not (shutil.which("cc") and shutil.which("c++")), reason="no compiler (apt-get install gcc g++)"
    ),
]
needs_cmake = pytest.mark.skipif(not shutil.which("cmake"), reason="cmake is not installed (apt-get install cmake)")
Kinds = dict[str, tuple[checkpoint.Checkpoint, Options]]


def draws_from_latents(
    draw: Path, graphs: tuple[Path, Path], want: np.ndarray, want_labels: dict[int, np.ndarray], folder: Path
) -> None:
    """What every program does that takes latents: those of the files `graphs`, without labels and with them."""
    graph, labeled = graphs
    latents = graph.parent / "latents.raw"
    same(drew(draw, graph, latents), want)
    same(drew(draw, labeled, latents), want_labels[ALL])
    same(drew(draw, labeled, latents, LABEL), want_labels[LABEL])
    refuses(draw, graph, latents, LABEL, error="label 3: this generator has none")
    refuses(draw, labeled, latents, 10, error="label 10: must be 0 to 9")
    refuses(draw, labeled, latents, -1, error="draw")
    refuses(draw, graph.parent / "missing", latents, error="missing")
    refuses(draw, graph.parent / "junk", latents, error="draw: ")
    refuses(draw, graph.with_stem("cut"), latents, error="draw: ")
    refuses(draw, graph, graph.parent / "missing", error="missing: can't be read")
    refuses(draw, graph, error="usage")
    too_many = folder / "many.raw"
    np.zeros((4097, 100), np.float32).tofile(too_many)
    for file in (graph.parent / "junk", too_many, Path("/dev/null")):
        refuses(draw, graph, file, error="1 to 4096 whole rows of 100 floats")
    stops_at_a_full_disk(draw, graph, graph.parent / "one.raw")


def draws_from_seeds(
    sample: Path, graphs: tuple[Path, Path], want: np.ndarray, want_labels: dict[int, np.ndarray]
) -> None:
    """What every program does that takes a seed."""
    graph, labeled = graphs
    same(drew(sample, graph, SEED, COUNT), want)
    same(drew(sample, labeled, SEED, COUNT), want_labels[-1])
    same(drew(sample, labeled, SEED, COUNT, LABEL), want_labels[LABEL])
    refuses(sample, graph.parent / "missing", SEED, COUNT, error="missing")
    refuses(sample, graph.parent / "junk", SEED, COUNT, error=f"{sample.name}: ")
    refuses(sample, graph.parent / f"cut{graph.suffix}", SEED, COUNT, error=f"{sample.name}: ")
    for seed, count in ((-1, 4), (2**63, 4), (SEED, -1)):
        refuses(sample, graph, seed, count, error="0 to 2^63-1")
    for count in (0, 4097):
        refuses(sample, graph, SEED, count, error="1 to 4096")
    refuses(sample, graph, SEED, COUNT, LABEL, error="label 3: ")
    refuses(sample, labeled, SEED, COUNT, 10, error="10")
    refuses(sample, graph, error="usage")
    stops_at_a_full_disk(sample, graph, SEED, 1)


@pytest.mark.parametrize("name", ["c-onnx", "cpp-onnx"])
def test_onnxruntime(
    name: str,
    samplers: Path,
    want: np.ndarray,
    want_labels: dict[int, np.ndarray],
    want_kinds: dict[str, np.ndarray],
    image_files: Path,
    want_image: np.ndarray,
    tmp_path: Path,
) -> None:
    folder = as_written(name, tmp_path)
    sample, draw, latents = folder / "sample", folder / "draw", samplers / "latents.raw"
    draws_from_seeds(sample, (samplers / "g.sampler.onnx", samplers / "l.sampler.onnx"), want, want_labels)
    draws_from_latents(draw, (samplers / "g.onnx", samplers / "l.onnx"), want, want_labels, tmp_path)
    same(drew(draw, samplers / "n.onnx", latents), want_kinds["n"])
    refuses(draw, samplers / "r.onnx", latents, error="values in [-1, 1] are needed")
    refuses(draw, samplers / "u.onnx", latents, error="the model draws no float32")
    refuses(sample, samplers / "g.onnx", SEED, COUNT, error="Invalid input name: seed")
    refuses(draw, samplers / "g.sampler.onnx", latents, error="first input is no latents")
    refuses("env", "ONNXRUNTIME=/none.so", sample, samplers / "g.onnx", SEED, 1, error="/none.so: no ONNX Runtime")
    if name == "cpp-onnx":
        apply = folder / "apply"
        applies_to_an_image(apply, image_files / "t.uint8.onnx", want_image)
        refuses(apply, image_files / "t.onnx", image_files / "in.ppm", error="a generator of images with --uint8")


@needs_cmake
def test_torchscript(
    scripts: Path,
    kinds: Kinds,
    want: np.ndarray,
    want_labels: dict[int, np.ndarray],
    want_kinds: dict[str, np.ndarray],
    tmp_path: Path,
) -> None:
    draw = as_written("cpp-torchscript", tmp_path) / "build/draw"
    draws_from_seeds(draw, (scripts / "g.sampler.pt", scripts / "l.sampler.pt"), want, want_labels)
    draws_from_latents(draw, (scripts / "g.pt", scripts / "l.pt"), want, want_labels, tmp_path)
    refuses(draw, scripts / "g.pt", SEED, error="7: can't be read")
    draws_kinds(draw, "torchscript", scripts, kinds, want_kinds)


@needs_cmake
def test_openvino(
    samplers: Path,
    kinds: Kinds,
    want: np.ndarray,
    want_labels: dict[int, np.ndarray],
    want_kinds: dict[str, np.ndarray],
    classic_pth: Path,
    tmp_path: Path,
) -> None:
    pytest.importorskip("openvino", reason="openvino is not installed (pip install openvino)")
    find("openvino").write(checkpoint.read(classic_pth), samplers / "g.xml", Options())
    draw = as_written("c-openvino", tmp_path) / "build/draw"
    graph, labeled, latents = samplers / "g.sampler.onnx", samplers / "l.sampler.onnx", samplers / "latents.raw"
    same(drew(draw, graph, SEED, COUNT), want)
    same(drew(draw, labeled, SEED, COUNT), want_labels[-1])
    same(drew(draw, labeled, SEED, COUNT, LABEL), want_labels[LABEL])
    for file in ("g.xml", "g.onnx"):
        same(drew(draw, samplers / file, latents), want)
    refuses(draw, samplers / "missing", SEED, COUNT, error="missing")
    refuses(draw, samplers / "cut.onnx", SEED, COUNT, error="cut.onnx: Model can't be parsed")
    shutil.copy(samplers / "g.xml", tmp_path)
    refuses(draw, tmp_path / "g.xml", latents, error="g.xml: Empty weights data")
    for seed, count in ((-1, 4), (2**63, 4), (SEED, 0), (SEED, 4097)):
        refuses(draw, graph, seed, count, error="usage")
    refuses(draw, graph, 2**32, COUNT, error="the seed or label may be out of range")
    refuses(draw, graph, SEED, COUNT, LABEL, error="label 3: this generator has none")
    refuses(draw, labeled, SEED, COUNT, 10, error="the seed or label may be out of range")
    refuses(draw, samplers / "l.onnx", latents, error="takes a label for each latent")
    refuses(draw, samplers / "g.onnx", samplers / "missing", error="missing: can't be read")
    refuses(draw, samplers / "g.onnx", samplers / "junk", error="1 to 4096 whole rows of 100 floats")
    draws_kinds(draw, "openvino", samplers, kinds, want_kinds)
    for stem in ("u", "n"):
        same(drew(draw, samplers / f"{stem}.onnx", latents), want_kinds[stem])
    refuses(draw, samplers / "r.onnx", latents, error="values in [-1, 1] are needed")
    stops_at_a_full_disk(draw, graph, SEED, 1)
    stops_at_a_full_disk(draw, samplers / "g.xml", samplers / "one.raw")


def draws_kinds(draw: Path, name: str, folder: Path, kinds: Kinds, want: dict[str, np.ndarray]) -> None:
    """Of the exporter called `name`: files of bytes and of values without bounds; those in [0, 1] are refused."""
    exporter = find(name)
    for stem, (read, options) in kinds.items():
        file = folder / f"{stem}{exporter.suffix}"
        exporter.write(read, file, options)
        if stem == "r":
            refuses(draw, file, folder / "latents.raw", error="values in [-1, 1] are needed")
        else:
            same(drew(draw, file, folder / "latents.raw"), want[stem])


@pytest.mark.skipif(
    not (shutil.which("wasm2c") and Path("/usr/include/wasm-rt.h").exists()),
    reason="wasm2c is not installed (apt-get install wabt)",
)
def test_wasm(files: Path, want: np.ndarray, tmp_path: Path) -> None:
    folder = as_written("wasm", tmp_path, block=2, flags="")  # what wasm2c writes isn't free of warnings
    built("cc", *STRICT.split(), "-std=c11", "-fsyntax-only", "draw.c", cwd=folder)
    draw = folder / "draw"
    same(drew(draw, files / "g.gan", SEED, COUNT), want)
    refuses(draw, files / "junk", SEED, COUNT, error="not a .gan file")
    refuses(draw, files / "missing", SEED, COUNT, error="can't be read")
    for wrong in ((-1, 4), (SEED, 0), ("x", 4), (2**64, 4), ()):
        refuses(draw, files / "g.gan", *wrong, error="usage")
    stops_at_a_full_disk(draw, files / "g.gan", SEED, 1)
