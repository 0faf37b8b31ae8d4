from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from gan_export.errors import GanExportError
from gan_export.training import data, decoding, recipe
from gan_export.training.batches import epoch_order, steps_per_epoch
from tests.conftest import Command
from tests.training.common import DATA_ROOT


def _zip(*, encrypted: bool = False, damaged: bool = False) -> bytes:
    """A .npz whose one member asks for a password, or is compressed by LZMA and damaged."""
    array, packed = io.BytesIO(), io.BytesIO()
    np.save(array, np.arange(3 * 8 * 8, dtype=np.uint8).reshape(3, 8, 8))
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_LZMA if damaged else zipfile.ZIP_STORED) as z:
        z.writestr("images.npy", array.getvalue())
        where = z.infolist()[0]
    data = bytearray(packed.getvalue())
    if encrypted:
        for at in (6, data.rindex(b"PK\x01\x02") + 8):  # the flags of its own header and of the directory's
            data[at] |= 1
    if damaged:
        first = where.header_offset + 30 + len("images.npy")
        data[first + 20 : first + 40] = bytes(20)
    return bytes(data)


SHIPPED = Path(__file__).resolve().parents[2] / "exported" / "mnist32" / "generator.onnx"


def test_the_digits_that_ship_are_real_and_all_there() -> None:
    digits = data.open_source(recipe.Data(source="mnist-10k"), None)
    assert len(digits) == 10_000
    pixels = digits.read(np.arange(10_000))
    assert pixels.shape == (10_000, 1, 32, 32)
    assert pixels.dtype == np.uint8
    assert 25 < pixels.mean() < 45  # strokes on black
    assert len({p.tobytes() for p in pixels}) > 9_990


@pytest.mark.skipif(not DATA_ROOT.is_dir(), reason="the full MNIST is not on this machine")
def test_the_packed_digits_are_the_first_of_mnist() -> None:
    packed = data.open_source(recipe.Data(source="mnist-10k"), None)
    whole = data.open_source(recipe.Data(source="mnist"), DATA_ROOT)
    some = np.array([0, 1, 4_567, 9_999])
    assert len(whole) == 60_000
    assert np.array_equal(packed.read(some), whole.read(some))


def test_resizing_is_what_pil_does() -> None:
    digits = np.random.default_rng(1).integers(0, 256, (20, 28, 28), np.uint8)
    ours = data.resized(digits, (1, 32, 32))
    for got, pixels in zip(ours[:, 0], digits, strict=True):
        want = np.asarray(Image.fromarray(pixels).resize((32, 32), Image.Resampling.BILINEAR))
        assert np.array_equal(got, want)


def test_gray_pictures_become_three_equal_channels_and_color_becomes_gray() -> None:
    gray = np.random.default_rng(2).integers(0, 256, (3, 32, 32), np.uint8)
    colored = data.resized(gray, (3, 32, 32))
    assert colored.shape == (3, 3, 32, 32)
    assert np.array_equal(colored[:, 0], colored[:, 2])
    color = np.random.default_rng(3).integers(0, 256, (2, 32, 32, 3), np.uint8)
    want = np.stack([np.asarray(Image.fromarray(c).convert("L")) for c in color])
    assert np.array_equal(data.resized(color, (1, 32, 32))[:, 0], want)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "HSV", "LAB", "I", "F", "I;16"])
@pytest.mark.parametrize("size", [(5, 90), (200, 40), (64, 64), (1, 1)])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_picture_of_any_mode_and_size_fits(mode: str, size: tuple[int, int], channels: int) -> None:
    random = np.random.default_rng(4)
    base = Image.fromarray(random.integers(0, 256, (size[1], size[0], 3), np.uint8))
    match mode:
        case "I;16":
            image = Image.fromarray(random.integers(0, 65536, (size[1], size[0])).astype(np.uint16))
        case "I" | "F" | "LA" | "P" | "1":
            image = base.convert("L").convert(mode)
        case "HSV" | "LAB" | "YCbCr" | "CMYK" | "RGBA":
            image = base if mode == "LAB" else base.convert(mode)
        case _:
            image = base.convert(mode)
    got = decoding.fit(decoding.plain(image, channels), (channels, 32, 32))
    assert got.shape == (channels, 32, 32)
    assert got.dtype == np.uint8


def test_16_bit_gray_keeps_its_range_and_transparency_is_black(tmp_path: Path) -> None:
    ramp = np.linspace(0, 65535, 32 * 32).reshape(32, 32).astype(np.uint16)
    Image.fromarray(ramp).save(tmp_path / "deep.png")
    got = decoding.decode(tmp_path / "deep.png", (1, 32, 32))
    assert np.abs(got[0].astype(float) - ramp / 257).max() <= 1
    clear = np.full((32, 32, 4), 255, np.uint8)
    clear[:16, :, 3] = 0
    Image.fromarray(clear).save(tmp_path / "clear.png")
    got = decoding.decode(tmp_path / "clear.png", (3, 32, 32))
    assert got[:, :16].max() == 0
    assert got[:, 16:].min() == 255


def test_the_middle_of_an_oblong_is_kept(tmp_path: Path) -> None:
    pixels = np.zeros((32, 96, 3), np.uint8)
    pixels[:, 32:64] = 255
    Image.fromarray(pixels).save(tmp_path / "wide.png")
    assert decoding.decode(tmp_path / "wide.png", (3, 32, 32)).min() == 255


def _damaged(folder: Path, pictures: Path) -> Path:
    for file in sorted(pictures.iterdir())[:10]:
        (folder / file.name).write_bytes(file.read_bytes())
    whole = (folder / "005.png").read_bytes()
    (folder / "cut.png").write_bytes(whole[: len(whole) // 2])
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "text.png").write_text("no picture")
    (folder / "notes.txt").write_text("not looked at")
    return folder


def test_corrupt_files_are_counted_named_and_skipped(tmp_path: Path, pictures: Path) -> None:
    source = _folder(_damaged(tmp_path, pictures))
    assert len(source) == 10
    assert sorted(s.partition(":")[0] for s in source.skipped) == ["cut.png", "empty.jpg", "text.png"]


def test_strict_refuses_them_by_name(tmp_path: Path, pictures: Path) -> None:
    with pytest.raises(GanExportError, match=r"3 of 13 images.*cut\.png"):
        _folder(_damaged(tmp_path, pictures), strict=True)


def test_a_picture_that_breaks_later_is_named(tmp_path: Path, pictures: Path) -> None:
    folder = _damaged(tmp_path, pictures)
    source = _folder(folder, memory=0)
    (folder / "003.png").write_bytes(b"")
    with pytest.raises(GanExportError, match=r"003\.png can't be read any more"):
        source.read(np.arange(10))


def test_a_folder_past_the_memory_limit_gives_the_same_pictures_from_disk(pictures: Path) -> None:
    kept, read = _folder(pictures), _folder(pictures, memory=0)
    assert isinstance(read, data.OnDisk)
    some, others = np.array([7, 0, 99]), np.arange(50)
    for indices in (some, others, some):
        read.expect(others)
        assert np.array_equal(kept.read(indices), read.read(indices))


def _folder(path: Path, **settings: Any) -> data.DataSource:
    return data.open_source(recipe.Data(source="folder", path=str(path), **settings), None)


def test_an_epochs_order_is_a_permutation_that_seed_and_epoch_decide() -> None:
    order = epoch_order(1000, 5, 3)
    assert sorted(order) == list(range(1000))
    assert np.array_equal(order, epoch_order(1000, 5, 3))
    assert not np.array_equal(order, epoch_order(1000, 5, 4))
    assert not np.array_equal(order, epoch_order(1000, 6, 3))


def test_the_last_batch_counts_unless_it_is_dropped_or_a_single_picture() -> None:
    keep, drop = recipe.Data(), recipe.Data(drop_last=True)
    assert steps_per_epoch(60_000, keep, 128) == 469
    assert steps_per_epoch(60_000, drop, 128) == 468
    assert steps_per_epoch(129, keep, 128) == 1
    with pytest.raises(GanExportError, match="one batch"):
        steps_per_epoch(1, keep, 128)


@pytest.mark.parametrize("layout", ["NHW", "NHW1", "NHW3", "NCHW", "npy", "only"])
def test_arrays_in_a_file_are_pictures(layout: str, tmp_path: Path) -> None:
    pixels = np.random.default_rng(5).integers(0, 256, (7, 40, 32, 3), np.uint8)
    shape = (3, 32, 32) if layout in ("NHW3", "NCHW") else (1, 32, 32)
    stored = pixels if shape[0] == 3 else pixels[..., 0]
    stored = stored[..., None] if layout == "NHW1" else stored.transpose(0, 3, 1, 2) if layout == "NCHW" else stored
    path = tmp_path / ("x.npy" if layout == "npy" else "x.npz")
    if layout == "npy":
        np.save(path, stored)
    else:
        np.savez(path, **{"pictures" if layout == "only" else "images": stored}, labels=np.arange(7, dtype=np.uint8))
    source = data.open_source(recipe.Data(source="npz", path=str(path), channels=shape[0]), None)
    assert source.shape == shape
    middle = pixels[:, 4:36].transpose(0, 3, 1, 2)[:, : shape[0]]
    assert np.array_equal(source.read(np.array([6, 0])), middle[[6, 0]])
    assert source.labels is None if layout == "npy" else list(source.labels) == list(range(7))  # type: ignore[arg-type]


def test_what_gan_sample_writes_can_be_trained_on(command: Command, tmp_path: Path) -> None:
    made = tmp_path / "made.npz"
    command("gan-sample", SHIPPED, "-n", 40, "--seed", 7, "-o", made)
    run = tmp_path / "run"
    small = ["train.batch=20", "train.epochs=1", "generator.widths=[8,8,8]", "discriminator.widths=[8,8,8]"]
    settings = [s for setting in ("data.source=npz", f"data.path={made}", *small) for s in ("--set", setting)]
    result = command("gan-train", "mnist32-classic", "-o", run, *settings)
    assert result.code == 0, result.err
    assert (run / "generator_1.pth").is_file()


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"images": np.zeros((3, 8, 8), np.float32)}, "must be uint8"),
        ({"images": np.zeros((3, 8, 8, 2), np.uint8)}, "must be uint8"),
        ({"a": np.zeros((3, 8, 8), np.uint8), "b": np.zeros((3, 8, 8), np.uint8)}, "must be uint8"),
        ({"images": np.zeros((3, 8, 8), np.uint8), "labels": np.zeros(2, int)}, "labels"),
        ({"images": np.zeros((3, 8, 8), np.uint8), "labels": np.array([0, -1, 2])}, "labels"),
        ({"images": np.array([object()])}, "Python objects"),
        (b"PK\x03\x04 cut", "can't be read"),
        (b"", "can't be read"),
        (b"a text of some length", "no .npz or .npy file"),
        (_zip(encrypted=True), "encrypted"),
        (_zip(damaged=True), "can't be read"),
        (None, "is not there"),
    ],
)
def test_other_arrays_are_refused(arrays: dict[str, np.ndarray] | bytes | None, message: str, tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    if isinstance(arrays, bytes):
        path.write_bytes(arrays)
    elif arrays is not None:
        np.savez(path, allow_pickle=True, **arrays)
    with pytest.raises(GanExportError, match=message):
        data.open_source(recipe.Data(source="npz", path=str(path)), None)
