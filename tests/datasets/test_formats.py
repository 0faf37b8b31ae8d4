"""Test that each format's library reads it back, and that it contains the generator's images."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gan_export.datasets.formats import FORMATS
from tests.conftest import Command
from tests.datasets.conftest import COUNT, SEED, drawn

Rows = list[tuple[int, np.ndarray, int | None]]  # (index, image (H, W, C), label)


def read_png(folder: Path) -> Rows:
    rows = []
    for name in sorted(p.name for p in folder.iterdir() if p.is_dir()):
        rows += [(int(f.stem), np.asarray(Image.open(f))[..., None], None) for f in sorted((folder / name).iterdir())]
    return rows


def read_classes(folder: Path) -> Rows:
    from torchvision.datasets import ImageFolder

    found = ImageFolder(folder)
    assert found.classes == [str(k) for k in range(10)]
    return sorted((int(Path(path).stem), np.asarray(Image.open(path))[..., None], k) for path, k in found.samples)


def read_webdataset(folder: Path) -> Rows:
    webdataset = pytest.importorskip("webdataset")
    shards = sorted(str(p) for p in folder.glob("*.tar"))
    rows = []
    for sample in webdataset.WebDataset(shards, shardshuffle=False):
        picture = np.asarray(Image.open(io.BytesIO(sample["png"])))[..., None] if "png" in sample else sample["npy"]
        picture = np.load(io.BytesIO(picture)) if isinstance(picture, bytes) else picture
        metadata = json.loads(sample["json"])
        assert metadata["seed"] == SEED
        assert metadata.get("label") == (int(sample["cls"]) if "cls" in sample else None)
        rows.append((metadata["index"], picture, metadata.get("label")))
    return rows


def read_parquet(folder: Path) -> Rows:
    parquet = pytest.importorskip("pyarrow.parquet")
    rows = []
    for file in sorted(folder.glob("*.parquet")):
        table = parquet.read_table(file)
        assert b"huggingface" in table.schema.metadata
        for row in table.to_pylist():
            assert row["seed"] == SEED
            picture = np.asarray(Image.open(io.BytesIO(row["image"]["bytes"])))[..., None]
            rows.append((row["index"], picture, row.get("label")))
    return rows


def read_npy(folder: Path) -> Rows:
    pictures = np.concatenate([np.load(p) for p in sorted(folder.glob("images*.npy"))])
    labels = [np.load(p) for p in sorted(folder.glob("labels*.npy"))]
    kinds = np.concatenate(labels).tolist() if labels else [None] * len(pictures)
    return list(zip(range(len(pictures)), pictures, kinds, strict=True))


READERS: dict[str, Callable[[Path], Rows]] = {
    "png": read_png,
    "classes": read_classes,
    "webdataset": read_webdataset,
    "webdataset-npy": read_webdataset,
    "parquet": read_parquet,
    "npy": read_npy,
    "raw": read_npy,
}


def test_every_format_has_a_reader_here() -> None:
    assert set(READERS) == {f.name for f in FORMATS}


@pytest.mark.parametrize("format", READERS)
def test_a_format_holds_what_the_generator_draws(
    command: Command, labeled_gan: Path, tmp_path: Path, format: str
) -> None:
    if format == "parquet":
        pytest.importorskip("pyarrow")
    out = tmp_path / "d"
    arguments = ("-n", COUNT, "--seed", SEED, "--format", format, "--shard-size", 20, "--label", "all", "-o", out)
    result = command("gan-sample", "dataset", labeled_gan, *arguments, "--workers", 1 + (format == "raw"))
    assert result.code == 0, result
    assert "70 images in 4 shards" in result.out
    assert "<- the bottleneck" in result.out
    rows = READERS[format](out)
    assert [row[0] for row in rows] == list(range(COUNT))
    # sums depend on the batch, which is a shard here
    difference = np.abs(np.stack([row[1] for row in rows]).astype(int) - drawn(labeled_gan, label="all"))
    assert difference.max() <= 1
    assert np.count_nonzero(difference) <= difference.size / 10_000
    if format != "png":
        assert [row[2] for row in rows] == [i % 10 for i in range(COUNT)]
    assert not (out / ".gan-sample").exists()
    checked = command("gan-sample", "check", out, "-g", labeled_gan)
    assert checked.code == 0, checked
    assert "generated again: identical" in checked.out


def test_labels_all_into_a_folder_makes_class_folders(command: Command, labeled_gan: Path, tmp_path: Path) -> None:
    result = command(
        "gan-sample",
        "dataset",
        labeled_gan,
        "-n",
        20,
        "--seed",
        SEED,
        "--label",
        "all",
        "--format",
        "classes",
        "-o",
        tmp_path / "d",
    )
    assert result.code == 0, result
    assert [row[2] for row in read_classes(tmp_path / "d")] == [i % 10 for i in range(20)]


@pytest.mark.long
def test_hugging_face_reads_the_folder_with_no_script(command: Command, labeled_gan: Path, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    out = tmp_path / "d"
    arguments = ("-n", COUNT, "--seed", SEED, "--format", "parquet", "--shard-size", 20, "-o", out)
    assert command("gan-sample", "dataset", labeled_gan, *arguments).code == 0
    found = datasets.load_dataset(str(out), cache_dir=str(tmp_path / "cache"))["train"]
    pictures = np.stack([np.asarray(row["image"])[..., None] for row in found])
    assert np.array_equal(pictures, drawn(labeled_gan))
    assert found["index"][:] == list(range(COUNT))
    assert found.features["label"].names == [str(k) for k in range(10)]
