"""Large images in tiles: the result is the untiled one's, memory is bounded, and what can't be tiled is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image, ImageCms

import gan_export
from gan_export import checkpoint, exporters
from gan_export.errors import GanExportError
from gan_export.graph.reach import Reach
from gan_export.pipeline import publish
from gan_export.recognize.options import ReadOptions
from gan_export.sampling import deep_png, image_files, tiles
from gan_export.sampling.apply import open_image_generator
from gan_export.sampling.apply_files import ApplyOptions, apply_to_files
from gan_export.sampling.tiles import Limits, Tiling
from tests.conftest import Command, refused
from tests.originals.images_in import JunyanzResnet, JunyanzUnet, Rrdb, Srvgg, randomized

STORED = ReadOptions(norm="stored")
MODELS: dict[str, tuple[Callable[[], torch.nn.Module], ReadOptions | None, tuple[int, int]]] = {
    "srvgg": (lambda: Srvgg(4, 2, 2), None, (70, 93)),
    "rrdb with unshuffle": (lambda: Rrdb(4, 1, 2, unshuffle=2), None, (151, 118)),
    "resnet with blur": (lambda: JunyanzResnet(4, 1, blur_down=True, blur_up=True), STORED, (121, 170)),
    "unet": (lambda: JunyanzUnet(2, 5), STORED, (300, 70)),
}


def saved(model: torch.nn.Module, folder: Path) -> Path:
    torch.save(randomized(model).state_dict(), folder / "g.pth")
    return folder / "g.pth"


def noise(height: int, width: int) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


@pytest.mark.parametrize("name", MODELS)
def test_the_full_overlap_is_the_untiled_result(name: str, tmp_path: Path) -> None:
    make, options, (height, width) = MODELS[name]
    path = saved(make(), tmp_path)
    image = noise(height, width)
    with open_image_generator(path, options) as whole:
        want = whole.make(image, 0).pixels
    with open_image_generator(path, options, tiling=Tiling(32, None)) as generator:
        made = generator.make(image, 0)
    assert made.seams is not None
    assert made.seams.tiles >= 4
    assert made.seams.largest <= 1
    difference = np.abs(made.pixels.astype(int) - want)
    assert difference.max() <= 1
    assert (difference > 0).mean() < 1e-3


def test_a_small_overlap_differs_at_the_seams_and_says_how_much(tmp_path: Path) -> None:
    path = saved(Rrdb(8, 2, 2), tmp_path)
    image = noise(96, 128)
    with open_image_generator(path) as whole:
        want = whole.make(image, 0).pixels.astype(int)
    found = {}
    for overlap in (0, 4, 16):
        with open_image_generator(path, tiling=Tiling(32, overlap)) as generator:
            made = generator.make(image, 0)
        assert made.seams is not None
        assert made.seams.overlap == overlap
        found[overlap] = np.abs(made.pixels - want).max(), made.seams.largest
    assert found[0][0] > found[4][0] >= found[16][0]
    assert found[0][0] >= found[0][1] > 1  # the piece shows a part of the seams


def test_an_image_that_needs_more_memory_is_tiled_without_being_asked(tmp_path: Path) -> None:
    path = saved(Srvgg(8, 2, 2), tmp_path)
    image = noise(200, 230)
    Image.fromarray(image).save(tmp_path / "in.png")
    with open_image_generator(path) as generator:
        want = generator.make(image, 0).pixels.astype(int)
        assert generator.reach is not None
    images = 2 * image.size * 5
    room = tiles.estimated(generator.reach).of(80, 80)
    with open_image_generator(path, tiling=Tiling(max_memory=images + room)) as small:
        advanced: list[tuple[int, int]] = []
        done = apply_to_files(
            small, tmp_path / "in.png", tmp_path / "out.png", progress=lambda *at: advanced.append(at)
        )
    assert done.tiled == 1
    assert done.seams is not None
    assert advanced == [(i + 1, done.seams.tiles) for i in range(done.seams.tiles)]
    assert done.seams.tiles == 4 * 5  # tiles start every 48 pixels, the last of 80 at 120 and 150
    with Image.open(tmp_path / "out.png") as made:
        assert np.abs(np.asarray(made).astype(int) - want).max() <= 1  # it sees 5 pixels, and 16 overlap
    with (
        open_image_generator(path, tiling=Tiling(max_memory=images)) as generator,
        pytest.raises(GanExportError, match=r"230 x 200 and its result of 460 x 400 need .*raise max_memory="),
    ):
        generator.make(image, 0)


@pytest.mark.parametrize(
    ("deep", "options"),
    [
        (False, ApplyOptions(side_by_side=True)),
        pytest.param(True, ApplyOptions(outscale=3.3), marks=pytest.mark.long),
        pytest.param(False, ApplyOptions(outscale=0.7), marks=pytest.mark.long),
    ],
    ids=["8 bits", "16 bits, larger", "smaller"],
)
def test_a_result_that_needs_more_memory_is_written_row_by_row(
    deep: bool, options: ApplyOptions, tmp_path: Path
) -> None:
    path = saved(Srvgg(2, 1, 4), tmp_path)
    rgba = np.random.default_rng(0).integers(0, 256, (50, 41, 4), np.uint8)
    smooth = np.asarray(Image.fromarray(rgba).resize((123, 150)))
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    if deep:
        pytest.importorskip("imagecodecs")
        (tmp_path / "in.png").write_bytes(deep_png.encode(smooth.astype(np.uint16) * 257, profile))
    else:
        Image.fromarray(smooth).save(tmp_path / "in.png", icc_profile=profile)
    with open_image_generator(path) as generator:
        apply_to_files(generator, tmp_path / "in.png", tmp_path / "whole.png", options)
        reach = generator.reach
    assert reach is not None
    bytes_in, bytes_out = (2 * size * 3 * (1 + deep) for size in (123 * 150, 16 * 123 * 150))
    room = bytes_in + 2 * tiles.estimated(reach).of(24, 24)
    assert room < bytes_in + bytes_out
    with open_image_generator(path, tiling=Tiling(None, 4, room)) as generator:
        done = apply_to_files(generator, tmp_path / "in.png", tmp_path / "rows.png", options)
        with pytest.raises(GanExportError, match=r"its result of .* max_memory=; name a .png, which is written row by"):
            apply_to_files(generator, tmp_path / "in.png", tmp_path / "rows.jpg", options)
        out = np.empty((1, 600, 492, 3), np.uint8)
        image = smooth[None, :, :, :3]
        with pytest.raises(GanExportError, match="and its result of 492 x 600 need"):
            generator.apply(image)
        assert generator.apply(image, out=out) is out
        with pytest.raises(GanExportError, match=r"out=uint8 \(1, 599, 492, 3\); uint8 \(1, 600, 492, 3\) is needed"):
            generator.apply(image, out=out[:, 1:])
    assert done.seams is not None
    assert done.seams.tiles > 9
    whole, rows = (image_files.read(tmp_path / f"{name}.png", image_files.Reading(3)) for name in ("whole", "rows"))
    assert rows.pixels.dtype == (np.uint16 if deep else np.uint8)
    assert rows.profile == whole.profile == profile
    assert whole.alpha is not None
    assert rows.alpha is not None
    for made, want in ((rows.pixels, whole.pixels), (rows.alpha, whole.alpha)):
        assert np.abs(made.astype(int) - want).max() <= 1
    if options.side_by_side:
        pairs = [np.asarray(Image.open(tmp_path / f"{name}.side-by-side.png")) for name in ("whole", "rows")]
        assert np.abs(pairs[0].astype(int) - pairs[1]).max() <= 1
    if options.outscale is None:
        assert np.abs(out[0].astype(int) - whole.pixels).max() <= 1


@pytest.mark.parametrize(("height", "width"), [(64, 1000), (500, 500), (1000, 64), (97, 64)])
def test_tiles_cover_the_image_once(height: int, width: int) -> None:
    reach = Reach(20, 1, 10)
    for tiling in (Tiling(32), Tiling(100, 7), Tiling(0), Tiling(50, None)):
        cost = tiles.estimated(reach)
        grid = tiles.grid(height, width, tiling, reach, Limits(cost.of(120, 120), cost))
        covered = np.zeros((height, width), int)
        for rows in grid.rows:
            for columns in grid.columns:
                covered[rows.first : rows.last, columns.first : columns.last] += 1
                for span, side in ((rows, height), (columns, width)):
                    assert span.start == 0 or span.first - span.start >= grid.overlap
                    assert span.stop == side or span.stop - span.last >= grid.overlap
        assert (covered == 1).all()


@pytest.mark.long
def test_a_fixed_size_is_tiled_if_asked(tmp_path: Path) -> None:
    path = saved(Srvgg(4, 1, 2), tmp_path)
    image = noise(50, 77)
    with open_image_generator(path) as free:
        want = free.make(image, 0).pixels.astype(int)
    read = checkpoint.read(path, ReadOptions(size="32x40"))
    publish.export(read, exporters.find("torchscript"), tmp_path / "g.pt")
    with (
        open_image_generator(tmp_path / "g.pt") as fixed,
        pytest.raises(GanExportError, match=r"takes 40 x 32; resize it \(resize=\), or tile it \(tile=0\)"),
    ):
        fixed.make(image, 0)
    with open_image_generator(tmp_path / "g.pt", tiling=Tiling(0, 8)) as fixed:
        made = fixed.make(image, 0)
    assert made.seams is not None
    assert np.abs(made.pixels - want).max() <= 1


@pytest.mark.long
def test_an_export_states_its_reach(tmp_path: Path) -> None:
    path = saved(Srvgg(4, 1, 2), tmp_path)
    result = publish.export(checkpoint.read(path), exporters.find("torchscript"), tmp_path / "g.pt")
    assert result.manifest.reach == Reach(4, 1, result.manifest.reach.values if result.manifest.reach else 0)
    image = noise(60, 40)
    with gan_export.open(tmp_path / "g.pt") as generator:
        whole = generator.apply(image[None])
        tiled = generator.apply(image[None], tile=16, tile_overlap=None)
    assert whole.dtype == np.uint8
    assert np.abs(tiled.astype(int) - whole).max() <= 1


def test_what_cannot_be_tiled_is_refused(tmp_path: Path, command: Command) -> None:
    path = saved(JunyanzResnet(4, 1, "instance", dropout=True), tmp_path)
    with (
        pytest.raises(GanExportError, match="can't be tiled: its InstanceNorm depends on the whole image"),
        open_image_generator(path, tiling=Tiling(64)),
    ):
        pass
    with (
        open_image_generator(path, tiling=Tiling(max_memory=1 << 20)) as generator,
        pytest.raises(GanExportError, match="at once, and can't be tiled: its InstanceNorm depends on the whole image"),
    ):
        generator.make(noise(200, 200), 0)
    path = saved(JunyanzResnet(4, 1, dropout=True), tmp_path)
    with (
        pytest.raises(GanExportError, match="can't be tiled: dropout0 belongs to the whole image"),
        open_image_generator(path, ReadOptions(norm="stored", dropout="seed"), tiling=Tiling(0)),
    ):
        pass
    Image.fromarray(noise(40, 40)).save(tmp_path / "in.png")
    out = tmp_path / "out.png"
    upscaler = saved(Srvgg(4, 1, 2), tmp_path)
    for flags, why in (
        (("--tile", "-1"), "tile -1: must be 0"),
        (("--tile-overlap", "half"), "--tile-overlap half: must be a number of pixels, or full"),
        (("--max-memory", "much"), "--max-memory much: must be bytes"),
        (("--max-memory", "9K"), "40 x 40 pixels need more than --max-memory 9,216 bytes; allow more"),
    ):
        assert why in refused(command("gan-sample", "apply", upscaler, tmp_path / "in.png", "-o", out, *flags))
    assert not out.exists()


def test_the_command_reports_its_tiles(tmp_path: Path, command: Command) -> None:
    path = saved(Srvgg(4, 1, 2), tmp_path)
    Image.fromarray(noise(40, 60)).save(tmp_path / "in.png")
    made = command("gan-sample", "apply", path, tmp_path / "in.png", "-o", tmp_path / "out.png", "--tile", "24")
    assert made.code == 0, made.err
    assert "wrote 1 image to" in made.out
    assert "1 in tiles" in made.out
    assert "2 tiles with 16 pixels of overlap" in made.out
