"""The guides and the reference: their blocks run in order in one folder, in this process, on small generators."""

from __future__ import annotations

import os
import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import gan_export
from tests.conftest import ROOT, Artifacts, Command
from tests.originals import images_in
from tests.originals.style import containers, nvlabs, stylegan3

DOCS = ROOT / "docs"
GUIDES = ("recognize", "verify", "sample", "datasets", "export", "evaluate", "embed")
REFERENCE = (
    "datasets", "image-to-image", "stylegan", "volumes", "index", "gallery/index", "reference/python",
    "reference/commands.in", "reference/families.in", "README.in",
)  # fmt: skip
RUN = (*(f"guides/{name}" for name in GUIDES), *REFERENCE)
ELSEWHERE = ("start/", "api", "adding-an-architecture")  # pages that other tests run, block by block
_PART = re.compile(r"(?ms)^<!-- not run: ([^\n]*?) -->$|^```(sh|python|toml|c|js)?([^\n]*)\n(.*?)^```$")
COUNT = re.compile(r"\b(10{5,})\b")  # of images: a test generates 20 instead


def blocks(page: Path) -> Iterator[tuple[str, str, str]]:
    """Yield the language and text of each block, and the reason why it is not run or ""."""
    reason = ""
    for found in _PART.finditer(page.read_text(encoding="utf-8")):
        if found[1]:
            reason = found[1]
            continue
        yield found[2] or "", found[4], reason
        reason = ""


@pytest.fixture
def folder(tmp_path: Path, classic_pth: Path, artifacts: Artifacts, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What a reader has: checkpoints of one and of several networks, exports, latents."""
    for name, source in (("g.pth", classic_pth), ("g.onnx", artifacts["onnx"]), ("g.gan", artifacts["native"])):
        shutil.copy(source, tmp_path / name)
    shutil.copy(ROOT / "exported" / "mnist32-conditional" / "generator.pth", tmp_path / "labels.pth")
    shutil.copy(ROOT / "exported" / "voxel32" / "generator.onnx", tmp_path / "v.onnx")
    torch.save({"netG": torch.load(classic_pth), "netD": {}}, tmp_path / "checkpoint.pth")
    np.save(tmp_path / "z.npy", np.zeros((2, 100), np.float32))
    monkeypatch.setenv("CLONE", str(ROOT))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def styles(folder: Path) -> dict[str, object]:
    """Write StyleGANs with labels, a projected w and a direction; return the names that a program uses."""
    network = nvlabs.random_everything(nvlabs.Generator(16, 5, 16, [16, 16, 12, 8, 8]))
    containers.nvlabs_pickle(folder / "network.pkl", G_ema=network)
    turned = nvlabs.random_everything(stylegan3.Generator(8, 0, 10, [16, 16, 32, 32], [12, 10, 8, 6]))
    containers.nvlabs_pickle(folder / "stylegan3.pkl", G_ema=turned)
    random = np.random.default_rng(1)
    np.savez(folder / "projected_w.npz", w=random.normal(size=(1, 10, 16)).astype(np.float32))
    np.save(folder / "age.npy", direction := random.normal(size=16).astype(np.float32))
    return {"gan_export": gan_export, "d": direction}


def image_network(folder: Path) -> dict[str, object]:
    """Write a CycleGAN generator and images."""
    model = images_in.randomized(images_in.JunyanzResnet(8, 6, "instance"), seed=1)
    torch.save(model.state_dict(), folder / "latest_net_G.pth")
    (folder / "photos").mkdir()
    photo = Image.fromarray(np.random.default_rng(1).integers(0, 255, (48, 64, 3), np.uint8))
    for path in ("photo.jpg", "photos/a.png", "photos/b.jpg"):
        photo.save(folder / path)
    return {}


def solids(folder: Path) -> dict[str, object]:
    """Write what a run of voxel32 leaves, and its export."""
    run = folder / "runs" / "voxel32"
    run.mkdir(parents=True)
    shutil.copy(ROOT / "exported" / "voxel32" / "generator.pth", run / "generator_14.pth")
    shutil.copy(ROOT / "exported" / "voxel32" / "generator.onnx", folder / "voxel32.onnx")
    return {}


BEFORE = {"stylegan": styles, "gallery/index": styles, "image-to-image": image_network, "volumes": solids}


@pytest.mark.long
@pytest.mark.parametrize("name", RUN)
def test_a_page_does_what_it_shows(name: str, folder: Path, command: Command) -> None:
    ran, names = 0, BEFORE[name](folder) if name in BEFORE else {}
    for language, text, reason in blocks(DOCS / f"{name}.md"):
        if reason or language not in ("sh", "python"):
            continue
        ran += 1
        if language == "python":
            exec(compile(text, f"{name}.md", "exec"), dict(names))
            continue
        for line in os.path.expandvars(text.replace("\\\n", " ")).splitlines():
            program, *words = shlex.split(COUNT.sub("20", line).split(" || ")[0], comments=True)
            result = command(program, *words)
            assert result.code == 0, (line, result)
    assert ran >= 1


def test_each_block_that_is_not_run_says_why() -> None:
    for page in sorted(DOCS.rglob("*.md")):
        name = page.relative_to(DOCS).as_posix().removesuffix(".md")
        if name.startswith(ELSEWHERE):
            continue
        for language, text, reason in blocks(page):
            assert not reason or len(reason.split()) >= 4, page
            if name not in (*RUN, "guides/index") and language in ("sh", "python"):
                assert reason, (page, text)
