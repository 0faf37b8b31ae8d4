"""What files say of themselves, damaged: one line or the truth, and never a traceback."""

from __future__ import annotations

import json
import random
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gan_export.errors import GanExportError
from gan_export.formats import manifest as manifests
from gan_export.formats.base import KEY
from gan_export.formats.manifest import Manifest
from tests.conftest import ROOT, Artifacts, Command, refused

SHIPPED = ROOT / "exported" / "mnist32"


def manifest_of(path: Path) -> Manifest | None:
    """As every command asks a file what it is.  Only a GanExportError may come out of it."""
    try:
        kind = manifests.detect_format(path)
        return None if kind == "checkpoint" else manifests.read_manifest(path, kind)
    except GanExportError:
        return None


def entry(path: Path, suffix: str) -> zipfile.ZipInfo:
    with zipfile.ZipFile(path) as archive:
        return next(e for e in archive.infolist() if e.filename.endswith(suffix))


def directory(data: bytes) -> int:
    """Where a zip archive's directory begins."""
    return data.index(b"PK\x01\x02")


def test_a_flipped_byte_of_a_manifest_is_one_line(command: Command, tmp_path: Path) -> None:
    path = Path(shutil.copy(SHIPPED / "generator.pt", tmp_path))
    found = entry(path, KEY)
    data = bytearray(path.read_bytes())
    data[found.header_offset + 30 + 200] ^= 0xFF
    path.write_bytes(data)
    for words in (("gan-export", "inspect"), ("gan-export", "verify"), ("gan-sample",)):
        assert "its manifest can't be read" in refused(command(*words, path))


@pytest.mark.parametrize("at", range(4, 16))
def test_a_flipped_bit_of_a_directory_is_no_traceback(command: Command, tmp_path: Path, at: int) -> None:
    """The version needed, the flags, the method, ...: of the first entry that is listed."""
    for name in ("generator.pth", "generator.pt"):
        data = bytearray((SHIPPED / name).read_bytes())
        data[directory(data) + at] ^= 0x40
        (tmp_path / name).write_bytes(data)
        manifest_of(tmp_path / name)
        result = command("gan-export", "inspect", tmp_path / name)
        assert result.code == 0 or refused(result)


@pytest.mark.long
@pytest.mark.parametrize("name", ["torchscript", "pt2", "onnx", "openvino", "native", "safetensors"])
def test_bytes_flipped_anywhere(artifacts: Artifacts, tmp_path: Path, name: str) -> None:
    whole = artifacts[name].read_bytes()
    draw = random.Random(name)
    key = whole.find(b"latent_law")
    places = [*range(max(0, key - 300), key + 300, 3), *draw.sample(range(len(whole)), 150), *range(64)]
    if whole.startswith(b"PK"):
        start = directory(whole)
        places += range(start, min(start + 600, len(whole)), 2)
    target = tmp_path / artifacts[name].name
    for at in places:
        data = bytearray(whole)
        data[at % len(data)] ^= 1 << draw.randrange(8)
        target.write_bytes(data)
        manifest_of(target)


def changed(**fields: Any) -> str:
    manifest = manifests.read_manifest(SHIPPED / "generator.onnx", "onnx")
    assert manifest is not None
    first = replace(manifest, version=1)  # with facts instead of a signature
    return json.dumps({**json.loads(first.to_json()), **fields})


FACTS = json.loads(changed())["facts"]
TOLERANCE = json.loads(changed())["tolerance"]
FORGED: dict[str, str] = {
    "options null": changed(options=None),
    "options a list": changed(options=[1]),
    "versions": changed(versions={"torch": 2}),
    "format": changed(format=3),
    "output": changed(output="tiff"),
    "references": changed(references=None),
    "facts null": changed(facts=None),
    "nz text": changed(facts={**FACTS, "nz": "100"}),
    "nz none": changed(facts={**FACTS, "nz": 0}),
    "nz huge": changed(facts={**FACTS, "nz": 10**30}),
    "image flat": changed(facts={**FACTS, "image": [32, 32]}),
    "image huge": changed(facts={**FACTS, "image": [1, 1 << 30, 1 << 30]}),
    "image text": changed(facts={**FACTS, "image": "abc"}),
    "range": changed(facts={**FACTS, "range": [0, "1"]}),
    "prior": changed(facts={**FACTS, "prior": "cauchy"}),
    "tolerance": changed(tolerance={**TOLERANCE, "byte_share": "all"}),
    "tolerance null": changed(tolerance=None),
    "recalibrate": changed(options={"recalibrate": "many"}),
    "static": changed(options={"static": -1}),
    "device": changed(options={"device": ["cpu"]}),
    "reach null": changed(reach=None),
    "reach negative": changed(reach={"pixels": -1, "multiple": 1, "values": 8, "whole": ""}),
    "reach huge": changed(reach={"pixels": 1 << 40, "multiple": 1, "values": 8, "whole": ""}),
    "reach without steps": changed(reach={"pixels": 1, "multiple": 0, "values": 8, "whole": ""}),
    "reach of a layer": changed(reach={"pixels": 0, "multiple": 0, "values": 8, "whole": "\x1b[2J"}),
    "reach of more": changed(reach={"pixels": 1, "multiple": 1, "values": 8, "whole": "", "surprise": 1}),
    "unknown": changed(surprise=1),
    "a number": "3",
    "a list": "[]",
    "deep": "[" * 100_000,
}


@pytest.mark.parametrize("name", FORGED)
def test_a_manifest_of_other_types_is_refused(name: str) -> None:
    with pytest.raises(GanExportError):
        Manifest.from_json(FORGED[name])


def test_a_true_manifest_is_read() -> None:
    text = changed()
    assert json.loads(Manifest.from_json(text).to_json()) == json.loads(text)
