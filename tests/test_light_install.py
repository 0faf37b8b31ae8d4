"""The base install: numpy, pillow, typer and rich are enough to sample a `.gan` file and to read any checkpoint."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
import torch

from gan_export import checkpoint, exporters
from gan_export.exporters.base import Options
from tests.conftest import ROOT, Artifacts, error_lines

BASE = ("numpy", "pillow", "typer", "rich")
MEGABYTE = 1_000_000


def closure(names: tuple[str, ...]) -> set[str]:
    """These distributions and what they require without an extra."""
    found: set[str] = set()
    todo = list(names)
    while todo:
        name = todo.pop()
        if name in found:
            continue
        try:
            requires = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            continue  # for another system or version of Python
        found.add(name)
        todo += ["".join(c for c in r.split(";")[0] if c.isalnum() or c in "-_.[").split("[")[0].rstrip("0123456789.")
                 for r in requires if "extra ==" not in r]  # fmt: skip
    return found


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder to import from that holds the base dependencies, and this checkout's package."""
    folder = tmp_path_factory.mktemp("bare")
    (folder / "gan_export").symlink_to(ROOT / "gan_export")
    for name in closure(BASE):
        for file in metadata.files(name) or []:
            top = file.parts[0]
            if top != ".." and not (folder / top).is_symlink() and top != "__pycache__":
                (folder / top).symlink_to(Path(str(file.locate())).parents[len(file.parts) - 1] / top)
    return folder


def run(bare: Path, command: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """`gan-COMMAND` with the base dependencies alone."""
    program = f"import sys; sys.path.insert(0, {str(bare)!r}); from gan_export.cli.{command} import main; main()"
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {"COLUMNS": "200"}
    return subprocess.run(
        [sys.executable, "-S", "-c", program, *map(str, arguments)],
        cwd=bare.parent, env=environment, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


def test_there_is_no_torch(bare: Path) -> None:
    assert not {"torch", "torchvision", "onnx", "onnxruntime", "scipy"} & {p.name for p in bare.iterdir()}
    assert {"numpy", "PIL", "typer", "rich"} <= {p.name for p in bare.iterdir()}


@pytest.fixture(scope="module")
def gan(classic_pth: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("light") / "g.gan"
    exporters.find("native").write(checkpoint.read(classic_pth), file, Options())
    return file


def test_it_samples_a_gan_file(bare: Path, gan: Path, tmp_path: Path) -> None:
    done = run(bare, "sample", gan, "-n", 5, "-o", tmp_path / "x.npy")
    assert done.returncode == 0, done.stderr
    assert np.load(tmp_path / "x.npy").shape == (5, 32, 32, 1)
    code = (
        f"import sys; sys.path.insert(0, {str(bare)!r}); import gan_export\n"
        "with gan_export.open(sys.argv[1]) as g: print(g.sample(3).shape, g.info.runtime)\n"
    )
    done = subprocess.run([sys.executable, "-S", "-c", code, str(gan)], capture_output=True, text=True, check=True)
    assert done.stdout == "(3, 32, 32, 1) native\n"


def test_it_writes_a_dataset(bare: Path, gan: Path, tmp_path: Path) -> None:
    done = run(bare, "sample", "dataset", gan, "-n", 20, "--format", "npy", "--workers", 1, "-o", tmp_path / "d")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("kind", ["zip", "legacy", "safetensors", "pkl"])
def test_it_inspects_any_checkpoint(bare: Path, classic: torch.nn.Module, tmp_path: Path, kind: str) -> None:
    file = tmp_path / f"g.{kind}"
    state = classic.state_dict()
    if kind == "safetensors":
        pytest.importorskip("safetensors.torch").save_file(state, file)
    elif kind == "pkl":
        import pickle

        file.write_bytes(pickle.dumps({k: v.numpy() for k, v in state.items()}))
    else:
        torch.save(state, file, _use_new_zipfile_serialization=kind == "zip")
    done = run(bare, "export", "inspect", file, "--json")
    assert done.returncode == 0, done.stderr
    assert "dcgan" in json.dumps(json.loads(done.stdout))
    assert "are not checked: needs torch: pip install" in done.stderr


def test_every_other_command_says_which_extra_it_needs(
    bare: Path, classic_pth: Path, artifacts: Artifacts, tmp_path: Path
) -> None:
    onnx, out = artifacts["onnx"], tmp_path / "out"
    for words, extras in (
        (("export", "onnx", classic_pth, "-o", out), "torch,onnx"),
        (("export", "torchscript", classic_pth, "-o", out), "torch"),
        (("export", "native", classic_pth, "-o", out), "torch"),
        (("export", "all", classic_pth, "-o", out), "torch"),
        (("export", "verify", onnx), "onnx"),
        (("sample", onnx, "-o", out), "onnx"),
        (("sample", classic_pth, "-o", out), "torch"),
        (("train", "mnist32-demo", "-o", out), "train"),
    ):
        done = run(bare, *map(str, words))
        assert done.returncode == 2, (words, done)
        lines = error_lines(done.stderr)
        assert len(lines) == 1, done.stderr
        assert f"pip install 'gan-export[{extras}]'" in lines[0], (words, lines)
        assert not out.exists()


@pytest.mark.long
@pytest.mark.alone
def test_an_empty_environment(gan: Path, classic_pth: Path, tmp_path: Path) -> None:
    """40 MB to download, 110 MB on disk without bytecode, 25 s, with a wheel that is built here."""
    wheels = tmp_path / "wheels"
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    done = subprocess.run([*build, "-w", str(wheels), str(ROOT)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    wheel = next(wheels.glob("*.whl"))
    python = tmp_path / "empty" / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "empty")], check=True)
    before = size(tmp_path / "empty")
    install = [str(python), "-m", "pip", "--disable-pip-version-check", "install", "--no-compile"]
    fetched = subprocess.run(
        [str(python), "-m", "pip", "download", "--quiet", "-d", str(tmp_path / "down"), str(wheel)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if fetched.returncode:
        pytest.skip(f"pip can't fetch the dependencies: {fetched.stderr.strip().splitlines()[-1]}")
    started = time.monotonic()
    done = subprocess.run([*install, "--no-cache-dir", str(wheel)], capture_output=True, text=True, check=False)
    seconds = time.monotonic() - started
    assert done.returncode == 0, done.stderr
    down, disk = size(tmp_path / "down"), size(tmp_path / "empty") - before
    print(f"{down / MEGABYTE:.1f} MB of downloads, {disk / MEGABYTE:.1f} MB on disk, {seconds:.1f} s")
    assert down <= 40 * MEGABYTE
    assert disk <= 110 * MEGABYTE
    shutil.rmtree(tmp_path / "down")
    drawn = subprocess.run(
        [str(python.parent / "gan-sample"), str(gan), "-n", "3", "-o", str(tmp_path / "x.png")], check=False
    )
    assert drawn.returncode == 0
    read = subprocess.run(
        [str(python.parent / "gan-export"), "inspect", str(classic_pth)], capture_output=True, text=True, check=False
    )
    assert "architecture" in read.stdout, read.stderr
    for words in (("gan-bench", classic_pth), ("gan-train", "mnist32-demo"), ("gan-export", "onnx", classic_pth)):
        needs = subprocess.run(
            [str(python.parent / words[0]), *map(str, words[1:])],
            cwd=tmp_path, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert needs.returncode == 2, needs
        assert "pip install 'gan-export[" in needs.stderr
        assert len(error_lines(needs.stderr)) == 1, needs.stderr
    assert seconds <= 25


def size(folder: Path) -> int:
    return sum(f.lstat().st_size for f in folder.rglob("*") if f.is_file() and not f.is_symlink())
