"""The programs in embed/, each built and run as its README says, against Python's pictures of the same seed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from gan_export import checkpoint, latents
from gan_export.artifact import report_path
from gan_export.export import find
from gan_export.export.base import Options
from gan_export.runtimes.native import NATIVE, Model, library_path

ROOT = Path(__file__).resolve().parents[2]
EMBED = ROOT / "embed"
COUNT, SEED = 40, 7
pytestmark = pytest.mark.skipif(not NATIVE.availability().ok, reason="the C engine was not built")


@pytest.fixture(scope="module")
def files(classic_pth: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with g.onnx, g.gan, and latents as .npy and .raw."""
    folder = tmp_path_factory.mktemp("embed")
    read = checkpoint.read(classic_pth)
    for name in ("onnx", "native"):
        exporter = find(name)
        exporter.write(read, folder / f"g{exporter.suffix}", Options())
    z = latents.draw(SEED, 0, COUNT, 100)
    np.save(folder / "latents.npy", z)
    z.tofile(folder / "latents.raw")
    (folder / "junk").write_bytes(b"no model at all")
    assert not report_path(folder / "g.gan").exists()
    return folder


@pytest.fixture(scope="module")
def want(files: Path) -> np.ndarray:
    with Model(files / "g.gan") as model:
        return model.generate(SEED, COUNT)


def run(*command: object, cwd: Path | None = None) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([*map(str, command)], capture_output=True, timeout=120, check=False, cwd=cwd)


def same(got: np.ndarray, want: np.ndarray) -> None:
    """Two orders of adding up: a byte in a thousand of these few may differ, by 1."""
    assert got.size == want.size
    off = np.abs(got.astype(int).ravel() - want.astype(int).ravel())
    assert off.max() <= 1
    assert (off > 0).mean() <= 1e-3


def refuses(done: subprocess.CompletedProcess[bytes], said: str) -> None:
    text = done.stderr.decode()
    assert done.returncode != 0
    assert said in text, text
    assert "    at " not in text  # no stack trace of Node's
    assert "Traceback" not in text


def test_python_onnx(files: Path, want: np.ndarray) -> None:
    done = run(sys.executable, EMBED / "python-onnx/draw.py", files / "g.onnx", files / "latents.npy", files / "o.npy")
    assert done.returncode == 0, done.stderr
    same(np.load(files / "o.npy"), want)


@pytest.mark.skipif(not shutil.which("gcc"), reason="gcc is not installed (apt-get install gcc)")
def test_c_native(files: Path, want: np.ndarray) -> None:
    library = library_path()
    program = files / "draw"
    flags = ["-std=c11", "-Wall", "-Wextra", "-Werror", f"-I{ROOT / 'csrc'}"]
    link = [library, f"-Wl,-rpath,{library.parent}"]
    built = run("gcc", *flags, EMBED / "c-native/draw.c", *link, "-o", program)
    assert built.returncode == 0, built.stderr
    done = run(program, files / "g.gan", SEED, COUNT)
    assert done.returncode == 0, done.stderr
    same(np.frombuffer(done.stdout, np.uint8), want)
    refuses(run(program, files / "junk", SEED, COUNT), "no .gan file")
    refuses(run(program, files / "missing", SEED, COUNT), "can't be read")
    for wrong in (("-1", 4), (SEED, 0), ("x", 4), (2**64, 4)):
        refuses(run(program, files / "g.gan", *wrong), "usage")


@pytest.mark.skipif(not shutil.which("node"), reason="node is not installed (apt-get install nodejs)")
def test_wasm_in_node(files: Path, want: np.ndarray) -> None:
    program = EMBED / "wasm/draw.js"
    done = run("node", program, files / "g.gan", SEED, COUNT)
    assert done.returncode == 0, done.stderr
    same(np.frombuffer(done.stdout, np.uint8), want)
    refuses(run("node", program, files / "junk", SEED, COUNT), "no .gan file")
    refuses(run("node", program, files / "g.gan", SEED, 0), "count 0")


def test_wasm_in_python(files: Path, want: np.ndarray) -> None:
    pytest.importorskip("wasmtime", reason="wasmtime is not installed (pip install wasmtime)")
    program, out = EMBED / "wasm/draw.py", files / "w.npy"
    for build in ("gan.wasm", "gan-simd.wasm"):
        engine = ROOT / "gan_export/web" / build
        done = run(sys.executable, program, engine, files / "g.gan", SEED, COUNT, out)
        assert done.returncode == 0, done.stderr
        same(np.load(out), want)
    refuses(run(sys.executable, program, engine, files / "junk", SEED, COUNT, out), "no .gan file")


@pytest.mark.long
@pytest.mark.skipif(not shutil.which("npm"), reason="npm is not installed (apt-get install npm)")
def test_node_onnx(files: Path, want: np.ndarray) -> None:
    folder = files / "node"
    shutil.copytree(EMBED / "node-onnx", folder)
    # its install script only fetches GPU libraries; the CPU's are in the package
    installed = run("npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", cwd=folder)
    if installed.returncode:
        pytest.skip(f"onnxruntime-node can't be installed: {os.fsdecode(installed.stderr[-200:])}")
    done = run("node", folder / "draw.js", files / "g.onnx", 100, files / "latents.raw", files / "n.raw")
    assert done.returncode == 0, done.stderr
    same(np.fromfile(files / "n.raw", np.uint8), want)
    refuses(run("node", folder / "draw.js", files / "junk", 100, files / "latents.raw", files / "n.raw"), "draw: ")
    refuses(run("node", folder / "draw.js", files / "g.onnx", 99, files / "latents.raw", files / "n.raw"), "whole rows")
