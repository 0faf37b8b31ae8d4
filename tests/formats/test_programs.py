"""Exports that are programs are named before they are run, unless they are as gan-export writes them."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest
import torch

from gan_export import checkpoint, exporters
from gan_export.exporters.base import Options
from gan_export.formats import programs
from gan_export.formats.base import KEY
from gan_export.pipeline import publish
from tests.checkpoint.makers import torch_zip
from tests.security.files import manifest_data


def _archive(path: Path, *entries: str) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name in entries:
            archive.writestr(name, b"")
    return path


def test_programs_of_others_are_named(tmp_path: Path) -> None:
    folder = tmp_path / "c"
    folder.mkdir()
    (folder / "manifest.json").write_text(json.dumps({**manifest_data(), "format": "c"}))
    scripted = tmp_path / "g.pt"
    torch.jit.save(torch.jit.script(torch.nn.Identity()), str(scripted))
    compiled = _archive(tmp_path / "g.pt2", "g/archive_format", "g/data/aotinductor/model/x.so")
    for path, what in ((folder, "C source"), (scripted, "TorchScript"), (compiled, "AOTInductor")):
        line = programs.note(path)
        assert what in line
        assert "runs code of its own" in line
        assert line.isprintable()


@pytest.mark.parametrize("name", ["g.pth", "\x1b[2J.pth"])
def test_other_files_are_not(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(torch_zip(b"\x80\x02}."))
    assert programs.note(tmp_path / name) == ""
    assert programs.note(tmp_path / "missing") == ""
    assert programs.note(_archive(tmp_path / "g.pt2", "g/archive_format", f"g/extra/{KEY}")) == ""


@pytest.mark.long
def test_an_export_is_named_once_it_is_altered(classic_pth: Path, tmp_path: Path) -> None:
    target = tmp_path / "g.pt"
    publish.export(checkpoint.read(classic_pth), exporters.find("torchscript"), target, Options())
    assert programs.note(target) == ""
    with zipfile.ZipFile(target, "a") as archive:
        archive.writestr("g/code/more.py", "")
    assert "TorchScript" in programs.note(target)
