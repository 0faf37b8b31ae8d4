"""The programs in embed/, each built and run as its README says, against Python's pictures of the same seed."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gan_export import checkpoint
from gan_export.exporters import find
from gan_export.exporters.base import Options
from gan_export.runtimes.native_library import library_path

from .programs import ALL, COUNT, EMBED, LABEL, ROOT, SEED, built, drew, refuses, run, same, stops_at_a_full_disk


def test_python_onnx(files: Path, want: np.ndarray) -> None:
    program = (sys.executable, EMBED / "python-onnx/draw.py")
    latents, out = files / "latents.npy", files / "o.npy"
    same(drew(*program, files / "g.onnx", latents, out, out=out), want)
    refuses(*program, files / "junk", latents, files / "no.npy", error="junk")
    refuses(*program, files / "g.onnx", files / "missing.npy", files / "no.npy", error="missing.npy")
    refuses(*program, files / "g.onnx", latents, files / "no.npy", 3, error="label 3: this generator has none")
    np.save(files / "none.npy", np.empty((0, 100), np.float32))
    refuses(*program, files / "g.onnx", files / "none.npy", files / "no.npy", error="rows of latents")
    assert not (files / "no.npy").exists()


@pytest.mark.long
def test_python_onnx_of_images(image_files: Path, want_image: np.ndarray) -> None:
    program, out = (sys.executable, EMBED / "python-onnx/apply.py"), image_files / "made.png"
    for model in ("t.onnx", "t.uint8.onnx"):
        done = run(*program, image_files / model, image_files / "in.png", out)
        assert done.returncode == 0, done.stderr.decode()
        with Image.open(out) as made:
            same(np.asarray(made), want_image)
    no = image_files / "no.png"
    refuses(*program, image_files / "in.png", image_files / "in.png", no, error="in.png")
    refuses(*program, image_files / "t.onnx", image_files / "t.onnx", no, error="cannot identify image file")
    refuses(*program, image_files / "t.onnx", image_files / "missing.png", no, error="missing.png")
    assert not no.exists()


@pytest.mark.long
def test_python_onnx_of_other_values(files: Path, want_kinds: dict[str, np.ndarray]) -> None:
    program, out = (sys.executable, EMBED / "python-onnx/draw.py"), files / "k.npy"
    for stem, pictures in want_kinds.items():
        same(drew(*program, files / f"{stem}.onnx", files / "latents.npy", out, out=out), pictures)


@pytest.mark.long
def test_python_tract(
    samplers: Path, want: np.ndarray, want_labels: dict[int, np.ndarray], want_kinds: dict[str, np.ndarray]
) -> None:
    pytest.importorskip("tract", reason="tract is not installed (pip install tract)")
    program = (sys.executable, EMBED / "python-tract/draw.py")
    latents, out, no = samplers / "latents.npy", samplers / "t.npy", samplers / "no.npy"
    same(drew(*program, samplers / "g.onnx", latents, out, out=out), want)
    same(drew(*program, samplers / "l.onnx", latents, out, out=out), want_labels[ALL])
    for stem, pictures in want_kinds.items():
        same(drew(*program, samplers / f"{stem}.onnx", latents, out, out=out), pictures)
    same(drew(*program, samplers / "l.onnx", latents, out, LABEL, out=out), want_labels[LABEL])
    refuses(*program, samplers / "missing", latents, no, error="missing")
    for file in ("junk", "cut.onnx"):
        refuses(*program, samplers / file, latents, no, error="failed to decode Protobuf message")
    refuses(*program, samplers / "g.sampler.onnx", latents, no, error="tract runs no sampler graph")
    refuses(*program, samplers / "g.onnx", samplers / "missing.npy", no, error="missing.npy")
    for name, shape in (("none", (0, 100)), ("narrow", (4, 99))):
        np.save(samplers / f"{name}.npy", np.zeros(shape, np.float32))
        refuses(
            *program, samplers / "g.onnx", samplers / f"{name}.npy", no, error="latents of shape (N, 100) are needed"
        )
    refuses(*program, samplers / "g.onnx", latents, no, LABEL, error="label 3: this generator has none")
    refuses(*program, samplers / "l.onnx", latents, no, 10, error="label 10: must be 0 to 9")
    assert not no.exists()


@pytest.mark.long
def test_python_onnx_sampler(samplers: Path, want: np.ndarray, want_labels: dict[int, np.ndarray]) -> None:
    program = (sys.executable, EMBED / "python-onnx/sample.py")
    out, no = samplers / "s.npy", samplers / "no.npy"
    same(drew(*program, samplers / "g.sampler.onnx", SEED, COUNT, out, out=out), want)
    for label in (-1, LABEL):
        same(drew(*program, samplers / "l.sampler.onnx", SEED, COUNT, out, label, out=out), want_labels[label])
    for file in ("junk", "missing", "cut.onnx"):
        refuses(*program, samplers / file, SEED, COUNT, no, error=file)
    for seed, count in ((-1, 4), (2**63, 4), (SEED, 0), (SEED, 10**12)):
        refuses(*program, samplers / "g.sampler.onnx", seed, count, no, error="the count 1 to 4096")
    refuses(*program, samplers / "g.sampler.onnx", SEED, COUNT, no, LABEL, error="label 3: this generator has none")
    refuses(*program, samplers / "l.sampler.onnx", SEED, COUNT, no, 10, error="out of data bounds")
    assert not no.exists()


@pytest.mark.long
def test_the_lines_of_python_onnx_draw(
    samplers: Path, want: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (EMBED / "python-onnx/README.md").read_text()
    lines = [line[4:] for line in page.splitlines() if line.startswith("    ")][2:]
    assert len(lines) == 5
    shutil.copy(samplers / "g.sampler.onnx", tmp_path)
    monkeypatch.chdir(tmp_path)
    exec("\n".join(lines), {})
    same(np.load("pictures.npy")[:COUNT], want)


@pytest.mark.skipif(not shutil.which("gcc"), reason="gcc is not installed (apt-get install gcc)")
def test_c_native(files: Path, want: np.ndarray) -> None:
    library, program = library_path(), files / "draw"
    flags = ["-std=c11", "-Wall", "-Wextra", "-Werror", f"-I{ROOT / 'engine/include'}"]
    built("gcc", *flags, EMBED / "c-native/draw.c", library, f"-Wl,-rpath,{library.parent}", "-o", program)
    same(drew(program, files / "g.gan", SEED, COUNT), want)
    refuses(program, files / "junk", SEED, COUNT, error="not a .gan file")
    refuses(program, files / "missing", SEED, COUNT, error="can't be read")
    for wrong in (("-1", 4), (SEED, 0), ("x", 4), (2**64, 4)):
        refuses(program, files / "g.gan", *wrong, error="usage")
    stops_at_a_full_disk(program, files / "g.gan", SEED, 1)


@pytest.mark.skipif(not shutil.which("gcc"), reason="gcc is not installed (apt-get install gcc)")
def test_c_export(
    files: Path,
    classic_pth: Path,
    labeled: checkpoint.Checkpoint,
    want: np.ndarray,
    want_labels: dict[int, np.ndarray],
) -> None:
    flags = ["-std=c99", "-O3", "-march=native", "-Wall", "-Wextra", "-Werror", "-pedantic"]

    def program(name: str, read: checkpoint.Checkpoint, *more: str) -> tuple[Path, Path]:
        """The program, compiled with what is exported, and its weights."""
        folder = files / name
        folder.mkdir()
        find("c").write(read, folder, Options())
        sources = (EMBED / "c-export/draw.c", folder / "generator.c")
        built("gcc", *flags, *more, f"-I{folder}", *sources, "-lm", "-o", folder / "draw")
        return folder / "draw", folder / "generator.weights"

    plain, weights = program("plain", checkpoint.read(classic_pth))
    same(drew(plain, weights, SEED, COUNT), want)
    refuses(plain, weights, SEED, COUNT, LABEL, error="label 3: this generator has none")
    stops_at_a_full_disk(plain, weights, SEED, 1)
    labels, others = program("labels", labeled, "-DLABELS")
    same(drew(labels, others, SEED, COUNT), want_labels[-1])
    same(drew(labels, others, SEED, COUNT, LABEL), want_labels[LABEL])
    refuses(labels, others, SEED, COUNT, 10, error="label 10: must be 0 to 9")
    for file in (files / "junk", files / "missing", others):
        refuses(plain, file, SEED, COUNT, error="can't be read, or isn't the weights")
    for wrong in ((-1, 4), (SEED, 0), ("x", 4), (2**64, 4)):
        refuses(plain, weights, *wrong, error="usage")


@pytest.mark.skipif(not shutil.which("node"), reason="node is not installed (apt-get install nodejs)")
def test_wasm_in_node(files: Path, want: np.ndarray) -> None:
    program = ("node", EMBED / "wasm/draw.js")
    same(drew(*program, files / "g.gan", SEED, COUNT), want)
    refuses(*program, files / "junk", SEED, COUNT, error="not a .gan file")
    refuses(*program, files / "g.gan", SEED, 0, error="count 0")
    refuses(*program, files / "g.gan", SEED, 10**9, error="images at once")
    stops_at_a_full_disk(*program, files / "g.gan", SEED, 1)


def test_wasm_in_python(files: Path, want: np.ndarray) -> None:
    pytest.importorskip("wasmtime", reason="wasmtime is not installed (pip install wasmtime)")
    program, out = (sys.executable, EMBED / "wasm/draw.py"), files / "w.npy"
    for build in ("gan.wasm", "gan-simd.wasm"):
        engine = ROOT / "gan_export/web" / build
        same(drew(*program, engine, files / "g.gan", SEED, COUNT, out, out=out), want)
    refuses(*program, engine, files / "junk", SEED, COUNT, files / "no.npy", error="not a .gan file")
    refuses(*program, engine, files / "missing", SEED, COUNT, files / "no.npy", error="missing")
    for seed, count in ((SEED, 0), (2**64, 1)):
        refuses(*program, engine, files / "g.gan", seed, count, files / "no.npy", error="the count 1 to 4096")


@pytest.mark.long
@pytest.mark.skipif(not shutil.which("npm"), reason="npm is not installed (apt-get install npm)")
def test_node_onnx(files: Path, want: np.ndarray, want_kinds: dict[str, np.ndarray]) -> None:
    folder = files / "node"
    shutil.copytree(EMBED / "node-onnx", folder)
    # its install script only fetches GPU libraries; the CPU's are in the package
    installed = run("npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", cwd=folder)
    if installed.returncode:
        pytest.skip(f"onnxruntime-node can't be installed: {os.fsdecode(installed.stderr[-200:])}")
    program, out = ("node", folder / "draw.js"), files / "n.raw"
    same(drew(*program, files / "g.onnx", 100, files / "latents.raw", out, out=out), want)
    for stem in ("u", "n"):
        same(drew(*program, files / f"{stem}.onnx", 100, files / "latents.raw", out, out=out), want_kinds[stem])
    refuses(*program, files / "r.onnx", 100, files / "latents.raw", files / "no.raw", error="values in [-1, 1]")
    refuses(*program, files / "junk", 100, files / "latents.raw", files / "no.raw", error="draw: ")
    refuses(*program, files / "g.onnx", 99, files / "latents.raw", files / "no.raw", error="whole rows")
    assert not (files / "no.raw").exists()
