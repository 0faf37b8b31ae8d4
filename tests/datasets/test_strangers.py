"""Test datasets from strangers: nothing is written through a link, and any damage is reported in one line."""

from __future__ import annotations

import fcntl
import io
import json
import os
import shutil
import stat
import tarfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gan_export.datasets import check as checking
from gan_export.datasets import run
from gan_export.datasets.run import DatasetRequest
from gan_export.datasets.store import Folder
from gan_export.datasets.writer import GeneratorSource
from gan_export.errors import CheckFailedError, GanExportError
from gan_export.graph.signature import Signature
from gan_export.graph.views import LatentImage

from .conftest import write_generator

COUNT = 20


@pytest.fixture(scope="module")
def gan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_generator(tmp_path_factory.mktemp("stranger") / "g.gan", classes=0)


def draw(gan: Path, out: Path, format: str = "raw") -> None:
    run.run(GeneratorSource(gan), DatasetRequest(7, 0, COUNT, format, shard_size=8, workers=1), str(out))


def unfinished(gan: Path, out: Path, format: str = "raw") -> dict[str, Any]:
    """Leave a run as a kill in its middle does; return its job."""
    draw(gan, out, format)
    found: dict[str, Any] = json.loads((out / "MANIFEST.json").read_text())
    (out / ".gan-sample").mkdir()
    (out / ".gan-sample" / "job.json").write_text(json.dumps(found["job"]))
    (out / "MANIFEST.json").unlink()
    return found


@pytest.mark.parametrize("hard", [False, True], ids=["symbolic", "hard"])
@pytest.mark.parametrize("where", ["images.npy", ".gan-sample/images.npy"])
def test_a_resume_doesnt_write_through_a_link(gan: Path, tmp_path: Path, where: str, hard: bool) -> None:
    out, precious = tmp_path / "out", tmp_path / "precious"
    unfinished(gan, out)
    precious.write_bytes(b"mine" * 1000)
    (out / "images.npy").unlink()
    (out / where).hardlink_to(precious) if hard else (out / where).symlink_to(precious)
    with pytest.raises(GanExportError, match="is a link"):
        draw(gan, out)
    assert precious.read_bytes() == b"mine" * 1000


@pytest.mark.parametrize("where", [".gan-sample", ".gan-sample/scratch", ".gan-sample/shards"])
@pytest.mark.parametrize("format", ["raw", *(pytest.param(name, marks=pytest.mark.long) for name in ("npy", "png"))])
def test_nor_into_a_folder_by_a_link(gan: Path, tmp_path: Path, where: str, format: str) -> None:
    out, precious = tmp_path / "out", tmp_path / "precious"
    unfinished(gan, out, format)
    job = (out / ".gan-sample" / "job.json").read_bytes()
    precious.mkdir()
    (precious / "mine").write_text("mine")
    if where == ".gan-sample":
        (out / ".gan-sample" / "job.json").unlink()
        (out / ".gan-sample").rmdir()
        (precious / "job.json").write_bytes(job)
    (out / where).symlink_to(precious)
    before = {p: p.read_bytes() for p in precious.iterdir()}
    if where.endswith("scratch"):  # what a kill left there is removed: only the link, not its target
        draw(gan, out, format)
    else:
        with pytest.raises(GanExportError, match="is a link"):
            draw(gan, out, format)
    assert {p: p.read_bytes() for p in precious.iterdir()} == before


def _set(*path: Any, value: Any) -> Callable[[Any], None]:
    def change(data: Any) -> None:
        for key in path[:-1]:
            data = data[key]
        data[path[-1]] = value

    return change


FORGED: dict[str, Callable[[Any], None]] = {
    "count": _set("job", "count", value=(1 << 63) - 1),
    "shard size": _set("job", "shard_size", value="8"),
    "seed": _set("job", "seed", value=[]),
    "seed as a fraction": _set("job", "seed", value=1.5),
    "latent_scale": _set("job", "latent_scale", value="x"),
    "format": _set("job", "format", value="nothing"),
    "image": _set("job", "signature", "outputs", 0, "shape", value=[1 << 40, 1, 1]),
    "no channels": _set("job", "signature", "outputs", 0, "shape", value=[0, 1, 1]),
    "classes": _set("job", "signature", "inputs", 0, "classes", value=-1),
    "no image": _set("job", "signature", "outputs", 0, "kind", value="audio"),
    "a signature that is none": _set("job", "signature", value=[]),
    "generator": _set("job", "generator", value={"a": 1}),
    "overrides": _set("job", "overrides", value={"nothing": 1}),
    "an override": _set("job", "overrides", value={"bn_eps": "x"}),
    "filters": _set("job", "filters", value=[1]),
    "facts": _set("job", "facts", value=[]),
    "version": _set("version", value={"a": "\x1b"}),
    "notes": _set("notes", value={"latent_scale": {}}),
    "a note": _set("notes", value={"kept": "x"}),
    "notes that are none": _set("notes", value=[]),
    "bytes": _set("shards", 0, "pieces", 0, "bytes", value="x"),
    "negative": _set("shards", 0, "pieces", 0, "bytes", value=-1),
    "offset": _set("shards", 0, "pieces", 0, "offset", value=1.5),
    "kept": _set("shards", 0, "kept", value=1 << 70),
    "start": _set("shards", 0, "start", value=None),
    "name": _set("shards", 0, "pieces", 0, "name", value="../x"),
    "name of a drive": _set("shards", 0, "pieces", 0, "name", value="C:x"),
    "name with a zero": _set("shards", 0, "pieces", 0, "name", value="x\0"),
    "name that is none": _set("shards", 0, "pieces", 0, "name", value=1),
    "pieces": _set("shards", 0, "pieces", value=1),
    "shards": _set("shards", value={}),
}


@pytest.fixture(scope="module")
def whole(gan: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("whole") / "out"
    draw(gan, out)
    return out


def test_a_dataset_from_before_the_signature_is_read(gan: Path, whole: Path, tmp_path: Path) -> None:
    shutil.copytree(whole, tmp_path / "old")
    data = json.loads((whole / "MANIFEST.json").read_text())
    of = LatentImage.of(Signature.from_data(data["job"].pop("signature")), "this test")
    data["job"]["facts"] = {"arch": "dcgan", **asdict(of)}
    data["job"]["psi"] = data["job"].pop("latent_scale")
    data["notes"]["psi"] = {"psi": 1.0, "variety": 1.0, "of": 256}
    (tmp_path / "old" / "MANIFEST.json").write_text(json.dumps(data))
    found = checking.check(str(tmp_path / "old"), gan)
    assert (found.faults, found.drawn) == ((), COUNT)


@pytest.mark.parametrize("field", FORGED)
def test_a_forged_manifest_is_refused_in_one_line(gan: Path, whole: Path, tmp_path: Path, field: str) -> None:
    data = json.loads((whole / "MANIFEST.json").read_text())
    FORGED[field](data)
    (tmp_path / "MANIFEST.json").write_text(json.dumps(data))
    (tmp_path / "part" / ".gan-sample").mkdir(parents=True)
    (tmp_path / "part" / ".gan-sample" / "job.json").write_text(json.dumps(data["job"]))
    with pytest.raises(GanExportError) as error:
        checking.check(str(tmp_path), None)
    assert str(error.value).isprintable()
    with pytest.raises((GanExportError, CheckFailedError)) as error:  # a job by itself may be valid
        checking.check(str(tmp_path / "part"), None)
    assert str(error.value).isprintable()


def _tar(*entries: tuple[str, bytes, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, kind, data in entries:
            info = tarfile.TarInfo(name)
            info.type, info.size, info.linkname = kind, len(data), "/etc/passwd"
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


@pytest.mark.parametrize(
    "shard",
    [
        b"", b"x" * 2000, _tar(("0.npy", tarfile.REGTYPE, b"\x93NUMPY")), _tar(("0.json", tarfile.SYMTYPE, b"")),
        _tar(("0.npy", tarfile.REGTYPE, b"\x93NUMPY\1\0\x32\0{'descr': '|O', 'fortran_order': False, 'shape': ()}")),
    ],
    ids=["empty", "none", "cut", "link", "objects"],
)  # fmt: skip
def test_shards_with_the_right_hashes_and_the_wrong_content(gan: Path, tmp_path: Path, shard: bytes) -> None:
    import hashlib

    draw(gan, tmp_path, "webdataset-npy")
    data = json.loads((tmp_path / "MANIFEST.json").read_text())
    for record in data["shards"]:
        (tmp_path / record["pieces"][0]["name"]).write_bytes(shard)
        record["pieces"][0] |= {"bytes": len(shard), "sha256": hashlib.sha256(shard).hexdigest()}
    (tmp_path / "MANIFEST.json").write_text(json.dumps(data))
    verdict = checking.check(str(tmp_path), gan)
    assert all(fault.isprintable() for fault in verdict.faults)
    assert verdict.drawn == 0


def test_what_is_flushed_was_opened_for_writing(gan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not every system can flush a read-only descriptor."""
    flushed, flush = [], os.fsync

    def watched(handle: int) -> None:
        if stat.S_ISREG(os.fstat(handle).st_mode):
            flushed.append(fcntl.fcntl(handle, fcntl.F_GETFL) & os.O_ACCMODE)
        flush(handle)

    monkeypatch.setattr(os, "fsync", watched)
    from gan_export.datasets.records import OutputFile

    (tmp_path / ".gan-sample" / "scratch").mkdir(parents=True)
    store = Folder(tmp_path)
    with store.scratch() as scratch:
        np.save(scratch / "x.npy", np.zeros(3))
        store.publish(scratch, OutputFile("x.npy", 0, ""))
    (tmp_path / ".gan-sample" / "x.npy").touch()
    store.publish(scratch, OutputFile("x.npy", 0, "", offset=0))
    assert flushed
    assert os.O_RDONLY not in flushed
