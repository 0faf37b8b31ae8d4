"""The guides: their blocks run in order in one folder, in this process, on a small generator."""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.conftest import ROOT, Artifacts, Command

RUN = ("recognize", "verify", "sample", "datasets", "export", "evaluate", "embed")
GUIDES = ROOT / "docs" / "guides"
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
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.long
@pytest.mark.parametrize("name", RUN)
def test_a_guide_does_what_it_shows(name: str, folder: Path, command: Command) -> None:
    ran = 0
    for language, text, reason in blocks(GUIDES / f"{name}.md"):
        if reason or language not in ("sh", "python"):
            continue
        ran += 1
        if language == "python":
            exec(compile(text, f"{name}.md", "exec"), {})
            continue
        for line in text.replace("\\\n", " ").splitlines():
            program, *words = shlex.split(COUNT.sub("20", line).split(" || ")[0], comments=True)
            result = command(program, *words)
            assert result.code == 0, (line, result)
    assert ran >= 1


def test_each_block_that_is_not_run_says_why() -> None:
    for page in sorted(GUIDES.glob("*.md")):
        for language, text, reason in blocks(page):
            assert not reason or len(reason.split()) >= 4, page
            if page.stem not in (*RUN, "index") and language in ("sh", "python"):
                assert reason, (page, text)
